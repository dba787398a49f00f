"""Membership by shadow models: a model's score of an item against those of models that did, and did not, see it.

Worlds serve as shadow models: each is trained on its own part of the items, which a matrix of truth values says.
Nothing here trains a model or knows what a score is.
"""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import norm

from difflab.errors import require

Centre = Literal["mean", "median"]
Spread = Literal["item", "pooled", "pooled inside"]


def lira(
    observed: Float[np.ndarray, " n"],
    scores: Float[np.ndarray, "worlds _"],
    inside: Bool[np.ndarray, "_ _"],
    centre: Centre = "mean",
    spread: Spread = "item",
) -> Float[np.ndarray, " n"]:
    """The likelihood-ratio attack: a Gaussian for each item over the worlds that saw it, and one over the others.

    lira[i] = log N(observed[i]; mean_in, std_in) - log N(observed[i]; mean_out, std_out), both of item i alone.

    Args:
        observed: scores by the model in question, higher = more likely a member; minus a loss, or its logit.
        scores: the same by every world, worlds x n.
        inside: whether the world was trained on the item, worlds x n.
        centre: of each Gaussian; the published code takes the median.
        spread: of each item alone; or one for all items, within items, which is better with few worlds; "pooled inside"
            takes that of worlds inside for both Gaussians, as the published code does.

    Returns:
        Higher = more likely a member; 0 where both laws say the same.

    Raises:
        InputError: shapes differ, a number is not finite, an item is inside or outside of fewer than two worlds, or all
            those worlds give it one score.

    Reference:
        Carlini et al. 2022, arXiv 2112.03570, the online attack.

    Differs:
        Variances are unbiased (n - 1), and each item has its own whatever the number of worlds unless pooled. A pooled
        one is within items; that of the published code counts how items differ, too.
    """
    _check(observed, scores, inside)
    fewest = int(inside.sum(axis=0).min(initial=2))
    require(fewest >= 2, f"an item is inside of {fewest} worlds; it needs at least 2, or lira_offline.")
    (middle_in, width_in), (middle_out, width_out) = (_law(scores, here, centre, spread) for here in (inside, ~inside))
    if spread == "pooled inside":
        width_out = width_in
    return norm.logpdf(observed, middle_in, width_in) - norm.logpdf(observed, middle_out, width_out)


def guessed_right(scores: Float[np.ndarray, "worlds n"], inside: Bool[np.ndarray, "_ _"]) -> Float[np.ndarray, " n"]:
    """Of every item the share of worlds whose membership is told by the others: how well it is kept by heart.

    Each world in turn is the model in question; it is guessed to have seen an item where `lira` of the others is above
    0.

    Args:
        scores: worlds x n, higher = more likely a member.
        inside: whether the world was trained on the item.

    Returns:
        In [0, 1]; about a half where nothing tells.

    Raises:
        InputError: as `lira`, of all worlds but one.

    Reference:
        Dentan et al. 2024, arXiv 2409.18858, who count an item as memorized from 0.9 on.

    Differs:
        In the published code the model in question is among those that the laws are fitted on.
    """
    right = np.empty(scores.shape, bool)
    for world in range(len(scores)):
        others = np.arange(len(scores)) != world
        right[world] = (lira(scores[world], scores[others], inside[others]) > 0) == inside[world]
    return right.mean(axis=0)


def lira_offline(
    observed: Float[np.ndarray, " n"],
    scores: Float[np.ndarray, "worlds _"],
    inside: Bool[np.ndarray, "_ _"],
) -> Float[np.ndarray, " n"]:
    """The same without worlds that saw the item: how few of the others would score it as high.

    lira_offline[i] = 1 - Pr[N(mean_out, std_out) > observed[i]].

    Args and errors are those of `lira`; worlds inside an item are not looked at.

    Returns:
        In [0, 1], higher = more likely a member.

    Reference:
        Carlini et al. 2022, arXiv 2112.03570, the offline attack.
    """
    _check(observed, scores, inside)
    middle, spread = _law(scores, ~inside)
    return norm.cdf(observed, middle, spread)


