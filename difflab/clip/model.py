"""A CLIP model with the tokenizer and the image transform that belong to it: a small one, or any of open_clip's.

A saved model is a folder in open_clip's own format (`open_clip_config.json`, weights in safetensors, the tokenizer's
files), which `open_clip.create_model_and_transforms("local-dir:FOLDER")` loads, too.
"""

import contextlib
import copy
import json
import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import open_clip
import torch
from jaxtyping import Float, Int, UInt8
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors.torch import save
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torchvision.transforms.functional import normalize
from transformers import PreTrainedTokenizerFast

from difflab.errors import InputError, require
from difflab.files import json_bytes, write_atomically
from difflab.randomness import begin_torch
from difflab.training.devices import device as find_device

CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
_PAD, _UNKNOWN, _BEGIN, _END = "<pad>", "<unknown>", "<begin>", "<end>"
_LIKE = ("mean", "std", "interpolation", "resize_mode", "size")
"""Of a preprocessing, as open_clip calls it."""


@dataclass(frozen=True)
class Architecture:
    """Sizes of the small model.

    Attributes:
        side: width and height of a picture in pixels.
        patch: of the vision transformer, in pixels; divides the side.
        width: of both transformers, a multiple of 32, the width of an attention head.
        layers: of each.
        embedding: dimensions that pictures and captions share.
        context: tokens of a caption, begin and end included.
    """

    side: int = 32
    patch: int = 8
    width: int = 64
    layers: int = 3
    embedding: int = 64
    context: int = 12

    def __post_init__(self) -> None:
        require(self.side % self.patch == 0, f"patches of {self.patch} pixels do not fill a side of {self.side}.")
        require(self.width % 32 == 0 and self.width > 0, f"width is {self.width}; give a multiple of 32.")
        require(
            min(self.layers, self.embedding) >= 1 and self.context >= 3, "layers, embedding or context is too small."
        )


class Clip(NamedTuple):
    """A model and what its inputs go through.

    Attributes:
        model: open_clip's.
        tokenizer: captions -> token ids.
        transform: a PIL image -> what the model sees.
        config: as the folder's open_clip_config.json holds it.
    """

    model: Any
    tokenizer: Callable[..., Int[torch.Tensor, "n context"]]
    transform: Callable[[Image.Image], Float[torch.Tensor, "3 h w"]]
    config: dict[str, Any]

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device


def build(architecture: Architecture, vocabulary: Sequence[str], seed: int) -> Clip:
    """A small CLIP with fresh weights, registered with open_clip under its own name.

    Args:
        architecture: its sizes.
        vocabulary: words that become one token each; others become one that means unknown.
        seed: of the weights.
    """
    size = len(vocabulary) + 4
    heads = architecture.width // 32
    vision = {"image_size": architecture.side, "patch_size": architecture.patch, "head_width": 32}
    # Named, so that open_clip takes the tokenizer that lies in the folder.
    text = {"context_length": architecture.context, "vocab_size": size, "heads": heads, "hf_tokenizer_name": "words"}
    both = {"width": architecture.width, "layers": architecture.layers}
    preprocess = asdict(PreprocessCfg(size=architecture.side))
    config = {
        "model_cfg": {"embed_dim": architecture.embedding, "vision_cfg": vision | both, "text_cfg": text | both},
        "preprocess_cfg": preprocess | {"mean": list(preprocess["mean"]), "std": list(preprocess["std"])},
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / CONFIG).write_bytes(json_bytes(config))
        _word_tokenizer(vocabulary, architecture.context).save_pretrained(folder)
        tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
        registered = f"difflab-{architecture.width}x{architecture.layers}-{architecture.side}-{size}"
        _register(registered, config["model_cfg"])
        with torch.random.fork_rng(devices=[]):
            begin_torch(seed)
            model = _empty(registered)
    return Clip(model.eval(), tokenizer, _transform(config["preprocess_cfg"]), config)


def save_clip(clip: Clip, folder: Path) -> None:
    """Write a model that `build` made, weights last.

    Raises:
        WriteError: the folder can't be written.
    """
    write_atomically(folder / CONFIG, json_bytes(clip.config))
    with tempfile.TemporaryDirectory() as temporary:
        clip.tokenizer.save_pretrained(temporary)  # type: ignore[attr-defined]
        for path in sorted(Path(temporary).iterdir()):
            write_atomically(folder / path.name, path.read_bytes())
    state = {name: value.contiguous() for name, value in clip.model.state_dict().items()}
    write_atomically(folder / WEIGHTS, save(state))


