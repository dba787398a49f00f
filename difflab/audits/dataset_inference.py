"""Dataset inference of an audit, in rows: on members where they are drawn as non-members are, and on those alone."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from difflab.audits.comparisons import Comparison
from difflab.randomness import Stream, stream
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key, made_once
from difflab.runs.rows import Note, Row
from difflab.statistics.dataset_inference import LEVEL, TESTS, null_p_values, p_values
from difflab.statistics.intervals import wilson


class Samples(NamedTuple):
    """What is drawn.

    Attributes:
        sizes: items of each kind; sizes that there are too few items for are left out.
        resamples: samples of each size.
        null_sets: pairs of samples of non-members.
        seed: of all of them.
    """

    sizes: tuple[int, ...]
    resamples: int
    null_sets: int
    seed: int


def inference_rows(
    features: Float[np.ndarray, "n k"], comparisons: Sequence[Comparison], samples: Samples, checkpoints: Checkpoints
) -> Iterator[Row | Note]:
    """p values and alarms by both tests and by size of the samples, and false alarms on the non-members alone.

    A p value has no interval: samples of one set share items, so that their spread says little about another set.
    Comparisons whose kinds are not drawn alike are left out, for they would alarm whatever the model.

    Args:
        features: of all items.
        comparisons: which are members, and which are not.
        samples: what is drawn.
        checkpoints: keep the p values.
    """
    controls = dict[str, Float[np.ndarray, "m k"]]()
    for one in comparisons:
        if one.drawn_alike:
            controls[one.against] = features[one.non_member]
            yield from _sample_rows(features[one.member], controls[one.against], one, samples, checkpoints)
    for against, known in controls.items():
        yield from _null_rows(known, against, samples, checkpoints)


def _sample_rows(
    members: Float[np.ndarray, "n k"],
    known: Float[np.ndarray, "m k"],
    comparison: Comparison,
    samples: Samples,
    checkpoints: Checkpoints,
) -> Iterator[Row | Note]:
    copies, resamples = comparison.copies, samples.resamples
    sizes = [size for size in samples.sizes if size <= min(len(members), len(known))]
    if not sizes:
        yield Note(f"dataset inference on {copies} is left out: {len(members)} members are fewer than any sample.")
    for test, size in ((test, size) for test in TESTS for size in sizes):
        random = stream(samples.seed, "samples", copies, size)
        name = key("samples", copies, test, size)
        found = made_once(checkpoints, name, _sampled, test, members, known, size, resamples, random)["p"]
        setting = {"test": test, "copies": copies, "against": comparison.against, "sample": size}
        yield Row("mean_p_value", float(found.mean()), None, None, resamples, setting)
        yield Row("alarm_fraction", *wilson((found < LEVEL).sum(), resamples), resamples, setting)


def _null_rows(
    known: Float[np.ndarray, "m k"], against: str, samples: Samples, checkpoints: Checkpoints
) -> Iterator[Row | Note]:
    sizes = [size for size in samples.sizes if 2 * size <= len(known)]
    if not sizes:
        yield Note(f"false alarms on {against} are left out: {len(known)} are fewer than two of any sample.")
    for test, size in ((test, size) for test in TESTS for size in sizes):
        random = stream(samples.seed, "null sets", against, size)
        name = key("null_sets", against, test, size)
        found = made_once(checkpoints, name, _null, test, known, size, samples.null_sets, random)["p"]
        setting = {"test": test, "against": against, "sample": size}
        yield Row("false_alarm_fraction", *wilson((found < LEVEL).sum(), len(found)), len(found), setting)


def _sampled(test: str, members: Any, known: Any, size: int, n: int, random: Stream) -> dict[str, np.ndarray]:
    return {"p": p_values(TESTS[test], members, known, size, n, random.numpy())}


def _null(test: str, known: Any, size: int, n: int, random: Stream) -> dict[str, np.ndarray]:
    return {"p": null_p_values(TESTS[test], known, size, n, random.numpy())}
