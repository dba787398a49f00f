"""What a training step and a located transition cost, beside the published arithmetic and the machine's matmul rate.

    .venv/bin/python benchmarks/edge.py

d = 30, K = 4, N = 100, 100 noise draws, sizes 10, 20, ..., 100. All figures are CPU-seconds of this process, which do
not depend on how many cores it gets. The reference is written here from the paper's formulas in the form that the
published code has: one program a size, elementwise over (batch, components, dimension). The published code itself was
measured at about 2.5 CPU-s for the same step on another machine.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from difflab.runs.peak_memory import peak_memory
from difflab.statistics.intervals import Interval
from synthetic.data.gaussian_mixture import GaussianMixture, gaussian_mixture
from synthetic.ladder import Ladder, ladder
from synthetic.locate import located
from synthetic.models import LearnedMixture
from synthetic.networks import Conv3x3
from synthetic.problem import Batch, Objective, Problem, draw_batch, objective_for, problem
from synthetic.study import Study
from synthetic.train import Training, loss, train
from synthetic.transition import transition
from theory.noise import uniform_times, variance_preserving

SIZES = tuple(range(10, 101, 10))
REFINED = tuple(range(60, 101, 4))
"""The published second round: a bracket of 0.4 N in eleven sizes."""
TIMES = uniform_times(26)
PUBLISHED_CPU_SECONDS = 2.5


def main() -> None:
    """Print the table."""
    data = GaussianMixture(n=100, dim=30, components=4)
    mine = step_cost(data, SIZES, draws=100, steps=40)
    padded = step_cost(data, SIZES, draws=100, steps=20, padded=True)
    reference = sum(broadcast_cost(data, size, draws=100) for size in SIZES)
    rate, flops = matmul_rate(), sum(gradient_flops(data, size, draws=100) for size in SIZES)
    print(f"one step, ten sizes 10..100, N = 100, d = 30, 100 draws, on {jax.devices()[0].device_kind}")
    row("this library, own capacities", f"{mine:.4f} CPU-s")
    row("this library, padded under one vmap", f"{padded:.4f} CPU-s")
    row("published arithmetic, broadcast form, here", f"{reference:.4f} CPU-s, {reference / mine:.1f} times as much")
    row(
        "published code, measured elsewhere", f"{PUBLISHED_CPU_SECONDS} CPU-s, {PUBLISHED_CPU_SECONDS / mine:.1f} times"
    )
    row("components computed for nothing", f"0 % (padded: {1 - sum(SIZES) / (len(SIZES) * max(SIZES)):.0%})")
    row("operations of the ten gradients (XLA)", f"{flops / 1e9:.2f} Gflop")
    row("matmul rate of one core here", f"{rate / 1e9:.0f} Gflop/s; a step reaches {flops / mine / rate:.0%} of it")
    print("a located transition, N = 100, d = 30, K = 4")
    seconds, found = located_cost(data, steps=2500, draws=2)
    _, longer = located_cost(data, steps=10_000, draws=4)
    published = 50_000 * (reference + sum(broadcast_cost(data, size, draws=100) for size in REFINED))
    row("this library, three data sets", f"{seconds:.0f} CPU-s: {told(found)}")
    row("with four times the steps, twice the draws", told(longer))
    row(
        "published recipe, one data set, from its cost a step",
        f"{published:.0f} CPU-s, {published / seconds:.0f} times",
    )
    print("growth when one number doubles (linear is 2)")
    base = step_cost(data, (100,), draws=50, steps=40)
    for name, other, sizes in (
        ("N", GaussianMixture(n=200, dim=30, components=4), (100,)),
        ("M", GaussianMixture(n=100, dim=30, components=4), (50,)),
        ("d", GaussianMixture(n=100, dim=60, components=4), (100,)),
    ):
        cost = step_cost(other, sizes, draws=50, steps=40)
        row(name, f"{base / cost if name == 'M' else cost / base:.2f}")
    plain, ours = convolution_cost(lambda: nn.Conv(8, (3, 3))), convolution_cost(lambda: Conv3x3(8))
    row("a 3x3 convolution of flax in a compiled loop", f"{plain / ours:.1f} times a matrix product's cost")
    row("peak memory", f"{peak_memory()['process'] / 1024:.2f} GiB")


def located_cost(data: GaussianMixture, steps: int, draws: int) -> tuple[float, Interval]:
    """CPU-seconds from data to a transition with its interval over three data sets, compilation included."""
    jax.config.update("jax_enable_x64", True)
    begin = cpu()
    sets = [gaussian_mixture(jax.random.fold_in(jax.random.key(2), s), data) for s in range(3)]
    study = Study(samples=500, training=Training(steps=steps, draws=draws, learning_rate=2e-2))
    found = located(study, 0, sets, LearnedMixture, 5)
    middle = transition(np.random.default_rng(0), found.sizes / data.n, found.copies.sum(axis=-1), study.samples).middle
    assert middle is not None
    return cpu() - begin, middle


def told(interval: Interval) -> str:
    """M / N with its interval."""
    return f"M / N = {interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def row(name: str, value: str) -> None:
    """One line of the table."""
    print(f"  {name:55s}{value}")


def step_cost(data: GaussianMixture, sizes: Sequence[int], draws: int, steps: int, padded: bool = False) -> float:
    """CPU-seconds of one training step of the whole ladder, after compilation."""
    points = gaussian_mixture(jax.random.key(0), data).points[None]
    keys = jax.random.split(jax.random.key(1), 1)
    untrained: Ladder = ladder(keys, lambda m: LearnedMixture(m, (data.dim,), variance_preserving), points, sizes,
                               padded=padded)  # fmt: skip
    config, clock = Training(steps=2 * steps, draws=draws, chunk=steps), list[float]()
    learned = problem(points, objective_for("x0", variance_preserving, TIMES))
    train(keys, untrained, learned, config, advance=lambda n, note: clock.append(cpu()))
    return (clock[1] - clock[0]) / steps


def broadcast_cost(data: GaussianMixture, size: int, draws: int, steps: int = 3) -> float:
    """CPU-seconds of one gradient step of one model with (batch, components, dimension) tensors."""
    batch = batch_of(data, draws)

    def squared_error(params: dict[str, jax.Array]) -> jax.Array:
        def one(x_t: jax.Array, t: jax.Array, x0: jax.Array) -> jax.Array:
            alpha, sigma = variance_preserving(t)
            v = alpha**2 * params["std"] ** 2 + sigma**2
            residual = x_t - alpha * params["means"]
            logits = -jnp.sum(residual**2, axis=1) / (2 * v)
            correction = jnp.sum(jax.nn.softmax(logits)[:, None] * residual / v, axis=0)
            return jnp.sum(((x_t - sigma**2 * correction) / alpha - x0) ** 2)

        errors = jax.vmap(lambda x, t, x0: jax.vmap(lambda y: one(y, t, x0))(x))(batch.x_t, batch.t, batch.x0)
        return jnp.mean(errors)

    params = {"means": batch.x0[:size], "std": jnp.asarray(1e-3, jnp.float32)}
    return cpu_seconds(jax.jit(jax.grad(squared_error)), params, repeats=steps)


def gradient_flops(data: GaussianMixture, size: int, draws: int) -> float:
    """Operations in the compiled loss and gradient of one model, as XLA counts them."""
    model, batch = LearnedMixture(size, (data.dim,), variance_preserving), batch_of(data, draws)
    params = {"means": batch.x0[:size], "std": jnp.asarray(1e-3, jnp.float32)}
    prior = {"log_weights": jnp.full(size, -jnp.log(size), jnp.float32)}
    compiled = jax.jit(jax.value_and_grad(lambda p: loss(model, p, prior, batch))).lower(params).compile()
    return float(compiled.cost_analysis()["flops"])


def convolution_cost(make: Callable[[], nn.Module], steps: int = 50) -> float:
    """CPU-seconds of a gradient through four convolutions, 8 channels, 40 pictures of 14 x 14, in a compiled loop."""
    net = nn.Sequential([make() for _ in range(4)])
    pictures = jax.random.normal(jax.random.key(0), (40, 14, 14, 8), jnp.float32)
    params = net.init(jax.random.key(1), pictures[0])

    def squares(params: Any) -> jax.Array:
        drawn: jax.Array = jax.vmap(lambda picture: net.apply(params, picture))(pictures)  # type: ignore[assignment]
        return jnp.mean(drawn**2)

    def step(params: Any, _: None) -> tuple[Any, None]:
        return jax.tree.map(lambda leaf, slope: leaf - 1e-3 * slope, params, jax.grad(squares)(params)), None

    return cpu_seconds(jax.jit(lambda params: jax.lax.scan(step, params, length=steps)), params, repeats=3) / steps


def batch_of(data: GaussianMixture, draws: int) -> Batch:
    """One batch as training draws it."""
    points = gaussian_mixture(jax.random.key(0), data).points.astype(jnp.float32)
    objective = Objective(variance_preserving, jnp.asarray(TIMES, jnp.float32), jnp.ones(len(TIMES), jnp.float32))
    return draw_batch(jax.random.key(1), Problem(points, jnp.ones(len(points), jnp.float32), objective), draws)


def matmul_rate(n: int = 2048) -> float:
    """Floating point operations a CPU-second in a float32 product of n x n matrices."""
    a = jnp.asarray(np.random.default_rng(0).normal(size=(n, n)), jnp.float32)
    return 2 * n**3 / cpu_seconds(jax.jit(jnp.matmul), a, a, repeats=5)


def cpu_seconds(function: Callable, *arguments: Any, repeats: int) -> float:
    """CPU-seconds of one call, after a first one that compiles."""
    jax.block_until_ready(function(*arguments))
    begin = cpu()
    for _ in range(repeats):
        jax.block_until_ready(function(*arguments))
    return (cpu() - begin) / repeats


def cpu() -> float:
    """CPU-seconds of this process so far, all threads."""
    return time.process_time()


if __name__ == "__main__":
    main()
