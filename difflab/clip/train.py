"""Contrastive training of a small CLIP that resumes, and several models in processes of one thread each."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from open_clip import ClipLoss
from torch.nn.functional import normalize

from difflab.clip.model import Architecture, Clip, build, prepared
from difflab.errors import InputError, require
from difflab.progress import Advance, progress
from difflab.randomness import stream
from difflab.runs.parallel import SPAWN, in_processes
from difflab.runs.results import Checkpoints
from difflab.training.devices import one_thread
from difflab.training.loop import Keeping, Loss, Plan, optimize, silent
from difflab.training.schedules import warmup_cosine

MASKINGS = ("random", "masked")


@dataclass(frozen=True)
class Training:
    """How a model is trained.

    Attributes:
        steps: optimizer steps of the whole schedule.
        stop: steps after which training ends early, at most `steps`; None for all of them.
        batch: pairs a step.
        rate: highest learning rate of AdamW, reached after `warmup` steps and left along a cosine.
        warmup: steps.
        weight_decay: of AdamW, on matrices only (norms, biases and the temperature have none).
        randomized: share of a caption's words replaced at every visit (text randomization, arXiv 2402.02103).
        randomization: "random" replaces them by other words, "masked" by the unknown one.
        scale_cap: largest inverse temperature; 100 in CLIP (arXiv 2103.00020).
        checkpoint_steps: steps between checkpoints.
        seed: of the weights, the order and the replaced words.
    """

    steps: int = 400
    stop: int | None = None
    batch: int = 250
    rate: float = 1e-3
    warmup: int = 20
    weight_decay: float = 0.1
    randomized: float = 0.0
    randomization: str = "random"
    scale_cap: float = 100.0
    checkpoint_steps: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.steps >= 0 and self.batch >= 2, "training needs steps >= 0 and batch >= 2.")
        require(self.stop is None or 0 <= self.stop <= self.steps, f"stop is {self.stop}; give 0 to {self.steps}.")
        require(self.rate > 0 and self.weight_decay >= 0, "rate must be positive and weight_decay not negative.")
        require(self.warmup >= 0 and self.checkpoint_steps >= 1, "warmup is at least 0, checkpoint_steps at least 1.")
        require(0 <= self.randomized <= 1, f"randomized is {self.randomized}; give a share between 0 and 1.")
        require(self.randomization in MASKINGS, f"randomization is {self.randomization!r}; random or masked.")
        require(self.scale_cap >= 1, f"scale_cap is {self.scale_cap}; give at least 1.")


def train(
    clip: Clip,
    pictures: UInt8[np.ndarray, "pairs h w 3"],
    captions: Sequence[str],
    rows: Int[np.ndarray, " rows"],
    config: Training,
    checkpoints: Checkpoints | None = None,
    name: str = "training",
    advance: Advance = silent,
) -> Float[np.ndarray, " steps"]:
    """Train in place; the same config gives the same weights, whether interrupted or not.

    Args:
        clip: its model is trained, and left in evaluation mode.
        pictures: every different one, once.
        captions: one for each.
        rows: the training set: places in pictures, one for every copy. An epoch is a permutation of them.
        config: how.
        checkpoints: where to keep the state, None for nowhere.
        name: of the checkpoint.
        advance: told of the steps done.

    Returns:
        The loss of every step (OpenAI's symmetric cross-entropy, arXiv 2103.00020).

    Raises:
        InputError: the training set is smaller than a batch, or the loss is no longer finite.
    """
    require(len(pictures) == len(captions), f"{len(pictures)} pictures have {len(captions)} captions; give one each.")
    require(len(rows) >= config.batch, f"the training set has {len(rows)} pairs; a batch takes {config.batch}.")
    model = clip.model.requires_grad_(True).train()
    optimizer = _optimizer(model, config)
    rate = partial(warmup_cosine, steps=config.steps, rate=config.rate, warmup=config.warmup)
    plan = Plan(_length(config), rate, clip=None)
    keeping = Keeping(checkpoints, name, config.checkpoint_steps)
    losses = optimize(_loss(clip, pictures, captions, rows, config), optimizer, plan, keeping, advance=advance)
    model.requires_grad_(False).eval()
    return losses


class Job(NamedTuple):
    """One model to be trained, by a process of its own.

    Attributes:
        architecture: its sizes.
        vocabulary: its words.
        training: how it is trained.
        pictures: every different one.
        captions: one for each.
        rows: places in pictures, one for every copy.
    """

    architecture: Architecture
    vocabulary: tuple[str, ...]
    training: Training
    pictures: UInt8[np.ndarray, "pairs h w 3"]
    captions: tuple[str, ...]
    rows: Int[np.ndarray, " rows"]


def train_all(
    jobs: Mapping[str, Job], checkpoints: Checkpoints, workers: int
) -> Iterator[tuple[str, Clip, Float[np.ndarray, " steps"]]]:
    """Train models side by side, one thread each (with more, small models wait for their threads).

    Args:
        jobs: by name: letters, digits, _ and -.
        checkpoints: finished weights are kept there, and half-trained ones; a killed run goes on.
        workers: processes; 1 trains here.

    Returns:
        Name, model and losses, in the order of the jobs.

    Raises:
        InputError: a job can't be trained.
    """
    require(workers >= 1, f"workers is {workers}; give at least 1.")
    missing = {name: job for name, job in jobs.items() if checkpoints.load(name) is None}
    total = sum(_length(job.training) for job in missing.values())
    if missing:
        with progress(total, f"training {len(missing)} models") as advance:
            if workers == 1 or len(missing) == 1:
                for name, job in missing.items():
                    _train_one(name, job, checkpoints, advance)
            else:
                _train_apart(missing, checkpoints, workers, advance)
    for name, job in jobs.items():
        kept = checkpoints.load(name)
        if kept is None:
            raise InputError(f"the weights of {name} have vanished; run the experiment again.")
        losses = kept.pop("losses")
        clip = build(job.architecture, job.vocabulary, job.training.seed)
        clip.model.load_state_dict({part: torch.from_numpy(value) for part, value in kept.items()})
        clip.model.requires_grad_(False)
        yield name, clip, losses


_counter: Any = None


def _train_apart(jobs: Mapping[str, Job], checkpoints: Checkpoints, workers: int, advance: Advance) -> None:
    counter, seen = SPAWN.Value("q", 0), 0

    def tick() -> None:
        nonlocal seen
        now = counter.value
        advance(now - seen)
        seen = now

    arguments = [(name, job, checkpoints) for name, job in jobs.items()]
    for _ in in_processes(_train_one, arguments, workers, _begin, (counter,), tick):
        pass


def _begin(counter: Any) -> None:
    global _counter
    _counter = counter


def _count(n: int = 1, note: str = "") -> None:
    with _counter.get_lock():
        _counter.value += n


def _train_one(name: str, job: Job, checkpoints: Checkpoints, advance: Advance = _count) -> None:
    with one_thread():
        clip = build(job.architecture, job.vocabulary, job.training.seed)
        losses = train(clip, job.pictures, job.captions, job.rows, job.training, checkpoints, f"half_{name}", advance)
    weights = {part: value.cpu().numpy() for part, value in clip.model.state_dict().items()}
    checkpoints.save(name, weights | {"losses": losses})


def _length(config: Training) -> int:
    return config.steps if config.stop is None else config.stop


def _optimizer(model: Any, config: Training) -> torch.optim.AdamW:
    named = list(model.named_parameters())
    matrices = [p for _, p in named if p.ndim >= 2]
    others = [p for _, p in named if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, config.rate, betas=(0.9, 0.98), eps=1e-6, foreach=True)

    def cap(*_: Any) -> None:
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(config.scale_cap))

    optimizer.register_step_post_hook(cap)
    return optimizer


def _loss(
    clip: Clip,
    pictures: UInt8[np.ndarray, "pairs h w 3"],
    captions: Sequence[str],
    rows: Int[np.ndarray, " rows"],
    config: Training,
) -> Loss:
    """Seeded by the step and the epoch, so that a resumed training needs no state of a generator."""
    pixels, tokens = prepared(clip, pictures).to(clip.device), clip.tokenizer(list(captions)).to(clip.device)
    words, contrastive = _words(clip, tokens), ClipLoss()

    @lru_cache(maxsize=1)
    def order(epoch: int) -> Int[np.ndarray, " rows"]:
        return stream(config.seed, "order", epoch).numpy().permutation(rows)

    def loss(step: int) -> Float[torch.Tensor, ""]:
        # What an epoch leaves over for no full batch waits for another one.
        epoch, within = divmod(step, len(rows) // config.batch)
        index = torch.from_numpy(order(epoch)[within * config.batch : (within + 1) * config.batch])
        shown = _randomized(tokens[index], words[index], step, config, clip)
        images = normalize(clip.model.encode_image(pixels[index]), dim=-1)
        texts = normalize(clip.model.encode_text(shown), dim=-1)
        return contrastive(images, texts, clip.model.logit_scale.exp())

    return loss


def _words(clip: Clip, tokens: Int[torch.Tensor, "pairs context"]) -> Bool[torch.Tensor, "pairs context"]:
    """Which tokens are words: all but begin, end and padding."""
    special = clip.tokenizer.tokenizer  # type: ignore[attr-defined]
    marks = [special.pad_token_id, special.bos_token_id, special.eos_token_id]
    return ~torch.isin(tokens, torch.tensor(marks, device=tokens.device))


def _randomized(
    tokens: Int[torch.Tensor, "b context"],
    words: Bool[torch.Tensor, "b context"],
    step: int,
    config: Training,
    clip: Clip,
) -> Int[torch.Tensor, "b context"]:
    """A share of the words replaced."""
    if config.randomized == 0:
        return tokens
    special = clip.tokenizer.tokenizer  # type: ignore[attr-defined]
    generator = stream(config.seed, "words", step).numpy()
    chosen = words & torch.from_numpy(generator.random(tokens.shape) < config.randomized).to(tokens.device)
    if config.randomization == "masked":
        return torch.where(chosen, special.unk_token_id, tokens)
    # The words lie between the begin and the end token.
    other = generator.integers(special.bos_token_id + 1, special.eos_token_id, size=tokens.shape)
    return torch.where(chosen, torch.from_numpy(other).to(tokens.device), tokens)
