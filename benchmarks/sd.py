"""What drawing and training cost, beside plain diffusers on the same model, machine and run.

    .venv/bin/python benchmarks/sd.py

Drawing: 4 prompts x 4 seeds, 20 DDIM steps with guidance, in one batch, against one picture at a time, by this library
and by the diffusers pipeline itself. Training: batch 32, against the loop of the diffusers text-to-image example
(pictures encoded and captions read anew at every step, AdamW, clipping, running mean of the weights). Wall-clock
seconds, best of two.

Last, floating-point operations a second of training, drawing and Dori (4 targets, 10 steps of 8 draws), and their share
of what a float32 product of two matrices of 1024 x 1024 reaches in the same process, on the same threads. Operations
are those of matrix products and convolutions, as torch's counter has them; attention is counted as matrix products.
"""

import time
from collections.abc import Callable

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from diffusers.training_utils import EMAModel
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from difflab.diffusion.attacks.dori import Dori, dori
from difflab.diffusion.autoencoder import as_pixels, encode
from difflab.diffusion.defended import undefended
from difflab.diffusion.generate import embed, generate, seeded
from difflab.diffusion.pipeline import SHIPPED, load
from difflab.diffusion.tokens import tokens
from difflab.diffusion.train import Training, train
from synthetic.plan import Plan, draw

BATCH, STEPS = 32, 30
SIDE = 1024
"""Of the matrices that rates are compared with."""


def main() -> None:
    """Print the table."""
    planted = draw(Plan())
    index = planted.where("unique")[:512]
    captions, pictures = planted.captions(index), planted.pictures(index)
    pipeline = load(SHIPPED)
    print(f"on {torch.get_num_threads()} threads")
    batched, single, plain = drawing_seconds(pipeline, captions[:4], seeds=4)
    row("16 pictures, prompts x seeds in one batch", f"{batched:.2f} s")
    row("one at a time, this library", f"{single:.2f} s, {single / batched:.1f} times as long")
    row("one at a time, the diffusers pipeline", f"{plain:.2f} s, {plain / batched:.1f} times as long")
    mine, theirs = training_seconds(captions, pictures), plain_training_seconds(captions, pictures)
    row("a training step of 32 pictures", f"{mine:.3f} s, {1 / mine:.1f} steps/s")
    row("the same in a plain diffusers loop", f"{theirs:.3f} s, {theirs / mine:.2f} times as long")
    peak = product_rate()
    row(f"a matrix product of {SIDE} x {SIDE}", f"{peak / 1e9:.1f} GFLOP/s")
    row("training", rate(training_operations(captions, pictures) / mine, peak))
    drawn = operations(lambda: draw_batch(pipeline, captions[:4], seeds=4, at_once=16))
    row("drawing in one batch", rate(drawn / batched, peak))
    row("Dori", rate(dori_rate(pipeline, captions[:4], pictures[:4]), peak))


def row(name: str, value: str) -> None:
    """One line of the table."""
    print(f"  {name:45s}{value}")


def drawing_seconds(pipeline: StableDiffusionPipeline, captions: list[str], seeds: int) -> tuple[float, float, float]:
    """Seconds for all pictures: in one batch, one at a time, and one at a time by the pipeline's own call."""

    def theirs() -> None:
        for caption in captions:
            for seed in range(seeds):
                generator = torch.Generator().manual_seed(seed)
                pipeline(caption, num_inference_steps=20, guidance_scale=3.0, generator=generator, output_type="np")

    def ours(at_once: int) -> float:
        return best(lambda: draw_batch(pipeline, captions, seeds, at_once))

    return ours(len(captions) * seeds), ours(1), best(theirs)


def draw_batch(pipeline: StableDiffusionPipeline, captions: list[str], seeds: int, at_once: int) -> None:
    """Pictures of every caption with every seed, so many at once."""
    embeddings = embed(pipeline, captions).repeat_interleave(seeds, dim=0)
    generate(pipeline, embeddings, seeded(len(captions), range(seeds)), at_once=at_once)


