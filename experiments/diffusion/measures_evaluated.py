"""Which measures of memorization know which models were trained on a picture, and still know it when models change?

Copy measures, detectors and membership scores judge models; here they are judged themselves, as open-unlearning (arXiv
2506.12618) judges metrics of forgetting: on models with and models without the same items. A model was trained on the
most repeated pictures; its oracle never saw those and shares all else. Every measure scores every target on both.

- Faithfulness is the area under the curve (AUC) over pairs of target and model. Beside it stand the true positives at
  1 % false ones, and the share of targets of which the model says more than its own oracle. A blind baseline sees the
  item alone: the same item stands on both sides, so that its AUC is 0.5 by construction.
- The same AUC after both models have changed: relearned on ordinary pictures, rounded to 8 and to 4 bits, and, where a
  measure draws, drawn from with another sampler.
- Robustness, from 0 to 1, says how well the distance between model and oracle outlives the longest relearning and the
  coarsest rounding; it still separates measures whose AUC is 1.

A copy measure says how like the target the pictures are that the target's caption draws, median over seeds. CLiD is
scaled by what it says of never-trained twins on the oracle. With --worlds every number is a mean over worlds, which is
what a claim about a measure needs.

Expected, and written down before the first run: the best of each kind is faithful (AUC at least 0.9); 8 bits change
nothing, 4 bits harm more; 100 steps of relearning and another sampler leave faithful measures faithful; ImageNet
features do no better than pixels. Cost on two cores: about 9 minutes on one of them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from diffusers import StableDiffusionPipeline
from jaxtyping import Float
from matplotlib.figure import Figure

from difflab import methods
from difflab.audits.blind import blind_features, blind_scores
from difflab.audits.every_score import COPY_MEASURES, DETECTORS, KINDS, MEMBERSHIP, Asked, Name, every_score
from difflab.audits.model_changes import (
    BITS,
    NOTHING,
    RELEARNING,
    SAMPLER,
    UNCHANGED,
    Change,
    Changes,
    Ordinary,
    changed,
)
from difflab.audits.searches import ordinary
from difflab.audits.worlds import OnWorld, World, open_world
from difflab.diffusion.autoencoder import encode
from difflab.diffusion.membership.clid import features as clid_features
from difflab.diffusion.membership.clid import scales_of
from difflab.diffusion.panels.measures import measures_figure
from difflab.errors import at_least, require
from difflab.randomness import item_seeds, stream
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key, made_once
from difflab.runs.rows import Artefact, Note, Row, select
from difflab.statistics.faithfulness import (
    detected_fraction,
    faithfulness,
    faithfulness_difference,
    paired_fraction,
    robustness,
)
from difflab.statistics.intervals import Interval, bootstrap, wilson
from difflab.statistics.ranking import newcombe, widened

BLIND: Name = ("blind baseline", "blind")
FALSE_POSITIVES = 0.01
HARDEST = "hardest"
"""What rows call the longest relearning and the coarsest rounding together."""
Found = Mapping[Change, Mapping[Name, Float[np.ndarray, "n 2"]]]
"""Scores after each change: of every target from the model, then from its oracle."""


@dataclass(frozen=True)
class Config(OnWorld):
    """A model with an oracle, and what both go through."""

    detectors: str = "all"
    """Detectors that are judged: all, or names with commas between ('difflab list --methods')."""
    membership: str = "all"
    """Membership scores that are judged, likewise."""
    noises: int = 4
    """Noises that membership scores add to each picture."""
    changes: Changes = field(default_factory=Changes)
    """What both models go through."""
    replicates: int = 1000
    """Bootstrap resamples of the targets."""

    def __post_init__(self) -> None:
        super().__post_init__()
        methods.chosen("detectors", self.detectors)
        methods.chosen("membership", self.membership)
        at_least(self, 1, "noises", "replicates")
        require(self.targets >= 5, f"targets is {self.targets}; the blind baseline needs at least 5.")


SMOKE = Config(
    targets=5,
    seeds=2,
    steps=2,
    retained=50,
    detectors="noise_magnitude,seed_similarity",
    membership="single_loss,clid",
    noises=1,
    changes=Changes(relearning=(1,), bits=(4,)),
    replicates=20,
)


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact | Note]:
    """Score every target on both models after every change; a killed run goes on with the next one."""
    require(
        config.oracle_model != "",
        "measures are judged on a model with the pictures and on one without them; give the other one as --oracle.",
    )
    world = open_world(config)
    yield from world.left_out
    # First, for it may refuse the pictures.
    blind = _blind(world, config.seed)
    found = _scored(config, world, checkpoints)
    kinds = {kind for kind, _ in found[UNCHANGED]}
    require(kinds >= set(KINDS), "no detector or no membership score fits this pipeline; name others.")
    yield from _notes(config, found, len(blind))
    for name in found[UNCHANGED]:
        yield from _rows(name, {change: scores[name] for change, scores in found.items() if name in scores}, config)
    yield from _rows(BLIND, {UNCHANGED: blind}, config)
    for change, scores in found.items():
        yield Artefact(key("scores", *change), {key(*name): both for name, both in scores.items()})


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What was expected."""
    before = select(rows, "auc", change=NOTHING)
    best = {kind: max(row.value for row in select(before, "auc", kind=kind)) for kind in KINDS}
    pixel, imagenet = (
        select(before, "auc", kind=COPY_MEASURES, measure=name)[0].value for name in ("pixel", "efficientnet")
    )
    moved, kept = select(rows, "auc_difference"), select(rows, "robustness_fraction")
    bits = sorted({row.setting["amount"] for row in moved if row.setting["change"] == BITS})
    fine, coarse = (
        float(np.mean([row.value for row in select(kept, "robustness_fraction", change=BITS, amount=amount)]))
        for amount in (bits[-1], bits[0])
    )
    steps = max(row.setting["amount"] for row in moved if row.setting["change"] == RELEARNING)
    faithful = {(row.setting["kind"], row.setting["measure"]) for row in before if row.value >= 0.9}
    relearned = [
        row.value
        for row in select(moved, "auc_difference", change=RELEARNING, amount=steps)
        if (row.setting["kind"], row.setting["measure"]) in faithful
    ]
    redrawn = [abs(row.value) for row in select(moved, "auc_difference", change=SAMPLER, kind=COPY_MEASURES)]
    rounded = [abs(row.value) for row in select(moved, "auc_difference", change=BITS, amount=bits[-1])]
    return {
        "the best copy measure is faithful: AUC at least 0.9": best[COPY_MEASURES] >= 0.9,
        "the best detector is faithful: AUC at least 0.9": best[DETECTORS] >= 0.9,
        "the best membership score is faithful: AUC at least 0.9": best[MEMBERSHIP] >= 0.9,
        "ImageNet features are no more faithful than pixels": imagenet <= pixel,
        "rounding to 8 bits, or to the most asked for, changes no AUC by more than 0.05": max(rounded) <= 0.05,
        "rounding to 4 bits, or to the fewest, leaves measures less robust on average": coarse < fine,
        "the longest relearning lowers no AUC of at least 0.9 by more than 0.05": min(relearned, default=0) >= -0.05,
        "another sampler changes no AUC of a copy measure by more than 0.05": max(redrawn) <= 0.05,
    }


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """Measures by faithfulness, with what changes leave of it and with their robustness."""
    return {"measures": measures_figure(rows)}


