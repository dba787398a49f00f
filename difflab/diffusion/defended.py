"""What an attacker meets: every defense returns it, whatever it changes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float

from difflab.diffusion.generate import embed
from difflab.diffusion.masks import AnyMask, of_weights
from difflab.diffusion.pruning import Mask

Rewrite = Callable[[Sequence[str]], Float[torch.Tensor, "n tokens width"]]
MaskOf = Callable[[Sequence[str]], Sequence[AnyMask]]


@dataclass(frozen=True)
class Defended:
    """A model behind a defense, as n prompts meet it.

    Attributes:
        pipeline: the model, as it was or fine-tuned.
        embeddings: what the prompts have become.
        masks: what is taken away while each of them is drawn.
        rewrite: how the defense embeds other prompts; None embeds them as they are.
        mask: what it takes away for other prompts; None gives them the masks of those in whose places they stand.
    """

    pipeline: StableDiffusionPipeline
    embeddings: Float[torch.Tensor, "n tokens width"]
    masks: Sequence[AnyMask]
    rewrite: Rewrite | None = None
    mask: MaskOf | None = None

    @property
    def switched_off(self) -> list[Mask]:
        """The masks of weights; an empty one for a prompt whose tokens are hidden instead."""
        return of_weights(self.masks)

    def of(self, captions: Sequence[str]) -> "Defended":
        """The same defense, met by other prompts: a control must meet what the memorized prompts meet."""
        embeddings = embed(self.pipeline, captions) if self.rewrite is None else self.rewrite(captions)
        if self.mask is not None:
            return replace(self, embeddings=embeddings, masks=list(self.mask(captions)))
        return replace(
            self, embeddings=embeddings, masks=[self.masks[i % len(self.masks)] for i in range(len(captions))]
        )


Prompts = Sequence[str] | Float[torch.Tensor, "n tokens width"]
"""Captions, or what is to stand in the place of their embeddings."""


def embedded(pipeline: StableDiffusionPipeline, prompts: Prompts) -> Float[torch.Tensor, "n tokens width"]:
    """The prompts' embeddings."""
    return prompts if isinstance(prompts, torch.Tensor) else embed(pipeline, prompts)


def pruned(pipeline: StableDiffusionPipeline, prompts: Prompts, masks: Sequence[AnyMask]) -> Defended:
    """Weights switched off: one mask for each prompt."""
    return Defended(pipeline, embedded(pipeline, prompts), list(masks))


def undefended(pipeline: StableDiffusionPipeline, prompts: Prompts) -> Defended:
    """Nothing taken away; the pipeline may be one that was fine-tuned."""
    return pruned(pipeline, prompts, [{}] * max(1, len(prompts)))


def rewritten(pipeline: StableDiffusionPipeline, captions: Sequence[str], rewrite: Rewrite) -> Defended:
    """Prompts that are no longer what was typed."""
    return Defended(pipeline, rewrite(captions), [{}] * max(1, len(captions)), rewrite=rewrite)


def hidden(pipeline: StableDiffusionPipeline, captions: Sequence[str], mask: MaskOf) -> Defended:
    """Masks that are made of each prompt by itself."""
    return Defended(pipeline, embed(pipeline, captions), list(mask(captions)), mask=mask)
