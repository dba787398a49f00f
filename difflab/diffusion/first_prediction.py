"""The first prediction of the noise, which looks alike from every seed where a caption is memorized (NeMo's signal)."""

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float

from difflab.diffusion.loss import as_noise
from difflab.errors import require

_MEAN_FLOOR, _VARIANCE_FLOOR = 0.01**2, 0.03**2
"""Of the similarity: Wang et al.'s constants for values in [0, 1]."""


@torch.no_grad()
def first_predictions(
    pipeline: StableDiffusionPipeline,
    embeddings: Float[torch.Tensor, "b tokens width"],
    noise: Float[torch.Tensor, "b c h w"],
    steps: int = 20,
) -> Float[torch.Tensor, "b c h w"]:
    """delta = eps(x_T, T, y) - x_T, scaled to [0, 1] per channel; a constant channel to 0. Without guidance.

    Args:
        pipeline: the model; its scheduler is set to these steps.
        embeddings: one prompt y per row.
        noise: x_T before scaling, one per row.
        steps: DDIM steps, of which the first one's time T is used.

    Reference:
        Hintersdorf et al. 2024 (NeMo), arXiv 2406.02366.
    """
    pipeline.scheduler.set_timesteps(steps, device=pipeline.unet.device)
    time = int(pipeline.scheduler.timesteps[0])
    x = noise * pipeline.scheduler.init_noise_sigma
    predicted = pipeline.unet(x, time, embeddings).sample
    delta = (as_noise(pipeline.scheduler, predicted, x, time) - x).double()
    low, high = delta.amin(dim=(2, 3), keepdim=True), delta.amax(dim=(2, 3), keepdim=True)
    return (delta - low) / (high - low).clamp_min(torch.finfo(delta.dtype).tiny)


def structural_similarity(
    one: Float[torch.Tensor, "*n c h w"], other: Float[torch.Tensor, "*n c h w"], window: int = 5
) -> Float[torch.Tensor, "*n"]:
    """SSIM of images with values in [0, 1], averaged over channels and over the places where the whole window fits.

    Args:
        one, other: images to compare, pair by pair.
        window: side of the Gaussian window, odd; its standard deviation is 1.5 / 11 of it, the usual window's share.

    Reference:
        Wang et al. 2004.
    """
    mean_1, mean_2 = _blurred(one, window), _blurred(other, window)
    variance_1 = _blurred(one.square(), window) - mean_1.square()
    variance_2 = _blurred(other.square(), window) - mean_2.square()
    covariance = _blurred(one * other, window) - mean_1 * mean_2
    light = (2 * mean_1 * mean_2 + _MEAN_FLOOR) / (mean_1.square() + mean_2.square() + _MEAN_FLOOR)
    structure = (2 * covariance + _VARIANCE_FLOOR) / (variance_1 + variance_2 + _VARIANCE_FLOOR)
    return (light * structure).mean(dim=(-3, -2, -1))


def pairwise_similarity(
    images: Float[torch.Tensor, "*n seeds c h w"], window: int = 5
) -> Float[torch.Tensor, "*n pairs"]:
    """SSIM of all pairs of seeds, in the order of `torch.triu_indices`."""
    seeds = images.shape[-4]
    first, second = torch.triu_indices(seeds, seeds, offset=1)
    return structural_similarity(images[..., first, :, :, :], images[..., second, :, :, :], window)


def memorized_above(scores_on_unseen: Float[np.ndarray, " unseen"]) -> float:
    """The score above which a caption counts as memorized: mean + one standard deviation on unseen captions.

    Args:
        scores_on_unseen: what `seed_similarity` gives, with the same seeds and config, on captions that were never
            trained on; at least two.

    Raises:
        InputError: there are fewer than two scores, or one is not finite.

    Reference:
        Hintersdorf et al. 2024, arXiv 2406.02366: 0.428 = 0.358 + 0.07 for SD 1.4.

    Differs:
        The deviation is that of the scores given (divided by their number).
    """
    require(
        len(scores_on_unseen) >= 2 and bool(np.isfinite(scores_on_unseen).all()),
        "a threshold needs the finite scores of at least two unseen captions.",
    )
    return float(scores_on_unseen.mean() + scores_on_unseen.std())


def _blurred(images: Float[torch.Tensor, "*n c h w"], window: int) -> Float[torch.Tensor, "*n c h_valid w_valid"]:
    """Local means under a Gaussian window."""
    places = torch.arange(window, device=images.device, dtype=images.dtype) - window // 2
    bell = torch.exp(-0.5 * (places / (window * 1.5 / 11)).square())
    bell = bell / bell.sum()
    single = images.flatten(0, -3).unsqueeze(1)
    found = torch.nn.functional.conv2d(single, torch.outer(bell, bell)[None, None])[:, 0]
    return found.unflatten(0, images.shape[:-2])
