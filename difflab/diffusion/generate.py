"""Embeddings in, pictures out: deterministic DDIM with classifier-free guidance, batched over prompts and seeds.

A pipeline with another scheduler of diffusers is drawn from with that one, as `difflab.diffusion.samplers` has them.
"""

import inspect
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float, Int, UInt8
from torch.utils.checkpoint import checkpoint

from difflab.diffusion.autoencoder import decode
from difflab.diffusion.batch_sizes import fitting, with_gradients
from difflab.diffusion.loss import as_noise
from difflab.diffusion.masks import AnyMask, masked, of_weights
from difflab.diffusion.pipeline import latent_size
from difflab.diffusion.samplers import STOCHASTIC
from difflab.diffusion.tokens import tokens
from difflab.errors import require
from difflab.progress import progress
from difflab.randomness import torch_from


class Step(NamedTuple):
    """One step of sampling.

    Attributes:
        index: 0 for the first, noisiest one.
        time: the training time t, between 0 and 999.
        latents: what was denoised.
        conditional, unconditional: predicted noise with the prompt and with the empty one.
        denoised: the latents of the next step.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody calls here
    time: int
    latents: Float[torch.Tensor, "b c h w"]
    conditional: Float[torch.Tensor, "b c h w"]
    unconditional: Float[torch.Tensor, "b c h w"]
    denoised: Float[torch.Tensor, "b c h w"]


class Begin(NamedTuple):
    """Where drawing begins, if not at pure noise.

    Attributes:
        latents: x_t, one per picture.
        time: t, one of the times of the steps; those before it are left out.
    """

    latents: Float[torch.Tensor, "n c h w"]
    time: int


@torch.no_grad()
def embed(pipeline: StableDiffusionPipeline, captions: Sequence[str]) -> Float[torch.Tensor, "n tokens width"]:
    """The text encoder's last hidden states, one row per caption; a caption longer than it reads is cut."""
    return embed_tokens(pipeline, tokens(pipeline.tokenizer, captions))


@torch.no_grad()
def embed_tokens(
    pipeline: StableDiffusionPipeline, ids: Int[torch.Tensor, "n tokens"]
) -> Float[torch.Tensor, "n tokens width"]:
    """The same of token ids, as `difflab.diffusion.tokens.tokens` gives them."""
    if len(ids) == 0:
        # The encoder can't reshape nothing.
        config = pipeline.text_encoder.config
        return torch.zeros((0, ids.shape[1], config.hidden_size), dtype=pipeline.text_encoder.dtype)
    parts = ids.to(pipeline.text_encoder.device).split(1024)
    return torch.cat([pipeline.text_encoder(part)[0] for part in parts])


def seeded(n: int, seeds: Sequence[int]) -> list[torch.Generator]:
    """One CPU generator per picture, for n prompts times len(seeds): prompt 0 with every seed, then prompt 1, ...

    The k-th seed means the same initial noise for every prompt, as in the papers.
    """
    return [torch_from(seed) for _ in range(n) for seed in seeds]


def initial_noise(
    pipeline: StableDiffusionPipeline, generators: Sequence[torch.Generator]
) -> Float[torch.Tensor, "n c h w"]:
    """x_T ~ N(0, 1), row i from generator i alone, drawn on the CPU so that every device sees the same."""
    unet = pipeline.unet
    shape = (unet.config.in_channels, *latent_size(pipeline))
    return torch.stack([torch.randn(shape, generator=generator) for generator in generators]).to(
        unet.device, unet.dtype
    )


