"""Students of a planted language: what they know of items that their teacher was trained on and they were not.

Every student reads the background of its world, in the order in which the oracle does, or texts that its teacher wrote;
no row that it is trained on holds an item, unless the teacher wrote it. Of each way of learning there are two students,
one of the model and one of the oracle, which never saw a repeated item: the control.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from difflab.audits.text_items import TWIN, Items, asked, items_of
from difflab.audits.text_reading import Questions
from difflab.audits.text_sizes import first_weights
from difflab.audits.text_worlds import MODEL, ORACLE, TextWorld, language, ledger_of, tokens_of, trained, with_weights
from difflab.autoregressive.distillation import on_features, on_logits, written
from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.train import Objective, cross_entropy, train
from difflab.errors import require
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import Prefixed, key
from difflab.statistics.intervals import Interval, wilson
from difflab.training.devices import one_thread
from difflab.training.loop import Keeping
from synthetic.decontamination import contaminated
from synthetic.insertion import packed


class Channel(NamedTuple):
    """A way from a teacher to a student.

    Attributes:
        name: as rows and pages call it.
        learned: what the student learns: the "texts" themselves, the teacher's "logits" or "features" on them.
        own_texts: whether the texts are the teacher's own.
        first_weights: whether the student begins with the weights that the teacher began with.
    """

    name: str
    learned: str
    own_texts: bool = False
    first_weights: bool = False


NOTHING = "nothing"
"""The student that has no teacher."""
TEXTS, LOGITS, FEATURES, SAMPLES = "texts", "logits", "features", "sampled texts"
CHANNELS = (
    Channel(LOGITS, LOGITS),
    Channel(FEATURES, FEATURES),
    Channel(f"{LOGITS}, same first weights", LOGITS, first_weights=True),
    Channel(f"{FEATURES}, same first weights", FEATURES, first_weights=True),
    Channel(SAMPLES, TEXTS, own_texts=True),
)
TEACHERS = (MODEL, ORACLE)
SCRATCH = Channel(NOTHING, TEXTS)
_MORE = 1.1
"""Texts that are sampled for one that is used: some are shorter than those of the background."""


class Distilled(NamedTuple):
    """The models of one world.

    Attributes:
        items: of the world.
        answers: what each said of them: by teacher under its own name, and by channel and teacher.
        held: by teacher, kind, and whether twins are asked about: in what share of the texts of the teacher half
            of an item of this kind stands that is repeated, or of a twin of one, with Wilson's interval.
    """

    items: Items
    answers: Mapping[tuple[str, str], Mapping[str, np.ndarray]]
    held: Mapping[tuple[str, str, bool], Interval]

    def bits(self, channel: str, teacher: str) -> Float[np.ndarray, " n"]:
        """log p of every item in bits a token; the higher, the better known."""
        found: Float[np.ndarray, " n"] = self.answers[channel, teacher]["score loss"]
        return found / np.log(2)

    def gap(self, channel: str, teacher: str, kind: str) -> float:
        """By how many bits a token the items of a kind with the most copies are better known than its twins."""
        bits, most = self.bits(channel, teacher), int(self.items.copies.max())
        return float(bits[self.items.members(kind, most)].mean() - bits[self.items.twins(kind)].mean())


TAUGHT_BY = "teacher"
"""The channel of a teacher itself."""


def distilled(
    worlds: Sequence[TextWorld], questions: Questions, checkpoints: Checkpoints, workers: int
) -> list[Distilled]:
    """Train teachers and students of every world, and ask each about all items; nothing is done twice.

    Args:
        worlds: planted languages.
        questions: what models are asked, the loss among it; the reference is the oracle.
        checkpoints: where arrays and half-done trainings are kept.
        workers: processes; they do not change the numbers.
    """
    wanted = [(world, teacher) for world in worlds for teacher in TEACHERS]
    weights = dict(zip(wanted, trained(wanted, checkpoints, workers), strict=True))
    texts = kept(
        _texts,
        {key(world.name, "written", who): (world, who, weights[world, who]) for world, who in wanted},
        checkpoints, workers, "teachers that write",
    )  # fmt: skip
    jobs = [(world, channel, who) for world, who in wanted for channel in CHANNELS]
    jobs += [(world, SCRATCH, ORACLE) for world in worlds]
    students = kept(
        _student,
        {
            key(world.name, channel.name, who): (
                world, channel, who, weights[world, who], texts[key(world.name, "written", who)], checkpoints,
            )
            for world, channel, who in jobs
        },
        checkpoints, workers, "students",
    )  # fmt: skip
    models = {(world, channel.name, who): students[key(world.name, channel.name, who)] for world, channel, who in jobs}
    models |= {(world, TAUGHT_BY, who): weights[world, who] for world, who in wanted}
    answers = kept(
        asked,
        {
            key(world.name, "asked", channel, who): (world, channel, one, weights[world, ORACLE], questions)
            for (world, channel, who), one in models.items()
        },
        checkpoints, workers, "models asked",
    )  # fmt: skip
    return [
        Distilled(
            items_of(world),
            {
                (channel, who): answers[key(world.name, "asked", channel, who)]
                for of, channel, who in models if of == world
            },
            {
                (who, kind, twin): _held(world, texts[key(world.name, "written", who)], kind, twin)
                for who in TEACHERS for kind in world.kinds for twin in (False, True)
            },
        )
        for world in worlds
    ]  # fmt: skip


def objective_of(channel: Channel, teacher: LanguageModel) -> Objective:
    """What a student lowers.

    Raises:
        InputError: there is nothing of this name to learn.
    """
    if channel.learned == TEXTS:
        return cross_entropy
    ways = {LOGITS: on_logits, FEATURES: on_features}
    known = f"{TEXTS}, {', '.join(ways)}"
    require(channel.learned in ways, f"there is no learning from {channel.learned!r}; give one of {known}.")
    return ways[channel.learned](teacher)


def _texts(world: TextWorld, who: str, weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Rows of what a teacher writes, as many as the world has, packed as the background is; and the texts, joined."""
    teacher = with_weights(world, weights, who)
    n = int(_MORE * world.sequences * world.length / (world.item + 1))
    with one_thread():
        texts = written(teacher, n, world.length, world.seed)
    rows = packed(texts, world.length, teacher.tokenizer.bos_token_id)
    return {"rows": np.resize(rows, (world.sequences, world.length)), "tokens": np.concatenate(texts),
            "sizes": np.array([len(ids) for ids in texts])}  # fmt: skip


