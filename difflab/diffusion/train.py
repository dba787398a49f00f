"""Training the U-Net on latents and captions: a plain loop that resumes, on whatever device the pipeline is."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from diffusers.training_utils import EMAModel
from jaxtyping import Float, Int, Shaped

from difflab.diffusion.loss import wanted
from difflab.errors import InputError, require
from difflab.progress import progress
from difflab.randomness import numbered
from difflab.runs.results import Checkpoints

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Training:
    """How the U-Net is trained.

    Attributes:
        steps: optimizer steps.
        batch: pictures a step.
        rate: highest learning rate of AdamW.
        schedule: "one-cycle" (up for a tenth of the steps, then down along a cosine) or "cosine" (down only).
        weight_decay: of AdamW.
        dropout: fraction of captions replaced by the empty one, for classifier-free guidance.
        ema: decay of the running mean of the weights, which is what is kept; 0 keeps the last weights.
        text: "frozen" leaves the text encoder as it is, "joint" trains it too.
        checkpoint_steps: steps between checkpoints.
        seed: of the order of pictures, times, noise and dropped captions.
    """

    steps: int = 12_000
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
        require(self.schedule in ("one-cycle", "cosine"), f"schedule is {self.schedule!r}; one-cycle or cosine.")
        require(0 <= self.dropout <= 1 and 0 <= self.ema < 1, "dropout lies in [0, 1] and ema in [0, 1).")
        require(self.text in ("frozen", "joint"), f"text is {self.text!r}; frozen or joint.")
        require(self.checkpoint_steps >= 1, "checkpoint_steps is at least 1.")


def train(
    pipeline: StableDiffusionPipeline,
    latents: Float[torch.Tensor, "pictures c h w"],
    tokens: Int[torch.Tensor, "pictures length"],
    rows: Int[np.ndarray, " rows"],
    config: Training,
    checkpoints: Checkpoints | None = None,
    until: int | None = None,
) -> Float[np.ndarray, " steps"]:
    """Train in place; the same config gives the same weights, whether interrupted or not.

    Args:
        pipeline: its U-Net is trained, and with text="joint" its text encoder; left in evaluation mode.
        latents: every different picture, encoded once.
        tokens: its caption's token ids.
        rows: the training set: places in latents, one for every copy. An epoch is a permutation of them.
        config: how.
        checkpoints: where to keep the state, None for nowhere.
        until: stop after this many of the steps, to look at the model; the next call goes on from the checkpoint.

    Returns:
        The loss of every step.

    Raises:
        InputError: the training set is empty, or the loss is no longer finite.
    """
    require(len(rows) > 0, "the training set is empty.")
    unet, text_encoder, scheduler = pipeline.unet, pipeline.text_encoder, pipeline.scheduler
    device, joint = unet.device, config.text == "joint"
    trained = torch.nn.ModuleDict({"unet": unet, **({"text_encoder": text_encoder} if joint else {})})
    trained.requires_grad_(True).train()
    parameters = list(trained.parameters())
    optimizer = torch.optim.AdamW(parameters, config.rate, weight_decay=config.weight_decay, fused=True)
    ema = EMAModel(parameters, decay=config.ema, foreach=True)
    begin, losses = _resume(checkpoints, parameters, optimizer, ema, config)
    end = config.steps if until is None else min(until, config.steps)
    latents, tokens = latents.to(device), tokens.to(device)
    empty = _empty(pipeline).to(device)
    with torch.no_grad():
        # The frozen encoder reads every caption once, not once a step.
        states = None if joint else torch.cat([text_encoder(part)[0] for part in tokens.split(1024)])
        empty_state = text_encoder(empty)[0]
    n_times = scheduler.config.num_train_timesteps
    permutation = (-1, torch.empty(0, dtype=torch.long))
    with progress(end, "training") as advance:
        advance(begin)
        for step in range(begin, end):
            permutation, index = _batch(rows, step, config, permutation)
            # Seeded by the step, so that a resumed training needs no state of a generator.
            generator = _generator(config, step)
            z = latents[index]
            noise = torch.randn(z.shape, generator=generator).to(device, z.dtype)
            times = torch.randint(n_times, (len(index),), generator=generator).to(device)
            dropped = (torch.rand(len(index), generator=generator) < config.dropout).to(device)[:, None, None]
            if states is None:
                y = text_encoder(torch.where(dropped[..., 0], empty, tokens[index]))[0]
            else:
                y = torch.where(dropped, empty_state, states[index])
            predicted = unet(scheduler.add_noise(z, noise, times), times, y).sample
            loss = (predicted - wanted(scheduler, z, noise, times)).square().mean()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            for group in optimizer.param_groups:
                group["lr"] = _rate(step, config)
            optimizer.step()
            optimizer.zero_grad()
            ema.step(parameters)
            losses[step] = float(loss.detach())
            if not math.isfinite(losses[step]):
                raise InputError(f"the loss is {losses[step]} at step {step}; lower the learning rate.")
            if step + 1 < config.steps and ((step + 1) % config.checkpoint_steps == 0 or step + 1 == end):
                _keep(checkpoints, parameters, optimizer, ema, step + 1, losses)
            advance(1, f"loss {losses[max(0, step - 99) : step + 1].mean():.4f}")
    if config.ema and config.steps:
        ema.copy_to(parameters)
    trained.requires_grad_(False).eval()
    return losses


def _rate(step: int, config: Training) -> float:
    rise = config.steps / 10 if config.schedule == "one-cycle" else 0
    if step < rise:
        return config.rate * (0.04 + 0.96 * step / rise)
    fallen = (step - rise) / max(1.0, config.steps - rise)
    return config.rate * 0.5 * (1 + math.cos(math.pi * fallen))


def _generator(config: Training, number: int) -> torch.Generator:
    """A generator of this number, told apart from those of other seeds."""
    return torch.Generator().manual_seed(numbered(config.seed, number))


def _batch(
    rows: Int[np.ndarray, " rows"], step: int, config: Training, permutation: tuple[int, torch.Tensor]
) -> tuple[tuple[int, torch.Tensor], torch.Tensor]:
    """The step's places in latents; epochs follow each other without a gap."""
    index = []
    for place in range(step * config.batch, (step + 1) * config.batch):
        epoch, within = divmod(place, len(rows))
        if permutation[0] != epoch:
            permutation = (epoch, torch.randperm(len(rows), generator=_generator(config, 2**31 + epoch)))
        index.append(rows[int(permutation[1][within])])
    return permutation, torch.tensor(np.array(index))


