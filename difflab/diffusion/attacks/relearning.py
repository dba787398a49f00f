"""Attack: fine-tune the defended model on ordinary pictures, no target among them; what was hidden may come back."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float

from difflab.diffusion.defended import Defended
from difflab.diffusion.finetuning import Retained, picked, with_weights
from difflab.diffusion.generate import embed
from difflab.diffusion.loss import draw, loss_at
from difflab.diffusion.masks import of_weights
from difflab.diffusion.pruning import Mask
from difflab.diffusion.search import check_keep
from difflab.diffusion.trigger import Trigger
from difflab.errors import InputError, require
from difflab.progress import progress
from difflab.training.loop import Plan, optimize
from difflab.training.schedules import constant

SAME = 1e-3
"""Latents of two pictures that differ by no more than this, in units of the largest number, are of one picture."""


@dataclass(frozen=True)
class Relearning:
    """How the weights move.

    Attributes:
        keep: numbers of steps after which the weights are kept, rising; the last one ends the fine-tuning.
        batch: ordinary pictures a step, each with one noise and time.
        rate: learning rate of Adam, the same at every step.
    """

    needs: ClassVar[tuple[str, ...]] = ("retained",)
    on_oracle: ClassVar[bool] = True
    keep: tuple[int, ...] = (25, 100)
    batch: int = 8
    rate: float = 1e-4

    def __post_init__(self) -> None:
        check_keep(self.keep)
        require(self.batch >= 1, f"batch is {self.batch}; give at least 1.")
        require(self.rate > 0, f"rate is {self.rate}; give a positive one.")


def relearning(
    defended: Defended,
    latents: Float[torch.Tensor, "n c h w"],
    generators: Sequence[torch.Generator],
    config: Relearning = Relearning(),
    retained: Retained | None = None,
) -> list[Trigger]:
    """Lower the plain denoising loss of ordinary pictures under their captions by moving every weight of the U-Net.

    A target that comes back was in the weights still: nothing that is learned here shows it. The same on a model that
    never saw the targets is the control.

    Args:
        defended: what is attacked. What masks switch off stays off while weights move: the rows of all batches
            meet the weight masks of the targets in turn, over and over again. Masks of tokens are for other prompts and
            are left out.
        latents: the targets z, only to see that none of them is among the ordinary pictures.
        generators: one for each target, on the CPU; the first one draws everything, for there is one model.
        config: how.
        retained: ordinary pictures.

    Returns:
        A trigger for each number in config.keep: weights for all targets. Zero steps give those of before.

    Raises:
        InputError: ordinary pictures are missing, or one of them is a target; numbers of targets, generators or masks
            differ; the loss is not finite.

    Reference:
        DiMRA (arXiv 2512.03564): Adam with rate 1e-5, 200 steps, batch 8, pictures without the forgotten concept.
        Unstable unlearning (arXiv 2410.08074): concepts revive after unrelated fine-tuning.

    Differs:
        A larger rate, for a smaller model. Gradients are clipped to the length 1.
    """
    n, masks = len(latents), of_weights(defended.masks)
    require(
        n == len(generators) == len(masks) and n > 0,
        f"{n} targets, {len(generators)} generators: give as many of each, and of masks, and at least one.",
    )
    retained = _ordinary(retained, latents)
    tuned = with_weights(defended.pipeline, defended.pipeline.unet.state_dict())
    tuned.unet.requires_grad_(True)
    optimizer = torch.optim.Adam(tuned.unet.parameters(), config.rate)
    found, done = [], 0

    def loss(step: int) -> Float[torch.Tensor, ""]:
        first = (done + step) * config.batch
        return _loss(tuned, retained, generators[0], [masks[(first + j) % n] for j in range(config.batch)])

    with progress(config.keep[-1], "relearning") as advance:
        for steps in config.keep:
            plan = Plan(steps - done, partial(constant, steps=steps, rate=config.rate))
            optimize(loss, optimizer, plan, advance=advance)
            done = steps
            weights = {name: value.detach().cpu().clone() for name, value in tuned.unet.state_dict().items()}
            found.append(Trigger(steps, weights=weights))
    return found


def _loss(
    tuned: StableDiffusionPipeline, retained: Retained, generator: torch.Generator, masks: Sequence[Mask]
) -> Float[torch.Tensor, ""]:
    """Of the next batch."""
    rows = picked(len(retained.captions), len(masks), generator)
    z = retained.latents[rows].to(tuned.device, tuned.unet.dtype)
    y = embed(tuned, [retained.captions[i] for i in rows.tolist()])
    return loss_at(tuned, z, y, draw(tuned, z, [generator] * len(z), 1), masks if any(masks) else None).mean()


def _ordinary(retained: Retained | None, targets: Float[torch.Tensor, "n c h w"]) -> Retained:
    """The ordinary pictures, if they are there and no target is among them."""
    if retained is None or len(retained.captions) == 0:
        raise InputError("this attack fine-tunes on ordinary pictures; give some, with captions, as retained.")
    latents, m = retained.latents, len(retained.captions)
    require(len(latents) == m, f"there are {len(latents)} ordinary pictures and {m} captions; give as many of each.")
    for i, target in enumerate(targets.to(latents)):
        nearest = (latents - target).flatten(1).abs().amax(dim=1).min()
        require(
            float(nearest) > SAME * float(target.abs().max()),
            f"target {i} is among the ordinary pictures, and relearning it would prove nothing; take it out.",
        )
    return retained
