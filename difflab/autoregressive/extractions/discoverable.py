"""Extraction: how surely some of n draws give the suffix of the text, and how many draws that takes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from difflab.autoregressive.extracted import Extracted, without_continuations
from difflab.autoregressive.likelihood import Scheme
from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.reading import MOST_TOKENS, Reading, after, check_lengths, decoded, read
from difflab.errors import at_least, require
from difflab.statistics.discoverable import extraction_probability, log_draws_needed, sequence_log_probability


@dataclass(frozen=True)
class Discoverable:
    """What is drawn how often, and how surely the truth must be among it.

    Attributes:
        prefix: tokens given, at least 1.
        suffix: tokens compared.
        draws: n, at least 1.
        probability: p, in (0, 1).
        temperature: of a draw; 0 is greedy.
        top_k: only so many of the likeliest tokens are drawn.
        most_tokens: of a batch, padding included.
    """

    prefix: int = 50
    suffix: int = 50
    draws: int = 100
    probability: float = 0.9
    temperature: float = 1.0
    top_k: int | None = 40
    most_tokens: int = MOST_TOKENS

    def __post_init__(self) -> None:
        at_least(self, 1, "prefix", "suffix", "draws", "most_tokens")
        require(0 < self.probability < 1, f"probability is {self.probability}; give a number between 0 and 1.")
        require(self.temperature >= 0, f"temperature is {self.temperature}; give at least 0.")
        require(self.top_k is None or self.top_k >= 1, f"top_k is {self.top_k}; give at least 1.")

    @property
    def scheme(self) -> Scheme:
        """How the next token is drawn."""
        return Scheme(self.temperature, self.top_k)


def discoverable(
    model: LanguageModel, texts: Sequence[Int[np.ndarray, " _"]], config: Discoverable = Discoverable()
) -> Extracted:
    """Ask in one pass how likely drawing gives each text's suffix; nothing is drawn.

    p_z = product over the suffix of p(x_t | x_<t) under the scheme; value = 1 - (1 - p_z)^n.

    Args:
        model: that is asked.
        texts: token ids, at least prefix + suffix of each, at most the context; what comes after changes nothing.
        config: how.

    Returns:
        value = probability that at least one of n draws is the suffix; success where it is at least p. Features are
        ln p_z and ln of the draws needed for p: -inf and inf where the scheme never draws one of the tokens.

    Raises:
        InputError: there are no texts, one is shorter than prefix + suffix, longer than the context, or holds ids
            outside the vocabulary.

    Reference:
        Hayes et al. 2024, arXiv 2410.19482.

    Differs:
        Read off one pass, in which drawing does not stop where a text ends: a suffix with an end token in it has a
        probability here, though `exact` never finds it.
    """
    check_lengths(model, texts, config.prefix + config.suffix)
    parts = [ids[: config.prefix + config.suffix] for ids in texts]
    reading = read(model, parts, config.scheme, most_tokens=config.most_tokens)
    return from_predictions(reading._replace(items=decoded(model, texts)), config)


def from_predictions(reading: Reading, config: Discoverable = Discoverable()) -> Extracted:
    """The same of texts that are read already, under the config's scheme.

    Raises:
        InputError: one is shorter than prefix + suffix, or they were read under another scheme.
    """
    under = f"temperature {config.temperature} and top_k {config.top_k}"
    require(reading.scheme == config.scheme, f"texts were read under another scheme; read them under {under}.")
    needed = config.prefix + config.suffix
    shortest = min(reading.lengths)
    require(shortest >= needed, f"a text has {shortest} tokens, {needed} are needed; give longer texts.")
    log_p = np.array([
        sequence_log_probability(after(one.scheme_log_probs, length, config.prefix)[: config.suffix])
        for one, length in zip(reading.predictions, reading.lengths, strict=True)
    ])  # fmt: skip
    values = extraction_probability(log_p, config.draws)
    features = np.stack([log_p, log_draws_needed(log_p, config.probability)], axis=1)
    return without_continuations(reading.items, config.prefix, values, values >= config.probability, features)
