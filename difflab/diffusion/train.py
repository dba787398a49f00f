"""Training the U-Net on latents and captions, on whatever device the pipeline is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from jaxtyping import Float, Int

from difflab.diffusion.loss import wanted
from difflab.errors import require
from difflab.progress import progress
from difflab.randomness import numbered, torch_from
from difflab.training.loop import NOWHERE, Keeping, Loss, Plan, optimize
from difflab.training.schedules import constant, cosine, one_cycle

SCHEDULES = {"one-cycle": one_cycle, "cosine": cosine, "constant": constant}


@dataclass(frozen=True)
class Training:
    """How the U-Net is trained.

    Attributes:
        steps: optimizer steps.
        batch: pictures a step.
        rate: highest learning rate of AdamW.
        schedule: "one-cycle" (up for a tenth of the steps, then down along a cosine), "cosine" (down only) or
            "constant".
        weight_decay: of AdamW.
        dropout: fraction of captions replaced by the empty one, for classifier-free guidance.
        ema: decay of the running mean of the weights, which is what is kept; 0 keeps the last weights.
        text: "frozen" leaves the text encoder as it is, "joint" trains it too.
        checkpoint_steps: steps between checkpoints.
        seed: of the order of pictures, times, noise and dropped captions.
    """

    steps: int = 5000
    batch: int = 32
    rate: float = 2e-3
    schedule: str = "one-cycle"
    weight_decay: float = 0.01
    dropout: float = 0.1
    ema: float = 0.999
    text: str = "frozen"
    checkpoint_steps: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.steps >= 0 and self.batch >= 1, "training needs steps >= 0 and batch >= 1.")
        require(self.rate > 0 and self.weight_decay >= 0, "rate must be positive and weight_decay not negative.")
        require(self.schedule in SCHEDULES, f"schedule is {self.schedule!r}; give one of {', '.join(SCHEDULES)}.")
        require(0 <= self.dropout <= 1 and 0 <= self.ema < 1, "dropout lies in [0, 1] and ema in [0, 1).")
        require(self.text in ("frozen", "joint"), f"text is {self.text!r}; frozen or joint.")
        require(self.checkpoint_steps >= 1, "checkpoint_steps is at least 1.")


class Shown(NamedTuple):
    """What one step shows the U-Net.

    Attributes:
        unet: that predicts.
        pictures: places among all different pictures.
        presentations: numbers in the whole training, counted from 0; no two are alike.
        latents: x_t = alpha z + sigma noise.
        times: t.
        prompts: what the text encoder said of the captions.
        wanted: what the U-Net should predict (`difflab.diffusion.loss.wanted`).
    """

    unet: UNet2DConditionModel
    pictures: Int[np.ndarray, " b"]
    presentations: Int[np.ndarray, " b"]
    latents: Float[torch.Tensor, "b c h w"]
    times: Int[torch.Tensor, " b"]
    prompts: Float[torch.Tensor, "b tokens width"]
    wanted: Float[torch.Tensor, "b c h w"]

    def errors(self) -> Float[torch.Tensor, "b c h w"]:
        """The squares of what the prediction, made now, is off by."""
        return (self.unet(self.latents, self.times, self.prompts).sample - self.wanted).square()


Objective = Callable[[Shown], Float[torch.Tensor, ""]]
"""objective(shown): what a step lowers."""


def plain(shown: Shown) -> Float[torch.Tensor, ""]:
    """The mean of all squares."""
    return shown.errors().mean()


class Aim(NamedTuple):
    """What moves, and what it lowers.

    Attributes:
        moving: the weights that are trained, such as adapters; None for all of what is trained.
        objective: of every step.
    """

    moving: Sequence[torch.nn.Parameter] | None = None
    objective: Objective = plain


EVERYTHING = Aim()


def train(
    pipeline: StableDiffusionPipeline,
    latents: Float[torch.Tensor, "pictures c h w"],
    tokens: Int[torch.Tensor, "pictures length"],
    rows: Int[np.ndarray, " rows"],
    config: Training,
    keeping: Keeping = NOWHERE,
    until: int | None = None,
    aim: Aim = EVERYTHING,
) -> Float[np.ndarray, " steps"]:
    """Train in place; the same config gives the same weights, whether interrupted or not.

    Args:
        pipeline: its U-Net is trained, and with text="joint" its text encoder; left in evaluation mode.
        latents: every different picture, encoded once.
        tokens: its caption's token ids.
        rows: the training set: places in latents, one for every copy. An epoch is a permutation of them.
        config: how.
        keeping: where the state is kept, and what is written down on the way (`difflab.diffusion.recorded`).
        until: stop after this many of the steps, to look at the model; the next call goes on from the checkpoint.
        aim: which weights are trained, and what they lower.

    Returns:
        What was lowered, at every step.

    Raises:
        InputError: the training set is empty, or the loss is no longer finite.
    """
    require(len(rows) > 0, "the training set is empty.")
    joint = {"text_encoder": pipeline.text_encoder} if config.text == "joint" else {}
    trained = torch.nn.ModuleDict({"unet": pipeline.unet, **joint})
    trained.train()
    parameters = list(trained.parameters() if aim.moving is None else aim.moving)
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(parameters, config.rate, weight_decay=config.weight_decay, fused=True)
    rate = partial(SCHEDULES[config.schedule], steps=config.steps, rate=config.rate)
    plan = Plan(config.steps, rate, average=config.ema)
    loss = _loss(pipeline, latents, tokens, rows, config, aim.objective)
    end = config.steps if until is None else min(until, config.steps)
    with progress(end, "training") as advance:
        losses = optimize(loss, optimizer, plan, keeping, end, advance=advance)
    trained.requires_grad_(False).eval()
    return losses


def _loss(
    pipeline: StableDiffusionPipeline,
    latents: Float[torch.Tensor, "pictures c h w"],
    tokens: Int[torch.Tensor, "pictures length"],
    rows: Int[np.ndarray, " rows"],
    config: Training,
    objective: Objective,
) -> Loss:
    """Seeded by the step, so that a resumed training needs no state of a generator."""
    unet, text_encoder, scheduler = pipeline.unet, pipeline.text_encoder, pipeline.scheduler
    device, joint, n_times = unet.device, config.text == "joint", scheduler.config.num_train_timesteps
    latents, tokens, empty = latents.to(device), tokens.to(device), _empty(pipeline).to(device)
    with torch.no_grad():
        # The frozen encoder reads every caption once, not once a step.
        states = None if joint else torch.cat([text_encoder(part)[0] for part in tokens.split(1024)])
        empty_state = text_encoder(empty)[0]

    @lru_cache(maxsize=1)
    def order(epoch: int) -> Int[np.ndarray, " rows"]:
        return rows[torch.randperm(len(rows), generator=_generator(config, 2**31 + epoch)).numpy()]

    def loss(step: int) -> Float[torch.Tensor, ""]:
        # Epochs follow each other without a gap.
        presentations = np.arange(step * config.batch, (step + 1) * config.batch)
        places = (divmod(place, len(rows)) for place in presentations.tolist())
        pictures = np.array([order(epoch)[within] for epoch, within in places])
        index = torch.tensor(pictures)
        generator = _generator(config, step)
        z = latents[index]
        noise = torch.randn(z.shape, generator=generator).to(device, z.dtype)
        times = torch.randint(n_times, (len(index),), generator=generator).to(device)
        dropped = (torch.rand(len(index), generator=generator) < config.dropout).to(device)[:, None, None]
        if states is None:
            y = text_encoder(torch.where(dropped[..., 0], empty, tokens[index]))[0]
        else:
            y = torch.where(dropped, empty_state, states[index])
        x, target = scheduler.add_noise(z, noise, times), wanted(scheduler, z, noise, times)
        return objective(Shown(unet, pictures, presentations, x, times, y, target))

    return loss


def _generator(config: Training, number: int) -> torch.Generator:
    """A generator of this number, told apart from those of other seeds."""
    return torch_from(numbered(config.seed, number))


def _empty(pipeline: StableDiffusionPipeline) -> Int[torch.Tensor, "1 length"]:
    tokenizer = pipeline.tokenizer
    found = tokenizer("", padding="max_length", max_length=tokenizer.model_max_length, return_tensors="pt")
    return found["input_ids"]
