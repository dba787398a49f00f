"""Defense: train the captions away, towards what the model itself would draw when told to avoid them (ESD)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float, Int

from difflab.diffusion.defended import Defended, undefended
from difflab.diffusion.finetuning import Finetuning, Known, finetune
from difflab.diffusion.generate import embed, initial_noise, sampling
from difflab.errors import require


@dataclass(frozen=True)
class ConceptErasure(Finetuning):
    """How captions are erased.

    Attributes:
        steps: optimizer steps; each asks `batch` network rows for gradients, and four times as many without.
        batch: pictures a step, each under a caption drawn anew.
        rate: highest learning rate of AdamW.
        parameters: "cross" is the paper's ESD-x, "full" moves all weights, "low_rank" the attention's only.
        rank: of "low_rank".
        strength: eta, how far beyond the empty prompt the prediction should go; 0 stops there.
        sampling_steps: DDIM steps of a whole picture; each is trained on, in random order, before others are drawn.
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
) -> Defended:
    """Fine-tune until these captions draw what the first model draws when guided away from them.

    With eps_0 the given model, kept frozen, and x_t a picture on its way under caption c, drawn from fresh noise by the
    model as it was when these pictures were begun, at a random step of DDIM:

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
        A pipeline with a U-Net of its own, and nothing taken away.

    Raises:
        InputError: there is no caption, or a loss is not finite.

    Reference:
        Gandikota et al. 2023 (ESD), arXiv 2303.07345, equation 7 and algorithm 1; ESD-x and ESD-u.

    Differs:
        Many captions at once, for one concept. All pictures of a batch stop at the same step, and t is that step's own
        time, not a random one between it and the next. Every step on the way is trained on once, where the paper
        draws a whole picture for each; the weights that drew it are up to `sampling_steps` steps old, and it costs a
        quarter. A model that predicts velocities (SD 2.x) is trained on its own prediction: the target is the same,
        since its weights add up to one, and the error counts 1 / alpha^2 times.
    """
    require(len(captions) > 0, "there is no prompt to defend; give at least one.")
    y, empty = embed(pipeline, captions), embed(pipeline, [""])
    on_the_way: list[_OnTheWay] = []

    def loss(_: int, tuned: StableDiffusionPipeline, generator: torch.Generator) -> Float[torch.Tensor, ""]:
        if not on_the_way:
            on_the_way.extend(_drawn(tuned, y, config, generator))
        x, time, rows = on_the_way.pop()
        wanted = erased(pipeline, x, time, y[rows], empty.expand_as(y[rows]), config.strength)
        return (tuned.unet(x, time, y[rows]).sample - wanted).float().square().mean()

    tuned = finetune(pipeline, loss, config, seed, "erasing captions")
    return undefended(tuned, captions)


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


class _OnTheWay(NamedTuple):
    """Latents that the model has denoised for some steps, the time they are at, and whose prompt they were given."""

    x: Float[torch.Tensor, "b c h w"]
    time: int
    rows: Int[torch.Tensor, " b"]


@torch.no_grad()
def _drawn(
    tuned: StableDiffusionPipeline,
    y: Float[torch.Tensor, "n tokens width"],
    config: ConceptErasure,
    generator: torch.Generator,
) -> list[_OnTheWay]:
    """A batch of pictures at all steps of their way, in random order."""
    rows = torch.randint(len(y), (config.batch,), generator=generator).to(y.device)
    noise = initial_noise(tuned, [generator] * len(rows))
    path = sampling(tuned, y[rows], noise, config.sampling_steps, config.guidance)
    found = [_OnTheWay(step.latents, step.time, rows) for step in path]
    return [found[i] for i in torch.randperm(len(found), generator=generator).tolist()]
