"""Templates: fixed words with slots, each of which a word of its own list fills."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from difflab.errors import require
from synthetic.data.corpus import Corpus, law_source, uniforms
from synthetic.data.spelling import spelled
from theory.sequences import Templates


@dataclass(frozen=True)
class TemplateText:
    """`templates` sequences of fixed words, `slots` positions of which are filled anew in every item."""

    vocabulary: int = 256
    """Number of tokens V."""
    length: int = 64
    """Tokens of an item."""
    templates: int = 8
    """Templates, equally likely."""
    slots: int = 16
    """Positions of a template that are filled, 0 ... length."""
    fillers: int = 16
    """Words that may fill a slot, equally likely, 1 ... V."""
    domain: int = 0
    """Which of the domains with these numbers; each has templates of its own."""

    def __post_init__(self) -> None:
        require(self.vocabulary >= 2, f"vocabulary is {self.vocabulary}; give at least 2.")
        require(min(self.length, self.templates) >= 1, "give at least one template, and items of at least one token.")
        require(0 <= self.slots <= self.length, f"slots is {self.slots}; give one of 0 ... {self.length}.")
        require(
            1 <= self.fillers <= self.vocabulary, f"fillers is {self.fillers}; give one of 1 ... {self.vocabulary}."
        )


def template_text(seed: int, numbers: Sequence[int], config: TemplateText) -> Corpus:
    """Items of the domain; seed and config decide its templates.

    A code length is log2 of templates plus slots times log2 of fillers, less where several templates give one text.

    Raises:
        InputError: there is no item, or a negative one.
    """
    k, t, f = config.templates, config.length, config.fillers
    source = law_source(seed, config)
    # A fixed word is a slot that is always filled with the same.
    choices = np.repeat(source.integers(config.vocabulary, size=(k, t, 1)), f, axis=2)
    every = np.broadcast_to(np.arange(config.vocabulary), (config.slots, config.vocabulary))
    for i in range(k):
        place = source.permutation(t)[: config.slots]
        choices[i, place] = source.permuted(every, axis=1)[:, :f]

    chance = uniforms(seed, config, numbers, 1 + t)
    template, rank = (chance[:, :1] * k).astype(np.int64), (chance[:, 1:] * f).astype(np.int64)
    tokens = choices[template, np.arange(t), rank]
    slots = np.zeros((k, t, config.vocabulary))
    np.add.at(slots, (*np.indices((k, t, f))[:2], choices), 1 / f)
    law = Templates(np.full(k, 1 / k), slots)
    return Corpus(tuple(numbers), spelled(tokens, config.vocabulary), tokens, law.bits(tokens), law)