def answer(run: Recorded) -> Answer:
    """The most faithful measure of each kind, of equally faithful ones the most robust, and the least faithful."""
    told = [row for row in run.rows("auc", change=NOTHING) if row.setting["kind"] in KINDS]
    lasting = {row.setting["measure"]: row.value for row in select(run.run.rows, "robustness_fraction", change=HARDEST)}

    def rank(row: Row) -> tuple[float, float]:
        return row.value, lasting.get(row.setting["measure"], 0.0)

    named = [*(max(select(told, "auc", kind=kind), key=rank) for kind in KINDS), min(told, key=rank)]
    numbers = [f"{row.setting['measure'].replace('_', ' ')} {run.number('auc', **row.setting)}" for row in named]
    return Answer(
        f"AUC of knowing which model saw a picture: {numbers[0]} is the best copy measure, {numbers[1]} the best"
        f" detector, {numbers[2]} the best membership score, {numbers[3]} the worst of all.",
        "",
        "measures",
        "Which measures stand far to the right on both sides, which is faithful and robust?",
    )


def _blind(world: World, seed: int) -> Float[np.ndarray, "n 2"]:
    """What pictures and captions alone say: fitted to tell targets from their twins, and the same of both models."""
    targets, others = world.groups["repeated"], world.groups["never"]
    pictures = np.concatenate([targets.pictures, others.pictures])
    features = blind_features(pictures, [*targets.captions, *others.captions])
    n = len(targets.captions)
    said = blind_scores(features, np.arange(len(pictures)) < n, stream(seed, "blind"))[:n]
    return np.stack([said, said], axis=1)


