"""Everything that an audit asks a language model about some texts, as arrays that can be kept."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from difflab.autoregressive.extracted import Extracted, greedy
from difflab.autoregressive.likelihood import OWN
from difflab.autoregressive.model import LanguageModel, Tokens
from difflab.autoregressive.reading import Reading, read, some
from difflab.methods import Method
from difflab.statistics.token_scores import mean_log_probability

NOTHING = -1
"""Where a continuation has ended."""


class Questions(NamedTuple):
    """What is asked.

    Attributes:
        scores: membership scores.
        extractions: what tries to get texts out.
        prefixes: tokens given to those extractions that continue a prefix, ascending.
        suffix: tokens that they compare, which are the same ones for every prefix.
        most_tokens: of a batch, padding included.
        seed: of what is drawn.
        reference: a model that was not trained on the texts, if there is one.
        before: texts that were not trained on; ReCaLL puts them before the others.
        shadows: models like this one that were trained on none of the texts.
    """

    scores: tuple[Method, ...]
    extractions: tuple[Method, ...]
    prefixes: tuple[int, ...]
    suffix: int
    most_tokens: int
    seed: int
    reference: LanguageModel | None = None
    before: tuple[Tokens, ...] = ()
    shadows: tuple[LanguageModel, ...] = ()

    @property
    def length(self) -> int:
        """Tokens that a text must have to be continued."""
        return max(self.prefixes) + self.suffix


def by_prefix(method: Method) -> bool:
    """Whether an extraction continues a prefix of a chosen length."""
    return {"prefix", "suffix"} <= set(inspect.signature(method.config).parameters)


def answers(model: LanguageModel, texts: Sequence[Tokens], questions: Questions) -> dict[str, np.ndarray]:
    """Ask about texts.

    Args:
        model: that is asked.
        texts: token ids, at least two of each, and at most as many as the model reads.
        questions: what.

    Returns:
        Under "score NAME" one number a text. Under "value NAME" and "success NAME", with the prefix after the name
        where there is one, how much came and whether that counts; nan and false for texts that are too short for it.
        Under "written PREFIX" the greedy continuations of the extractions that share them, -1 after their end. Where
        there are shadows, under "mean_log_probs" one row a text, in nats a token: by the model, then by each shadow.
    """
    whole = [method for method in questions.extractions if not by_prefix(method)]
    found = dict[str, np.ndarray]()
    if questions.scores or whole or questions.shadows:
        reading = read(model, texts, OWN, questions.reference, questions.most_tokens)
        found = _of_whole_texts(model, texts, reading, questions, whole)
        if questions.shadows:
            others = [read(shadow, texts, most_tokens=questions.most_tokens) for shadow in questions.shadows]
            found["mean_log_probs"] = np.stack([_mean_log_probs(one) for one in (reading, *others)], axis=1)
    long = np.array([len(ids) >= questions.length for ids in texts])
    continued = [ids for ids in texts if len(ids) >= questions.length]
    for prefix in questions.prefixes if len(whole) < len(questions.extractions) else ():
        for method, told in _continued(model, continued, prefix, questions):
            found |= _as_arrays(f"{method.name} {prefix}", told, long)
            if method.part("from_continuations"):
                found[f"written {prefix}"] = _padded(told.continuations, questions.suffix, long)
    return found


def _of_whole_texts(
    model: LanguageModel, texts: Sequence[Tokens], reading: Reading, questions: Questions, whole: Sequence[Method]
) -> dict[str, np.ndarray]:
    """Scores, and the extractions that choose their prefixes themselves, from one reading."""
    found = dict[str, np.ndarray]()
    for method in questions.scores:
        shared = method.part("from_predictions")
        config = method.configured(most_tokens=questions.most_tokens, seed=questions.seed)
        scored = (
            shared(reading, config) if shared else method.function(model, texts, config, **_needs(method, questions))
        )
        found[f"score {method.name}"] = scored.values
    for method in whole:
        shared, config = method.part("from_predictions"), method.configured(most_tokens=questions.most_tokens)
        enough = np.array([len(ids) >= getattr(config, "shortest", 1) for ids in texts])
        if not enough.any():
            continue
        if shared:
            told = shared(some(reading, enough), config)
        else:
            told = method.function(model, [ids for ids, here in zip(texts, enough, strict=True) if here], config)
        found |= _as_arrays(method.name, told, enough)
    return found


def _mean_log_probs(reading: Reading) -> Float[np.ndarray, " n"]:
    return np.array([mean_log_probability(one.log_probs) for one in reading.predictions])


def _continued(
    model: LanguageModel, texts: Sequence[Tokens], prefix: int, questions: Questions
) -> Iterator[tuple[Method, Extracted]]:
    """Every extraction that continues a prefix; the same tokens are compared whatever the prefix."""
    if not texts:
        return
    start = max(questions.prefixes) - prefix
    parts = [ids[start : questions.length] for ids in texts]
    written = None
    for method in questions.extractions:
        if not by_prefix(method):
            continue
        wanted = {"prefix": prefix, "suffix": questions.suffix, "most_tokens": questions.most_tokens}
        config = method.configured(**wanted)
        if shared := method.part("from_continuations"):
            written = written or greedy(model, parts, prefix, questions.suffix)
            yield method, shared(written, config)
        elif shared := method.part("from_predictions"):
            scheme = getattr(config, "scheme", OWN)
            yield method, shared(read(model, parts, scheme, most_tokens=questions.most_tokens), config)
        else:
            yield method, method.function(model, parts, config)


def _needs(method: Method, questions: Questions) -> Mapping[str, Any]:
    given = {"reference": questions.reference, "non_members": list(questions.before)}
    return {need: given[need] for need in method.needs}


def _as_arrays(name: str, told: Extracted, asked: np.ndarray) -> dict[str, np.ndarray]:
    values, success = np.full(len(asked), np.nan), np.zeros(len(asked), bool)
    values[asked], success[asked] = told.values, told.success
    return {f"value {name}": values, f"success {name}": success}


def _padded(continuations: Sequence[Tokens], suffix: int, asked: np.ndarray) -> Int[np.ndarray, "n {suffix}"]:
    found = np.full((len(asked), suffix), NOTHING, np.int64)
    for place, ids in zip(np.flatnonzero(asked), continuations, strict=True):
        found[place, : len(ids)] = ids
    return found


def joined(blocks: Sequence[Mapping[str, np.ndarray]], sizes: Sequence[int]) -> dict[str, np.ndarray]:
    """The answers of all texts from those of blocks; a block without texts that are long enough lacks some."""
    shapes = {name: array for block in blocks for name, array in block.items()}
    found = dict[str, np.ndarray]()
    # Blocks that were kept give their arrays in another order.
    for name, like in sorted(shapes.items(), key=lambda item: _in_words(item[0])):
        blank = np.nan if like.dtype.kind == "f" else NOTHING if like.dtype.kind == "i" else False
        found[name] = np.concatenate([
            block.get(name, np.full((size, *like.shape[1:]), blank, like.dtype))
            for block, size in zip(blocks, sizes, strict=True)
        ])  # fmt: skip
    return found


def _in_words(name: str) -> list[tuple[int, str]]:
    """What names are sorted by: words by their letters, prefixes by their numbers."""
    return [(int(word), "") if word.isdigit() else (0, word) for word in name.split()]
