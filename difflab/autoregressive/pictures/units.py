"""What the hidden units of a model of picture tokens do while it reads pictures, and the model without some of them."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Real, UInt8

from difflab.autoregressive.pictures.model import PictureModel
from difflab.autoregressive.units import maps_down, weigh_units
from difflab.errors import require
from difflab.randomness import stream

REACH = 2
"""Pixels, at most, that a picture is moved by."""


def views(
    pictures: UInt8[np.ndarray, "n h w 3"], count: int, seed: int, reach: int = REACH
) -> UInt8[np.ndarray, "n {count} h w 3"]:
    """Each picture as it is, and moved by some pixels; what it leaves free is filled with the pixels of its edge.

    Args:
        pictures: of any size.
        count: of views, all different.
        seed: of the moves, which are the same for all pictures.
        reach: pixels, at most, along either side.

    Raises:
        InputError: there are not as many moves.
    """
    moves = [move for move in product(range(-reach, reach + 1), repeat=2) if move != (0, 0)]
    require(1 <= count <= 1 + len(moves), f"count is {count}; give 1 to {1 + len(moves)} views.")
    chosen = [(0, 0), *(moves[i] for i in stream(seed, "views").numpy().permutation(len(moves))[: count - 1])]
    h, w = pictures.shape[1:3]
    wide = np.pad(pictures, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")
    moved = [wide[:, reach + down : reach + down + h, reach + right : reach + right + w] for down, right in chosen]
    return np.stack(moved, axis=1)


@torch.inference_mode()
def activations(
    model: PictureModel, captions: Sequence[str], tokens: Int[np.ndarray, "n length"], most: int = 128
) -> Float32[np.ndarray, "n grids layers units"]:
    """Mean absolute activation of every hidden unit over the places of each grid, given captions and true tokens.

    Args:
        model: that reads.
        captions: one for each picture.
        tokens: of the pictures.
        most: pictures of a batch.

    Raises:
        InputError: there is no picture, or not one caption for each.
    """
    require(0 < len(tokens) == len(captions), f"{len(tokens)} pictures have {len(captions)} captions; give one each.")
    network, device = model.network, model.network.places.weight.device
    words = torch.from_numpy(model.words(captions)).to(device)
    sizes, parts = [side**2 for side in model.codec.sides], []
    for rows in torch.arange(len(tokens)).split(most):
        with _watched(network) as seen:
            network(words[rows], torch.from_numpy(tokens).to(device)[rows])
        # (rows, places, layers, units), of places of tokens alone
        told = torch.stack([layer[:, network.words :].abs() for layer in seen], dim=2)
        parts.append(torch.stack([grid.mean(dim=1) for grid in told.split(sizes, dim=1)], dim=1))
    return torch.cat(parts).cpu().numpy()


@contextmanager
def _watched(network: torch.nn.Module) -> Iterator[list[Float[torch.Tensor, "b n units"]]]:
    """Inside, what the maps down of all MLPs read is put into the list, layer after layer."""
    seen = list[Float[torch.Tensor, "b n units"]]()
    handles = [
        module.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        for module in maps_down(network).modules
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def with_units(model: PictureModel, factors: Real[np.ndarray, "layers units"]) -> PictureModel:
    """A copy of a model whose hidden units count so much.

    Raises:
        InputError: there is not one factor for each unit.
    """
    network = copy.deepcopy(model.network)
    weigh_units(network, factors)
    return PictureModel(network, model.tokenizer, model.name)
