"""The weights of one part of a pipeline directory, each accounted for by name, shape and type."""

import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from diffusers import ModelMixin
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from difflab.errors import InputError, require

WRAPPERS = ("module.", "_orig_mod.", "state_dict.", "model.")
"""What wrappers put before every name: DDP, torch.compile, a checkpoint's entry, Lightning."""
_COMPILED, _INNER, _ADAPTER = "_orig_mod.", ".base_layer.", re.compile(r"\.lora_([AB])\.[^.]+\.weight$")
_FLOATS = ("F64", "F32", "F16", "BF16")
_COUNTERS = "position_ids"
"""Whole numbers that old text encoders list among their weights."""
_UNFUSED = "fuse the adapters (fuse_lora, then unload_lora_weights) and save it again"
_CAUSES = {
    ("lora", "base_layer"): f"its adapters are not fused; {_UNFUSED}",
    ("diffusion_model", "first_stage"): "its names are another library's; convert it with from_single_file",
    ("absmax", "quant", "scale_inv"): "it is quantized; save it unquantized",
}
"""What the name of a weight too many usually means; without one of these the file belongs to another model."""


class Weights(NamedTuple):
    """The files of one part, and what their headers say.

    Attributes:
        files: all of them, the first one named in sentences.
        types: name of each weight -> its type, as safetensors calls it.
        variant: of the files' names ("fp16"); None where they have none.
    """

    files: tuple[Path, ...]
    types: Mapping[str, str]
    variant: str | None


def stem(library: str) -> str:
    """How a library calls the file of a model's weights, without its ending."""
    return "model" if library == "transformers" else "diffusion_pytorch_model"


def weights_of(folder: Path, name: str) -> Weights:
    """The files that hold the weights of one part.

    Args:
        folder: of the part.
        name: what `stem` says.

    Raises:
        InputError: there is none, there are several sets of them, one is cut short, or its types are no numbers that
            a network computes with.
    """
    there = sorted(path.name for path in folder.glob("*.safetensors"))
    pattern = re.compile(rf"{re.escape(name)}(?:\.(?P<variant>[\w-]+?))?(?P<shard>-\d+-of-\d+)?\.safetensors")
    matches = {file: pattern.fullmatch(file) for file in there}
    strange = [file for file, found in matches.items() if found is None]
    others = sorted(path.name for path in folder.glob("*") if path.suffix in (".bin", ".pt", ".pth", ".ckpt"))
    require(
        bool(there),
        f"{folder} holds no .safetensors file{f' but {others[0]}' if others else ''}; load the pipeline in diffusers"
        " and save it with save_pretrained(..., safe_serialization=True).",
    )
    if strange:
        raise InputError(f"{folder} holds {strange[0]}; difflab reads {name}.safetensors there, move the other away.")
    variants = {found["variant"]: found["shard"] is not None for found in matches.values() if found is not None}
    variant = None if None in variants else sorted(variants, key=str)[0]
    require(
        None in variants or len(variants) == 1,
        f"{folder} holds {' and '.join(there)}; leave one of them, or save it as {name}.safetensors.",
    )
    chosen = [file for file, found in matches.items() if found is not None and found["variant"] == variant]
    sharded = [file for file in chosen if (found := matches[file]) is not None and found["shard"]]
    require(len(sharded) in (0, len(chosen)), f"{folder} holds {' and '.join(chosen[:2])}; leave one set of files.")
    types = dict[str, str]()
    for file in chosen:
        types |= _header(folder / file)
    if sharded:
        _check_index(folder, name, variant, set(types))
    return Weights(tuple(folder / file for file in chosen), types, variant)


def _header(path: Path) -> dict[str, str]:
    """Name and type of every tensor of a file."""
    require(path.is_file(), f"{path} is no file; fetch or save it again.")
    try:
        with safe_open(path, framework="pt") as file:
            found = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} is cut short or damaged; fetch or save it again.") from error
    require(bool(found), f"{path} holds no weights; fetch or save it again.")
    wrong = [name for name, kind in found.items() if kind not in _FLOATS and not name.endswith(_COUNTERS)]
    if wrong:
        raise InputError(
            f"{path} holds {wrong[0]} as {found[wrong[0]]}; save it as float32, float16 or bfloat16, not quantized."
        )
    return found


