"""A convex model, whose influences are exact: logistic regression, fitted anew without each of its items.

What the model minimises, with weights w and labels y in {-1, 1}:

    F(theta) = 1/n sum_i w_i log(1 + exp(-y_i theta . x_i)) + ridge / 2 |theta|^2

It is strongly convex, so that there is one minimum, and its losses are |x|-Lipschitz in theta. Leaving item i out is
setting w_i to 0. The minimum moves by at most w_i |x_i| / (ridge n), and the loss of any z by at most w_i |x_i| |z| /
(ridge n): F without i has the gradient -w_i / n grad l_i at the old minimum, and is ridge-strongly convex.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from sklearn.linear_model import LogisticRegression, SGDClassifier

from difflab.errors import require
from difflab.randomness import Stream


class Labelled(NamedTuple):
    """Points and their labels.

    Attributes:
        x: points.
        y: -1 or 1 each.
    """

    x: Float[np.ndarray, "n d"]
    y: Int[np.ndarray, " n"]


def fitted(data: Labelled, weights: Float[np.ndarray, " n"], ridge: float) -> Float[np.ndarray, " d"]:
    """The minimum of F.

    Args:
        data: the training set.
        weights: what the loss of each item counts, at least 0.
        ridge: above 0.

    Raises:
        InputError: weights are not one for each item or negative, labels of what counts are all the same, or the ridge
            is not positive.
    """
    n = len(data.y)
    require(ridge > 0, f"ridge is {ridge}; give a number above 0.")
    require(
        weights.shape == (n,) and bool((weights >= 0).all()),
        f"weights are of shape {weights.shape} for {n} items; give one for each, at least 0.",
    )
    require(len(set(data.y[weights > 0].tolist())) == 2, "items of one label alone count; give some of both.")
    model = LogisticRegression(
        C=1 / (n * ridge), fit_intercept=False, solver="newton-cholesky", tol=1e-12, max_iter=1000
    )
    found: Float[np.ndarray, " d"] = model.fit(data.x, data.y, sample_weight=weights).coef_[0]
    return found


def losses_of(theta: Float[np.ndarray, "*k d"], data: Labelled) -> Float[np.ndarray, "*k n"]:
    """log(1 + exp(-y theta . x)) of every item."""
    return np.logaddexp(0.0, -data.y * (theta @ data.x.T))


class LeftOut(NamedTuple):
    """What leaving out every item does.

    Attributes:
        whole: the minimum with all.
        without: the minimum without each.
        influence: loss of each item without it minus its loss with it, never negative.
    """

    whole: Float[np.ndarray, " d"]
    without: Float[np.ndarray, "n d"]
    influence: Float[np.ndarray, " n"]


def left_out(data: Labelled, weights: Float[np.ndarray, " n"], ridge: float) -> LeftOut:
    """Fit anew without every item. Args and errors are those of `fitted`."""
    whole = fitted(data, weights, ridge)
    without = np.stack([
        fitted(data, np.where(np.arange(len(weights)) == i, 0.0, weights), ridge) if weights[i] else whole
        for i in range(len(weights))
    ])  # fmt: skip
    return LeftOut(whole, without, np.diagonal(losses_of(without, data)) - losses_of(whole, data))


def stability(found: LeftOut, seen: Labelled) -> Float[np.ndarray, " n"]:
    """By how much the loss of any of these points changes at most when each item is left out."""
    return np.abs(losses_of(found.without, seen) - losses_of(found.whole, seen)).max(axis=1)


def stability_bound(
    data: Labelled, weights: Float[np.ndarray, " n"], ridge: float, seen: Labelled
) -> Float[np.ndarray, " n"]:
    """What `stability` never exceeds: w_i |x_i| max |z| / (ridge n).

    Reference:
        Bousquet and Elisseeff 2002, J. Mach. Learn. Res. 2, 499, whose bound for n equal weights this is, item by item.
    """
    longest = float(np.linalg.norm(seen.x, axis=1).max())
    return weights * np.linalg.norm(data.x, axis=1) * longest / (ridge * len(weights))


def course(data: Labelled, ridge: float, epochs: int, rate: float, random: Stream) -> Float[np.ndarray, "epochs n"]:
    """Losses of every item after every epoch of stochastic gradient descent on F with equal weights, from 0.

    Args:
        data: the training set.
        ridge: of F.
        epochs: each shows every item once, in an order of its own.
        rate: of every step.
        random: orders.
    """
    chance = np.random.RandomState(random.integer)
    model = SGDClassifier(
        loss="log_loss", alpha=ridge, fit_intercept=False, learning_rate="constant", eta0=rate, random_state=chance
    )
    found = np.empty((epochs, len(data.y)))
    for epoch in range(epochs):
        model.partial_fit(data.x, data.y, classes=np.array([-1, 1]))
        found[epoch] = losses_of(model.coef_[0], data)
    return found
