"""Local dimension against closed forms: the true law, an atom in it, and the memorizing denoiser."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from theory.denoisers import denoiser, generalizing, memorizing, partly_memorizing
from theory.dimension import exact_trace, local_dimension, local_pca, normal_bundle, sketched_trace
from theory.mixture import sample, sample_components
from theory.noise import SCHEDULES, variance_exploding, variance_preserving

DIM, RANK = 6, 2


@pytest.fixture(scope="module")
def law():
    """Three planes in six dimensions."""
    means = 5 * jax.random.normal(jax.random.key(0), (3, DIM))
    return generalizing(means, 0.0, jax.random.normal(jax.random.key(1), (3, DIM, RANK)))


@pytest.fixture(scope="module")
def points(law):
    return sample(jax.random.key(2), law, 12)


def found(mixture, points, t, noise=variance_preserving, **more):
    return np.asarray(local_dimension(denoiser(mixture, noise), points, noise, t, **more))


def test_of_the_true_law(law, points):
    assert_allclose(found(law, points, 0.003), RANK, atol=0.01)
    assert_allclose(found(generalizing(law.means, 1.0), points, 0.003), DIM, atol=0.01)


def test_of_a_memorized_and_an_unseen_point(points):
    assert_allclose(found(memorizing(points), points, 0.05), 0, atol=1e-9)
    half = found(partly_memorizing(points, 6), points, 0.05)
    # No atom is near the others, which the clip calls the largest dimension that there is.
    assert_allclose(half, [0] * 6 + [DIM] * 6, atol=1e-9)


def test_of_an_atom_within_a_law(law):
    atomic = law._replace(factors=law.factors.at[0].set(0.0))
    drawn, labels = sample_components(jax.random.key(3), atomic, 40)
    dimensions = found(atomic, drawn, 0.003)
    assert_allclose(dimensions, np.where(labels == 0, 0, RANK), atol=0.01)
    assert 0 < np.sum(labels == 0) < 40


@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("schedule", ["vp", "flow", "ve"])
def test_it_is_the_mean_squared_distance_in_units_of_the_noise(law, points, schedule, t):
    """The posterior of x0 given x_t = alpha x, component by component, by dense linear algebra."""
    noise = SCHEDULES[schedule]
    alpha, sigma = (float(a) for a in noise(t))
    mixture = law._replace(variance=jnp.array(0.3), log_weights=jnp.log(jnp.array([0.2, 0.5, 0.3])))
    expected = []
    for x in np.asarray(points):
        logs, distances = [], []
        for k in range(3):
            mean, factor = np.asarray(mixture.means[k]), np.asarray(mixture.factors[k])
            covariance = 0.3 * np.eye(DIM) + factor @ factor.T
            noisy = alpha**2 * covariance + sigma**2 * np.eye(DIM)
            gain = alpha * covariance @ np.linalg.inv(noisy)
            there = mean + gain @ (alpha * (x - mean))
            left = covariance - alpha * gain @ covariance
            off = alpha * (x - mean)
            logs.append(
                float(mixture.log_weights[k]) - (off @ np.linalg.solve(noisy, off) + np.linalg.slogdet(noisy)[1]) / 2
            )
            distances.append(np.trace(left) + np.sum((there - x) ** 2))
        weights = np.exp(np.array(logs) - max(logs))
        expected.append((alpha / sigma) ** 2 * weights @ distances / weights.sum())
    assert_allclose(found(mixture, points, t, noise), np.clip(expected, 0, DIM), rtol=1e-8)
    assert np.any((np.array(expected) > 0.2) & (np.array(expected) < DIM))


def test_in_channels(law):
    """A coloured template: one factor, a dimension for every channel."""
    template = jnp.arange(1.0, 5.0)[None, :, None]
    coloured = generalizing(jnp.zeros((1, 3, 4)), 0.0, template)
    pictures = sample(jax.random.key(4), coloured, 5)
    assert_allclose(found(coloured, pictures, 0.01), 3, atol=0.01)


def signs(seed, n):
    return jax.random.rademacher(jax.random.key(seed), (n, DIM), float)


def test_sketched_traces(law, points):
    """One probe is exact for one Gaussian, whose denoiser scales; for planes the mean over probes is unbiased."""
    single = generalizing(jnp.zeros((1, DIM)), 1.5)
    one = sketched_trace(signs(0, 1))
    assert_allclose(found(single, points[:3] / 9, 0.3, trace=one), found(single, points[:3] / 9, 0.3), rtol=1e-10)

    def function(x_t):
        return denoiser(law, variance_preserving)(x_t, 0.3)

    x, n = points[0], 2000
    each = np.array(jax.vmap(lambda v: sketched_trace(v[None])(function, x))(signs(1, n)))
    assert each.std() > 0 and abs(each.mean() - float(exact_trace(function, x))) < 4 * each.std() / n**0.5
    assert float(sketched_trace(signs(1, n))(function, x)) == pytest.approx(each.mean(), rel=1e-10)


def test_normal_bundle(law, points):
    t, draws = 0.01, 8 * DIM

    def bundle(mixture):
        of = denoiser(mixture, variance_preserving)
        return np.asarray(normal_bundle(jax.random.key(0), of, points, variance_preserving, t, draws))

    assert bundle(law).tolist() == [RANK] * 12
    assert bundle(memorizing(points)).tolist() == [0] * 12
    assert bundle(generalizing(law.means, 1.0)).tolist() == [DIM] * 12
    with pytest.raises(ValueError, match="at least 48"):
        normal_bundle(jax.random.key(0), denoiser(law, variance_preserving), points, variance_preserving, t, 47)


def test_a_point_far_from_the_mean_has_no_direction_less():
    """At this noise the pull to the mean, ten standard deviations away, is larger than the noise itself."""
    cloud, x = generalizing(jnp.zeros((1, DIM)), 1.0), 10 * jnp.eye(DIM)[:1]
    of = denoiser(cloud, variance_preserving)
    assert normal_bundle(jax.random.key(0), of, x, variance_preserving, 0.3, 8 * DIM).tolist() == [DIM]


@pytest.mark.parametrize(("times", "expected"), [(0.9, 0), (1.1, DIM)])
def test_the_threshold_stands_where_the_docstring_puts_it(times, expected):
    """Under variance exploding noise sigma / alpha = t; a variance of t^2 is the border."""
    t, cloud = 0.5, generalizing(jnp.zeros((1, DIM)), times * 0.5**2)
    of = denoiser(cloud, variance_exploding)
    dimension = normal_bundle(jax.random.key(0), of, jnp.zeros((1, DIM)), variance_exploding, t, 100_000)
    assert dimension.tolist() == [expected]


def test_local_pca():
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 5))
    line = np.array([40.0, 0, 0, 0, 0]) + rng.normal(size=(60, 1)) * np.eye(5)[1]
    assert local_pca(np.concatenate([plane, line]), 10).tolist() == [2] * 60 + [1] * 60
    assert local_pca(np.zeros((4, 3)), 3).tolist() == [0] * 4
    for wrong in (1, 5):
        with pytest.raises(ValueError, match="2 to 4"):
            local_pca(np.zeros((4, 3)), wrong)
