"""Which pictures does a small Stable Diffusion memorize, and which does it not?

The claim that every defense and attack rests on: pictures repeated in the training set come back from their captions,
pictures seen once do not, and twins that were drawn alike and never trained on do not either. A picture is a copy
where its similarity to the caption's own picture is above a threshold that at most 0.1 % of held-out pictures pass
with their nearest training picture; thresholds are frozen before any model is looked at. The SSCD threshold of the
papers (arXiv 2507.16880) is 0.7 and was set by eye.

With milestones the model is trained here and looked at on the way; without, the shipped one is.
Beside the rates: how alike the seeds of a caption are (D_SSCD's formula), and how well pictures fit their captions.
Expect a steep rise with the number of copies. Cost on two cores: about 40 minutes with training, on one of them, 3
without.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tyro
from diffusers import StableDiffusionPipeline
from jaxtyping import Int, UInt8
from matplotlib.figure import Figure

from difflab.diffusion.alignment import fit_alignment, tells_apart, word_features
from difflab.diffusion.architecture import Architecture
from difflab.diffusion.copies import Threshold, fit_thresholds, read_thresholds, threshold_rows
from difflab.diffusion.judge import ALIGNED_BY, Judge
from difflab.diffusion.ladder import Asked, look, look_rows
from difflab.diffusion.panels.copies import ladder_figure, strips_figure, threshold_figure, training_figure
from difflab.diffusion.pipeline import SHIPPED, checksum, load
from difflab.diffusion.recipe import Material, Recipe, Stops, train_pipeline
from difflab.diffusion.similarity import Measure, measures
from difflab.diffusion.train import Training
from difflab.randomness import item_seeds, stream
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import made_once
from difflab.runs.rows import Artefact, Row, select
from synthetic import plan as plans
from synthetic.plan import Plan, Planted


@dataclass(frozen=True)
class Config:
    """The planted data, the model, and how it is asked."""

    plan: Plan = field(default_factory=Plan)
    recipe: Recipe = field(default_factory=Recipe)
    model: str = "planted"
    """A pipeline that was trained on this plan, a directory or planted, for a run without milestones."""
    milestones: tuple[int, ...] = (1000, 2500, 5000)
    """Steps of training at which the model is looked at; none: nothing is trained."""
    seeds: int = 4
    """Pictures drawn for every caption."""
    steps: int = 20
    """DDIM steps."""
    guidance: float = 3.0
    """Weight of the prompt."""
    uniques: int = 240
    """Once-seen pictures that are asked for, half of them emoji."""
    sscd: str = ""
    """TorchScript file of SSCD; without it that measure is left out."""
    seed: int = 0
    """Of the pictures drawn."""
    contents: tyro.conf.Suppress[str] = field(init=False, default="")
    """Checksum of the model."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "contents", "" if self.milestones else checksum(self.model))


