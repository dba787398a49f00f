"""What is done to a model before a measure is asked again: relearning, rounded weights, another sampler."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float

from difflab.diffusion.attacks.quantized_weights import QuantizedWeights, quantized_weights
from difflab.diffusion.attacks.relearning import Relearning, relearning
from difflab.diffusion.defended import undefended
from difflab.diffusion.finetuning import Retained
from difflab.diffusion.samplers import check_sampler, with_sampler
from difflab.errors import require
from difflab.randomness import stream

NOTHING, RELEARNING, BITS, SAMPLER = "nothing", "relearning", "bits", "sampler"


class Change(NamedTuple):
    """One change.

    Attributes:
        kind: nothing, relearning, bits or sampler.
        amount: steps, bits of each weight, or the sampler's name; 0 of nothing.
    """

    kind: str
    amount: int | str

    @property
    def setting(self) -> dict[str, int | str]:
        """As rows say it."""
        return {"change": self.kind, "amount": self.amount}


UNCHANGED = Change(NOTHING, 0)


@dataclass(frozen=True)
class Changes:
    """Which changes, and how far each goes.

    Attributes:
        relearning: numbers of steps on ordinary pictures, rising.
        bits: of every weight, at least 2, falling.
        sampler: that draws in the place of DDIM.
    """

    relearning: tuple[int, ...] = (25, 100)
    bits: tuple[int, ...] = (8, 4)
    sampler: str = "dpm_solver"

    def __post_init__(self) -> None:
        Relearning(keep=self.relearning), QuantizedWeights(self.bits)
        require(min(self.relearning) >= 1, f"relearning is {self.relearning}; give at least 1 step.")
        require(
            all(one > other for one, other in zip(self.bits, self.bits[1:], strict=False)),
            f"bits is {self.bits}; give falling numbers.",
        )
        check_sampler(self.sampler)
        require(self.sampler != "ddim", "pictures are drawn with ddim before the change; give another sampler.")

    def each(self) -> list[Change]:
        """All of them, after no change."""
        steps, bits = [Change(RELEARNING, k) for k in self.relearning], [Change(BITS, b) for b in self.bits]
        return [UNCHANGED, *steps, *bits, Change(SAMPLER, self.sampler)]

    def hardest(self) -> list[Change]:
        """The longest relearning and the coarsest rounding, which every measure meets."""
        return [Change(RELEARNING, self.relearning[-1]), Change(BITS, self.bits[-1])]


class Ordinary(NamedTuple):
    """What relearning sees, and what it must not.

    Attributes:
        retained: ordinary pictures.
        targets: latents of the pictures that measures are asked about; none of them is an ordinary one.
        seed: of the draws, the same for every model.
    """

    retained: Retained
    targets: Float[torch.Tensor, "n c h w"]
    seed: int


def changed(
    pipeline: StableDiffusionPipeline, change: Change, captions: Sequence[str], ordinary: Ordinary
) -> StableDiffusionPipeline:
    """The model after a change; the given one is left as it is.

    Args:
        pipeline: the model.
        change: one of `Changes.each`.
        captions: of the targets.
        ordinary: what relearning sees.

    Raises:
        InputError: an ordinary picture is a target, or the sampler is not for what the network predicts.
    """
    if change.kind == NOTHING:
        return pipeline
    if change.kind == SAMPLER:
        return with_sampler(pipeline, str(change.amount))
    defended, amount = undefended(pipeline, captions), int(change.amount)
    generators = [stream(ordinary.seed, "relearning", i).torch() for i in range(len(captions))]
    if change.kind == BITS:
        (trigger,) = quantized_weights(defended, ordinary.targets, generators, QuantizedWeights((amount,)))
    else:
        config = Relearning(keep=(amount,))
        (trigger,) = relearning(defended, ordinary.targets, generators, config, ordinary.retained)
    return trigger.on(defended).pipeline
