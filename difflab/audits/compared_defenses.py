"""Defenses against memorization of every kind: what each is called, how strong it may be, and the course of a family.

A family is texts or pictures. Of every world of it some models are trained, and each defense has what it needs of them;
then its model is asked and attacked.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from difflab.errors import require
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key

TEXTS, PICTURES = "texts", "pictures"
NOTHING, ORACLE, DEDUPLICATED = "nothing", "oracle", "deduplicated"
SINKS, FOCAL, AVERAGED = "sinks dropped", "focal weights", "checkpoints averaged"
PREFERENCE, DIFFERENCE = "negative preference", "gradient difference"
REGIONAL = "negative preference on regions"
NEMO, WANDA, ADVERSARIAL = "NeMo", "Wanda", "adversarial fine-tuning"
TRAINED = (NOTHING, ORACLE, DEDUPLICATED, SINKS, FOCAL)
"""Those with a training of their own; the others are made of the undefended one."""
HIDING = (PREFERENCE, REGIONAL, DIFFERENCE, NEMO, WANDA)
"""Those of which it is published that what they took away comes back."""
PLANTED, TWIN = "planted", "twin"
ROLES = (PLANTED, TWIN)
"""Of items: many copies were trained on, or none."""
READS, VALIDATION = "reads", "validation"
"""Numbers that every model tells: what it cost, training included (`difflab.training.reads`); its loss on items that
nobody was trained on."""
Arrays = dict[str, np.ndarray]
Model = TypeVar("Model")


class Family(NamedTuple):
    """Worlds of one kind.

    Attributes:
        name: TEXTS or PICTURES.
        defenses: that it has.
        trained: trained(world, defense, checkpoints) -> what a training of TRAINED leaves, with READS.
        told: told(world, defense, left, checkpoints) -> "ROLE ROUTE", shares of items that come back; READS and
            VALIDATION.
    """

    name: str
    defenses: Sequence[str]
    trained: Callable[[Any, str, Checkpoints], Arrays]
    told: Callable[[Any, str, Mapping[str, np.ndarray], Checkpoints], Arrays]


def compared(family: Family, worlds: Sequence[Any], checkpoints: Checkpoints, workers: int) -> list[dict[str, Arrays]]:
    """Train, defend, ask and attack all models of a family's worlds; what a killed run has done is not done again.

    Args:
        family: of the worlds.
        worlds: one for each seed, each with a name.
        checkpoints: where all is kept.
        workers: processes; they do not change the numbers.

    Returns:
        Of every world what the model of each defense told.
    """
    trainings = {key(world.name, one): (world, one, checkpoints) for world in worlds for one in TRAINED}
    left = kept(family.trained, trainings, checkpoints, workers, f"trainings on {family.name}")
    asked = {
        key(world.name, one, "told"): (world, one, left[key(world.name, training_of(one))], checkpoints)
        for world in worlds
        for one in family.defenses
    }
    found = kept(family.told, asked, checkpoints, workers, f"defenses of {family.name} attacked")
    return [{one: found[key(world.name, one, "told")] for one in family.defenses} for world in worlds]


def training_of(defense: str) -> str:
    """Whose training a defended model is made of."""
    return defense if defense in TRAINED else NOTHING


def at_share(weights: Mapping[str, np.ndarray], share: float) -> Arrays:
    """Weights as a training leaves them after a share of its steps; `left_at` finds them again."""
    return {f"{share:g} {name}": value for name, value in weights.items()}


def left_at(left: Mapping[str, np.ndarray], share: float) -> Arrays:
    """The weights that a training left after a share of its steps."""
    there = f"{share:g} "
    return {name.removeprefix(there): value for name, value in left.items() if name.startswith(there)}


def check_earlier(earlier: Sequence[float]) -> None:
    """Raises InputError where these are no shares of a training, falling."""
    require(
        len(earlier) > 0 and list(earlier) == sorted(set(earlier), reverse=True) and 0 < earlier[-1] <= earlier[0] < 1,
        f"earlier is {tuple(earlier)}; give falling shares between 0 and 1.",
    )


def strongest(models: Sequence[Model], loss: Callable[[Model], float], most: float) -> Model:
    """The last one whose loss is at most so much; the first one, where none is."""
    fitting = [one for one in models if loss(one) <= most]
    return fitting[-1] if fitting else models[0]
