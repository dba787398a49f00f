"""Which part of a picture is copied: inside a mask, or its outlines; and where the prompt changes the prediction."""

from collections.abc import Sequence

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Bool, Float, UInt8

from difflab.diffusion.generate import embed, initial_noise, sampling, seeded


def copied_within(
    masks: Bool[np.ndarray, "n side side"],
    drawn: UInt8[np.ndarray, "n seeds side side 3"],
    members: UInt8[np.ndarray, "n side side 3"],
    held_out: UInt8[np.ndarray, "m side side 3"],
) -> Bool[np.ndarray, " n"]:
    """Whether the part of each picture inside its mask comes back.

    It does where the median picture is nearer to it than all but 0.1 % of held-out pictures.

    Args:
        masks: True inside.
        drawn: pictures of every prompt.
        members: the training picture of each.
        held_out: pictures never trained on; at least one.
    """
    copied = []
    for pictures, member, here in zip(drawn, members, masks, strict=True):
        chance = np.sort(distance_within(here, held_out, member))
        copied.append(np.median(distance_within(here, pictures, member)) < chance[len(chance) // 1000])
    return np.array(copied, bool)


def distance_within(
    mask: Bool[np.ndarray, "side side"],
    pictures: UInt8[np.ndarray, "k side side 3"],
    member: UInt8[np.ndarray, "side side 3"],
) -> Float[np.ndarray, " k"]:
    """Root mean square difference within the mask, colours in [0, 1]."""
    error = (pictures[:, mask].astype(np.float64) - member[mask]) / 255
    return np.sqrt(np.square(error).mean(axis=(1, 2)))


def copied_outlines(
    drawn: UInt8[np.ndarray, "n seeds side side 3"],
    families: Sequence[UInt8[np.ndarray, "_ side side 3"]],
    held_out: UInt8[np.ndarray, "m side side 3"],
) -> Bool[np.ndarray, " n"]:
    """Whether the outlines of each family of training pictures come back, whatever the colours.

    They do where the median picture is more like some member's than all but 0.1 % of held-out pictures.
    """
    chance, copied = outlines(held_out), []
    for family, pictures in zip(families, drawn, strict=True):
        own = outlines(family).T
        limit = np.sort((chance @ own).max(axis=1))[-1 - len(chance) // 1000]
        copied.append(np.median((outlines(pictures) @ own).max(axis=1)) > limit)
    return np.array(copied, bool)


def outlines(pictures: UInt8[np.ndarray, "n side side 3"]) -> Float[np.ndarray, "n pixels"]:
    """Strength of the edges at every pixel, centred and of unit length: what is left of a picture without colours."""
    along_y, along_x = np.gradient(pictures.astype(np.float64), axis=(1, 2))
    strength = np.sqrt((np.square(along_y) + np.square(along_x)).sum(axis=-1)).reshape(len(pictures), -1)
    centred = strength - strength.mean(axis=1, keepdims=True)
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)


def prompt_difference(
    pipeline: StableDiffusionPipeline, captions: Sequence[str], seeds: Sequence[int], steps: int, guidance: float
) -> Float[np.ndarray, "n h w"]:
    """Squared difference of the predictions with and without the prompt, averaged over channels, steps and seeds.

    Reference:
        The map of arXiv 2605.22756.
    """
    embeddings = embed(pipeline, captions).repeat_interleave(len(seeds), dim=0)
    noise = initial_noise(pipeline, seeded(len(captions), seeds))
    squares = [
        (step.conditional - step.unconditional).square().mean(dim=1)
        for step in sampling(pipeline, embeddings, noise, steps, guidance)
    ]
    by_picture = torch.stack(squares).mean(dim=0).double().cpu().numpy()
    return by_picture.reshape(len(captions), len(seeds), *by_picture.shape[1:]).mean(axis=1)


def in_latents(masks: Bool[np.ndarray, "n side side"], h: int, w: int) -> Bool[torch.Tensor, "n h w"]:
    """Masks of pictures as masks of their latents: places of which at least half is inside, or else the fullest ones.

    Empty masks stay empty.

    Args:
        masks: True inside.
        h, w: of the latents; they divide the side.
    """
    n, side, _ = masks.shape
    shares = masks.reshape(n, h, side // h, w, side // w).mean(axis=(2, 4))
    most = shares.max(axis=(1, 2), keepdims=True)
    return torch.from_numpy((shares > 0) & (shares >= np.minimum(most, 0.5)))


def best_overlap(mask: Bool[np.ndarray, "side side"], guess: Float[np.ndarray, "side side"]) -> float:
    """Intersection over union of a mask and a map at the threshold that is best for it."""
    above = guess[None] >= np.unique(guess)[:, None, None]
    return float(((above & mask).sum(axis=(1, 2)) / (above | mask).sum(axis=(1, 2))).max())