def _scored(config: Config, world: World, checkpoints: Checkpoints) -> Found:
    """Everything's scores of the model and of the oracle, after every change."""
    assert world.oracle is not None
    targets, never = world.groups["repeated"], world.groups["never"]
    latents, noises = encode(world.pipeline, targets.pictures), tuple(item_seeds(config.seed, "noises", config.noises))
    twins = clid_features(world.oracle, encode(world.oracle, never.pictures), never.captions, noises)
    detectors = tuple(item_seeds(config.seed, "detectors", config.seeds))
    asked = Asked(
        targets, latents, world.judge, detectors, noises, scales_of(twins), config.detectors, config.membership
    )
    seen = Ordinary(ordinary(world), latents, config.seed)
    found: dict[Change, dict[Name, Float[np.ndarray, "n 2"]]] = {}
    for change in config.changes.each():
        here = [
            made_once(checkpoints, key("scores", *change, name), _asked_of, pipeline, change, asked, seen)
            for name, pipeline in (("model", world.pipeline), ("oracle", world.oracle))
        ]
        # Sorted, for what is read back from disk has another order.
        found[change] = {_name(name): np.stack([one[name] for one in here], axis=1) for name in sorted(here[0])}
    return found


def _asked_of(
    pipeline: StableDiffusionPipeline, change: Change, asked: Asked, seen: Ordinary
) -> dict[str, Float[np.ndarray, " n"]]:
    other = changed(pipeline, change, asked.targets.captions, seen)
    scores = every_score(other, asked, drawing_only=change.kind == SAMPLER)
    return {"/".join(name): values for name, values in scores.items()}


def _name(written: str) -> Name:
    kind, name = written.split("/")
    return kind, name


def _notes(config: Config, found: Found, n: int) -> Iterator[Note]:
    """What is left out, and how few false positives are."""
    known = [*methods.chosen("detectors", config.detectors), *methods.chosen("membership", config.membership)]
    for name in sorted({method.name for method in known} - {name for _, name in found[UNCHANGED]}):
        yield Note(f"{name} is left out: it is not for this pipeline.")
    if n * FALSE_POSITIVES < 1:
        yield Note(
            f"{n} targets allow no false positive at {FALSE_POSITIVES:.0%}: a true positive is above every score of the"
            " oracle."
        )


def _rows(name: Name, scores: Mapping[Change, Float[np.ndarray, "n 2"]], config: Config) -> Iterator[Row]:
    """All that is said of one measure, bootstrapped over targets."""
    setting = {"kind": name[0], "measure": name[1]}
    before, n = scores[UNCHANGED], len(scores[UNCHANGED])

    def over_targets(values: Float[np.ndarray, "n ..."], statistic: Callable[..., float]) -> Interval:
        return bootstrap(values, statistic, stream(config.seed, "bootstrap").numpy(), config.replicates)

    for change, after in scores.items():
        here = setting | change.setting
        area = over_targets(after, faithfulness)
        # Where every resample is perfect, as wide as so few items allow.
        area = widened(area, newcombe(area.value, n, n)) if area.value in (0.0, 1.0) else area
        yield Row("auc", *area, 2 * n, here)
        detected = over_targets(after, partial(detected_fraction, rate=FALSE_POSITIVES))
        detected = widened(detected, wilson(round(detected.value * n), n)) if detected.value in (0.0, 1.0) else detected
        yield Row("true_positive_fraction", *detected, 2 * n, here | {"false_positives": FALSE_POSITIVES})
        if name != BLIND:
            yield Row("paired_fraction", *paired_fraction(after), n, here)
        if change != UNCHANGED:
            both = np.stack([before, after], axis=1)
            yield Row("auc_difference", *over_targets(both, faithfulness_difference), 2 * n, here)
            yield Row("robustness_fraction", *over_targets(both, robustness), n, here)
    if name != BLIND:
        every = np.stack([before, *(scores[change] for change in config.changes.hardest())], axis=1)
        yield Row(
            "robustness_fraction", *over_targets(every, robustness), n, setting | {"change": HARDEST, "amount": 0}
        )
