"""What models recite of scenarios, what they answer about roles, and what probes read, in rows over worlds."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from difflab.audits.scenario_worlds import (
    ARMS,
    ASKED,
    ONE,
    PLACES,
    RECITED,
    SEVERAL,
    UNSEEN,
    ScenarioWorld,
    probe_name,
)
from difflab.runs.rows import Row
from difflab.statistics.intervals import SHARE, grouped_fraction, mean, paired_difference

ByArm = Mapping[str, Sequence[Mapping[str, np.ndarray]]]
"""By arm, of every world what `difflab.audits.scenario_worlds.scenario_worlds` returns, in one order of worlds."""
_LAST = -1


def answer_rows(by_arm: ByArm, world: ScenarioWorld) -> Iterator[Row]:
    """Shares of scenarios that are recited in full, and of those whose role is told; by exposures, 0 before any."""
    for arm in ARMS:
        for of in (RECITED, ASKED, UNSEEN):
            for look, times in enumerate((0, *world.exposures)):
                counts = [round(share * world.scenarios) for share in _shares(by_arm, arm, of, look)]
                setting = {"model": arm, "of": of, "exposures": times}
                yield Row(
                    "right_fraction", *grouped_fraction(counts, world.scenarios), len(counts) * world.scenarios, setting
                )


def probe_rows(by_arm: ByArm, world: ScenarioWorld) -> Iterator[Row]:
    """Shares of arguments that linear probes read, by exposures; beside them those of exchanged arguments."""
    for arm in ARMS:
        for place in PLACES:
            for look, times in enumerate((0, *world.exposures)):
                for exchanged in (False, True):
                    values = _shares(by_arm, arm, probe_name(place, exchanged), look)
                    setting = {"model": arm, "place": place, "exchanged": exchanged, "exposures": times}
                    yield Row("probe_fraction", *mean(values, bounds=SHARE), len(values), setting)


def difference_rows(by_arm: ByArm) -> Iterator[Row]:
    """World by world, after the last exposures.

    `recited_difference` is by how much more scenarios are recited in full than their role is told, of each model;
    `wordings_difference` by how much more roles are told, and `probe_difference` by how much more probes read after the
    name and after the role, with several wordings than with one.
    """
    n = len(by_arm[ONE])
    for arm in ARMS:
        gap = paired_difference(_shares(by_arm, arm, RECITED), _shares(by_arm, arm, ASKED))
        yield Row("recited_difference", *gap, n, {"model": arm})
    gain = paired_difference(_shares(by_arm, SEVERAL, ASKED), _shares(by_arm, ONE, ASKED))
    yield Row("wordings_difference", *gain, n, {"of": ASKED})
    for place in PLACES:
        read = probe_name(place)
        gain = paired_difference(_shares(by_arm, SEVERAL, read), _shares(by_arm, ONE, read))
        yield Row("probe_difference", *gain, n, {"place": place})


def _shares(by_arm: ByArm, arm: str, name: str, look: int = _LAST) -> Float[np.ndarray, " worlds"]:
    return np.array([looks[name][look] for looks in by_arm[arm]])
