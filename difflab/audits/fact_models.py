"""Small language models of facts: how they are trained, and which answers they give."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from difflab.autoregressive.likelihood import predictions
from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.recipe import SIZES, Recipe, architecture, build
from difflab.errors import at_least, require
from difflab.randomness import stream

Rows = Int[np.ndarray, "n t"]


@dataclass(frozen=True)
class Learner:
    """A model, and how it is trained."""

    size: str = "tiny"
    """Of a Llama."""
    batch: int = 32
    """Rows a step."""
    rate: float = 3e-3
    """Learning rate; it stays after the warm-up, so that a training stopped early is a shorter one."""
    warmup: int = 20
    """Steps until it is reached."""

    def __post_init__(self) -> None:
        at_least(self, 1, "batch")
        require(self.size in SIZES, f"size is {self.size!r}; give one of {', '.join(SIZES)}.")
        self.recipe(0)

    def recipe(self, steps: int) -> Recipe:
        """For so many steps."""
        return Recipe(steps, self.batch, self.rate, self.warmup, falling=False)

    def model(self, tokens: int, length: int, seed: int) -> LanguageModel:
        """One that is not yet trained, of so many tokens, the last of which begins a text; it reads bare numbers."""
        return build(architecture("llama", self.size, tokens, length, tokens - 1), seed)


def in_turn(rows: Rows, batch: int, seed: int, name: str) -> Callable[[int], Rows]:
    """The rows of every step: all of them in an order of their own each epoch, epochs without a gap.

    Args:
        rows: of the training set.
        batch: rows a step.
        seed: of the orders.
        name: of the stream they are drawn from.
    """

    def drawn(step: int) -> Rows:
        places = [divmod(place, len(rows)) for place in range(step * batch, (step + 1) * batch)]
        orders = {epoch: stream(seed, name, epoch).numpy().permutation(len(rows)) for epoch in {e for e, _ in places}}
        return rows[[orders[epoch][within] for epoch, within in places]]

    return drawn


def written(model: LanguageModel, rows: Rows, places: Sequence[int]) -> Bool[np.ndarray, "n k"]:
    """Which tokens greedy decoding writes, each given all before it in the row.

    If all at the last places are, it writes the whole of them from the others alone.

    Args:
        model: that is asked.
        rows: texts, without the token that begins them.
        places: of the tokens that are asked for.
    """
    return np.stack([told.greedy[list(places)] for told in predictions(model, list(rows))])


def likelihoods(model: LanguageModel, rows: Rows, places: Sequence[int]) -> Float[np.ndarray, " n"]:
    """ln p of the tokens at these places together, each given all before it in the row."""
    return np.array([told.log_probs[list(places)].sum(dtype=np.float64) for told in predictions(model, list(rows))])