def load_clip(name: str, checkpoint: str = "", preprocess: str = "", device: str = "auto") -> Clip:
    """Load a model from files; nothing is downloaded.

    Args:
        name: a folder in open_clip's format, a JSON file with a model config of open_clip's, or the name of one of its
            models ("ViT-B-32").
        checkpoint: a file of weights; a folder brings its own unless one is given.
        preprocess: how pictures were prepared in training. A folder says so itself. A name needs "default" (what
            open_clip trains with unless told otherwise), one of the name's tags ("openai", "laion2b_s34b_b79k"), or a
            JSON file with mean, std, interpolation, resize_mode.
        device: where to put it; "auto" is an accelerator where there is one.

    Raises:
        InputError: a file is missing or of another architecture, or the preprocessing is unknown.
    """
    folder, place = Path(name) if Path(name).is_dir() else None, find_device(device)
    if folder:
        require(not preprocess, f"{folder} says itself how pictures are prepared; leave --preprocess out.")
        config = _folder_config(folder)
        source, path = f"local-dir:{folder}", Path(checkpoint) if checkpoint else folder / WEIGHTS
    else:
        source, model_config = _named_config(name)
        require(bool(checkpoint), f"give the file of {name}'s weights as a checkpoint; nothing is downloaded.")
        config = {"model_cfg": model_config, "preprocess_cfg": _preprocess(source, model_config, preprocess)}
        path = Path(checkpoint)
    require(path.is_file(), f"there is no file of weights {path}.")
    text = config["model_cfg"].get("text_cfg", {})
    from_hub = "hf_model_name" in text or (not folder and ("hf_tokenizer_name" in text or "siglip" in source.lower()))
    require(not from_hub, f"{name} takes parts from a hub; give a folder in open_clip's format that holds them.")
    try:
        transform = _transform(config["preprocess_cfg"])
        model = _empty(source)
        _check_positions(model, path)
        open_clip.load_checkpoint(model, str(path), weights_only=True)
        tokenizer = open_clip.get_tokenizer(source)
        # Some tokenizers are found lacking only when they are asked.
        tokenizer(["a"])
        model = model.to(place)
    except Exception as error:
        # torch, safetensors, pickle and open_clip each have their own exceptions for what does not fit.
        first = str(error).strip().split("\n")[0].split(". ")[0][:200]
        raise InputError(f"{path} can't be loaded as {name} on {device}: {first or type(error).__name__}.") from error
    for own, value in model.state_dict().items():
        require(bool(value.isfinite().all()), f"{path} holds NaN or infinite weights in {own}.")
    return Clip(model.eval().requires_grad_(False), tokenizer, transform, config)


def prepared(clip: Clip, pictures: UInt8[np.ndarray, "n h w 3"]) -> Float[torch.Tensor, "n 3 _ _"]:
    """What the model sees of pictures in memory: all at once where they have its size, else one by one."""
    size = clip.config["preprocess_cfg"]["size"]
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if pictures.shape[1:3] != sides:
        return torch.stack([clip.transform(Image.fromarray(picture)) for picture in pictures])
    scaled = torch.from_numpy(pictures).movedim(-1, 1).float() / 255
    return normalize(scaled, clip.config["preprocess_cfg"]["mean"], clip.config["preprocess_cfg"]["std"])


def embed_images(clip: Clip, pixels: Float[torch.Tensor, "n 3 h w"], batch: int = 250) -> Float[np.ndarray, "n d"]:
    """Pictures in the space they share with captions, of length 1."""
    with torch.no_grad():
        parts = [clip.model.encode_image(part.to(clip.device), normalize=True) for part in pixels.split(batch)]
    return torch.cat(parts).float().cpu().numpy()


def embed_texts(clip: Clip, captions: Sequence[str], batch: int = 500) -> Float[np.ndarray, "n d"]:
    """Captions in the space they share with pictures, of length 1."""
    ids = clip.tokenizer(list(captions))
    with torch.no_grad():
        parts = [clip.model.encode_text(part.to(clip.device), normalize=True) for part in ids.split(batch)]
    return torch.cat(parts).float().cpu().numpy()


def _word_tokenizer(vocabulary: Sequence[str], context: int) -> PreTrainedTokenizerFast:
    """One token a word; the end has the largest id, where CLIP's text tower reads its output."""
    listed = [_PAD, _UNKNOWN, _BEGIN, *vocabulary, _END]
    require(len(set(listed)) == len(listed), "the vocabulary holds a word twice.")
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(listed)}, unk_token=_UNKNOWN))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = [(_BEGIN, listed.index(_BEGIN)), (_END, listed.index(_END))]
    words.post_processor = processors.TemplateProcessing(single=f"{_BEGIN} $A {_END}", special_tokens=special)
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token=_PAD,
        unk_token=_UNKNOWN,
        bos_token=_BEGIN,
        eos_token=_END,
        model_max_length=context,
    )


