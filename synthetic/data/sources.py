"""Pictures by the name of where they come from: a package, a file of points, or a folder."""

from jaxtyping import Array, Key

from difflab.errors import require
from synthetic.data.colour_pictures import ColourPictures, colour_pictures
from synthetic.data.dataset import Dataset
from synthetic.data.digits import Digits, digits


def pictures_of(
    key: Key[Array, ""], source: str, n: int, side: int = 0, channels: bool = True, by_pixel: bool = True
) -> Dataset:
    """Points drawn from pictures, whose law nobody knows.

    Args:
        key: of the choice.
        source: 'mnist', 'digits', 'emoji', a .npy file of points, or a folder of pictures.
        n: training points.
        side: pixels of a side; 0 keeps those of digits and makes emoji and pictures of a folder 16 wide.
        channels: give points without channels, which are then square pictures, one channel: (1, side * side).
        by_pixel: centre every pixel on its own mean; else all on one, so that they keep one scale.

    Raises:
        InputError: the points of a file are no square pictures but should be.
    """
    if source not in ("mnist", "digits") and not source.endswith(".npy"):
        return colour_pictures(key, ColourPictures(n, source, side or 16), by_pixel)
    flat = digits(key, Digits(n, source, side), by_pixel)
    if not channels:
        return flat
    dim = flat.points.shape[-1]
    require(round(dim**0.5) ** 2 == dim, f"points of {source} are no square pictures; use a perceptron.")
    return Dataset(flat.points[:, None], flat.fresh[:, None], None)
