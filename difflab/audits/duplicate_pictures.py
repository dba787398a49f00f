"""Pictures that stand in a training set several times, among pictures of the same source that stand there once; a tiny
pipeline that is trained on them, and the course of its training.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Int

from difflab.audits.blind import blind_features, blind_scores
from difflab.audits.duplicates_found import LEVEL, SAME, found_rows
from difflab.diffusion.architecture import Architecture
from difflab.diffusion.recipe import Material, Recipe, train_pipeline
from difflab.diffusion.recorded import Watched, picture_recorder
from difflab.diffusion.train import Training
from difflab.errors import at_least, require
from difflab.randomness import stream
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import Prefixed, key
from difflab.runs.rows import Row
from difflab.statistics.cartography import SIGNALS, signals
from difflab.statistics.intervals import SHARE, mean
from difflab.statistics.ranking import auc
from difflab.training.devices import one_thread
from difflab.training.recording import Recorder
from synthetic.plan import Plan, draw

SCENES, EMOJI = "scenes", "emoji"
SOURCES = (SCENES, EMOJI)


@dataclass(frozen=True)
class PictureWorld:
    """What stands in the training set how often, and the pipeline that is trained on it."""

    items: int = 8
    """Repeated scenes, and as many repeated emoji."""
    copies: int = 4
    """Of each."""
    once: int = 64
    """Scenes that stand there once, and as many emoji."""
    steps: int = 1000
    """Of the U-Net's training."""
    batch: int = 16
    """Pictures a step."""
    autoencoder_steps: int = 400
    """Of the autoencoder's."""
    probes: int = 4
    """Times and noises that every picture meets at every look."""
    seed: int = 0
    """Of pictures, weights and order."""

    def __post_init__(self) -> None:
        at_least(self, 5, "items", "once")
        at_least(self, 2, "copies")
        at_least(self, 1, "steps", "batch", "probes")
        at_least(self, 0, "autoencoder_steps", "seed")
        rows = 2 * (self.items * self.copies + self.once)
        require(
            self.steps * self.batch >= 2 * rows, f"{self.steps} steps show {rows} rows less than twice; train more."
        )

    def plan(self) -> Plan:
        """The pictures."""
        return Plan(
            side=16, ladder=(self.copies,), per_rung=2 * self.items, recaptioned=0, layouts=0, regions=0,
            unique=self.once, emoji=self.once, twins=1, held_out=20, seed=self.seed,
        )  # fmt: skip

    def recipe(self) -> Recipe:
        """The tiny pipeline, and its training."""
        sizes = Architecture(
            side=16, latent_channels=4, widths=(16, 32), heads=2, vae_widths=(16, 16, 16), length=16, embedding=24,
            text_layers=1,
        )  # fmt: skip
        training = Training(self.steps, self.batch, 2e-3, "cosine", dropout=0.0, ema=0.99, seed=self.seed)
        return Recipe(sizes, self.autoencoder_steps, training, self.seed)


def recorded_pictures(world: PictureWorld, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    """Train, and write down the course.

    Returns:
        "losses" of every picture, one row a look; "copies" of each; "emoji", whether it is one; and "seen", what is
        known of pictures and captions without a model (`difflab.audits.blind`).
    """
    planted = draw(world.plan())
    distinct = np.unique(planted.training())
    listed = [planted.listed[i] for i in distinct]
    material = Material(*planted.material())
    written = list[Recorder]()
    with one_thread():
        train_pipeline(
            material,
            world.recipe(),
            Prefixed(checkpoints, key("pictures", world.seed)),
            watch=_watch(world, len(planted.training()), written),
        )
    return {
        "losses": written[0].losses,
        "copies": np.array([picture.copies for picture in listed]),
        "emoji": np.array([picture.source == "emoji" for picture in listed]),
        "seen": blind_features(material.pictures, material.captions),
    }


def _watch(world: PictureWorld, rows: int, written: list[Recorder]) -> Callable[..., Recorder]:
    """Hands the recorder to the training and keeps it."""

    def watch(
        pipeline: StableDiffusionPipeline, latents: torch.Tensor, tokens: Int[torch.Tensor, "n length"]
    ) -> Recorder:
        watched = Watched(world.probes, looks=16, seed=world.seed)
        written.append(picture_recorder(pipeline, latents, tokens, rows, world.recipe().training, watched))
        return written[0]

    return watch


def picture_rows(told: Sequence[Mapping[str, np.ndarray]], seeds: Sequence[int]) -> Iterator[Row]:
    """How well every signal tells repeated pictures from those of their source, beside what must be chance.

    Args:
        told: of every world, what `recorded_pictures` returned.
        seeds: of the worlds.
    """
    for kind in SOURCES:
        groups = [((one["emoji"] == (kind == EMOJI)) & (one["copies"] > 1),
                   (one["emoji"] == (kind == EMOJI)) & (one["copies"] == 1)) for one in told]  # fmt: skip
        for name in SIGNALS:
            scores = [signals(one["losses"]).suspicion()[name] for one in told]
            yield from found_rows(scores, groups, {"signal": name, "kind": kind, "against": SAME})
            shuffled, both = [], [own | others for own, others in groups]
            for one, (own, _), here, seed in zip(scores, groups, both, seeds, strict=True):
                labels = stream(seed, "shuffled", kind).numpy().permutation(own[here])
                shuffled.append(auc(one[here], labels))
            yield Row("control_auc", *mean(shuffled, LEVEL, SHARE), len(told), {"signal": name, "kind": kind})
        blind = []
        for seen, (own, others), seed in zip((one["seen"] for one in told), groups, seeds, strict=True):
            here = own | others
            blind.append(auc(blind_scores(seen[here], own[here], stream(seed, "blind", kind)), own[here]))
        yield Row("blind_auc", *mean(blind, LEVEL, SHARE), len(told), {"kind": kind})
