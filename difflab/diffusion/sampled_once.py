"""What detectors read while pictures are drawn: how far the prompt moves the noise, and who gets attention.

Several detectors read along the same drawings. Within `sampled_once` these are drawn once for all of them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float, Int

from difflab.diffusion.attention import Probabilities, attention, cross_attentions
from difflab.diffusion.batch_sizes import within
from difflab.diffusion.generate import Step, batches, embed, seeded
from difflab.diffusion.tokens import unpadded
from difflab.errors import require

FULL_RESOLUTION = "down_blocks.0."
"""Layers of the first down block, which works at the latents' own resolution, before it halves them."""


@dataclass(frozen=True)
class Look:
    """What is drawn, and what of it is looked at.

    Attributes:
        steps: of the scheduler.
        guidance: weight of the prompt.
        at_once: pictures drawn in one batch, at most.
        first: steps that are run, the noisiest first; None for all.
        attention: whether attention is looked at, too.
    """

    steps: int
    guidance: float
    at_once: int
    first: int | None = None
    attention: bool = False


class Ending(NamedTuple):
    """Where the end token draws attention; pictures are in the order of `seeded`.

    Attributes:
        masks: attention to the end token with the prompt at the last step, averaged over heads and layers of the first
            down block, which works at the latents' resolution.
        lengths: mean over steps of |mask (eps(x_t, t, y) - eps(x_t, t, empty))|_2.
    """

    masks: Float[torch.Tensor, "pictures h w"]
    lengths: Float[torch.Tensor, " pictures"]


class Attended(NamedTuple):
    """Who gets attention with the prompt.

    Attributes:
        by_step: every token, averaged over heads, pixels and layers, the first step first.
        by_layer: the same at the first step, averaged over heads and pixels, for every layer.
        ending: None where the first down block has no cross-attention.
    """

    by_step: Float[torch.Tensor, "steps pictures tokens"]
    by_layer: Float[torch.Tensor, "layers pictures tokens"]
    ending: Ending | None


class Seen(NamedTuple):
    """What was read.

    Attributes:
        lengths: |eps(x_t, t, y) - eps(x_t, t, empty)|_2 over channels and pixels, the first step first.
        attended: who gets attention; None where nobody looked.
    """

    lengths: Float[torch.Tensor, "steps pictures"]
    attended: Attended | None


_DRAWN: ContextVar[dict[tuple[object, ...], Seen] | None] = ContextVar("drawn", default=None)


@contextmanager
def sampled_once() -> Iterator[None]:
    """Within, who asks to `see` the same drawings again gets what was seen; nobody may change a model meanwhile.

    Attention is looked at from the first, so what is read agrees with what is read outside up to rounding.
    """
    before = _DRAWN.set({})
    try:
        yield
    finally:
        _DRAWN.reset(before)


def see(pipeline: StableDiffusionPipeline, captions: Sequence[str], seeds: Sequence[int], look: Look) -> Seen:
    """Draw every caption with every seed, and read along the way.

    Args:
        pipeline: the model.
        captions: n prompts, at least one.
        seeds: initial noises, at least one.
        look: how, and at what.

    Raises:
        InputError: there is no caption or no seed.
    """
    require(len(captions) > 0, "there is no caption to score; give at least one.")
    require(len(seeds) > 0, "there is no seed to draw with; give at least one.")
    drawn = _DRAWN.get()
    if drawn is None:
        return _see(pipeline, captions, seeds, look)
    look = replace(look, attention=len(cross_attentions(pipeline.unet)) > 0)
    name = (pipeline, tuple(captions), tuple(seeds), look)
    if name not in drawn:
        drawn[name] = _see(pipeline, captions, seeds, look)
    return drawn[name]


@torch.no_grad()
def _see(pipeline: StableDiffusionPipeline, captions: Sequence[str], seeds: Sequence[int], look: Look) -> Seen:
    embeddings, generators = embed(pipeline, captions), seeded(len(captions), seeds)
    ends = torch.tensor([len(ids) - 1 for ids in unpadded(pipeline.tokenizer, captions)])
    at_once = within(pipeline, look.at_once)
    lengths, attended = list[torch.Tensor](), list[Attended]()
    for rows, steps in batches(pipeline, embeddings, generators, look.steps, look.guidance, at_once):
        some = islice(steps, look.first)
        if look.attention:
            here, who = _attended(pipeline, some, ends[rows])
            attended.append(who)
        else:
            here = torch.stack([_length(step) for step in some])
        lengths.append(here.cpu())
    return Seen(torch.cat(lengths, dim=1), _joined(attended) if attended else None)


def _length(step: Step) -> Float[torch.Tensor, " b"]:
    return (step.conditional - step.unconditional).float().flatten(1).norm(dim=1)


def _attended(
    pipeline: StableDiffusionPipeline, steps: Iterator[Step], ends: Int[torch.Tensor, " b"]
) -> tuple[Float[torch.Tensor, "steps b"], Attended]:
    """Of one batch: lengths, and who gets attention."""
    lengths, squares, by_step, first = [], [], [], list[torch.Tensor]()
    with attention(pipeline.unet) as seen:
        for step in steps:
            lengths.append(_length(step))
            # The sum over channels is all that the mask will need.
            squares.append((step.conditional - step.unconditional).float().square().sum(dim=1))
            layers = _by_layer(seen)
            by_step.append(layers.mean(dim=0))
            first = first or [layers]
    ending = _ending(seen, ends, torch.stack(squares))
    return torch.stack(lengths), Attended(torch.stack(by_step), first[0], ending)


def _by_layer(seen: Probabilities) -> Float[torch.Tensor, "layers b tokens"]:
    """Attention to every token with the prompt (the first half of the batch), averaged over heads and pixels."""
    return torch.stack([layer.chunk(2)[0].float().mean(dim=(1, 2)).cpu().double() for layer in seen.values()])


def _ending(
    seen: Probabilities, ends: Int[torch.Tensor, " b"], squares: Float[torch.Tensor, "steps b h w"]
) -> Ending | None:
    """From the last step's attention and what the prompt moved at each."""
    row = torch.arange(len(ends))
    by_layer = [
        layer.chunk(2)[0][row, :, :, ends].float().mean(dim=1)
        for name, layer in seen.items()
        if name.startswith(FULL_RESOLUTION)
    ]
    if not by_layer:
        return None
    mask = torch.stack(by_layer).mean(dim=0).view_as(squares[0])
    lengths = (squares * mask.square()).sum(dim=(2, 3)).sqrt().mean(dim=0)
    return Ending(mask.cpu().double(), lengths.cpu().double())


def _joined(parts: Sequence[Attended]) -> Attended:
    """Batches one after the other."""
    endings = [one.ending for one in parts if one.ending is not None]
    return Attended(
        torch.cat([one.by_step for one in parts], dim=1),
        torch.cat([one.by_layer for one in parts], dim=1),
        Ending(*(torch.cat(some) for some in zip(*endings, strict=True))) if endings else None,
    )
