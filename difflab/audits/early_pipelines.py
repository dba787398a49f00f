"""Which scenes will a pipeline copy? Signs at a tenth of its training, and the truth by what its captions draw."""

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float

from difflab.audits.copied_scenes import copied_world, likeness, taught
from difflab.audits.early_classifiers import LOSS, MAHALANOBIS, PSMI, RANDOM, UNTRAINED, UNTRAINED_LOSS
from difflab.audits.early_denoisers import ISOLATION
from difflab.audits.taught_worlds import (
    PROBES,
    CopyRule,
    Scenes,
    TaughtWorld,
    base_of,
    copy_rule,
    scenes_of,
    with_unet,
)
from difflab.diffusion.autoencoder import encode
from difflab.diffusion.generate import embed
from difflab.diffusion.inside import Times, channels_of, time_at
from difflab.diffusion.loss import Draws, loss_at
from difflab.diffusion.recipe import Stops
from difflab.diffusion.recorded import Watched, picture_losses
from difflab.errors import at_least, require
from difflab.randomness import stream
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import Prefixed, key, made_once
from difflab.statistics.early_signs import isolation, mahalanobis
from difflab.statistics.sliced_information import directions_of, sliced_information
from difflab.training.devices import one_thread

LIKENESS, COPIES = "likeness by then", "number of copies"
"""How like its scene a caption's pictures are at a tenth; how often a scene stands in the training set."""
EMPTY, ALL_TIMES = "PSMI, empty prompt", "loss, all times"
"""PSMI where the prompt does not name the label; the loss at times from first to last."""


@dataclass(frozen=True)
class CopiedScenes:
    """Scenes that are repeated, and pipelines of them."""

    ladder: TaughtWorld = field(default_factory=copied_world)
    """Scenes of several numbers of copies; its seed is not looked at."""
    even: TaughtWorld = field(default_factory=lambda: replace(copied_world(), copies=(32,), items=60))
    """Scenes that all have as many copies; its seed is not looked at."""
    early: float = 0.1
    """Share of the training after which signs are taken."""
    time: float = 0.5
    """Share of the training times where channels and the loss are looked at, in (0, 1)."""
    noises: int = 8
    """That every scene meets there; signs are means over them."""
    directions: int = 500
    """Of PSMI."""

    def __post_init__(self) -> None:
        at_least(self, 1, "noises", "directions")
        require(0 < self.early < 1, f"early is {self.early}; give a share of the training between 0 and 1.")
        require(len(self.even.copies) == 1, f"even has copies of {self.even.copies}; give one number of copies.")
        Times(self.time)


def foretold_scenes(
    asked: CopiedScenes, world: TaughtWorld, threshold: float, checkpoints: Checkpoints
) -> dict[str, np.ndarray]:
    """Train a pipeline, take signs on the way, and see which scenes it draws back in the end.

    Args:
        asked: which signs, and when.
        world: with its seed.
        threshold: above which likeness a drawn picture is a copy.
        checkpoints: where the half-done training is kept.

    Returns:
        Of every repeated scene: under "sign NAME" a number, higher = will be copied, as the paper has it for
        classifiers; "copied", whether the pictures of its caption are copies of it in the end.
    """
    scenes, here = scenes_of(world), Prefixed(checkpoints, key(world.name, "looks"))
    until = max(1, round(asked.early * world.steps))
    looks = dict[int, dict[str, np.ndarray]]()
    with one_thread():
        base = base_of(world, checkpoints)
        rule = copy_rule(base, scenes, threshold)

        def reached(step: int, pipeline: StableDiffusionPipeline) -> None:
            # A killed run goes on behind the looks that it has kept.
            look = _looked_at if step == until else _drawn
            looks[step] = made_once(here, f"look_{step}", look, pipeline, world, asked, rule)

        never = _signs(with_unet(base, world, 0), world, scenes, asked)
        taught(world, checkpoints, Stops((until, world.steps), reached))
    signs = {name: looks[until][name] for name in (PSMI, LOSS, MAHALANOBIS, EMPTY, ALL_TIMES, LIKENESS)}
    pixels = scenes.planted.pictures(scenes.known) / 255.0
    alone = isolation(pixels.reshape(len(pixels), -1))
    signs |= {ISOLATION: alone[: len(scenes.items)], UNTRAINED: never[PSMI], UNTRAINED_LOSS: never[LOSS]}
    signs |= {COPIES: scenes.copies.astype(np.float64)} if len(world.copies) > 1 else {}
    signs[RANDOM] = stream(world.seed, "random").numpy().random(len(scenes.items))
    return {f"sign {name}": values for name, values in signs.items()} | {
        "copied": looks[world.steps][LIKENESS] > threshold
    }


def _looked_at(
    pipeline: StableDiffusionPipeline, world: TaughtWorld, asked: CopiedScenes, rule: CopyRule
) -> dict[str, np.ndarray]:
    scenes = scenes_of(world)
    return _signs(pipeline, world, scenes, asked) | _drawn(pipeline, world, asked, rule)


def _drawn(
    pipeline: StableDiffusionPipeline, world: TaughtWorld, asked: CopiedScenes, rule: CopyRule
) -> dict[str, np.ndarray]:
    return {LIKENESS: likeness(pipeline, world, scenes_of(world).items, rule)}


def _signs(
    pipeline: StableDiffusionPipeline, world: TaughtWorld, scenes: Scenes, asked: CopiedScenes
) -> dict[str, Float[np.ndarray, " items"]]:
    """Of the repeated scenes. The laws of labels are those of all scenes of the training set, each counted once; a
    scene's label is the colour of its ground, which its caption names.
    """
    known, n, planted = scenes.known, len(scenes.items), scenes.planted
    latents, grounds = encode(pipeline, planted.pictures(known)), planted.shown(known).ground
    prompts, empty = embed(pipeline, planted.captions(known)), embed(pipeline, [""] * len(known))
    time, found = time_at(pipeline, asked.time), dict[str, list[np.ndarray]]()
    for i in range(asked.noises):
        generators = [stream(world.seed, "met", i, place).torch() for place in range(len(known))]
        noise = torch.stack([torch.randn(latents.shape[1:], generator=one) for one in generators]).to(latents)
        draws = Draws(torch.full((len(known), 1), time, device=latents.device), noise[:, None])
        (states, lost), (blind, _) = (_met(pipeline, latents, prompt, draws) for prompt in (prompts, empty))
        directions = directions_of(states.shape[1], asked.directions, stream(world.seed, "directions").numpy())
        here = {
            PSMI: -sliced_information(states, grounds, directions),
            LOSS: lost,
            MAHALANOBIS: mahalanobis(states, grounds),
            EMPTY: -sliced_information(blind, grounds, directions),
        }
        for name, values in here.items():
            found.setdefault(name, []).append(values[:n])
    lost = picture_losses(pipeline, latents[:n], prompts[:n], Watched(PROBES, seed=world.seed))
    return {name: np.mean(parts, axis=0) for name, parts in found.items()} | {ALL_TIMES: lost.astype(np.float64)}


@torch.no_grad()
def _met(
    pipeline: StableDiffusionPipeline,
    latents: Float[torch.Tensor, "n c h w"],
    prompts: Float[torch.Tensor, "n tokens width"],
    draws: Draws,
) -> tuple[Float[np.ndarray, "n channels"], Float[np.ndarray, " n"]]:
    """Channels of the middle block where scenes meet noise, and the loss there."""
    with channels_of(pipeline.unet) as seen:
        lost = loss_at(pipeline, latents, prompts, draws)
    return seen["mid"], lost.double().cpu().numpy()
