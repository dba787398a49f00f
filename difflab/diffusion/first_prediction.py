"""The first prediction of the noise, which looks alike from every seed where a caption is memorized (NeMo's signal)."""

from collections.abc import Sequence

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Bool, Float

from difflab.diffusion.batch_sizes import within
from difflab.diffusion.generate import embed, initial_noise, seeded
from difflab.diffusion.loss import as_noise
from difflab.diffusion.pruning import Mask, pruned
from difflab.errors import require

_MEAN_FLOOR, _VARIANCE_FLOOR = 0.01**2, 0.03**2
"""Of the similarity: Wang et al.'s constants for values in [0, 1]."""


@torch.no_grad()
def first_predictions(
    pipeline: StableDiffusionPipeline,
    embeddings: Float[torch.Tensor, "b tokens width"],
    noise: Float[torch.Tensor, "b c h w"],
    steps: int = 20,
    step: int = 0,
    guidance: float = 1.0,
) -> Float[torch.Tensor, "b c h w"]:
    """delta = eps(x_T, t, y) - x_T, scaled to [0, 1] per channel; a constant channel to 0.

    Args:
        pipeline: the model; its scheduler is set to these steps.
        embeddings: one prompt y per row.
        noise: x_T before scaling, one per row.
        steps: DDIM steps.
        step: which of them has the time t, 0 for the first, where t = T; x_T is the noise at any.
        guidance: weight of the prompt in eps; 1 is the prompt alone, without a call for the empty one.

    Reference:
        Hintersdorf et al. 2024 (NeMo), arXiv 2406.02366.
    """
    pipeline.scheduler.set_timesteps(steps, device=pipeline.unet.device)
    time = int(pipeline.scheduler.timesteps[step])
    x = noise * pipeline.scheduler.init_noise_sigma
    predicted = pipeline.unet(x, time, embeddings).sample
    if guidance != 1:
        empty = embed(pipeline, [""]).to(embeddings).expand_as(embeddings)
        unconditional = pipeline.unet(x, time, empty).sample
        predicted = unconditional + guidance * (predicted - unconditional)
    delta = (as_noise(pipeline.scheduler, predicted, x, time) - x).double()
    low, high = delta.amin(dim=(2, 3), keepdim=True), delta.amax(dim=(2, 3), keepdim=True)
    return (delta - low) / (high - low).clamp_min(torch.finfo(delta.dtype).tiny)


@torch.no_grad()
def predictions_by_seed(
    pipeline: StableDiffusionPipeline,
    embeddings: Float[torch.Tensor, "n tokens width"],
    seeds: Sequence[int],
    masks: Sequence[Mask],
    at_once: int,
    steps: int = 20,
    step: int = 0,
    guidance: float = 1.0,
) -> Float[torch.Tensor, "n seeds c h w"]:
    """`first_predictions` of every embedding with every seed, on the CPU.

    Args:
        pipeline: the model.
        embeddings: n prompts.
        seeds: of the initial noise, the same for every prompt.
        masks: one for each prompt: what is switched off in the network.
        at_once: predictions made in one batch; fewer of a large network.
        steps, step, guidance: as in `first_predictions`; the empty prompt meets the mask, too.
    """
    owner = torch.arange(len(embeddings)).repeat_interleave(len(seeds))
    noise = initial_noise(pipeline, seeded(1, seeds))
    found = []
    for rows in torch.arange(len(owner)).split(within(pipeline, at_once)):
        with pruned(pipeline.unet, [masks[i] for i in owner[rows].tolist()]):
            x = noise[rows % len(seeds)]
            found.append(first_predictions(pipeline, embeddings[owner[rows]], x, steps, step, guidance).cpu())
    return torch.cat(found).unflatten(0, (len(embeddings), len(seeds)))


def seeds_alike(
    predictions: Float[torch.Tensor, "n seeds c h w"], threshold: float, window: int = 5
) -> Bool[torch.Tensor, "n seeds"]:
    """Seeds whose prediction is more like some other seed's than the threshold; none: not memorized."""
    n_seeds = predictions.shape[1]
    alike = pairwise_similarity(predictions, window) > threshold
    first, second = torch.triu_indices(n_seeds, n_seeds, offset=1)
    kept = torch.zeros((len(predictions), n_seeds), dtype=torch.bool)
    for pair, (i, j) in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
        kept[:, i] |= alike[:, pair]
        kept[:, j] |= alike[:, pair]
    return kept


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
