"""A ladder of copies: what the captions of pictures repeated so often draw, and how many of them come back."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from diffusers import StableDiffusionPipeline
from jaxtyping import Bool, Int, Shaped, UInt8

from difflab.diffusion.alignment import aligned, word_features
from difflab.diffusion.autoencoder import given_back
from difflab.diffusion.copies import SWEEP, Threshold, ask, compare_by, diversity, memorized
from difflab.diffusion.judge import ALIGNED_BY, Judge
from difflab.randomness import resampling
from difflab.runs.rows import Row
from difflab.statistics.intervals import bootstrap, wilson


class Asked(NamedTuple):
    """n captions, and what is known of their pictures.

    Attributes:
        captions: what is asked for.
        pictures: theirs.
        role: repeated, seen once, never trained on, or another word.
        copies: how often each was in the training set.
        source: what kind of picture it is.
    """

    captions: Sequence[str]
    pictures: UInt8[np.ndarray, "n h w 3"]
    role: Shaped[np.ndarray, " n"]
    copies: Int[np.ndarray, " n"]
    source: Shaped[np.ndarray, " n"]

    def groups(self) -> Iterator[tuple[dict[str, str | int], Bool[np.ndarray, " n"]]]:
        """Every role and number of copies that there is, and where."""
        for role, copies in dict.fromkeys(zip(self.role.tolist(), self.copies.tolist(), strict=True)):
            yield {"role": role, "copies": copies}, (self.role == role) & (self.copies == copies)


def look(pipeline: StableDiffusionPipeline, asked: Asked, judge: Judge) -> dict[str, np.ndarray]:
    """Draw every caption and compare.

    Args:
        pipeline: the model.
        asked: n captions.
        judge: its measures, with an alignment.

    Returns:
        drawn (n, seeds, h, w, 3); by the name of each measure the similarity (n, seeds) to the own picture, and as
        genuine_ that of the pictures through the autoencoder (n, 1); how the first pictures (aligned) and the training
        pictures (own_aligned) fit their captions (n); diversity (n) where there are several seeds.
    """
    drawn = ask(pipeline, asked.captions, judge.seeds, judge.steps, judge.guidance)
    rebuilt = given_back(pipeline, asked.pictures)[:, None]
    found = {"drawn": drawn}
    for name, measure in judge.measures.items():
        for kind, pictures in (("", drawn), ("genuine_", rebuilt)):
            found[kind + name] = compare_by(measure, pictures, asked.pictures, judge.described[name])
    words = judge.measures[ALIGNED_BY]
    if judge.alignment is not None:
        for name, pictures in (("aligned", drawn[:, 0]), ("own_aligned", asked.pictures)):
            found[name] = aligned(judge.alignment, word_features(words, pictures), asked.captions)
    return found | ({"diversity": diversity(words, drawn)} if drawn.shape[1] > 1 else {})


def look_rows(
    found: Mapping[str, np.ndarray], asked: Asked, thresholds: Mapping[str, Threshold], step: int
) -> Iterator[Row]:
    """Rates and medians of every group of pictures, after so many steps of training."""
    for name, threshold in thresholds.items():
        genuine = found[f"genuine_{name}"]
        for share, value in zip(SWEEP, threshold.sweep, strict=True):
            passed = wilson(int((genuine > value).sum()), len(genuine))
            setting: dict[str, str | int | float] = {"step": step, "measure": name, "false_positives": share}
            yield Row("true_positive_fraction", *passed, len(genuine), setting)
        yield from _rates(found[name], asked, name, threshold.value, step)
    medians = {
        "diversity": "seeds_similarity",
        "aligned": "caption_similarity",
        "own_aligned": "own_caption_similarity",
    }
    for name, metric in medians.items():
        for group, here in asked.groups():
            if name in found and here.sum() > 1:
                middle = bootstrap(found[name][here], np.median, resampling())
                yield Row(metric, *middle, int(here.sum()), {"step": step, **group, "measure": ALIGNED_BY})


def _rates(alike: np.ndarray, asked: Asked, measure: str, threshold: float, step: int) -> Iterator[Row]:
    """Share of copies in every group, of all sources and of each, and how alike the pictures are."""
    for group, here in asked.groups():
        for source in ("all", *np.unique(asked.source)[::-1].tolist()):
            values = alike[here & ((asked.source == source) | (source == "all"))]
            if not len(values):
                continue
            setting = {"step": step, **group, "source": source, "measure": measure}
            for seeds in ("median", "any"):
                rate = memorized(values, threshold, seeds)
                yield Row("memorized_fraction", *rate, len(values), setting | {"seeds": seeds})
            if source == "all" and len(values) > 1:
                middle = bootstrap(np.median(values, axis=1), np.median, resampling())
                yield Row("original_similarity", *middle, len(values), setting)
