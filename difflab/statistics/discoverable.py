"""(n, p)-discoverable extraction: how surely n draws bring a text back, and how many are needed, all in log space.

One draw brings it back with probability p_z, the product of its tokens' probabilities under the decoding scheme. Then n
draws bring it back at least once with probability 1 - (1 - p_z)^n. p_z may be too small for a float: only ln p_z is
asked for. Hayes et al. 2024, arXiv 2410.19482.
"""

import numpy as np
from jaxtyping import Float

from difflab.errors import require

Logs = Float[np.ndarray, " n"]


def sequence_log_probability(log_probs: Float[np.ndarray, " _"]) -> float:
    """ln p_z: the sum over a suffix, in float64.

    Args:
        log_probs: natural logarithms of each token's probability under the decoding scheme; -inf outside of its top k.

    Returns:
        Not positive; -inf where the scheme never draws one of the tokens; 0 of an empty suffix, which always comes.
    """
    return float(np.sum(log_probs, dtype=np.float64))


def extraction_probability(log_p: Logs, draws: float) -> Logs:
    """1 - (1 - p_z)^draws.

    Args:
        log_p: ln p_z of each text, at most 0.
        draws: how often each is drawn, at least 1.

    Returns:
        In [0, 1]: 0 where p_z = 0, 1 where p_z = 1.

    Raises:
        InputError: a logarithm is above 0 or no number, or there is less than one draw.
    """
    require(draws >= 1, f"draws is {draws}; give at least 1.")
    return -np.expm1(draws * _log_rest(log_p))


def log_draws_needed(log_p: Logs, probability: float) -> Logs:
    """ln n of the n draws that bring a text back at least once with a given probability: n = ln(1 - p) / ln(1 - p_z).

    Args:
        log_p: ln p_z of each text, at most 0.
        probability: p, in (0, 1).

    Returns:
        At least 0, since one draw is the least; the next whole number of draws is enough. inf where p_z = 0.

    Raises:
        InputError: a logarithm is above 0 or no number, or p is out of its range.
    """
    require(0 < probability < 1, f"the probability is {probability}; give a number between 0 and 1.")
    rest = _log_rest(log_p)
    # -ln(1 - p_z) is p_z itself where p_z is tiny, and too small for a float where only its logarithm is left.
    with np.errstate(divide="ignore"):
        log_rate = np.where(log_p < -30, log_p, np.log(-rest))
    return np.maximum(np.log(-np.log1p(-probability)) - log_rate, 0.0)


def _log_rest(log_p: Logs) -> Logs:
    """ln(1 - p_z), by the form that keeps its digits on either side of p_z = 1/2."""
    require(bool((log_p <= 0).all()), "a log-probability is above 0 or no number; give sums of ln p.")
    with np.errstate(divide="ignore"):
        return np.where(log_p > -np.log(2), np.log(-np.expm1(log_p)), np.log1p(-np.exp(log_p)))
