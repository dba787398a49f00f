"""What filled models hold, in rows: bits for each parameter, what chance gives, and whether more would be held."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from difflab.audits.filled_models import RANDOM, Cell, Filling, Held
from difflab.runs.rows import Row
from difflab.statistics.intervals import POSITIVE, SHARE, mean
from synthetic.capacity import capacity, most_bits
from synthetic.capacity_crossover import learned

Groups = Mapping[tuple[int, int, int], Sequence[Held]]
"""By width, branches and number of texts: of every seed what its model says."""


def grouped(held: Mapping[Cell, Held], steps: int) -> dict[tuple[int, int, int], list[Held]]:
    """Models of so many steps, those that differ in nothing but the seed together."""
    found = dict[tuple[int, int, int], list[Held]]()
    for cell, one in held.items():
        if cell.steps == steps:
            found.setdefault((cell.width, cell.branches, cell.texts), []).append(one)
    return found


def held_rows(filling: Filling, groups: Groups) -> Iterator[Row]:
    """Of each set of texts: bits held for each parameter, and as a share of the most that can be; costs of texts."""
    for (width, branches, texts), models in groups.items():
        parameters, n = filling.parameters(width), len(models)
        here: dict[str, Any] = {"width": width, "parameters": parameters, "branches": branches, "texts": texts}
        yield Row("held_ratio", *mean([one.bits / parameters for one in models], bounds=POSITIVE), n, here)
        shares = [one.bits / most_bits(one.seen_code) for one in models]
        yield Row("kept_fraction", *mean(shares, bounds=POSITIVE), n, here)
        for which, costs in (("seen", [one.seen for one in models]), ("unseen", [one.unseen for one in models])):
            spread = mean([float(part.mean()) for part in costs], bounds=POSITIVE)
            yield Row("text_loss", *spread, n, {**here, "of": which})
        if branches != RANDOM:
            spread = mean([learned_share(filling, one) for one in models], bounds=SHARE)
            yield Row("learned_fraction", *spread, n, here)


def chance_rows(groups: Groups, who: str) -> Iterator[Row]:
    """Bits that models seem to hold of texts that they were not trained on, as a share of their code length."""
    for (width, branches, texts), models in groups.items():
        spread = mean([one.unseen_share for one in models], bounds=POSITIVE)
        here = {"model": who, "width": width, "branches": branches, "texts": texts}
        yield Row("chance_fraction", *spread, len(models), here)


def capacity_rows(filling: Filling, random: Groups) -> Iterator[Row]:
    """Of each width the most bits that are held for each parameter; and those of the largest set over smaller ones."""
    for width in widths(random):
        bits, parameters = totals(random, width, RANDOM), filling.parameters(width)
        here = {"width": width, "parameters": parameters}
        n = len(capacities(random, width))
        yield Row("capacity_ratio", *mean(capacities(random, width) / parameters, bounds=POSITIVE), n, here)
        *smaller, largest = bits.values()
        yield from _ratio_row("larger_ratio", largest, np.max(smaller, axis=0), here)


def longer_rows(once: Groups, longer: Groups) -> Iterator[Row]:
    """What models hold that were trained for longer, over what they hold after the usual steps."""
    for (width, branches, texts), models in longer.items():
        before, after = (np.array([one.bits for one in part]) for part in (once[width, branches, texts], models))
        yield from _ratio_row("longer_ratio", after, before, {"width": width, "texts": texts})


def _ratio_row(
    metric: str, a: Float[np.ndarray, " seeds"], b: Float[np.ndarray, " seeds"], setting: dict[str, Any]
) -> Iterator[Row]:
    """The mean of a / b over seeds; nothing where one b is 0."""
    if np.all(b > 0):
        yield Row(metric, *mean(a / b, bounds=POSITIVE), len(a), setting)


def capacities(random: Groups, width: int) -> Float[np.ndarray, " seeds"]:
    """The most bits that the model of each seed holds of random strings."""
    bits = totals(random, width, RANDOM)
    seeds = range(len(next(iter(bits.values()))))
    return np.array([capacity({texts: part[[i]] for texts, part in bits.items()}).bits for i in seeds])


def totals(groups: Groups, width: int, branches: int) -> dict[int, Float[np.ndarray, " seeds"]]:
    """By number of texts, increasing: bits held of all of them, of each seed."""
    here = sorted(texts for at, of, texts in groups if (at, of) == (width, branches))
    return {texts: np.array([one.bits for one in groups[width, branches, texts]]) for texts in here}


def widths(groups: Groups) -> list[int]:
    """Of the models, increasing."""
    return sorted({width for width, _, _ in groups})


def learned_share(filling: Filling, one: Held) -> float:
    """How much of the law a model has learned."""
    return learned(float(one.unseen.mean()), filling.raw_bits, float(one.unseen_code.mean()))
