"""Weights switched off: NeMo's neurons and Wanda's weights are one type, applied in a context that restores them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from jaxtyping import Bool, Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from difflab.errors import InputError, require
from difflab.files import write_atomically

Mask = Mapping[str, Bool[torch.Tensor, "_ _"]]
"""By the name of the weight in the U-Net, True where it is switched off. A neuron is a whole row."""


def check(unet: UNet2DConditionModel, mask: Mask) -> None:
    """Does this mask fit this U-Net?

    Raises:
        InputError: it names a weight that is not a linear layer's of this U-Net, or has another shape.
    """
    _check(_layers(unet), mask)


def _check(layers: Mapping[str, torch.nn.Linear], mask: Mask) -> None:
    for name, off in mask.items():
        layer = layers.get(name)
        if layer is None:
            raise InputError(f"the mask names {name}, which is no linear weight of this U-Net.")
        require(off.dtype == torch.bool, f"the mask of {name} is {off.dtype}; give torch.bool.")
        shape = tuple(layer.weight.shape)
        require(off.shape == shape, f"the mask of {name} is {tuple(off.shape)}; the weight is {shape}.")


def size(mask: Mask) -> int:
    """Number of weights switched off."""
    return sum(int(off.sum()) for off in mask.values())


def off_fraction(mask: Mask) -> float:
    """Share of the weights that the mask could have switched off in the layers it names; 0 for an empty one."""
    return size(mask) / max(1, sum(off.numel() for off in mask.values()))


def union(masks: Sequence[Mask]) -> dict[str, Bool[torch.Tensor, "_ _"]]:
    """Off where any of the masks is."""
    found: dict[str, Bool[torch.Tensor, "_ _"]] = {}
    for mask in masks:
        for name, off in mask.items():
            found[name] = found[name] | off if name in found else off.clone()
    return found


def save_mask(path: Path, mask: Mask) -> None:
    """Write a mask as safetensors, a byte for each weight."""
    write_atomically(path, save({name: off.to(torch.uint8).contiguous() for name, off in mask.items()}))


def read_mask(path: Path) -> dict[str, Bool[torch.Tensor, "_ _"]]:
    """Read what `save_mask` wrote.

    Raises:
        InputError: there is no such file, or it is not a mask.
    """
    try:
        found = load_file(path)
    except FileNotFoundError as error:
        raise InputError(f"there is no mask {path}.") from error
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} is no safetensors file, or it is cut short.") from error
    require(
        all(off.ndim == 2 and bool(((off == 0) | (off == 1)).all()) for off in found.values()),
        f"{path} is no mask: every tensor must be a matrix of 0 and 1.",
    )
    return {name: off.bool() for name, off in found.items()}


@contextmanager
def pruned(unet: UNet2DConditionModel, masks: Mask | Sequence[Mask] | None) -> Iterator[None]:
    """Switch weights off within the context; on leaving they are the same bits as before, whatever happened.

    Args:
        unet: the network.
        masks: one mask, or one for each row of every batch that the network is called with inside: many differently
            pruned networks in one pass. None leaves the network as it is.

    Raises:
        InputError: a mask does not fit the network; inside, a batch has another number of rows than there are masks.
    """
    if masks is None:
        yield
        return
    if isinstance(masks, Mapping):
        check(unet, masks)
        with _zeroed(unet, masks):
            yield
        return
    different = {id(mask): mask for mask in masks}
    # Looked up once: an attack comes here at every step, with as many masks as targets.
    handles, layers = [], _layers(unet)
    for mask in different.values():
        _check(layers, mask)
    try:
        for name in union(list(different.values())):
            handles.append(layers[name].register_forward_hook(_RowByRow(name, masks)))
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _zeroed(unet: UNet2DConditionModel, mask: Mask) -> Iterator[None]:
    layers = _layers(unet)
    weights = {name: layers[name].weight for name in mask}
    kept = {name: weight.detach().clone() for name, weight in weights.items()}
    try:
        with torch.no_grad():
            for name, weight in weights.items():
                weight.masked_fill_(mask[name].to(weight.device), 0.0)
        yield
    finally:
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(kept[name])


class _RowByRow:
    """A forward hook: row i of the batch as if the weights of mask i were zero."""

    def __init__(self, name: str, masks: Sequence[Mask]) -> None:
        self.name, self.n = name, len(masks)
        different = list({id(mask): mask for mask in masks}.values())
        place = {id(mask): k for k, mask in enumerate(different)}
        self.owner = torch.tensor([place[id(mask)] for mask in masks])
        shape = next(mask[name].shape for mask in different if name in mask)
        nothing = torch.zeros(shape, dtype=torch.bool)
        off = torch.stack([mask.get(name, nothing).cpu() for mask in different])
        self.neurons = off.any(dim=2) if torch.equal(off.any(dim=2), off.all(dim=2)) else None
        self.off = off

    def __call__(
        self,
        layer: torch.nn.Linear,
        inputs: tuple[Float[torch.Tensor, "b *tokens in"]],
        out: Float[torch.Tensor, "b *tokens out"],
    ) -> Float[torch.Tensor, "b *tokens out"]:
        require(len(out) == self.n, f"the batch has {len(out)} rows and there are {self.n} masks; give one for each.")
        if out.ndim == 2:
            return self(layer, (inputs[0][:, None],), out[:, None])[:, 0]
        owner, device = self.owner.to(out.device), out.device
        if self.neurons is not None:
            off = self.neurons.to(device)[owner][:, None]
            return out.masked_fill(off, 0.0) if layer.bias is None else torch.where(off, layer.bias, out)
        weights = layer.weight.masked_fill(self.off.to(device), 0.0)
        found = inputs[0] @ weights.transpose(1, 2)[owner]
        return found if layer.bias is None else found + layer.bias


def _layers(unet: UNet2DConditionModel) -> dict[str, torch.nn.Linear]:
    return {f"{name}.weight": layer for name, layer in unet.named_modules() if isinstance(layer, torch.nn.Linear)}


def value_layers(unet: UNet2DConditionModel, blocks: Sequence[str] = ("down", "mid")) -> list[str]:
    """Names of the weights W_v of cross-attention in these blocks, in the order in which they run."""
    wanted = tuple(f"{block}_block" for block in blocks)
    names = [name for name in _layers(unet) if name.endswith("attn2.to_v.weight") and name.startswith(wanted)]
    order = ("down_blocks", "mid_block", "up_blocks")
    return sorted(names, key=lambda name: order.index(name.split(".")[0]))


def feedforward_layers(unet: UNet2DConditionModel) -> list[str]:
    """Names of the second linear weight of every transformer's feed-forward part."""
    return [name for name in _layers(unet) if name.endswith("ff.net.2.weight")]
