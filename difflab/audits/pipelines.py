"""A pipeline of anybody's, and how pictures are drawn from it: the flags that audits and attacks share."""

import hashlib
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from diffusers import StableDiffusionPipeline
from jaxtyping import UInt8

from difflab import files
from difflab.datasets.captioned import files_of
from difflab.datasets.pixels import each
from difflab.diffusion.memory import memory
from difflab.diffusion.pipeline import SHIPPED, checksum, load
from difflab.diffusion.similarity import Measure, measures
from difflab.errors import require
from difflab.runs.rows import Note
from difflab.training.devices import device

IN_MEMORY = "memory:"
"""How a config names what was given as an object: this, and a checksum of its content."""
_SET = ("scaling", "active_adapters", "disable_adapters", "merged_adapters", "s1", "s2", "b1", "b2")
"""Attributes that change what a network says: of peft's layers, and of blocks under FreeU."""


@dataclass(frozen=True)
class Loaded:
    """The pipeline, and where it runs."""

    model: str = "planted"
    """Directory of a pipeline, the name of a shipped one (planted, oracle), or with --download a hub id."""
    lora: str = ""
    """File of low-rank adapters (.safetensors) to fuse into the pipeline."""
    no_lora: bool = False
    """Leave the adapters that lie beside the pipeline."""
    device: str = "auto"
    """Where the pipeline runs; auto: an accelerator where there is one."""
    dtype: str = "float32"
    """float32, float16 or bfloat16."""
    download: bool = False
    """Fetch a hub id that is not in the local cache."""
    seed: int = 0
    """Of all randomness; defenses look at other noises than those that judge them."""

    def __post_init__(self) -> None:
        require(self.seed >= 0, f"seed is {self.seed}; give at least 0.")
        require(
            self.dtype in ("float32", "float16", "bfloat16"), f"dtype is {self.dtype!r}; float32, float16, bfloat16."
        )
        require(not (self.lora and self.no_lora), "--lora and --no-lora are both given; leave one.")
        device(self.device)

    def load(self, source: str) -> StableDiffusionPipeline:
        """Another pipeline to stand beside this one, where the flags say; one line on stderr says where."""
        return self._load(source, None)

    def opened(self, given: StableDiffusionPipeline | None = None) -> StableDiffusionPipeline:
        """This pipeline, which may be given as an object in memory, with its adapters."""
        lora = self.lora or None
        return self._load(self.model, lora) if given is None else load(given, lora=lora)

    def _load(self, source: str, lora: str | None) -> StableDiffusionPipeline:
        pipeline = load(
            source, lora=lora, no_lora=self.no_lora, device=self.device, dtype=self.dtype, download=self.download
        )
        needs = "" if pipeline.device.type == "cpu" else f"; {memory(pipeline).told}"
        print(f"{source}: on {pipeline.device}{needs}", file=sys.stderr)
        return pipeline


@dataclass(frozen=True)
class OnPipeline(Loaded):
    """The pipeline, where it runs, and how pictures are drawn and compared."""

    seeds: int = 4
    """Pictures drawn for every caption or embedding."""
    steps: int = 20
    """DDIM steps; 50 for a real pipeline."""
    guidance: float = 3.0
    """Weight of the prompt; 7.5 for a real pipeline."""
    sscd: str = ""
    """TorchScript file of SSCD; without it that measure is left out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.seeds >= 2, f"seeds is {self.seeds}; the likeness over seeds needs at least 2.")
        require(1 <= self.steps <= 999, f"steps is {self.steps}; give 1 to 999.")
        require(math.isfinite(self.guidance), f"guidance is {self.guidance}; give a finite number.")

    def measures(self, size: tuple[int, int]) -> tuple[dict[str, Measure], list[Note]]:
        """Every measure at hand for pictures of this height and width, and a note on each that is not for them."""
        known = measures(Path(self.sscd) if self.sscd else None)
        told = " x ".join(map(str, size))
        left_out = [
            Note(f"{name} is left out: pictures of {told} can't be cut in {measure.per_side} along each side.")
            for name, measure in known.items()
            if not measure.fits(size)
        ]
        return {name: measure for name, measure in known.items() if measure.fits(size)}, left_out


def identity(*models: str, others: Sequence[str] = (), data: Sequence[str] = (), download: bool = False) -> str:
    """Checksums of all that is read and decides the numbers; what is in memory stands for itself.

    Args:
        models: directories of pipelines, hub ids, or files of masks; what is empty is left out, as below.
        others: files of prompts, adapters and other things.
        data: folders of pictures with captions.
        download: fetch a hub id that is not in the local cache.

    Raises:
        InputError: one of them is missing.
    """
    sums = []
    for model in _on_disk(models):
        path = Path(model)
        sums.append(files.checksum(path)[:12] if path.is_file() else checksum(model, download))
    for folder in _on_disk(data):
        pictures = [files.checksum(path) for path in files_of(Path(folder))]
        sums.append(files.sha256(" ".join(pictures).encode())[:12])
    return " ".join([*sums, *(files.checksum(Path(other))[:12] for other in _on_disk(others))])


def content(pictures: UInt8[np.ndarray, "n h w 3"], captions: Sequence[str]) -> str:
    """How a config names pictures with captions in memory."""
    found = hashlib.sha256()
    for picture in each(pictures):
        found.update(picture.tobytes())
    found.update(repr(tuple(captions)).encode())
    return IN_MEMORY + found.hexdigest()[:12]


def _on_disk(sources: Sequence[str]) -> list[str]:
    return [source for source in sources if source and not source.startswith(IN_MEMORY)]


def named(model: str | Path | StableDiffusionPipeline) -> tuple[str, dict[str, StableDiffusionPipeline]]:
    """How a config names a model, and what must be handed to the run beside it: an object in memory, or nothing.

    The shipped pipeline is known by its content, so that its oracle and its truth come with it.
    """
    if not isinstance(model, StableDiffusionPipeline):
        return str(model), {}
    name = in_memory(model)
    return ("planted", {}) if name == in_memory(load(SHIPPED, device="cpu")) else (name, {"pipeline": model})


def in_memory(pipeline: StableDiffusionPipeline) -> str:
    """How a config names this pipeline: by a checksum of its weights and settings, wherever it came from."""
    found = hashlib.sha256()
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        for name, value in part.state_dict().items():
            found.update(name.encode())
            # bfloat16, which numpy does not know, loses nothing in float32.
            found.update(value.detach().cpu().float().numpy().tobytes())
        # What is set on a network and stands in no weight: adapters that are not fused, and FreeU.
        for name, module in part.named_modules():
            told = [f"{setting}={getattr(module, setting)}" for setting in _SET if getattr(module, setting, None)]
            found.update(f"{name} {told}".encode() if told else b"")
    text = pipeline.text_encoder.config.to_dict()
    for settings in (pipeline.scheduler.config, pipeline.unet.config, pipeline.vae.config, text):
        found.update(repr(sorted((name, str(value)) for name, value in settings.items() if name[0] != "_")).encode())
    tokenizer = pipeline.tokenizer
    words = json.loads(tokenizer.backend_tokenizer.to_str())
    # How it was asked last.
    for setting in ("padding", "truncation"):
        del words[setting]
    found.update(f"{json.dumps(words, sort_keys=True)} {tokenizer.model_max_length}".encode())
    return IN_MEMORY + found.hexdigest()[:12]
