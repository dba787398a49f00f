"""Networks denoise: what they predict is converted exactly, and they learn what is known in closed form."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from synthetic.data.gaussian_mixture import GaussianMixture, gaussian_mixture
from synthetic.networks import Conv3x3, Perceptron, UNet, clean, network_samples, parameter_count, untrained
from synthetic.problem import objective_for, problem
from synthetic.sample import ddim_from_noise
from synthetic.train import Training, train
from theory.denoisers import denoiser
from theory.loss import denoising_loss
from theory.noise import SCHEDULES, uniform_times, variance_preserving


@pytest.mark.parametrize("schedule", ["vp", "flow"])
@pytest.mark.parametrize("t", [0.05, 0.5, 0.95])
def test_the_output_is_the_field_at_unit_size(schedule, t):
    noise, rng = SCHEDULES[schedule], np.random.default_rng(0)
    x0, eps = (jnp.asarray(rng.normal(size=5)) for _ in range(2))
    alpha, sigma = noise(jnp.asarray(t))
    x_t = alpha * x0 + sigma * eps
    rates = {"vp": (-t / np.sqrt(1 - t**2), 1.0), "flow": (-1.0, 1.0)}[schedule]
    length = np.hypot(*rates)
    outs = {"x0": x0, "eps": eps, "v": (rates[0] * x0 + rates[1] * eps) / length, "score": -eps}
    for name, out in outs.items():
        assert_allclose(clean(out, x_t, jnp.asarray(t), noise, name), x0, atol=1e-10)
    if schedule == "vp":
        # Salimans and Ho: alpha eps - sigma x0.
        assert_allclose(outs["v"], alpha * eps - sigma * x0, atol=1e-12)


def test_a_new_network_predicts_nothing():
    """Its last layer is zero: x0 says the mean 0, eps says that x_t is the scaled clean point."""
    x_t, t = jnp.arange(3.0), jnp.asarray(0.6)
    for name, expected in (("x0", np.zeros(3)), ("eps", np.arange(3.0) / 0.8), ("v", 0.8 * np.arange(3.0))):
        model = Perceptron(8, (3,), variance_preserving, name)
        params = jax.jit(model.init)(jax.random.key(0), x_t, t)
        assert_allclose(jax.jit(model.apply)(params, x_t, t), expected, atol=1e-12)


def test_a_convolution_is_flax_s():
    x = jax.random.normal(jax.random.key(0), (5, 4, 3))
    variables = Conv3x3(2).init(jax.random.key(1), x)
    kernel = variables["params"]["Dense_0"]["kernel"].reshape(3, 3, 3, 2)
    expected = nn.Conv(2, (3, 3), use_bias=False).apply({"params": {"kernel": kernel}}, x)
    assert_allclose(Conv3x3(2).apply(variables, x), expected, rtol=1e-5, atol=1e-6)


def test_parameters_by_hand():
    d, w, level = 5, 16, 32
    (one,) = untrained(
        jax.random.split(jax.random.key(0), 2), lambda m: Perceptron(m, (d,), variance_preserving), (d,), [w]
    ).variables
    layer = (w + level) * w + w + w * w + w
    assert parameter_count(one) == (d + level) * w + w + 2 * layer + w * d + d
    assert {leaf.dtype for leaf in jax.tree.leaves(one["params"])} == {jnp.dtype("float32")}
    assert all(leaf.shape[:2] == (2, 1) for leaf in jax.tree.leaves(one["params"]))


@pytest.mark.parametrize("shape", [(1, 49), (3, 64), (16,)])
def test_a_unet_keeps_the_shape_and_knows_where_things_are(shape):
    model = UNet(4, shape, variance_preserving)
    x_t, t = jax.random.normal(jax.random.key(0), shape), jnp.asarray(0.4)
    params, apply = jax.jit(model.init)(jax.random.key(1), x_t, t), jax.jit(model.apply)
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda a: a + 0.1 * rng.normal(size=a.shape), params)
    out = apply(params, x_t, t)
    assert out.shape == shape
    # The noise level is heard.
    assert not np.allclose(out, apply(params, x_t, jnp.asarray(0.5)))
    # A picture turned over is another one, but for what lies on a border.
    assert not np.allclose(out[..., ::-1], apply(params, x_t[..., ::-1], t))


@pytest.mark.parametrize("norm", [True, False])
def test_without_norms_a_unet_sees_a_patch(norm):
    """A corner of 36 x 36 pixels is farther away than six convolutions, four of them at half the side, can see."""
    model = UNet(2, (1, 36 * 36), variance_preserving, norm=norm)
    x_t, t = jax.random.normal(jax.random.key(0), (1, 36 * 36)), jnp.asarray(0.4)
    params = jax.jit(model.init)(jax.random.key(1), x_t, t)
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda a: a + 0.1 * rng.normal(size=a.shape), params)
    gradient = jax.jit(jax.grad(lambda x: model.apply(params, x, t)[0, 0]))(x_t).reshape(36, 36)
    assert gradient[0, 1] != 0 and gradient[1, 0] != 0
    assert (gradient[0, -1] != 0) == norm
    named = {getattr(part, "key", "") for path, _ in jax.tree.leaves_with_path(params) for part in path}
    assert any("GroupNorm" in name for name in named) == norm


@pytest.mark.parametrize("parameterization", ["x0", "eps", "v"])
def test_a_perceptron_learns_one_gaussian(parameterization):
    """Trained on many points of one cluster, its loss comes near the exact one, from above."""
    data = gaussian_mixture(jax.random.key(0), GaussianMixture(512, 4, 1, 0.5))
    times = uniform_times(10, 0.1, 0.9)
    ladder = untrained(
        jax.random.split(jax.random.key(1), 1),
        lambda m: Perceptron(m, (4,), variance_preserving, parameterization),
        (4,),
        [32],
    )
    config = Training(parameterization=parameterization, steps=1500, draws=1, learning_rate=3e-3)
    learned = problem(data.points[None], objective_for(parameterization, variance_preserving, times))
    trained, losses = train(jax.random.split(jax.random.key(2), 1), ladder, learned, config)
    assert losses[0, -1, 0] < losses[0, 0, 0]
    params = jax.tree.map(lambda leaf: leaf[0, 0].astype(float), trained.variables[0]["params"])

    def network(x_t, t):
        return ladder.models[0].apply({"params": params}, x_t, t)

    mine, exact = (
        denoising_loss(jax.random.key(3), f, data.fresh, variance_preserving, times, 20).value
        for f in (network, denoiser(data.law, variance_preserving))
    )
    start = denoising_loss(jax.random.key(3), lambda x, t: 0 * x, data.fresh, variance_preserving, times, 20).value
    assert np.all(mine > 0.99 * exact) and np.all(mine < exact + 0.1 * (start - exact) + 0.1 * exact)
    drawn = network_samples(jax.random.key(4), ladder.models[0], trained.variables[0], jnp.asarray(times), 400)
    assert drawn.shape == (1, 400, 4)
    # From the same noise, where the exact denoiser would have led it.
    same = ddim_from_noise(
        jax.random.key(4), denoiser(data.law, variance_preserving), variance_preserving, jnp.asarray(times), (400, 4)
    )
    spread = np.asarray(same).std()
    assert np.sqrt(np.mean((np.asarray(drawn[0]) - np.asarray(same)) ** 2)) < 0.2 * spread
