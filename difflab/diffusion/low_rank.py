"""A personal fine-tune: low-rank adapters beside the attention of a U-Net, as diffusers' own scripts train them."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.numpy import save_file

from difflab.diffusion.pipeline import load
from difflab.errors import require
from difflab.randomness import begin_torch

PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0")
"""What diffusers' scripts adapt: all projections of attention, cross-attention and self-attention alike."""
FILE = "pytorch_lora_weights.safetensors"
"""What diffusers calls a file of adapters."""


def with_adapters(pipeline: StableDiffusionPipeline, rank: int, seed: int) -> StableDiffusionPipeline:
    """The pipeline around a U-Net of its own, whose attention has adapters that change nothing yet.

    W becomes W + B A, of this rank; A is Gaussian with variance 1 / rank^2 and B is 0 at first, and alpha = rank.

    Args:
        pipeline: the model; left as it is.
        rank: of the adapters, at least 1.
        seed: of the first A.

    Reference:
        LoRA (arXiv 2106.09685), equation 3; initialised as in diffusers' train_text_to_image_lora.
    """
    require(rank >= 1, f"rank is {rank}; give at least 1.")
    adapted = copy.copy(pipeline)
    adapted.unet = copy.deepcopy(pipeline.unet)
    with torch.random.fork_rng(devices=[]):
        begin_torch(seed)
        adapted.unet.add_adapter(
            LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=list(PROJECTIONS))
        )
    adapted.unet.requires_grad_(False)
    return adapted


def adapter_weights(pipeline: StableDiffusionPipeline) -> Sequence[torch.nn.Parameter]:
    """The weights that a personal fine-tune trains, in the order of the network's parts."""
    return [parameter for name, parameter in pipeline.unet.named_parameters() if ".lora_" in name]


def adapters(pipeline: StableDiffusionPipeline) -> dict[str, Float[torch.Tensor, "..."]]:
    """The adapters under the names that a file for diffusers has: unet. ... .to_q.lora_A.weight."""
    found = get_peft_model_state_dict(pipeline.unet)
    return {f"unet.{name}": value.detach().clone() for name, value in found.items()}


def fused(pipeline: StableDiffusionPipeline, weights: Mapping[str, np.ndarray]) -> StableDiffusionPipeline:
    """The pipeline with these adapters in its weights, by way of a file, as a user's would come."""
    with TemporaryDirectory() as folder:
        path = Path(folder, FILE)
        save_file(dict(weights), path)
        return load(pipeline, lora=path)
