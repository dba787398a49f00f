"""A folder of coloured pictures of the user's own as points with three channels, with no law that anyone knows."""

from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from PIL import Image, ImageOps, UnidentifiedImageError

from difflab.errors import InputError, require
from synthetic.data.dataset import Dataset
from synthetic.data.pictures import ENDINGS


@dataclass(frozen=True)
class ColourPictures:
    """Pictures cut to a square, centred and scaled to unit mean variance."""

    n: int = 100
    """Training points N; as many again are kept fresh."""
    source: str = ""
    """A folder of pictures, for instance CIFAR-10's."""
    side: int = 16
    """Height and width in pixels."""

    def __post_init__(self) -> None:
        require(self.n >= 2, f"n is {self.n}; give at least 2.")
        require(self.side >= 2, f"side is {self.side}; give at least 2 pixels.")


def colour_pictures(key: Key[Array, ""], config: ColourPictures, by_pixel: bool = True) -> Dataset:
    """Choose 2 N different pictures: N to train on and N fresh, as (n, 3, side * side).

    Only those chosen are read, in whatever order the folder has; their names are sorted first.

    Args:
        key: of the choice.
        config: folder and numbers.
        by_pixel: as for digits.

    Raises:
        InputError: the folder is missing, has too few pictures, or one can't be read.
    """
    folder, n = Path(config.source), config.n
    require(folder.is_dir(), f"{config.source} is not a folder; give one of pictures.")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)
    require(
        len(paths) >= 2 * n,
        f"{folder} has {len(paths)} pictures, but {n} to train on and {n} fresh ones are asked for.",
    )
    chosen = np.asarray(jax.random.permutation(key, len(paths))[: 2 * n])
    points = np.stack([_read(paths[i], config.side) for i in chosen])
    axis = 0 if by_pixel else None
    spread = np.sqrt(np.mean(np.var(points[:n], axis=axis)))
    require(bool(spread > 1e-9), f"all pictures of {folder} are the same; nothing can be learned from them.")
    scaled = jnp.asarray((points - points[:n].mean(axis=axis)) / spread)
    return Dataset(scaled[:n], scaled[n:], None)


def _read(path: Path, side: int) -> Float[np.ndarray, "3 d"]:
    try:
        with Image.open(path) as image:
            square = ImageOps.fit(image.convert("RGB"), (side, side), Image.Resampling.BICUBIC)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError) as error:
        raise InputError(f"{path} can't be read as a picture; mend or remove it.") from error
    return np.asarray(square, np.float64).transpose(2, 0, 1).reshape(3, -1) / 255.0
