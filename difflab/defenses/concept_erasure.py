"""Defense: train the captions away, towards what the model itself would draw when told to avoid them (ESD)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float, Int

from difflab.errors import require
from difflab.sd.finetuning import Finetuning, Known, finetune
from difflab.sd.generate import embed, initial_noise, sampling


@dataclass(frozen=True)
class ConceptErasure(Finetuning):
    """How captions are erased.

    Attributes:
        steps: optimizer steps; each asks `batch` network rows for gradients, and about 2 `sampling_steps` / 2 rows more
            for each of them without.
        batch: pictures a step, each under a caption drawn anew.
        rate: highest learning rate of AdamW.
        parameters: "cross" is the paper's ESD-x, "full" moves all weights, "low_rank" the attention's only.
        rank: of "low_rank".
        strength: eta, how far beyond the empty prompt the prediction should go; 0 stops there.
        sampling_steps: DDIM steps of a whole picture, of which a random number is taken.
        guidance: weight of the caption in those.
    """

    steps: int = 100
    batch: int = 16
    rate: float = 3e-4
    parameters: str = "cross"
    strength: float = 1.0
    sampling_steps: int = 20
    guidance: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.strength >= 0, f"strength is {self.strength}; give 0 or more.")
        require(1 <= self.sampling_steps <= 999, f"sampling_steps is {self.sampling_steps}; give 1 to 999.")


def concept_erasure(
    pipeline: StableDiffusionPipeline,
    captions: Sequence[str],
    unseen: Sequence[str] = (),
    seed: int = 0,
    config: ConceptErasure = ConceptErasure(),
    known: Known | None = None,
) -> StableDiffusionPipeline:
    """Fine-tune until these captions draw what the first model draws when guided away from them.

    With eps_0 the given model, kept frozen, and x_t a picture on its way under caption c, drawn by the model as it is
    now from fresh noise down to a random step of DDIM:

        minimise |eps(x_t, t, c) - [eps_0(x_t, t, empty) - eta (eps_0(x_t, t, c) - eps_0(x_t, t, empty))]|^2.

    Neither the memorized pictures nor any other are looked at.

    Args:
        pipeline: the model.
        captions: prompts to erase.
        unseen: not used.
        seed: of the captions, the noises and the steps.
        config: how.
        known: not used.

    Returns:
        A pipeline with a U-Net of its own.

    Raises:
        InputError: there is no caption, or a loss is not finite.

    Reference:
        Gandikota et al. 2023 (ESD), arXiv 2303.07345, equation 7 and algorithm 1; ESD-x and ESD-u.

    Differs:
        Many captions at once, for one concept. All pictures of a batch stop at the same step, and t is that step's own
        time, not a random one between it and the next. A model that predicts velocities (SD 2.x) is trained on its own
        prediction: the target is the same, since its weights add up to one, and the error counts 1 / alpha^2 times.
    """
    require(len(captions) > 0, "there is no prompt to defend; give at least one.")
    y, empty = embed(pipeline, captions), embed(pipeline, [""])

    def loss(_: int, tuned: StableDiffusionPipeline, generator: torch.Generator) -> Float[torch.Tensor, ""]:
        rows = torch.randint(len(y), (config.batch,), generator=generator).to(y.device)
        x, time = _on_the_way(tuned, y[rows], config, generator)
        wanted = erased(pipeline, x, time, y[rows], empty.expand_as(y[rows]), config.strength)
        return (tuned.unet(x, time, y[rows]).sample - wanted).float().square().mean()

    return finetune(pipeline, loss, config, seed, "erasing captions")


@torch.no_grad()
def erased(
    pipeline: StableDiffusionPipeline,
    x: Float[torch.Tensor, "b c h w"],
    time: int | Int[torch.Tensor, " b"],
    y: Float[torch.Tensor, "b tokens width"],
    empty: Float[torch.Tensor, "b tokens width"],
    strength: float,
) -> Float[torch.Tensor, "b c h w"]:
    """What the prediction under y should become: the empty prompt's, minus strength times what y adds to it."""
    with_prompt, without = pipeline.unet(torch.cat([x, x]), _twice(time), torch.cat([y, empty])).sample.chunk(2)
    return without - strength * (with_prompt - without)


def _twice(time: int | Int[torch.Tensor, " b"]) -> int | Int[torch.Tensor, " two_b"]:
    return time if isinstance(time, int) else torch.cat([time, time])


def _on_the_way(
    tuned: StableDiffusionPipeline,
    y: Float[torch.Tensor, "b tokens width"],
    config: ConceptErasure,
    generator: torch.Generator,
) -> tuple[Float[torch.Tensor, "b c h w"], int]:
    """Latents that the model has denoised under y down to a random step, and that step's time."""
    last = int(torch.randint(config.sampling_steps, (), generator=generator))
    noise = initial_noise(tuned, [generator] * len(y))
    path = sampling(tuned, y, noise, config.sampling_steps, config.guidance)
    step = next(step for step in path if step.index == last)
    return step.latents, step.time