def _empty(pipeline: StableDiffusionPipeline) -> Int[torch.Tensor, "1 length"]:
    tokenizer = pipeline.tokenizer
    found = tokenizer("", padding="max_length", max_length=tokenizer.model_max_length, return_tensors="pt")
    return found["input_ids"]


def _keep(
    checkpoints: Checkpoints | None,
    parameters: list[torch.nn.Parameter],
    optimizer: torch.optim.AdamW,
    ema: EMAModel,
    step: int,
    losses: Float[np.ndarray, " steps"],
) -> None:
    if checkpoints is None:
        return
    arrays: Arrays = {"step": np.array(step), "losses": losses}
    for i, (parameter, mean) in enumerate(zip(parameters, ema.shadow_params, strict=True)):
        moments = optimizer.state[parameter]
        arrays |= {
            f"weight.{i}": _array(parameter),
            f"ema.{i}": _array(mean),
            f"first.{i}": _array(moments["exp_avg"]),
            f"second.{i}": _array(moments["exp_avg_sq"]),
        }
    checkpoints.save("training", arrays)


def _resume(
    checkpoints: Checkpoints | None,
    parameters: list[torch.nn.Parameter],
    optimizer: torch.optim.AdamW,
    ema: EMAModel,
    config: Training,
) -> tuple[int, Float[np.ndarray, " steps"]]:
    kept = checkpoints.load("training") if checkpoints else None
    if kept is None:
        return 0, np.zeros(config.steps)
    step, device = int(kept["step"]), parameters[0].device
    for i, (parameter, mean) in enumerate(zip(parameters, ema.shadow_params, strict=True)):
        if kept[f"weight.{i}"].shape != tuple(parameter.shape):
            raise InputError("the checkpoint belongs to a model of another size; give another --out.")
        parameter.data.copy_(torch.from_numpy(kept[f"weight.{i}"]))
        mean.copy_(torch.from_numpy(kept[f"ema.{i}"]))
        optimizer.state[parameter] = {
            "step": torch.tensor(float(step), device=device),
            "exp_avg": torch.from_numpy(kept[f"first.{i}"]).to(device),
            "exp_avg_sq": torch.from_numpy(kept[f"second.{i}"]).to(device),
        }
    ema.optimization_step = step
    return step, kept["losses"]


def _array(tensor: Shaped[torch.Tensor, "..."]) -> Shaped[np.ndarray, "..."]:
    return tensor.detach().cpu().numpy()
