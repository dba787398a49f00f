"""Training: what it converges to, that nothing depends on what is trained beside, and each step by hand in numpy."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

from difflab.errors import InputError
from synthetic.ladder import ladder, mixtures
from synthetic.models import LearnedMixture, LearnedTemplates, start
from synthetic.probes import losses_by_time
from synthetic.problem import Batch, Objective, Problem, draw_batch, objective_for, problem
from synthetic.train import Training, TrainingDiverged, loss, train
from theory.denoisers import memorizing
from theory.noise import uniform_times, variance_preserving

NOISE = variance_preserving
TIMES = np.linspace(0.05, 0.95, 7)
GRADIENT = jax.jit(jax.value_and_grad(loss, argnums=1), static_argnums=0)


def _keys(s, seed=0):
    """Fresh ones: reusing a key raises."""
    return jax.random.split(jax.random.key(seed), s)


def _points(s, n, d, seed=0, scale=1.5):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(s, n, d)) * scale)


def _problem(points, times=TIMES):
    return problem(points, objective_for("x0", NOISE, times))


@partial(jax.jit, static_argnums=(3, 4))
def _draw(key, points, tables, draws, size=0):
    return draw_batch(key, Problem(points, jnp.ones(len(points), points.dtype), Objective(NOISE, *tables)), draws, size)


def _ladder(points, sizes, padded=False, std=None, jitter=0.0):
    """A ladder that starts at points, if wished somewhat away from them."""
    dim = points.shape[-1]
    made = ladder(_keys(len(points), 1), lambda m: LearnedMixture(m, (dim,), NOISE), points, sizes, padded=padded)
    rng, groups = np.random.default_rng(9), []
    for variables in made.variables:
        params = dict(variables["params"])
        params["means"] += jitter * rng.normal(size=params["means"].shape).astype(np.float32)
        if std is not None:
            params["std"] = jnp.full_like(params["std"], std)
        groups.append({"params": params, "prior": variables["prior"]})
    return made._replace(variables=tuple(groups))


def _learned(trained, data_set):
    """(means of the components that are on, std) of each model."""
    laws = jax.tree.map(lambda leaf: np.asarray(leaf[data_set]), mixtures(trained))
    return [
        (means[np.isfinite(log_weights)], np.sqrt(variance))
        for means, log_weights, variance in zip(laws.means, laws.log_weights, laws.variance, strict=True)
    ]


def _close(one, other, rtol):
    for (means, std), (other_means, other_std) in zip(one, other, strict=True):
        np.testing.assert_allclose(means, other_means, rtol=rtol, atol=rtol)
        np.testing.assert_allclose(std, other_std, rtol=rtol, atol=rtol)


class Kept:
    """Checkpoints in memory, every save kept."""

    def __init__(self):
        self.saved = []

    def load(self, name):
        return self.saved[-1][1] if self.saved else None

    def save(self, name, arrays):
        self.saved.append((name, {key: np.array(array) for key, array in arrays.items()}))


# What it converges to


def test_as_many_components_as_points_reach_the_memorizing_loss():
    points, times = _points(1, 8, 3), uniform_times(26)
    untrained = _ladder(points, (8,), std=1.0, jitter=0.7)
    config = Training(steps=600, draws=8, learning_rate=0.03, chunk=200)
    trained, losses = train(_keys(1), untrained, _problem(points, times=times), config)

    def mean_loss(law):
        key = jax.random.key(5)
        return float(losses_by_time(key, law, points[0], NOISE, jnp.asarray(times), 200).value.mean())

    def law(of):
        return jax.tree.map(lambda leaf: leaf[0], mixtures(of))

    memory = jax.tree.map(lambda leaf: leaf[None], memorizing(points[0]))
    before, after, least = (mean_loss(of) for of in (law(untrained), law(trained), memory))
    assert before > 1.3 * least
    assert 0.999 * least < after < 1.01 * least
    assert losses.shape == (1, 3, 1)
    # The last chunk is an estimate of the same number: 200 steps of 8 points and 8 draws.
    assert losses[0, -1, 0] == pytest.approx(least, rel=0.1)
    means, std = _learned(trained, 0)[0]
    assert np.linalg.norm(means[:, None] - np.asarray(points[0])[None], axis=-1).min(0).max() < 0.1
    assert std < 0.1


def test_as_many_components_as_clusters_recover_the_truth():
    n, variance = 600, 0.3
    rng = np.random.default_rng(3)
    truth = np.array([[2.0, 0.0], [-1.0, 1.5]])
    labels = rng.integers(2, size=n)
    points = jnp.asarray(truth[labels] + np.sqrt(variance) * rng.normal(size=(n, 2)))[None]
    config = Training(steps=600, draws=2, learning_rate=0.05, chunk=600)
    trained, _ = train(_keys(1), _ladder(points, (2,)), _problem(points, times=uniform_times(26)), config)
    means, std = _learned(trained, 0)[0]
    order = np.linalg.norm(means[:, None] - truth[None], axis=-1).argmin(0)
    assert sorted(order) == [0, 1]
    # Four standard errors of the mean of a cluster and of the pooled variance.
    np.testing.assert_allclose(means[order], truth, atol=4 * np.sqrt(variance / (n / 2)))
    assert std**2 == pytest.approx(variance, abs=4 * variance * np.sqrt(2 / (2 * n)))


# Company


SIZES = (2, 5, 8)
SHORT = Training(steps=40, draws=4, learning_rate=0.02, chunk=20)


@pytest.fixture(scope="module")
def company():
    points = _points(2, 8, 3)
    return train(_keys(2), _ladder(points, SIZES), _problem(points), SHORT)


def test_something_was_learned(company):
    points = _points(2, 8, 3)
    for s in range(2):
        for (means, _), (before, _) in zip(_learned(company[0], s), _learned(_ladder(points, SIZES), s), strict=True):
            assert np.abs(means - before).max() > 0.01
    assert np.all(company[1][:, 1, :2] < company[1][:, 0, :2])  # the largest starts where it should end
    # Two data sets are two different trainings.
    assert np.abs(company[1][0] - company[1][1]).max() > 0.1


def test_a_padded_ladder_trains_as_one_of_own_capacities(company):
    points = _points(2, 8, 3)
    padded, losses = train(_keys(2), _ladder(points, SIZES, padded=True), _problem(points), SHORT)
    assert [model.capacity for model in padded.models] == [8]
    assert [model.capacity for model in company[0].models] == [2, 5, 8]
    np.testing.assert_allclose(losses, company[1], rtol=1e-3)
    for s in range(2):
        _close(_learned(padded, s), _learned(company[0], s), 1e-3)
        for i, size in enumerate(SIZES):
            np.testing.assert_array_equal(padded.variables[0]["params"]["means"][s, i, size:], 0)


def test_a_size_trains_alone_as_in_company(company):
    points = _points(2, 8, 3)
    alone, losses = train(_keys(2), _ladder(points, (5,)), _problem(points), SHORT)
    np.testing.assert_allclose(losses[:, :, 0], company[1][:, :, 1], rtol=1e-5)
    for s in range(2):
        _close(_learned(alone, s), _learned(company[0], s)[1:2], 1e-4)


def test_data_sets_train_together_as_one_after_the_other(company):
    points = _points(2, 8, 3)
    together, losses = train(_keys(2), _ladder(points, SIZES), _problem(points), SHORT, together=True)
    np.testing.assert_allclose(losses, company[1], rtol=1e-4)
    for s in range(2):
        _close(_learned(together, s), _learned(company[0], s), 1e-3)


def test_a_data_set_trains_alone_as_in_company(company):
    points = _points(2, 8, 3)
    second = jax.tree.map(lambda leaf: leaf[1:], _ladder(points, SIZES).variables)
    untrained = _ladder(points, SIZES)._replace(variables=second)
    alone, losses = train(_keys(2)[1:], untrained, _problem(points[1:]), SHORT)
    np.testing.assert_array_equal(losses[0], company[1][1])
    _close(_learned(alone, 0), _learned(company[0], 1), 1e-7)


# Precision and masks


def _batch(config, points, weight=None, seed=3):
    dtype = points.dtype
    weight = np.ones(len(TIMES)) if weight is None else weight
    tables = jnp.asarray(TIMES, dtype), jnp.asarray(weight, dtype)
    return _draw(jax.random.key(seed), points, tables, config.draws, config.batch)


def test_single_precision_all_the_way(company):
    for variables in company[0].variables:
        assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype(np.float32)}
    points, kept = _points(2, 8, 3).astype(jnp.float32), Kept()
    _, losses = train(_keys(2), _ladder(points, SIZES), _problem(points), SHORT, checkpoints=kept)
    np.testing.assert_array_equal(losses, company[1])  # points in double precision were brought to single first
    state = [array for name, array in kept.saved[-1][1].items() if name.startswith("state")]
    assert {array.dtype for array in state} == {np.dtype(np.float32), np.dtype(np.int32)}
    # Not computed in float64 and rounded, either.
    model, batch = LearnedMixture(8, (3,), NOISE), _batch(SHORT, points[0].astype(jnp.float32))
    assert {leaf.dtype for leaf in batch} == {np.dtype(np.float32)}
    variables = start(jax.random.key(0), model, points[0].astype(jnp.float32), 5)
    gradient = jax.make_jaxpr(jax.value_and_grad(loss, argnums=1), static_argnums=0)
    text = str(gradient(model, variables["params"], variables["prior"], batch))
    assert "f32[" in text
    assert "f64[" not in text


@pytest.mark.parametrize("model", [LearnedMixture(8, (2, 3), NOISE), LearnedTemplates(8, (2, 3), NOISE)])
def test_what_is_switched_off_has_no_gradient(model):
    points = jnp.asarray(np.random.default_rng(0).normal(size=(8, 2, 3)))
    variables = start(jax.random.key(0), model, points, 5, variance=0.3)
    # Just where the points are, so that only the mask keeps it out.
    params = jax.tree.map(lambda a: a.at[5:].set(a[:3]) if a.ndim else a, variables["params"])
    _, gradient = GRADIENT(model, params, variables["prior"], _batch(SHORT, points))
    for name in params.keys() - {"std"}:
        np.testing.assert_array_equal(gradient[name][5:], 0)
        assert np.abs(gradient[name][:5]).max(axis=1).min() > 0
    assert gradient["std"] != 0


# Loss and batches


def test_the_loss_by_hand():
    rng = np.random.default_rng(4)
    n, draws, d, m = 4, 3, 2, 5
    means, std, log_weights = rng.normal(size=(m, d)), 0.6, np.log(np.array([0.1, 0.2, 0.3, 0.4, 0.0001]))
    x0, x_t = rng.normal(size=(n, d)), rng.normal(size=(n, draws, d))
    t, weight = np.array([0.1, 0.4, 0.7, 0.95]), np.array([5.0, 1.0, 0.0, 2.0])
    total = 0.0
    for i in range(n):
        alpha, sigma = np.sqrt(1 - t[i] ** 2), t[i]
        v = alpha**2 * std**2 + sigma**2
        for j in range(draws):
            p = softmax(log_weights - np.sum((x_t[i, j] - alpha * means) ** 2, axis=1) / (2 * v))
            denoised = sum(p[k] * (means[k] + alpha * std**2 / v * (x_t[i, j] - alpha * means[k])) for k in range(m))
            total += weight[i] * np.sum((denoised - x0[i]) ** 2) / draws / n
    params, prior = {"means": means, "std": np.asarray(std)}, {"log_weights": log_weights}
    params, prior, batch = jax.tree.map(jnp.asarray, (params, prior, Batch(x0, x_t, t, weight)))
    assert float(loss(LearnedMixture(m, (d,), NOISE), params, prior, batch)) == pytest.approx(total, rel=1e-11)


T = 0.6
ONE_TIME = np.array([T])
WEIGHTS = {  # closed forms for alpha = sqrt(1 - t^2), sigma = t
    "x0": 1,
    "eps": (1 - T**2) / T**2,
    "v": 1 / (T**2 * (1 - T**2)),
    "score": (1 - T**2) / T**4,
    "elbo": 1 / T**3,
}


def _first_loss(parameterization, weight=None):
    points, config = _points(1, 8, 3), Training(parameterization=parameterization, steps=1, draws=4)
    given = objective_for(parameterization, NOISE, ONE_TIME)
    given = given if weight is None else given._replace(weight=weight)
    return train(_keys(1), _ladder(points, (5,)), problem(points, given), config)[1].item()


@pytest.fixture(scope="module")
def plain_loss():
    return _first_loss("x0")


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_parameterization_is_a_weight_on_the_x0_loss(plain_loss, name):
    assert _first_loss(name) == pytest.approx(WEIGHTS[name] * plain_loss, rel=1e-5)


def test_a_given_weight_replaces_that_of_the_parameterization(plain_loss):
    assert _first_loss("eps", np.array([3.0])) == pytest.approx(3 * plain_loss, rel=1e-5)


def test_noisy_points_have_the_stated_mean_and_variance_and_one_time_each():
    n, d, draws = 5, 3, 20000
    points, weight = _points(1, n, d)[0], np.arange(7.0) ** 2
    batch = _batch(Training(draws=draws), points, weight)
    assert batch.x_t.shape == (n, draws, d)
    np.testing.assert_array_equal(batch.x0, points)
    t = np.asarray(batch.t)
    index = np.abs(t[:, None] - TIMES).argmin(1)
    np.testing.assert_allclose(t, TIMES[index], rtol=1e-14)
    np.testing.assert_array_equal(batch.weight, weight[index])
    assert len(set(index)) > 1
    alpha, sigma = np.sqrt(1 - t**2)[:, None], t[:, None]
    x_t = np.asarray(batch.x_t)
    assert np.all(np.abs(x_t.mean(1) - alpha * np.asarray(points)) < 5 * sigma / np.sqrt(draws))
    assert np.all(np.abs(x_t.var(1) - sigma**2) < 5 * sigma**2 * np.sqrt(2 / draws))
    # Different points and coordinates meet different noise.
    noise = ((x_t - alpha[:, None] * np.asarray(points)[:, None]) / sigma[:, None]).transpose(0, 2, 1).reshape(15, -1)
    assert np.abs(np.corrcoef(noise) - np.eye(15)).max() < 5 / np.sqrt(draws)


def test_minibatches_are_different_points_and_times_are_uniform():
    n, batch, repeats = 8, 3, 2000
    points = _points(1, n, 2)[0]
    tables = jnp.asarray(TIMES), jnp.ones(7)
    drawn = jax.vmap(lambda key: _draw(key, points, tables, 1, batch))(_keys(repeats))
    place = np.abs(np.asarray(drawn.x0)[:, :, None] - np.asarray(points)).max(-1).argmin(-1)
    np.testing.assert_array_equal(drawn.x0, np.asarray(points)[place])
    assert all(len(set(row)) == batch for row in place.tolist())
    share = np.bincount(place.ravel(), minlength=n) / repeats
    np.testing.assert_array_less(np.abs(share - batch / n), 5 * np.sqrt(batch / n * (1 - batch / n) / repeats))
    index = np.abs(np.asarray(drawn.t)[..., None] - TIMES).argmin(-1)
    for column in range(batch):  # independent of each other, each uniform
        share = np.bincount(index[:, column], minlength=7) / repeats
        np.testing.assert_array_less(np.abs(share - 1 / 7), 5 * np.sqrt(6 / 49 / repeats))
    assert np.mean(index[:, 0] == index[:, 1]) == pytest.approx(1 / 7, abs=5 * np.sqrt(6 / 49 / repeats))
    # The noise belongs to the point that was chosen: what is left of x_t has variance sigma^2.
    t = np.asarray(drawn.t)[:, :, None, None]
    noise = (np.asarray(drawn.x_t) - np.sqrt(1 - t**2) * np.asarray(drawn.x0)[:, :, None]) / t
    assert np.var(noise) == pytest.approx(1, abs=5 * np.sqrt(2 / noise.size))


def test_shares_multiply_the_weights_of_their_own_points():
    points, shares = _points(1, 8, 2)[0], np.arange(8.0) / 3.5
    counted = Problem(points, jnp.asarray(shares), Objective(NOISE, TIMES, np.full(7, 2.0)))
    for size in (0, 3):
        batch = draw_batch(jax.random.key(1), counted, 1, size)
        place = np.abs(np.asarray(batch.x0)[:, None] - np.asarray(points)).max(-1).argmin(-1)
        assert len(place) == (size or 8)
        np.testing.assert_allclose(batch.weight, 2 * shares[place], rtol=1e-12)
    # Training hears them: the loss is linear in the shares, so that two halves of the points make up the whole.
    config = Training(steps=1, draws=4)
    whole, even, odd = (
        train(_keys(1), _ladder(points[None], (4,)), _problem(points[None])._replace(shares=jnp.array([c])), config)[1]
        for c in ([1.0] * 8, [2.0, 0.0] * 4, [0.0, 2.0] * 4)
    )
    np.testing.assert_allclose((even + odd) / 2, whole, rtol=1e-5)
    assert abs(even.item() - odd.item()) > 0.01 * whole.item()


def test_a_minibatch_of_all_points_or_more_takes_them_all():
    points = _points(1, 8, 2)[0]
    for batch in (0, 8, 20):
        np.testing.assert_array_equal(_batch(Training(draws=1, batch=batch), points).x0, points)


# The optimizer, step by step


def _rates(config):
    """Learning rates: up from 0 in a line, then down in a line."""
    i, warmup = np.arange(config.steps), config.warmup_fraction * config.steps
    down = (i - warmup) / (config.steps - warmup)
    falling = config.learning_rate + (config.final_learning_rate - config.learning_rate) * down
    return np.where(i < warmup, config.learning_rate * i / warmup, falling)


def test_the_learning_rate_rises_and_falls():
    # One component far from two equal points: the gradient is constant, so Adam moves by the learning rate.
    config = Training(steps=10, draws=1, learning_rate=1e-3, final_learning_rate=1e-4, warmup_fraction=0.4, chunk=1)
    points = jnp.zeros((1, 2, 1))
    untrained = _ladder(points, (1,), std=1e-3)
    params = {**untrained.variables[0]["params"], "means": jnp.ones((1, 1, 1, 1), jnp.float32)}
    untrained = untrained._replace(variables=({**untrained.variables[0], "params": params},))
    trained, losses = train(_keys(1), untrained, _problem(points, times=np.array([0.9])), config)
    ((means, _),) = _learned(trained, 0)
    positions = np.append(np.sqrt(losses[0, :, 0]), means[0, 0])
    np.testing.assert_allclose(-np.diff(positions), _rates(config), rtol=0.05, atol=1e-6)


def _adam_by_hand(key, model, params, prior, points, config):
    """Adam, clipping and the moving average as their papers write them, in numpy; gradients are JAX's."""
    tables = jnp.asarray(TIMES, jnp.float32), jnp.ones(len(TIMES), jnp.float32)
    params = {name: np.asarray(p, np.float64) for name, p in params.items()}
    average, first, second = dict(params), dict.fromkeys(params, 0.0), dict.fromkeys(params, 0.0)
    norms, losses = [], []
    for i, rate in enumerate(_rates(config)):
        batch = _draw(jax.random.fold_in(key, i), points, tables, config.draws)
        single = {name: jnp.asarray(p, jnp.float32) for name, p in params.items()}
        value, gradient = GRADIENT(model, single, prior, batch)
        losses.append(float(value))
        gradient = {name: np.asarray(g, np.float64) for name, g in gradient.items()}
        norms.append(np.sqrt(sum(np.sum(g**2) for g in gradient.values())))
        for name in params:
            g = gradient[name] * min(1, config.clip_norm / norms[-1])
            first[name] = 0.9 * first[name] + 0.1 * g
            second[name] = 0.999 * second[name] + 0.001 * g**2
            step = first[name] / (1 - 0.9 ** (i + 1)) / (np.sqrt(second[name] / (1 - 0.999 ** (i + 1))) + 1e-8)
            params[name] = params[name] - rate * step
            average[name] = config.average_decay * average[name] + (1 - config.average_decay) * params[name]
    return average, norms, losses


