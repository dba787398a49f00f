"""Densities and posterior means against quadrature, dense linear algebra, scipy and autodiff."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.extend.core import jaxpr_as_fun
from jax.test_util import check_grads
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.special import logsumexp, softmax
from scipy.stats import multivariate_normal, norm, ortho_group

from theory import mixture as library
from theory.mixture import Mixture, sample, sample_components

log_density, posterior_mean = jax.jit(library.log_density), jax.jit(library.posterior_mean)
score = jax.jit(jax.grad(library.log_density, argnums=1))
by_log_weights = jax.jit(lambda *a: jax.grad(library.log_density)(*a).log_weights)

LEVELS = [(0.98, 0.2), (0.8, 0.6), (0.3, 0.954), (1.0, 3.0)]


def _mixture(seed, k=4, shape=(5,), rank=0, variance=0.2):
    """Unequal weights, and factors whose norms differ between components and between columns."""
    rng = np.random.default_rng(seed)
    factors = None
    if rank:
        lengths = rng.uniform(0.2, 3, size=(k, 1, 1)) * rng.uniform(0.5, 1.5, size=(k, 1, rank))
        factors = jnp.asarray(rng.normal(size=(k, shape[-1], rank)) * lengths)
    return Mixture(
        jnp.asarray(rng.normal(size=(k, *shape))),
        jnp.asarray(np.log(rng.dirichlet(np.full(k, 2.0)))),
        jnp.asarray(float(variance)),
        factors,
    )


def _dense_covariances(mixture):
    """(k, D, D) over all channels at once: the factors act as kron(identity over channels, factor)."""
    k, d = mixture.means.shape[0], mixture.means.shape[-1]
    channels = mixture.means[0].size // d
    covariances = np.zeros((k, channels * d, channels * d)) + float(mixture.variance) * np.eye(channels * d)
    if mixture.factors is not None:
        for i, factor in enumerate(np.asarray(mixture.factors)):
            block = np.kron(np.eye(channels), factor)
            covariances[i] += block @ block.T
    return covariances


def _dense(mixture, x_t, alpha, sigma):
    """Posterior mean, log density and posterior weights, by solves and determinants of full matrices."""
    means = np.asarray(mixture.means).reshape(len(mixture.means), -1)
    x = np.asarray(x_t).ravel()
    logits, conditional = [], []
    for mean, covariance, log_weight in zip(means, _dense_covariances(mixture), mixture.log_weights, strict=True):
        total = alpha**2 * covariance + sigma**2 * np.eye(x.size)
        solved = np.linalg.solve(total, x - alpha * mean)
        logdet = np.linalg.slogdet(2 * np.pi * total)[1]
        logits.append(float(log_weight) - (logdet + (x - alpha * mean) @ solved) / 2)
        conditional.append(mean + alpha * covariance @ solved)
    weights = softmax(logits)
    return (weights @ np.array(conditional)).reshape(x_t.shape), logsumexp(logits), weights


def _points(seed, mixture, alpha, sigma, n=6):
    rng = np.random.default_rng(seed)
    x0 = np.asarray(sample(jax.random.key(seed), mixture, n))
    return jnp.asarray(alpha * x0 + sigma * rng.normal(size=x0.shape))


@pytest.mark.parametrize(("alpha", "sigma"), LEVELS)
@pytest.mark.parametrize("variance", [0.3, 0.0])
def test_posterior_mean_against_quadrature(variance, alpha, sigma):
    means, weights = np.array([-2.0, 0.3, 1.5]), np.array([0.2, 0.7, 0.1])
    mixture = Mixture(jnp.asarray(means)[:, None], jnp.log(jnp.asarray(weights)), jnp.asarray(variance))
    for x in (-3.0, -0.4, 0.0, 0.9, 4.0):

        def joint(x0, x=x):
            prior = weights @ norm.pdf(x0, means, np.sqrt(variance))
            return prior * norm.pdf(x, alpha * x0, sigma)

        if variance > 0:
            options = {"epsabs": 0, "epsrel": 1e-11, "limit": 400, "points": [*means, x / alpha]}
            mass = quad(joint, -15, 15, **options)[0]
            first = quad(lambda x0: (x0 + 20) * joint(x0), -15, 15, **options)[0]
            expected = first / mass - 20
        else:
            likelihoods = weights * norm.pdf(x, alpha * means, sigma)
            mass = likelihoods.sum()
            expected = likelihoods @ means / mass
        got = posterior_mean(mixture, jnp.array([x]), alpha, sigma)
        assert_allclose(got[0], expected, rtol=1e-8, atol=1e-8)
        assert_allclose(log_density(mixture, jnp.array([x]), alpha, sigma), np.log(mass), rtol=1e-8)


@pytest.mark.parametrize(("alpha", "sigma"), LEVELS[1:3])
@pytest.mark.parametrize("variance", [0.0, 0.25])
@pytest.mark.parametrize("rank", [0, 1, 2, 3])
@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 2, 4)], ids=str)
def test_against_dense_linear_algebra(shape, rank, variance, alpha, sigma):
    mixture = _mixture(rank, shape=shape, rank=rank, variance=variance)
    for x_t in _points(7, mixture, alpha, sigma):
        mean, density, _ = _dense(mixture, x_t, alpha, sigma)
        assert_allclose(posterior_mean(mixture, x_t, alpha, sigma), mean, rtol=1e-9, atol=1e-9)
        assert_allclose(log_density(mixture, x_t, alpha, sigma), density, rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize("counted", ["one channel", "one direction"])
def test_every_factor_direction_and_channel_counts_in_the_log_determinant(counted):
    # The published code counts one channel only; such weights must be far from the true ones here.
    mixture, alpha, sigma = _mixture(3, shape=(3, 5), rank=2, variance=0.0), 0.3, 0.954
    lengths = np.linalg.eigvalsh(np.einsum("kdr,kds->krs", mixture.factors, mixture.factors))
    logs = np.log1p(alpha**2 * lengths / sigma**2)
    missing = 2 * logs.sum(1) if counted == "one channel" else 3 * logs[:, 0]
    gaps = []
    for x_t in _points(5, mixture, alpha, sigma, 30):
        # The weights themselves, as the gradient by the log prior.
        got = by_log_weights(mixture, x_t, alpha, sigma)
        _, _, weights = _dense(mixture, x_t, alpha, sigma)
        assert_allclose(got, weights, rtol=1e-8, atol=1e-12)
        gaps.append(np.abs(softmax(np.log(weights + 1e-300) + missing / 2) - weights).max())
    assert np.mean(gaps) > 0.02


def test_factor_columns_may_be_parallel_or_zero():
    mixture = _mixture(0, rank=1)
    x_t = jnp.asarray(np.random.default_rng(1).normal(size=5))
    padded = jnp.concatenate([mixture.factors, jnp.zeros_like(mixture.factors)], axis=2)
    twice = jnp.concatenate([0.6 * mixture.factors, 0.8 * mixture.factors], axis=2)
    for function in (posterior_mean, log_density):
        expected = function(mixture, x_t, 0.8, 0.6)
        for factors in (padded, twice):
            assert_allclose(function(mixture._replace(factors=factors), x_t, 0.8, 0.6), expected, rtol=1e-10)


@pytest.mark.parametrize("rank", [0, 2])
def test_log_density_against_scipy(rank):
    mixture = _mixture(2, shape=(2, 3), rank=rank)
    covariances = _dense_covariances(mixture)
    for alpha, sigma in [(1.0, 0.0), (0.6, 0.8)]:
        for x_t in _points(3, mixture, alpha, sigma):
            terms = [
                w + multivariate_normal.logpdf(x_t.ravel(), alpha * m.ravel(), alpha**2 * c + sigma**2 * np.eye(6))
                for m, c, w in zip(mixture.means, covariances, mixture.log_weights, strict=True)
            ]
            assert_allclose(log_density(mixture, x_t, alpha, sigma), logsumexp(np.array(terms)), rtol=1e-10)


@pytest.mark.parametrize(("alpha", "sigma"), LEVELS)
@pytest.mark.parametrize("variance", [0.0, 0.4])
@pytest.mark.parametrize(("shape", "rank"), [((4,), 0), ((4,), 3), ((2, 4), 2)], ids=str)
def test_tweedie(shape, rank, variance, alpha, sigma):
    mixture = _mixture(11, shape=shape, rank=rank, variance=variance)
    for x_t in _points(2, mixture, alpha, sigma, 3):
        expected = (x_t + sigma**2 * score(mixture, x_t, alpha, sigma)) / alpha
        assert_allclose(posterior_mean(mixture, x_t, alpha, sigma), expected, rtol=1e-8, atol=1e-9)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), rank=st.integers(0, 3), variance=st.sampled_from([0.0, 0.3]))
def test_rotating_and_shuffling(seed, rank, variance):
    mixture = _mixture(seed, rank=rank, variance=variance)
    rotation = jnp.asarray(ortho_group.rvs(5, random_state=seed))
    order = np.random.default_rng(seed).permutation(4)
    x_t = _points(seed, mixture, 0.8, 0.6, 1)[0]
    factors = mixture.factors
    rotated = mixture._replace(
        means=mixture.means @ rotation.T,
        factors=None if factors is None else jnp.einsum("ij,kjr->kir", rotation, factors),
    )
    shuffled = Mixture(
        mixture.means[order],
        mixture.log_weights[order],
        mixture.variance,
        None if factors is None else factors[order],
    )
    mean, density = posterior_mean(mixture, x_t, 0.8, 0.6), log_density(mixture, x_t, 0.8, 0.6)
    assert_allclose(posterior_mean(rotated, rotation @ x_t, 0.8, 0.6), rotation @ mean, rtol=0, atol=1e-9)
    assert_allclose(log_density(rotated, rotation @ x_t, 0.8, 0.6), density, rtol=1e-9, atol=1e-9)
    assert_allclose(posterior_mean(shuffled, x_t, 0.8, 0.6), mean, rtol=0, atol=1e-10)
    assert_allclose(log_density(shuffled, x_t, 0.8, 0.6), density, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("off", [[1], [0, 2, 3]], ids=str)
def test_an_infinitely_unlikely_component_is_absent(off, rank):
    mixture = _mixture(5, shape=(2, 4), rank=rank)
    on = np.setdiff1d(np.arange(4), off)
    switched = mixture._replace(log_weights=mixture.log_weights.at[np.array(off)].set(-jnp.inf))
    smaller = Mixture(
        mixture.means[on],
        mixture.log_weights[on],
        mixture.variance,
        None if rank == 0 else mixture.factors[on],
    )
    x_t = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4)))
    for function in (log_density, posterior_mean):

        def total(mixture, x_t, function=function):
            return jnp.sum(function(mixture, x_t, 0.8, 0.6))

        assert_allclose(function(switched, x_t, 0.8, 0.6), function(smaller, x_t, 0.8, 0.6), rtol=1e-12)
        slope = jax.jit(jax.grad(total, (0, 1)))
        got, got_x = slope(switched, x_t)
        expected, expected_x = slope(smaller, x_t)
        assert_allclose(got_x, expected_x, rtol=1e-10, atol=1e-12)
        assert_allclose(got.variance, expected.variance, rtol=1e-10, atol=1e-12)
        for a, b in zip((got.means, got.log_weights), (expected.means, expected.log_weights), strict=True):
            assert_allclose(a[on], b, rtol=1e-10, atol=1e-12)
            assert_allclose(a[np.array(off)], 0, rtol=0)
        if rank:
            assert_allclose(got.factors[on], expected.factors, rtol=1e-9, atol=1e-10)
            assert_allclose(got.factors[np.array(off)], 0, rtol=0)


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_gradients_by_the_parameters_against_finite_differences(rank):
    mixture = _mixture(9, shape=(2, 3), rank=rank)
    x_t = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3)))
    for function in (log_density, posterior_mean):
        check_grads(lambda m, f=function: f(m, x_t, 0.8, 0.6), (mixture,), 1, eps=1e-5)


@pytest.mark.parametrize("factor", [np.eye(4)[:, :2], np.zeros((4, 2))], ids=["orthonormal", "zero"])
def test_gradients_by_factors_of_equal_length(factor):
    mixture = Mixture(jnp.zeros((1, 4)), jnp.zeros(1), jnp.array(0.1), jnp.asarray(factor)[None])
    slope = jax.jit(jax.grad(lambda m: jnp.sum(posterior_mean(m, jnp.arange(4.0), 0.8, 0.6))))(mixture)
    assert np.all(np.isfinite(slope.factors))


@pytest.mark.parametrize("rank", [0, 2])
def test_without_noise_the_point_is_known(rank):
    mixture = _mixture(4, rank=rank)
    x_t = jnp.asarray(np.random.default_rng(0).normal(size=5))
    assert_allclose(posterior_mean(mixture, x_t, 0.8, 0.0), x_t / 0.8, rtol=1e-12)


@pytest.mark.parametrize("rank", [0, 2])
def test_without_signal_the_mean_is_the_prior_mean(rank):
    mixture = _mixture(4, rank=rank, variance=0.0)
    x_t = jnp.asarray(np.random.default_rng(0).normal(size=5))
    expected = np.exp(mixture.log_weights) @ mixture.means
    assert_allclose(posterior_mean(mixture, x_t, 0.0, 1.0), expected, rtol=1e-12)


@pytest.mark.parametrize("shape", [(4,), (6,), (1,), (3, 5), (5, 1), ()], ids=str)
def test_a_point_of_another_shape_is_refused(shape):
    mixture = _mixture(0)
    for function in (log_density, posterior_mean):
        with pytest.raises((ValueError, TypeError)) as caught:
            function(mixture, jnp.zeros(shape), 0.8, 0.6)
        # A scalar is already refused by the annotations.
        assert caught.type is ValueError or shape == ()


@pytest.mark.parametrize(("shape", "rank", "variance"), [((3,), 0, 0.4), ((2, 3), 2, 0.3), ((3, 3), 1, 0.0)])
def test_samples_have_the_moments_and_frequencies_of_the_law(shape, rank, variance):
    mixture, n = _mixture(8, k=3, shape=shape, rank=rank, variance=variance), 40_000
    points, labels = sample_components(jax.random.key(1), mixture, n)
    assert points.shape == (n, *shape)
    assert_allclose(sample(jax.random.key(1), mixture, n), points, rtol=0)
    weights, flat = np.exp(mixture.log_weights), np.asarray(points).reshape(n, -1)
    for k, covariance in enumerate(_dense_covariances(mixture)):
        chosen = flat[np.asarray(labels) == k]
        frequency_error = np.sqrt(weights[k] * (1 - weights[k]) / n)
        assert abs(len(chosen) / n - weights[k]) < 5 * frequency_error
        mean = np.asarray(mixture.means[k]).ravel()
        diagonal = np.diag(covariance)
        mean_error = np.sqrt(diagonal / len(chosen))
        assert np.all(np.abs(chosen.mean(0) - mean) < 5 * mean_error + 1e-12)
        covariance_error = np.sqrt((np.outer(diagonal, diagonal) + covariance**2) / len(chosen))
        estimated = (chosen - mean).T @ (chosen - mean) / len(chosen)
        assert np.all(np.abs(estimated - covariance) < 5 * covariance_error + 1e-12)


def test_samples_of_another_key_differ_and_of_the_same_key_do_not():
    mixture = _mixture(8, rank=2)
    one, same, other = (sample(jax.random.key(s), mixture, 5) for s in (0, 0, 1))
    assert_allclose(one, same, rtol=0)
    assert not np.any(np.isclose(one, other))


def _intermediates(jaxpr):
    """Every equation, those of inner programs too."""
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, (tuple, list)) else [value]:
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from _intermediates(inner)


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize(("shape", "rank"), [((13,), 0), ((3, 13), 0), ((3, 13), 1), ((13,), 2)], ids=str)
def test_a_batch_is_a_matrix_product(shape, rank, backward):
    batch, k = 17, 11
    mixture = _mixture(0, k=k, shape=shape, rank=rank)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(batch, *shape)))

    def denoise(mixture, x):
        return jax.vmap(lambda x_t: posterior_mean(mixture, x_t, 0.8, 0.6))(x)

    def loss(mixture, x):
        return jnp.sum(denoise(mixture, x) ** 2)

    program = jax.make_jaxpr(jax.grad(loss) if backward else denoise)(mixture, x)
    equations = list(_intermediates(program.jaxpr))
    largest = max(variable.aval.size for equation in equations for variable in equation.outvars)
    assert largest < batch * k * shape[-1]
    assert sum(equation.primitive.name == "dot_general" for equation in equations) >= 2
    if not backward:
        one_by_one = jnp.stack([posterior_mean(mixture, x_t, 0.8, 0.6) for x_t in x])
        assert_allclose(jaxpr_as_fun(program)(*jax.tree.leaves((mixture, x)))[0], one_by_one, rtol=1e-10)
