"""How many copies a scene needs until its caption draws it back, by how long its code is."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from difflab.audits.copied_scenes import likeness, taught
from difflab.audits.taught_worlds import TaughtWorld, base_of, copy_rule, copy_thresholds, scenes_of
from difflab.randomness import stream
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key
from difflab.runs.rows import Row
from difflab.statistics.code_lengths import png_bytes
from difflab.statistics.copies_needed import copies_needed, needed_slope
from difflab.statistics.intervals import Interval, grouped_fraction, mean
from difflab.training.devices import one_thread
from synthetic.data.scenes import code_lengths

PNG, EXACT = "PNG bytes", "exact law"
OWN, EXCHANGED = "own", "exchanged at equal copies"
THIRDS = ("shortest third", "middle third", "longest third")
EXCHANGES = 999
"""Of lengths, in the control."""


def drawn_scenes(world: TaughtWorld, threshold: float, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    """Train a pipeline and ask it for its items and their twins.

    Args:
        world: with its seed.
        threshold: above which likeness a drawn picture is a copy.
        checkpoints: where the half-done training is kept.

    Returns:
        Of items "copies", whether they are drawn "back", and the length of their codes under PNG and EXACT; of twins
        "twins back".
    """
    scenes, n = scenes_of(world), len(scenes_of(world).items)
    with one_thread():
        pipeline = taught(world, checkpoints)
        rule = copy_rule(base_of(world, checkpoints), scenes, threshold)
        back = likeness(pipeline, world, scenes.asked, rule) > threshold
    pictures = scenes.planted.pictures(scenes.items)
    return {
        "copies": scenes.copies,
        "back": back[:n],
        "twins back": back[n:],
        PNG: np.array([png_bytes(one) for one in pictures], np.float64),
        EXACT: code_lengths(scenes.planted.shown(scenes.items)),
    }


def needed_rows(worlds: Sequence[TaughtWorld], checkpoints: Checkpoints, workers: int) -> Iterator[Row]:
    """Train the pipelines of all worlds, and say how many copies scenes need, over worlds.

    Args:
        worlds: of the same sizes, with seeds of their own.
        checkpoints: where arrays and half-done trainings are kept.
        workers: processes; they do not change the numbers.

    Yields:
        drawn_fraction by copies, 0 for twins; needed_count, the geometric mean of copies needed, by third of the PNGs
        at equal copies; code_length_count, bytes or bits, in the mean and their standard deviation; needed_ratio, by
        which factor copies needed rise with a standard deviation of the code length: of own lengths, with the interval
        over worlds; and of ones exchanged among scenes with as many copies, the control: between which numbers 95 % of
        999 exchanges lie.
    """
    thresholds = copy_thresholds(worlds, checkpoints, workers)
    given = {
        key(world.name, "drawn back"): (world, threshold, checkpoints)
        for world, threshold in zip(worlds, thresholds, strict=True)
    }
    found = list(kept(drawn_scenes, given, checkpoints, workers, "pipelines asked").values())
    yield from rows_of(found, [world.seed for world in worlds])


def rows_of(found: Sequence[Mapping[str, np.ndarray]], seeds: Sequence[int]) -> Iterator[Row]:
    """The rows of `needed_rows`, from what `drawn_scenes` returned of each seed."""
    n = len(found)
    for copies in (0, *np.unique(found[0]["copies"]).tolist()):
        back = [one["back"][one["copies"] == copies] if copies else one["twins back"] for one in found]
        share, trials = grouped_fraction([int(one.sum()) for one in back], len(back[0])), n * len(back[0])
        yield Row("drawn_fraction", *share, trials, {"copies": copies, "of": "scenes drawn back"})
    places = [thirds(one["copies"], one[PNG]) for one in found]
    for third, name in enumerate(THIRDS):
        needed = [
            copies_needed(one["copies"][place == third], one["back"][place == third])
            for one, place in zip(found, places, strict=True)
        ]
        yield Row("needed_count", *_powers(needed), n, {"scenes": name, "of": "copies needed"})
    for by in (PNG, EXACT):
        lengths = np.concatenate([one[by] for one in found])
        for of, value in (("mean", lengths.mean()), ("standard deviation", lengths.std())):
            yield Row("code_length_count", float(value), None, None, len(lengths), {"by": by, "of": of})
        own = [_rise(one, one[by]) for one in found]
        yield Row("needed_ratio", *_powers(own), n, {"by": by, "lengths": OWN})
        by_chance = np.mean([exchanged_rises(one, by, seed) for one, seed in zip(found, seeds, strict=True)], axis=0)
        middle, low, high = (2 ** np.quantile(by_chance, [0.5, 0.025, 0.975])).tolist()
        yield Row("needed_ratio", middle, low, high, EXCHANGES, {"by": by, "lengths": EXCHANGED})


def _rise(told: Mapping[str, np.ndarray], lengths: Float[np.ndarray, " n"]) -> float:
    """By how much log2 of the copies needed rises with a standard deviation of these lengths."""
    return needed_slope(told["copies"], told["back"], lengths) * float(lengths.std())


def exchanged_rises(told: Mapping[str, np.ndarray], by: str, seed: int) -> Float[np.ndarray, " exchanges"]:
    """That rise, for lengths exchanged at random among scenes with as many copies."""
    random = stream(seed, "exchanged lengths").numpy()
    return np.array([_rise(told, exchanged(told["copies"], told[by], random)) for _ in range(EXCHANGES)])


def _powers(logs: Sequence[float]) -> Interval:
    """2 to the mean of these over worlds."""
    found = mean(logs)
    return Interval(2**found.value, 2**found.low, 2**found.high)


def thirds(copies: Int[np.ndarray, " n"], lengths: Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Of scenes with as many copies the shortest third, 0, the middle one and the longest one, 2."""
    found = np.empty(len(copies), np.int64)
    for rung in np.unique(copies):
        here = np.flatnonzero(copies == rung)
        for third, part in enumerate(np.array_split(here[np.argsort(lengths[here], kind="stable")], len(THIRDS))):
            found[part] = third
    return found


def exchanged(
    copies: Int[np.ndarray, " n"], lengths: Float[np.ndarray, " n"], random: np.random.Generator
) -> Float[np.ndarray, " n"]:
    """The lengths of scenes with as many copies, in random order."""
    found = lengths.copy()
    for rung in np.unique(copies):
        here = np.flatnonzero(copies == rung)
        found[here] = found[random.permutation(here)]
    return found
