"""A training whose course is written down: the losses of rows of tokens after every epoch, by their first tokens."""

from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32
from transformers import PreTrainedConfig

from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.recipe import Recipe
from difflab.autoregressive.train import Rows, Weighted, begun, cross_entropy, train_in_place
from difflab.errors import require
from difflab.progress import Advance
from difflab.training.loop import NOWHERE, Keeping, silent
from difflab.training.recording import MOST_LOOKS, ends_of_epochs, looking, recorder


class Watched(NamedTuple):
    """What is looked at after an epoch.

    Attributes:
        items: rows of token ids, of the training set or not; copies need to be given once only.
        tokens: of each, how many of the first are predicted; 0: two fifths of them, rounded up, which costs about an
            eighth of the training.
        looks: at the ends of so many epochs, at even distances; all, where there are fewer.
        most_tokens: of a batch.
    """

    items: Rows
    tokens: int = 0
    looks: int = MOST_LOOKS
    most_tokens: int = 2048


class Recorded(NamedTuple):
    """What a training gave.

    Attributes:
        model: the trained one, in evaluation mode.
        losses: of every item, in nats a token, one row a look.
        steps: after how many steps each look was.
    """

    model: LanguageModel
    losses: Float32[np.ndarray, "looks items"]
    steps: tuple[int, ...]


def train_recorded(
    start: LanguageModel | PreTrainedConfig,
    sequences: Rows | Weighted,
    recipe: Recipe,
    seed: int,
    watched: Watched,
    keeping: Keeping = NOWHERE,
    advance: Advance = silent,
) -> Recorded:
    """Train as `difflab.autoregressive.train.train` does, to the same weights, and write down the losses of items.

    Args:
        start, sequences, recipe, seed, keeping, advance: as there.
        watched: what is looked at.

    Raises:
        InputError: what `train` raises; the training is shorter than an epoch; or there are no items, or more tokens
            of each are asked for than they have.
    """
    rows = sequences.rows if isinstance(sequences, Weighted) else sequences
    model = begun(start, seed)
    steps = ends_of_epochs(len(rows), recipe.batch, recipe.steps, watched.looks)
    look = partial(row_losses, model, watched.items, watched.tokens, watched.most_tokens)
    written = recorder(steps, look, len(watched.items))
    train_in_place(model, sequences, recipe, seed, keeping._replace(recorder=written), advance)
    return Recorded(model, written.losses, steps)


def row_losses(model: LanguageModel, rows: Rows, tokens: int = 0, most_tokens: int = 2048) -> Float32[np.ndarray, " n"]:
    """Mean of -ln p over the first predicted tokens of every row.

    Args:
        model: in whatever mode; it is in evaluation mode meanwhile.
        rows: token ids; the first of each is not predicted.
        tokens: predicted ones that count; 0: two fifths of them, rounded up.
        most_tokens: of a batch.

    Raises:
        InputError: rows have fewer tokens than count, or fewer than 2.
    """
    predicted = rows.shape[1] - 1
    require(
        predicted >= 1 and 0 <= tokens <= predicted,
        f"tokens is {tokens}, and {rows.shape[1]} tokens of a row predict {predicted}; give at most as many.",
    )
    read = 1 + (tokens or -(-2 * predicted // 5))
    shown = torch.from_numpy(rows[:, :read].astype(np.int64, copy=False))
    with looking(model.model):
        parts = [
            cross_entropy(model.model, part.to(model.device)).mean(dim=1).cpu()
            for part in shown.split(max(1, most_tokens // read))
        ]
    return torch.cat(parts).numpy()
