"""Gaps of one CLIP model with references that need no training, beside those of two models, in rows."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from difflab.audits.collage_models import Study, over_pairs
from difflab.clip.gap import reliability
from difflab.runs.rows import Row
from difflab.statistics.intervals import mean

TWO_MODELS, ANOTHER, EXACT = "second model", "another second model", "exact chances"
ByReference = Mapping[str, Sequence[Float[np.ndarray, " q"]]]
"""For each reference one array a model: a number for each of its own targets."""


def reference_rows(gaps: ByReference, areas: ByReference, study: Study, correlation: float) -> Iterator[Row]:
    """Gaps, how far they are from the two-model gap, and whether they rank targets alike; intervals over pairs.

    Args:
        gaps: hidden AUC of the model less that of the reference; TWO_MODELS is among the references.
        areas: hidden AUC of the reference.
        study: of the models.
        correlation: of its world, as rows call it.
    """

    def by_pair(values: Sequence[Float[np.ndarray, " q"]]) -> Float[np.ndarray, "pairs q2"]:
        return np.stack(values).reshape(study.pairs, -1)

    for name, values in gaps.items():
        setting = {"reference": name, "correlation": correlation}
        own, two = by_pair(values), by_pair(gaps[TWO_MODELS])
        for metric, numbers in (
            ("gap_score", own),
            ("reference_auc", by_pair(areas[name])),
            ("difference_score", own - two),
        ):
            found = over_pairs(numbers, study)
            yield Row(metric, *found, numbers.size, setting)
        ranks = [reliability(a, b) for a, b in zip(own, two, strict=True)]
        yield Row("ranking_similarity", *mean(ranks), len(ranks), setting)
