"""What a linear model reads off hidden states of items that it was not fitted on."""

import numpy as np
from jaxtyping import Float, Int
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from difflab.errors import require


def probe_accuracy(
    states: Float[np.ndarray, "n d"], labels: Int[np.ndarray, " n"], random: np.random.Generator, folds: int = 4
) -> float:
    """Share of labels that a logistic regression tells, each by one fitted on the other folds.

    States are standardised on the fitted part; the regression has sklearn's L2 penalty with C = 1.

    Args:
        states: of n items.
        labels: of each; chance tells as many as the commonest label has, at most.
        random: shares items out to the folds.
        folds: at least 2, at most n.

    Raises:
        InputError: there are too few items, or all that a fold leaves have one label.
    """
    n = len(states)
    require(2 <= folds <= n, f"{n} items make no {folds} folds; give at least 2, and an item for each.")
    fold_of, right = random.permutation(np.arange(n) % folds), np.zeros(n, bool)
    for fold in range(folds):
        here = fold_of == fold
        require(len(set(labels[~here].tolist())) > 1, "a fold leaves items of one label alone; give more items.")
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        right[here] = probe.fit(states[~here], labels[~here]).predict(states[here]) == labels[here]
    return float(right.mean())