def differentiable_sampling(
    pipeline: StableDiffusionPipeline,
    embeddings: Float[torch.Tensor, "b tokens width"],
    noise: Float[torch.Tensor, "b c h w"],
    steps: int = 20,
    guidance: float = 3.0,
    time: int | None = None,
    generators: Sequence[torch.Generator] = (),
) -> Iterator[Step]:
    """Denoise step by step; prompt and empty prompt share each call of the network.

    eps = eps(x, t, empty) + guidance (eps(x, t, y) - eps(x, t, empty)), then a step of the scheduler: DDIM's with
    eta = 0, unless the pipeline has another one. Where gradients are wanted they flow through every step to the noise
    and the embeddings. Every step of a small model stays in memory for them; of a large one (`with_gradients`) one step
    at a time is computed again, with the same result, so the backward pass belongs inside what masks the network.

    Args:
        pipeline: the model; its scheduler is set to these steps.
        embeddings: one prompt per picture, of as many tokens as the empty prompt or more; the empty prompt gives none
            of its attention to the surplus.
        noise: x_T, one per picture, or x_t where a time is given.
        steps: of the scheduler, in [1, 999], with one network call each (PNDM makes one more). They lie as Stable
            Diffusion's do: evenly, from T (1 - 1 / steps) down to 1, so that few steps begin far from pure noise.
        guidance: weight w of the prompt: 1 is the conditional model, 0 the unconditional one.
        time: t of the step to begin with; None for the first one.
        generators: one per picture, on the CPU, for schedulers that add noise at every step.

    Raises:
        InputError: there are no such steps, none of them is at this time, the prompts are shorter than the empty one,
            or the scheduler adds noise and there are no generators.
    """
    n_times = pipeline.scheduler.config.num_train_timesteps
    require(1 <= steps < n_times, f"steps is {steps}; give 1 to {n_times - 1}.")
    unet, scheduler = pipeline.unet, pipeline.scheduler
    both, shown = _with_empty(pipeline, embeddings)
    random = _random(scheduler, generators)
    scheduler.set_timesteps(steps, device=unet.device)
    first = 0 if time is None else _place(scheduler, time)
    again = torch.is_grad_enabled() and with_gradients(pipeline) < 2 * steps
    predict = partial(checkpoint, unet, use_reentrant=False) if again else unet
    x = noise * scheduler.init_noise_sigma
    for index, t in enumerate(scheduler.timesteps.tolist()[first:]):
        scaled = scheduler.scale_model_input(x, t)
        conditional, unconditional = predict(torch.cat([scaled, scaled]), t, both, **shown).sample.chunk(2)
        guided = unconditional + guidance * (conditional - unconditional)
        denoised = scheduler.step(guided, t, x, **random).prev_sample
        yield Step(
            index,
            int(t),
            x,
            as_noise(scheduler, conditional, scaled, int(t)),
            as_noise(scheduler, unconditional, scaled, int(t)),
            denoised,
        )
        x = denoised


def _with_empty(
    pipeline: StableDiffusionPipeline, embeddings: Float[torch.Tensor, "b tokens width"]
) -> tuple[Float[torch.Tensor, "two_b tokens width"], dict[str, torch.Tensor]]:
    """Prompts and as many empty ones, and where they differ in length which tokens get attention."""
    n, length, width = embeddings.shape
    empty = embed(pipeline, [""]).to(embeddings)
    surplus = length - empty.shape[1]
    require(surplus >= 0, f"the prompts have {length} tokens, the empty one {empty.shape[1]}; give no fewer.")
    if surplus == 0:
        return torch.cat([embeddings, empty.expand_as(embeddings)]), {}
    filled = torch.cat([empty, empty.new_zeros((1, surplus, width))], dim=1)
    shown = torch.ones((2 * n, length), dtype=torch.bool, device=embeddings.device)
    shown[n:, -surplus:] = False
    return torch.cat([embeddings, filled.expand_as(embeddings)]), {"encoder_attention_mask": shown}


def _random(scheduler: Any, generators: Sequence[torch.Generator]) -> dict[str, list[torch.Generator]]:
    """What the scheduler draws its own noise from."""
    require(
        len(generators) > 0 or not isinstance(scheduler, STOCHASTIC),
        f"{type(scheduler).__name__} adds noise at every step; give a generator for each picture.",
    )
    takes = "generator" in inspect.signature(scheduler.step).parameters
    return {"generator": list(generators)} if takes and generators else {}


def _place(scheduler: Any, time: int) -> int:
    """Which step is at this time."""
    times = scheduler.timesteps.tolist()
    require(
        time in times and scheduler.init_noise_sigma == 1,
        f"no step of {type(scheduler).__name__} is at t = {time} of x_t = alpha z + sigma noise; draw with DDIM and as"
        " many steps as the latents were made for.",
    )
    first = times.index(time)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(first)
    return first


