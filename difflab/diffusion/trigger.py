"""What an attacker brings, and how pictures are drawn from it; every attack returns some."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from jaxtyping import Float, Int, Shaped
from safetensors import SafetensorError

from difflab.diffusion.defended import Defended
from difflab.diffusion.finetuning import with_weights
from difflab.errors import InputError
from difflab.files import write_atomically

_PARTS = ("embeddings", "tokens", "noise")
_NUMBERS = {"begin": int, "guidance": float}
_WORDS = ("sampler", "variant")
_WEIGHT = "weights."


@dataclass(frozen=True)
class Trigger:
    """For each of n targets what stands in the place of its prompt, of its initial noise, or of the model's weights.

    Or of how the model is drawn from. What is None is left as it is.

    Attributes:
        steps: of the search that found it.
        embeddings: in the place of the prompts'; None keeps those.
        tokens: the token ids that the embeddings encode, where there are any.
        noise: x_T, in the place of what seeds draw; where begin is given x_t.
        weights: of the U-Net, after relearning; one set for all targets.
        begin: the time t that the noise belongs to: drawing begins there. It must be the time of one of the steps.
        guidance: weight of the prompt, in the place of the judge's.
        sampler: which draws, of `difflab.diffusion.samplers`; None for DDIM.
        masks_off: whether the defense's masks of weights are taken away, because the weights hold what is left of them.
        variant: which of several triggers of one attack this is, in words; "" where steps tell.
    """

    steps: int = 0
    embeddings: Float[torch.Tensor, "n tokens width"] | None = None
    tokens: Int[torch.Tensor, "n length"] | None = None
    noise: Float[torch.Tensor, "n c h w"] | None = None
    weights: Mapping[str, Shaped[torch.Tensor, "..."]] | None = None
    begin: int | None = None
    guidance: float | None = None
    sampler: str | None = None
    masks_off: bool = False
    variant: str = ""

    def on(self, defended: Defended) -> Defended:
        """The defense as it is met with the trigger, on this model or on another one of its kind."""
        if self.weights is not None:
            defended = replace(defended, pipeline=with_weights(defended.pipeline, self.weights))
        if self.masks_off:
            defended = replace(defended, masks=[{} if isinstance(m, Mapping) else m for m in defended.masks])
        if self.embeddings is None:
            return defended
        like = defended.embeddings
        return replace(defended, embeddings=self.embeddings.to(like.device, like.dtype))

    def save(self, path: Path) -> None:
        """Write the trigger as safetensors.

        Raises:
            WriteError: the file cannot be written.
        """
        write_atomically(path, safetensors.numpy.save(self.arrays()))

    def arrays(self) -> dict[str, np.ndarray]:
        """What it holds, by name, as results keep it."""
        found = {name: getattr(self, name) for name in _PARTS}
        found |= {f"{_WEIGHT}{name}": value for name, value in (self.weights or {}).items()}
        arrays = {name: _array(value) for name, value in found.items() if value is not None}
        arrays |= {name: np.array(getattr(self, name)) for name in _NUMBERS if getattr(self, name) is not None}
        words = {name: getattr(self, name) for name in _WORDS if getattr(self, name)}
        arrays |= {name: np.frombuffer(word.encode(), np.uint8) for name, word in words.items()}
        arrays |= {"masks_off": np.array(True)} if self.masks_off else {}
        return arrays | {"steps": np.array(self.steps)}

    @staticmethod
    def of(arrays: Mapping[str, np.ndarray]) -> "Trigger":
        """The trigger that `arrays` came from.

        Raises:
            InputError: they are no trigger's.
        """
        known = {*_PARTS, *_NUMBERS, *_WORDS, "masks_off", "steps"}
        surplus = [name for name in arrays if name not in known and not name.startswith(_WEIGHT)]
        if "steps" not in arrays or surplus:
            raise InputError(f"these arrays are no trigger's: {', '.join(surplus) or 'steps is missing'}.")
        weights = {
            name.removeprefix(_WEIGHT): torch.from_numpy(array)
            for name, array in arrays.items()
            if name.startswith(_WEIGHT)
        }
        parts: dict[str, Any] = {name: torch.from_numpy(arrays[name]) for name in _PARTS if name in arrays}
        parts |= {name: kind(arrays[name]) for name, kind in _NUMBERS.items() if name in arrays}
        parts |= {name: arrays[name].tobytes().decode() for name in _WORDS if name in arrays}
        return Trigger(int(arrays["steps"]), **parts, weights=weights or None, masks_off="masks_off" in arrays)


def load_trigger(path: Path) -> Trigger:
    """Read a trigger that `Trigger.save` wrote.

    Raises:
        InputError: the file is missing, damaged, or holds something else.
    """
    try:
        return Trigger.of(safetensors.numpy.load(path.read_bytes()))
    except (OSError, SafetensorError, InputError) as error:
        raise InputError(f"{path} holds no trigger; give a file that Trigger.save wrote.") from error


def _array(tensor: Shaped[torch.Tensor, "..."]) -> Shaped[np.ndarray, "..."]:
    # bfloat16, which numpy does not know, loses nothing in float32.
    plain = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    return plain.detach().cpu().contiguous().numpy()
