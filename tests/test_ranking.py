"""Area under the curve and true positives against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from difflab.errors import InputError
from difflab.statistics.ranking import auc, true_positives

labelled = st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=2, max_size=60).filter(
    lambda pairs: len({label for _, label in pairs}) == 2
)


@given(labelled)
def test_auc_is_scikit_learns_with_ties(pairs):
    scores, positive = np.array([s for s, _ in pairs], float), np.array([p for _, p in pairs])
    assert auc(scores, positive) == pytest.approx(roc_auc_score(positive, scores), abs=1e-12)


@given(labelled, st.sampled_from([0.0, 0.01, 0.1, 0.5]))
def test_true_positives_are_the_best_point_within_the_rate(pairs, rate):
    scores, positive = np.array([s for s, _ in pairs], float), np.array([p for _, p in pairs])
    false, true, _ = roc_curve(positive, scores, drop_intermediate=False)
    allowed = int(rate * (~positive).sum()) / (~positive).sum()
    assert true_positives(scores, positive, rate) == pytest.approx(true[false <= allowed + 1e-12].max(), abs=1e-12)


def test_one_kind_alone_tells_nothing():
    assert auc(np.arange(3.0), np.ones(3, bool)) == auc(np.arange(3.0), np.zeros(3, bool)) == 0.5
    assert true_positives(np.arange(3.0), np.ones(3, bool)) == 0
    with pytest.raises(InputError):
        true_positives(np.arange(3.0), np.array([True, False, False]), 1.0)