@torch.no_grad()
def sampling(
    pipeline: StableDiffusionPipeline,
    embeddings: Float[torch.Tensor, "b tokens width"],
    noise: Float[torch.Tensor, "b c h w"],
    steps: int = 20,
    guidance: float = 3.0,
    time: int | None = None,
    generators: Sequence[torch.Generator] = (),
) -> Iterator[Step]:
    """`differentiable_sampling` for reading only: no gradients, and no step stays in memory."""
    yield from differentiable_sampling(pipeline, embeddings, noise, steps, guidance, time, generators)


def batches(
    pipeline: StableDiffusionPipeline,
    embeddings: Float[torch.Tensor, "n tokens width"],
    generators: Sequence[torch.Generator],
    steps: int,
    guidance: float,
    at_once: int,
    noise: Float[torch.Tensor, "m c h w"] | None = None,
    time: int | None = None,
) -> Iterator[tuple[Int[torch.Tensor, " b"], Iterator[Step]]]:
    """Of every batch of pictures, whose embedding each one has, and the steps of `sampling` them, run when asked for.

    Every embedding has the same number of generators, or of rows of the noise where that is given, in the order of
    `seeded`. With a time the noise is x_t instead of x_T.
    """
    n = len(generators) if noise is None else len(noise)
    owner = torch.arange(n) * len(embeddings) // max(1, n)
    for start in range(0, n, at_once):
        rows, part = owner[start : start + at_once], slice(start, start + at_once)
        begin = initial_noise(pipeline, generators[part]) if noise is None else noise[part]
        yield rows, sampling(pipeline, embeddings[rows], begin, steps, guidance, time, generators[part])


def generate(
    pipeline: StableDiffusionPipeline,
    embeddings: Float[torch.Tensor, "n tokens width"],
    generators: Sequence[torch.Generator],
    steps: int = 20,
    guidance: float = 3.0,
    at_once: int | None = None,
    masks: Sequence[AnyMask] | None = None,
    noise: Float[torch.Tensor, "n c _ _"] | Begin | None = None,
) -> UInt8[np.ndarray, "n h w 3"]:
    """Draw pictures.

    Args:
        pipeline: the model.
        embeddings: what `embed` returned, or any tensor of its shape: one row per picture.
        generators: one per picture, on the CPU; picture i depends on embedding i and generator i alone, up to
            rounding. None of them, an empty list, where noise is given.
        steps: DDIM steps, or those of the pipeline's own scheduler.
        guidance: weight of the prompt.
        at_once: pictures drawn in one batch; None for what is `fitting`.
        masks: one for each picture: what is taken away while it is drawn.
        noise: x_T, one per picture, in place of what generators would draw, or where on the way drawing begins.

    Returns:
        n pictures as bytes.

    Raises:
        InputError: there is not one generator, not one noise of the latents' shape, or not one mask, for each
            embedding, there are generators and noise, or as `differentiable_sampling`.
    """
    n, time = len(embeddings), None
    if isinstance(noise, Begin):
        noise, time = noise
    if noise is None:
        require(
            len(generators) == n,
            f"there are {n} embeddings and {len(generators)} generators; give one for each picture.",
        )
    else:
        require(
            len(generators) == 0, "generators and noise are both given; one of them decides where a picture begins."
        )
        shape = (n, pipeline.unet.config.in_channels, *latent_size(pipeline))
        require(noise.shape == shape, f"the noise is {tuple(noise.shape)}; {n} pictures begin at {shape}.")
        noise = noise.to(pipeline.unet.device, pipeline.unet.dtype)
    require(masks is None or len(masks) == len(embeddings), "give one mask for each picture.")
    drawn, at_once = [], at_once or fitting(pipeline)
    with progress(-(-n // at_once) * steps, "steps of drawing", fleeting=True) as advance:
        for rows, path in batches(pipeline, embeddings, generators, steps, guidance, at_once, noise, time):
            here = None if masks is None else [masks[i] for i in rows.tolist()]
            # Prompt and empty prompt share each call.
            here = here and [*here, *of_weights(here)]
            with masked(pipeline.unet, here):
                for step in path:
                    last = step.denoised
                    advance()
            drawn.append(decode(pipeline, last))
    return np.concatenate(drawn)
