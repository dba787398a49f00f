"""Texts asked of many models at once: each of them in turn is the model in question, the others are its shadows.

What is given is a matrix of mean log-probabilities, models x texts, and which model was trained on which text. Every
attack returns such a matrix, of the membership of each text in each model.
"""

import numpy as np
from jaxtyping import Bool, Float

from difflab.errors import require
from difflab.statistics.shadow import Centre, Spread, lira, lira_offline, rmia
from difflab.statistics.token_scores import LEAST_LOSS

Matrix = Float[np.ndarray, "models texts"]
Inside = Bool[np.ndarray, "models texts"]


def confidence_logit(mean_log_probs: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """ln(p / (1 - p)) of the probability p of a token, in geometric mean: what LiRA takes for Gaussian.

    Args:
        mean_log_probs: ln p, in nats a token; a loss below 1e-7, which float32 can't tell from 0, counts as that.

    Raises:
        InputError: one is above 0 or not finite.
    """
    _check(mean_log_probs)
    bounded = np.minimum(mean_log_probs, -LEAST_LOSS)
    return bounded - np.log(-np.expm1(bounded))


def token_probability(mean_log_probs: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """The probability of a token, in geometric mean, below 1; args and errors are those of `confidence_logit`."""
    _check(mean_log_probs)
    return np.exp(np.minimum(mean_log_probs, -LEAST_LOSS))


def lira_of_texts(log_probs: Matrix, inside: Inside, centre: Centre = "mean", spread: Spread = "item") -> Matrix:
    """LiRA of each text in each model, by the logit of its confidence.

    Args:
        log_probs: mean log-probabilities, in nats a token.
        inside: whether the model was trained on the text.
        centre: see `difflab.statistics.shadow.lira`.
        spread: see there.

    Returns:
        Higher = more likely a member.

    Raises:
        InputError: a number is above 0 or not finite, or without one model a text is inside or outside of fewer than
            two others.

    Reference:
        Carlini et al. 2022, arXiv 2112.03570.

    Differs:
        A text's confidence is that of its tokens in geometric mean; the paper has one label an item.
    """
    logits = confidence_logit(log_probs)
    return np.stack([lira(*parted, centre=centre, spread=spread) for parted in _each(logits, inside)])


def lira_offline_of_texts(log_probs: Matrix, inside: Inside) -> Matrix:
    """The same by models that were not trained on a text alone: see `difflab.statistics.shadow.lira_offline`."""
    return np.stack([lira_offline(*parted) for parted in _each(confidence_logit(log_probs), inside)])


def rmia_of_texts(
    log_probs: Matrix,
    inside: Inside,
    population: Float[np.ndarray, "_ m"],
    slope: float = 0.3,
    gamma: float = 1.0,
) -> Matrix:
    """RMIA of each text in each model, by the probability of a token in geometric mean.

    Args:
        log_probs: mean log-probabilities, in nats a token.
        inside: whether the model was trained on the text.
        population: mean log-probabilities of m texts that no model was trained on.
        slope: see `difflab.statistics.shadow.rmia`.
        gamma: see there.

    Returns:
        In [0, 1], higher = more likely a member.

    Raises:
        InputError: a number is above 0 or not finite, the population is empty or not asked of every model, or without
            one model a text is outside of no other.

    Reference:
        Zarifzadeh et al. 2024, arXiv 2312.03262.
    """
    require(len(population) == len(log_probs), "the population is not asked of every model; give a row for each.")
    known, probabilities = token_probability(population), token_probability(log_probs)
    return np.stack([
        rmia(*parted, known[m], np.delete(known, m, axis=0), slope, gamma)
        for m, parted in enumerate(_each(probabilities, inside))
    ])  # fmt: skip


def _each(
    scores: Matrix, inside: Inside
) -> list[tuple[Float[np.ndarray, " texts"], Float[np.ndarray, "others texts"], Bool[np.ndarray, "others texts"]]]:
    """For each model its own scores, those of the others, and what these were trained on."""
    return [(scores[m], np.delete(scores, m, axis=0), np.delete(inside, m, axis=0)) for m in range(len(scores))]


def _check(log_probs: Float[np.ndarray, "..."]) -> None:
    require(
        bool(np.isfinite(log_probs).all() and (log_probs <= 0).all()),
        "a mean log-probability is above 0 or not finite; give means of ln p, and drop such texts.",
    )