@pytest.mark.parametrize("padded", [False, True])
def test_clipping_averaging_and_adam_by_hand(padded):
    points = _points(1, 6, 2)
    config = Training(
        steps=6, draws=4, learning_rate=0.1, final_learning_rate=0.01, warmup_fraction=1 / 3, clip_norm=0.25,
        average_decay=0.7, chunk=3,
    )  # fmt: skip
    untrained = _ladder(points, (2, 6), std=0.7, jitter=0.6, padded=padded)
    trained, losses = train(_keys(1), untrained, _problem(points), config)
    clipped = []
    for i, size in enumerate((2, 6)):
        model = untrained.models[0 if padded else i]
        group, member = (0, i) if padded else (i, 0)
        variables = jax.tree.map(lambda leaf, member=member: leaf[0, member], untrained.variables[group])
        average, norms, by_step = _adam_by_hand(
            _keys(1)[0], model, variables["params"], variables["prior"], points[0].astype(jnp.float32), config
        )
        found = jax.tree.map(lambda leaf, member=member: leaf[0, member], trained.variables[group]["params"])
        np.testing.assert_allclose(found["means"][:size], average["means"][:size], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found["std"], average["std"], rtol=1e-4)
        np.testing.assert_allclose(losses[0, :, i], np.reshape(by_step, (2, 3)).mean(1), rtol=1e-4)
        clipped += [norm > config.clip_norm for norm in norms]
    assert 3 <= sum(clipped) <= 9  # some of the twelve are, and some aren't


