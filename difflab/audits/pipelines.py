"""A pipeline of anybody's, and how pictures are asked of it: the flags that audits and attacks share."""

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

from difflab.diffusion.pipeline import SHIPPED, load
from difflab.diffusion.similarity import Measure, measures
from difflab.errors import require


@dataclass(frozen=True)
class Asked:
    """The pipeline, where it runs, and how pictures are drawn and compared."""

    model: str = str(SHIPPED)
    """Directory of a pipeline, or with --download a hub id."""
    seeds: int = 4
    """Pictures drawn for every caption or embedding."""
    steps: int = 20
    """DDIM steps; 50 for a real pipeline."""
    guidance: float = 3.0
    """Weight of the prompt; 7.5 for a real pipeline."""
    sscd: str = ""
    """TorchScript file of SSCD; without it that measure is left out."""
    device: str = "cpu"
    """Where the pipeline runs."""
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
        """This pipeline, or another one to stand beside it, where the flags say."""
        return load(source, self.device, getattr(torch, self.dtype), self.download)

    def measures(self) -> dict[str, Measure]:
        """Every measure at hand."""
        return measures(Path(self.sscd) if self.sscd else None)
