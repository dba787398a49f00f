"""Students of a planted pipeline: what they know of pictures that their teacher was trained on and they were not.

Every student learns from the background of its world, in the rows of the oracle, or from pictures that its teacher
drew; no row that it is trained on holds an item, unless the teacher drew it. Of each way of learning there are two
students, one of the model and one of the oracle, which never saw an item: the control.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from diffusers import StableDiffusionPipeline
from jaxtyping import Bool, Float, Int

from difflab.audits.distilled_texts import FEATURES, NOTHING, TAUGHT_BY
from difflab.audits.taught_worlds import (
    PROBES,
    CopyRule,
    Scenes,
    TaughtWorld,
    base_of,
    copy_rule,
    copy_thresholds,
    learned,
    scenes_of,
    with_unet,
)
from difflab.audits.text_worlds import MODEL, ORACLE
from difflab.diffusion.autoencoder import encode, given_back
from difflab.diffusion.copies import ask
from difflab.diffusion.distillation import on_features, on_predictions
from difflab.diffusion.finetuning import with_weights
from difflab.diffusion.generate import embed, generate
from difflab.diffusion.recorded import Watched, picture_losses
from difflab.diffusion.train import Objective, plain
from difflab.errors import require
from difflab.randomness import item_seeds, stream
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import Prefixed, key
from difflab.statistics.intervals import Interval, share_interval
from difflab.training.devices import one_thread

PICTURES, PREDICTIONS = "pictures", "predictions"
BACKGROUND, EVERY = "background captions", "all captions"
"""Of which the teacher draws: those of scenes that are no items; all, as often as its training set has them."""
ITEMS = "captions of items"
TEACHERS = (MODEL, ORACLE)


class Channel(NamedTuple):
    """A way from a teacher to a student.

    Attributes:
        name: as rows and pages call it.
        learned: what the student learns: "pictures" themselves, the teacher's "predictions" or "features" on them.
        captions: of which the teacher draws the pictures; "" for the pictures of the background.
        first_weights: whether the student begins with the weights that the teacher began with.
    """

    name: str
    learned: str
    captions: str = ""
    first_weights: bool = False


SAME = f"{PREDICTIONS}, same first weights"
DRAWN_BACKGROUND, DRAWN_EVERY = f"drawn from {BACKGROUND}", f"drawn from {EVERY}"
CHANNELS = (
    Channel(PREDICTIONS, PREDICTIONS),
    Channel(SAME, PREDICTIONS, first_weights=True),
    Channel(FEATURES, FEATURES),
    Channel(DRAWN_BACKGROUND, PICTURES, BACKGROUND),
    Channel(DRAWN_EVERY, PICTURES, EVERY),
)
SCRATCH = Channel(NOTHING, PICTURES)


class DistilledPictures(NamedTuple):
    """The models of one world.

    Attributes:
        copies: of each item; twins, which come after them in every answer, have none.
        answers: of each channel and teacher (a teacher's own channel is "teacher"): "loss" and "drawn" of items and
            then twins, and the "unseen" loss (`asked_of`).
        copied: by teacher and the captions that it drew, the share of these pictures that are copies of any item,
            with Wilson's interval.
    """

    copies: Int[np.ndarray, " items"]
    answers: Mapping[tuple[str, str], Mapping[str, np.ndarray]]
    copied: Mapping[tuple[str, str], Interval]

    def members(self, copies: int) -> Bool[np.ndarray, " asked"]:
        """Items with so many copies, among all that is asked about; with 0, the twins."""
        n = len(next(iter(self.answers.values()))["loss"])
        return np.concatenate([self.copies, np.zeros(n - len(self.copies), np.int64)]) == copies

    def scores(self, channel: str, teacher: str) -> Float[np.ndarray, " asked"]:
        """Minus the loss of every picture: the higher, the better known."""
        found: Float[np.ndarray, " asked"] = -self.answers[channel, teacher]["loss"].astype(np.float64)
        return found

    def gap(self, channel: str, teacher: str) -> float:
        """By how much the loss of the items with the most copies is below that of twins."""
        scores = self.scores(channel, teacher)
        return float(scores[self.members(int(self.copies.max()))].mean() - scores[self.members(0)].mean())


def distilled_pictures(
    worlds: Sequence[TaughtWorld], checkpoints: Checkpoints, workers: int
) -> list[DistilledPictures]:
    """Train teachers and students of every world, and ask each about all items and twins; nothing is done twice.

    Args:
        worlds: of the same sizes, with seeds of their own.
        checkpoints: where arrays and half-done trainings are kept.
        workers: processes; they do not change the numbers.
    """
    thresholds = dict(zip(worlds, copy_thresholds(worlds, checkpoints, workers), strict=True))
    taught = {(world, who): key(world.name, TAUGHT_BY, who) for world in worlds for who in TEACHERS}
    weights = kept(
        _teacher, {name: (*pair, checkpoints) for pair, name in taught.items()}, checkpoints, workers, "teachers"
    )
    given = {
        key(world.name, "drawn", who): (world, weights[name], thresholds[world], checkpoints)
        for (world, who), name in taught.items()
    }
    drawn = kept(_drawn, given, checkpoints, workers, "teachers that draw")
    jobs = [(world, channel, who) for world, who in taught for channel in CHANNELS]
    jobs += [(world, SCRATCH, ORACLE) for world in worlds]
    lessons = {
        key(world.name, channel.name, who): (
            world, channel, who, weights[taught[world, who]], drawn[key(world.name, "drawn", who)], checkpoints,
        )
        for world, channel, who in jobs
    }  # fmt: skip
    every = weights | kept(_student, lessons, checkpoints, workers, "students")
    models = [(world, TAUGHT_BY, who) for world, who in taught] + [(world, one.name, who) for world, one, who in jobs]
    questions = {
        key(world.name, "asked", name, who): (
            world, every[key(world.name, name, who)], thresholds[world], checkpoints,
        )
        for world, name, who in models
    }  # fmt: skip
    answers = kept(_asked, questions, checkpoints, workers, "models asked")
    return [
        DistilledPictures(
            scenes_of(world).copies,
            {(name, who): answers[key(world.name, "asked", name, who)] for of, name, who in models if of == world},
            {
                (who, captions): share_interval(float(drawn[key(world.name, "drawn", who)][captions]), n)
                for who in TEACHERS
                for captions, n in (
                    (BACKGROUND, len(scenes_of(world).background)), (ITEMS, int(scenes_of(world).copies.sum())),
                )
            },
        )
        for world in worlds
    ]  # fmt: skip


def objective_of(channel: Channel, teacher: StableDiffusionPipeline) -> Objective:
    """What a student lowers.

    Raises:
        InputError: there is nothing of this name to learn.
    """
    if channel.learned == PICTURES:
        return plain
    ways = {PREDICTIONS: on_predictions, FEATURES: on_features}
    known = f"{PICTURES}, {', '.join(ways)}"
    require(channel.learned in ways, f"there is no learning from {channel.learned!r}; give one of {known}.")
    return ways[channel.learned](teacher.unet)


def _teacher(world: TaughtWorld, who: str, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    scenes = scenes_of(world)
    rows = scenes.rows() if who == MODEL else scenes.without()
    pipeline = with_unet(base_of(world, checkpoints), world, 0)
    pictures, captions = scenes.planted.pictures(rows), scenes.planted.captions(rows)
    pieces = Prefixed(checkpoints, key(world.name, TAUGHT_BY, who))
    return learned(pipeline, pictures, captions, world.training(TAUGHT_BY), plain, pieces)


def _drawn(
    world: TaughtWorld, weights: Mapping[str, np.ndarray], threshold: float, checkpoints: Checkpoints
) -> dict[str, np.ndarray]:
    """A picture of every caption of the model's training set, as often as it stands there, each from noise of its own;
    and the shares of them that are copies of an item."""
    scenes, base = scenes_of(world), base_of(world, checkpoints)
    teacher, rows = with_weights(base, weights), scenes.rows()
    generators = [stream(world.seed, "drawn", i).torch() for i in range(len(rows))]
    with one_thread():
        prompts = embed(teacher, scenes.planted.captions(rows))
        pictures = generate(teacher, prompts, generators, world.sampler_steps, 1.0)
        copied = copy_rule(base, scenes, threshold).any_of(
            pictures, given_back(base, scenes.planted.pictures(scenes.items))
        )
    of_items = np.isin(rows, scenes.items)
    return {"pictures": pictures, ITEMS: copied[of_items].mean(), BACKGROUND: copied[~of_items].mean()}


def _student(
    world: TaughtWorld,
    channel: Channel,
    who: str,
    weights: Mapping[str, np.ndarray],
    drawn: Mapping[str, np.ndarray],
    checkpoints: Checkpoints,
) -> dict[str, np.ndarray]:
    scenes, base = scenes_of(world), base_of(world, checkpoints)
    pictures, rows = scenes.planted.pictures(scenes.without()), scenes.without()
    if channel.captions:
        chosen = _drawn_rows(scenes, channel)
        pictures, rows = drawn["pictures"][chosen], scenes.rows()[chosen]
    return learned(
        with_unet(base, world, 0 if channel.first_weights else 1),
        pictures,
        scenes.planted.captions(rows),
        world.training("student"),
        objective_of(channel, with_weights(base, weights)),
        Prefixed(checkpoints, key(world.name, channel.name, who)),
    )


def _drawn_rows(scenes: Scenes, channel: Channel) -> Int[np.ndarray, " rows"]:
    """Which of the teacher's pictures a student is trained on."""
    rows = scenes.rows()
    return np.arange(len(rows)) if channel.captions == EVERY else np.flatnonzero(~np.isin(rows, scenes.items))


def _asked(
    world: TaughtWorld, weights: Mapping[str, np.ndarray], threshold: float, checkpoints: Checkpoints
) -> dict[str, np.ndarray]:
    scenes, base = scenes_of(world), base_of(world, checkpoints)
    with one_thread():
        return asked_of(with_weights(base, weights), world, scenes, copy_rule(base, scenes, threshold))


def asked_of(
    pipeline: StableDiffusionPipeline, world: TaughtWorld, scenes: Scenes, rule: CopyRule
) -> dict[str, np.ndarray]:
    """What one model says.

    Returns:
        "loss", the denoising loss of items and then twins, at the same times and noises; "drawn", whether their
        captions draw them back; "unseen", the mean loss of held-out scenes.
    """

    def loss(places: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        latents = encode(pipeline, scenes.planted.pictures(places))
        prompts = embed(pipeline, scenes.planted.captions(places))
        return picture_losses(pipeline, latents, prompts, Watched(PROBES, seed=world.seed))

    seeds = item_seeds(world.seed, "asked", world.seeds)
    drawn = ask(pipeline, scenes.planted.captions(scenes.asked), seeds, world.sampler_steps, 1.0)
    return {
        "loss": loss(scenes.asked),
        "drawn": rule.own(drawn, given_back(pipeline, scenes.planted.pictures(scenes.asked))),
        "unseen": np.array(loss(scenes.held_out[: world.unseen]).mean()),
    }