def test_momentum_by_hand():
    """v = 0.9 v + g, p = p - rate v; the rate of the first step is 0, so both gradients are taken at the start."""
    points = _points(1, 6, 2)
    config = Training(steps=2, draws=4, learning_rate=0.1, warmup_fraction=0.0, optimizer="sgd", chunk=2)
    untrained = _ladder(points, (3,), std=0.7, jitter=0.6)
    trained, _ = train(_keys(1), untrained, _problem(points), config)
    tables = jnp.asarray(TIMES, jnp.float32), jnp.ones(len(TIMES), jnp.float32)
    variables = jax.tree.map(lambda leaf: leaf[0, 0], untrained.variables[0])
    single = points[0].astype(jnp.float32)
    batches = [_draw(jax.random.fold_in(_keys(1)[0], i), single, tables, config.draws) for i in range(2)]
    first, second = (
        GRADIENT(untrained.models[0], variables["params"], variables["prior"], batch)[1] for batch in batches
    )
    for name in ("means", "std"):
        expected = variables["params"][name] - 0.1 * (0.9 * first[name] + second[name])
        np.testing.assert_allclose(trained.variables[0]["params"][name][0, 0], expected, rtol=1e-4, atol=1e-6)


# Interruptions and mistakes


def test_training_is_looked_at_after_each_chunk_and_not_twice():
    points, sizes = _points(2, 8, 3), (2, 8)
    config = Training(steps=25, draws=2, learning_rate=0.05, chunk=10, average_decay=0.9)
    seen, kept = {}, Kept()

    def look(done, variables):
        assert done not in seen
        seen[done] = jax.tree.map(np.array, variables)

    trained, _ = train(_keys(2), _ladder(points, sizes), _problem(points), config, kept, look=look)
    assert list(seen) == [10, 20, 25]
    jax.tree.map(np.testing.assert_array_equal, seen[25], trained.variables)
    # It is the average that is looked at.
    short = Training(steps=25, draws=2, learning_rate=0.05, chunk=10)
    train(
        _keys(2), _ladder(points, sizes), _problem(points), short,
        look=lambda done, v: None if done > 10 else _differ(v, seen[10]),
    )  # fmt: skip
    # Of a run that goes on only the rest is looked at.
    late, kept.saved = [], kept.saved[:2]
    train(
        _keys(2), _ladder(points, sizes), _problem(points), config, kept,
        look=lambda done, v: late.append(done),
    )  # fmt: skip
    assert late == [25]


