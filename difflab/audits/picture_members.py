"""Who was trained on? Membership scores, controls and dataset inference of planted pictures, over worlds, in rows."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from difflab.audits.blind import blind_features, blind_scores
from difflab.audits.picture_reading import SIGNALS
from difflab.audits.picture_told import FAMILIES, REFERENCE, Told, scores_of
from difflab.audits.picture_worlds import DIFFUSION, ORACLE, TOKENS
from difflab.audits.text_items import area, area_interval
from difflab.randomness import stream
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key
from difflab.runs.rows import Row
from difflab.statistics.dataset_inference import LEVEL, null_p_values, p_values, split
from difflab.statistics.intervals import SHARE, grouped_fraction, mean, paired_difference, pooled, share_interval
from difflab.statistics.ranking import true_positives
from difflab.training.devices import one_thread

RATE = 0.01
"""Of false positives at which true ones are counted."""
CONTROL = 0.99
"""Level of the intervals of controls, of which there are many."""
LIKELIEST = "conditional min_k_plus_plus"
TELLING = ("conditional loss", LIKELIEST)
"""Scores of tokens that are set against diffusion's, beside what the caption adds."""
SHUFFLED, NEVER_SAW, BLIND = "shuffled labels", "oracle", "blind"


def membership_rows(told: Sequence[Told]) -> Iterator[Row]:
    """Every score against twins: area under the curve, and true positives at few false ones, by copies."""
    for family in FAMILIES:
        for name, copies in product(scores_of(family), told[0].ladder):
            setting = {"family": family, "method": name, "copies": copies}
            parts = [area_interval(one.score(family, name), one.members(copies), one.items.twin) for one in told]
            found = pooled(parts, bounds=SHARE)
            yield Row("auc", found.value, found.low, found.high, len(told), setting, found.sd)
            counts = [_found(one, family, name, copies) for one in told]
            n = int(told[0].members(copies).sum())
            rate = grouped_fraction(counts, n)
            yield Row("true_positive_fraction", *rate, n * len(told), setting | {"false_positives": RATE})
    for family, copies in product(TOKENS, told[0].ladder):
        given, added = ([one.area(family, f"{signal} loss", copies) for one in told] for signal in SIGNALS)
        # Of diffusion the score that looks at the same: what the caption adds, and the loss.
        other = [one.area(DIFFUSION, "clid", copies) for one in told]
        here = {"family": family, "copies": copies}
        yield Row("signal_difference", *paired_difference(added, given), len(told), here)
        yield Row("leak_difference", *paired_difference(added, other), len(told), here | {"against": DIFFUSION})
        # And what tells most of tokens, whatever it looks at.
        for name in TELLING:
            best = [one.area(family, name, copies) for one in told]
            setting = here | {"of": name, "over": f"clid of {DIFFUSION}"}
            yield Row("auc_difference", *paired_difference(best, other), len(told), setting)


def control_rows(told: Sequence[Told]) -> Iterator[Row]:
    """What must be chance: labels shuffled, an oracle asked, and what pictures and captions tell without a model."""
    for family in FAMILIES:
        for name in scores_of(family):
            values = [
                area(one.score(family, name), mixed, ~mixed)
                for one in told
                for mixed in [stream(one.seed, "shuffled").numpy().permutation(~one.items.twin)]
            ]
            yield _control(values, {"control": SHUFFLED, "family": family, "method": name})
    for family, name in product(TOKENS, scores_of(TOKENS[0])):
        if name != REFERENCE:
            values = [area(one.score(family, name, ORACLE), ~one.items.twin, one.items.twin) for one in told]
            yield _control(values, {"control": NEVER_SAW, "family": family, "method": name})
    values = []
    for one in told:
        seen = blind_features(one.items.pictures, one.items.captions)
        scores = blind_scores(seen, ~one.items.twin, stream(one.seed, "blind"), one.items.families)
        values.append(area(scores, ~one.items.twin, one.items.twin))
    yield _control(values, {"control": BLIND})


class Samples(NamedTuple):
    """What dataset inference draws.

    Attributes:
        sizes: pictures of each kind.
        resamples: samples of each size in each world, and pairs of samples of twins.
    """

    sizes: tuple[int, ...]
    resamples: int


def inference_rows(told: Sequence[Told], samples: Samples, checkpoints: Checkpoints, workers: int = 1) -> Iterator[Row]:
    """Was a set of pictures trained on? Mean p values, alarms, and false alarms on twins alone; over worlds.

    Differs:
        A linear model of all features is fitted on one half and tested on the other, one-sided. The published code of
        arXiv 2502.02514 fits nothing: it brings all features to 0 to 1, adds them, and takes a two-sided test of Welch
        with a look at the sign.
    """
    names = {(family, one.seed): key("inferred", family, one.seed) for family in FAMILIES for one in told}
    asked = {
        names[family, one.seed]: (family, one.seed, one.items.copies, one.features(family), samples)
        for family in FAMILIES
        for one in told
    }
    answers = kept(_inferred, asked, checkpoints, workers, "dataset inference")
    for family, size in product(FAMILIES, samples.sizes):
        here = [answers[names[family, one.seed]] for one in told]
        for copies in told[0].ladder:
            found = [one[key(size, copies)] for one in here]
            setting = {"family": family, "copies": copies, "sample": size}
            yield Row("mean_p_value", *mean([p.mean() for p in found], bounds=SHARE), len(told), setting)
            # All samples of a world draw on the same few pictures: it is one trial.
            shares = [share_interval(float((p < LEVEL).mean()), 1) for p in found]
            alarms = pooled(shares, bounds=SHARE)
            yield Row("alarm_fraction", alarms.value, alarms.low, alarms.high, len(told), setting, alarms.sd)
        counts = [int((one[key(size, 0)] < LEVEL).sum()) for one in here]
        false = grouped_fraction(counts, samples.resamples)
        yield Row("false_alarm_fraction", *false, samples.resamples * len(told), {"family": family, "sample": size})


def _inferred(
    family: str, seed: int, copies: Int[np.ndarray, " n"], features: Float[np.ndarray, "n k"], samples: Samples
) -> dict[str, Float[np.ndarray, " resamples"]]:
    """p values of one model, by size of the samples and copies; 0 copies are twins against twins."""
    twins, found = features[copies == 0], dict[str, Float[np.ndarray, " resamples"]]()
    with one_thread():
        for size in samples.sizes:
            for many in np.unique(copies[copies > 0]).tolist():
                random = stream(seed, "samples", family, many, size).numpy()
                found[key(size, many)] = p_values(
                    split, features[copies == many], twins, size, samples.resamples, random
                )
            random = stream(seed, "null", family, size).numpy()
            found[key(size, 0)] = null_p_values(split, twins, size, samples.resamples, random)
    return found


def _found(one: Told, family: str, name: str, copies: int) -> int:
    """Pictures with so many copies that score above all but few twins."""
    both = one.members(copies) | one.items.twin
    rate = true_positives(one.score(family, name)[both], one.members(copies)[both], RATE)
    return round(rate * int(one.members(copies).sum()))


def _control(values: Sequence[float], setting: dict[str, Any]) -> Row:
    return Row("control_auc", *mean(values, CONTROL, SHARE), len(values), setting)
