"""Tasks on the same inputs: an input of words, a mark, and an answer that needs more or less of the input."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from difflab.errors import require
from difflab.randomness import stream

Words = Int[np.ndarray, "n t"]


class Meanings(NamedTuple):
    """What words mean, drawn once for all tasks of a seed.

    Attributes:
        translation: the word that stands for each word, a permutation.
        positive: whether each word speaks for the positive label: half of them.
    """

    translation: Int[np.ndarray, " v"]
    positive: Bool[np.ndarray, " v"]


class Task(NamedTuple):
    """A task on inputs of t words.

    Attributes:
        answer: (inputs, meanings) -> one answer an input; of labels 0 or 1, which are no words.
        labels: whether the answer is a label.
        used: how many words of an input of t the answer depends on.
        told: how many of them can be read off the answer.
    """

    answer: Callable[[Words, Meanings], Int[np.ndarray, "n a"]]
    labels: bool
    used: Callable[[int], int]
    told: Callable[[int], int]


def _all(t: int) -> int:
    return t


def _half(t: int) -> int:
    return (t + 1) // 2


def _quarter(t: int) -> int:
    return (t + 3) // 4


def _one(t: int) -> int:
    return 1


def _none(t: int) -> int:
    return 0


def _sentiment(inputs: Words, meanings: Meanings) -> Int[np.ndarray, "n 1"]:
    """Whether at least half of the words are positive."""
    return (2 * meanings.positive[inputs].sum(axis=1, keepdims=True) >= inputs.shape[1]).astype(np.int64)


NOTHING, COPY, SUMMARY, TRANSLATION, SENTIMENT = "nothing", "copy", "summary", "translation", "sentiment"
TASKS = {
    NOTHING: Task(lambda inputs, meanings: inputs[:, :0], False, _none, _none),
    "topic": Task(lambda inputs, meanings: meanings.positive[inputs[:, :1]].astype(np.int64), True, _one, _none),
    SENTIMENT: Task(_sentiment, True, _all, _none),
    "headline": Task(lambda inputs, meanings: inputs[:, ::4], False, _quarter, _quarter),
    SUMMARY: Task(lambda inputs, meanings: inputs[:, ::2], False, _half, _half),
    TRANSLATION: Task(lambda inputs, meanings: meanings.translation[inputs], False, _all, _all),
    "reversal": Task(lambda inputs, meanings: inputs[:, ::-1], False, _all, _all),
    COPY: Task(lambda inputs, meanings: inputs, False, _all, _all),
}
"""Nothing is asked; the class of the first word; that of most words; every fourth and every second word; every word's
translation; the words from the last to the first; the words."""


def meanings(seed: int, vocabulary: int) -> Meanings:
    """What words mean under a seed.

    Raises:
        InputError: there are fewer than 2 words.
    """
    require(vocabulary >= 2, f"vocabulary is {vocabulary}; give at least 2.")
    source = stream(seed, "meanings", vocabulary).numpy()
    return Meanings(source.permutation(vocabulary), source.permutation(vocabulary) < vocabulary // 2)


def tokens(vocabulary: int) -> int:
    """How many tokens there are: words, the mark, two labels, and the last one, which begins and ends texts."""
    return vocabulary + 4


def posed(task: str, inputs: Words, known: Meanings) -> Int[np.ndarray, "n row"]:
    """Training rows of a task: the beginning, the input, the mark, the answer, the end; all of a task are as long.

    Args:
        task: a name of `TASKS`.
        inputs: words of each.
        known: what they mean.

    Raises:
        InputError: there is no such task.

    >>> posed("headline", np.arange(5)[None], meanings(0, 5)).tolist()
    [[8, 0, 1, 2, 3, 4, 5, 0, 4, 8]]
    """
    require(task in TASKS, f"task is {task!r}; give one of {', '.join(TASKS)}.")
    n, v = len(inputs), len(known.positive)
    answer = TASKS[task].answer(inputs, known) + (v + 1 if TASKS[task].labels else 0)
    mark, end = (np.full((n, 1), token) for token in (v, v + 3))
    return np.concatenate([end, inputs, mark, answer, end], axis=1)
