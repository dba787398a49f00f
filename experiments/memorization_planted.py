"""Which pictures does a small Stable Diffusion memorize, and which does it not?

The claim that every defense and attack rests on: pictures repeated in the training set come back from their captions,
pictures seen once do not, and twins that were drawn alike and never trained on do not either. A picture is a copy
where its similarity to the caption's own picture is above a threshold that at most 0.1 % of held-out pictures pass
with their nearest training picture; thresholds are frozen before any model is looked at. The SSCD threshold of the
papers (arXiv 2507.16880) is 0.7 and was set by eye.

With milestones the model is trained here and looked at on the way; without, the shipped one is.
Expect a steep rise with the number of copies. Cost on two cores: about 45 minutes with training, 2 without.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib
import numpy as np
from diffusers import StableDiffusionPipeline
from jaxtyping import Int, UInt8
from matplotlib.figure import Figure

from difflab.figures import COLOURS, legend_below, new_figure, picture_strips, points_with_intervals
from difflab.intervals import bootstrap, wilson
from difflab.rows import Artefact, Row, select
from difflab.sd.autoencoder import decode, encode
from difflab.sd.copies import Threshold, ask, compare, diversity, fit_thresholds, memorized, read_thresholds
from difflab.sd.pipeline import SHIPPED, Architecture, checksum, load
from difflab.sd.recipe import Material, Recipe, train_pipeline
from difflab.sd.similarity import Measure, measures
from difflab.sd.train import Checkpoints, Training
from synthetic.data import plan as plans
from synthetic.data.plan import Plan, Planted


@dataclass(frozen=True)
class Config:
    """The planted data, the model, and how it is asked."""

    plan: Plan = field(default_factory=Plan)
    recipe: Recipe = field(default_factory=Recipe)
    model: str = str(SHIPPED)
    """Directory of a pipeline that was trained on this plan, for a run without milestones."""
    milestones: tuple[int, ...] = (500, 1000, 2000, 4000, 8000)
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
        ladder=(1, 32), per_rung=4, recaptioned=2, layouts=2, regions=2, family_copies=8, unique=80, held_out=200
    ),
    recipe=Recipe(Architecture(widths=(16, 32)), autoencoder_steps=30, training=Training(steps=60, batch=8)),
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

    def look(step: int, pipeline: StableDiffusionPipeline) -> None:
        """Draw and compare once for each milestone, and keep it: a resumed run does not look again."""
        if checkpoints.load(f"look_{step}") is None:
            seeds = [10_000 * (config.seed + 1) + k for k in range(config.seeds)]
            drawn = ask(pipeline, planted.captions(asked), seeds, config.steps, config.guidance)
            found = {name: compare(measure, drawn, targets, references) for name, measure in known.items()}
            copies = decode(pipeline, encode(pipeline, targets))
            genuine = {
                f"genuine_{name}": compare(measure, copies[:, None], targets, references)
                for name, measure in known.items()
            }
            alike = {"diversity": diversity(known["efficientnet"], drawn)} if config.seeds > 1 else {}
            checkpoints.save(f"look_{step}", found | genuine | alike | {"drawn": drawn})

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
        shown = {"step": last, "measure": "patch", "seeds": "median", "source": "all"} | setting
        return select(rows, "memorized_fraction", role=role, **shown)

    ladder = rates("repeated")
    return {
        "the most repeated pictures are memorized: at least 90 %": ladder[-1].value >= 0.9,
        "pictures seen once are not: at most 2 %": rates("unique")[0].value <= 0.02,
        "never-trained twins are not: at most 2 %": rates("twin")[0].value <= 0.02,
        "the rate never falls with the number of copies": all(
            a.value <= b.value for a, b in itertools.pairwise(ladder)
        ),
    }


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """Memorized rate against copies, thresholds, and the pictures themselves."""
    found = {"memorized": _ladder_figure(rows)}
    if len({row.setting["step"] for row in select(rows, "memorized_fraction")}) > 1:
        found["in_training"] = _training_figure(rows)
    found["thresholds"] = _threshold_figure(rows, artefacts)
    for name, wanted in (("scenes", False), ("emoji", True)):
        found[name] = _strips(artefacts, wanted)
    return found


def _asked(planted: Planted, config: Config) -> Int[np.ndarray, " n"]:
    """The captions to ask for: the ladder, two of each recaptioned picture, once-seen ones, and all twins."""
    generator = np.random.default_rng(config.seed)
    half = config.uniques // 2
    unique = [generator.permutation(planted.where("unique", source=source))[:half] for source in ("scene", "emoji")]
    recaptioned = planted.where("recaptioned")[:: max(1, config.plan.family_copies // 2)]
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
        yield Row("threshold_similarity", threshold.value, None, None, threshold.n, setting)
        yield Row("false_positive_fraction", *chance, threshold.n, setting)


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
        passed = wilson(int((genuine > threshold.value).sum()), len(genuine))
        yield Row("true_positive_fraction", *passed, len(genuine), {"step": step, "measure": name})
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
    if "diversity" in found:
        for role, copies in groups:
            here = np.array([p.role == role and p.copies == copies for p in listed])
            if here.sum() > 1:
                middle = bootstrap(found["diversity"][here], np.median, np.random.default_rng(0))
                setting = {"step": step, "role": role, "copies": copies, "measure": "efficientnet"}
                yield Row("seeds_similarity", *middle, int(here.sum()), setting)


def _ladder_figure(rows: Sequence[Row]) -> Figure:
    """Memorized rate against copies; never-trained twins stand at half a copy."""
    shown = select(rows, "memorized_fraction", measure="patch")
    last = max(row.setting["step"] for row in shown)
    figure, (ax,) = new_figure(
        "Copies in the training set make memories", "copies of the picture in the training set", "memorized fraction"
    )
    ladder = [row for row in shown if row.setting["role"] == "repeated" and row.setting["step"] == last]
    for source, colour in (("scene", "trained"), ("emoji", "partly_memorizing")):
        for seeds in ("median", "any"):
            here = [row for row in ladder if row.setting["source"] == source and row.setting["seeds"] == seeds]
            shift = 1.06 if source == "emoji" else 1 / 1.06
            points_with_intervals(
                ax,
                [row.setting["copies"] * shift for row in here],
                [row.interval for row in here],
                f"{source}, {seeds} seed" + (" (median)" if seeds == "median" else ""),
                colour if seeds == "median" else f"C{4 if source == 'scene' else 6}",
            )
    for role, place, label in (("unique", 1, "seen once"), ("twin", 0.5, "never trained")):
        (row,) = select(shown, "memorized_fraction", role=role, source="all", seeds="median", step=last)
        points_with_intervals(ax, [place], [row.interval], f"{label} (n = {row.n})", "control")
    ax.set_xscale("log", base=4)
    copies = [row.setting["copies"] for row in ladder if row.setting["source"] == "scene"]
    ax.set_xticks([0.5, *dict.fromkeys(copies)], ["never", *[str(c) for c in dict.fromkeys(copies)]])
    ax.set_ylim(-0.03, 1.03)
    legend_below(figure)
    return figure


def _training_figure(rows: Sequence[Row]) -> Figure:
    """Memorized rate against steps of training, a line for each number of copies."""
    figure, (ax,) = new_figure("Memorization in training", "steps of training", "memorized fraction")
    shown = select(rows, "memorized_fraction", measure="patch", seeds="median", source="all")
    groups = dict.fromkeys((row.setting["role"], row.setting["copies"]) for row in shown)
    ladder = [copies for role, copies in groups if role == "repeated"]
    shades = matplotlib.colormaps["viridis"](np.linspace(0, 0.9, len(ladder)))
    for copies, shade in zip(ladder, shades, strict=True):
        here = select(shown, "memorized_fraction", role="repeated", copies=copies)
        steps, intervals = [row.setting["step"] for row in here], [row.interval for row in here]
        points_with_intervals(ax, steps, intervals, f"{copies} copies", matplotlib.colors.to_hex(shade))
    here = select(shown, "memorized_fraction", role="twin")
    steps, intervals = [row.setting["step"] for row in here], [row.interval for row in here]
    points_with_intervals(ax, steps, intervals, "never trained", "control")
    ax.set_xscale("log")
    ax.set_ylim(-0.03, 1.03)
    legend_below(figure)
    return figure


def _threshold_figure(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> Figure:
    """How many of each group pass, whatever the threshold: the sweep that a single number hides."""
    thresholds = select(rows, "threshold_similarity")
    figure, panels = new_figure(
        "The share that passes, for every threshold", "threshold on the similarity", "share above", len(thresholds)
    )
    role, copies = artefacts["role"], artefacts["copies"]
    repeated = role == plans.ROLES.index("repeated")
    most = copies[repeated].max()
    groups = {
        "its own round trip": None,
        f"{most} copies": repeated & (copies == most),
        "seen once": role == plans.ROLES.index("unique"),
        "never trained": role == plans.ROLES.index("twin"),
    }
    for ax, threshold in zip(panels, thresholds, strict=True):
        name = threshold.setting["measure"]
        for colour, (label, here) in zip(("exact", "memorizing", "trained", "control"), groups.items(), strict=True):
            values = artefacts[f"genuine_{name}"] if here is None else artefacts[f"similarity_{name}"][here]
            ordered = np.sort(np.median(values, axis=1))
            above = 1 - np.arange(len(ordered)) / len(ordered)
            ax.step(ordered, above, label=label, color=COLOURS[colour], where="pre")
        ax.axvline(threshold.value, color=COLOURS["predicted"], label="frozen threshold")
        ax.set_title(name)
    legend_below(figure)
    return figure


def _strips(artefacts: dict[str, np.ndarray], emoji: bool) -> Figure:
    """Training picture and what the caption draws: two of every rung, two seen once, two twins."""
    wanted = [("repeated", int(c)) for c in np.unique(artefacts["copies"])[::-1] if c > 0]
    captions, strips = list[str](), list[np.ndarray]()
    for role, copies in [*wanted, ("unique", 1), ("twin", 0)]:
        here = (
            (artefacts["role"] == plans.ROLES.index(role))
            & (artefacts["copies"] == copies)
            & (artefacts["emoji"] == emoji)
        )
        for i in np.flatnonzero(here)[:3]:
            strips.append(np.concatenate([artefacts["targets"][i][None], artefacts["drawn"][i][:4]]))
            captions.append({"unique": "seen once", "twin": "never trained"}.get(role, f"{copies} copies"))
    title = "Left: the caption's own picture. Right of it: what the caption draws, four seeds."
    return picture_strips(np.stack(strips), captions, title, a_line=3)
