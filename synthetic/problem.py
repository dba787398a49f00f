"""What is learned: training sets, how noise is added to them, and how much each point and each time counts."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Key

from theory.noise import Noise, training_weight


class Objective(NamedTuple):
    """The loss of one point: lambda(t) ||f(alpha x + sigma eps, t) - x||^2, t uniform on a grid.

    Attributes:
        noise: schedule.
        times: grid from which training draws.
        weight: lambda at each time, on the x0 loss.
    """

    noise: Noise
    times: Float[np.ndarray, " t"] | Float[Array, " t"]
    weight: Float[np.ndarray, " t"] | Float[Array, " t"]


class Problem(NamedTuple):
    """Points and what is minimised on them.

    Attributes:
        points: training sets of one shape (s, n, *c, d); a single one (n, *c, d) where a batch is drawn.
        shares: c_i, how much each point counts, of mean 1: a point that is there c times.
        objective: of every point.
    """

    points: Float[Array, "..."]
    shares: Float[Array, "..."]
    objective: Objective


class Batch(NamedTuple):
    """Clean points, one time and one weight for each, and `draws` noisy versions of each."""

    x0: Float[Array, "n *c d"]
    x_t: Float[Array, "n draws *c d"]
    t: Float[Array, " n"]
    weight: Float[Array, " n"]


def objective_for(parameterization: str, noise: Noise, times: Float[np.ndarray, " t"]) -> Objective:
    """Unit weight on the loss of 'x0', 'eps', 'v' or 'score', or the likelihood bound 'elbo'."""
    return Objective(noise, times, training_weight(parameterization, noise, times))


def problem(
    points: Float[Array, "s n *c d"], objective: Objective, shares: Float[ArrayLike, "s n"] | None = None
) -> Problem:
    """Training sets to be learned; all points count alike where no shares are given."""
    counted = jnp.ones(points.shape[:2], points.dtype) if shares is None else jnp.asarray(shares)
    return Problem(points, counted, objective)


def draw_batch(key: Key[Array, ""], problem: Problem, draws: int, size: int = 0) -> Batch:
    """Points of a single training set, one time for each, and noisy versions.

    Args:
        key: of the choice, the times and the noise.
        problem: with points (n, *c, d) and shares (n,), which multiply the weights.
        draws: noisy versions of each point.
        size: points of a minibatch, drawn without replacement; 0, or as many as there are, takes all.
    """
    points, shares, (noise, times, weight) = problem
    times, weight = jnp.asarray(times), jnp.asarray(weight)
    choice_key, time_key, noise_key = jax.random.split(key, 3)
    if size and size < len(points):
        chosen = jax.random.choice(choice_key, len(points), (size,), replace=False)
        points, shares = points[chosen], shares[chosen]
    index = jax.random.randint(time_key, (len(points),), 0, times.size)
    alpha, sigma = (a.reshape(-1, *[1] * points.ndim) for a in noise(times[index]))
    eps = jax.random.normal(noise_key, (len(points), draws, *points.shape[1:]), points.dtype)
    return Batch(points, alpha * points[:, None] + sigma * eps, times[index], shares * weight[index])
