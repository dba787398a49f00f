"""The fitted weight finds the crossings that it was made from."""

import numpy as np
import pytest

from theory.crossover import crossover_fraction
from theory.noise import uniform_times, variance_preserving
from theory.regression import crossings, fitted_weight

FRACTIONS = np.linspace(0.005, 1, 200)


def closed_gaps(variances, times):
    """(1 - M/N) - 1 / (1 + psi s), one setting a variance, in units of d s."""
    alpha, sigma = (np.asarray(a) for a in variance_preserving(times))
    kept = np.stack([sigma**2 / (sigma**2 + alpha**2 * s) for s in variances])
    return (1 - FRACTIONS)[None, :, None] - kept[:, None, :]


def test_it_recovers_transitions_that_a_weight_explains_and_predicts_unseen_ones():
    times = uniform_times(26)
    weight = np.exp(-(((times - 0.4) / 0.2) ** 2))
    variances = np.array([0.25, 0.5, 1.0, 2.0, 4.0, 0.7, 3.0])
    truth = np.array([crossover_fraction(s, variance_preserving, times, weight) for s in variances])
    gaps = closed_gaps(variances, times)
    fit = fitted_weight(gaps[:5], FRACTIONS, truth[:5])
    assert np.all(fit.weight >= 0)
    assert fit.fractions == pytest.approx(truth[:5], abs=0.01)
    assert crossings(fit.weight, gaps[5:], FRACTIONS) == pytest.approx(truth[5:], abs=0.02)
    # A constant is much worse, so that the weight did it.
    assert np.abs(truth[5:] - truth[:5].mean()).max() > 0.05


def test_settings_with_the_same_losses_get_their_mean():
    """Closed forms at one variance tell no settings apart: 26 weights are one number."""
    gaps = np.tile(closed_gaps([1.0], uniform_times(26)), (4, 1, 1))
    found = np.array([0.76, 0.79, 0.80, 0.85])
    fit = fitted_weight(gaps, FRACTIONS, found)
    assert fit.fractions == pytest.approx(found.mean(), abs=0.005)


def test_a_sharp_weight_crosses_where_the_gap_is_zero():
    times = np.array([0.3, 0.6])
    gaps = closed_gaps([1.0], times)
    for place, t in enumerate(times):
        weight = 1000.0 * (np.arange(2) == place)
        exact = crossover_fraction(1.0, variance_preserving, [t], [1.0])
        assert crossings(weight, gaps, FRACTIONS) == pytest.approx(exact, abs=0.003)
