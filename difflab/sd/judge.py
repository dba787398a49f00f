"""What a defense and an attack are judged by: the same seeds, the frozen thresholds, the loss of held-out pictures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float, UInt8

from difflab.intervals import Interval, bootstrap
from difflab.rows import Row
from difflab.sd.autoencoder import encode
from difflab.sd.copies import Threshold, compare, diversity, memorized
from difflab.sd.generate import embed, generate, seeded
from difflab.sd.loss import denoising_loss
from difflab.sd.masks import AnyMask
from difflab.sd.similarity import Measure


@dataclass(frozen=True)
class Judge:
    """How pictures are drawn and when they are copies.

    Attributes:
        measures: by name; those of angles also say how alike the seeds are.
        thresholds: of the same names, frozen.
        references: pictures that say how far apart pictures are.
        seeds: of the initial noise, the same for every embedding.
        steps: DDIM steps.
        guidance: weight of the prompt.
    """

    measures: Mapping[str, Measure]
    thresholds: Mapping[str, Threshold]
    references: UInt8[np.ndarray, "r h w 3"]
    seeds: Sequence[int]
    steps: int = 20
    guidance: float = 3.0

    def draw(
        self,
        pipeline: StableDiffusionPipeline,
        embeddings: Float[torch.Tensor, "n tokens width"],
        masks: Sequence[AnyMask],
    ) -> UInt8[np.ndarray, "n seeds h w 3"]:
        """Pictures of every embedding with every seed, each under its embedding's mask."""
        owner = torch.arange(len(embeddings)).repeat_interleave(len(self.seeds))
        drawn = generate(
            pipeline,
            embeddings[owner],
            seeded(len(embeddings), self.seeds),
            self.steps,
            self.guidance,
            masks=[masks[i] for i in owner.tolist()],
        )
        return drawn.reshape(len(embeddings), len(self.seeds), *drawn.shape[1:])

    def rows(
        self,
        drawn: UInt8[np.ndarray, "n seeds h w 3"],
        targets: UInt8[np.ndarray, "n h w 3"],
        setting: Mapping[str, str | int],
    ) -> Iterator[Row]:
        """Share of targets that come back, how like them the pictures are, how alike the seeds are."""
        for name, measure in self.measures.items():
            values = compare(measure, drawn, targets, self.references)
            for seeds in ("median", "any"):
                rate = memorized(values, self.thresholds[name].value, seeds)
                yield Row("memorized_fraction", *rate, len(values), {**setting, "measure": name, "seeds": seeds})
            yield Row(
                "original_similarity", *_middle(np.median(values, axis=1)), len(values), {**setting, "measure": name}
            )
            if measure.angular:
                alike = diversity(measure, drawn)
                yield Row("seeds_similarity", *_middle(alike), len(alike), {**setting, "measure": name})


def held_out_ratio(
    pipeline: StableDiffusionPipeline,
    pictures: UInt8[np.ndarray, "n h w 3"],
    captions: Sequence[str],
    masks: Sequence[AnyMask],
    draws: int = 16,
) -> Interval:
    """Denoising loss of never-trained pictures under masks, divided by that without: 1 = the defense costs nothing.

    Args:
        pipeline: the model.
        pictures, captions: n of them.
        masks: any number, given to the pictures in turn.
        draws: of noise and time for each picture, the same with and without masks.

    Returns:
        The ratio of the means, with its bootstrap interval over pictures.
    """
    embeddings, latents = embed(pipeline, captions), encode(pipeline, pictures)
    in_turn = [masks[i % len(masks)] for i in range(len(captions))]
    losses = [
        denoising_loss(pipeline, latents, embeddings, seeded(len(captions), [0]), draws, masks=chosen)
        for chosen in (in_turn, None)
    ]
    pairs = torch.stack(losses, dim=1).double().numpy()
    return bootstrap(pairs, lambda p: float(p[:, 0].mean() / p[:, 1].mean()), np.random.default_rng(0))


def _middle(values: Float[np.ndarray, " n"]) -> Interval:
    return bootstrap(values, np.median, np.random.default_rng(0))
