"""Membership scores of one text from the log-probabilities of its tokens, in nats; higher = more likely a member.

A text of which no token is predicted has no score: asked for, it is a mistake.
"""

import numpy as np
from jaxtyping import Float

from difflab.errors import require
from difflab.statistics.code_lengths import zlib_bytes

Logs = Float[np.ndarray, " t"]
LEAST_VARIANCE = 1e-6
LEAST_LOSS = 1e-7


def mean_log_probability(log_probs: Logs) -> float:
    """Minus the loss, in nats a token.

    Raises:
        InputError: there is no token.

    Reference:
        Yeom et al. 2018, arXiv 1709.01604.
    """
    return _mean(log_probs)


def against_reference(log_probs: Logs, reference: Float[np.ndarray, " _"]) -> float:
    """The mean log-probability less that of a reference model, in nats a token.

    Raises:
        InputError: there is no token, or the two do not count the same tokens.

    Reference:
        Carlini et al. 2021, arXiv 2012.07805.
    """
    require(len(log_probs) == len(reference), "model and reference count other tokens; give one tokenizer to both.")
    return _mean(log_probs) - _mean(reference)


def per_compressed_byte(log_probs: Logs, text: str) -> float:
    """The mean log-probability over the number of bytes that zlib compresses the text (UTF-8) to.

    Reference:
        Carlini et al. 2021, arXiv 2012.07805.
    """
    return _mean(log_probs) / zlib_bytes(text)


def least_likely(log_probs: Logs, share: float = 0.2) -> float:
    """Min-K %: the mean over the least likely tokens, floor(share T) of T but at least one.

    Raises:
        InputError: there is no token, or the share is not in (0, 1].

    Reference:
        Shi et al. 2023, arXiv 2310.16789.

    Differs:
        Of texts too short for one token the published code says NaN.
    """
    require(0 < share <= 1, f"share is {share}; give a number above 0 and at most 1.")
    # What is a whole number but for rounding, as 0.29 of 100, is not rounded down.
    counted = max(1, int(share * len(log_probs) + 1e-9))
    return _mean(np.sort(log_probs)[:counted])


def standardized(
    log_probs: Logs,
    means: Logs,
    variances: Logs,
    least_variance: float = LEAST_VARIANCE,
    by_variance: bool = False,
) -> Logs:
    """How likely each token is among those that could have come: (ln p - mean) / deviation, for Min-K %++.

    Args:
        log_probs: of the true tokens.
        means: of ln p(v) with v drawn from p, for each place.
        variances: of the same, not negative.
        least_variance: smaller ones, which float32 can't tell from 0, are raised to it.
        by_variance: divide by the variance plus 1e-6, as the code of IAR privacy (arXiv 2502.02514) does; the least
            variance is then not looked at.

    Reference:
        Zhang et al. 2024, arXiv 2404.02936.

    Differs:
        The published code has no least variance; that of open-unlearning has this one.
    """
    above = log_probs.astype(np.float64) - means
    if by_variance:
        return above / (variances.astype(np.float64) + 1e-6)
    return above / np.sqrt(np.maximum(variances.astype(np.float64), least_variance))


def flatness(log_probs: Logs) -> float:
    """How little tokens gain from what stands before them: minus the slope of a line fitted to the log-probabilities.

    What is known by heart is as sure at the beginning as at the end; all else gets surer with what came before.

    Returns:
        In nats a token; 0 of a single token.

    Raises:
        InputError: there is no token.

    Reference:
        The slope of CAMIA, Chang et al. 2024, arXiv 2409.13745.

    Differs:
        CAMIA is a test of many such signals, with several cuts of the text; this is one of them, over all tokens, and
        its sign is ours.
    """
    require(len(log_probs) > 0, "a text has no predicted token; give longer texts.")
    away = np.arange(len(log_probs)) - (len(log_probs) - 1) / 2
    return -float(away @ log_probs.astype(np.float64)) / max(float(away @ away), 1.0)


def conditional_ratio(given: Float[np.ndarray, " _"], alone: Logs) -> float:
    """ReCaLL: the mean log-probability after texts that no member is among, over that without them.

    Args:
        given: of the text's tokens after those texts; the last of them are compared where there are more.
        alone: of the text's tokens.

    Returns:
        Not negative. A loss below 1e-7 nats a token, which float32 can't tell from 0, counts as that.

    Reference:
        Xie et al. 2024, arXiv 2406.15968.
    """
    require(len(given) >= len(alone) > 0, "a text has no predicted token; give longer texts.")
    return min(_mean(given[-len(alone) :]), 0.0) / min(_mean(alone), -LEAST_LOSS)


def _mean(values: Logs) -> float:
    require(len(values) > 0, "a text has no predicted token; give longer texts.")
    return float(np.mean(values, dtype=np.float64))
