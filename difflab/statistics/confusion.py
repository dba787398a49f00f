"""How well classes are told apart, the worst one counting."""

import numpy as np
from jaxtyping import Float, Int


def f1_by_class(
    truths: Int[np.ndarray, " n"], told: Int[np.ndarray, " n"], classes: int
) -> Float[np.ndarray, " {classes}"]:
    """2 TP / (2 TP + FP + FN) of every class.

    Args:
        truths, told: classes of n items, 0 ... classes - 1.
        classes: how many.

    Returns:
        In [0, 1]; 0 of a class that neither comes nor is told.
    """
    table = np.zeros((classes, classes))
    np.add.at(table, (truths, told), 1)
    right, both = np.diag(table), table.sum(axis=0) + table.sum(axis=1)
    return np.divide(2 * right, both, out=np.zeros(classes), where=both > 0)
