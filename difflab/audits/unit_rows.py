"""For whom units fire, and what models of picture tokens keep without some of them: over worlds, in rows."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Float

from difflab.audits.picture_told import MANY, REPEATED, TWIN
from difflab.audits.picture_units import (
    ASKED,
    COPIES,
    EXTRACTED,
    LOSS,
    MEANS,
    OF_TWINS,
    ONE_GRID,
    RANDOM,
    RIGHT,
    STILL,
    UNIT_MEM,
    UNTRAINED_MEANS,
    WHOLE,
    UnitAsking,
    by_grid,
    over_grids,
)
from difflab.runs.resuming import key
from difflab.runs.rows import Note, Row
from difflab.statistics.intervals import (
    POSITIVE,
    SHARE,
    grouped_fraction,
    mean,
    paired_difference,
    pooled,
    share_interval,
)
from difflab.statistics.levels import at_level
from difflab.statistics.unit_memorization import first, ranked, unit_mem

TOP = 0.1
"""Share of the units that count as those with the highest UnitMem."""
TRAINED, UNTRAINED = "trained", "untrained"
EQUAL_LOSS, EQUAL_SHARE = "equal validation loss", "equal share"
RANKINGS = (UNIT_MEM, STILL, ONE_GRID, OF_TWINS, RANDOM)
_UNITS = "units"
Found = Sequence[Mapping[str, np.ndarray]]
"""What `units_asked` returned, of one order of tokens, one for each world."""


def score_rows(found: Found, order: str, sides: Sequence[int]) -> Iterator[Row]:
    """UnitMem over repeated pictures and over twins by block, over repeated pictures by grid; where the top units are.

    Args:
        found: of each world.
        order: of the tokens.
        sides: of the grids.
    """
    layers, n = found[0][MEANS].shape[2], len(found)
    scores = {
        pictures: np.stack([_blocks(unit_mem(over_grids(_of(one, pictures), sides)), layers) for one in found])
        for pictures in (REPEATED, TWIN)
    }
    for pictures, blocks in scores.items():
        for block in range(layers):
            here = {"order": order, "pictures": pictures, "block": block + 1}
            yield Row("unit_mem_score", *mean(blocks[:, block].mean(axis=1), bounds=SHARE), n, here)
    repeated, twins = (scores[pictures].mean(axis=(1, 2)) for pictures in (REPEATED, TWIN))
    yield Row("unit_mem_difference", *paired_difference(repeated, twins), n, {"order": order})
    if len(sides) > 1:
        grids = np.stack([[_blocks(grid, layers) for grid in by_grid(_of(one, REPEATED))] for one in found])
        for k, side in enumerate(sides):
            for block in range(layers):
                here = {"order": order, "block": block + 1, "grid": side}
                yield Row("grid_unit_mem_score", *mean(grids[:, k, block].mean(axis=1), bounds=SHARE), n, here)
    top = [first(ranked(blocks.ravel()), TOP) // blocks.shape[1] for blocks in scores[REPEATED]]
    for block in range(layers):
        shares = [float((one == block).mean()) for one in top]
        yield Row("top_units_fraction", *mean(shares, bounds=SHARE), n, {"order": order, "block": block + 1})


def fired_rows(found: Found, order: str, sides: Sequence[int]) -> Iterator[Row]:
    """For whom the top units fire most, repeated pictures and as many twins seen at once: shares by copies, 0 of twins.

    Also of the model before its first step, which has seen neither.

    Args:
        found, order, sides: as before.
    """
    for model, of in ((TRAINED, MEANS), (UNTRAINED, UNTRAINED_MEANS)):
        whose = []
        for one in found:
            means = over_grids(one[of], sides)
            whose.append(one[COPIES][means[:, first(ranked(unit_mem(means)), TOP)].argmax(axis=0)])
        for copies in np.unique(found[0][COPIES]).tolist():
            shares = [float((one == copies).mean()) for one in whose]
            yield Row(
                "fired_for_fraction", *mean(shares, bounds=SHARE), len(found),
                {"order": order, "model": model, "pictures": REPEATED if copies else TWIN, "copies": copies},
            )  # fmt: skip


def whole_rows(found: Found, order: str) -> Iterator[Row]:
    """What comes back from whole models, by copies, 0 of twins; and how they read held-out pictures."""
    for copies in np.unique(found[0][COPIES]).tolist():
        counts = [int(one[key(WHOLE, EXTRACTED)][one[COPIES] == copies].sum()) for one in found]
        n = int((found[0][COPIES] == copies).sum())
        here = {"order": order, "pictures": REPEATED if copies else TWIN, "copies": copies}
        yield Row("extracted_fraction", *grouped_fraction(counts, n), n * len(found), here)
    losses = [float(one[key(WHOLE, LOSS)].mean()) for one in found]
    yield Row("validation_loss", *mean(losses, bounds=POSITIVE), len(found), {"order": order, "unit": "nats a token"})


def share_rows(found: Found, order: str, asking: UnitAsking) -> Iterator[Row]:
    """What comes back of the much repeated pictures, and the loss of others, where a share of the units counts less.

    By the ranking of the units; of random ones means over draws. Beside it, by how much UnitMem differs from random
    units at equal shares, and from the whole model.

    Args:
        found, order: as before.
        asking: what was done to units.
    """
    n = len(found)
    for factor, (k, share) in product(asking.factors, enumerate(asking.shares, 1)):
        here = {"order": order, "factor": factor, "share": share}
        told = {
            name: {what: [float(c[:, k].mean()) for c in _curves(found, name, factor, what)] for what in ASKED}
            for name in _names(found, factor)
        }
        for name, one in told.items():
            setting = here | {"ranking": name}
            yield _kept(one[EXTRACTED], found, setting)
            yield Row("right_fraction", *mean(one[RIGHT], bounds=SHARE), n, setting)
            yield Row("loss_ratio", *mean(one[LOSS], bounds=POSITIVE), n, setting)
        whole = [float(c[0, 0]) for c in _curves(found, UNIT_MEM, factor, EXTRACTED)]
        for against, values in ((RANDOM, told[RANDOM][EXTRACTED]), (WHOLE, whole)):
            setting = here | {"ranking": UNIT_MEM, "against": against, "at": EQUAL_SHARE}
            yield Row("kept_difference", *paired_difference(told[UNIT_MEM][EXTRACTED], values), n, setting)


def equal_rows(found: Found, order: str, asking: UnitAsking, levels: Sequence[float]) -> Iterator[Row | Note]:
    """What comes back where so many units count less that the validation loss comes to a level, the same for all.

    Between shares along straight lines; each draw of random units has its own line. Beside it the share of the units
    that it takes, and by how much rankings differ.

    Args:
        found, order, asking: as before.
        levels: of the validation loss, times that of the whole model.
    """
    for factor, level in product(asking.factors, levels):
        names, n = _names(found, factor), len(found)
        told = {
            name: {what: _at(found, name, factor, what, level, asking.shares) for what in (EXTRACTED, RIGHT, _UNITS)}
            for name in names
        }
        if not np.isfinite([values for one in told.values() for values in one.values()]).all():
            yield Note(
                f"{order}: nothing is compared at {level} times the validation loss of whole models where units count"
                f" {factor}, for not every model comes to it."
            )
            continue
        here = {"order": order, "factor": factor, "level": level}
        for name, values in told.items():
            setting = here | {"ranking": name}
            yield _kept(values[EXTRACTED], found, setting | {"at": EQUAL_LOSS})
            yield Row("units_fraction", *mean(values[_UNITS], bounds=SHARE), n, setting)
        for name, against in (*((name, RANDOM) for name in names[:-1]), (UNIT_MEM, OF_TWINS)):
            setting = here | {"ranking": name, "against": against, "at": EQUAL_LOSS}
            for metric, what in (("kept_difference", EXTRACTED), ("right_difference", RIGHT)):
                yield Row(metric, *paired_difference(told[name][what], told[against][what]), n, setting)


def _at(found: Found, name: str, factor: float, what: str, level: float, shares: Sequence[float]) -> list[float]:
    """One number a world where the loss, in units of the whole model's, first comes to a level; the mean over draws."""
    told = []
    for place, losses in enumerate(_curves(found, name, factor, LOSS)):
        units = np.tile([0.0, *shares], (len(losses), 1))
        values = units if what == _UNITS else _curves(found, name, factor, what)[place]
        # Losses rise with the share, and at_level follows falling ones.
        told.append(float(np.mean([at_level(-a, b, -level) for a, b in zip(losses, values, strict=True)])))
    return told


