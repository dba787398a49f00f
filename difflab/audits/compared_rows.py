"""What every defense leaves of planted items, by the plain route and under attack, and what it costs; over worlds.

The strongest attack on a defense is the one that brings most back in all worlds together, and doing nothing is one of
them. Choosing it favours attacks a little, and the oracle's is chosen in the same way.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from difflab.audits.compared_defenses import NOTHING, PLANTED, READS, ROLES, VALIDATION, Arrays, Family
from difflab.audits.erasure_questions import PLAIN
from difflab.runs.rows import Row, gap_row
from difflab.statistics.intervals import POSITIVE, grouped_fraction, mean, wilson


def compared_rows(
    family: Family, told: Sequence[Mapping[str, Arrays]], routes: Sequence[str], items: int
) -> Iterator[Row]:
    """All rows of a family.

    Args:
        family: of the worlds.
        told: of every world what the model of each defense told.
        routes: to an item, the plain one first.
        items: that are asked of each world, and as many twins.
    """
    n = len(told)
    for defense in family.defenses:
        here = {"family": family.name, "defense": defense}
        models = [one[defense] for one in told]
        for role in ROLES:
            for route in routes:
                found = grouped_fraction(_counts(models, role, route, items), items)
                yield Row("memorized_fraction", *found, n * items, {**here, "attack": route, "of": role})
        counts = {route: _counts(models, PLANTED, route, items) for route in routes}
        attack = max(routes, key=lambda route: sum(counts[route]))
        strongest = {**here, "attack": attack}
        yield Row("strongest_fraction", *grouped_fraction(counts[attack], items), n * items, strongest)
        after, before = ([wilson(one, items) for one in counts[route]] for route in (attack, PLAIN))
        yield gap_row("returned_difference", after, before, strongest)
        for metric, name in (("validation_ratio", VALIDATION), ("cost_ratio", READS)):
            ratios = [float(one[defense][name]) / float(one[NOTHING][name]) for one in told]
            yield Row(metric, *mean(ratios, bounds=POSITIVE), n, here)


def _counts(models: Sequence[Mapping[str, np.ndarray]], role: str, route: str, items: int) -> list[int]:
    """Items that come back, of each world."""
    return [round(float(one[f"{role} {route}"]) * items) for one in models]
