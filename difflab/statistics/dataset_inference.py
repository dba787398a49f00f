"""Was a set of items trained on? Many weak membership scores, a linear model, and a test on items that it did not see.

The suspects may have been trained on; the controls were not, and are otherwise drawn alike. If a model that is fitted
to tell them apart scores held-out suspects higher than held-out controls, the suspects were trained on.

Two tests differ in what is held out. `cross_fitted` is the published one: five folds, all of them tested together. With
many features it alarms several times too often where there is nothing to find, for the folds are no independent
evidence: with a model that follows the difference of means, the product of the differences of any two folds is counted
twice, so that the variance is twice what the test takes it for. `split` fits on one half and tests the other, and keeps
its level.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import ttest_ind
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

from difflab.errors import require
from difflab.progress import progress

FOLDS = 5
LEVEL = 0.01
"""Below this p value the suspects count as trained on."""
LEAST = 5
"""Items of each kind that a test needs."""


def cross_fitted(
    suspects: Float[np.ndarray, "n k"], controls: Float[np.ndarray, "_ _"], random: np.random.Generator
) -> float:
    """The p value of the published test: each item is scored by a model of the other four folds, then all are compared.

    Features are standardised and a logistic regression is fitted without the fold; suspects and controls of one place
    share a fold. The scores of all folds go into Welch's test that suspects score higher.

    Args:
        suspects: k features of n items, at least 5.
        controls: the same of as many, n x k.
        random: shuffles the folds.

    Returns:
        In [0, 1]; 1 where all scores are alike. With many features below 0.01 more often than 1 % of the time under
            the null.

    Raises:
        InputError: there are not as many controls as suspects, fewer than 5, or a feature is not finite.

    Reference:
        CDI, Dubinski et al. 2025, arXiv 2411.12858.

    Differs:
        The published code tests two-sided and looks at the sign apart; the paper says one-sided, as here.
    """
    _check(suspects, controls)
    tested = np.empty((2, len(suspects)))
    folds = KFold(FOLDS, shuffle=True, random_state=int(random.integers(2**32)))
    for _, test in folds.split(suspects):
        here = np.isin(np.arange(len(suspects)), test)
        tested[:, here] = _scored(suspects, controls, here)
    return _one_sided(tested)


def split(suspects: Float[np.ndarray, "n k"], controls: Float[np.ndarray, "_ _"], random: np.random.Generator) -> float:
    """The p value of one split: a model of one half of the items scores the other half, which alone is compared.

    Args, errors and reference are those of `cross_fitted`.

    Returns:
        In [0, 1]; 1 where all scores are alike. Below 0.01 about 1 % of the time under the null.

    Differs:
        One split for five folds: held-out items are independent of the model and of each other, as the test takes them
        to be, and half as many are left.
    """
    _check(suspects, controls)
    n = len(suspects)
    here = np.isin(np.arange(n), random.permutation(n)[: (n + 1) // 2])
    return _one_sided(_scored(suspects, controls, here))


Test = Callable[[Float[np.ndarray, "n k"], Float[np.ndarray, "n k"], np.random.Generator], float]
TESTS: dict[str, Test] = {"one split": split, "five folds": cross_fitted}


def p_values(
    test: Test,
    suspects: Float[np.ndarray, "n k"],
    controls: Float[np.ndarray, "m k"],
    sample: int,
    resamples: int,
    random: np.random.Generator,
) -> Float[np.ndarray, " resamples"]:
    """p values of samples of a size, drawn anew each time without replacement from each of the two.

    Their mean is what the paper reports. It is no error rate: the share below a level is one, see `null_p_values`.

    Args:
        test: `split` or `cross_fitted`.
        suspects: k features of n items.
        controls: the same of m.
        sample: items drawn of each, at least 5, at most n and m.
        resamples: how often, at least 1.
        random: draws them.

    Raises:
        InputError: the sample is larger than either set or smaller than 5, there is no resample, or a feature is not
            finite.
    """
    most = min(len(suspects), len(controls))
    require(LEAST <= sample <= most, f"sample is {sample}; give {LEAST} to {most}, as many as there are of either.")
    require(resamples >= 1, f"resamples is {resamples}; give at least 1.")
    found = []
    with progress(resamples, f"dataset inference on {sample} items", fleeting=True) as advance:
        for _ in range(resamples):
            one = suspects[random.permutation(len(suspects))[:sample]]
            other = controls[random.permutation(len(controls))[:sample]]
            found.append(test(one, other, random))
            advance()
    return np.array(found)


def null_p_values(
    test: Test, controls: Float[np.ndarray, "m k"], sample: int, sets: int, random: np.random.Generator
) -> Float[np.ndarray, " sets"]:
    """p values where there is nothing to find: of two disjoint samples of the controls, drawn anew each time.

    The share below a level is the rate of false alarms; sets of few controls share items.

    Args:
        test: `split` or `cross_fitted`.
        controls: k features of m items that were not trained on.
        sample: items in each of the two, at least 5, at most half of m.
        sets: how many pairs, at least 1.
        random: draws them.

    Raises:
        InputError: the sample is larger than half of the controls or smaller than 5, there is no set, or a feature is
            not finite.
    """
    most = len(controls) // 2
    require(LEAST <= sample <= most, f"sample is {sample}; give {LEAST} to {most}, half of the controls.")
    require(sets >= 1, f"sets is {sets}; give at least 1.")
    found = []
    with progress(sets, f"null sets of {sample} items", fleeting=True) as advance:
        for _ in range(sets):
            order = random.permutation(len(controls))
            found.append(test(controls[order[:sample]], controls[order[sample : 2 * sample]], random))
            advance()
    return np.array(found)


def _scored(
    suspects: Float[np.ndarray, "n k"], controls: Float[np.ndarray, "n k"], tested: Bool[np.ndarray, " n"]
) -> Float[np.ndarray, "2 tested"]:
    """How sure a linear model, fitted on the places that are not tested, is that those tested are suspects."""
    seen = np.concatenate([suspects[~tested], controls[~tested]])
    scaler = StandardScaler().fit(seen)
    # Newton's method finds what the default solver finds, in half the time.
    model = LogisticRegression(solver="newton-cholesky").fit(scaler.transform(seen), np.repeat([1, 0], (~tested).sum()))
    return np.stack([model.predict_proba(scaler.transform(of[tested]))[:, 1] for of in (suspects, controls)])


def _one_sided(scores: Float[np.ndarray, "2 n"]) -> float:
    """Of Welch's test that the first row is higher."""
    if np.ptp(scores) == 0:
        return 1.0
    return float(ttest_ind(scores[0], scores[1], equal_var=False, alternative="greater").pvalue)


def _check(suspects: Float[np.ndarray, "n k"], controls: Float[np.ndarray, "_ _"]) -> None:
    require(
        len(suspects) >= LEAST and controls.shape == suspects.shape,
        f"the suspects have shape {suspects.shape} and the controls {controls.shape}; give as many of each, at least"
        f" {LEAST}, with the same features.",
    )
    require(bool(np.isfinite([suspects, controls]).all()), "a feature is not finite; drop its item.")
