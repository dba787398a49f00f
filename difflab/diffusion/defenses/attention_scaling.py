"""Defense: no attention to what follows the last word of the prompt, and more to what precedes the first."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import StableDiffusionPipeline

from difflab.diffusion.defended import Defended, hidden
from difflab.diffusion.masks import AnyMask, TokenMask
from difflab.diffusion.tokens import tokens, unpadded
from difflab.errors import require


@dataclass(frozen=True)
class AttentionScaling:
    """How much more.

    Attributes:
        factor: what the begin token's score is multiplied by, above 0; the paper tries 1.1 to 1.5.
    """

    factor: float = 1.25

    def __post_init__(self) -> None:
        require(0 < self.factor < float("inf"), f"factor is {self.factor}; give a positive number.")


def attention_scaling(
    pipeline: StableDiffusionPipeline,
    captions: Sequence[str],
    unseen: Sequence[str] = (),
    seed: int = 0,
    config: AttentionScaling = AttentionScaling(),
) -> Defended:
    """One mask of tokens for each caption, for every layer of cross-attention at every step.

    The summary tokens, which are the end token and the padding after it, are hidden: with L the length of the prompt,
    begin and end included, those with an index of at least L - 1. The begin token's score q k^T / sqrt(width) is
    multiplied by `factor` before the softmax. The empty prompt of the guidance is left as it is.

    Args:
        pipeline: the model, of which only the tokenizer is looked at.
        captions: n prompts.
        unseen: not used.
        seed: not used.
        config: how much.

    Returns:
        The model under one mask for each prompt; other prompts get masks of their own.

    Reference:
        Ren et al. 2024 (ECCV), arXiv 2403.11052: factor 1.25.

    Differs:
        The factor is taken at its word: where the begin token's score is negative it costs that token attention.
    """

    def mask(captions: Sequence[str]) -> list[AnyMask]:
        length = tokens(pipeline.tokenizer, captions).shape[1]
        lengths = [len(ids) for ids in unpadded(pipeline.tokenizer, captions)]
        return [TokenMask(torch.arange(length) >= n - 1, config.factor) for n in lengths]

    return hidden(pipeline, captions, mask)
