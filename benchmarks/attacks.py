"""What attacking many targets at once saves, beside one attack after another on the same model, machine and run.

    .venv/bin/python benchmarks/attacks.py

Dori, 10 steps of 8 draws, on 16 targets, each under a mask of its own: every value neuron off with probability 0.05. In
one batch, against 16 single attacks with the same generators and masks. CPU seconds of the process and wall-clock
seconds, best of two, then how far apart the embeddings lie, in units of the step that the attack took.
"""

import time
from collections.abc import Callable, Sequence

import torch
from diffusers import StableDiffusionPipeline

from difflab.diffusion.attacks.dori import Dori, dori
from difflab.diffusion.autoencoder import encode
from difflab.diffusion.defended import Defended
from difflab.diffusion.generate import embed
from difflab.diffusion.pipeline import SHIPPED, load
from difflab.diffusion.pruning import Mask, value_layers
from synthetic.plan import Plan, draw

TARGETS, OFF = 16, 0.05
CONFIG = Dori(keep=(10,), batch=8)


def main() -> None:
    """Print the table."""
    planted = draw(Plan())
    index = planted.where("unique")[:TARGETS]
    pipeline = load(SHIPPED)
    start, latents = embed(pipeline, planted.captions(index)), encode(pipeline, planted.pictures(index))
    masks = [random_mask(pipeline, seed) for seed in range(TARGETS)]

    def attack(which: Sequence[int]) -> torch.Tensor:
        rows, generators = list(which), [torch.Generator().manual_seed(i) for i in which]
        met = Defended(pipeline, start[rows], [masks[i] for i in rows])
        found = dori(met, latents[rows], generators, CONFIG)[-1].embeddings
        assert found is not None
        return found

    def one_by_one() -> torch.Tensor:
        return torch.cat([attack([i]) for i in range(TARGETS)])

    print(f"on {torch.get_num_threads()} threads")
    batched, (cpu, wall) = best(lambda: attack(range(TARGETS)))
    single, (cpu_single, wall_single) = best(one_by_one)
    row("16 targets in one batch", f"{cpu:.2f} s of CPU, {wall:.2f} s")
    row("16 targets one by one", f"{cpu_single:.2f} s of CPU, {wall_single:.2f} s")
    row("the batch takes", f"{cpu / cpu_single:.0%} of the CPU time, {wall / wall_single:.0%} of the time")
    apart = (batched - single).flatten(1).norm(dim=1) / (single - start).flatten(1).norm(dim=1)
    row("largest difference, in steps of the attack", f"{float(apart.max()):.1e}")


def row(name: str, value: str) -> None:
    """One line of the table."""
    print(f"  {name:45s}{value}")


def random_mask(pipeline: StableDiffusionPipeline, seed: int) -> Mask:
    """Some value neurons of all blocks."""
    generator, found = torch.Generator().manual_seed(seed), {}
    for name in value_layers(pipeline.unet, ("down", "mid", "up")):
        shape = pipeline.unet.get_parameter(name).shape
        found[name] = (torch.rand((shape[0], 1), generator=generator) < OFF).expand(shape).clone()
    return found


def best(function: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, tuple[float, float]]:
    """What it returns, and the fewest CPU and wall-clock seconds of two calls, after one to warm up."""
    found = function()
    cpu, wall = [], []
    for _ in range(2):
        begin = time.process_time(), time.perf_counter()
        function()
        cpu.append(time.process_time() - begin[0])
        wall.append(time.perf_counter() - begin[1])
    return found, (min(cpu), min(wall))


if __name__ == "__main__":
    main()
