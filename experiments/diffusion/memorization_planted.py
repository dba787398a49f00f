"""Which pictures does a small Stable Diffusion memorize, and which does it not?

The claim that every defense and attack rests on: pictures repeated in the training set come back from their captions,
pictures seen once do not, and twins that were drawn alike and never trained on do not either. A picture is a copy
where its similarity to the caption's own picture is above a threshold that at most 0.1 % of held-out pictures pass
with their nearest training picture; thresholds are frozen before any model is looked at. The SSCD threshold of the
papers (arXiv 2507.16880) is 0.7 and was set by eye.

With milestones the model is trained here and looked at on the way; without, the shipped one is.
Beside the rates: how alike the seeds of a caption are (D_SSCD's formula), and how well pictures fit their captions.
Expect a steep rise with the number of copies. Cost on two cores: about 50 minutes with training, 3 without.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from diffusers import StableDiffusionPipeline
from jaxtyping import Float, Int, UInt8
from matplotlib.figure import Figure

from difflab.diffusion.alignment import Alignment, aligned, fit_alignment
from difflab.diffusion.autoencoder import decode, encode
from difflab.diffusion.copies import (
    SWEEP,
    Threshold,
    ask,
    compare,
    diversity,
    fit_thresholds,
    memorized,
    read_thresholds,
)
from difflab.diffusion.panels import ladder_figure, strips_figure, threshold_figure, training_figure
from difflab.diffusion.pipeline import SHIPPED, Architecture, checksum, load
from difflab.diffusion.recipe import Material, Recipe, train_pipeline
from difflab.diffusion.similarity import Measure, measures
from difflab.diffusion.train import Training
from difflab.randomness import item_seeds, stream
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row, select
from difflab.statistics.intervals import bootstrap, wilson
from difflab.statistics.ranking import auc
from synthetic import plan as plans
from synthetic.plan import Plan, Planted


@dataclass(frozen=True)
class Config:
    """The planted data, the model, and how it is asked."""

    plan: Plan = field(default_factory=Plan)
    recipe: Recipe = field(default_factory=Recipe)
    model: str = "planted"
    """A pipeline that was trained on this plan, a directory or planted, for a run without milestones."""
    milestones: tuple[int, ...] = (1000, 4000, 12_000)
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
    contents: str = field(init=False, default="")
    """Checksum of the model."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "contents", "" if self.milestones else checksum(self.model))