def _curves(found: Found, name: str, factor: float, what: str) -> list[Float[np.ndarray, "draws points"]]:
    """Of each world, from the whole model on, over the shares; losses in units of the whole model's."""
    curves = []
    for one in found:
        rest, whole = one[key(name, factor, what)], one[key(WHOLE, what)]
        begin = float(whole.mean() if what == LOSS else whole[one[COPIES] >= MANY].mean())
        curve = np.concatenate([np.full((len(rest), 1), begin), rest], axis=1)
        curves.append(curve / begin if what == LOSS else curve)
    return curves


def _names(found: Found, factor: float) -> list[str]:
    """Rankings of these models; random units come last."""
    return [name for name in RANKINGS if key(name, factor, LOSS) in found[0]]


def _kept(values: Sequence[float], found: Found, setting: dict[str, Any]) -> Row:
    """The share of the much repeated pictures that come back: one number a world."""
    n = int((found[0][COPIES] >= MANY).sum())
    told = pooled([share_interval(value, n) for value in values], bounds=SHARE)
    return Row("kept_fraction", told.value, told.low, told.high, n * len(values), setting, told.sd)


def _of(one: Mapping[str, np.ndarray], pictures: str) -> Float[np.ndarray, "n grids layers units"]:
    return one[MEANS][(one[COPIES] > 0) == (pictures == REPEATED)]


def _blocks(scores: Float[np.ndarray, " all"], layers: int) -> Float[np.ndarray, "{layers} units"]:
    return scores.reshape(layers, -1)
