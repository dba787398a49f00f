"""What an attacker brings, and how pictures are drawn from it; every attack returns some."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import safetensors.torch
import torch
from jaxtyping import Float, Int, Shaped
from safetensors import SafetensorError, safe_open

from difflab.diffusion.defended import Defended
from difflab.diffusion.finetuning import with_weights
from difflab.errors import InputError
from difflab.files import write_atomically

_PARTS = ("embeddings", "tokens", "noise")
_WEIGHT = "weights."


@dataclass(frozen=True)
class Trigger:
    """For each of n targets what stands in the place of its prompt, of its initial noise, or of the model's weights.

    Attributes:
        steps: of the search that found it.
        embeddings: in the place of the prompts'; None keeps those.
        tokens: the token ids that the embeddings encode, where there are any.
        noise: x_T, in the place of what seeds draw.
        weights: of the U-Net, after relearning; one set for all targets.
    """

    steps: int = 0
    embeddings: Float[torch.Tensor, "n tokens width"] | None = None
    tokens: Int[torch.Tensor, "n length"] | None = None
    noise: Float[torch.Tensor, "n c h w"] | None = None
    weights: Mapping[str, Shaped[torch.Tensor, "..."]] | None = None

    def on(self, defended: Defended) -> Defended:
        """The defense as it is met with the trigger, on this model or on another one of its kind."""
        if self.weights is not None:
            defended = replace(defended, pipeline=with_weights(defended.pipeline, self.weights))
        if self.embeddings is None:
            return defended
        like = defended.embeddings
        return replace(defended, embeddings=self.embeddings.to(like.device, like.dtype))

    def save(self, path: Path) -> None:
        """Write the trigger as safetensors.

        Raises:
            WriteError: the file cannot be written.
        """
        found = {name: getattr(self, name) for name in _PARTS}
        tensors = {name: value.contiguous().cpu() for name, value in found.items() if value is not None}
        tensors |= {f"{_WEIGHT}{name}": value.contiguous().cpu() for name, value in (self.weights or {}).items()}
        write_atomically(path, safetensors.torch.save(tensors, metadata={"steps": str(self.steps)}))


def load_trigger(path: Path) -> Trigger:
    """Read a trigger that `Trigger.save` wrote.

    Raises:
        InputError: the file is missing, damaged, or holds something else.
    """
    try:
        with safe_open(path, framework="pt") as file:
            steps = int((file.metadata() or {})["steps"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise InputError(f"{path} holds no trigger; give a file that Trigger.save wrote.") from error
    weights = {name.removeprefix(_WEIGHT): value for name, value in tensors.items() if name.startswith(_WEIGHT)}
    surplus = [name for name in tensors if name not in _PARTS and not name.startswith(_WEIGHT)]
    if surplus:
        raise InputError(f"{path} holds {surplus[0]}, which is no part of a trigger.")
    return Trigger(steps, *(tensors.get(name) for name in _PARTS), weights=weights or None)
