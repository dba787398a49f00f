"""Attack: draw from the target itself, partly noised. What comes back may be the input: read the caution inside."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float

from difflab.diffusion.defended import Defended
from difflab.diffusion.generate import initial_noise
from difflab.diffusion.trigger import Trigger
from difflab.errors import require


@dataclass(frozen=True)
class ImageToImage:
    """How much noise.

    Attributes:
        strengths: shares of the steps that are drawn, above 0 and at most 1: the more, the less of the target is in
            what drawing begins at; a trigger for each.
        sampling_steps: DDIM steps of a whole drawing. Whoever draws from the trigger must draw with as many.
    """

    on_oracle: ClassVar[bool] = True
    strengths: tuple[float, ...] = (0.25, 0.5, 0.75)
    sampling_steps: int = 20

    def __post_init__(self) -> None:
        inside = len(self.strengths) > 0 and all(0 < strength <= 1 for strength in self.strengths)
        require(inside, f"strengths is {self.strengths}; give numbers above 0 and at most 1.")
        least = min(self.strengths)
        require(
            int(self.sampling_steps * least) >= 1,
            f"at strength {least:g} none of {self.sampling_steps} steps is left to draw; give more of either.",
        )


def image_to_image(
    defended: Defended,
    latents: Float[torch.Tensor, "n c h w"],
    generators: Sequence[torch.Generator],
    config: ImageToImage = ImageToImage(),
) -> list[Trigger]:
    """x_t = alpha z + sigma noise of the target, for the last int(steps * strength) steps under the prompt.

    **Caution.** The attacker brings the picture. At a low strength every model gives back what it was shown, whether
    it ever saw it before or not: success there measures the input. It is evidence only as far as the same on a model
    that never saw the targets, and the same with never-trained twins, does not succeed.

    Args:
        defended: what is attacked; its prompts stay as they are.
        latents: targets z, encoded.
        generators: one for each target, on the CPU: its noise, the same at every strength.
        config: how much noise.

    Returns:
        A trigger for each strength, of no steps: where drawing begins.

    Raises:
        InputError: there is not one generator for each target.

    Reference:
        SDEdit (arXiv 2108.01073), with the steps counted as diffusers' StableDiffusionImg2ImgPipeline counts them.
    """
    pipeline, n, steps = defended.pipeline, len(latents), config.sampling_steps
    require(n == len(generators), f"{n} targets, {len(generators)} generators: give as many of each.")
    noise = initial_noise(pipeline, generators)
    z, scheduler = latents.to(noise), pipeline.scheduler
    scheduler.set_timesteps(steps)
    times = scheduler.timesteps.tolist()
    found = []
    for strength in config.strengths:
        time = times[steps - int(steps * strength)]
        noisy = scheduler.add_noise(z, noise, torch.full((n,), time, device=z.device))
        found.append(Trigger(noise=noisy, begin=time, variant=f"strength {strength:g}"))
    return found
