"""A pipeline of anybody's, and how pictures are drawn from it: the flags that audits and attacks share."""

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

from diffusers import StableDiffusionPipeline

from difflab import files
from difflab.diffusion.pipeline import SHIPPED, checksum, load
from difflab.diffusion.similarity import Measure, measures
from difflab.errors import require

IN_MEMORY = "memory:"
"""How a config names what was given as an object: this, and a checksum of its content."""


@dataclass(frozen=True)
class OnPipeline:
    """The pipeline, where it runs, and how pictures are drawn and compared."""

    model: str = "planted"
    """Directory of a pipeline, the name of a shipped one (planted, oracle), or with --download a hub id."""
    seeds: int = 4
    """Pictures drawn for every caption or embedding."""
    steps: int = 20
    """DDIM steps; 50 for a real pipeline."""
    guidance: float = 3.0
    """Weight of the prompt; 7.5 for a real pipeline."""
    sscd: str = ""
    """TorchScript file of SSCD; without it that measure is left out."""
    device: str = "auto"
    """Where the pipeline runs; auto: an accelerator where there is one."""
    dtype: str = "float32"
    """float32, float16 or bfloat16."""
    download: bool = False
    """Fetch a hub id that is not in the local cache."""
    seed: int = 0
    """Of all randomness; defenses look at other noises than those that judge them."""

    def __post_init__(self) -> None:
        require(self.seeds >= 2, f"seeds is {self.seeds}; the likeness over seeds needs at least 2.")
        require(
            self.dtype in ("float32", "float16", "bfloat16"), f"dtype is {self.dtype!r}; float32, float16, bfloat16."
        )

    def load(self, source: str) -> StableDiffusionPipeline:
        """This pipeline, or another one to stand beside it, where the flags say; one line on stderr says where."""
        pipeline = load(source, device=self.device, dtype=self.dtype, download=self.download)
        print(f"{source}: on {pipeline.device}", file=sys.stderr)
        return pipeline

    def measures(self) -> dict[str, Measure]:
        """Every measure at hand."""
        return measures(Path(self.sscd) if self.sscd else None)


def identity(*sources: str) -> str:
    """Checksums of the pipelines, and of the files, that decide the numbers; what is in memory stands for itself.

    Raises:
        InputError: one of them is missing.
    """
    sums = []
    for source in filter(None, sources):
        if source.startswith(IN_MEMORY):
            continue
        path = Path(source)
        sums.append(files.checksum(path)[:12] if path.is_file() else checksum(source))
    return " ".join(sums)


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
    for settings in (pipeline.scheduler.config, pipeline.unet.config, pipeline.vae.config):
        found.update(repr(sorted((name, str(value)) for name, value in settings.items() if name[0] != "_")).encode())
    return IN_MEMORY + found.hexdigest()[:12]
