"""A pipeline's own text encoder, pre-trained as the text tower of a small CLIP before any U-Net reads it."""

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float, Int, UInt8
from torch.nn.functional import normalize as to_length_one
from transformers import CLIPTextModel, CLIPTokenizer

from difflab.clip.model import Architecture, Clip, build
from difflab.clip.train import Training, train
from difflab.diffusion.tokens import tokens
from difflab.randomness import begin_torch
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import made_once


class Pair(torch.nn.Module):
    """A vision transformer of open_clip's and the text encoder of a pipeline, as `difflab.clip` trains and reads them.

    A caption's place is the state of its end token, which alone has read the whole caption, under a matrix.

    Args:
        visual: pictures -> places.
        text: the encoder itself: what trains the pair trains it.
        embedding: dimensions that pictures and captions share.
    """

    def __init__(self, visual: torch.nn.Module, text: CLIPTextModel, embedding: int) -> None:
        super().__init__()
        self.visual, self.text = visual, text
        self.projection = torch.nn.Linear(text.config.hidden_size, embedding, bias=False)
        self.logit_scale = torch.nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def encode_image(self, pixels: Float[torch.Tensor, "n 3 h w"], normalize: bool = False) -> torch.Tensor:
        """Places of pictures, (n, embedding)."""
        found = self.visual(pixels)
        return to_length_one(found, dim=-1) if normalize else found

    def encode_text(self, ids: Int[torch.Tensor, "n length"], normalize: bool = False) -> torch.Tensor:
        """Places of captions, (n, embedding)."""
        found = self.projection(self.text(input_ids=ids).pooler_output)
        return to_length_one(found, dim=-1) if normalize else found


class _Tokens:
    """A pipeline's tokenizer, as open_clip's are called."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        self.tokenizer = tokenizer

    def __call__(self, captions: Sequence[str]) -> Int[torch.Tensor, "n length"]:
        return tokens(self.tokenizer, captions)


def paired(pipeline: StableDiffusionPipeline, side: int, seed: int) -> Clip:
    """An untrained CLIP around a copy of the pipeline's text encoder.

    Args:
        pipeline: its tokenizer and its text encoder; left as it is.
        side: width and height of the pictures, a multiple of 4.
        seed: of all other weights.
    """
    width = pipeline.text_encoder.config.hidden_size
    small = Architecture(side, patch=4, layers=2, embedding=width, context=pipeline.tokenizer.model_max_length)
    # Only its pictures' half is used.
    other = build(small, (), seed)
    with torch.random.fork_rng(devices=[]):
        begin_torch(seed)
        pair = Pair(other.model.visual, copy.deepcopy(pipeline.text_encoder), width)
    return Clip(pair.eval(), _Tokens(pipeline.tokenizer), other.transform, other.config)


def pretrained_text(
    pipeline: StableDiffusionPipeline,
    pictures: UInt8[np.ndarray, "n side side 3"],
    captions: Sequence[str],
    training: Training,
    checkpoints: Checkpoints,
) -> StableDiffusionPipeline:
    """The pipeline with a text encoder that has learned which caption belongs to which picture.

    It begins at the pipeline's own encoder, so that the two differ by that training alone.

    Args:
        pipeline: left as it is.
        pictures: what the encoder learns from; nothing that it must not have seen.
        captions: one for each.
        training: of the pair.
        checkpoints: where the encoder is kept, and half-trained the pair.

    Raises:
        InputError: there are fewer pictures than a batch takes.

    Differs:
        From the text encoder of Stable Diffusion 1.x in size and data alone; it reads captions in the same way.
    """
    clip = paired(pipeline, pictures.shape[1], training.seed)
    weights = made_once(checkpoints, "text", _trained, clip, pictures, captions, training, checkpoints)
    text: Any = clip.model.text
    text.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    other = copy.copy(pipeline)
    other.text_encoder = text.requires_grad_(False).eval()
    return other


def _trained(
    clip: Clip,
    pictures: UInt8[np.ndarray, "n side side 3"],
    captions: Sequence[str],
    training: Training,
    checkpoints: Checkpoints,
) -> dict[str, np.ndarray]:
    train(clip, pictures, captions, np.arange(len(captions)), training, checkpoints, "half_text")
    return {name: value.cpu().numpy() for name, value in clip.model.text.state_dict().items()}
