"""Where in the picture is the copy, and do attention and noise show it?

Each planted family shares one fixed region, the rest of the picture is drawn anew for every member, and all members
have one caption: what the model can memorize is the region, so the true mask is known. (Other families share the
layout and no colour; there only the outlines can be compared.) Three guesses at it, without
looking at any training picture: the attention to the end token at the last step (bright ending, Chen et al. 2025,
arXiv 2410.21665, who report an IoU of 0.75 with masks drawn by hand for SD 1.4), the squared difference that the prompt
makes to the predicted noise (the map of arXiv 2605.22756), and a mask of ones, which is what chance is worth.

Bright ending was found with a text encoder that CLIP pre-trained; ours has random weights, so it may not appear.
Cost on two cores: about a minute.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import tyro
from matplotlib.figure import Figure

from difflab.audits.copied_regions import layout_rows, map_rows
from difflab.diffusion.copies import ask
from difflab.diffusion.detectors.bright_ending import BrightEnding, end_attention
from difflab.diffusion.panels.regions import layouts_figure, maps_figure
from difflab.diffusion.pipeline import checksum, load
from difflab.diffusion.regions import copied_within, prompt_difference
from difflab.errors import require
from difflab.randomness import item_seeds
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row, select
from difflab.statistics.intervals import wilson
from synthetic import plan as plans
from synthetic.plan import Plan


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

    contents: tyro.conf.Suppress[str] = field(init=False, default="")
    """Checksum of the model."""

    def __post_init__(self) -> None:
        require(self.plan.regions >= 2, f"the plan has {self.plan.regions} region families; it needs at least 2.")
        require(self.held_out >= 1, f"held_out is {self.held_out}; give at least 1.")
        object.__setattr__(self, "contents", checksum(self.model))


SMOKE = Config(seeds=2, steps=2, held_out=10)


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Draw each family's caption, compare the fixed region, and score the maps against the true mask."""
    planted = plans.draw(config.plan)
    pipeline = load(config.model)
    first = planted.where("region")[:: config.plan.family_copies]
    captions, members, truth = planted.captions(first), planted.pictures(first), planted.region
    seeds = item_seeds(config.seed, "pictures", config.seeds)
    drawn = ask(pipeline, captions, seeds, config.steps, config.guidance)
    held_out = planted.pictures(planted.where("held_out", source="scene")[: config.held_out])
    for part, mask in (("inside", truth), ("outside", ~truth)):
        copied = copied_within(mask, drawn, members, held_out)
        yield Row("memorized_fraction", *wilson(int(copied.sum()), len(copied)), len(copied), {"part": part})
    yield from layout_rows(pipeline, planted, held_out, seeds, config.steps, config.guidance)
    bright = end_attention(pipeline, captions, seeds, BrightEnding(config.steps, config.guidance)).mean(axis=1)
    maps = {
        "bright ending": bright,
        "prompt's difference": prompt_difference(pipeline, captions, seeds, config.steps, config.guidance),
        "all ones": np.ones_like(bright),
    }
    yield from map_rows(maps, truth)
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
    found = {"maps": maps_figure(artefacts)}
    if "layouts" in artefacts:
        found["layouts"] = layouts_figure(artefacts["layout_members"], artefacts["layouts"])
    return found


def answer(run: Recorded) -> Answer:
    """Whether the region is drawn, and which map finds it."""
    difference, ending = (
        run.number("best_overlap_fraction", 2, map=name) for name in ("prompt's difference", "bright ending")
    )
    return Answer(
        f"In {run.count('memorized_fraction', part='inside')} families the shared region is drawn; the prompt's "
        f"difference overlaps it by {difference} (IoU), bright ending by {ending}.",
        "0.75 for bright ending (SD 1.4)",
        "maps",
        "Beside the true mask: which of the two maps is bright where the mask is?",
    )
