"""Does somebody's own pipeline draw copies of its training pictures?

The copy metric and the detectors of the planted experiments on any Stable Diffusion pipeline: every caption of a
folder is drawn with several seeds and compared with its own picture, captions of a CSV file with the nearest picture
of the folder. A copy is more like that picture than all but 0.1 % of the folder's pictures are like their
own nearest neighbour, so near-duplicates in the folder make the test stricter. The copies counted are those of the
papers (arXiv 2507.16880): the median over seeds, and any seed. Detectors never see the pictures, but for the denoising
loss.

`difflab audit PIPELINE --data FOLDER [--prompts CSV]` runs this and writes the page. Without a folder the shipped
pipeline is audited on some of its planted pictures. Cost on two cores: about 4 minutes for the small pipeline; a real
one needs a GPU (`--device cuda --dtype float16`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from matplotlib.figure import Figure

from difflab import files
from difflab.audits.pipelines import Asked
from difflab.datasets.captioned import Captioned, captioned_folder, prompts
from difflab.diffusion.autoencoder import encode
from difflab.diffusion.copies import ask, fit_threshold, memorized
from difflab.diffusion.detectors.attention_entropy import AttentionEntropy, attention_entropy
from difflab.diffusion.detectors.bright_ending import BrightEnding, bright_ending
from difflab.diffusion.detectors.denoising_loss import DenoisingLoss, denoising_loss
from difflab.diffusion.detectors.noise_magnitude import NoiseMagnitude, noise_magnitude
from difflab.diffusion.detectors.seed_similarity import SeedSimilarity, seed_similarity
from difflab.diffusion.generate import fitting
from difflab.diffusion.pipeline import checksum, picture_side
from difflab.diffusion.similarity import (
    NEAREST,
    Described,
    Measure,
    described,
    leave_one_out,
    nearest_similarity,
    similarity,
)
from difflab.errors import require
from difflab.randomness import item_seeds
from difflab.runs.figures import COLOURS, legend_below, new_figure, picture_strips
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row, select
from difflab.statistics.intervals import bootstrap
from difflab.statistics.ranking import auc
from synthetic import plan as plans
from synthetic.plan import Plan


@dataclass(frozen=True)
class Config(Asked):
    """The pipeline, its training pictures, and how it is asked."""

    data: str = ""
    """Folder of training pictures with a metadata.jsonl; empty: some planted pictures of the shipped pipeline."""
    prompts: str = ""
    """CSV file with a column named prompt: captions to ask for beside those of the folder."""
    captions: int = 200
    """Most captions of the folder to ask for, those of repeated pictures first."""
    contents: str = field(init=False, default="")
    """Checksum of the pipeline and of the lists of pictures and prompts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        lists = [Path(self.data) / "metadata.jsonl"] if self.data else []
        lists += [Path(self.prompts)] if self.prompts else []
        parts = [checksum(self.model), *(files.checksum(path)[:12] for path in lists)]
        object.__setattr__(self, "contents", " ".join(parts))


SMOKE = Config(captions=12, seeds=2, steps=4)


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Draw every caption, compare, score, and say which detector would have found the copies."""
    pipeline = config.load(config.model)
    own = captioned_folder(Path(config.data), picture_side(pipeline)) if config.data else _planted()
    n_pictures = len(own.pictures)
    require(n_pictures > NEAREST, f"{config.data} holds {n_pictures} pictures; an audit needs over {NEAREST}.")
    extra = prompts(Path(config.prompts)) if config.prompts else ()
    asked = np.argsort(-own.copies, kind="stable")[: config.captions]
    captions = [*(own.captions[i] for i in asked), *extra]
    seeds = item_seeds(config.seed, "pictures", config.seeds)
    drawn = checkpoints.load("drawn") or {"drawn": ask(pipeline, captions, seeds, config.steps, config.guidance)}
    checkpoints.save("drawn", drawn)
    pictures = drawn["drawn"]
    flat, groups = pictures.reshape(-1, *pictures.shape[2:]), _groups(own, asked, len(extra))
    copied = np.zeros(len(captions), bool)
    for name, measure in config.measures().items():
        features = measure.describe(own.pictures)
        looked = described(measure, flat, features)
        nearest, which = (found.reshape(len(captions), -1) for found in nearest_similarity(measure, looked, features))
        alike = nearest.copy()
        targets = features[torch.from_numpy(np.repeat(asked, config.seeds))]
        n_own = len(asked) * config.seeds
        looked_own = Described(looked.features[:n_own], looked.scale[:n_own])
        alike[: len(asked)] = similarity(measure, looked_own, targets).reshape(len(asked), -1)
        threshold = fit_threshold(measure, _others(measure, own, features))
        yield Row("threshold_similarity", threshold.value, None, None, threshold.n, {"measure": name})
        for group, here in groups.items():
            for over in ("median", "any"):
                rate = memorized(alike[here], threshold.value, over)
                setting = {"measure": name, "captions": group, "seeds": over}
                yield Row("memorized_fraction", *rate, int(here.sum()), setting)
        yield Artefact(f"similarity_{name}", alike)
        if name == "pixel":
            copied = np.median(alike, axis=1) > threshold.value
            yield Artefact("nearest", own.pictures[which[:, 0]])
    latents = encode(pipeline, own.pictures[asked])
    at_once = fitting(pipeline)
    sampled: dict[str, Any] = {"steps": config.steps, "guidance": config.guidance, "at_once": at_once}
    detectors = {
        "noise_magnitude": partial(noise_magnitude, config=NoiseMagnitude(**sampled)),
        "seed_similarity": partial(seed_similarity, config=SeedSimilarity(steps=config.steps, at_once=at_once)),
        "attention_entropy": partial(attention_entropy, config=AttentionEntropy(**sampled)),
        "bright_ending": partial(bright_ending, config=BrightEnding(**sampled)),
        "denoising_loss": partial(denoising_loss, config=DenoisingLoss(at_once=at_once), latents=latents),
    }
    for name, detector in detectors.items():
        kept = checkpoints.load(name)
        if kept is None:
            scored = captions[: len(asked)] if name == "denoising_loss" else captions
            kept = {"scores": detector(pipeline, scored, item_seeds(config.seed, "detectors", config.seeds))}
            checkpoints.save(name, kept)
        yield from _detector_rows(name, kept["scores"], copied[: len(kept["scores"])], groups)
        yield Artefact(f"scores_{name}", kept["scores"])
    yield Artefact("drawn", pictures)
    yield Artefact("targets", own.pictures[asked])
    yield Artefact("captions", np.array(captions))


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What the owner of a pipeline hopes for."""
    rates = [row.value for row in select(rows, "memorized_fraction", measure="pixel", seeds="any")]
    return {"no caption draws a copy with any seed": max(rates) == 0}


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """The captions most like their pictures, and all similarities with the threshold."""
    alike, targets = artefacts["similarity_pixel"], artefacts["targets"]
    own = np.concatenate([targets, artefacts["nearest"][len(targets) :]])
    worst = np.argsort(-np.median(alike, axis=1), kind="stable")[:16]
    strips = np.stack([np.concatenate([own[i][None], artefacts["drawn"][i][:4]]) for i in worst])
    labels = [_shortened(str(artefacts["captions"][i])) for i in worst]
    title = "Most alike. Left: training picture. Right: what its caption draws."
    most_alike = picture_strips(strips, labels, title, a_line=2)
    return {"most_alike": most_alike, "similarity": _similarity_figure(rows, artefacts)}


