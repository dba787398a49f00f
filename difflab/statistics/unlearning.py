"""How well a model has forgotten and what else it lost: the measures of TOFU and MUSE on arrays, and how robust it is.

Likelihoods come as losses: the mean of -ln p over the tokens of an answer, in nats.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from rapidfuzz.distance import LCSseq
from scipy.stats import ks_2samp

from difflab.errors import require
from difflab.statistics.ranking import auc

GEOMETRIC, ARITHMETIC = "geometric", "arithmetic"
"""Means over wrong answers."""


class Rouge(NamedTuple):
    """Agreement of what was written with the truth, in [0, 1]."""

    recall: float
    precision: float
    f: float


def words_of(text: str) -> list[str]:
    """Words of a text as ROUGE counts them: runs of letters and digits of ASCII, in small letters, none stemmed.

    >>> words_of("It's 3.5 Über-large")
    ['it', 's', '3', '5', 'ber', 'large']
    """
    return re.findall(r"[a-z0-9]+", text.lower())


def rouge_l(written: Sequence[object], truth: Sequence[object]) -> Rouge:
    """The longest common subsequence: over the length of the truth, of what was written, and the harmonic mean of both.

    Args:
        written, truth: words (`words_of`) or tokens.

    Returns:
        All 0 where either is empty.

    Reference:
        TOFU takes the recall (arXiv 2401.06121); MUSE takes F, of 128 tokens for VerbMem and of 32 for KnowMem, times
        100 (arXiv 2407.06460).
    """
    if not written or not truth:
        return Rouge(0.0, 0.0, 0.0)
    common = LCSseq.similarity(list(written), list(truth))
    recall, precision = common / len(truth), common / len(written)
    return Rouge(recall, precision, 2 * recall * precision / (recall + precision) if common else 0.0)


def option_probability(true: Float[np.ndarray, " n"], false: Float[np.ndarray, "n k"]) -> Float[np.ndarray, " n"]:
    """The true answer's probability among k + 1: p / (p + sum of the others'), each exp(-loss).

    Args:
        true: loss of the true answer of n questions.
        false: losses of the others.

    Reference:
        Maini et al. 2024 (TOFU), arXiv 2401.06121: p of every token is raised to 1 / length.
    """
    return 1 / (1 + np.exp(true[:, None] - false).sum(axis=1))


def truth_ratio(
    paraphrased: Float[np.ndarray, " n"], perturbed: Float[np.ndarray, "n k"], mean: str = GEOMETRIC
) -> Float[np.ndarray, " n"]:
    """R: the mean probability of wrong answers over that of the right one said in other words.

    Args:
        paraphrased: loss of the right answer.
        perturbed: losses of k wrong ones.
        mean: geometric, exp(-mean loss), as in TOFU's script of results and in open-unlearning; or arithmetic, as in
            the paper's equation and in TOFU's other script.

    Returns:
        Positive; below 1 where the right answer is likelier.

    Raises:
        InputError: there are no wrong answers, or mean is another word.

    Reference:
        Maini et al. 2024 (TOFU), arXiv 2401.06121, equation 1.
    """
    require(perturbed.shape[1] > 0, "there are no wrong answers; give at least one for each question.")
    require(mean in (GEOMETRIC, ARITHMETIC), f"mean is {mean!r}; give {GEOMETRIC} or {ARITHMETIC}.")
    if mean == GEOMETRIC:
        return np.exp(paraphrased - perturbed.mean(axis=1))
    return np.exp(paraphrased[:, None] - perturbed).mean(axis=1)


def truthfulness(ratios: Float[np.ndarray, " n"], forget: bool = False) -> float:
    """One number for truth ratios: higher = nearer to what is wanted of the set.

    Args:
        ratios: R, positive.
        forget: of texts to forget, right and wrong answers should be as likely: the mean of min(R, 1 / R). Of others
            the right one should be: the mean of max(0, 1 - R).

    Returns:
        In [0, 1].

    Reference:
        Maini et al. 2024 (TOFU), arXiv 2401.06121, as its script of results does.
    """
    return float(np.minimum(ratios, 1 / ratios).mean() if forget else np.maximum(0.0, 1 - ratios).mean())


def forget_quality(unlearned: Float[np.ndarray, " n"], retrained: Float[np.ndarray, " m"]) -> float:
    """p value of the two-sample test of Kolmogorov and Smirnov: could both come from one law?

    Args:
        unlearned: truth ratios of the texts to forget, by the model that forgot them.
        retrained: the same by a model that never saw them.

    Returns:
        In [0, 1]; 1 where they are the same. It falls with the number of texts where they differ at all, so that models
        are compared on as many; and a model that is broken differs, too.

    Raises:
        InputError: either is empty.

    Reference:
        Maini et al. 2024 (TOFU), arXiv 2401.06121, section 2.
    """
    require(len(unlearned) > 0 and len(retrained) > 0, "there are no truth ratios; give those of both models.")
    return float(ks_2samp(unlearned, retrained).pvalue)


def model_utility(parts: Sequence[float]) -> float:
    """The harmonic mean of what a model still does; 0 where one part is 0.

    Args:
        parts: in [0, 1]; in TOFU probability, ROUGE-L recall and truthfulness of three sets, nine in all.

    Raises:
        InputError: there are no parts, or one lies outside of [0, 1].
    """
    require(len(parts) > 0, "there are no parts; give at least one.")
    require(all(0 <= part <= 1 for part in parts), f"parts are {list(parts)}; give numbers from 0 to 1.")
    return 0.0 if min(parts) == 0 else len(parts) / sum(1 / part for part in parts)


def privacy_leak(forget: Float[np.ndarray, " n"], holdout: Float[np.ndarray, " m"], retrained: float = 0.5) -> float:
    """PrivLeak: how far a membership score sees that texts were forgotten, against a model that never saw them.

    100 (A - A_0) / A_0, with A the probability that a text never seen scores higher than one to forget.

    Args:
        forget: scores of the texts to forget, higher = more likely a member; Min-K % with k = 0.4 is published.
        holdout: of texts that no model saw.
        retrained: A_0, the same of the retrained model.

    Returns:
        0 is wanted. Negative where the texts are still known, at least -100; positive where they are less likely than
        texts never seen, without a bound.

    Raises:
        InputError: either is empty, or A_0 is not above 0.

    Reference:
        Shi et al. 2024 (MUSE), arXiv 2407.06460, section 3.
    """
    require(len(forget) > 0 and len(holdout) > 0, "there are no scores; give those of both kinds of texts.")
    require(0 < retrained <= 1, f"retrained is {retrained}; give an area above 0 and at most 1.")
    area = auc(np.concatenate([forget, holdout]), np.arange(len(forget) + len(holdout)) >= len(forget))
    return 100 * (area - retrained) / retrained


def agreement(one: float, other: float) -> float:
    """1 - |a - b| / (|a| + |b|): 1 where two numbers agree, 0 where one is 0 or they differ in sign; 1 of two zeros."""
    whole = abs(one) + abs(other)
    return 1.0 if whole == 0 else 1 - abs(one - other) / whole


class Attacked(NamedTuple):
    """How well a model knows what it was to forget, higher = better: at first, after relearning, and at few bits."""

    plain: float
    relearned: float
    rounded: float


def robustness(unlearned: Attacked, retrained: Attacked) -> float:
    """Whether an unlearned model stays so under attack: the harmonic mean of two agreements.

    What relearning adds, against what it adds to a model that never saw the texts; and what is known at few bits,
    against what was known before.

    Returns:
        In [0, 1]; 1 where relearning teaches it no faster than the other and rounding brings nothing back.

    Reference:
        The symmetric form of open-unlearning's page; its code takes min(ratio, 1), which never punishes that knowledge
        comes back by rounding.
    """
    gains = agreement(retrained.relearned - retrained.plain, unlearned.relearned - unlearned.plain)
    return model_utility([gains, agreement(unlearned.rounded, unlearned.plain)])
