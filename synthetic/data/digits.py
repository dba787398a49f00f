"""Real pictures as points, with no law that anyone knows."""

from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from difflab.errors import InputError, require
from synthetic.data.dataset import Dataset
from synthetic.data.pictures import grey_pictures, resized


@dataclass(frozen=True)
class Digits:
    """Real digits, or points of the user's own, centred and scaled to unit mean variance."""

    n: int = 100
    """Training points N; as many again are kept fresh."""
    source: str = "digits"
    """'mnist', 'digits', a folder of grey pictures, or a .npy file of points (n, d)."""
    side: int = 0
    """Height and width in pixels; 0 keeps the source's own."""

    def __post_init__(self) -> None:
        require(self.n >= 2, f"n is {self.n}; give at least 2.")
        require(self.side >= 0, f"side is {self.side}; give the pixels of one side, or 0 for the source's own.")


def digits(key: Key[Array, ""], config: Digits, by_pixel: bool = True) -> Dataset:
    """Choose 2 N different pictures: N to train on and N fresh.

    Args:
        key: of the choice.
        config: source and numbers.
        by_pixel: centre every pixel on its own mean; else all on one, so that they keep one scale.

    Raises:
        InputError: where the source has too few points, can't be read, or holds NaN.
    """
    points = _points(config)
    n = config.n
    require(
        len(points) >= 2 * n,
        f"{config.source} has {len(points)} points, but {n} to train on and {n} fresh ones are asked for.",
    )
    chosen = points[np.asarray(jax.random.permutation(key, len(points))[: 2 * n])]
    axis = 0 if by_pixel else None
    spread = np.sqrt(np.mean(np.var(chosen[:n], axis=axis)))
    require(
        bool(spread > 1e-9 * np.abs(chosen).max()),
        f"all points of {config.source} are the same; nothing can be learned from them.",
    )
    scaled = jnp.asarray((chosen - chosen[:n].mean(axis=axis)) / spread)
    return Dataset(scaled[:n], scaled[n:], None)


def _points(config: Digits) -> Float[np.ndarray, "n d"]:
    path = Path(config.source)
    if path.suffix == ".npy":
        return read_points(path)
    pictures, _ = grey_pictures(config.source)
    if config.side:
        pictures = resized(pictures, config.side)
    return pictures.reshape(len(pictures), -1)


def read_points(path: Path) -> Float[np.ndarray, "n d"]:
    """Points of a .npy file.

    Raises:
        InputError: if the file is missing or broken, isn't a table of numbers, or holds NaN or infinity.
    """
    try:
        points = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} can't be read as a .npy file of numbers; write it with numpy.save.") from error
    if not isinstance(points, np.ndarray):
        raise InputError(f"{path} is an archive of arrays; give one array, written with numpy.save.")
    if points.ndim != 2 or points.size == 0 or not np.issubdtype(points.dtype, np.number) or np.iscomplexobj(points):
        raise InputError(f"{path} holds an array of shape {points.shape}; give real points as rows, shape (n, d).")
    bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if bad.size:
        raise InputError(f"{path} holds NaN or infinity in {bad.size} rows, the first is row {bad[0]}; remove them.")
    return points.astype(np.float64)