def _empty(source: str) -> torch.nn.Module:
    """A model without a checkpoint; open_clip would warn of that."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        return open_clip.create_model(
            source, load_weights=False, pretrained_image=False, pretrained_text=False, output_dict=True
        )
    finally:
        logging.disable(before)


def _check_positions(model: torch.nn.Module, path: Path) -> None:
    """open_clip would stretch the position embeddings of another size without a word."""
    given, own = open_clip.factory.load_state_dict(str(path), weights_only=True), model.state_dict()
    for name in own.keys() & given.keys():
        if name.endswith("positional_embedding") and own[name].shape != given[name].shape:
            raise ValueError(f"{name} has shape {tuple(given[name].shape)} there and {tuple(own[name].shape)} here")


def _transform(preprocess: dict[str, Any]) -> Callable[[Image.Image], Float[torch.Tensor, "3 h w"]]:
    return image_transform_v2(PreprocessCfg(**preprocess), is_train=False)


def _folder_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        config = {"model_cfg": config["model_cfg"], "preprocess_cfg": config["preprocess_cfg"]}
        PreprocessCfg(**config["preprocess_cfg"])
        config["preprocess_cfg"]["mean"], config["preprocess_cfg"]["std"]
        vision = config["model_cfg"]["vision_cfg"]
    except FileNotFoundError as error:
        raise InputError(f"{folder} holds no {CONFIG}; give a folder in open_clip's format.") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} does not say a model and how its pictures are prepared (preprocess_cfg).") from error
    size = config["preprocess_cfg"].get("size") or vision.get("image_size", 224)
    config["preprocess_cfg"]["size"] = size
    return config


def _named_config(name: str) -> tuple[str, dict[str, Any]]:
    """What open_clip calls the model, and its config; a JSON file is registered under its stem."""
    source, found = name, None
    if name.endswith(".json"):
        require(Path(name).is_file(), f"there is no model config {name}.")
        source = Path(name).stem
        with contextlib.suppress(ValueError, RecursionError):
            found = json.loads(Path(name).read_text("utf-8"))
        parts = {"embed_dim", "vision_cfg", "text_cfg"}
        # A file that is no config must not be taken for open_clip's own model of its name.
        found = found if isinstance(found, dict) and parts <= found.keys() else None
        if found is not None:
            _register(source, found)
    elif ":" not in source:
        # "hf-hub:..." would be fetched.
        found = open_clip.get_model_config(source)
    if found is None:
        raise InputError(
            f"{name} is no folder, no JSON file with a model config and no model of open_clip "
            "(open_clip.list_models() names them)."
        )
    return source, copy.deepcopy(found)


def _register(name: str, model: dict[str, Any]) -> None:
    """Make a model config known to open_clip, which reads every file that it was ever given again with each new one."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.json"
        path.write_bytes(json_bytes(model))
        open_clip.add_model_config(path)


def _preprocess(name: str, model: dict[str, Any], asked: str) -> dict[str, Any]:
    size = {"size": model["vision_cfg"].get("image_size", 224)}
    tags = open_clip.list_pretrained_tags_by_model(name)
    known = ", ".join(["default", *tags])
    require(bool(asked), f"a checkpoint does not say how its pictures were prepared; give --preprocess ({known}).")
    if asked == "default":
        return asdict(PreprocessCfg()) | size
    if asked in tags:
        tag = open_clip.get_pretrained_cfg(name, asked)
        own = bool(model.get("quick_gelu", False))
        require(
            bool(tag.get("quick_gelu", False)) == own,
            f"{name} and its weights {asked} differ in their activation; give {name}-quickgelu, or drop that ending.",
        )
        return asdict(PreprocessCfg()) | size | {key: tag[key] for key in _LIKE if key in tag}
    try:
        stated = json.loads(Path(asked).read_text(encoding="utf-8"))
        require({"mean", "std"} <= set(stated) <= set(_LIKE), f"{asked} must hold mean and std, and may hold {_LIKE}.")
        return asdict(PreprocessCfg(**(size | stated)))
    except FileNotFoundError as error:
        raise InputError(
            f"there is no preprocessing {asked} of {name}; give one of {known}, or a JSON file."
        ) from error
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{asked} can't be read as JSON with mean and std.") from error