def test_training_ends_where_a_look_says_so():
    points, sizes = _points(2, 8, 3), (2, 8)
    config, kept = Training(steps=50, draws=2, learning_rate=0.05, final_learning_rate=0.05, chunk=10), Kept()
    ended, losses = train(
        _keys(2), _ladder(points, sizes), _problem(points), config, kept, look=lambda done, v: done == 30
    )
    whole = {}
    train(_keys(2), _ladder(points, sizes), _problem(points), config, look=lambda done, v: whole.update({done: v}))
    assert losses.shape == (2, 3, 2) and list(whole) == [10, 20, 30, 40, 50]
    jax.tree.map(np.testing.assert_array_equal, ended.variables, whole[30])
    # What goes on after a kill is looked at again there, and ends there again.
    assert [int(arrays["done"]) for _, arrays in kept.saved] == [10, 20]
    again, _ = train(_keys(2), _ladder(points, sizes), _problem(points), config, kept, look=lambda done, v: done == 30)
    jax.tree.map(np.testing.assert_array_equal, again.variables, ended.variables)


def _differ(one, other):
    assert not np.allclose(one[0]["params"]["means"], other[0]["params"]["means"])


def test_an_interrupted_run_goes_on_bit_for_bit():
    points, sizes = _points(2, 8, 3), (2, 8)
    config = Training(steps=25, draws=2, learning_rate=0.05, chunk=10, average_decay=0.9, batch=5)

    def run(checkpoints, advance):
        return train(_keys(2), _ladder(points, sizes), _problem(points), config, checkpoints, advance)

    calls = []
    whole, losses = run(None, lambda steps, note: calls.append(steps))
    assert calls == [10, 10, 5]
    kept = Kept()

    def interrupt(steps, note):
        if len(kept.saved) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(kept, interrupt)
    resumed_calls = []
    resumed, resumed_losses = run(kept, lambda steps, note: resumed_calls.append((steps, note)))
    assert resumed_calls[0] == (20, "resumed")
    assert [steps for steps, _ in resumed_calls] == [20, 5]
    np.testing.assert_array_equal(resumed_losses, losses)
    jax.tree.map(np.testing.assert_array_equal, resumed.variables, whole.variables)
    # A run that was finished is only read.
    again, again_losses = run(kept, lambda steps, note: None)
    assert len(kept.saved) == 3
    np.testing.assert_array_equal(again_losses, losses)
    jax.tree.map(np.testing.assert_array_equal, again.variables, whole.variables)


