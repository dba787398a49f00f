"""Experiments as calls: `difflab.run` and `difflab.open_run`."""

from pathlib import Path
from typing import Any

from difflab.runs import registry
from difflab.runs.configs import from_keywords
from difflab.runs.execute import execute
from difflab.runs.result import Result
from difflab.runs.results import read_run


def run(name: str, *, smoke: bool = False, out: str | Path | None = "results", **flags: Any) -> Result:
    """Run one experiment, unless its run is there already: what `difflab run NAME` does.

    Args:
        name: of the experiment ('difflab list').
        smoke: a version of seconds, to see that it runs.
        out: the folder of all results; None keeps the result in memory.
        flags: every flag of the experiment under its name, as n=200 or clip_norm=1.0; one whose name stands in several
            parts of the config by its path, as **{"plan.seed": 1}.

    Returns:
        The result; result.folder is where it lies.

    Raises:
        InputError: there is no such experiment or flag, a value is out of range, or a folder of the user's own hides
            the experiments.
    """
    module = registry.load(name)
    config = from_keywords(module.SMOKE if smoke else module.Config(), flags)
    return execute(name, module, config, None if out is None else Path(out))


def open_run(folder: str | Path) -> Result:
    """A finished run.

    Args:
        folder: `<out>/<experiment>/<digest>`.

    Raises:
        InputError: it is not finished, cut short or damaged.
    """
    return read_run(Path(folder))
