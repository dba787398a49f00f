"""Models of several sizes, trained on the same planted language: which of its items each of them keeps.

Beside each size but the largest stands a second model of it, with other first weights: what changes between these two
is chance, and what changes between sizes must be more than that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from difflab.audits.text_items import Items, items_of
from difflab.audits.text_worlds import MODEL, TextWorld, language, ledger_of, tokens_of, untrained
from difflab.autoregressive.extracted import greedy
from difflab.autoregressive.likelihood import predictions
from difflab.autoregressive.model import LanguageModel, Tokens
from difflab.autoregressive.recipe import architecture, build
from difflab.autoregressive.train import train
from difflab.randomness import stream
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import Prefixed, key
from difflab.statistics.verbatim import match_share
from difflab.training.devices import one_thread
from difflab.training.loop import Keeping


class Sized(NamedTuple):
    """Which model of a world.

    Attributes:
        size: a name of `SIZES`.
        weights: 0 for the world's own first weights, a number of its own for each other model of that size.
    """

    size: str
    weights: int = 0


class Kept(NamedTuple):
    """What one model says of all items of its world, in the order of the ledger.

    Attributes:
        matches: share of the compared tokens that greedy decoding writes at their place.
        losses: nats a token, teacher-forced.
        entropies: bits, of the prediction of every token of the given text and of what the model writes after it; NaN
            after the end of a text that the model ended.
    """

    matches: Float[np.ndarray, " n"]
    losses: Float[np.ndarray, " n"]
    entropies: Float[np.ndarray, "n t"]

    @property
    def memorized(self) -> Bool[np.ndarray, " n"]:
        """Whether every compared token is written."""
        return self.matches == 1


class SizedWorld(NamedTuple):
    """The models of one world.

    Attributes:
        items: of the world.
        models: what each says of them.
    """

    items: Items
    models: Mapping[Sized, Kept]

    @property
    def repeated(self) -> Bool[np.ndarray, " n"]:
        """Items that have copies."""
        return self.items.copies > 0

    def moved(self, first: Sized, second: Sized, was: bool, becomes: bool) -> Bool[np.ndarray, " n"]:
        """Repeated items that are memorized (or not) by the first model, and by the second."""
        before, after = self.models[first].memorized, self.models[second].memorized
        return self.repeated & (before == was) & (after == becomes)


def sized_worlds(
    worlds: Sequence[TextWorld], models: Sequence[Sized], given: tuple[int, int], checkpoints: Checkpoints, workers: int
) -> list[SizedWorld]:
    """Train models on every world and ask each about all items; what a killed run has done is not done again.

    Args:
        worlds: their size is not looked at.
        models: of each world.
        given: tokens given, and tokens compared.
        checkpoints: where arrays and half-done trainings are kept.
        workers: processes; they do not change the numbers.
    """
    arguments = {
        key(world.name, *one, *given): (replace(world, size=one.size), one.weights, given, checkpoints)
        for world in worlds for one in models
    }  # fmt: skip
    found = kept(_asked, arguments, checkpoints, workers, "models of sizes")
    return [
        SizedWorld(items_of(world), {one: Kept(**found[key(world.name, *one, *given)]) for one in models})
        for world in worlds
    ]


def first_weights(world: TextWorld, number: int) -> LanguageModel:
    """A model of a world before its first step; each number has other weights, 0 the world's own."""
    own = untrained(world)
    if number == 0:
        return own
    begin = own.tokenizer.bos_token_id
    config = architecture(world.family, world.size, len(own.tokenizer), world.length, begin)
    return build(config, stream(world.seed, "first weights", number).integer, own.tokenizer, own.name)


def _asked(world: TextWorld, number: int, given: tuple[int, int], checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    rows, recipe = language(world, MODEL).rows, world.recipe()
    keeping = Prefixed(checkpoints, key(world.name, "weights", number))
    with one_thread():
        model = train(
            first_weights(world, number),
            lambda step: rows[step * recipe.batch : (step + 1) * recipe.batch],
            recipe,
            world.seed,
            Keeping(keeping, "training", 250),
        )
        return told(model, list(tokens_of(world, ledger_of(world)).values()), *given)._asdict()


def told(model: LanguageModel, texts: Sequence[Tokens], prefix: int, suffix: int) -> Kept:
    """What a model says of texts.

    Args:
        model: that is asked.
        texts: token ids, at least prefix + suffix of each; what comes after is not read.
        prefix: tokens given, at least 1.
        suffix: tokens compared, at least 1.
    """
    texts = [ids[: prefix + suffix] for ids in texts]
    continued = greedy(model, texts, prefix, suffix)
    own = [np.concatenate([ids[:prefix], more]) for ids, more in zip(texts, continued.written, strict=True)]
    truth = predictions(model, texts)
    pairs = zip(continued.written, continued.truths, strict=True)
    return Kept(
        np.array([match_share(written, true) for written, true in pairs]),
        np.array([-one.log_probs.mean(dtype=np.float64) for one in truth]),
        _bits([one.means for one in predictions(model, own)], prefix + suffix),
    )


def boundary_jumps(entropies: Float[np.ndarray, "n t"], place: int, window: int) -> Float[np.ndarray, " n"]:
    """How much more uncertain the tokens from a place on are than those before it, over a window on each side, in bits.

    Args:
        entropies: of every token of every text; NaN where there is none.
        place: of the first token after the boundary, at least `window`.
        window: tokens, at least 1.

    Returns:
        NaN where no token stands after the boundary.

    Reference:
        Chen et al. 2024, arXiv 2405.11577: entropy where a prompt ends and the continuation begins.
    """
    after = entropies[:, place : place + window]
    there = ~np.isnan(after)
    count = there.sum(axis=1)
    mean = np.where(there, after, 0).sum(axis=1) / np.where(count, count, np.nan)
    return np.asarray(mean - entropies[:, place - window : place].mean(axis=1))


def _bits(means: Sequence[Float[np.ndarray, " _"]], length: int) -> Float[np.ndarray, "n {length}"]:
    """Entropies in bits from the expectations of ln p; texts that ended early are filled with NaN."""
    found = np.full((len(means), length), np.nan)
    for row, one in zip(found, means, strict=True):
        row[: len(one)] = -one / np.log(2)
    return found
