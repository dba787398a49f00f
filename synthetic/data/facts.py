"""Facts to be known: a key of two symbols and its answer, which is composed of what the symbols mean, or arbitrary.

A term and its identifier, a phrase and its meaning, a scenario and its arguments are all such facts. A composed answer
can be told of a key that was never seen, once what its symbols mean is known; an arbitrary one can only be remembered.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from difflab.errors import require
from synthetic.data.corpus import Corpus, law_source
from synthetic.data.spelling import spelled

_PLACES = 2
"""Of a key."""
_MOST_ANSWERS = 2**20


@dataclass(frozen=True)
class Facts:
    """A domain of facts; all have different keys, and all arbitrary ones different answers."""

    parts: int = 12
    """Symbols that may stand at the first place of a key, and as many others at the second."""
    values: int = 16
    """Symbols of answers, the same at every place of one and in every domain."""
    slots: int = 2
    """Symbols of an answer."""
    composed: bool = False
    """Each symbol of an answer is what one symbol of the key means, the first of the first, and so on in turn."""
    domain: int = 0
    """Domains share no symbol of keys."""

    def __post_init__(self) -> None:
        require(self.parts >= 2, f"parts is {self.parts}; give at least 2.")
        require(
            self.slots >= _PLACES and self.keys <= self.values**self.slots <= _MOST_ANSWERS,
            f"{self.slots} slots of {self.values} values hold {self.values**self.slots} answers; give at least"
            f" {_PLACES} slots, and an answer for each of {self.keys} keys, at most {_MOST_ANSWERS}.",
        )
        require(
            self.parts <= self.values or not self.composed,
            f"{self.parts} parts cannot all mean another of {self.values} values; give as many values.",
        )
        require(self.domain >= 0, f"domain is {self.domain}; give at least 0.")

    @property
    def keys(self) -> int:
        """How many facts there are at most."""
        return int(self.parts**_PLACES)

    @property
    def symbols(self) -> int:
        """Symbols of this domain and those before it: answers first, then the keys of each domain."""
        return self.values + (self.domain + 1) * _PLACES * self.parts


def facts(seed: int, numbers: Sequence[int], config: Facts) -> Corpus:
    """Facts as a key and its answer; "key" and "answer" are their fields.

    Bits are those of an answer and its key, once it is known what symbols mean: an answer that is composed has none.

    Raises:
        InputError: there is no fact, or one whose number the domain does not have.

    >>> facts(0, [3], Facts()).tokens.shape
    (1, 4)
    """
    require(
        len(numbers) > 0 and min(numbers) >= 0 and max(numbers) < config.keys,
        f"a corpus needs items, numbered from 0 on; of {config.parts} parts there are {config.keys}, ask for some.",
    )
    source = law_source(seed, config)
    keys = _digits(source.permutation(config.keys)[list(numbers)], config.parts, _PLACES)
    if config.composed:
        meanings = [source.permutation(config.values)[: config.parts] for _ in range(config.slots)]
        answers = np.stack([meaning[keys[:, i % _PLACES]] for i, meaning in enumerate(meanings)], axis=1)
    else:
        answers = _digits(source.permutation(config.values**config.slots)[list(numbers)], config.values, config.slots)
    first = config.values + config.domain * _PLACES * config.parts
    tokens = np.concatenate([first + keys + config.parts * np.arange(_PLACES), answers], axis=1)
    texts = spelled(tokens, config.symbols)
    ends = [len(text) for text in spelled(tokens[:, :_PLACES], config.symbols)]
    fields = tuple({"key": (0, end), "answer": (end + 1, len(text))} for text, end in zip(texts, ends, strict=True))
    told = 0.0 if config.composed else config.slots * np.log2(config.values)
    bits = np.full(len(tokens), _PLACES * np.log2(config.parts) + told)
    return Corpus(tuple(numbers), texts, tokens, bits, fields=fields)


def _digits(numbers: Int[np.ndarray, " n"], base: int, count: int) -> Int[np.ndarray, "n {count}"]:
    """Numbers as so many digits each, the last one first."""
    return numbers[:, None] // base ** np.arange(count) % base