def _check_index(folder: Path, name: str, variant: str | None, found: set[str]) -> None:
    path = folder / f"{name}.safetensors.index{f'.{variant}' if variant else ''}.json"
    try:
        listed = set(json.loads(path.read_text("utf-8"))["weight_map"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} can't be read, which says in which file each weight lies; fetch it again.") from error
    gone = sorted(listed - found)
    if gone:
        raise InputError(f"{path} lists {gone[0]}, which no file beside it holds; fetch the missing file.")


def read_network(folder: Path, kind: Any, dtype: torch.dtype) -> Any:
    """One network of a pipeline directory, with every one of its weights from the folder's files.

    Names that diffusers or transformers changed over the years are known to them. What wrappers put before names is
    taken off, and adapters that were not fused and are zero are left out.

    Args:
        folder: holds config.json and the weights.
        kind: the class.
        dtype: what weights are read as.

    Raises:
        InputError: a weight is missing, too many, of another shape or no number; the sentence names it.
    """
    found = weights_of(folder, stem("diffusers" if issubclass(kind, ModelMixin) else "transformers"))
    with _unwrapped(folder, found) as place:
        network, told = kind.from_pretrained(
            place,
            torch_dtype=dtype,
            variant=found.variant,
            use_safetensors=True,
            local_files_only=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    _account(found.files[0], type(network).__name__, told)
    return network


def _account(file: Path, kind: str, told: Mapping[str, Any]) -> None:
    """The first weight that is missing, too many, or of another shape, in one sentence."""
    missing, surplus = sorted(told["missing_keys"]), sorted(told["unexpected_keys"])
    faults = [f"lacks {missing[0]}{_more(missing)}"] if missing else []
    faults += [f"holds {surplus[0]}{_more(surplus)}, which a {kind} has not"] if surplus else []
    for name, was, needed in sorted(told["mismatched_keys"])[:1]:
        faults.append(f"holds {name} as {tuple(was)} where config.json asks for {tuple(needed)}")
    if faults:
        usual = "it is cut short or belongs to another config.json; fetch or save both again"
        known = (why for words, why in _CAUSES.items() for name in surplus for word in words if word in name)
        cause = next(known, usual)
        raise InputError(f"{file} {' and '.join(faults)}: {cause}.")


def _more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


@contextmanager
def _unwrapped(folder: Path, found: Weights) -> Iterator[Path]:
    """The folder itself, or a temporary one that holds the same weights under the names that they had once."""
    names = _plain(found.types)
    if all(name == plain for name, plain in names.items()):
        yield folder
        return
    values = {name: value for file in found.files for name, value in load_file(file).items()}
    kept = dict[str, torch.Tensor]()
    zero = {side: set[str]() for side in "AB"}
    adapted = set[str]()
    for name, value in values.items():
        adapter = _ADAPTER.search(names[name])
        if adapter is None:
            require(names[name] not in kept, f"{found.files[0]} holds {names[name]} twice; save it again.")
            kept[names[name]] = value.contiguous()
        else:
            layer = names[name][: adapter.start()]
            adapted.add(layer)
            if not value.any():
                zero[adapter[1]].add(layer)
    for layer in sorted(adapted - zero["A"] - zero["B"]):
        raise InputError(f"{found.files[0]} holds adapters of {layer}, but not by how much they count; {_UNFUSED}.")
    with tempfile.TemporaryDirectory(prefix="difflab-") as temporary:
        place = Path(temporary)
        shutil.copy(folder / "config.json", place)
        kind = re.split(r"[.-]", found.files[0].name)[0]
        ending = f".{found.variant}.safetensors" if found.variant else ".safetensors"
        save_file(kept, place / f"{kind}{ending}", metadata={"format": "pt"})
        yield place


def _plain(names: Iterable[str]) -> dict[str, str]:
    """Names without what wrappers add: before all of them, or wherever a part was compiled or adapted."""
    names, before = list(names), ""
    while found := [more for more in WRAPPERS if all(name.startswith(before + more) for name in names)]:
        before += found[0]
    return {name: name.removeprefix(before).replace(_COMPILED, "").replace(_INNER, ".") for name in names}