def _similarity_figure(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> Figure:
    thresholds = select(rows, "threshold_similarity")
    figure, panels = new_figure("How alike", "median similarity over seeds", "share of captions above", len(thresholds))
    for ax, row in zip(panels, thresholds, strict=True):
        name = row.setting["measure"]
        ordered = np.sort(np.median(artefacts[f"similarity_{name}"], axis=1))
        above = 1 - np.arange(len(ordered)) / len(ordered)
        ax.step(ordered, above, label="captions", color=COLOURS["trained"], where="pre")
        ax.axvline(row.value, color=COLOURS["predicted"], label="threshold")
        ax.set_title(name)
    legend_below(figure)
    return figure


def _planted() -> Captioned:
    """Repeated pictures, twins (no copies), and once-seen ones of the shipped pipeline."""
    planted = plans.draw(Plan())
    index = np.concatenate([planted.where("repeated"), planted.where("unique")[:940:2]])
    listed = [planted.listed[i] for i in index]
    copies = np.array([picture.copies for picture in listed])
    return Captioned(planted.pictures(index), tuple(p.caption for p in listed), copies, tuple(p.role for p in listed))


def _groups(own: Captioned, asked: np.ndarray, n_extra: int) -> dict[str, Bool[np.ndarray, " n"]]:
    """Captions by how often their picture stands in the folder, and those of the CSV file."""
    copies = np.concatenate([own.copies[asked], np.zeros(n_extra, int)])
    bounds = {"once": (1, 1), "2 to 15 copies": (2, 15), "16 to 63 copies": (16, 63), "64 and more": (64, np.inf)}
    found = {name: (copies >= low) & (copies <= high) for name, (low, high) in bounds.items()}
    found["prompts"] = copies == 0
    return {name: here for name, here in found.items() if here.any()}


def _others(
    measure: Measure, own: Captioned, features: Float[torch.Tensor, "n tiles width"]
) -> Float[np.ndarray, " different"]:
    """How like the nearest different picture of the folder each picture is."""
    _, first = np.unique(own.pictures.reshape(len(own.pictures), -1), axis=0, return_index=True)
    distinct = features[torch.from_numpy(np.sort(first))]
    return leave_one_out(measure, distinct)


def _detector_rows(
    name: str,
    scores: Float[np.ndarray, " n"],
    copied: Bool[np.ndarray, " n"],
    groups: dict[str, Bool[np.ndarray, " n"]],
) -> Iterator[Row]:
    """Mean score of every group, and whether the score would have found the copies."""
    for group, whole in groups.items():
        here = whole[: len(scores)]
        if here.sum() > 1:
            middle = bootstrap(scores[here], np.median, np.random.default_rng(0))
            yield Row("median_score", *middle, int(here.sum()), {"detector": name, "captions": group})
    if copied.any() and not copied.all():
        pairs = np.stack([scores, copied], axis=1)
        found = bootstrap(pairs, lambda p: auc(p[:, 0], p[:, 1] > 0), np.random.default_rng(0))
        yield Row("auc", *found, len(pairs), {"detector": name, "finds": "copies by the pixel measure"})


def _shortened(caption: str) -> str:
    return caption if len(caption) <= 38 else caption[:37] + "…"
