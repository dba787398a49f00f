"""Learned denoisers are exact posterior means, and start where they are said to start."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp, softmax
from scipy.stats import multivariate_normal

from synthetic.data.coloured_templates import ColouredTemplates, coloured_templates
from synthetic.ladder import ladder, mixtures
from synthetic.models import LearnedMixture, LearnedTemplates, cluster_locations, parameter_count, start
from theory.mixture import Mixture, posterior_mean
from theory.noise import flow_matching, variance_preserving


def _key(seed=5):
    """A fresh one: reusing a key raises."""
    return jax.random.key(seed)


@pytest.fixture(scope="module")
def coloured():
    return coloured_templates(_key(), ColouredTemplates(n=12, templates=3, source="digits", side=0)).points


def _points(n, *shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(2.0, 3.0, (n, *shape)))


# Parameters


@pytest.mark.parametrize(
    ("model", "size", "count"),
    [
        (LearnedMixture(160, (50,), variance_preserving), 160, 8001),
        (LearnedMixture(200, (50,), variance_preserving), 160, 8001),
        (LearnedMixture(7, (3, 4), variance_preserving), 2, 25),
        (LearnedTemplates(100, (3, 225), variance_preserving), 100, 22801),
        (LearnedTemplates(100, (3, 225), variance_preserving), 1, 229),
    ],
)
def test_parameter_counts(model, size, count):
    assert parameter_count(model, size) == count


def test_the_count_is_that_of_what_is_trained():
    for model in (LearnedMixture(6, (5,), flow_matching), LearnedTemplates(6, (2, 5), flow_matching)):
        params = start(_key(), model, _points(6, *model.shape), 6)["params"]
        assert sum(leaf.size for leaf in jax.tree.leaves(params)) == parameter_count(model, 6)


# Posterior means


@pytest.mark.parametrize("noise", [variance_preserving, flow_matching])
def test_learned_mixture_is_the_posterior_mean_without_its_masked_components(noise):
    model, points = LearnedMixture(5, (2,), noise), _points(8, 2)
    variables = start(_key(), model, points, 3)
    # What is switched off lies just where it would matter.
    means = np.array(variables["params"]["means"])
    means[3:] = means[:2] + 0.01
    std = -0.4  # free in sign
    variables["params"] = {"means": jnp.asarray(means), "std": jnp.asarray(std)}
    for t in (0.05, 0.4, 0.9):
        alpha, sigma = (float(a) for a in noise(t))
        for x_t in np.random.default_rng(1).normal(size=(4, 2)) * 3:
            found = model.apply(variables, jnp.asarray(x_t), jnp.asarray(t))
            # By hand, in the published form.
            v = alpha**2 * std**2 + sigma**2
            p = softmax(-np.sum((x_t - alpha * means[:3]) ** 2, axis=1) / (2 * v))
            expected = alpha * std**2 / v * x_t + sigma**2 / v * p @ means[:3]
            np.testing.assert_allclose(found, expected, rtol=1e-10)
            without = Mixture(jnp.asarray(means[:3]), jnp.log(jnp.full(3, 1 / 3)), jnp.asarray(std**2))
            np.testing.assert_allclose(found, posterior_mean(without, jnp.asarray(x_t), alpha, sigma), rtol=1e-12)


def _dense_posterior_mean(means, covariances, x_t, alpha, sigma):
    """By dense linear algebra on flattened points with equal weights."""
    x_t, identity, logs, values = x_t.ravel(), np.eye(x_t.size), [], []
    for mean, covariance in zip(means.reshape(len(means), -1), covariances, strict=True):
        noisy = alpha**2 * covariance + sigma**2 * identity
        logs.append(multivariate_normal.logpdf(x_t, alpha * mean, noisy))
        values.append(mean + alpha * covariance @ np.linalg.solve(noisy, x_t - alpha * mean))
    return np.exp(np.array(logs) - logsumexp(logs)) @ np.array(values)


@pytest.mark.parametrize("channels", [1, 3])
def test_learned_templates_are_the_dense_block_diagonal_mixture(channels):
    rng, dim = np.random.default_rng(2), 4
    model = LearnedTemplates(5, (channels, dim), variance_preserving)
    # Lengths that differ: the log-determinant must count every channel.
    templates = rng.normal(size=(5, dim)) * np.array([0.3, 1.0, 3.0, 1.0, 1.0])[:, None]
    colours, std = rng.normal(size=(5, channels)), -0.7
    variables = start(_key(), model, _points(6, channels, dim), 3)
    variables["params"] = jax.tree.map(jnp.asarray, {"templates": templates, "colours": colours, "std": std})
    means = (colours[:, :, None] * templates[:, None, :])[:3]
    covariances = [std**2 * np.kron(np.eye(channels), np.outer(u, u)) for u in templates[:3]]
    for t in (0.2, 0.6, 0.95):
        alpha, sigma = np.sqrt(1 - t**2), t
        for x_t in rng.normal(size=(3, channels, dim)):
            found = model.apply(variables, jnp.asarray(x_t), jnp.asarray(t))
            expected = _dense_posterior_mean(means, covariances, x_t, alpha, sigma)
            np.testing.assert_allclose(np.ravel(found), expected, rtol=1e-8, atol=1e-10)


# Starts


@pytest.mark.parametrize("shape", [(3,), (2, 3)])
def test_a_start_at_points_is_different_points_nested_over_sizes(shape):
    points = _points(9, *shape)
    model = LearnedMixture(9, shape, variance_preserving)
    starts = {size: start(_key(), model, points, size) for size in range(1, 10)}
    largest = np.asarray(starts[9]["params"]["means"])
    place = [int(np.flatnonzero([np.array_equal(mean, p) for p in points])[0]) for mean in largest]
    assert sorted(place) == list(range(9))
    assert place != list(range(9))  # a random order
    for size, variables in starts.items():
        means = np.asarray(variables["params"]["means"])
        np.testing.assert_array_equal(means[:size], largest[:size])
        np.testing.assert_array_equal(means[size:], 0)
        weights = np.exp(np.asarray(variables["prior"]["log_weights"]))
        np.testing.assert_allclose(weights, np.where(np.arange(9) < size, 1 / size, 0), rtol=1e-14)
        assert float(variables["params"]["std"]) == pytest.approx(1e-3, rel=1e-12)
    other = start(_key(6), model, points, 9)["params"]["means"]
    assert not np.array_equal(other, largest)
    assert float(start(_key(), model, points, 2, variance=0.25)["params"]["std"]) == 0.5


@pytest.mark.parametrize("single", [True, False])
def test_a_start_of_templates_is_the_training_points_themselves(coloured, single):
    points = coloured.astype(jnp.float32) if single else coloured
    model = LearnedTemplates(12, (3, 64), variance_preserving)
    variables = start(_key(), model, points, 10)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {points.dtype}
    law = model.apply(variables, method="mixture")
    tolerance = 2e-6 if single else 1e-13
    distances = np.abs(np.asarray(law.means[:10, None]) - np.asarray(points)[None]).max((2, 3))
    assert distances.min(1).max() < tolerance * np.abs(points).max()
    assert len(set(distances.argmin(1))) == 10
    templates = np.asarray(variables["params"]["templates"])[:10]
    np.testing.assert_allclose(templates.max(1), 1, rtol=1e-5)  # digits have no negative ink
    np.testing.assert_allclose(law.factors[:10, :, 0], 1e-3 * templates, rtol=1e-5)
    assert float(law.variance) == 0
    smaller = start(_key(), model, points, 4)["params"]
    np.testing.assert_allclose(smaller["templates"][:4], templates[:4], atol=1e-6)


@pytest.mark.parametrize("kind", ["gaussian", "sphere"])
def test_starts_around_the_mean_at_the_points_own_spread(kind):
    n, dim = 3000, 4
    points = _points(n, dim) * jnp.array([[1.0, 1.0, 2.0, 0.5]])
    model = LearnedMixture(n, (dim,), variance_preserving)
    params = start(_key(), model, points, n, kind)["params"]
    points = np.asarray(points)
    centre, spread = points.mean(0), np.sqrt(np.mean(points.var(0)))
    away = np.asarray(params["means"]) - centre
    assert float(params["std"]) == pytest.approx(spread, rel=1e-12)
    np.testing.assert_array_less(np.abs(away.mean(0)), 5 * spread / np.sqrt(n))
    np.testing.assert_array_less(np.abs(away.var(0) / spread**2 - 1), 5 * np.sqrt(2 / n))
    lengths = np.linalg.norm(away, axis=1) / (spread * np.sqrt(dim))
    if kind == "sphere":
        np.testing.assert_allclose(lengths, 1, rtol=1e-12)
    else:  # chi with 4 degrees of freedom: squares over dim have variance 2 / dim
        np.testing.assert_allclose(np.var(lengths**2), 2 / dim, rtol=0.3)
    smaller = start(_key(), model, jnp.asarray(points), 7, kind)["params"]["means"]
    np.testing.assert_array_equal(smaller[:7], params["means"][:7])


def test_a_sphere_of_pictures_has_the_radius_of_all_their_pixels():
    points = _points(50, 2, 3)
    params = start(_key(), LearnedMixture(50, (2, 3), variance_preserving), points, 50, "sphere")["params"]
    spread = np.sqrt(np.mean(np.var(points, 0)))
    lengths = np.linalg.norm(np.reshape(params["means"] - points.mean(0)[None], (50, 6)), axis=1)
    np.testing.assert_allclose(lengths, spread * np.sqrt(6), rtol=1e-12)


@pytest.mark.parametrize(("capacity", "size"), [(20, 9), (5, 6), (5, 0), (5, -1)])
def test_a_size_that_is_not_there_is_refused(capacity, size):
    with pytest.raises(ValueError, match=f"size is {size}"):
        start(_key(), LearnedMixture(capacity, (3,), variance_preserving), _points(8, 3), size)


def test_an_unknown_start_is_refused():
    with pytest.raises(ValueError, match=r"'prior'.*points, gaussian, sphere"):
        start(_key(), LearnedMixture(5, (3,), variance_preserving), _points(8, 3), 2, "prior")


def test_a_start_at_clusters_is_theirs():
    """Ten far clusters are found; with as many clusters as points the points themselves, without a spread."""
    rng = np.random.default_rng(5)
    points = (np.repeat(100 * rng.normal(size=(10, 3)), 8, axis=0) + rng.normal(size=(80, 3))).astype(np.float32)
    found, spread = cluster_locations(0, points, 10)
    means = points.reshape(10, 8, 3).mean(axis=1)
    order = np.linalg.norm(found[:, None] - means[None], axis=-1).argmin(axis=1)
    assert sorted(order) == list(range(10))
    np.testing.assert_allclose(found, means[order], atol=1e-4)
    within = ((points.reshape(10, 8, 3) - means[:, None]) ** 2).mean()
    np.testing.assert_allclose(spread, within, rtol=1e-4)
    every, none = cluster_locations(0, points, 80)
    assert sorted(map(tuple, every.round(3))) == sorted(map(tuple, points.round(3)))
    assert none == np.float32(1e-6)


def test_a_ladder_from_clusters_has_each_size_its_own():
    points = jax.random.normal(jax.random.key(7), (2, 12, 3))
    keys = jax.random.split(jax.random.key(8), 2)
    for padded in (False, True):
        found = ladder(keys, lambda m: LearnedMixture(m, (3,), variance_preserving), points, (3, 12), "k-means", padded)
        laws = mixtures(found)
        assert laws.means.shape == (2, 2, 12, 3)
        for s in range(2):
            centres = np.asarray(laws.means[s, 0, :3])
            # Every centre of k-means is the mean of the points nearest to it.
            nearest = np.linalg.norm(points[s][:, None] - centres[None], axis=-1).argmin(axis=1)
            np.testing.assert_allclose(
                centres, [np.asarray(points[s])[nearest == k].mean(axis=0) for k in range(3)], atol=1e-5
            )
        assert (np.asarray(laws.variance[:, 0]) > 100 * np.asarray(laws.variance[:, 1])).all()
