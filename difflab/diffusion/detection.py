"""How well scores find memorized captions: groups of them against captions never trained on, in rows."""

from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Bool, Float

from difflab.diffusion.first_prediction import memorized_above
from difflab.randomness import Stream
from difflab.runs.rows import Row
from difflab.statistics.intervals import bootstrap, wilson
from difflab.statistics.ranking import auc, true_positives

Groups = Mapping[int | str, Bool[np.ndarray, " n"]]
"""Which captions are in a group, by its name, as `copies` in rows says it."""


def group_rows(
    scores: Float[np.ndarray, " n"],
    groups: Groups,
    unseen: Bool[np.ndarray, " n"],
    against: str,
    setting: Mapping[str, str | int],
    random: Stream,
    replicates: int,
) -> Iterator[Row]:
    """Every group against unseen captions: area under the curve, and true positives at 1 % false ones.

    Args:
        scores: of n captions, higher = more memorized.
        groups: those that should be found; empty ones are left out.
        unseen: those that should not.
        against: what those are called.
        setting: of the rows.
        random: of the bootstrap over captions, the same for every row.
        replicates: of it.
    """
    for copies, here in groups.items():
        if not here.any():
            continue
        pairs = np.stack([scores, here], axis=1)[here | unseen]
        for metric, statistic in (("auc", auc), ("true_positive_fraction", true_positives)):
            found = bootstrap(pairs, lambda p, of=statistic: of(p[:, 0], p[:, 1] > 0), random.numpy(), replicates)
            yield Row(metric, *found, len(pairs), {**setting, "copies": copies, "against": against})


def rule_rows(
    scores: Float[np.ndarray, " n"], groups: Groups, unseen: Bool[np.ndarray, " n"], setting: Mapping[str, str | int]
) -> Iterator[Row]:
    """NeMo's rule, mean + one standard deviation of unseen captions, and the share of every group above it."""
    threshold = memorized_above(scores[unseen])
    yield Row("threshold_similarity", threshold, None, None, int(unseen.sum()), dict(setting))
    for copies, here in groups.items():
        passed = wilson(int((scores[here] > threshold).sum()), int(here.sum()))
        yield Row("passed_fraction", *passed, int(here.sum()), {**setting, "copies": copies})
