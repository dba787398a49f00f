"""Coloured pictures, emoji or a folder of the user's own, as points with three channels; nobody knows their law."""

from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from difflab.errors import InputError, require
from synthetic.data.dataset import Dataset
from synthetic.data.emoji import emoji
from synthetic.data.pictures import ENDINGS

EMOJI = "emoji"


@dataclass(frozen=True)
class ColourPictures:
    """Pictures cut to a square, centred and scaled to unit mean variance."""

    n: int = 100
    """Training points N; as many again are kept fresh."""
    source: str = ""
    """'emoji', or a folder of pictures, for instance CIFAR-10's."""
    side: int = 16
    """Height and width in pixels."""

    def __post_init__(self) -> None:
        require(self.n >= 2, f"n is {self.n}; give at least 2.")
        least = 8 if self.source == EMOJI else 2
        require(self.side >= least, f"side is {self.side}; give at least {least} pixels.")


def colour_pictures(key: Key[Array, ""], config: ColourPictures, by_pixel: bool = True) -> Dataset:
    """Choose 2 N different pictures: N to train on and N fresh, as (n, 3, side * side).

    Of a folder only those chosen are read, in whatever order it has them; their names are sorted first.

    Args:
        key: of the choice.
        config: source and numbers.
        by_pixel: as for digits.

    Raises:
        InputError: the folder is missing, the source has too few pictures, or one can't be read.
    """
    n = config.n
    glyphs = emoji(config.side).pictures if config.source == EMOJI else None
    paths = _paths(Path(config.source)) if glyphs is None else []
    count = len(paths) if glyphs is None else len(glyphs)
    require(
        count >= 2 * n,
        f"{config.source} has {count} pictures, but {n} to train on and {n} fresh ones are asked for.",
    )
    chosen = np.asarray(jax.random.permutation(key, count)[: 2 * n])
    pictures = [_read(paths[i], config.side) for i in chosen] if glyphs is None else glyphs[chosen]
    points = np.stack([_as_point(picture) for picture in pictures])
    axis = 0 if by_pixel else None
    spread = np.sqrt(np.mean(np.var(points[:n], axis=axis)))
    require(bool(spread > 1e-9), f"all pictures of {config.source} are the same; nothing can be learned from them.")
    scaled = jnp.asarray((points - points[:n].mean(axis=axis)) / spread)
    return Dataset(scaled[:n], scaled[n:], None)


def _paths(folder: Path) -> list[Path]:
    require(folder.is_dir(), f"{folder} is not a folder; give one of pictures.")
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)


def _read(path: Path, side: int) -> UInt8[np.ndarray, "side side 3"]:
    try:
        with Image.open(path) as image:
            square = ImageOps.fit(image.convert("RGB"), (side, side), Image.Resampling.BICUBIC)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError) as error:
        raise InputError(f"{path} can't be read as a picture; mend or remove it.") from error
    return np.asarray(square)


def _as_point(picture: UInt8[np.ndarray, "side side 3"]) -> Float[np.ndarray, "3 d"]:
    return picture.astype(np.float64).transpose(2, 0, 1).reshape(3, -1) / 255.0
