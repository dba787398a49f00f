"""Pictures with captions and prompts of the user's own: in files, which a config names, or in memory."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from difflab.audits.pipelines import IN_MEMORY
from difflab.datasets.captioned import Captioned, captioned, captioned_folder, prompts
from difflab.datasets.pixels import each
from difflab.errors import InputError, require
from difflab.files import sha256

Pictures = str | Path | tuple[UInt8[np.ndarray, "_ _ _ 3"], Sequence[str]]
"""A folder with a metadata.jsonl, or pictures and captions in memory."""
Prompts = str | Path | Sequence[str]
"""A CSV file with a column named prompt, or a list of prompts."""


def named_pictures(**flags: Pictures | None) -> tuple[dict[str, str], dict[str, Captioned]]:
    """How a config names the pictures of each flag, and those in memory, which are handed to the run beside it.

    Raises:
        InputError: what is in memory is not pictures and captions, one for each.
    """
    names, given = dict[str, str](), dict[str, Captioned]()
    for flag, data in flags.items():
        if isinstance(data, tuple | list):
            require(len(data) == 2, f"{flag} holds {len(data)} parts; give pictures and captions.")
            try:
                found = captioned(np.asanyarray(data[0]), tuple(data[1]))
            except (TypeError, ValueError) as error:
                raise InputError(
                    f"{flag} is not pictures and captions; give pictures of one size, and a caption for each."
                ) from error
            names[flag] = _named(found)
            given[flag] = found
        elif data is not None:
            kind = type(data).__name__
            require(isinstance(data, str | Path), f"{flag} is a {kind}; give a folder, or pictures and captions.")
            names[flag] = str(data)
    return names, given


def _named(found: Captioned) -> str:
    seen = hashlib.sha256()
    for picture in each(found.pictures):
        seen.update(picture.tobytes())
    seen.update(repr(found.captions).encode())
    return IN_MEMORY + seen.hexdigest()[:12]


def named_prompts(asked: Prompts | None) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """How a config names prompts, and the prompts themselves where they are in memory.

    Raises:
        InputError: they are no texts, or none.
    """
    if asked is None or isinstance(asked, str | Path):
        return {} if asked is None else {"prompts": str(asked)}, {}
    require(isinstance(asked, Sequence), f"prompts is a {type(asked).__name__}; give a list of texts.")
    texts = tuple(asked)
    blank = [text for text in texts if not isinstance(text, str) or not text.strip()]
    require(len(texts) > 0 and not blank, f"prompts holds {blank[0] if blank else 'nothing'!r}; give a list of texts.")
    return {"prompts": IN_MEMORY + sha256(repr(texts).encode())[:12]}, {"prompts": texts}


def read_pictures(folder: str, given: Captioned | None, size: tuple[int, int]) -> Captioned:
    """Pictures of a folder, brought to this height and width, or those given in memory.

    Raises:
        InputError: the folder can't be read, or pictures in memory are of another size.
    """
    found = captioned_folder(Path(folder), size) if given is None else given
    check_size(found, size)
    return found


def check_size(found: Captioned, size: tuple[int, int]) -> None:
    """Raises InputError where pictures are not as the pipeline draws them."""
    drawn_as = (*size, 3)
    require(
        found.pictures.shape[1:] == drawn_as,
        f"the pictures are {found.pictures.shape[1:]}; this pipeline draws {drawn_as}.",
    )


def read_prompts(table: str, given: tuple[str, ...] | None) -> tuple[str, ...]:
    """Prompts of a table, or those given in memory; none without either."""
    if given is not None:
        return given
    return prompts(Path(table)) if table else ()