def rmia(
    observed: Float[np.ndarray, " n"],
    worlds: Float[np.ndarray, "worlds _"],
    inside: Bool[np.ndarray, "_ _"],
    population: Float[np.ndarray, " m"],
    population_worlds: Float[np.ndarray, "_ _"],
    slope: float = 0.3,
    gamma: float = 1.0,
) -> Float[np.ndarray, " n"]:
    """The robust attack: the share of a population that an item's ratio of probabilities exceeds.

    r(x) = p(x) / pbar(x) with pbar(x) = ((1 + slope) mean_out(x) + 1 - slope) / 2, mean_out being that of the worlds
    that did not see x; rmia[i] = share of the population z with r(x_i) / r(z) > gamma.

    Args:
        observed: probabilities by the model in question, in (0, 1); of a loss, exp(-loss).
        worlds: the same by every world, worlds x n.
        inside: whether the world was trained on the item, worlds x n.
        population: probabilities, by the model in question, of items that neither it nor any world saw.
        population_worlds: the same by every world, worlds x m.
        slope: a', in [0, 1]: how the mean over all worlds grows with that over those that did not see the item; 1 takes
            the latter.
        gamma: how much larger the ratio must be, above 0.

    Returns:
        In [0, 1], higher = more likely a member.

    Raises:
        InputError: shapes differ, a probability is not in (0, 1), an item is outside of no world, the population is
            empty, or slope or gamma is out of its range.

    Reference:
        Zarifzadeh et al. 2024, arXiv 2312.03262, the offline attack; the slope is that of its code.

    Differs:
        Which probability a diffusion model gives a picture is left to the caller; exp(-loss) is our choice.
    """
    _check(observed, worlds, inside, least=1)
    require(len(population) > 0, "the population is empty; give items that no model saw.")
    require(
        population_worlds.shape == (len(worlds), len(population)),
        f"the population has shape {population.shape}, by the worlds {population_worlds.shape}; give one number for"
        f" each item and each of {len(worlds)} worlds.",
    )
    for given in (observed, worlds, population, population_worlds):
        require(bool(((given > 0) & (given < 1)).all()), "a probability lies outside of (0, 1); give exp(-loss).")
    require(0 <= slope <= 1 and gamma > 0, f"slope is {slope} and gamma {gamma}; give 0 to 1, and a number above 0.")
    mean_out = np.where(inside, 0.0, worlds).sum(axis=0) / (~inside).sum(axis=0)
    ratio = observed / ((1 + slope) * mean_out + 1 - slope)
    others = np.sort(population / ((1 + slope) * population_worlds.mean(axis=0) + 1 - slope))
    return np.searchsorted(others * gamma, ratio, side="left") / len(others)


def _law(
    scores: Float[np.ndarray, "worlds n"],
    here: Bool[np.ndarray, "worlds n"],
    centre: Centre = "mean",
    spread: Spread = "item",
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Centre and standard deviation of each item's scores by these worlds."""
    n = here.sum(axis=0)
    middle = np.where(here, scores, 0.0).sum(axis=0) / n
    squares = (np.where(here, scores - middle, 0.0) ** 2).sum(axis=0)
    width = np.sqrt(squares / (n - 1))
    if spread != "item":
        width = np.full_like(width, np.sqrt(squares.sum() / (n - 1).sum()))
    require(bool((width > 0).all()), "all worlds give an item one score; give scores that differ.")
    if centre == "median":
        middle = np.nanmedian(np.where(here, scores, np.nan), axis=0)
    return middle, width


def _check(
    observed: Float[np.ndarray, " n"],
    scores: Float[np.ndarray, "worlds _"],
    inside: Bool[np.ndarray, "_ _"],
    least: int = 2,
) -> None:
    require(
        scores.shape == inside.shape and scores.shape[1:] == observed.shape,
        f"the scores have shape {observed.shape}, by the worlds {scores.shape}, and inside has {inside.shape}; give one"
        " of each for every item and world.",
    )
    require(bool(np.isfinite(observed).all() and np.isfinite(scores).all()), "a score is not finite; drop that item.")
    fewest = int((~inside).sum(axis=0).min(initial=least))
    require(fewest >= least, f"an item is outside of {fewest} worlds; it needs at least {least}.")
