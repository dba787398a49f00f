"""What a half-trained model, or none at all, says of each example: signs of what will be memorized."""

import numpy as np
from jaxtyping import Float, Int, Real, Shaped
from scipy.spatial import cKDTree
from scipy.special import logsumexp

from difflab.errors import require


def margins(logits: Real[np.ndarray, "n k"], labels: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The logit of the own label less the highest other one; low = hard for the model.

    Args:
        logits: of n examples, of at least two labels.
        labels: 0 ... k - 1.
    """
    own, others = _apart(logits, labels)
    return own - others.max(axis=1)


def log_odds(logits: Real[np.ndarray, "n k"], labels: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """ln (p / (1 - p)) of the own label's probability, whose law over models is nearly normal.

    Args:
        logits, labels: as in `margins`.

    Reference:
        Carlini et al. 2022, arXiv 2112.03570.
    """
    own, others = _apart(logits, labels)
    return own - logsumexp(others, axis=1)


def mahalanobis(states: Real[np.ndarray, "n d"], labels: Shaped[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """How far each state lies from the mean of its label, in the metric of the spread within labels.

    sqrt((h - m_y) S^+ (h - m_y)), S the covariance of h - m_y over all examples, S^+ its pseudoinverse.

    Args:
        states: h of n examples, finite.
        labels: y of each.

    Returns:
        At least 0.

    Raises:
        InputError: a state is not finite.
    """
    h = np.asarray(states, np.float64)
    require(bool(np.isfinite(h).all()), "a state is not finite; load the model in float32.")
    kinds = np.unique(labels, return_inverse=True)[1]
    means = np.stack([h[kinds == kind].mean(axis=0) for kind in range(kinds.max() + 1)])
    away = h - means[kinds]
    return np.sqrt(np.einsum("nd,de,ne->n", away, np.linalg.pinv(away.T @ away / len(h), hermitian=True), away))


def disagreement(
    points: Real[np.ndarray, "n d"], labels: Shaped[np.ndarray, " n"], neighbours: int = 10
) -> Float[np.ndarray, " n"]:
    """The share of an example's nearest neighbours that have another label: what examples tell without a model.

    Args:
        points, labels: of n examples.
        neighbours: of each, itself not among them, in [1, n).

    Raises:
        InputError: there are not more examples than neighbours.
    """
    require(1 <= neighbours < len(points), f"{len(points)} examples have no {neighbours} neighbours each; give more.")
    near = cKDTree(points).query(points, k=neighbours + 1)[1]
    others = np.array([row[row != i][:neighbours] for i, row in enumerate(near)])
    return (labels[others] != labels[:, None]).mean(axis=1)


def isolation(points: Real[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
    """The distance of every example to its nearest other one.

    Args:
        points: of n examples.

    Raises:
        InputError: there are fewer than two.
    """
    require(len(points) >= 2, "a single example has no other one; give at least two.")
    return np.asarray(cKDTree(points).query(points, k=2)[0][:, 1])


def _apart(
    logits: Real[np.ndarray, "n k"], labels: Int[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n _"]]:
    """The own logit, and all others."""
    n, k = logits.shape
    found = np.asarray(logits, np.float64)
    own = np.zeros((n, k), bool)
    own[np.arange(n), labels] = True
    return found[own], found[~own].reshape(n, k - 1)
