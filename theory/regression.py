"""A weight over time fitted so that losses cross where models were seen to start memorizing.

The only fitted prediction of Buchanan et al. 2025; everything else here is fitted to nothing.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float
from scipy.optimize import minimize


class Fit(NamedTuple):
    """A fitted weight, and where it puts the crossover of each setting.

    Attributes:
        weight: lambda >= 0 at every time.
        fractions: predicted M/N of each setting.
    """

    weight: Float[np.ndarray, " t"]
    fractions: Float[np.ndarray, " s"]


def fitted_weight(
    gaps: Float[np.ndarray, "s m t"],
    fractions: Float[np.ndarray, " m"],
    found: Float[np.ndarray, " s"],
    temperature: float = 1 / 20,
    entropy: float = 1e-3,
) -> Fit:
    """Minimise sum_s (predicted_s - found_s)^2 + entropy * sum_s H(p_s) over weights lambda >= 0.

    predicted_s is the mean of M/N under p_s, the softmax over M of -(sum_t lambda_t gap_smt)^2 / temperature: soft, so
    that the place where the weighted gap is 0 can be moved by its derivative.

    Args:
        gaps: loss of the partly memorizing less that of the generalizing denoiser, for each setting, size and time.
        fractions: M/N of the sizes, closely spaced: the entropy makes p all but a point, and the answer one of them.
        found: M/N at which models of each setting were seen to memorize.
        temperature: tau; small makes the softmax a point.
        entropy: weight of the entropy, which favours sharp crossings.

    Reference:
        Buchanan et al. 2025, arXiv 2508.17689, appendix H.3.

    Differs:
        They leave the sign of the weights free, and normalise losses by a rule that the paper does not give; here the
        gaps are divided by the largest one while fitting.
    """
    largest, n_times = np.abs(gaps).max(), gaps.shape[-1]
    scaled = jnp.asarray(gaps / largest)

    def objective(free: Float[Array, " t"], entropy: Float[ArrayLike, ""]) -> Float[Array, ""]:
        logs = _log_softmax(jax.nn.softplus(free), scaled, temperature)
        p = jnp.exp(logs)
        error = jnp.sum((p @ jnp.asarray(fractions) - jnp.asarray(found)) ** 2)
        return error - entropy * jnp.sum(p * logs)

    run = jax.jit(jax.value_and_grad(objective))
    best = None
    # Where p is all but a point its place hardly has a derivative, so the entropy comes last, and from several starts.
    for total in (1.0, 5.0, 20.0, 100.0):
        free = np.log(np.expm1(np.full(n_times, total / n_times)))
        for share in (0.0, 0.1, 1.0):
            step = partial(run, entropy=share * entropy)
            end = minimize(lambda x, step=step: jax.tree.map(np.asarray, step(x)), free, jac=True, method="L-BFGS-B")
            free = end.x
        if best is None or end.fun < best.fun:
            best = end
    assert best is not None
    weight = np.logaddexp(0, best.x) / largest
    return Fit(weight, crossings(weight, gaps, fractions, temperature))


def crossings(
    weight: Float[np.ndarray, " t"],
    gaps: Float[np.ndarray, "s m t"],
    fractions: Float[np.ndarray, " m"],
    temperature: float = 1 / 20,
) -> Float[np.ndarray, " s"]:
    """Predicted M/N of settings, those that the weight was fitted to or others; arguments as in the fit."""
    logs = _log_softmax(jnp.asarray(weight), jnp.asarray(gaps), temperature)
    return np.asarray(jnp.exp(logs) @ jnp.asarray(fractions))


def _log_softmax(weight: Float[Array, " t"], gaps: Float[Array, "s m t"], temperature: float) -> Float[Array, "s m"]:
    return jax.nn.log_softmax(-((gaps @ weight) ** 2) / temperature, axis=-1)
