"""An experiment over several worlds: each asked as if it were the only one, then every number over all of them."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped
from matplotlib.figure import Figure

from difflab.audits.trained_worlds import Kept, kept
from difflab.diffusion.pipeline import checksum
from difflab.errors import require
from difflab.runs.execute import Experiment, execute
from difflab.runs.result import Result
from difflab.runs.results import Checkpoints
from difflab.runs.rows import HELD, Artefact, Note, Row
from difflab.statistics.intervals import ANY, POSITIVE, SHARE, Interval, pooled, wilson

BOUNDS = {"fraction": SHARE, "auc": SHARE, "similarity": ANY, "score": ANY, "difference": ANY}
"""By kind of metric; the others are not negative."""


@dataclass(frozen=True)
class OverWorlds:
    """What a run over worlds is named after."""

    each: Any
    """The experiment's config, but for what a world brings."""
    worlds: int
    """How many there are."""
    contents: str
    """Checksums of their models and oracles."""


def over_worlds(name: str, module: Experiment, config: Any, folder: Path, n: int, out: Path | None) -> Result:
    """Run an experiment on each of n worlds, and once more over all of them.

    Args:
        name: the experiment's.
        module: what `registry.load` returned.
        config: its config; model, oracle, plan and recipe come from each world, and nothing is trained.
        folder: what `difflab worlds` wrote.
        n: worlds, at least 2.
        out: the folder of all results, of the runs on one world too; None keeps the result in memory.

    Returns:
        The run over all worlds: its artefacts and figures of pictures are those of the first world.

    Raises:
        InputError: there are fewer worlds, or the config names a model, pictures or adapters of its own.
    """
    require(n >= 2, f"worlds is {n}; give at least 2, or leave it out for the model of --model.")
    worlds = kept(folder, config.plan, n)
    configs = [in_world(config, world) for world in worlds]
    contents = " ".join(checksum(part) for world in worlds for part in (world.model, world.oracle))
    together = _Together(name, module, configs, out)
    return execute(name, together, OverWorlds(config, n, contents), out)


def in_world(config: Any, world: Kept) -> Any:
    """The config of an experiment on one world.

    Raises:
        InputError: the config names a model, an oracle, pictures or adapters of its own.
    """
    own = {"model": "planted", "oracle": "", "images": "", "never": "", "lora": ""}
    there = {field.name for field in fields(config)}
    for flag in (flag for flag, usual in own.items() if flag in there and getattr(config, flag) != usual):
        require(False, f"--worlds bring their own model, oracle and pictures; leave --{flag} out.")
    brought: dict[str, Any] = {"model": world.model, "plan": world.made_of.plan, "oracle": world.oracle}
    brought |= {"recipe": world.made_of.recipe, "milestones": ()}
    return replace(config, **{name: value for name, value in brought.items() if name in there})


def merged(runs: Sequence[Sequence[Row]]) -> Iterator[Row | Note]:
    """Rows of equal metric and setting as one: the mean over worlds, its interval, and how much worlds differ.

    What is the same in every world and has no interval, such as a published number, stays as it is. What some world
    lacks is left out, with a note.

    Args:
        runs: the rows of each world, at least 2.
    """
    found = defaultdict[tuple[str, str, int], list[Row]](list)
    for rows in runs:
        seen = Counter[tuple[str, str]]()
        for row in rows:
            key = (row.metric, json.dumps(row.setting, sort_keys=True))
            found[(*key, seen[key])].append(row)
            seen[key] += 1
    for (metric, setting, _), rows in found.items():
        if len(rows) < len(runs):
            yield Note(f"{metric} {setting} is left out: {len(rows)} of {len(runs)} worlds have it.")
        elif rows[0].low is None and rows[0].high is None and all(row == rows[0] for row in rows):
            yield rows[0]
        else:
            yield _over(rows)


def _over(rows: Sequence[Row]) -> Row:
    """One row of several worlds; n counts what all of them rest on."""
    bounds = BOUNDS.get(rows[0].metric.rsplit("_", 1)[-1], POSITIVE)
    value, low, high, sd = pooled([Interval(*row.interval) for row in rows], bounds=bounds)
    return Row(rows[0].metric, value, low, high, sum(row.n for row in rows), rows[0].setting, sd)


class _Together:
    """The experiment over worlds, as `execute` runs it."""

    def __init__(self, name: str, module: Experiment, configs: Sequence[Any], out: Path | None) -> None:
        self.__doc__ = module.__doc__
        self.name, self.module, self.configs, self.out = name, module, configs, out

    def run(self, config: OverWorlds, checkpoints: Checkpoints) -> Iterator[Row | Artefact | Note]:
        """Each world in a run folder of its own, so that a killed run does none twice."""
        results = [execute(self.name, self.module, one, self.out) for one in self.configs]
        together = list(merged([result.rows for result in results]))
        yield from together
        # By their places: a sentence may hold a number of its world.
        verdicts = zip(*(result.claims.values() for result in results), strict=True)
        for claim, held in zip(self.claims([row for row in together if isinstance(row, Row)]), verdicts, strict=True):
            yield Row(HELD, *wilson(sum(held), len(held)), len(held), {"claim": claim})
        for sentence in dict.fromkeys(note for result in results for note in result.meta.get("notes", ())):
            yield Note(sentence)
        yield Note(
            f"Every number is a mean over {config.worlds} worlds: models with oracles and data of their own. Pictures"
            " and curves made of single scores are those of the first."
        )
        for name, array in results[0].artefacts.items():
            yield Artefact(name, array)

    def claims(self, rows: Sequence[Row]) -> Mapping[str, bool]:
        """Those of the experiment."""
        return self.module.claims(rows)

    def figures(self, rows: Sequence[Row], artefacts: dict[str, Shaped[np.ndarray, "..."]]) -> Mapping[str, Figure]:
        """Those of the experiment."""
        return self.module.figures(rows, artefacts)
