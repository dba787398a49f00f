"""What a copy threshold is calibrated on: pictures without near-copies, and no two of one caption."""

import sys
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, UInt8

from difflab.datasets.near_copies import different, near_copies
from difflab.datasets.pixels import chosen, joined
from difflab.diffusion.similarity import NEAREST


class Calibration(NamedTuple):
    """Pictures that distances are scaled by and a threshold is calibrated on.

    Attributes:
        pictures: different ones; those of the folder first.
        kinds: which of them have one caption.
        own: places in the folder of those that come from it.
        left_out: pictures of the folder that are near-copies of earlier ones.
        on: where the pictures come from.
    """

    pictures: UInt8[np.ndarray, "n h w 3"]
    kinds: Int[np.ndarray, " n"]
    own: Int[np.ndarray, " distinct"]
    left_out: int
    on: str


def enough(captions: Sequence[str]) -> bool:
    """Whether different pictures with these captions can calibrate a threshold by themselves.

    A picture can be compared where fewer than 50 others have its caption; over 50 such pictures are enough.
    """
    kinds = _kinds(captions)
    return int((np.bincount(kinds)[kinds] <= NEAREST).sum()) > NEAREST


def calibration(
    pictures: UInt8[np.ndarray, "n h w 3"],
    captions: Sequence[str],
    distinct: Int[np.ndarray, " distinct"],
    references: UInt8[np.ndarray, "r h w 3"] | None = None,
    of: str = "",
) -> Calibration:
    """The different pictures of a folder, and beside them references, if there are any, that are no copies of those.

    Args:
        pictures: of the folder.
        captions: theirs.
        distinct: what `different` returned of them.
        references: pictures that the model never saw.
        of: what the references are called.
    """
    kept = chosen(pictures, distinct)
    kinds, left_out = _kinds([captions[i] for i in distinct]), len(pictures) - len(distinct)
    if references is None:
        return Calibration(kept, kinds, distinct, left_out, "the folder")
    both = joined(kept, references)
    places = different(both)
    places = np.concatenate([np.arange(len(kept)), places[places >= len(kept)]])
    others = np.arange(len(places) - len(kept)) + kinds.max() + 1
    return Calibration(
        chosen(both, places), np.concatenate([kinds, others]), distinct, left_out, f"the folder and {of}"
    )


def apart(
    pictures: UInt8[np.ndarray, "n h w 3"],
    captions: Sequence[str],
    others: UInt8[np.ndarray, "m h w 3"],
    other_captions: Sequence[str],
) -> Bool[np.ndarray, " n"]:
    """Which pictures are no near-copy of one of the others and share no caption with them; a line on stderr counts."""
    kept = of_other_captions(captions, other_captions)
    kept[list(near_copies(pictures, others))] = False
    print(f"the copy threshold leaves out {int((~kept).sum())} of {len(kept)} pictures as near-copies", file=sys.stderr)
    return kept


def of_other_captions(captions: Sequence[str], others: Sequence[str]) -> Bool[np.ndarray, " n"]:
    """Which captions are none of the others."""
    theirs = {normalized(caption) for caption in others}
    return np.array([normalized(caption) not in theirs for caption in captions], bool)


def normalized(caption: str) -> str:
    """A caption without what makes no other caption of it: case, spaces, forms of Unicode."""
    return " ".join(unicodedata.normalize("NFKC", caption).casefold().split())


def _kinds(captions: Sequence[str]) -> Int[np.ndarray, " n"]:
    return np.unique([normalized(caption) for caption in captions], return_inverse=True)[1].astype(np.int64)