SMOKE = Config(
    plan=Plan(
        ladder=(1, 32),
        per_rung=2,
        recaptioned=1,
        layouts=1,
        regions=1,
        family_copies=4,
        rewordings=4,
        twins=2,
        unique=60,
        emoji=40,
        held_out=60,
    ),
    recipe=Recipe(Architecture(widths=(16, 32), length=24), autoencoder_steps=2, training=Training(steps=4, batch=4)),
    milestones=(2, 4),
    seeds=2,
    steps=2,
    uniques=4,
)


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Draw the pictures, train or load the model, ask for every caption, and compare."""
    planted = plans.draw(config.plan)
    known = measures(Path(config.sscd) if config.sscd else None)
    index, references = _asked(planted, config), planted.references()
    thresholds = _thresholds(planted, known, references, config)
    yield from threshold_rows(thresholds)
    words = known[ALIGNED_BY]
    once, other = planted.where("unique")[::10], planted.where("held_out", source="scene")[:300]
    alignment = fit_alignment(word_features(words, planted.pictures(once)), planted.captions(once))
    area = tells_apart(alignment, word_features(words, planted.pictures(other)), planted.captions(other))
    yield Row("auc", area, None, None, len(other), {"tells": "right from wrong captions", "by": "alignment"})
    seeds = item_seeds(config.seed, "pictures", config.seeds)
    judge = Judge(known, thresholds, references, seeds, config.steps, config.guidance, alignment)
    listed = [planted.listed[i] for i in index]
    asked = Asked(
        planted.captions(index),
        planted.pictures(index),
        np.array([picture.role for picture in listed]),
        np.array([picture.copies for picture in listed]),
        np.array([picture.source for picture in listed]),
    )

    def reached(step: int, pipeline: StableDiffusionPipeline) -> None:
        """A resumed run does not look again."""
        made_once(checkpoints, f"look_{step}", look, pipeline, asked, judge)

    if config.milestones:
        stops = Stops(config.milestones, reached)
        train_pipeline(Material(*planted.material()), config.recipe, checkpoints, stops=stops)
        steps = [step for step in config.milestones if step <= config.recipe.training.steps]
    else:
        steps = [config.recipe.training.steps]
        reached(steps[0], load(config.model))
    for step in steps:
        found = checkpoints.load(f"look_{step}") or {}
        yield from look_rows(found, asked, thresholds, step)
    yield Artefact("drawn", found["drawn"])
    yield Artefact("targets", asked.pictures)
    yield Artefact("copies", asked.copies)
    yield Artefact("role", np.array([plans.ROLES.index(role) for role in asked.role]))
    yield Artefact("emoji", planted.glyph[index] >= 0)
    for name in known:
        yield Artefact(f"similarity_{name}", found[name])
        yield Artefact(f"genuine_{name}", found[f"genuine_{name}"])


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What the ground of all later experiments must be."""
    last = max(row.setting["step"] for row in select(rows, "memorized_fraction"))

    def rates(role: str, **setting: int | str) -> list[Row]:
        shown = {"step": last, "measure": "pixel", "seeds": "median", "source": "all"} | setting
        return select(rows, "memorized_fraction", role=role, **shown)

    ladder = sorted(rates("repeated"), key=lambda row: row.setting["copies"])
    said = {"the most repeated pictures are memorized: at least 90 %": ladder[-1].value >= 0.9}
    for role, name in (("unique", "pictures seen once"), ("twin", "never-trained twins")):
        for row in rates(role):
            said[f"{name} are not: at most 2 %"] = row.value <= 0.02
    said["the rate never falls with the number of copies"] = len(ladder) > 1 and all(
        a.value <= b.value for a, b in itertools.pairwise(ladder)
    )
    return said


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """Memorized rate against copies, thresholds, and the pictures themselves."""
    found = {"memorized": ladder_figure(rows)}
    if len({row.setting["step"] for row in select(rows, "memorized_fraction")}) > 1:
        found["in_training"] = training_figure(rows)
    found["thresholds"] = threshold_figure(rows, artefacts, plans.ROLES)
    for name, wanted in (("scenes", False), ("emoji", True)):
        found[name] = strips_figure(artefacts, plans.ROLES, wanted)
    return found


def answer(run: Recorded) -> Answer:
    """Copies among the most repeated pictures, those seen once, and twins, at the last step."""
    shown = {"measure": "pixel", "seeds": "median", "source": "all"}
    shown["step"] = max(row.setting["step"] for row in run.rows("memorized_fraction", **shown))
    most = max(row.setting["copies"] for row in run.rows("memorized_fraction", role="repeated", **shown))
    repeated = run.count("memorized_fraction", role="repeated", copies=most, **shown)
    once, twins = (run.count("memorized_fraction", role=role, **shown) for role in ("unique", "twin"))
    return Answer(
        f"Of the pictures with {most} copies {repeated} are drawn again, of those seen once {once}, of twins {twins}.",
        "",
        "memorized",
        "From how many copies on does a picture come back?",
    )


def _asked(planted: Planted, config: Config) -> Int[np.ndarray, " n"]:
    """The captions to ask for: the ladder, two of each recaptioned picture, once-seen ones, and all twins."""
    generator = stream(config.seed, "asked").numpy()
    half = config.uniques // 2
    unique = [generator.permutation(planted.where("unique", source=source))[:half] for source in ("scene", "emoji")]
    recaptioned = planted.where("recaptioned")[:: max(1, config.plan.rewordings // 2)]
    return np.concatenate([planted.where("repeated"), recaptioned, *map(np.sort, unique), planted.where("twin")])


def _thresholds(
    planted: Planted, known: dict[str, Measure], references: UInt8[np.ndarray, "n side side 3"], config: Config
) -> dict[str, Threshold]:
    """The frozen ones where they were fitted on this plan, else new ones, fitted before any model is looked at."""
    if config.plan == Plan() and not config.sscd:
        return read_thresholds(SHIPPED / "thresholds.json")[0]
    held_out, training = planted.pictures(planted.where("held_out")), planted.pictures(np.unique(planted.training()))
    return fit_thresholds(known, held_out, training, references)
