"""Denoisers that know nothing of mixtures: a perceptron and a small convolutional U-Net.

A network predicts the noise, the clean point or the velocity, scaled so that its targets have about unit variance; what
comes out is E[x0 | x_t] all the same, so training, sampling and every probe are those of the learned mixtures.
"""

from collections.abc import Callable, Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key

from synthetic.ladder import Ladder
from synthetic.models import Variables
from synthetic.sample import ddim
from theory.denoisers import Denoiser
from theory.loss import denoising_loss
from theory.noise import FIELDS, Noise, convert, x0_field

FREQUENCIES = 16
"""Of the noise level's sines and cosines."""


class Perceptron(nn.Module):
    """Residual layers of one width on the flat point and the noise level."""

    width: int
    shape: tuple[int, ...]
    noise: Noise
    parameterization: str = "x0"
    layers: int = 2

    @nn.compact
    def __call__(self, x_t: Float[Array, "*c d"], t: Float[Array, ""]) -> Float[Array, "*c d"]:
        """E[x0 | x_t]."""
        level = noise_level(self.noise, t, x_t.dtype)
        h = nn.Dense(self.width)(jnp.concatenate([scaled(self.noise, x_t, t).ravel(), level]))
        for _ in range(self.layers):
            inner = nn.Dense(self.width)(jnp.concatenate([nn.silu(h), level]))
            h = h + nn.Dense(self.width, kernel_init=nn.initializers.zeros)(nn.silu(inner))
        out = nn.Dense(x_t.size, kernel_init=nn.initializers.zeros)(nn.silu(h)).reshape(x_t.shape)
        return clean(out, x_t, t, self.noise, self.parameterization)


class Conv3x3(nn.Module):
    """A 3x3 convolution with zeros around, as one matrix product.

    nn.Conv computes the same, but takes several times as long in a compiled loop on a processor (`benchmarks/edge.py`).
    """

    features: int
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Float[Array, "a b c"]) -> Float[Array, "a b w"]:
        """The nine neighbours of every pixel, row by row, times the kernel."""
        height, width, _ = x.shape
        padded = jnp.pad(x, ((1, 1), (1, 1), (0, 0)))
        near = [padded[i : i + height, j : j + width] for i in range(3) for j in range(3)]
        return nn.Dense(self.features, kernel_init=self.kernel_init)(jnp.concatenate(near, axis=-1))


class UNet(nn.Module):
    """Convolutions on square pictures, (c, side * side), at two resolutions with a skip between them."""

    width: int
    shape: tuple[int, ...]
    noise: Noise
    parameterization: str = "x0"
    norm: bool = True
    """Group norms, each over one row of pixels; with them a pixel sees its whole row, and without them a patch."""

    @nn.compact
    def __call__(self, x_t: Float[Array, "*c d"], t: Float[Array, ""]) -> Float[Array, "*c d"]:
        """E[x0 | x_t]."""
        side = round(self.shape[-1] ** 0.5)
        level = noise_level(self.noise, t, x_t.dtype)
        picture = scaled(self.noise, x_t, t).reshape(-1, side, side).transpose(1, 2, 0)
        fine = self._block(Conv3x3(self.width)(picture), level, self.width)
        coarse = nn.avg_pool(fine[None], (2, 2), (2, 2), padding="SAME")[0]
        coarse = self._block(Conv3x3(2 * self.width)(coarse), level, 2 * self.width)
        coarse = self._block(coarse, level, 2 * self.width)
        up = jax.image.resize(coarse, (side, side, 2 * self.width), "nearest")
        joined = Conv3x3(self.width)(jnp.concatenate([up, fine], axis=-1))
        last = self._block(joined, level, self.width)
        out = Conv3x3(picture.shape[-1], nn.initializers.zeros)(nn.silu(last))
        return clean(out.transpose(2, 0, 1).reshape(x_t.shape), x_t, t, self.noise, self.parameterization)

    def _block(self, h: Float[Array, "a b w"], level: Float[Array, " f"], width: int) -> Float[Array, "a b w"]:
        groups = next(g for g in (8, 4, 2, 1) if g == 1 or (width % g == 0 and width >= 4 * g))
        after, before = (nn.GroupNorm(groups) if self.norm else _as_it_is for _ in range(2))
        inner = after(Conv3x3(width)(nn.silu(before(h))))
        # After the norm, which would take a constant away again.
        scale, shift = jnp.split(nn.Dense(2 * width)(level)[None, None], 2, axis=-1)
        return h + Conv3x3(width, nn.initializers.zeros)(nn.silu(inner * (1 + scale) + shift))


def _as_it_is(h: Float[Array, "a b w"]) -> Float[Array, "a b w"]:
    return h


Network = Perceptron | UNet
NETWORKS: dict[str, type[Perceptron] | type[UNet]] = {"perceptron": Perceptron, "unet": UNet}


def noise_level(noise: Noise, t: Float[Array, ""], dtype: jnp.dtype) -> Float[Array, " f"]:
    """Sines and cosines of the log-SNR, which tells times of every schedule apart."""
    alpha, sigma = noise(t)
    log_snr = 2 * (jnp.log(alpha) - jnp.log(sigma))
    angles = log_snr * jnp.exp(jnp.linspace(jnp.log(0.05), jnp.log(2.0), FREQUENCIES))
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)]).astype(dtype)


