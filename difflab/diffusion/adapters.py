"""Low-rank adapters in a file of their own, fused into the weights of a pipeline."""

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float
from peft.utils.other import get_pattern_key
from safetensors import SafetensorError, safe_open

from difflab.errors import InputError, require

BESIDE = "pytorch_lora_weights.safetensors"
"""How diffusers calls a file of adapters beside a pipeline."""
_PARTS = {
    "lora_unet_": "unet",
    "lora_te_": "text_encoder",
    "lora_te1_": "text_encoder",
    "unet.": "unet",
    "text_encoder.": "text_encoder",
    "": "unet",
}
"""First letters of a name -> the network that it belongs to: kohya's, diffusers', and the oldest ones, of U-Nets."""
_SIDES = re.compile(r"[._]lora(?:_linear_layer)?[._](?P<side>down|up|A|B)(?:\.default)?\.weight$|\.(?P<alpha>alpha)$")


class _Adapter(NamedTuple):
    """What is added to one layer: scale up @ down."""

    up: Float[torch.Tensor, "out rank *kernel"]
    down: Float[torch.Tensor, "rank *in"]
    alpha: float | None


def fuse(pipeline: StableDiffusionPipeline, path: Path) -> None:
    """Add every adapter of a file to the weight that it adapts: W + (alpha / rank) up down.

    Args:
        pipeline: changed in place.
        path: a safetensors file, its names diffusers' or kohya's; alpha is the rank where the file does not say it.

    Raises:
        InputError: the file can't be read, one of its names or shapes is not of this pipeline, or no weight would
            differ afterwards; nothing is changed.

    Reference:
        Hu et al. 2021, arXiv 2106.09685.
    """
    tensors, metadata = _read(path)
    layers = {part: _layers(getattr(pipeline, part)) for part in ("unet", "text_encoder")}
    changes = []
    for (part, name), adapter in _grouped(path, tensors, layers).items():
        weight = layers[part][name][1]
        told = f"{path}: the adapter of {part}.{layers[part][name][0]}"
        up, down = adapter.up.float().flatten(1), adapter.down.float().flatten(1)
        fits = up.shape == (weight.shape[0], len(down)) and down.shape[1] == weight[0].numel() and len(down) > 0
        require(
            fits and (adapter.up.ndim == 2 or adapter.up[0, 0].numel() == 1),
            f"{told} is {tuple(adapter.up.shape)} by {tuple(adapter.down.shape)} and the weight is"
            f" {tuple(weight.shape)}; give adapters of this model.",
        )
        scale = _scale(metadata, part, layers[part][name][0], len(down), adapter.alpha)
        require(math.isfinite(scale) and scale > 0, f"{told} has no finite alpha above 0; save it again.")
        change = (scale * (up @ down)).view_as(weight).to(weight.device)
        fused = (weight.float() + change).to(weight.dtype)
        require(
            bool(fused.isfinite().all()), f"{told} makes weights that are not finite; give float32 or save it again."
        )
        changes.append((weight, fused))
    require(
        any(not torch.equal(weight, fused) for weight, fused in changes),
        f"{path} changes no weight of this pipeline: its adapters are zero, or too small for"
        f" {str(pipeline.unet.dtype).removeprefix('torch.')}; give adapters that were trained, or float32.",
    )
    for weight, fused in changes:
        weight.data.copy_(fused)


def _read(path: Path) -> tuple[dict[str, torch.Tensor], Mapping[str, Any]]:
    """The tensors, and what diffusers says of them in the file's header."""
    require(path.is_file(), f"there is no file {path}; give one of low-rank adapters (.safetensors).")
    require(path.suffix == ".safetensors", f"{path} is no .safetensors file; save the adapters with save_lora_weights.")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = json.loads((file.metadata() or {}).get("lora_adapter_metadata", "{}"))
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(f"{path} is cut short or damaged; fetch or save it again.") from error
    require(bool(tensors), f"{path} holds no adapters; give another file.")
    require(isinstance(metadata, dict), f"{path} has metadata that is no JSON object; save it again.")
    for name, value in tensors.items():
        finite = name.endswith(".alpha") or (value.is_floating_point() and bool(value.isfinite().all()))
        require(finite, f"{path} holds {name}, which is not of finite floating-point numbers; save it again.")
    return tensors, metadata


def _layers(network: torch.nn.Module) -> dict[str, tuple[str, torch.Tensor]]:
    """What can be adapted, by its name with _ for every dot, in which kohya's and diffusers' names agree."""
    kinds = (torch.nn.Linear, torch.nn.Conv2d)
    return {
        name.replace(".", "_"): (name, module.weight)
        for name, module in network.named_modules()
        if isinstance(module, kinds)
    }


def _grouped(
    path: Path, tensors: Mapping[str, torch.Tensor], layers: Mapping[str, Mapping[str, Any]]
) -> dict[tuple[str, str], _Adapter]:
    """The adapters by network and layer; every name of the file is used."""
    pieces: dict[tuple[str, str], dict[str, torch.Tensor]] = defaultdict(dict)
    for name, value in tensors.items():
        found = _SIDES.search(name)
        place = next(_places(name[: found.start()], layers), None) if found else None
        if found is None or place is None:
            why = "which is no low-rank adapter" if found is None else "of which this pipeline has no layer"
            raise InputError(f"{path} holds {name}, {why}; give adapters of this model, of LoRA alone.")
        side = {"A": "down", "B": "up", None: "alpha"}.get(found["side"], found["side"])
        require(side not in pieces[place], f"{path} holds {name} twice, under two names; leave one.")
        pieces[place][side] = value
    adapters = {}
    for (part, layer), have in pieces.items():
        require(
            {"up", "down"} <= have.keys(),
            f"{path} holds half of the adapter of {part}, {layer}; fetch or save it again.",
        )
        alpha = have.get("alpha")
        require(alpha is None or alpha.numel() == 1, f"{path}: alpha of {layer} is no single number; save it again.")
        adapters[part, layer] = _Adapter(have["up"], have["down"], None if alpha is None else float(alpha))
    return adapters


def _places(name: str, layers: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Network and layer that the name of an adapter can mean, what is meant first."""
    start = next(start for start in _PARTS if name.startswith(start))
    part = _PARTS[start]
    flat = name.removeprefix(start).replace(".processor", "").replace(".", "_")
    # Old names of diffusers leave the 0 of to_out.0 out, and transformers no longer says text_model.
    for layer in (flat, f"{flat}_0", flat.removeprefix("text_model_"), f"text_model_{flat}"):
        if layer in layers[part]:
            yield part, layer


def _scale(metadata: Mapping[str, Any], part: str, layer: str, rank: int, alpha: float | None) -> float:
    """alpha / rank, alpha from beside the adapter or from the file's header; kohya's 0, and none, mean the rank."""
    if alpha is not None:
        return alpha / rank if alpha != 0 else 1.0
    told = {name.removeprefix(f"{part}."): value for name, value in metadata.items()}
    try:
        patterns = dict(told.get("alpha_pattern") or {})
        known = patterns.get(get_pattern_key(list(patterns), layer), told.get("lora_alpha", rank))
        return float(known) / (math.sqrt(rank) if told.get("use_rslora") else rank)
    except (TypeError, ValueError, re.error):
        return math.nan
