"""Defense: move the text embedding until the prompt no longer bends the first predicted noise so far."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float

from difflab.diffusion.batch_sizes import searches_at_once
from difflab.diffusion.defended import Defended, rewritten
from difflab.diffusion.first_prediction import memorized_above
from difflab.diffusion.generate import embed, initial_noise, seeded
from difflab.diffusion.loss import as_noise
from difflab.errors import require
from difflab.progress import progress
from difflab.randomness import item_seeds


@dataclass(frozen=True)
class PromptEmbedding:
    """How embeddings are moved.

    Attributes:
        target: of the magnitude m, at which an embedding stops; None for mean + one standard deviation on unseen
            captions. The paper's is 3 for Stable Diffusion, and m grows with the square root of the number of latents.
        seeds: initial noises that m is averaged over, at least 1.
        unseen: captions never trained on that say what is usual; at most so many are used.
        updates: most steps of AdamW, 0 or more.
        rate: its learning rate, in units of the embedding's root mean square.
        steps: DDIM steps, of which the first one's time is used.
    """

    target: float | None = None
    seeds: int = 4
    unseen: int = 200
    updates: int = 10
    rate: float = 0.05
    steps: int = 20

    def __post_init__(self) -> None:
        require(self.target is None or self.target >= 0, f"target is {self.target}; give 0 or more, or None.")
        require(self.seeds >= 1 and self.unseen >= 2, "prompt_embedding needs at least 1 seed and 2 unseen captions.")
        require(self.updates >= 0, f"updates is {self.updates}; give 0 or more.")
        require(0 < self.rate < float("inf"), f"rate is {self.rate}; give a positive number.")
        require(1 <= self.steps <= 999, f"steps is {self.steps}; give 1 to 999.")


@torch.no_grad()
def prompt_embedding(
    pipeline: StableDiffusionPipeline,
    captions: Sequence[str],
    unseen: Sequence[str] = (),
    seed: int = 0,
    config: PromptEmbedding = PromptEmbedding(),
) -> Defended:
    """An embedding for each caption, near its own, that moves the first prediction no further than usual.

    m(y) = mean over seeds of |eps(x_T, T, y) - eps(x_T, T, empty)|_2 is lowered by AdamW on y, the begin token's row
    held fixed, until m <= target. Captions share batches and do not see each other: each stops when it is there.

    Args:
        pipeline: the model.
        captions: n prompts to defend.
        unseen: captions that were never trained on; not used where config.target says what to reach.
        seed: of the initial noises; not those that the defense will be judged with.
        config: how.

    Returns:
        The model with, for every caption, the iterate with the smallest m; its own embedding, to the bit, where m <=
        target from the start or no step lowers it.

    Raises:
        InputError: there is no caption, there are fewer than two unseen ones and no target, or m is not finite.

    Reference:
        Wen et al. 2024 (ICLR), arXiv 2407.21720: rate 0.05, at most 10 steps, target 1 to 5.

    Differs:
        The best iterate, for the last one. One embedding for every picture, over a few seeds, where the paper moves it
        anew for the noise of the picture being drawn. The rate (and with it AdamW's decay) is in units of the root
        mean square, which is about 1 for SD 1.4 and need not be elsewhere.
    """
    require(len(captions) > 0, "prompt_embedding needs prompts to defend; give at least one.")
    require(
        config.target is not None or len(unseen) >= 2,
        f"there are {len(unseen)} unseen captions; prompt_embedding needs at least two, or a target.",
    )
    first = _FirstStep(pipeline, item_seeds(seed, "prompt embedding", config.seeds), config.steps)
    size = searches_at_once(pipeline, config.seeds)
    target = config.target
    if target is None:
        usual = [first.magnitude(part) for part in embed(pipeline, list(unseen)[: config.unseen]).split(size)]
        target = memorized_above(torch.cat(usual).double().cpu().numpy())

    @torch.no_grad()
    def rewrite(captions: Sequence[str]) -> Float[torch.Tensor, "n tokens width"]:
        parts = embed(pipeline, captions).split(size)
        found = list[torch.Tensor]()
        with progress(len(parts), "prompts") as advance:
            for part in parts:
                found.append(_lowered(first, part, target, config))
                advance(1)
        return torch.cat(found)

    return rewritten(pipeline, captions, rewrite)


class _FirstStep:
    """The first step of sampling from a few noises x_T, and the noise predicted there without a prompt."""

    def __init__(self, pipeline: StableDiffusionPipeline, seeds: Sequence[int], steps: int) -> None:
        self.pipeline = pipeline
        pipeline.scheduler.set_timesteps(steps, device=pipeline.unet.device)
        self.time = int(pipeline.scheduler.timesteps[0])
        self.x = initial_noise(pipeline, seeded(1, seeds)) * pipeline.scheduler.init_noise_sigma
        self.empty = self._predicted(embed(pipeline, [""]))

    def magnitude(self, y: Float[torch.Tensor, "n tokens width"]) -> Float[torch.Tensor, " n"]:
        """m of each embedding, in one batch; gradients flow to the embeddings where they are wanted."""
        return (self._predicted(y) - self.empty).flatten(2).norm(dim=2).mean(dim=1)

    def _predicted(self, y: Float[torch.Tensor, "n tokens width"]) -> Float[torch.Tensor, "n seeds c h w"]:
        seeds = len(self.x)
        x = self.x.repeat(len(y), 1, 1, 1)
        out = self.pipeline.unet(x, self.time, y.to(x.dtype).repeat_interleave(seeds, dim=0)).sample
        return as_noise(self.pipeline.scheduler, out, x, self.time).float().unflatten(0, (len(y), seeds))


def _lowered(
    first: _FirstStep, start: Float[torch.Tensor, "n tokens width"], target: float, config: PromptEmbedding
) -> Float[torch.Tensor, "n tokens width"]:
    """One batch of captions from start to target."""
    begin, rest = start[:, :1].float(), start[:, 1:].float()
    scale = start.float().square().mean(dim=(1, 2), keepdim=True).sqrt()
    free = (rest / scale).requires_grad_()
    optimizer = torch.optim.AdamW([free], config.rate, weight_decay=0.01)
    best, lowest = start, torch.full((len(start),), torch.inf, device=start.device)
    for update in range(config.updates + 1):
        with torch.enable_grad():
            y = torch.cat([begin, scale * free], dim=1)
            m = first.magnitude(y)
            # A sum, so that no caption's gradient depends on how many others there are.
            total = m.sum()
        better = m < lowest
        if update == 0:
            require(bool(m.isfinite().all()), "the prompt's part of the predicted noise is not finite; use float32.")
        else:
            best = torch.where(better[:, None, None], y.detach().to(start.dtype), best)
        lowest = torch.where(better, m.detach(), lowest)
        moving = (lowest > target)[:, None, None]
        if update == config.updates or not moving.any():
            break
        (free.grad,) = torch.autograd.grad(total, free)
        before = free.detach().clone()
        optimizer.step()
        # What has arrived stays: neither momentum nor decay carries it on.
        free.copy_(torch.where(moving, free, before))
    return best
