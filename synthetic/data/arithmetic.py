"""Sums of several numbers modulo another, worked out step by step in any order: each has many right derivations."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from difflab.errors import require
from difflab.randomness import stream

Numbers = Int[np.ndarray, "n k"]
Written = Int[np.ndarray, "n w"]


@dataclass(frozen=True)
class Sums:
    """Sums of `operands` numbers modulo `modulus`; a derivation of them are steps "x y x+y"."""

    modulus: int = 13
    """Numbers are 0 to modulus - 1, each a token; then the mark before a derivation, and what begins and ends a row."""
    operands: int = 4
    """Numbers of a question."""

    def __post_init__(self) -> None:
        require(self.modulus >= 2, f"modulus is {self.modulus}; give at least 2.")
        require(self.operands >= 2, f"operands is {self.operands}; give at least 2.")

    @property
    def tokens(self) -> int:
        """How many there are."""
        return self.modulus + 2

    @property
    def written(self) -> int:
        """Tokens of a derivation: three for each step."""
        return 3 * (self.operands - 1)

    @property
    def given(self) -> int:
        """Tokens of a row before its derivation."""
        return self.operands + 2


def questions(seed: int, role: str, count: int, config: Sums, between: tuple[int, int]) -> Numbers:
    """Numbers to be added, and none of the questions twice.

    Args:
        seed: of all.
        role: what they are for; roles are drawn apart, and may share a question.
        count: how many.
        config: of what kind.
        between: the least number, and the one after the largest.

    Raises:
        InputError: there are not as many questions between these numbers.
    """
    low, high = between
    n = (high - low) ** config.operands if 0 <= low < high <= config.modulus else 0
    require(count <= n, f"there are {n} questions of numbers from {low} to {high - 1}, not {count}; ask for fewer.")
    chosen = stream(seed, "questions", role, *between).numpy().choice(n, count, replace=False)
    places = (high - low) ** np.arange(config.operands)
    return low + chosen[:, None] // places % (high - low)


def orders(seed: int, role: str, count: int, config: Sums) -> Numbers:
    """In which order the numbers of each question are added: any, all alike likely."""
    chance = stream(seed, "orders", role).numpy()
    return chance.permuted(np.tile(np.arange(config.operands), (count, 1)), axis=1)


def derivations(asked: Numbers, order: Numbers, config: Sums) -> Written:
    """Steps of every question in its order, the sum so far before each number after the second.

    >>> derivations(np.array([[1, 2, 9]]), np.array([[2, 0, 1]]), Sums(10, 3)).tolist()
    [[9, 1, 0, 0, 2, 2]]
    """
    added = np.take_along_axis(asked, order, axis=1)
    sums = np.cumsum(added, axis=1) % config.modulus
    before = np.concatenate([added[:, :1], sums[:, 1:-1]], axis=1)
    return np.stack([before, added[:, 1:], sums[:, 1:]], axis=2).reshape(len(asked), -1)


def rows_of(asked: Numbers, written: Written, config: Sums) -> Int[np.ndarray, "n t"]:
    """Training rows: the beginning, the numbers, the mark, a derivation, the end."""
    mark, end = (np.full((len(asked), 1), config.modulus + i) for i in range(2))
    return np.concatenate([end, asked, mark, written, end], axis=1)


def earlier(seed: int, step: int, count: int, config: Sums) -> Int[np.ndarray, "{count} t"]:
    """Rows of questions of any numbers, drawn anew at every step: every second one is worked out in the order in which
    it is asked, the others in any."""
    chance = stream(seed, "earlier", step).numpy()
    asked = chance.integers(0, config.modulus, (count, config.operands))
    order = np.tile(np.arange(config.operands), (count, 1))
    order[1::2] = chance.permuted(order[1::2], axis=1)
    return rows_of(asked, derivations(asked, order, config), config)


def answers(asked: Numbers, config: Sums) -> Int[np.ndarray, " n"]:
    """The sums."""
    return asked.sum(axis=1) % config.modulus


def are_valid(asked: Numbers, written: Written, config: Sums) -> Bool[np.ndarray, " n"]:
    """Which of what was written is a derivation of its question: right steps that use every number once.

    Args:
        asked: questions.
        written: as many tokens as a derivation has; whatever stands there.
        config: of what kind.
    """
    first, second, total = np.moveaxis(written.reshape(len(asked), -1, 3), 2, 0)
    used = np.concatenate([first[:, :1], second], axis=1)
    return (
        ((first + second) % config.modulus == total).all(axis=1)
        & (first[:, 1:] == total[:, :-1]).all(axis=1)
        & (np.sort(used, axis=1) == np.sort(asked, axis=1)).all(axis=1)
    )
