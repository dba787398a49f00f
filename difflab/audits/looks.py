"""A training that is looked at on its way: every look is kept, so that a killed run takes none of them twice."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.recipe import Recipe
from difflab.autoregressive.train import Objective, Rows, cross_entropy, train
from difflab.errors import require
from difflab.runs.resuming import Prefixed, key
from difflab.training.devices import one_thread
from difflab.training.loop import Keeping

Model = TypeVar("Model")


class Course(NamedTuple):
    """A training.

    Attributes:
        start: the model, which stays as it is.
        rows: the training rows, or those of each step.
        recipe: how.
        seed: of the order.
        objective: what is lowered.
    """

    start: LanguageModel
    rows: Rows | Callable[[int], Rows]
    recipe: Recipe
    seed: int
    objective: Objective = cross_entropy


def looked_at(
    course: Course,
    steps: Sequence[int],
    look: Callable[[LanguageModel], Mapping[str, float]],
    pieces: Prefixed,
) -> dict[str, np.ndarray]:
    """Train a model and measure it after some steps.

    Args:
        course: the training.
        steps: after which it is looked at, ascending; 0 is before the first.
        look: model -> numbers by name, the same names every time.
        pieces: where looks and the half-done training are kept.

    Returns:
        By name one number a look, and the steps under "steps".
    """
    found = []
    for step in steps:
        # A look is kept before the next step: a training that has gone on has no way back.
        taken = pieces.load(key("look", step))
        if taken is None:
            keeping = Keeping(pieces, "training", course.recipe.steps)
            model = train(
                course.start, course.rows, course.recipe, course.seed, keeping, objective=course.objective, until=step
            )
            taken = {name: np.array(value) for name, value in look(model).items()}
            pieces.save(key("look", step), taken)
        found.append(taken)
    looks = {name: np.array([float(taken[name]) for taken in found]) for name in found[0]}
    return {"steps": np.array(steps, float)} | looks


def rounds_looked_at(
    first: Callable[[], Model],
    rounds: Iterator[Model],
    look: Callable[[Model], dict[str, np.ndarray]],
    pieces: Prefixed,
) -> dict[str, np.ndarray]:
    """What is measured of a model before the first of its rounds and after each.

    Args:
        first: the model before them.
        rounds: the model after every round that is not done yet (`difflab.training.federated`).
        look: model -> arrays by name, the same names every time.
        pieces: where looks are kept, and those rounds.

    Returns:
        By name one entry a look.
    """
    before = pieces.load("round")
    done = 0 if before is None else int(before["round"])

    def looked(model: Model, round_: int) -> dict[str, np.ndarray]:
        with one_thread():
            found = look(model)
        pieces.save(key("look", round_), found)
        return found

    begun = pieces.load(key("look", 0)) or looked(first(), 0)
    earlier = [pieces.load(key("look", round_)) for round_ in range(1, done + 1)]
    require(
        all(one is not None for one in earlier),
        "a look at an earlier round is damaged, and there is no way back to it; run with another --out.",
    )
    later = [looked(model, round_) for round_, model in enumerate(rounds, start=done + 1)]
    every = [begun, *(one for one in earlier if one is not None), *later]
    return {name: np.stack([one[name] for one in every]) for name in begun}
