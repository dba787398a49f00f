"""What models say of all texts, read once: every score and extraction that draws nothing begins from it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Shaped

from difflab.autoregressive.likelihood import OWN, Prediction, Scheme, predictions
from difflab.autoregressive.model import LanguageModel, check_texts
from difflab.errors import InputError, require
from difflab.progress import Advance
from difflab.statistics.scores import Scores
from difflab.training.loop import silent

MOST_TOKENS = 4096
"""Of a batch, padding included."""


class Reading(NamedTuple):
    """Texts that were read, teacher-forced.

    Attributes:
        items: the texts, decoded.
        lengths: how many tokens each has.
        predictions: of each text by the model.
        scheme: of drawing, that of `scheme_log_probs` in them.
        reference: of each text by a reference model, if there is one.
    """

    items: tuple[str, ...]
    lengths: tuple[int, ...]
    predictions: list[Prediction]
    scheme: Scheme = OWN
    reference: list[Prediction] | None = None


def read(
    model: LanguageModel,
    texts: Sequence[Int[np.ndarray, " _"]],
    scheme: Scheme = OWN,
    reference: LanguageModel | None = None,
    most_tokens: int = MOST_TOKENS,
    advance: Advance = silent,
) -> Reading:
    """Read texts once for all that is asked of them.

    Args:
        model: that is asked.
        texts: token ids, at least 1 each, or 2 where the model has nothing to begin with.
        scheme: of drawing: that of `discoverable`.
        reference: another model with the same tokenizer.
        most_tokens: of a batch, padding included.
        advance: told of the texts done by the model in question.

    Raises:
        InputError: there are no texts, one has too few tokens, is longer than a context or holds ids outside the
            vocabulary, or the reference has another tokenizer.
    """
    check_lengths(model, texts, 1 if model.begin is not None else 2)
    known = None
    if reference is not None:
        check_reference(model, reference)
        check_texts(reference, texts)
    told = predictions(model, texts, scheme, most_tokens, advance)
    if reference is not None:
        known = predictions(reference, texts, scheme, most_tokens)
    return Reading(decoded(model, texts), tuple(map(len, texts)), told, scheme, known)


def check_reference(model: LanguageModel, reference: LanguageModel) -> None:
    """Raises InputError unless both read the same tokens."""
    alike = reference.tokenizer.get_vocab() == model.tokenizer.get_vocab() and reference.begin == model.begin
    require(alike, f"{reference.name} has another tokenizer than {model.name}; give a reference with the same one.")


def scores(reading: Reading, values: Sequence[float]) -> Scores:
    """One score for each text read.

    Raises:
        InputError: one is not finite.
    """
    return finite_scores(reading.items, values)


def finite_scores(items: tuple[str, ...], values: Sequence[float]) -> Scores:
    """Scores of these items.

    Raises:
        InputError: one is not finite.
    """
    found = np.array(values, dtype=np.float64)
    if not np.isfinite(found).all():
        first = int(np.flatnonzero(~np.isfinite(found))[0])
        told = "the model gives no number" if np.isnan(found[first]) else f"the score is {found[first]}"
        raise InputError(f"{told} for the text {items[first][:40]!r}; load it in float32, or leave that text out.")
    return Scores(items, found)


def some(reading: Reading, chosen: Bool[np.ndarray, " n"]) -> Reading:
    """The same of some of the texts."""
    places = np.flatnonzero(chosen)
    return Reading(
        tuple(reading.items[i] for i in places),
        tuple(reading.lengths[i] for i in places),
        [reading.predictions[i] for i in places],
        reading.scheme,
        None if reading.reference is None else [reading.reference[i] for i in places],
    )


def after(values: Shaped[np.ndarray, " t"], length: int, prefix: int) -> Shaped[np.ndarray, " _"]:
    """Of one number a predicted token, those of the tokens after a prefix; `length` is that of the text."""
    return values[prefix - (length - len(values)) :]


def check_lengths(model: LanguageModel, texts: Sequence[Int[np.ndarray, " _"]], least: int) -> None:
    """Raises InputError unless there are texts that the model can read, of at least so many tokens each."""
    check_texts(model, texts)
    for i, ids in enumerate(texts):
        require(len(ids) >= least, f"text {i} has {len(ids)} tokens, at least {least} are needed; give longer texts.")


def decoded(model: LanguageModel, texts: Sequence[Int[np.ndarray, " _"]]) -> tuple[str, ...]:
    """The texts themselves, by which they are called."""
    return tuple(model.decode(ids) for ids in texts)
