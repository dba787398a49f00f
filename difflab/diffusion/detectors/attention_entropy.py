"""Detector: how widely cross-attention spreads over the tokens of the prompt."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Bool, Float

from difflab.diffusion.attention import cross_attentions
from difflab.diffusion.batch_sizes import AT_ONCE
from difflab.diffusion.sampled_once import Look, see
from difflab.diffusion.tokens import unpadded
from difflab.errors import InapplicableError, require
from difflab.statistics.scores import Scores


@dataclass(frozen=True)
class AttentionEntropy:
    """How the entropy is measured.

    Attributes:
        kind: "D" is the entropy of the last fifth of the steps plus the change of the summary tokens' part of it since
            the first one; "layer" is the entropy of one layer at the first step, and runs no other.
        layer: which one for kind "layer", counted from 0 in the order in which they run.
        steps: DDIM steps, in [2, 999].
        guidance: weight of the prompt while sampling.
        at_once: pictures drawn in one batch. The probabilities of all layers are held at once: 128 are right for the
            small model, a few for SD 1.x.
    """

    kind: str = "D"
    layer: int = 3
    steps: int = 20
    guidance: float = 3.0
    at_once: int = AT_ONCE

    def __post_init__(self) -> None:
        require(self.kind in ("D", "layer"), f"kind is {self.kind!r}; give D or layer.")
        require(self.layer >= 0, f"layer is {self.layer}; count from 0.")
        require(2 <= self.steps <= 999, f"steps is {self.steps}; give 2 to 999.")
        require(self.at_once >= 1, f"at_once is {self.at_once}; give at least 1.")


def attention_entropy(
    pipeline: StableDiffusionPipeline,
    captions: Sequence[str],
    seeds: Sequence[int],
    config: AttentionEntropy = AttentionEntropy(),
    latents: Float[torch.Tensor, "n c h w"] | None = None,
) -> Scores:
    """Score captions by the entropy of the attention that their tokens get.

    a_i(t) = attention to token i with the prompt, averaged over heads, pixels and layers; e_i = -a_i log a_i;
    E(t) = sum of e_i over all tokens, S(t) = over the summary tokens (the end token and the padding);
    D = mean over the last fifth of the steps of E(t) + |S(t) - S(T)|, T being the first step.

    Args:
        pipeline: the model.
        captions: n prompts, at least one.
        seeds: initial noises, at least one; every caption is drawn with each of them and the scores are averaged.
        config: how.
        latents: not used.

    Returns:
        One score per caption in nats, higher = more memorized. At most log(tokens) for kind "layer".

    Raises:
        InputError: there is no caption or no seed, or the U-Net has no such layer.
        InapplicableError: the U-Net has no cross-attention.

    Reference:
        Ren et al. 2024 (ECCV), arXiv 2403.11052: D, and the entropy of one layer.

    Differs:
        20 DDIM steps with guidance 3 for the paper's 50 with 7.5. The change is an absolute value, as in the paper;
        the published code leaves the sign. Every layer weighs the same, whatever its number of pixels.
    """
    n_layers = len(cross_attentions(pipeline.unet))
    if n_layers == 0:
        raise InapplicableError("the U-Net has no cross-attention, so no token gets any.")
    require(
        config.kind == "D" or config.layer < n_layers,
        f"layer is {config.layer} and the U-Net has {n_layers} layers of cross-attention; give 0 to {n_layers - 1}.",
    )
    look = Look(config.steps, config.guidance, config.at_once, 1 if config.kind == "layer" else None, attention=True)
    attended = see(pipeline, captions, seeds, look).attended
    assert attended is not None
    if config.kind == "layer":
        scores = torch.special.entr(attended.by_layer[config.layer]).sum(dim=1)
    else:
        lengths = torch.tensor([len(ids) for ids in unpadded(pipeline.tokenizer, captions)])
        summary = torch.arange(attended.by_step.shape[2]) >= lengths[:, None] - 1
        scores = _d(torch.special.entr(attended.by_step), summary.repeat_interleave(len(seeds), dim=0))
    return Scores(tuple(captions), scores.view(len(captions), len(seeds)).mean(dim=1).numpy())


def _d(
    terms: Float[torch.Tensor, "steps b tokens"], summary: Bool[torch.Tensor, "b tokens"]
) -> Float[torch.Tensor, " b"]:
    """D of the terms e_i(t), the first step first."""
    last = max(1, len(terms) // 5)
    whole, part = terms.sum(dim=2), (terms * summary).sum(dim=2)
    return whole[-last:].mean(dim=0) + (part[-last:] - part[0]).abs().mean(dim=0)
