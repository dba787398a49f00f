"""The entropy-memorization law on planted texts and pictures: what models say of them, and what it makes of lines."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from diffusers import StableDiffusionPipeline
from jaxtyping import Bool, Float, Int

from difflab import methods
from difflab.audits.text_items import Items, items_of
from difflab.audits.text_reading import Questions, answers
from difflab.audits.text_worlds import NATURAL, RANDOM, TEMPLATE, TextWorld, ledger_of, tokens_of, with_weights
from difflab.diffusion.copies import ask, compare
from difflab.diffusion.similarity import measures
from difflab.randomness import item_seeds, stream
from difflab.statistics.code_lengths import png_bytes
from difflab.statistics.dataset_inference import null_p_values, p_values
from difflab.statistics.entropy_memorization import (
    LevelSets,
    Line,
    intercept_p_value,
    law,
    law_of_texts,
    level_sets,
    line,
)
from difflab.training.devices import one_thread
from synthetic import plan as plans
from synthetic.plan import Plan

MANY = 64
"""Copies of the sets of items that the intercept must find, and of the pictures that are looked at alone."""
ONCE, REPEATED = "seen at most once", "and repeated ones"
GIBBERISH, UNSEEN = "and memorized gibberish", "and gibberish never seen"
POPULATIONS = (ONCE, REPEATED, GIBBERISH, UNSEEN)
SLOPES = {"one slope": True, "own slopes": False}


class Asked(NamedTuple):
    """What is compared.

    Attributes:
        prefix: tokens given.
        suffix: tokens compared, of which the entropy is taken.
        pool: tokens of a pool.
        sample: texts of a set whose intercept is tested.
        resamples: sets drawn, of the repeated items and of twins alone.
        permutations: of a test.
    """

    prefix: int
    suffix: int
    pool: int
    sample: int
    resamples: int
    permutations: int


class Scored(NamedTuple):
    """Items of one world with what the model made of them.

    Attributes:
        items: of the world.
        scores: edits that turn the greedy continuation into the truth, 0 ... suffix.
        truths: the tokens compared.
    """

    items: Items
    scores: Int[np.ndarray, " n"]
    truths: Int[np.ndarray, "n suffix"]

    @property
    def back(self) -> Bool[np.ndarray, " n"]:
        """Which came back: their greedy continuation needs no edit, which is what memorized means in the paper."""
        return np.asarray(self.scores == 0)

    def population(self, name: str) -> Bool[np.ndarray, " n"]:
        """Which items: natural and template ones seen at most once, alone or with others.

        Memorized gibberish was trained on and came back.
        """
        kinds, copies = self.items.kinds, self.items.copies
        ordinary, gibberish = np.isin(kinds, (NATURAL, TEMPLATE)), kinds == RANDOM
        more = {
            ONCE: np.zeros(len(kinds), bool),
            REPEATED: ordinary,
            GIBBERISH: gibberish & (copies > 0) & self.back,
            UNSEEN: gibberish & (copies == 0),
        }[name]
        return (ordinary & (copies <= 1)) | more


def continued(world: TextWorld, weights: Mapping[str, np.ndarray], asked: Asked) -> dict[str, np.ndarray]:
    """Edits of the greedy continuation of every item of a world, under "scores"."""
    ids = list(tokens_of(world, ledger_of(world)).values())
    questions = Questions((), (methods.method("extractions", "approximate"),), (asked.prefix,), asked.suffix, 4096, 0)
    with one_thread():
        told = answers(with_weights(world, weights, "the model"), ids, questions)
    shares = 1 - told[f"value approximate {asked.prefix}"]
    return {"scores": np.rint(shares * asked.suffix).astype(np.int64)}


def scored(world: TextWorld, scores: Int[np.ndarray, " n"], asked: Asked) -> Scored:
    """The items of a world with these scores."""
    ids = tokens_of(world, ledger_of(world)).values()
    last = asked.prefix + asked.suffix
    return Scored(items_of(world), scores, np.stack([one[asked.prefix : last] for one in ids]))


def pools_of(found: Scored, population: str, asked: Asked, seed: int) -> LevelSets:
    """Pools of one score of a population."""
    here = found.population(population)
    random = stream(seed, "pools", population).numpy()
    return level_sets(found.scores[here], list(found.truths[here]), asked.pool, random)


def of_pools(found: Scored, population: str, asked: Asked, seed: int) -> Line | None:
    """The law of pools of one score; None where too few are large enough."""
    return law(pools_of(found, population, asked, seed))


def of_texts(found: Scored, population: str) -> Line | None:
    """The same of single texts."""
    here = found.population(population)
    return law_of_texts(found.scores[here], list(found.truths[here]))


def inferred(found: Scored, slopes: str, copies: int, asked: Asked, seed: int) -> dict[str, np.ndarray]:
    """p values by intercept, under "p": of sets of natural items with so many copies against twins; 0: twins alone.

    Args:
        found: of one world.
        slopes: a key of SLOPES.
        copies: of the suspects, of which there are as many as a sample takes.
        asked: how many.
        seed: of the world.
    """
    rows = np.concatenate([found.scores[:, None], found.truths], axis=1).astype(np.float64)
    twins, random = rows[found.items.twins(NATURAL)], stream(seed, "sets", slopes, copies).numpy()

    def test(
        suspects: Float[np.ndarray, "n k"], controls: Float[np.ndarray, "n k"], chance: np.random.Generator
    ) -> float:
        return intercept_p_value(suspects, controls, chance, SLOPES[slopes], permutations=asked.permutations)

    if copies == 0:
        return {"p": null_p_values(test, twins, asked.sample, asked.resamples, random)}
    suspects = rows[found.items.members(NATURAL, copies)]
    return {"p": p_values(test, suspects, twins, asked.sample, asked.resamples, random)}


def copied_pictures(pipeline: StableDiffusionPipeline, seeds: int, steps: int, seed: int) -> dict[str, np.ndarray]:
    """Of every repeated picture of the shipped pipeline: "copies", "scene" or emoji, PNG "bytes", how "alike" drawn.

    Args:
        pipeline: trained on the default plan.
        seeds: pictures drawn for each caption; the median counts.
        steps: of drawing.
        seed: of what is drawn.
    """
    planted = plans.draw(Plan())
    index, others = planted.where("repeated"), planted.where("unique")[:500]
    pictures = planted.pictures(index)
    drawn = ask(pipeline, planted.captions(index), item_seeds(seed, "pictures", seeds), steps)
    alike = compare(measures()["pixel"], drawn, pictures, planted.pictures(np.concatenate([index, others])))
    return {
        "copies": np.array([planted.listed[i].copies for i in index]),
        "scene": np.array([planted.listed[i].source == "scene" for i in index]),
        "bytes": np.array([png_bytes(one) for one in pictures]),
        "alike": np.median(alike, axis=1),
    }


def at_equal_copies(told: Mapping[str, np.ndarray], least: int = 1) -> Line | None:
    """Likeness by PNG bytes among pictures of one source and as many copies: both less their means over such pictures.

    Args:
        told: what `copied_pictures` returned.
        least: pictures with fewer copies are left out.
    """
    here = told["copies"] >= least
    x, y = (told[name][here].astype(np.float64) for name in ("bytes", "alike"))
    groups = np.unique(np.stack([told["copies"][here], told["scene"][here]]), axis=1, return_inverse=True)[1].ravel()
    for group in np.unique(groups):
        for values in (x, y):
            values[groups == group] -= values[groups == group].mean()
    return line(x, y, controls=len(np.unique(groups)) - 1)
