"""What a defense and an attack are judged by: the same seeds, the frozen thresholds, the loss of held-out pictures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, UInt8

from difflab.diffusion.alignment import Alignment, aligned
from difflab.diffusion.autoencoder import encode
from difflab.diffusion.copies import Threshold, alike_seeds, compare_by, memorized
from difflab.diffusion.defended import Defended
from difflab.diffusion.generate import Begin, generate, seeded
from difflab.diffusion.loss import denoising_loss
from difflab.diffusion.samplers import with_sampler
from difflab.diffusion.similarity import Gallery, Measure, described, gallery, similarity
from difflab.diffusion.trigger import Trigger
from difflab.randomness import resampling
from difflab.runs.rows import Row
from difflab.statistics.intervals import Interval, bootstrap

ALIGNED_BY = "efficientnet"
"""The measure whose features are compared with captions."""


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
        alignment: which features go with which words; None leaves out how pictures fit their captions.
    """

    measures: Mapping[str, Measure]
    thresholds: Mapping[str, Threshold]
    references: UInt8[np.ndarray, "r h w 3"]
    seeds: Sequence[int]
    steps: int = 20
    guidance: float = 3.0
    alignment: Alignment | None = None

    @cached_property
    def described(self) -> dict[str, Float[torch.Tensor, "r tiles width"] | Gallery | None]:
        """The references as each measure sees them; None where it compares angles."""
        return {
            name: None if measure.angular else gallery(measure, self.references)
            for name, measure in self.measures.items()
        }

    def draw(self, defended: Defended, trigger: Trigger | None = None) -> UInt8[np.ndarray, "n seeds h w 3"]:
        """Pictures of every prompt with every seed, each under its own mask.

        Args:
            defended: n prompts as a defense has them drawn.
            trigger: what an attacker brings instead; with noise of its own one picture is drawn of each prompt.
        """
        trigger = trigger or Trigger()
        met, noise = trigger.on(defended), trigger.noise
        n, k = len(met.embeddings), len(self.seeds) if noise is None else 1
        owner = torch.arange(n).repeat_interleave(k)
        drawn = generate(
            met.pipeline if trigger.sampler is None else with_sampler(met.pipeline, trigger.sampler),
            met.embeddings[owner],
            seeded(n, self.seeds) if noise is None else [],
            self.steps,
            self.guidance if trigger.guidance is None else trigger.guidance,
            masks=[met.masks[i] for i in owner.tolist()],
            noise=noise if noise is None or trigger.begin is None else Begin(noise, trigger.begin),
        )
        return drawn.reshape(n, k, *drawn.shape[1:])

    def rows(
        self,
        drawn: UInt8[np.ndarray, "n seeds h w 3"],
        targets: UInt8[np.ndarray, "n h w 3"],
        captions: Sequence[str],
        setting: Mapping[str, str | int | float],
    ) -> Iterator[Row]:
        """Share of targets that come back, how like them the pictures are, how alike the seeds are, how they fit.

        Args:
            drawn: pictures drawn for each target.
            targets: n pictures.
            captions: of the targets.
            setting: of the rows.
        """
        n, k = drawn.shape[:2]
        # Every picture is described once by each measure: what a network sees in it costs more than all the rest.
        pictures = drawn.reshape(-1, *drawn.shape[2:])
        looked = {name: described(measure, pictures, self.described[name]) for name, measure in self.measures.items()}
        for name, measure in self.measures.items():
            of_targets = measure.describe(targets).repeat_interleave(k, dim=0)
            values = similarity(measure, looked[name], of_targets).reshape(n, k)
            for seeds in ("median", "any"):
                rate = memorized(values, self.thresholds[name].value, seeds)
                yield Row("memorized_fraction", *rate, len(values), {**setting, "measure": name, "seeds": seeds})
            yield Row(
                "original_similarity", *_middle(np.median(values, axis=1)), len(values), {**setting, "measure": name}
            )
            if measure.angular and k >= 2:
                alike = alike_seeds(looked[name].features.view(n, k, -1))
                yield Row("seeds_similarity", *_middle(alike), len(alike), {**setting, "measure": name})
        if self.alignment is not None:
            features = looked[ALIGNED_BY].features.view(n, k, -1)[:, 0]
            fit = aligned(self.alignment, features.double().numpy(), captions)
            yield Row("caption_similarity", *_middle(fit), len(fit), {**setting, "measure": ALIGNED_BY})


def least_alike(
    judge: Judge, drawn: UInt8[np.ndarray, "n seeds h w 3"], targets: UInt8[np.ndarray, "n h w 3"]
) -> UInt8[np.ndarray, "n h w 3"]:
    """Of every target's pictures the one that is least like it, by the pixel measure: what may stand in for it."""
    alike = compare_by(judge.measures["pixel"], drawn, targets, judge.described["pixel"])
    return drawn[np.arange(len(drawn)), alike.argmin(axis=1)]


def held_out_losses(
    defended: Defended, pictures: UInt8[np.ndarray, "n h w 3"], draws: int = 16
) -> Float[np.ndarray, " n"]:
    """Denoising loss of never-trained pictures under a defense, or under none.

    Args:
        defended: the pictures' captions, as an attacker meets them.
        pictures: n of them.
        draws: of noise and time for each picture, the same at every call.
    """
    latents, random = encode(defended.pipeline, pictures), seeded(len(pictures), [0])
    losses = denoising_loss(defended.pipeline, latents, defended.embeddings, random, draws, masks=defended.masks)
    return losses.double().numpy()


def loss_ratio(defended: Float[np.ndarray, " n"], plain: Float[np.ndarray, " n"]) -> Interval:
    """Mean of the losses with a defense over that without, bootstrapped over pictures: 1 = it costs nothing."""
    pairs = np.stack([defended, plain], axis=1)
    return bootstrap(pairs, lambda p: float(p[:, 0].mean() / p[:, 1].mean()), resampling())


def _middle(values: Float[np.ndarray, " n"]) -> Interval:
    return bootstrap(values, np.median, resampling())
