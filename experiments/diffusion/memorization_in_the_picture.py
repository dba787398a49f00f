"""Where in the picture is the copy, and do attention and noise show it?

Each planted family shares one fixed region, the rest of the picture is drawn anew for every member, and all members
have one caption: what the model can memorize is the region, so the true mask is known. (Other families share the
layout and no colour; there only the outlines can be compared.) Three guesses at it, without
looking at any training picture: the attention to the end token at the last step (bright ending, Chen et al. 2025,
arXiv 2410.21665, who report an IoU of 0.75 with masks drawn by hand for SD 1.4), the squared difference that the prompt
makes to the predicted noise (the map of arXiv 2605.22756), and a mask of ones, which is what chance is worth.

Bright ending was found with a text encoder that CLIP pre-trained; ours has random weights, so it may not appear.
Cost on two cores: half a minute.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Bool, Float, UInt8
from matplotlib.figure import Figure

from difflab.diffusion.copies import ask
from difflab.diffusion.detectors.bright_ending import BrightEnding, end_attention
from difflab.diffusion.generate import embed, initial_noise, sampling, seeded
from difflab.diffusion.pipeline import checksum, load
from difflab.errors import require
from difflab.randomness import item_seeds
from difflab.runs.figures import picture_strips
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row, select
from difflab.statistics.intervals import SHARE, mean, wilson
from difflab.statistics.ranking import auc
from synthetic import plan as plans
from synthetic.plan import Plan, Planted


@dataclass(frozen=True)
class Config:
    """The model, its planted truth, and how it is asked."""

    model: str = "planted"
    """A pipeline that was trained on this plan: a directory, or planted."""
    plan: Plan = field(default_factory=Plan)
    seeds: int = 8
    """Pictures drawn for every caption."""
    steps: int = 20
    """DDIM steps."""
    guidance: float = 3.0
    """Weight of the prompt."""
    held_out: int = 1000
    """Never-trained scenes that say how like the fixed region a picture is by chance."""
    seed: int = 0
    """Of the pictures drawn."""

    contents: str = field(init=False, default="")
    """Checksum of the model."""

    def __post_init__(self) -> None:
        require(self.plan.regions >= 2, f"the plan has {self.plan.regions} region families; it needs at least 2.")
        require(self.held_out >= 1, f"held_out is {self.held_out}; give at least 1.")
        object.__setattr__(self, "contents", checksum(self.model))


SMOKE = Config(seeds=2, steps=4, held_out=50)


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Draw each family's caption, compare the fixed region, and score the maps against the true mask."""
    planted = plans.draw(config.plan)
    pipeline = load(config.model)
    first = planted.where("region")[:: config.plan.family_copies]
    captions, members, truth = planted.captions(first), planted.pictures(first), planted.region
    seeds = item_seeds(config.seed, "pictures", config.seeds)
    drawn = ask(pipeline, captions, seeds, config.steps, config.guidance)
    held_out = planted.pictures(planted.where("held_out", source="scene")[: config.held_out])
    yield from _region_rows(drawn, members, truth, held_out)
    yield from _layout_rows(pipeline, planted, seeds, held_out, config)
    bright = end_attention(pipeline, captions, seeds, BrightEnding(config.steps, config.guidance)).mean(axis=1)
    maps = {
        "bright ending": bright,
        "prompt's difference": _differences(pipeline, captions, seeds, config),
        "all ones": np.ones_like(bright),
    }
    for name, found in maps.items():
        large = np.kron(found, np.ones((1, truth.shape[1] // found.shape[1], truth.shape[2] // found.shape[2])))
        aucs = [auc(guess.ravel(), mask.ravel()) for mask, guess in zip(truth, large, strict=True)]
        overlaps = [_best_overlap(mask, guess) for mask, guess in zip(truth, large, strict=True)]
        setting = {"map": name}
        yield Row("auc", *mean(aucs, bounds=SHARE), len(aucs), setting)
        yield Row("best_overlap_fraction", *mean(overlaps, bounds=SHARE), len(overlaps), setting)
        yield Artefact(f"map_{name.split()[0].replace(chr(39), '')}", large)
    yield Artefact("drawn", drawn)
    yield Artefact("members", members)
    yield Artefact("truth", truth)


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What the papers say of SD."""
    area = {row.setting["map"]: row.interval for row in select(rows, "auc")}
    overlap = {row.setting["map"]: row.interval for row in select(rows, "best_overlap_fraction")}
    inside = select(rows, "memorized_fraction", part="inside")[0].value
    return {
        "the fixed region is memorized in at least 90 % of the families": inside >= 0.9,
        "bright ending finds it: AUROC above 0.5": area["bright ending"].low > 0.5,
        "the difference that the prompt makes finds it: AUROC above 0.5": area["prompt's difference"].low > 0.5,
        "bright ending overlaps better than a mask of ones": overlap["bright ending"].low > overlap["all ones"].high,
    }


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """A member, two drawn pictures, the true mask, and both maps, for every family."""
    strips = []
    for family, mask in enumerate(artefacts["truth"]):
        greys = [mask.astype(np.float64), artefacts["map_bright"][family], artefacts["map_prompts"][family]]
        scaled = [(grey - grey.min()) / max(float(np.ptp(grey)), 1e-12) for grey in greys]
        shown = [np.repeat(np.rint(grey * 255).astype(np.uint8)[..., None], 3, axis=-1) for grey in scaled]
        strips.append(np.stack([artefacts["members"][family], *artefacts["drawn"][family][:2], *shown]))
    title = "Training picture, two drawn, true mask, bright ending, difference"
    found = {"maps": picture_strips(np.stack(strips), [f"family {i}" for i in range(len(strips))], title, a_line=2)}
    if "layouts" in artefacts:
        members = artefacts["layout_members"][:, None]
        layouts = np.concatenate([members, artefacts["layouts"][:, :4]], axis=1)
        title = "Fixed layout, free colours. Left: training picture. Right: drawn."
        found["layouts"] = picture_strips(layouts, [f"family {i}" for i in range(len(layouts))], title, a_line=2)
    return found


def _region_rows(
    drawn: UInt8[np.ndarray, "n seeds side side 3"],
    members: UInt8[np.ndarray, "n side side 3"],
    truth: Bool[np.ndarray, "n side side"],
    held_out: UInt8[np.ndarray, "m side side 3"],
) -> Iterator[Row]:
    """Share of families whose region comes back, and the same outside it, where there is nothing to memorize."""
    for part, mask in (("inside", truth), ("outside", ~truth)):
        copied = []
        for pictures, member, here in zip(drawn, members, mask, strict=True):
            chance = np.sort(_distance(held_out, member, here))
            limit = chance[len(chance) // 1000]
            copied.append(bool(np.median(_distance(pictures, member, here)) < limit))
        yield Row("memorized_fraction", *wilson(sum(copied), len(copied)), len(copied), {"part": part})


def _layout_rows(
    pipeline: StableDiffusionPipeline,
    planted: Planted,
    seeds: Sequence[int],
    held_out: UInt8[np.ndarray, "m side side 3"],
    config: Config,
) -> Iterator[Row | Artefact]:
    """Share of layout families whose outlines come back, whatever the colours."""
    members = planted.where("layout")
    if not len(members):
        return
    by_family = members.reshape(-1, config.plan.family_copies)
    drawn = ask(pipeline, planted.captions(by_family[:, 0]), seeds, config.steps, config.guidance)
    chance, copied = _outlines(held_out), []
    for family, pictures in zip(by_family, drawn, strict=True):
        own = _outlines(planted.pictures(family)).T
        limit = np.sort((chance @ own).max(axis=1))[-1 - len(chance) // 1000]
        copied.append(bool(np.median((_outlines(pictures) @ own).max(axis=1)) > limit))
    yield Row("memorized_fraction", *wilson(sum(copied), len(copied)), len(copied), {"part": "layout"})
    yield Artefact("layouts", drawn)
    yield Artefact("layout_members", planted.pictures(by_family[:, 0]))


def _outlines(pictures: UInt8[np.ndarray, "n side side 3"]) -> Float[np.ndarray, "n pixels"]:
    """Strength of the edges at every pixel, centred and of unit length: what is left of a picture without colours."""
    along_y, along_x = np.gradient(pictures.astype(np.float64), axis=(1, 2))
    strength = np.sqrt((np.square(along_y) + np.square(along_x)).sum(axis=-1)).reshape(len(pictures), -1)
    centred = strength - strength.mean(axis=1, keepdims=True)
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)


def _distance(
    pictures: UInt8[np.ndarray, "k side side 3"],
    member: UInt8[np.ndarray, "side side 3"],
    here: Bool[np.ndarray, "side side"],
) -> Float[np.ndarray, " k"]:
    """Root mean square difference within the mask, colours in [0, 1]."""
    error = (pictures[:, here].astype(np.float64) - member[here]) / 255
    return np.sqrt(np.square(error).mean(axis=(1, 2)))


def _differences(
    pipeline: StableDiffusionPipeline, captions: Sequence[str], seeds: Sequence[int], config: Config
) -> Float[np.ndarray, "n h w"]:
    """Squared difference of the predictions with and without the prompt, averaged over channels, steps and seeds."""
    embeddings = embed(pipeline, captions).repeat_interleave(len(seeds), dim=0)
    noise = initial_noise(pipeline, seeded(len(captions), seeds))
    squares = [
        (step.conditional - step.unconditional).square().mean(dim=1)
        for step in sampling(pipeline, embeddings, noise, config.steps, config.guidance)
    ]
    by_picture = torch.stack(squares).mean(dim=0).double().numpy()
    return by_picture.reshape(len(captions), len(seeds), *by_picture.shape[1:]).mean(axis=1)


def _best_overlap(mask: Bool[np.ndarray, "side side"], guess: Float[np.ndarray, "side side"]) -> float:
    """Intersection over union at the best threshold."""
    above = guess[None] >= np.unique(guess)[:, None, None]
    return float(((above & mask).sum(axis=(1, 2)) / (above | mask).sum(axis=(1, 2))).max())
