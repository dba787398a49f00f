"""Alignment: the map is ridge regression, and it tells right captions from wrong ones."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from difflab.diffusion.alignment import aligned, fit_alignment
from difflab.errors import InputError

WORDS = np.array(["red", "green", "blue", "cat", "dog", "fish"])


def captioned(generator, n, noise=0.3):
    """Pictures whose features are a random mixture of their two words, and noise."""
    pairs = np.stack([generator.integers(0, 3, n), generator.integers(3, 6, n)], axis=1)
    mixing = np.random.default_rng(1).normal(size=(6, 10))
    features = mixing[pairs].sum(axis=1) + noise * generator.normal(size=(n, 10))
    return features, [" ".join(WORDS[pair]) for pair in pairs]


def test_it_is_ridge_regression():
    features, captions = captioned(np.random.default_rng(0), 200)
    found = fit_alignment(features, captions, ridge=0.5)
    assert found.words == ("blue", "cat", "dog", "fish", "green", "red")
    targets = np.array([[word in caption.split() for word in found.words] for caption in captions], float)
    scale = features.var(axis=0).mean()
    expected = Ridge(alpha=0.5 * scale * len(features)).fit(features, targets / targets.std(axis=0))
    np.testing.assert_allclose(found.weights, expected.coef_.T, rtol=1e-8)


def test_right_captions_score_higher_than_wrong_ones_and_the_score_is_a_cosine():
    generator = np.random.default_rng(0)
    found = fit_alignment(*captioned(generator, 300), ridge=0.1)
    features, captions = captioned(generator, 100)
    other = {"red": "green", "green": "blue", "blue": "red", "cat": "dog", "dog": "fish", "fish": "cat"}
    wrong = [" ".join(other[word] for word in caption.split()) for caption in captions]
    right, mistaken = aligned(found, features, captions), aligned(found, features, wrong)
    assert (right > mistaken).mean() > 0.95
    assert (np.abs(right) <= 1 + 1e-12).all() and np.median(right) > 0.8
    # The cosine does not depend on how far from the mean a picture lies.
    centre = found.offset[0]
    np.testing.assert_allclose(aligned(found, centre + 3 * (features - centre), captions), right)


def test_unknown_words_count_for_nothing():
    generator = np.random.default_rng(0)
    found = fit_alignment(*captioned(generator, 300))
    features, captions = captioned(generator, 5)
    np.testing.assert_array_equal(
        aligned(found, features, [f"{c} zebra" for c in captions]), aligned(found, features, captions)
    )
    np.testing.assert_array_equal(aligned(found, features, ["zebra"] * 5), 0)
    np.testing.assert_array_equal(
        aligned(found, features, [c.upper() for c in captions]), aligned(found, features, captions)
    )


@pytest.mark.parametrize("captions", [["a", "b", "c"], ["a", "a"]])
def test_nothing_to_fit_is_refused(captions):
    with pytest.raises(InputError):
        fit_alignment(np.eye(3), captions)
