"""Text embeddings moved down a loss: the search that Dori attacks with and that adversarial fine-tuning defends by."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Bool, Float, Int, Shaped

from difflab.diffusion.batch_sizes import fitting, with_gradients
from difflab.diffusion.defended import Defended
from difflab.diffusion.loss import Draws, draw, loss_at
from difflab.diffusion.masks import AnyMask
from difflab.errors import InputError, require
from difflab.progress import progress


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


def check_keep(keep: Sequence[int]) -> None:
    """Are these numbers of steps after which an attack can keep what it has?

    Raises:
        InputError: there is none, one is negative, or they do not rise.
    """
    rising = len(keep) > 0 and min(keep) >= 0 and list(keep) == sorted(set(keep))
    require(rising, f"keep is {tuple(keep)}; give rising numbers of steps.")


@dataclass(frozen=True)
class Kept(Descent):
    """A descent of which the best iterate is kept on the way.

    Attributes:
        keep: numbers of steps after which the best so far is kept, rising; the last one ends the search.
        patience: steps between two looks at the loss on the fixed draws.
        looks: fixed draws of noise and time for those looks.
    """

    keep: tuple[int, ...] = (50,)
    patience: int = 10
    looks: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        check_keep(self.keep)
        require(min(self.patience, self.looks) >= 1, "patience and looks are at least 1.")


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
            loss, gradient = torch.zeros(len(self.latents)), torch.zeros_like(self.moved)
            for share, part in _parts(draws, with_gradients(self.pipeline)):
                here = share * self._loss(part)
                # A sum, so that no target's gradient depends on how many others there are.
                gradient += torch.autograd.grad(here.sum(), self.moved)[0]
                loss += here.detach().cpu()
        self.moved.grad = gradient
        if not bool(loss.isfinite().all()):
            raise InputError("the attack's loss is not finite; lower the rate, or attack in float32.")
        if self.free is not None:
            gradient.mul_(self.free)
        self.optimizer.step()
        if self.config.radius is not None:
            with torch.no_grad():
                length = (self.scale * self.moved).flatten(1).norm(dim=1)
                bound = self.config.radius * self.start.flatten(1).norm(dim=1)
                self.moved.mul_((bound / length.clamp_min(1e-12)).clamp(max=1.0)[:, None, None])

    @torch.no_grad()
    def look(self) -> None:
        """Keep where the loss on the fixed draws is the lowest so far."""
        parts = _parts(self.fixed, fitting(self.pipeline))
        loss = torch.stack([share * self._loss(part) for share, part in parts]).sum(dim=0)
        better = (loss < self.lowest)[:, None, None]
        self.best, self.lowest = torch.where(better, self.reached, self.best), torch.minimum(loss, self.lowest)

    @property
    def reached(self) -> Float[torch.Tensor, "n tokens width"]:
        """The embeddings now."""
        return self.start + self.scale * self.moved

    def _loss(self, draws: Draws) -> Float[torch.Tensor, " n"]:
        return loss_at(self.pipeline, self.latents, self.reached, draws, self.masks)


def _parts(draws: Draws, at_once: int) -> Iterator[tuple[float, Draws]]:
    """All at once, unless those of one target are too many for a large network; then some, and their share."""
    k = draws.times.shape[1]
    for part in torch.arange(k).split(min(k, at_once)):
        yield len(part) / k, Draws(draws.times[:, part], draws.noise[:, part])


def extended(start: Float[torch.Tensor, "n tokens width"], extra: int) -> Float[torch.Tensor, "n more width"]:
    """Prompts with so many rows appended, each a copy of the last one, which is padding in all but the longest."""
    return torch.cat([start, start[:, -1:].expand(-1, extra, -1)], dim=1)


def searched_from(
    defended: Defended,
    latents: Float[torch.Tensor, "n c h w"],
    generators: Sequence[torch.Generator],
    config: Kept,
    at_once: int,
    free: Bool[torch.Tensor, "tokens 1"] | None = None,
) -> Float[torch.Tensor, "kept n tokens width"]:
    """The embeddings that a `Search` from those of a defense has found after each number of steps to keep.

    Args:
        defended: the model, where each search begins, and what is taken away meanwhile.
        latents: targets z, encoded.
        generators: one for each target, on the CPU.
        config: how.
        at_once: targets searched in one batch.
        free: token rows that may move; None for all.

    Raises:
        InputError: numbers of targets, starts, generators or masks differ, or the loss is not finite.
    """
    pipeline, start, masks, n = defended.pipeline, defended.embeddings, defended.masks, len(latents)
    require(
        n == len(start) == len(generators) == len(masks),
        f"{n} targets, {len(start)} starts, {len(generators)} generators: give as many of each, and of masks.",
    )

    def begin(part: Int[torch.Tensor, " b"]) -> Search:
        device = pipeline.device
        return Search(
            pipeline,
            latents[part].to(device),
            start[part].to(device).float(),
            [generators[i] for i in part],
            config,
            [masks[i] for i in part],
            None if free is None else free.to(device),
        )

    return best_so_far(config, n, at_once, begin, lambda search: search.best.to(start))


S = TypeVar("S", bound=Search)


def best_so_far(
    config: Kept,
    n: int,
    at_once: int,
    begin: Callable[[Int[torch.Tensor, " b"]], S],
    read: Callable[[S], Shaped[torch.Tensor, "b ..."]],
) -> Shaped[torch.Tensor, "kept n ..."]:
    """Search for n targets, some at once, and read off the best iterate after each number of steps to keep.

    Args:
        config: how long, and how often the loss is looked at.
        n: targets.
        at_once: targets searched in one batch.
        begin: a search for these targets.
        read: what is to be kept of a search, of its best iterate.
    """
    found = []
    with progress(-(-n // at_once) * config.keep[-1], "attacking") as advance:
        for part in torch.arange(n).split(at_once):
            search, kept = begin(part), []
            for step in range(config.keep[-1] + 1):
                if step > 0:
                    search.move()
                    advance(1)
                if step in config.keep or step % config.patience == 0:
                    search.look()
                if step in config.keep:
                    kept.append(read(search))
            found.append(torch.stack(kept))
    return torch.cat(found, dim=1)
