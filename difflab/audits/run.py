"""Experiments as calls: `difflab.run`, over several worlds if asked to, and `difflab.open_run`."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from difflab.errors import require
from difflab.runs import registry
from difflab.runs.configs import from_keywords
from difflab.runs.execute import execute
from difflab.runs.result import Result
from difflab.runs.results import read_run
from difflab.siblings import at_home

WORLDS = "worlds"
"""The folder in which `difflab worlds` leaves them."""


def run(name: str, *, smoke: bool = False, out: str | Path | None = "results", **flags: Any) -> Result:
    """Run one experiment, unless its run is there already: what `difflab run NAME` does.

    Args:
        name: of the experiment ('difflab list').
        smoke: a version of seconds, to see that it runs.
        out: the folder of all results; None keeps the result in memory.
        flags: every flag of the experiment under its name, as n=200 or clip_norm=1.0; one whose name stands in several
            parts of the config by its path, as **{"plan.seed": 1}. Where the experiment asks a model of a plan,
            worlds=3 asks so many worlds of the folder worlds_folder ("worlds"), which `difflab worlds` filled.

    Returns:
        The result; result.folder is where it lies.

    Raises:
        InputError: there is no such experiment or flag, a value is out of range, there are fewer worlds, or a folder of
            the user's own hides the experiments.
    """
    module = registry.load(name)
    places = ("worlds", "worlds_folder") if takes_worlds(module.Config) else ()
    over = {flag: flags.pop(flag) for flag in places if flag in flags}
    worlds = over.get("worlds")
    require(worlds is None or isinstance(worlds, int), f"worlds is {worlds!r}; give at least 2.")
    config = from_keywords(module.SMOKE if smoke else module.Config(), flags)
    return run_config(name, config, None if out is None else Path(out), **over)


def run_config(
    name: str, config: Any, out: Path | None, worlds: int | None = None, worlds_folder: str | Path = WORLDS
) -> Result:
    """Run one experiment with this config, or with it over so many worlds of a folder.

    Raises:
        InputError: there are fewer worlds.
    """
    module = registry.load(name)
    if worlds is None:
        return execute(name, module, config, out)
    with at_home():
        # It brings torch along.
        from difflab.audits.over_worlds import over_worlds

        return over_worlds(name, module, config, Path(worlds_folder), worlds, out)


def takes_worlds(config: type) -> bool:
    """Whether an experiment of this config asks a model of a plan, and has no worlds of its own."""
    names = {field.name for field in fields(config)}
    return {"model", "plan"} <= names and "worlds" not in names


def open_run(folder: str | Path) -> Result:
    """A finished run.

    Args:
        folder: `<out>/<experiment>/<digest>`.

    Raises:
        InputError: it is not finished, cut short or damaged.
    """
    return read_run(Path(folder))
