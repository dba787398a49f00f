"""Attack: keep the prompt and search the initial noise from which the defended model draws the picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float

from difflab.diffusion.batch_sizes import searches_at_once
from difflab.diffusion.defended import Defended
from difflab.diffusion.generate import differentiable_sampling
from difflab.diffusion.generate import initial_noise as drawn_noise
from difflab.diffusion.masks import AnyMask, masked, of_weights
from difflab.diffusion.search import check_keep
from difflab.diffusion.trigger import Trigger
from difflab.errors import InputError, require
from difflab.progress import progress


@dataclass(frozen=True)
class InitialNoise:
    """How the noise is searched.

    Few steps: in fifty, the small model's noises drew half of the never-trained twins too, in ten none.

    Attributes:
        keep: numbers of steps of Adam after which the noise is kept, rising; the last one ends the search.
        rate: learning rate of Adam, in units of x_T's standard deviation, which is 1.
        steps: DDIM steps that the gradient goes through.
        guidance: weight of the prompt in them.
    """

    keep: tuple[int, ...] = (10,)
    rate: float = 0.1
    steps: int = 5
    guidance: float = 3.0

    def __post_init__(self) -> None:
        check_keep(self.keep)
        require(self.rate > 0, f"rate is {self.rate}; give a positive one.")
        require(self.steps >= 1, f"steps is {self.steps}; give at least 1.")


def initial_noise(
    defended: Defended,
    latents: Float[torch.Tensor, "n c h w"],
    generators: Sequence[torch.Generator],
    config: InitialNoise = InitialNoise(),
) -> list[Trigger]:
    """Find noises from which a few steps of sampling end at the targets.

    Adam on x_T, minimising |z_0(x_T) - z|^2 / (c h w), where z_0 is what DDIM with guidance draws from x_T under the
    prompt; gradients go through every step. x_T begins at N(0, 1) and is rescaled to the length it began with after
    every step, so that it stays as long as noise is; nothing else keeps it from resembling a picture. All
    targets move in one batch and do not see each other.

    Args:
        defended: what is attacked; its prompts stay as they are.
        latents: targets z, encoded.
        generators: one for each target, on the CPU: where its noise begins.
        config: how.

    Returns:
        A trigger for each number in config.keep: the initial noises with the lowest loss so far. Zero steps give the
        generators' own.

    Raises:
        InputError: numbers of targets, prompts, generators or masks differ, or the loss is not finite.

    Reference:
        Memories of Forgotten Concepts (arXiv 2412.00782) and IVO (arXiv 2602.00175) bring erased concepts back by
        choosing the noise.

    Differs:
        One known picture is asked for, and x_T is searched by gradient alone, from random noise.
    """
    pipeline, start, masks, n = defended.pipeline, defended.embeddings, defended.masks, len(latents)
    require(
        n == len(start) == len(generators) == len(masks),
        f"{n} targets, {len(start)} prompts, {len(generators)} generators: give as many of each, and of masks.",
    )
    begin = drawn_noise(pipeline, generators)
    found = torch.empty((len(config.keep), *begin.shape), dtype=begin.dtype)
    size = searches_at_once(pipeline, config.steps)
    with progress(-(-n // size) * config.keep[-1], "attacking") as advance:
        for part in torch.arange(n).split(size):
            search = _Search(
                pipeline,
                latents[part].to(pipeline.device).float(),
                start[part].to(pipeline.device, begin.dtype),
                begin[part].float(),
                config,
                [masks[i] for i in part],
            )
            for step in range(config.keep[-1] + 1):
                if step > 0:
                    search.move()
                    advance(1)
                search.look(more=step < config.keep[-1])
                if step in config.keep:
                    found[config.keep.index(step), part] = search.best.cpu().to(begin.dtype)
    return [Trigger(steps, noise=best) for steps, best in zip(config.keep, found.to(begin.device), strict=True)]


class _Search:
    """One batch of noises on the way."""

    def __init__(
        self,
        pipeline: StableDiffusionPipeline,
        latents: Float[torch.Tensor, "n c h w"],
        start: Float[torch.Tensor, "n tokens width"],
        begin: Float[torch.Tensor, "n c h w"],
        config: InitialNoise,
        masks: Sequence[AnyMask],
    ) -> None:
        self.pipeline, self.latents, self.start, self.config = pipeline, latents, start, config
        # Prompt and empty prompt share each call.
        self.masks = [*masks, *of_weights(masks)]
        self.noise = begin.clone().requires_grad_()
        self.length = _length(begin)
        self.optimizer = torch.optim.Adam([self.noise], config.rate)
        self.best, self.lowest = begin.clone(), torch.full((len(begin),), torch.inf, device=begin.device)

    def look(self, more: bool) -> None:
        """The loss here, for the best so far, and its gradient where a step is still to come: one run for both."""
        with torch.set_grad_enabled(more), masked(self.pipeline.unet, self.masks):
            loss = self._loss()
            if more:
                # A sum, so that no target's gradient depends on how many others there are.
                (self.noise.grad,) = torch.autograd.grad(loss.sum(), self.noise)
        if not bool(loss.isfinite().all()):
            raise InputError("the attack's loss is not finite; lower the rate, or attack in float32.")
        loss = loss.detach()
        better = (loss < self.lowest)[:, None, None, None]
        self.best = torch.where(better, self.noise.detach(), self.best)
        self.lowest = torch.minimum(loss, self.lowest)

    @torch.no_grad()
    def move(self) -> None:
        """One step of Adam down the gradient of the last look, and back to the length at the beginning."""
        self.optimizer.step()
        self.noise.mul_(self.length / _length(self.noise))

    def _loss(self) -> Float[torch.Tensor, " n"]:
        noise = self.noise.to(self.pipeline.unet.dtype)
        *_, last = differentiable_sampling(self.pipeline, self.start, noise, self.config.steps, self.config.guidance)
        return (last.denoised.float() - self.latents).square().mean(dim=(1, 2, 3))


def _length(noise: Float[torch.Tensor, "n c h w"]) -> Float[torch.Tensor, "n 1 1 1"]:
    return noise.flatten(1).norm(dim=1)[:, None, None, None]