SMOKE = Config(
    plan=Plan(
        ladder=(1, 32),
        per_rung=4,
        recaptioned=2,
        layouts=2,
        regions=2,
        family_copies=8,
        rewordings=8,
        unique=80,
        emoji=60,
        held_out=200,
    ),
    recipe=Recipe(Architecture(widths=(16, 32), length=24), autoencoder_steps=30, training=Training(steps=60, batch=8)),
    milestones=(30, 60),
    seeds=2,
    steps=4,
    uniques=8,
)
QUICK = Config(milestones=())


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Draw the pictures, train or load the model, ask for every caption, and compare."""
    planted = plans.draw(config.plan)
    known = measures(Path(config.sscd) if config.sscd else None)
    asked = _asked(planted, config)
    targets, references = planted.pictures(asked), planted.references()
    thresholds = _thresholds(planted, known, references, config)
    yield from _threshold_rows(thresholds)
    alignment = _alignment(planted, known["efficientnet"])
    yield from _alignment_rows(planted, known["efficientnet"], alignment)

    def look(step: int, pipeline: StableDiffusionPipeline) -> None:
        """Draw and compare once for each milestone, and keep it: a resumed run does not look again."""
        if checkpoints.load(f"look_{step}") is None:
            seeds = item_seeds(config.seed, "pictures", config.seeds)
            drawn = ask(pipeline, planted.captions(asked), seeds, config.steps, config.guidance)
            found = {name: compare(measure, drawn, targets, references) for name, measure in known.items()}
            copies = decode(pipeline, encode(pipeline, targets))
            genuine = {
                f"genuine_{name}": compare(measure, copies[:, None], targets, references)
                for name, measure in known.items()
            }
            shown = _features(known["efficientnet"], drawn[:, 0])
            own = _features(known["efficientnet"], targets)
            words = {
                "aligned": aligned(alignment, shown, planted.captions(asked)),
                "own_aligned": aligned(alignment, own, planted.captions(asked)),
            }
            alike = {"diversity": diversity(known["efficientnet"], drawn)} if config.seeds > 1 else {}
            checkpoints.save(f"look_{step}", found | genuine | words | alike | {"drawn": drawn})

    if config.milestones:
        train_pipeline(
            Material(*planted.material()), config.recipe, checkpoints, milestones=config.milestones, reached=look
        )
        steps = [step for step in config.milestones if step <= config.recipe.training.steps]
    else:
        steps = [config.recipe.training.steps]
        look(steps[0], load(config.model))
    looks = {step: checkpoints.load(f"look_{step}") or {} for step in steps}
    for step, found in looks.items():
        yield from _rows(planted, asked, found, thresholds, step)
    yield Artefact("drawn", found["drawn"])
    yield Artefact("targets", targets)
    yield Artefact("copies", np.array([planted.listed[i].copies for i in asked]))
    yield Artefact("role", np.array([plans.ROLES.index(planted.listed[i].role) for i in asked]))
    yield Artefact("emoji", planted.glyph[asked] >= 0)
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


def _threshold_rows(thresholds: dict[str, Threshold]) -> Iterator[Row]:
    for name, threshold in thresholds.items():
        chance = wilson(threshold.above, threshold.n)
        setting = {"measure": name, "checksum": threshold.checksum[:12]}
        for share, value in zip(SWEEP, threshold.sweep, strict=True):
            yield Row("threshold_similarity", value, None, None, threshold.n, setting | {"false_positives": share})
        yield Row("false_positive_fraction", *chance, threshold.n, setting)


def _features(measure: Measure, pictures: UInt8[np.ndarray, "n side side 3"]) -> Float[np.ndarray, "n width"]:
    return measure.describe(pictures)[:, 0].double().numpy()


def _alignment(planted: Planted, measure: Measure) -> Alignment:
    """What pictures look like that have a word in their caption, from once-seen ones."""
    unique = planted.where("unique")[::10]
    return fit_alignment(_features(measure, planted.pictures(unique)), planted.captions(unique))


def _alignment_rows(planted: Planted, measure: Measure, alignment: Alignment) -> Iterator[Row]:
    """Whether it tells right captions from wrong ones, on held-out scenes."""
    index = planted.where("held_out", source="scene")[:300]
    features, captions = _features(measure, planted.pictures(index)), planted.captions(index)
    right, wrong = aligned(alignment, features, captions), aligned(alignment, features, captions[1:] + captions[:1])
    labels = np.arange(2 * len(index)) < len(index)
    area = auc(np.concatenate([right, wrong]), labels)
    yield Row("auc", area, None, None, len(index), {"tells": "right from wrong captions", "by": "alignment"})


def _rows(
    planted: Planted,
    asked: Int[np.ndarray, " n"],
    found: dict[str, np.ndarray],
    thresholds: dict[str, Threshold],
    step: int,
) -> Iterator[Row]:
    """Rates and medians of every group of pictures, at one point of the training."""
    listed = [planted.listed[i] for i in asked]
    groups = list(dict.fromkeys((picture.role, picture.copies) for picture in listed))
    for name, threshold in thresholds.items():
        genuine = found[f"genuine_{name}"]
        for share, value in zip(SWEEP, threshold.sweep, strict=True):
            passed = wilson(int((genuine > value).sum()), len(genuine))
            setting = {"step": step, "measure": name, "false_positives": share}
            yield Row("true_positive_fraction", *passed, len(genuine), setting)
        for role, copies in groups:
            for source in ("all", "scene", "emoji"):
                here = np.array([p.role == role and p.copies == copies and source in ("all", p.source) for p in listed])
                if not here.any():
                    continue
                setting = {"step": step, "role": role, "copies": copies, "source": source, "measure": name}
                values = found[name][here]
                for seeds in ("median", "any"):
                    rate = memorized(values, threshold.value, seeds)
                    yield Row("memorized_fraction", *rate, len(values), setting | {"seeds": seeds})
                if source == "all" and len(values) > 1:
                    generator = np.random.default_rng(0)
                    middle = bootstrap(np.median(values, axis=1), np.median, generator)
                    yield Row("original_similarity", *middle, len(values), setting)
    medians = {
        "diversity": "seeds_similarity",
        "aligned": "caption_similarity",
        "own_aligned": "own_caption_similarity",
    }
    for name, metric in medians.items():
        for role, copies in groups:
            here = np.array([p.role == role and p.copies == copies for p in listed])
            if name in found and here.sum() > 1:
                middle = bootstrap(found[name][here], np.median, np.random.default_rng(0))
                setting = {"step": step, "role": role, "copies": copies, "measure": "efficientnet"}
                yield Row(metric, *middle, int(here.sum()), setting)
