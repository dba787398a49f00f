"""Defense: as many value neurons as another defense takes, drawn at random. What it stops, any pruning stops."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import StableDiffusionPipeline

from difflab.diffusion.defended import Defended, pruned
from difflab.diffusion.pruning import Mask, value_layers
from difflab.errors import require
from difflab.randomness import numpy_from


@dataclass(frozen=True)
class RandomNeurons:
    """How many.

    Attributes:
        neurons: number for each caption, or one number for all.
        blocks: parts of the U-Net whose cross-attention they are drawn from: "down", "mid", "up".
    """

    neurons: tuple[int, ...] = (10,)
    blocks: tuple[str, ...] = ("down", "mid")

    def __post_init__(self) -> None:
        require(len(self.neurons) > 0 and min(self.neurons) >= 0, "numbers of neurons are not negative.")

    @classmethod
    def as_many(cls, other: Defended, blocks: tuple[str, ...]) -> "RandomNeurons":
        """For each prompt as many as another defense switches off, from these blocks."""
        return cls(
            tuple(sum(int(off.any(dim=1).sum()) for off in mask.values()) for mask in other.switched_off), blocks
        )


def random_neurons(
    pipeline: StableDiffusionPipeline,
    captions: Sequence[str],
    unseen: Sequence[str] = (),
    seed: int = 0,
    config: RandomNeurons = RandomNeurons(),
) -> Defended:
    """One mask for each caption: rows of W_v in cross-attention, any as likely as any other.

    Args:
        pipeline: the model.
        captions: n prompts.
        unseen: not used.
        seed: of the draw.
        config: how many.

    Raises:
        InputError: there is not one number for each caption, or there are not so many neurons.
    """
    layers = value_layers(pipeline.unet, config.blocks)
    shapes = {name: pipeline.unet.get_parameter(name).shape for name in layers}
    total = sum(shape[0] for shape in shapes.values())
    numbers = config.neurons * len(captions) if len(config.neurons) == 1 else config.neurons
    require(len(numbers) == len(captions), f"{len(numbers)} numbers for {len(captions)} captions; give one for each.")
    require(max(numbers, default=0) <= total, f"there are {total} value neurons; ask for no more.")
    generator = numpy_from(seed)
    masks = list[Mask]()
    for number in numbers:
        off = torch.zeros(total, dtype=torch.bool)
        off[torch.from_numpy(generator.permutation(total)[:number])] = True
        parts = zip(layers, off.split([shape[0] for shape in shapes.values()]), strict=True)
        masks.append({name: part[:, None].expand(shapes[name]).clone() for name, part in parts if part.any()})
    return pruned(pipeline, captions, masks)