def scaled(noise: Noise, x_t: Float[Array, "*c d"], t: Float[Array, ""]) -> Float[Array, "*c d"]:
    """x_t / sqrt(alpha^2 + sigma^2): of unit variance where the data are."""
    alpha, sigma = noise(t)
    return x_t / jnp.sqrt(alpha**2 + sigma**2).astype(x_t.dtype)


def clean(
    out: Float[Array, "*c d"], x_t: Float[Array, "*c d"], t: Float[Array, ""], noise: Noise, parameterization: str
) -> Float[Array, "*c d"]:
    """The clean point that a network's output stands for.

    The field is (on_x_t alpha + on_x0) x0 + on_x_t sigma eps; the output is that over the root of the summed squares of
    both factors. For the velocity of the variance-preserving schedule this is Salimans and Ho's v.

    Raises:
        KeyError: for a parameterization that is no field.
    """
    field, (alpha, sigma) = FIELDS[parameterization](noise, t), noise(t)
    size = jnp.sqrt((field.on_x_t * alpha + field.on_x0) ** 2 + (field.on_x_t * sigma) ** 2)
    return convert(size.astype(out.dtype) * out, x_t, field, x0_field(noise, t)).astype(out.dtype)


def untrained(
    keys: Key[Array, " s"], make: Callable[[int], Network], shape: tuple[int, ...], widths: Sequence[int]
) -> Ladder:
    """Networks of every width for every data set, in float32, as a ladder to be trained together.

    Args:
        keys: one for each data set.
        make: width -> network.
        shape: of a point.
        widths: of the networks; a ladder's sizes.
    """
    models = tuple(make(width) for width in widths)
    x_t, t = jnp.zeros(shape, jnp.float32), jnp.asarray(0.5, jnp.float32)

    def variables(model: Network) -> Variables:
        found = jax.vmap(lambda key: model.init(key, x_t, t))(keys)
        single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32)[:, None], found["params"])
        return {"params": single, "prior": {}}

    return Ladder(tuple(widths), models, tuple(variables(model) for model in models))


def parameter_count(variables: Variables) -> int:
    """Trained numbers of one network among a ladder's stacked ones."""
    return sum(leaf[0, 0].size for leaf in jax.tree.leaves(variables["params"]))


def network_samples(
    key: Key[Array, ""],
    model: Network,
    variables: Variables,
    times: Float[Array, " t"],
    n_samples: int,
) -> Float[Array, "s samples *c d"]:
    """Deterministic DDIM samples of one width of a ladder, for every data set, all from the same starting noise."""
    _, sigma = model.noise(jnp.max(times))
    return samples_from(sigma * jax.random.normal(key, (n_samples, *model.shape), float), model, variables, times)


def samples_from(
    start: Float[Array, "samples *c d"], model: Network, variables: Variables, times: Float[Array, " t"]
) -> Float[Array, "s samples *c d"]:
    """The same from noise that is given."""
    # Not jax.lax.map, which would be compiled again at every call.
    return jnp.stack([_drawn(model, params, times, start) for params in each_network(variables)])


def network_losses(
    key: Key[Array, ""],
    model: Network,
    variables: Variables,
    points: Float[Array, "s n *c d"],
    times: Float[Array, " t"],
    n_draws: int,
) -> Float[Array, "s t"]:
    """Denoising loss in x0 units at every time, of one width of a ladder on points of each data set.

    The same key gives every network the same noise.
    """

    pairs = zip(each_network(variables), points, strict=True)
    return jnp.stack([_lost(key, model, params, own, times, n_draws) for params, own in pairs])


def each_network(variables: Variables) -> list[Variables]:
    """Of one width of a ladder, the parameters of every data set's network."""
    count = len(jax.tree.leaves(variables["params"])[0])
    return [jax.tree.map(lambda leaf, s=s: leaf[s, 0], variables["params"]) for s in range(count)]


@partial(jax.jit, static_argnums=0)
def _drawn(
    model: Network, params: Variables, times: Float[Array, " t"], start: Float[Array, "samples *c d"]
) -> Float[Array, "samples *c d"]:
    return ddim(network_denoiser(model, params), model.noise, times, start)


@partial(jax.jit, static_argnums=(1, 5))
def _lost(
    key: Key[Array, ""],
    model: Network,
    params: Variables,
    points: Float[Array, "n *c d"],
    times: Float[Array, " t"],
    n_draws: int,
) -> Float[Array, " t"]:
    return denoising_loss(key, network_denoiser(model, params), points, model.noise, times, n_draws).value


def network_denoiser(model: Network, params: Variables) -> Denoiser:
    """What a network with these parameters makes of a noisy point."""

    def denoise(x_t: Float[Array, "*c d"], t: Float[ArrayLike, ""]) -> Float[Array, "*c d"]:
        found: Array = model.apply({"params": params}, x_t, t)  # type: ignore[assignment]
        return found

    return denoise
