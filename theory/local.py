"""Local denoisers: what a convolutional network can know of a picture, a patch around each pixel.

Each pixel is the posterior mean of the centres of training patches, given the patch around it. The local one
compares with patches at the same place, the equivariant one with patches at all places, the bordered one with patches
at all places from where a border looks the same. With a patch around the whole picture from every pixel the first and
the last are the memorizing denoiser; with one as large as the picture the second memorizes all shifts of the pictures.
"""

from functools import partial
from typing import Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float


class LocalDenoiser(Protocol):
    """E[x0 | patches of x_t] of a batch of pictures, by the pictures of a training set."""

    def __call__(
        self,
        points: Float[Array, "n c h w"],
        x_t: Float[Array, "m c h w"],
        alpha: Float[ArrayLike, ""],
        sigma: Float[ArrayLike, ""],
        patch: int,
    ) -> Float[Array, "m c h w"]: ...


def patches(pictures: Float[Array, "n c h w"], patch: int, wrap: bool = False) -> Float[Array, "n p k"]:
    """The patch around every pixel, flat; beyond the border lie zeros, or the other side of the picture.

    Args:
        pictures: any.
        patch: pixels of its side, odd.
        wrap: whether the picture goes on at its other side.

    Raises:
        ValueError: for a side that is even or below 1, or a patch that is larger than the picture it wraps around.

    >>> patches(jnp.arange(4.0).reshape(1, 1, 2, 2), 3).shape
    (1, 4, 9)
    """
    n, c, h, w = pictures.shape
    if patch < 1 or patch % 2 == 0:
        raise ValueError(f"patch is {patch}; its side must be odd and at least 1, to have a centre.")
    if wrap and patch > min(h, w):
        raise ValueError(f"patch is {patch}, but a picture of {h} x {w} wraps around itself; give at most {min(h, w)}.")
    r = patch // 2
    padded = jnp.pad(pictures, ((0, 0), (0, 0), (r, r), (r, r)), mode="wrap" if wrap else "constant")
    near = [padded[:, :, i : i + h, j : j + w] for i in range(patch) for j in range(patch)]
    return jnp.stack(near, axis=-1).transpose(0, 2, 3, 1, 4).reshape(n, h * w, c * patch**2)


@partial(jax.jit, static_argnames="patch")
def local_mean(
    points: Float[Array, "n c h w"],
    x_t: Float[Array, "m c h w"],
    alpha: Float[ArrayLike, ""],
    sigma: Float[ArrayLike, ""],
    patch: int,
) -> Float[Array, "m c h w"]:
    """Every pixel from patches at its own place: sum_i w_i points_i, w = softmax(-|x - alpha patch_i|^2 / 2 sigma^2).

    Args:
        points: training pictures.
        x_t: noisy pictures.
        alpha: scale of the signal.
        sigma: scale of the noise, > 0.
        patch: pixels of a patch's side, odd; what lies beyond the border does not count.

    Raises:
        ValueError: for a side that is even or below 1.

    Reference:
        Kamb and Ganguli 2025, arXiv 2412.20292, the local score machine.

    >>> one = jnp.ones((1, 1, 2, 2))
    >>> bool(jnp.allclose(local_mean(one, 9 * one, 0.6, 0.8, 3), one))
    True
    """
    known, seen = patches(points, patch), patches(x_t, patch)
    half_norms = jnp.sum(known**2, axis=2).T / 2
    logits = (alpha * jnp.einsum("mpk,npk->pmn", seen, known) - alpha**2 * half_norms[:, None]) / sigma**2
    flat = points.reshape(*points.shape[:2], -1)
    return jnp.einsum("pmn,ncp->mcp", jax.nn.softmax(logits), flat).reshape(x_t.shape)


@partial(jax.jit, static_argnames="patch")
def equivariant_mean(
    points: Float[Array, "n c h w"],
    x_t: Float[Array, "m c h w"],
    alpha: Float[ArrayLike, ""],
    sigma: Float[ArrayLike, ""],
    patch: int,
) -> Float[Array, "m c h w"]:
    """As `local_mean`, from the patches at all places; pictures go on at their other sides.

    Args:
        points: training pictures.
        x_t: noisy pictures.
        alpha: scale of the signal.
        sigma: scale of the noise, > 0.
        patch: pixels of a patch's side, odd and not larger than the picture.

    Raises:
        ValueError: for another side.

    Reference:
        Kamb and Ganguli 2025, the equivariant local score machine.

    >>> one = jnp.ones((1, 1, 3, 3))
    >>> bool(jnp.allclose(equivariant_mean(one, 9 * one, 0.6, 0.8, 3), one))
    True
    """
    known, seen = patches(points, patch, wrap=True), patches(x_t, patch, wrap=True)
    return _anywhere(points, known, seen, alpha, sigma, None).reshape(x_t.shape)


@partial(jax.jit, static_argnames="patch")
def bordered_mean(
    points: Float[Array, "n c h w"],
    x_t: Float[Array, "m c h w"],
    alpha: Float[ArrayLike, ""],
    sigma: Float[ArrayLike, ""],
    patch: int,
) -> Float[Array, "m c h w"]:
    """As `equivariant_mean`, but zeros lie beyond the border, as in a convolution that pads, and give places away.

    A pixel whose patch stays inside is compared with all such patches; one near a border with those that are as near to
    that border; one near a corner with those at its own place.

    Args:
        points: training pictures.
        x_t: noisy pictures.
        alpha: scale of the signal.
        sigma: scale of the noise, > 0.
        patch: pixels of a patch's side, odd; one as large as the picture gives `local_mean`.

    Raises:
        ValueError: for a side that is even or below 1.

    Reference:
        Kamb and Ganguli 2025, the boundary-broken equivariant local score machine.

    >>> one = jnp.ones((1, 1, 3, 3))
    >>> bool(jnp.allclose(bordered_mean(one, 9 * one, 0.6, 0.8, 3), one))
    True
    """
    alike = jnp.kron(_same(points.shape[2], patch), _same(points.shape[3], patch)) > 0
    return _anywhere(points, patches(points, patch), patches(x_t, patch), alpha, sigma, alike).reshape(x_t.shape)


def _same(side: int, patch: int) -> Float[Array, "side side"]:
    """Which places along a side see its ends alike: all from where no end is seen, else each only itself."""
    places, reach = jnp.arange(side), patch // 2
    inside = (places >= reach) & (places < side - reach)
    return 1.0 * ((places[:, None] == places[None]) | (inside[:, None] & inside[None]))


def _anywhere(
    points: Float[Array, "n c h w"],
    known: Float[Array, "n p k"],
    seen: Float[Array, "m p k"],
    alpha: Float[ArrayLike, ""],
    sigma: Float[ArrayLike, ""],
    alike: Bool[Array, "p p"] | None,
) -> Float[Array, "m c p"]:
    """Pixels from known patches at all places, or at those alike."""
    n, places, size = known.shape
    flat = known.reshape(n * places, size)
    half_norms = jnp.sum(flat**2, axis=1) / 2
    centres = points.transpose(0, 2, 3, 1).reshape(n * places, -1)

    def one(here: Float[Array, "p k"]) -> Float[Array, "c p"]:
        logits = (alpha * here @ flat.T - alpha**2 * half_norms[None]) / sigma**2
        if alike is not None:
            logits = jnp.where(jnp.tile(alike, (1, n)), logits, -jnp.inf)
        return (jax.nn.softmax(logits) @ centres).T

    return jax.lax.map(one, seen)
