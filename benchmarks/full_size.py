"""What a pipeline of Stable Diffusion 1.4's real size needs on a CPU: time and memory of loading, an audit, a search.

    .venv/bin/python benchmarks/full_size.py [--folder FOLDER] [--only load audit search stress]

The weights are random, 860 million of the U-Net, in half precision on disk; the latents are 64 x 64. Every part runs in
a process of its own, with two steps; its peak of resident memory is printed. On two cores without AMX a search of two
steps with two draws took 2 minutes and 7.0 GiB, loading 5.6 GiB. On two others, beside other work, an audit of two
captions and as many unseen ones with two seeds took 9 minutes and 8.5 GiB. By its shapes a GPU needs in half precision
2 GiB for all weights, 1.5 GiB more to draw 8 pictures at once, and 0.71 GiB more for a search of embeddings. No GPU ran
it.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel

import difflab
from difflab.diffusion.attacks.dori import Dori, dori
from difflab.diffusion.defended import undefended
from difflab.diffusion.memory import memory
from difflab.diffusion.tokens import learn_tokenizer
from difflab.runs.peak_memory import peak_memory

CAPTIONS = ("a red moon over a lake", "two green stars", "a blue ring", "a small grey fish")
PARTS = ("load", "audit", "search", "stress")
SMALL = {"seeds": 2, "steps": 2, "device": "cpu"}


def main() -> None:
    """Make the pipeline where it is missing, then run the parts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("results/full_size"))
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.part:
        return measured(asked.part, asked.folder)
    if not (asked.folder / "pipeline" / "model_index.json").is_file():
        make(asked.folder)
    pipeline = difflab.load(asked.folder / "pipeline", device="cpu", dtype="float16")
    print(f"on a GPU, in half precision: {memory(pipeline).told}", flush=True)
    del pipeline
    for part in asked.only:
        command = [sys.executable, __file__, "--folder", str(asked.folder), "--part", part]
        subprocess.run(command, check=True)


def make(folder: Path) -> None:
    """A random Stable Diffusion 1.4, and pictures of its size: four with captions, sixty of no caption's."""
    torch.manual_seed(0)
    tokenizer = learn_tokenizer(CAPTIONS, 77)
    text = CLIPTextConfig(
        vocab_size=49408, hidden_size=768, intermediate_size=3072, projection_dim=768, num_hidden_layers=12,
        num_attention_heads=12, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512), layers_per_block=2, sample_size=512,
    )  # fmt: skip
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False,
        steps_offset=1,
    )  # fmt: skip
    print(f"{sum(value.numel() for value in unet.parameters()) / 1e6:.0f} million weights of the U-Net")
    pipeline = StableDiffusionPipeline(
        vae=vae, text_encoder=CLIPTextModel(text), tokenizer=tokenizer, unet=unet, scheduler=scheduler,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    random = np.random.default_rng(0)
    for name, n in (("pictures", len(CAPTIONS)), ("never", 60)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        lines = []
        for i in range(n):
            coarse = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            coarse.resize((512, 512), Image.Resampling.BICUBIC).save(folder / name / f"{i}.png")
            text_of = CAPTIONS[i] if name == "pictures" else f"something else, number {i}"
            lines.append(json.dumps({"file_name": f"{i}.png", "text": text_of}))
        (folder / name / "metadata.jsonl").write_text("\n".join(lines))
    # Last, for what lies here is not made again.
    pipeline.to(torch.float16).save_pretrained(folder / "pipeline")


def measured(part: str, folder: Path) -> None:
    """One part in this process, and what it took."""
    begin, pictures, never = time.perf_counter(), str(folder / "pictures"), str(folder / "never")
    if part == "load":
        difflab.load(folder / "pipeline", device="cpu")
    elif part == "audit":
        difflab.audit(folder / "pipeline", data=pictures, reference=never, captions=2, **SMALL)
    elif part == "search":
        pipeline = difflab.load(folder / "pipeline", device="cpu")
        latents, random = torch.randn(1, 4, 64, 64), [torch.Generator().manual_seed(0)]
        dori(undefended(pipeline, CAPTIONS[:1]), latents, random, Dori(keep=(2,), batch=2, looks=1))
    else:
        few = {"targets": 2, "held_out": 2, "draws": 1, "retained": 50, "defense": "magnitude"}
        search = {"dori.keep": (0, 2), "dori.batch": 1, "dori.looks": 1}
        difflab.stress(folder / "pipeline", images=pictures, never=never, **few, **search, **SMALL)
    peak = peak_memory()["process"] / 1024
    print(f"{part}: {time.perf_counter() - begin:.0f} s, at most {peak:.1f} GiB", flush=True)


if __name__ == "__main__":
    main()