TOO_FAST = Training(steps=10, draws=2, learning_rate=1e30, chunk=2)


def test_a_learning_rate_that_is_far_too_high_is_named():
    points, kept, config = _points(2, 8, 3), Kept(), TOO_FAST
    with pytest.raises(TrainingDiverged, match=r"size 2 .* step 2;.*learning rate") as error:
        train(_keys(2), _ladder(points, (2, 8)), _problem(points), config, checkpoints=kept)
    assert isinstance(error.value, InputError)
    assert "\n" not in str(error.value)
    assert [int(arrays["done"]) for _, arrays in kept.saved] == [2]  # nothing broken is kept


def test_the_size_and_step_of_the_first_loss_that_breaks_are_named():
    points = _points(2, 8, 3)
    config = TOO_FAST
    untrained = _ladder(points, (2, 8))
    means = untrained.variables[1]["params"]["means"]
    params = {**untrained.variables[1]["params"], "means": means.at[1, 0, 3].set(jnp.nan)}
    broken = untrained._replace(variables=(untrained.variables[0], {**untrained.variables[1], "params": params}))
    with pytest.raises(TrainingDiverged, match=r"size 8 .* step 0;"):
        train(_keys(2), broken, _problem(points), config)
    with pytest.raises(TrainingDiverged, match=r"size 2 .* step 0;"):
        train(_keys(2), untrained, problem(points, Objective(NOISE, TIMES, np.full(7, np.inf))), config)


@pytest.mark.parametrize("sizes", [(), (0, 3), (9,)])
def test_sizes_that_are_not_there_are_refused(sizes):
    with pytest.raises(InputError, match="size"):
        _ladder(_points(1, 8, 3), sizes)


@pytest.mark.parametrize(
    "mistake",
    [
        {"parameterization": "y"},
        {"steps": 0},
        {"draws": 0},
        {"chunk": 0},
        {"start": "prior"},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"warmup_fraction": 1.5},
        {"warmup_fraction": float("nan")},
        {"average_decay": 1.0},
        {"average_decay": -0.1},
        {"batch": -1},
        {"clip_norm": -1.0},
        {"final_learning_rate": -1.0},
        {"final_learning_rate": float("nan")},
    ],
)
def test_impossible_settings_are_refused(mistake):
    ((name, value),) = mistake.items()
    with pytest.raises(InputError, match=f"{name} is {value!r}"):
        Training(**mistake)
