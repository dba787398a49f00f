"""Weights moved until a model no longer copies: the loop that fine-tuned defenses share, and what they may know."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from jaxtyping import Bool, Float, Shaped
from torch.nn.utils import parametrize

from difflab.errors import InputError, require
from difflab.progress import progress
from difflab.randomness import torch_from
from difflab.training.loop import Plan, optimize
from difflab.training.schedules import linear_one_cycle

PARAMETERS = ("full", "cross", "low_rank")

Loss = Callable[[int, StableDiffusionPipeline, torch.Generator], Float[torch.Tensor, ""]]
"""loss(step, pipeline, generator): what this step lowers; the pipeline is the one whose weights move."""


class Known(NamedTuple):
    """What a fine-tuned defense may see beside the captions that it defends.

    Attributes:
        targets: latents of the memorized pictures, in the order of their captions.
        retained: latents of ordinary training pictures, which the model should go on knowing.
        retained_captions: theirs.
        surrogates: latents of what the targets' captions should draw instead, in the same order: other pixels of the
            same meaning, such as the pictures that a pruned model draws. None where there are none.
        regions: which places of each target are to be forgotten, where somebody marked them. None: nobody did. Only
            `negative_preference` looks at them.
    """

    targets: Float[torch.Tensor, "n c h w"]
    retained: Float[torch.Tensor, "m c h w"]
    retained_captions: Sequence[str]
    surrogates: Float[torch.Tensor, "n c h w"] | None = None
    regions: Bool[torch.Tensor, "n h w"] | None = None


class Retained(NamedTuple):
    """Ordinary training pictures, none of them a target: what an attack that relearns may see.

    Attributes:
        latents: of the pictures.
        captions: theirs.
    """

    latents: Float[torch.Tensor, "m c h w"]
    captions: Sequence[str]


@dataclass(frozen=True)
class Finetuning:
    """How weights move; every fine-tuned defense has these, and says what its batch is.

    Attributes:
        steps: optimizer steps; 0 leaves the weights as they are.
        batch: rows a step.
        rate: highest learning rate of AdamW.
        parameters: which weights: "full" all of them, "cross" those of cross-attention, "low_rank" a matrix of low rank
            added to each linear weight of the attention, cross-attention and self-attention alike.
        rank: of those matrices, at most.
    """

    needs: ClassVar[tuple[str, ...]] = ("known",)
    steps: int = 100
    batch: int = 16
    rate: float = 1e-4
    parameters: str = "full"
    rank: int = 4

    def __post_init__(self) -> None:
        require(self.steps >= 0 and self.batch >= 1, "fine-tuning needs steps >= 0 and batch >= 1.")
        require(self.rate > 0, f"rate is {self.rate}; give a positive one.")
        kinds = ", ".join(PARAMETERS)
        require(self.parameters in PARAMETERS, f"parameters is {self.parameters!r}; give one of {kinds}.")
        require(self.rank >= 1, f"rank is {self.rank}; give at least 1.")

    @property
    def rows_a_step(self) -> float:
        """Network rows that a step asks for gradients, on average: the budget that defenses are compared at."""
        return float(self.batch)


def with_weights(
    pipeline: StableDiffusionPipeline, weights: Mapping[str, Shaped[torch.Tensor | np.ndarray, "..."]]
) -> StableDiffusionPipeline:
    """The pipeline around a U-Net of its own with these weights, as somebody kept them (`weights_of`)."""
    tuned = copy.copy(pipeline)
    tuned.unet = copy.deepcopy(pipeline.unet)
    # Arrays of a file may be read-only, and a tensor shares its memory.
    tuned.unet.load_state_dict(
        {name: torch.tensor(value) if isinstance(value, np.ndarray) else value for name, value in weights.items()}
    )
    return tuned


def weights_of(pipeline: StableDiffusionPipeline) -> dict[str, Shaped[np.ndarray, "..."]]:
    """The weights of its U-Net by name, to be kept."""
    return {name: value.detach().cpu().numpy().copy() for name, value in pipeline.unet.state_dict().items()}


def finetune(
    pipeline: StableDiffusionPipeline, loss: Loss, config: Finetuning, seed: int, label: str
) -> StableDiffusionPipeline:
    """Lower a loss by moving the weights of a copy of the U-Net.

    AdamW without weight decay, gradients clipped to the length 1; the rate rises for a tenth of the steps and then
    falls to nothing, both along a line. The network stays in evaluation mode. Matrices of low rank are up * down with
    up = 0 at first, and are added to the weights in the end, so that the network returned is an ordinary one.

    Args:
        pipeline: the model; left as it is.
        loss: of every step; gradients flow from it to the weights that move.
        config: how.
        seed: of the one CPU generator that the loss is given, step after step, and of the first low-rank matrices.
        label: what the progress is called.

    Returns:
        A pipeline with a U-Net of its own; all other parts are those of the given one.

    Raises:
        InputError: a loss is not finite, or no weight is of the kind that should move.
    """
    tuned = copy.copy(pipeline)
    tuned.unet = copy.deepcopy(pipeline.unet)
    generator = torch_from(seed)
    moving = _moving(tuned.unet, config, generator)
    require(len(moving) > 0, f"the U-Net has no weights for parameters={config.parameters!r}.")
    optimizer = torch.optim.AdamW(moving, config.rate, weight_decay=0.0)
    plan = Plan(config.steps, partial(linear_one_cycle, steps=config.steps, rate=config.rate))
    with progress(config.steps, label) as advance:
        optimize(lambda step: loss(step, tuned, generator), optimizer, plan, advance=advance)
    for layer in _attention_layers(tuned.unet):
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    tuned.unet.requires_grad_(False)
    return tuned


def fitting_known(known: Known | None, captions: Sequence[str], surrogates: bool = False) -> Known:
    """What is known, if it is there and its numbers agree.

    Args:
        known: what the defense was given.
        captions: the prompts to defend.
        surrogates: whether the defense cannot do without them.

    Raises:
        InputError: something is missing, or there are not as many latents as captions, or regions that do not fit.
    """
    if known is None:
        raise InputError("this defense needs the memorized pictures and ordinary ones; give known.")
    n, m = len(captions), len(known.retained_captions)
    require(n > 0, "there is no prompt to defend; give at least one.")
    require(len(known.targets) == n, f"there are {len(known.targets)} targets for {n} captions; give one for each.")
    require(m > 0, "there is no retained picture; give at least one.")
    require(len(known.retained) == m, f"there are {len(known.retained)} retained pictures for {m} captions.")
    given = 0 if known.surrogates is None else len(known.surrogates)
    require(not surrogates or given == n, f"there are {given} surrogates for {n} captions; give one for each.")
    if known.regions is not None:
        kind = known.regions.dtype
        require(kind == torch.bool, f"regions are of {kind}; give booleans, True where a picture is to be forgotten.")
        places = (n, *known.targets.shape[2:])
        shape = tuple(known.regions.shape)
        require(shape == places, f"regions have the shape {shape} for targets of {places}; give the same.")
        empty = int((~known.regions.flatten(1).any(dim=1)).sum())
        require(empty == 0, f"{empty} regions hold no place at all; mark at least one in each, or leave regions out.")
    return known


def picked(n: int, k: int, generator: torch.Generator) -> torch.Tensor:
    """k places of n, each as likely, all different where there are enough."""
    rounds = [torch.randperm(n, generator=generator) for _ in range(-(-k // n))]
    return torch.cat(rounds)[:k]


class _LowRank(torch.nn.Module):
    """W becomes W + up down, with up = 0 at first."""

    def __init__(self, weight: Float[torch.Tensor, "out in"], rank: int, generator: torch.Generator) -> None:
        super().__init__()
        down = torch.randn((rank, weight.shape[1]), generator=generator) / weight.shape[1] ** 0.5
        self.down = torch.nn.Parameter(down.to(weight))
        self.up = torch.nn.Parameter(weight.new_zeros((weight.shape[0], rank)))

    def forward(self, weight: Float[torch.Tensor, "out in"]) -> Float[torch.Tensor, "out in"]:
        return weight + self.up @ self.down


def _attention_layers(unet: UNet2DConditionModel) -> list[torch.nn.Linear]:
    """The projections of every attention, in the order of the network's parts."""
    layers = [layer for module in unet.modules() if isinstance(module, Attention) for layer in module.modules()]
    return [layer for layer in layers if isinstance(layer, torch.nn.Linear)]


def _moving(unet: UNet2DConditionModel, config: Finetuning, generator: torch.Generator) -> list[torch.nn.Parameter]:
    """The weights that gradients are asked of, and no others."""
    unet.requires_grad_(False)
    if config.parameters == "low_rank":
        moving: list[torch.nn.Parameter] = []
        for layer in _attention_layers(unet):
            added = _LowRank(layer.weight, config.rank, generator)
            parametrize.register_parametrization(layer, "weight", added)
            moving += [added.down, added.up]
        return moving
    chosen = [p for name, p in unet.named_parameters() if config.parameters == "full" or ".attn2." in name]
    for parameter in chosen:
        parameter.requires_grad_(True)
    return chosen
