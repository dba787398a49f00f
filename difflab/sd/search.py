"""Text embeddings moved down a loss: the search that Dori attacks with and that adversarial fine-tuning defends by."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Bool, Float

from difflab.errors import InputError, require
from difflab.sd.loss import Draws, draw, loss_at
from difflab.sd.masks import AnyMask


@dataclass(frozen=True)
class Descent:
    """How embeddings move.

    Attributes:
        rate: learning rate of Adam, in units of the start's root mean square.
        batch: draws of noise and time each step, all fresh.
        radius: greatest distance from the start, in units of the start's length; None for no bound.
        looks: fixed draws of noise and time that iterates can be compared on; 0 for none.
    """

    rate: float = 0.1
    batch: int = 8
    radius: float | None = None
    looks: int = 0

    def __post_init__(self) -> None:
        require(self.rate > 0, f"rate is {self.rate}; give a positive one.")
        require(self.batch >= 1 and self.looks >= 0, "batch is at least 1, and looks are not negative.")
        require(self.radius is None or self.radius > 0, f"radius is {self.radius}; give a positive one, or None.")


class Search:
    """One batch of targets on the way: y = start + scale * moved, Adam on moved, on the weights as they are now.

    Targets do not see each other: target i depends on its own rows and generator alone, up to rounding.

    Args:
        pipeline: the model, whose denoising loss of the latents is lowered.
        latents: targets, encoded.
        start: where their embeddings begin, in float32 or finer.
        generators: one for each target, on the CPU.
        config: how.
        masks: one for each target: what is taken away meanwhile.
        free: token rows that may move; None for all.
    """

    def __init__(
        self,
        pipeline: StableDiffusionPipeline,
        latents: Float[torch.Tensor, "n c h w"],
        start: Float[torch.Tensor, "n tokens width"],
        generators: Sequence[torch.Generator],
        config: Descent = Descent(),
        masks: Sequence[AnyMask] | None = None,
        free: Bool[torch.Tensor, "tokens 1"] | None = None,
    ) -> None:
        self.pipeline, self.latents, self.start, self.generators = pipeline, latents, start, generators
        self.config, self.masks, self.free = config, masks, free
        self.scale = start.square().mean(dim=(1, 2), keepdim=True).sqrt()
        self.moved = torch.zeros_like(start, requires_grad=True)
        self.optimizer = torch.optim.Adam([self.moved], config.rate)
        self.fixed = draw(pipeline, latents, generators, config.looks)
        self.best, self.lowest = start.clone(), torch.full((len(start),), torch.inf, device=start.device)

    def move(self) -> None:
        """One step of Adam, and back into the ball.

        Raises:
            InputError: the loss is not finite.
        """
        with torch.enable_grad():
            draws = draw(self.pipeline, self.latents, self.generators, self.config.batch)
            loss = self._loss(draws)
            # A sum, so that no target's gradient depends on how many others there are.
            (self.moved.grad,) = torch.autograd.grad(loss.sum(), self.moved)
        if not bool(loss.isfinite().all()):
            raise InputError("the attack's loss is not finite; lower the rate, or attack in float32.")
        if self.free is not None:
            self.moved.grad.mul_(self.free)
        self.optimizer.step()
        if self.config.radius is not None:
            with torch.no_grad():
                length = (self.scale * self.moved).flatten(1).norm(dim=1)
                bound = self.config.radius * self.start.flatten(1).norm(dim=1)
                self.moved.mul_((bound / length.clamp_min(1e-12)).clamp(max=1.0)[:, None, None])

    @torch.no_grad()
    def look(self) -> None:
        """Keep where the loss on the fixed draws is the lowest so far."""
        loss = self._loss(self.fixed)
        better = (loss < self.lowest)[:, None, None]
        self.best, self.lowest = torch.where(better, self.reached, self.best), torch.minimum(loss, self.lowest)

    @property
    def reached(self) -> Float[torch.Tensor, "n tokens width"]:
        """The embeddings now."""
        return self.start + self.scale * self.moved

    def _loss(self, draws: Draws) -> Float[torch.Tensor, " n"]:
        return loss_at(self.pipeline, self.latents, self.reached, draws, self.masks)