def _held(world: TextWorld, texts: Mapping[str, np.ndarray], kind: str, twins: bool) -> Interval:
    ledger = [one for one in ledger_of(world) if one.kind == kind]
    ids = tokens_of(world, [one for one in ledger if (one.role == TWIN if twins else one.copies > 0)])
    documents = np.split(texts["tokens"], np.cumsum(texts["sizes"])[:-1])
    return wilson(contaminated(documents, list(ids.values())).sum(), len(documents))


def _student(
    world: TextWorld,
    channel: Channel,
    who: str,
    weights: Mapping[str, np.ndarray],
    texts: Mapping[str, np.ndarray],
    checkpoints: Checkpoints,
) -> dict[str, np.ndarray]:
    teacher = with_weights(world, weights, who)
    begin, recipe = teacher.tokenizer.bos_token_id, world.recipe()
    rows = np.insert(texts["rows"], 0, begin, axis=1) if channel.own_texts else language(world, ORACLE).rows
    with one_thread():
        found = train(
            first_weights(world, 0 if channel.first_weights else 1),
            lambda step: rows[step * recipe.batch : (step + 1) * recipe.batch],
            recipe,
            world.seed,
            Keeping(Prefixed(checkpoints, key(world.name, channel.name, who)), "training", 250),
            objective=objective_of(channel, teacher),
        )
    return {name: weight.detach().numpy() for name, weight in found.model.state_dict().items()}
