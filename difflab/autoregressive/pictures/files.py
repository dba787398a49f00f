"""A model of picture tokens as a folder: weights, codec, tokenizer of captions, and the sizes."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from transformers import AutoConfig, AutoTokenizer

from difflab.autoregressive.codecs.grid import load_codec, save_codec
from difflab.autoregressive.pictures.model import Network, PictureModel
from difflab.errors import InputError, reason, require
from difflab.files import write_atomically
from difflab.training.devices import device as find_device

CODEC, WEIGHTS = "codec.safetensors", "model.safetensors"


def save_picture_model(model: PictureModel, folder: Path) -> None:
    """Write a model; it is loaded again by `load_picture_model`.

    Raises:
        WriteError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    save_codec(model.codec, folder / CODEC)
    weights = {name: value.detach().cpu().contiguous() for name, value in _state(model.network).items()}
    write_atomically(folder / WEIGHTS, save(weights))
    model.network.config.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)


def load_picture_model(folder: str | Path, device: str = "auto") -> PictureModel:
    """A model for reading and drawing: evaluation mode, no gradients.

    Args:
        folder: what `save_picture_model` wrote.
        device: where it runs; "auto" is an accelerator where there is one.

    Raises:
        InputError: something is missing, cut short, or does not fit the rest; there is no such device.
    """
    place, path = find_device(device), Path(folder)
    require(path.is_dir(), f"there is no folder {folder}; give one that difflab train --tokens wrote.")
    codec = load_codec(path / CODEC)
    try:
        config = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        weights = load((path / WEIGHTS).read_bytes())
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise InputError(f"{folder} holds no whole model of picture tokens: {reason(error)}.") from error
    vocabulary = len(codec.sides) * codec.codes + len(tokenizer)
    require(
        config.vocab_size == vocabulary and config.max_position_embeddings > codec.length,
        f"{folder} holds a codec, a tokenizer and a config.json of different sizes; fetch or save all again.",
    )
    with torch.random.fork_rng(devices=[]):
        network = Network(config, codec)
    shapes = {name: value.shape for name, value in _state(network).items()}
    require(
        {name: value.shape for name, value in weights.items()} == shapes,
        f"{path / WEIGHTS} does not fit config.json and the codec; fetch or save all again.",
    )
    network.load_state_dict(weights, strict=False)
    network.to(place).eval().requires_grad_(False)
    return PictureModel(network, tokenizer, path.resolve().name)


def _state(network: Network) -> dict[str, torch.Tensor]:
    """All weights but the output's, which are the embeddings."""
    tied = network.transformer.get_output_embeddings().weight
    return {
        name: value
        for name, value in network.state_dict().items()
        if not (name.endswith("lm_head.weight") and value.data_ptr() == tied.data_ptr())
    }
