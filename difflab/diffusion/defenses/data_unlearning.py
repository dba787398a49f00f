"""Defense: denoise ordinary pictures as before and memorized ones worse, from the same noisy latents (SISS)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float, Int

from difflab.diffusion.defended import Defended, undefended
from difflab.diffusion.finetuning import Finetuning, Known, finetune, fitting_known
from difflab.diffusion.generate import embed
from difflab.diffusion.loss import as_noise, levels
from difflab.errors import require


@dataclass(frozen=True)
class DataUnlearning(Finetuning):
    """How pictures are unlearned.

    Attributes:
        steps: optimizer steps; each asks `batch` network rows for gradients, once for either part of the loss.
        batch: pairs of a memorized and an ordinary picture a step.
        rate: highest learning rate of AdamW.
        parameters: "full" is the paper's; "cross" or "low_rank" move the attention's weights only.
        rank: of "low_rank".
        mixing: lambda, the share of noisy latents that are drawn from the memorized picture, in (0, 1).
        share: length of the forgetting gradient, in units of the retaining one's.
    """

    steps: int = 100
    batch: int = 32
    rate: float = 3e-4
    mixing: float = 0.5
    share: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.mixing < 1, f"mixing is {self.mixing}; give a share between 0 and 1.")
        require(self.share >= 0, f"share is {self.share}; give 0 or more.")

    @property
    def rows_a_step(self) -> float:
        """Two passes back over the same rows."""
        return 2.0 * self.batch


def data_unlearning(
    pipeline: StableDiffusionPipeline,
    captions: Sequence[str],
    unseen: Sequence[str] = (),
    seed: int = 0,
    config: DataUnlearning = DataUnlearning(),
    known: Known | None = None,
) -> Defended:
    """Fine-tune by subtracted importance-sampled scores.

    A noisy latent m at time t is drawn from the mixture (1 - lambda) q(m | x) + lambda q(m | a) of an ordinary picture
    x and a memorized one a, where q(m | z) = N(alpha z, sigma^2). With eps the predicted noise at (m, t) under a's
    caption, eps_z = (m - alpha z) / sigma and w_z = q(m | z) / mixture:

        minimise w_x |eps - eps_x|^2 - (1 + s) w_a |eps - eps_a|^2.

    Args:
        pipeline: the model.
        captions: n prompts to defend, in the order of known.targets.
        unseen: not used.
        seed: of the pairs, the times and the noises.
        config: how.
        known: the memorized pictures a and the ordinary ones x.

    Returns:
        A pipeline with a U-Net of its own, and nothing taken away.

    Raises:
        InputError: known is missing or its numbers do not agree, or a loss is not finite.

    Reference:
        Alberti et al. 2025 (SISS), arXiv 2503.01034; lambda = 0.5 for Stable Diffusion.

    Differs:
        In every step 1 + s is set so that the gradient of the second term is config.share as long as that of the first,
        which takes a second pass back; the paper's code scales it to one length throughout, a tenth of the gradient of
        training on the ordinary pictures alone. The counts of pictures, n / (n - k) and k / (n - k), are absorbed in
        that. The ordinary pictures are any of known.retained; the paper draws its own under each prompt.
    """
    known = fitting_known(known, captions)
    y, scheduler = embed(pipeline, captions), pipeline.scheduler
    targets, retained = (z.to(pipeline.device, pipeline.unet.dtype) for z in (known.targets, known.retained))

    def loss(_: int, tuned: StableDiffusionPipeline, generator: torch.Generator) -> Float[torch.Tensor, ""]:
        rows = torch.randint(len(targets), (config.batch,), generator=generator)
        x = retained[torch.randint(len(retained), (config.batch,), generator=generator)]
        m, times = _mixture(tuned, x, targets[rows], config.mixing, generator)
        predicted = as_noise(scheduler, tuned.unet(m, times, y[rows]).sample, m, times)
        alpha, sigma = levels(scheduler, times, m)
        retain, forget = subtracted(predicted, m, x, targets[rows], alpha, sigma, config.mixing)
        return _balanced(retain, forget, config.share, [p for p in tuned.unet.parameters() if p.requires_grad])

    tuned = finetune(pipeline, loss, config, seed, "unlearning pictures")
    return undefended(tuned, captions)


def subtracted(
    predicted: Float[torch.Tensor, "b c h w"],
    m: Float[torch.Tensor, "b c h w"],
    x: Float[torch.Tensor, "b c h w"],
    a: Float[torch.Tensor, "b c h w"],
    alpha: Float[torch.Tensor, "b 1 1 1"],
    sigma: Float[torch.Tensor, "b 1 1 1"],
    mixing: float,
) -> tuple[Float[torch.Tensor, ""], Float[torch.Tensor, ""]]:
    """Both terms of the loss, the second one without its factor: means over pictures and pixels."""
    terms = []
    for weight, z in zip(importance(m, x, a, alpha, sigma, mixing), (x, a), strict=True):
        error = (predicted - (m - alpha * z) / sigma).float().square().mean(dim=(1, 2, 3))
        terms.append((weight * error).mean())
    return terms[0], terms[1]


def importance(
    m: Float[torch.Tensor, "b c h w"],
    x: Float[torch.Tensor, "b c h w"],
    a: Float[torch.Tensor, "b c h w"],
    alpha: Float[torch.Tensor, "b 1 1 1"],
    sigma: Float[torch.Tensor, "b 1 1 1"],
    mixing: float,
) -> tuple[Float[torch.Tensor, " b"], Float[torch.Tensor, " b"]]:
    """w_x and w_a: the densities q(m | x) and q(m | a), divided by that of the mixture.

    By Bayes they are the chances that m came from x or from a, divided by those before m was seen.
    """
    from_x, from_a = (((m - alpha * z) / sigma).float().square().sum(dim=(1, 2, 3)) / -2 for z in (x, a))
    odds = from_a - from_x + torch.logit(torch.tensor(mixing, dtype=torch.float64)).to(from_x)
    return torch.sigmoid(-odds) / (1 - mixing), torch.sigmoid(odds) / mixing


def _mixture(
    tuned: StableDiffusionPipeline,
    x: Float[torch.Tensor, "b c h w"],
    a: Float[torch.Tensor, "b c h w"],
    mixing: float,
    generator: torch.Generator,
) -> tuple[Float[torch.Tensor, "b c h w"], Int[torch.Tensor, " b"]]:
    """Noisy latents of one picture or the other, and their times, uniform over all training times."""
    n_times = tuned.scheduler.config.num_train_timesteps
    memorized = (torch.rand(len(x), generator=generator) < mixing).to(x.device)[:, None, None, None]
    times = torch.randint(n_times, (len(x),), generator=generator).to(x.device)
    noise = torch.randn(x.shape, generator=generator).to(x)
    return tuned.scheduler.add_noise(torch.where(memorized, a, x), noise, times), times


def _balanced(
    retain: Float[torch.Tensor, ""],
    forget: Float[torch.Tensor, ""],
    share: float,
    parameters: Sequence[torch.nn.Parameter],
) -> Float[torch.Tensor, ""]:
    """retain - factor * forget, the factor such that the second gradient is `share` as long as the first."""
    kept = torch.autograd.grad(retain, parameters, retain_graph=True, allow_unused=True)
    lost = torch.autograd.grad(forget, parameters, allow_unused=True)
    lengths = [torch.nn.utils.get_total_norm([g for g in part if g is not None]) for part in (kept, lost)]
    factor = share * lengths[0] / lengths[1] if float(lengths[1]) > 0 else torch.zeros_like(lengths[0])
    value = (retain - factor * forget).detach()
    # A loss of this value whose gradient is the one just found: no third pass back through the network.
    for p, one, other in zip(parameters, kept, lost, strict=True):
        if one is not None and other is not None:
            value = value + ((p - p.detach()) * (one - factor * other)).sum()
    return value
