"""What came out of a model: its continuations of texts, and how much of the truth they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from difflab.autoregressive.generate import continued
from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.reading import check_lengths, decoded
from difflab.errors import require
from difflab.progress import Advance
from difflab.statistics.verbatim import Tokens, cut
from difflab.training.loop import silent

AT_ONCE = 64
"""Prefixes that are continued in one batch."""


@dataclass(frozen=True)
class Extracted:
    """What a model continued, and how much of it is the truth.

    Attributes:
        items: the texts, decoded.
        prefix: tokens given of each; the fewest where several prefixes are tried.
        continuations: what the model wrote after each prefix; nothing where a method lets it write nothing.
        values: in [0, 1], how much of the truth came.
        success: whether that counts as extracted.
        features: the numbers behind each, where a method has several.
    """

    items: tuple[str, ...]
    prefix: int
    continuations: tuple[Int[np.ndarray, " _"], ...]
    values: Float[np.ndarray, " n"]
    success: Bool[np.ndarray, " n"]
    features: Float[np.ndarray, "n k"] | None = None

    def __post_init__(self) -> None:
        counts = (len(self.continuations), len(self.values), len(self.success))
        require(set(counts) == {len(self.items)}, f"{counts} continuations, values, successes for {len(self)} items.")

    def __len__(self) -> int:
        return len(self.items)

    @property
    def rate(self) -> float:
        """Share of the texts that count as extracted."""
        return float(self.success.mean())


class Continuations(NamedTuple):
    """Greedy continuations, made once for all that looks at them.

    Attributes:
        items: the texts, decoded.
        prefix: tokens given of each.
        truths: the true tokens after them.
        written: what the model wrote, at most as many tokens.
    """

    items: tuple[str, ...]
    prefix: int
    truths: tuple[Tokens, ...]
    written: tuple[Tokens, ...]


def greedy(
    model: LanguageModel,
    texts: Sequence[Int[np.ndarray, " _"]],
    prefix: int = 50,
    suffix: int = 50,
    most: int = AT_ONCE,
    advance: Advance = silent,
) -> Continuations:
    """Continue the first tokens of texts greedily, by as many tokens as will be compared.

    Args:
        model: that writes.
        texts: token ids, at least prefix + suffix of each, at most the context; what comes after changes nothing.
        prefix: tokens given.
        suffix: tokens compared.
        most: prefixes of a batch.
        advance: told of the prefixes done.

    Raises:
        InputError: there are no texts, one is shorter than prefix + suffix or holds ids outside the vocabulary, or the
            context is.
    """
    check_lengths(model, texts, prefix + suffix)
    parts = [cut(ids, prefix, suffix) for ids in texts]
    written = continued(model, [given for given, _ in parts], suffix, most=most, advance=advance)
    return Continuations(decoded(model, texts), prefix, tuple(truth for _, truth in parts), tuple(written))


def without_continuations(
    items: tuple[str, ...],
    prefix: int,
    values: Float[np.ndarray, " n"],
    success: Bool[np.ndarray, " n"],
    features: Float[np.ndarray, "n k"] | None = None,
) -> Extracted:
    """What was read off predictions, where nothing is written."""
    nothing = (np.zeros(0, dtype=np.int64),) * len(items)
    return Extracted(items, prefix, nothing, values, success, features)
