"""How many copies a scene needs until its caption draws it back, by how long its code is."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from difflab.audits.copied_scenes import likeness, taught, thresholds_of
from difflab.audits.taught_worlds import TaughtWorld, base_of, copy_rule, scenes_of
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
        at equal copies; needed_ratio, by which factor copies needed rise with a standard deviation of the code length,
        by which length, of own ones and of ones exchanged among scenes with as many copies, the control.
    """
    thresholds = thresholds_of(worlds, checkpoints, workers)
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
        for lengths in (OWN, EXCHANGED):
            rises = []
            for one, seed in zip(found, seeds, strict=True):
                x = one[by] if lengths == OWN else exchanged(one["copies"], one[by], seed)
                rises.append(needed_slope(one["copies"], one["back"], x) * float(x.std()))
            yield Row("needed_ratio", *_powers(rises), n, {"by": by, "lengths": lengths})


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


def exchanged(copies: Int[np.ndarray, " n"], lengths: Float[np.ndarray, " n"], seed: int) -> Float[np.ndarray, " n"]:
    """The lengths of scenes with as many copies, in random order."""
    found, random = lengths.copy(), stream(seed, "exchanged lengths").numpy()
    for rung in np.unique(copies):
        here = np.flatnonzero(copies == rung)
        found[here] = found[random.permutation(here)]
    return found
