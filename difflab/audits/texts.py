"""Which texts an audit of a language model asks about, and which of them are compared."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from difflab.audits.comparisons import LEAST, Comparison, enough
from difflab.datasets.texts import Texts, check_apart
from difflab.errors import require
from difflab.randomness import stream
from difflab.runs.rows import Note

SEEN, UNSEEN = "seen", "unseen"


class TextItems(NamedTuple):
    """What is asked about.

    Attributes:
        texts: seen and unseen ones.
        comparisons: which against which.
        left_out: why some are not compared.
        before: unseen texts that are asked nothing; ReCaLL puts them before the others.
    """

    texts: list[str]
    comparisons: list[Comparison]
    left_out: list[Note]
    before: list[str]


def of_lists(seen: Texts, unseen: Texts | None, most: int, shots: int, seed: int) -> TextItems:
    """Seen texts against unseen ones; without unseen ones nothing is compared.

    Args:
        seen: texts that the model was trained on; one that stands there twice is asked about once.
        unseen: texts that it was not, drawn alike, if there are any.
        most: of each kind, at most; a random choice where there are more.
        shots: unseen texts that are set aside.
        seed: of that choice.

    Raises:
        InputError: a text is seen and unseen, or there are too few.
    """
    if unseen is not None:
        check_apart(seen, unseen)
    inside = list(dict.fromkeys(seen.texts))
    outside = [] if unseen is None else list(dict.fromkeys(unseen.texts))
    inside = [inside[i] for i in stream(seed, SEEN).numpy().permutation(len(inside))[:most]]
    chosen = stream(seed, UNSEEN).numpy().permutation(len(outside))
    spare = chosen[: min(shots, max(len(outside) - LEAST, 0))]
    outside, before = [outside[i] for i in chosen[len(spare) :][:most]], [outside[i] for i in spare]
    texts = [*inside, *outside]
    member = np.arange(len(texts)) < len(inside)
    compared = [Comparison(SEEN, UNSEEN, member, ~member, True)] if outside else []
    found = TextItems(texts, *enough(compared, "texts"), before)
    require(
        not outside or len(found.comparisons) > 0,
        f"there are {len(inside)} different seen texts and {len(outside)} unseen ones; give at least {LEAST} of each.",
    )
    return found


def blocks(n: int, size: int) -> list[Int[np.ndarray, " _"]]:
    """Places of n texts in blocks of at most so many, each of which is done at once."""
    return [np.arange(start, min(start + size, n)) for start in range(0, n, size)]
