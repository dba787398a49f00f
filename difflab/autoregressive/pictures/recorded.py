"""A training on picture tokens whose course is written down: losses of pictures, by their first groups of tokens."""

from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int
from torch.nn.functional import cross_entropy

from difflab.autoregressive.codecs.grid import check_tokens
from difflab.autoregressive.pictures.model import Network, PictureModel
from difflab.autoregressive.pictures.train import Material, PictureRecipe, prepared
from difflab.autoregressive.train import begun, train_in_place
from difflab.errors import require
from difflab.progress import Advance
from difflab.training.loop import NOWHERE, Keeping, silent
from difflab.training.recording import MOST_LOOKS, ends_of_epochs, looking, recorder

SHARE = 0.4
"""Of all places, those of captions among them, that a look reads at most, unless something else is asked for; a place
costs a third of one that is trained on."""


class Watched(NamedTuple):
    """What is looked at after an epoch: every different picture of the material, given its whole caption.

    Attributes:
        groups: of each picture, how many of the first are predicted, tokens in raster order and grids in next-scale
            order; 0: as many as two fifths of all places hold, captions counted, which costs about an eighth of the
            training.
        looks: at the ends of so many epochs, at even distances; all, where there are fewer.
        most: pictures of a batch.
    """

    groups: int = 0
    looks: int = MOST_LOOKS
    most: int = 64


DEFAULT = Watched()


class Recorded(NamedTuple):
    """What a training gave.

    Attributes:
        model: the trained one, in evaluation mode.
        losses: of every different picture of the material, in nats a token, one row a look.
        steps: after how many steps each look was.
    """

    model: PictureModel
    losses: Float32[np.ndarray, "looks pictures"]
    steps: tuple[int, ...]


def train_pictures_recorded(
    model: PictureModel,
    material: Material,
    recipe: PictureRecipe,
    seed: int,
    watched: Watched = DEFAULT,
    keeping: Keeping = NOWHERE,
    advance: Advance = silent,
) -> Recorded:
    """Train as `train_pictures` does, to the same weights, and write down the losses of pictures.

    Args:
        model, recipe, seed, keeping, advance: as there.
        material: as there; a picture that no row shows is looked at all the same.
        watched: how it is looked at.

    Raises:
        InputError: what `train_pictures` raises; the training is shorter than an epoch; or a picture has fewer groups
            than are asked for.
    """
    rows, objective = prepared(model, material, recipe)
    moved = begun(model.language, seed)
    network = moved.model
    assert isinstance(network, Network)
    trained = PictureModel(network, model.tokenizer, model.name)
    steps = ends_of_epochs(len(rows), recipe.batch, recipe.steps, watched.looks)
    look = partial(picture_token_losses, trained, material.captions, material.tokens, watched.groups, watched.most)
    written = recorder(steps, look, len(material.tokens))
    train_in_place(moved, rows, recipe, seed, keeping._replace(recorder=written), advance, objective)
    return Recorded(trained, written.losses, steps)


def picture_token_losses(
    model: PictureModel,
    captions: Sequence[str],
    tokens: Int[np.ndarray, "n length"],
    groups: int = 0,
    most: int = 64,
) -> Float32[np.ndarray, " n"]:
    """Mean of -ln p over the tokens of the first groups of every picture, given its caption and earlier groups.

    Args:
        model: in whatever mode; it is in evaluation mode meanwhile.
        captions: one for each; none is left out.
        tokens: of the pictures.
        groups: that count; 0: as many as two fifths of all places hold, captions counted, but at least one.
        most: pictures of a batch.

    Raises:
        InputError: there is no picture, not one caption for each, tokens are none of the codec's, or there are fewer
            groups.
    """
    network, codec = model.network, model.codec
    check_tokens(codec, tokens)
    require(0 < len(tokens) == len(captions), f"{len(tokens)} pictures have {len(captions)} captions; give one each.")
    require(
        0 <= groups <= len(codec.groups),
        f"groups is {groups}, and a picture has {len(codec.groups)}; give at most as many, or 0.",
    )
    room = SHARE * (network.words + codec.length) - network.words
    fitting = sum(told <= room for told in accumulate(codec.groups))
    told = sum(codec.groups[: groups or max(1, fitting)])
    device = network.places.weight.device
    words, true = (torch.from_numpy(part).to(device) for part in (model.words(captions), tokens[:, :told]))
    with looking(network):
        parts = [
            cross_entropy(network(*part).transpose(1, 2), part[1], reduction="none").mean(dim=1).cpu()
            for part in zip(words.split(most), true.split(most), strict=True)
        ]
    return torch.cat(parts).numpy()
