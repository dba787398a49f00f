"""Whether loss and compression pull a small model's weights the same way while it learns, over worlds, in rows; and
what compression does for a network that forgets.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from difflab.audits.derivation_worlds import PLAIN, DerivationWorld, before, blank, objective_of
from difflab.audits.forgetting_simulation import GATED, SCHEDULED, WAYS, Simulation
from difflab.audits.forgetting_simulation import PLAIN as UNCOMPRESSED
from difflab.audits.gradient_cosines import Cosines
from difflab.autoregressive.objectives.compression import Compression
from difflab.autoregressive.recipe import Recipe
from difflab.autoregressive.train import train
from difflab.randomness import stream
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key
from difflab.runs.rows import Note, Row
from difflab.statistics.intervals import SHARE, mean, paired_difference
from difflab.statistics.sign_changes import agreement, changes_ratio
from difflab.training.devices import one_thread
from synthetic.data.arithmetic import earlier

LEARNING, TUNING = "new sums", "few sums again and again"
COURSES = (LEARNING, TUNING)
"""Trainings that are watched: before fine-tuning, and while it is done."""
HALVES, SHUFFLED = "halves of a batch", "shuffled"
"""Whose signs are compared: those of two halves of one batch; and one of them in any order."""
_FEWEST, _SHUFFLES = 2, 200


def watched(
    worlds: Sequence[DerivationWorld], every: int, checkpoints: Checkpoints, workers: int
) -> dict[tuple[DerivationWorld, str], np.ndarray]:
    """Cosines of the gradients of loss and entropy along every course; what a killed run has done is not done again.

    Args:
        worlds: one for each seed.
        every: steps between two looks.
        checkpoints: where arrays are kept.
        workers: processes; they do not change the numbers.

    Returns:
        For each world and course one row a look, a column for each half of the batch.
    """
    pairs = [(world, course) for course in COURSES for world in worlds]
    arguments = {
        key(world.name, "cosines", course, every): (world, course, every, checkpoints) for world, course in pairs
    }
    found = kept(_watched, arguments, checkpoints, workers, "trainings watched")
    return {pair: found[name]["halves"] for pair, name in zip(pairs, arguments, strict=True)}


def _watched(world: DerivationWorld, course: str, every: int, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    watching = Cosines(objective_of(world, PLAIN, checkpoints), Compression(patch=3), world.sums.given, every)
    if course == LEARNING:
        recipe = Recipe(world.pretraining, world.pretraining_batch, world.pretraining_rate, 0, 0.0)
        with one_thread():
            train(
                blank(world),
                lambda step: earlier(world.seed, step, world.pretraining_batch, world.sums),
                recipe,
                world.seed,
                objective=watching,
            )
    else:
        recipe = Recipe(world.looks[-1], world.batch, world.rate, 0, 0.0)
        start = before(world, checkpoints)
        with one_thread():
            train(start, world.training_rows(False), recipe, world.seed, objective=watching)
    return {"halves": np.array(watching.halves)}


def cycle_rows(
    found: Mapping[tuple[DerivationWorld, str], np.ndarray], worlds: Sequence[DerivationWorld]
) -> Iterator[Row | Note]:
    """Of every course the mean cosine, how often it is above 0, whether two halves of a batch agree on its sign, and
    whether the sign keeps for a while."""
    for course in COURSES:
        halves = [found[world, course] for world in worlds]
        n, here = len(halves), {"course": course}
        yield Row("cosine_similarity", *mean([one.mean() for one in halves], bounds=(-1.0, 1.0)), n, here)
        whole = [one.mean(axis=1) > 0 for one in halves]
        yield Row("compressing_fraction", *mean([one.mean() for one in whole], bounds=SHARE), n, here)
        signs = [(one[:, 0] > 0, one[:, 1] > 0) for one in halves]
        agreed = {
            HALVES: [agreement(*both) for both in signs],
            SHUFFLED: [_chance(*both, world) for both, world in zip(signs, worlds, strict=True)],
        }
        for of, scores in agreed.items():
            yield Row("agreement_score", *mean(scores), n, {**here, "of": of})
        changes = [ratio for one in whole if not np.isnan(ratio := changes_ratio(one))]
        if len(changes) >= _FEWEST:
            yield Row("changes_ratio", *mean(changes), len(changes), here)
        else:
            yield Note(f"{course}: the cosine has one sign all along in {n - len(changes)} of {n} worlds.")


def _chance(one: np.ndarray, other: np.ndarray, world: DerivationWorld) -> float:
    """The agreement of signs in one order with signs in any other, meaned over shuffles: one alone is luck."""
    random = stream(world.seed, "shuffled signs").numpy()
    return float(np.mean([agreement(one, random.permutation(other)) for _ in range(_SHUFFLES)]))


def simulation_rows(
    found: Mapping[tuple[Simulation, str], Mapping[str, np.ndarray]], simulations: Sequence[Simulation]
) -> Iterator[Row]:
    """What every way of training separates and forgets, beside the plain one and beside compression at random steps."""
    n = len(simulations)

    def values(way: str, name: str) -> np.ndarray:
        return np.array([float(np.mean(found[simulation, way][name])) for simulation in simulations])

    for way in WAYS:
        here = {"way": way}
        for metric, name in (
            ("before_loss", "negative before"),
            ("after_loss", "negative after"),
            ("separation_ratio", "separation"),
            ("matrix_entropy", "entropy"),
            ("compressing_fraction", "compressing"),
        ):
            yield Row(metric, *mean(values(way, name)), n, here)
        if way != UNCOMPRESSED:
            base, first = values(UNCOMPRESSED, "negative after"), values(UNCOMPRESSED, "negative before")
            after = values(way, "negative after")
            # Of means: what one network forgets may be next to nothing.
            eased = float((base - after).mean() / (base - first).mean())
            yield Row("alleviated_ratio", eased, None, None, n, here)
    for way, other in ((GATED, UNCOMPRESSED), (GATED, SCHEDULED)):
        for of, name in (("forgetting", "negative after"), ("separation", "separation"), ("entropy", "entropy")):
            gap = paired_difference(values(way, name), values(other, name))
            yield Row("gated_difference", *gap, n, {"of": of, "over": other})
