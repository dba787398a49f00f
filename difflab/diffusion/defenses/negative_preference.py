"""Defense: denoise memorized pictures, or what their captions bring of them, worse than before, up to a bound (NPO)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Bool, Float
from torch.nn.functional import logsigmoid

from difflab.diffusion.defended import Defended, undefended
from difflab.diffusion.finetuning import Finetuning, Known, finetune, fitting_known, picked
from difflab.diffusion.generate import embed
from difflab.diffusion.loss import Draws, draw, loss_at, wanted
from difflab.diffusion.regions import prompt_difference
from difflab.errors import require

_SEEDS, _STEPS, _GUIDANCE = 4, 10, 3.0
"""Of the drawings that show where a caption changes the prediction."""


@dataclass(frozen=True)
class NegativePreference(Finetuning):
    """How pictures are forgotten.

    Attributes:
        steps: optimizer steps; each asks `batch` network rows for gradients twice, and once without.
        batch: memorized pictures a step, and as many ordinary ones.
        rate: highest learning rate of AdamW.
        parameters: "full" moves all weights; "cross" or "low_rank" the attention's only.
        rank: of "low_rank".
        beta: the inverse of the rise of the loss at which the ascent begins to end; the smaller it is, the further.
        region: share of each picture that is forgotten, where its caption changes the prediction most; of the rest of
            it the loss is lowered. 1 forgets whole pictures. Not looked at where regions are known.
        keep: weight of what is lowered: ordinary pictures, and the rest of memorized ones.
    """

    steps: int = 100
    batch: int = 16
    rate: float = 3e-4
    beta: float = 20.0
    region: float = 1.0
    keep: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.beta > 0, f"beta is {self.beta}; give a positive one.")
        require(0 < self.region <= 1, f"region is {self.region}; give a share above 0 and at most 1.")
        require(self.keep >= 0, f"keep is {self.keep}; give 0 or more.")

    @property
    def rows_a_step(self) -> float:
        """Memorized pictures and ordinary ones."""
        return 2.0 * self.batch


def negative_preference(
    pipeline: StableDiffusionPipeline,
    captions: Sequence[str],
    unseen: Sequence[str] = (),
    seed: int = 0,
    config: NegativePreference = NegativePreference(),
    known: Known | None = None,
) -> Defended:
    """Fine-tune by ascending on memorized pictures, each only until the model as it was is far enough away.

    With L the squared error of a memorized picture x under its caption, meaned over its region, at a random time and
    noise, L_0 that of the given model at the same, C the mean of the error over the rest of x, and R the loss of
    ordinary pictures:

        minimise mean of -(2 / beta) ln sigma(beta (L - L_0)) + keep (mean of C + mean of R).

    A picture's first step is that of gradient ascent; its weight, 2 sigma(-beta (L - L_0)), falls to nothing once L has
    risen by a few times 1 / beta, so that the ascent ends where it no longer outweighs what is kept. With nothing that
    is kept it would not: AdamW makes its steps as long of small gradients as of large ones.

    Args:
        pipeline: the model.
        captions: n prompts to defend, in the order of known.targets.
        unseen: not used.
        seed: of the pictures, the times and the noises.
        config: how.
        known: the memorized pictures x and ordinary ones; and, where somebody marked them, the regions to forget.

    Returns:
        A pipeline with a U-Net of its own, and nothing taken away.

    Raises:
        InputError: known is missing or its numbers do not agree, or a loss is not finite.

    Reference:
        Zhang et al. 2024 (NPO), arXiv 2404.05868, equation 3, and the ascent on a span with descent around it of Chu et
        al. 2025 (CodeEraser), arXiv 2509.13755: both of language models. That a picture's likelihood is read off its
        denoising error is Diffusion-DPO's (Wallace et al. 2023, arXiv 2311.12908).

    Differs:
        Nobody published it of pictures in this form. Errors are meaned over pixels and not weighted by time, so that
        beta is in their unit and not in that of a likelihood. Where nobody marked a region and it is not the whole
        picture, it is where the prompt changes the prediction of the given model most (the map of arXiv 2605.22756). As
        of language models it may hide a picture and not remove it: meet it with Dori and with relearning.
    """
    known = fitting_known(known, captions)
    y, others = embed(pipeline, captions), embed(pipeline, known.retained_captions)
    targets, retained = (z.to(pipeline.device, pipeline.unet.dtype) for z in (known.targets, known.retained))
    regions = _regions(pipeline, captions, targets, config) if known.regions is None else known.regions
    regions = regions.to(pipeline.device)

    def loss(_: int, tuned: StableDiffusionPipeline, generator: torch.Generator) -> Float[torch.Tensor, ""]:
        rows = picked(len(targets), config.batch, generator)
        draws = draw(tuned, targets[rows], [generator] * len(rows), 1)
        now = errors(tuned, targets[rows], y[rows], draws)
        with torch.no_grad():
            before = errors(pipeline, targets[rows], y[rows], draws)
        inside = regions[rows]
        risen = _within(now, inside) - _within(before, inside)
        forgotten = -(2 / config.beta) * logsigmoid(config.beta * risen).mean()
        ordinary = picked(len(retained), config.batch, generator)
        z = retained[ordinary]
        kept = loss_at(tuned, z, others[ordinary], draw(tuned, z, [generator] * len(z), 1)).mean()
        return forgotten + config.keep * (kept + _within(now, ~inside).mean())

    tuned = finetune(pipeline, loss, config, seed, "forgetting pictures")
    return undefended(tuned, captions)


def errors(
    pipeline: StableDiffusionPipeline,
    latents: Float[torch.Tensor, "b c h w"],
    embeddings: Float[torch.Tensor, "b tokens width"],
    draws: Draws,
) -> Float[torch.Tensor, "b h w"]:
    """Squared error of the prediction at one draw for each picture, meaned over channels."""
    times, noise = draws.times[:, 0], draws.noise[:, 0]
    noisy = pipeline.scheduler.add_noise(latents, noise, times)
    predicted = pipeline.unet(noisy, times, embeddings.to(pipeline.unet.dtype)).sample
    return (predicted - wanted(pipeline.scheduler, latents, noise, times)).float().square().mean(dim=1)


def _within(errors: Float[torch.Tensor, "b h w"], inside: Bool[torch.Tensor, "b h w"]) -> Float[torch.Tensor, " b"]:
    """Means over the pixels inside; 0 where there are none."""
    return (errors * inside).sum(dim=(1, 2)) / inside.sum(dim=(1, 2)).clamp(min=1)


def _regions(
    pipeline: StableDiffusionPipeline,
    captions: Sequence[str],
    targets: Float[torch.Tensor, "n c h w"],
    config: NegativePreference,
) -> Bool[torch.Tensor, "n h w"]:
    """Of each picture so many pixels of its latents, at least one, where the caption changes the prediction most."""
    n, _, h, w = targets.shape
    if config.region == 1:
        return torch.ones((n, h, w), dtype=torch.bool)
    changed = prompt_difference(pipeline, captions, range(_SEEDS), _STEPS, _GUIDANCE)
    most = torch.from_numpy(changed).reshape(n, h * w).argsort(dim=1, descending=True)
    chosen = most[:, : max(1, round(config.region * h * w))]
    return torch.zeros((n, h * w), dtype=torch.bool).scatter(1, chosen, True).reshape(n, h, w)
