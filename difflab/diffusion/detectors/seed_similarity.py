"""Detector: whether the first prediction looks the same whatever the seed."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float

from difflab.diffusion.batch_sizes import AT_ONCE, within
from difflab.diffusion.first_prediction import first_predictions, pairwise_similarity
from difflab.diffusion.generate import embed, initial_noise, seeded
from difflab.errors import InapplicableError, require
from difflab.statistics.scores import Scores


@dataclass(frozen=True)
class SeedSimilarity:
    """How the similarity is measured.

    Attributes:
        steps: DDIM steps, in [2, 999], of which the first one's time is used: 951 of 1000 for 20 steps.
        window: side of the Gaussian window in latent pixels, odd, at least 3 and at most the side of the latents. Its
            standard deviation is 1.5 / 11 of it, the proportion of the usual window of 11.
        reduce: "max" or "mean" over the pairs of seeds.
        at_once: predictions made in one batch.
    """

    steps: int = 20
    window: int = 5
    reduce: str = "max"
    at_once: int = AT_ONCE

    def __post_init__(self) -> None:
        require(2 <= self.steps <= 999, f"steps is {self.steps}; give 2 to 999.")
        require(self.window >= 3 and self.window % 2 == 1, f"window is {self.window}; give an odd number, at least 3.")
        require(self.reduce in ("max", "mean"), f"reduce is {self.reduce!r}; give max or mean.")
        require(self.at_once >= 1, f"at_once is {self.at_once}; give at least 1.")


@torch.no_grad()
def seed_similarity(
    pipeline: StableDiffusionPipeline,
    captions: Sequence[str],
    seeds: Sequence[int],
    config: SeedSimilarity = SeedSimilarity(),
    latents: Float[torch.Tensor, "n c h w"] | None = None,
) -> Scores:
    """Score captions by how alike the first predictions from different noises are.

    delta_s = eps(x_T, T, y) - x_T with x_T from seed s, scaled to [0, 1] per channel;
    score = max (or mean) over pairs of seeds of SSIM(delta_s, delta_s').

    One network call for each caption and seed, without guidance, nothing is sampled.

    Args:
        pipeline: the model.
        captions: n prompts, at least one.
        seeds: initial noises, at least two, all different.
        config: how.
        latents: not used.

    Returns:
        One score per caption, at most 1, higher = more memorized. See `first_prediction.memorized_above` for a
            threshold.

    Raises:
        InputError: there is no caption, there are not two different seeds, a seed comes twice, or a caption is too
            long.
        InapplicableError: the window is wider than the latents.

    Reference:
        Hintersdorf et al. 2024 (NeMo), arXiv 2406.02366. The similarity: Wang et al. 2004.

    Differs:
        SSIM at one scale for MS-SSIM at three with a window of 11: those need sides above 40, and the small model's
        latents have 8. The network sees x_T at the first time of the schedule; the published code takes the second
        one, with an x_T that was never denoised.
    """
    require(len(captions) > 0, "there is no caption to score; give at least one.")
    require(len(seeds) >= 2, f"there are {len(seeds)} seeds; give at least two to compare.")
    require(
        len(set(seeds)) == len(seeds), "a seed comes twice and would be compared with itself; give different seeds."
    )
    side = min(initial_noise(pipeline, seeded(1, seeds[:1])).shape[2:])
    if config.window > side:
        raise InapplicableError(f"window is {config.window} and the latents' side {side}; give a smaller window.")
    embeddings = embed(pipeline, captions)
    scores, at_once = [], within(pipeline, config.at_once)
    # Whole captions together, since a pair of seeds belongs to one caption.
    for part in torch.arange(len(captions)).split(max(1, at_once // len(seeds))):
        owner = part.repeat_interleave(len(seeds))
        noise = initial_noise(pipeline, seeded(len(part), seeds))
        images = torch.cat(
            [
                first_predictions(pipeline, embeddings[rows], x, config.steps)
                for rows, x in zip(owner.split(at_once), noise.split(at_once), strict=True)
            ]
        )
        pairs = pairwise_similarity(images.unflatten(0, (len(part), len(seeds))), config.window)
        scores.append((pairs.amax(dim=1) if config.reduce == "max" else pairs.mean(dim=1)).cpu())
    return Scores(tuple(captions), torch.cat(scores).numpy())