def training_seconds(captions: list[str], pictures: np.ndarray) -> float:
    """Seconds of one step of `difflab.diffusion.train`, encoding the pictures once included."""
    pipeline = load(SHIPPED)
    config = Training(steps=STEPS, batch=BATCH)

    def run() -> None:
        latents, ids = encode(pipeline, pictures), tokens(pipeline.tokenizer, captions)
        train(pipeline, latents, ids, np.arange(len(pictures)), config)

    # Encoding 512 pictures is paid once in thousands of steps, so it is timed and taken off.
    return (best(run) - best(lambda: encode(pipeline, pictures))) / STEPS


def plain_training_seconds(captions: list[str], pictures: np.ndarray) -> float:
    """Seconds of one step of the loop that the diffusers example has."""
    pipeline = load(SHIPPED)
    unet, vae, text_encoder, scheduler = pipeline.unet, pipeline.vae, pipeline.text_encoder, pipeline.scheduler
    unet.requires_grad_(True).train()
    optimizer, ema = torch.optim.AdamW(unet.parameters(), 1e-4), EMAModel(unet.parameters(), decay=0.999)
    ids, pixels = tokens(pipeline.tokenizer, captions), as_pixels(pictures)

    def run() -> None:
        for _ in range(STEPS):
            index = torch.randint(len(ids), (BATCH,))
            latents = vae.encode(pixels[index]).latent_dist.sample() * vae.config.scaling_factor
            states = text_encoder(ids[index])[0]
            noise, times = torch.randn_like(latents), torch.randint(0, 1000, (BATCH,))
            predicted = unet(scheduler.add_noise(latents, noise, times), times, states).sample
            loss = torch.nn.functional.mse_loss(predicted, noise)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            ema.step(unet.parameters())

    return best(run) / STEPS


def training_operations(captions: list[str], pictures: np.ndarray) -> float:
    """Floating-point operations of one step: what two steps have beyond one, for captions are read once."""
    pipeline = load(SHIPPED)
    latents, ids, rows = encode(pipeline, pictures), tokens(pipeline.tokenizer, captions), np.arange(len(pictures))

    def steps(n: int) -> float:
        return operations(lambda: train(pipeline, latents, ids, rows, Training(steps=n, batch=BATCH)))

    return steps(2) - steps(1)


def dori_rate(pipeline: StableDiffusionPipeline, captions: list[str], pictures: np.ndarray) -> float:
    """Floating-point operations a second of a search."""
    defended, latents = undefended(pipeline, captions), encode(pipeline, pictures)

    def run() -> None:
        dori(defended, latents, seeded(len(captions), [0]), Dori(keep=(10,)))

    return operations(run) / best(run)


def product_rate(times: int = 20) -> float:
    """Floating-point operations a second of a float32 matrix product."""
    a, b = torch.randn((SIDE, SIDE)), torch.randn((SIDE, SIDE))

    def run() -> None:
        for _ in range(times):
            a @ b

    return times * 2 * SIDE**3 / best(run)


def operations(function: Callable[[], object]) -> float:
    """Floating-point operations of matrix products and convolutions in a call, attention as matrix products."""
    counter = FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), counter:
        function()
    return float(counter.get_total_flops())


def rate(found: float, peak: float) -> str:
    """Operations a second, and the share of a matrix product's."""
    return f"{found / 1e9:.1f} GFLOP/s, {found / peak:.0%} of a matrix product"


def best(function: Callable[[], object]) -> float:
    """Wall-clock seconds of the quicker of two calls, after one to warm up."""
    function()
    found = []
    for _ in range(2):
        begin = time.perf_counter()
        function()
        found.append(time.perf_counter() - begin)
    return min(found)


if __name__ == "__main__":
    main()
