"""Training a model of picture tokens: captions and tokens as rows, cross-entropy of the tokens alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch.nn.functional import cross_entropy

from difflab.autoregressive.codecs.grid import check_tokens
from difflab.autoregressive.pictures.model import PictureModel
from difflab.autoregressive.recipe import Recipe
from difflab.autoregressive.train import Objective, Rows, train
from difflab.errors import require
from difflab.progress import Advance
from difflab.training.loop import NOWHERE, Keeping, silent


@dataclass(frozen=True)
class PictureRecipe(Recipe):
    """How a model of picture tokens is trained.

    Attributes:
        dropout: share of captions that are left out, for guidance.
    """

    rate: float = 3e-3
    dropout: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.dropout <= 1, f"dropout is {self.dropout}; give a number from 0 to 1.")


class Material(NamedTuple):
    """What a model is trained on.

    Attributes:
        captions: of every different picture.
        tokens: of the same.
        rows: the training set: places in these, one for every copy.
    """

    captions: Sequence[str]
    tokens: Int[np.ndarray, "n length"]
    rows: Int[np.ndarray, " rows"]


def train_pictures(
    model: PictureModel,
    material: Material,
    recipe: PictureRecipe,
    seed: int,
    keeping: Keeping = NOWHERE,
    advance: Advance = silent,
    until: int | None = None,
) -> PictureModel:
    """Train a copy of a model; the same arguments give the same weights to the last bit, whether interrupted or not.

    Args:
        model: stays as it is.
        material: captions, tokens, and how often each is shown. An epoch is a permutation of the rows.
        recipe: how.
        seed: of the order and of which captions are left out.
        keeping: where a half-done training is kept and found again.
        advance: told of the steps done.
        until: stop after this many steps, to look at the model; the next call goes on from what is kept.

    Raises:
        InputError: there are no rows, tokens are none of the codec's, or the loss is no longer finite.
    """
    rows, objective = prepared(model, material, recipe)
    trained = train(model.language, rows, recipe, seed, keeping, advance, objective, until)
    network = trained.model
    # A copy of the network that was given.
    assert isinstance(network, type(model.network))
    return PictureModel(network, model.tokenizer, model.name)


def prepared(model: PictureModel, material: Material, recipe: PictureRecipe) -> tuple[Rows, Objective]:
    """What the language wing's training takes: words and tokens of every row, and what is lowered.

    Raises:
        InputError: there are no rows, or tokens are none of the codec's.
    """
    check_tokens(model.codec, material.tokens)
    require(len(material.rows) > 0, "the training set is empty; give at least one picture.")
    n_words, fill = model.network.words, int(model.tokenizer.bos_token_id)
    whole = np.concatenate([model.words(material.captions), material.tokens], axis=1)

    def objective(network: torch.nn.Module, rows: Int[torch.Tensor, "b n"]) -> Float[torch.Tensor, "b length"]:
        """-ln p of every token; the loop has set torch's seed to that of the step."""
        words, tokens = rows[:, :n_words], rows[:, n_words:]
        gone = torch.rand(len(rows)).to(rows.device) < recipe.dropout
        logits = network(words.masked_fill(gone[:, None], fill), tokens)
        return cross_entropy(logits.flatten(0, 1), tokens.flatten(), reduction="none").view(tokens.shape)

    return whole[material.rows], objective
