"""Which training items does the course of a training make suspect, and where do all of them lie on its map?

A matrix of losses is enough, one row an epoch and one column a training item, of whatever model: losses in evaluation
mode and, where there is chance in the loss, always at the same draws of it. GenDataCarto (arXiv 2509.00083) maps items
by their early loss (difficulty) and by how often an epoch forgets them (memorization): stable-easy, ambiguous-hard,
hotspot-memorized, noisy-outlier. Beside these two stand how far the loss falls, the area under it and where it ends,
and every signal names its most suspect items. Where it is known how often each item stands in the training set, copies
say which signal to believe; what is planted here shows that forget events are none (`data_cartography`).

`difflab.cartography(losses)` in Python and `difflab cartography LOSSES.npy` run this, for an array, a table, or a file
of either. Without losses a small Llama reads a planted language with known copies. Cost on two cores: seconds, and half
a minute without losses.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from jaxtyping import Int
from matplotlib.figure import Figure

from difflab.audits.cartography_figures import map_figure, signals_figure
from difflab.audits.duplicate_worlds import LOSSES, DuplicateWorld, collection, recorded
from difflab.audits.pipelines import IN_MEMORY
from difflab.audits.text_reading import Questions
from difflab.datasets.losses import Given, Losses, read_counts, read_losses
from difflab.errors import at_least, require
from difflab.files import checksum, sha256
from difflab.randomness import stream
from difflab.runs.configs import from_keywords
from difflab.runs.execute import execute
from difflab.runs.result import Result
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key, made_once
from difflab.runs.rows import Artefact, Note, Row, select
from difflab.statistics.cartography import (
    DROP,
    FORGOTTEN,
    QUADRANTS,
    Signals,
    check_losses,
    quadrants,
    signals,
)
from difflab.statistics.intervals import bootstrap, wilson
from difflab.statistics.ranking import auc_interval, true_positives_interval

NAME = "training_charted"
"""Of the experiment that this is."""
ONCE = "items that stand once"


@dataclass(frozen=True)
class Config:
    """The losses, and how the map is cut."""

    losses: str = ""
    """File of losses, epochs x items: .npy, .parquet, or .csv with a header; empty: a planted language is read."""
    copies: str = ""
    """File of how often each item stands in the training set, where that is known: signals are judged by it."""
    items_first: bool = False
    """Rows are items, and columns epochs."""
    early: int = 0
    """Epochs that difficulty is the mean of; 0: a quarter of them."""
    quantile: float = 0.5
    """Of all losses; an item counts as learned below it."""
    easy: float = 0.5
    """Quantile of difficulty up to which an item is easy."""
    often: float = 0.75
    """Quantile of memorization above which an item is forgotten often."""
    suspects: int = 20
    """Items that every signal names."""
    replicates: int = 500
    """Bootstrap resamples of the items."""
    seed: int = 0
    """Of those, and of the planted language."""
    world: tyro.conf.Suppress[DuplicateWorld] = field(default_factory=DuplicateWorld)
    """Where no losses are given: what is read; its seed is not looked at."""
    contents: tyro.conf.Suppress[str] = field(init=False, default="")
    """Checksums of the files."""

    def __post_init__(self) -> None:
        at_least(self, 0, "early", "suspects", "seed")
        at_least(self, 1, "replicates")
        for name in ("quantile", "easy", "often"):
            value = getattr(self, name)
            require(0 < value < 1, f"{name} is {value}; give one between 0 and 1.")
        require(bool(self.losses) or not self.copies, "--copies goes with --losses.")
        require(bool(self.losses) or not self.items_first, "--items-first goes with --losses.")
        files = [Path(one) for one in (self.losses, self.copies) if one and not one.startswith(IN_MEMORY)]
        object.__setattr__(self, "contents", " ".join(checksum(path)[:12] for path in files))


SMOKE = Config(
    suspects=3,
    replicates=20,
    world=DuplicateWorld(
        items=5, copies=3, documents=12, strings=8, held_out=5, length=14, vocabulary=64, slots=6, size="nano",
        epochs=4, batch=16,
    ),
)  # fmt: skip


def cartography(
    losses: Given | None = None,
    *,
    copies: Any = None,
    out: str | Path | None = None,
    **flags: Any,
) -> Result:
    """Which training items does the course of a training make suspect?

    Args:
        losses: of anybody's training, epochs x items: an array, a table whose columns are items, or a file of either
            (.npy, .parquet, .csv); None reads a planted language.
        copies: how often each item stands in the training set, where that is known: numbers, or a file of them.
        out: the folder of results that the run is kept in; None keeps it in memory.
        flags: every flag of `difflab cartography`, under its name: items_first=False, early=0, quantile=0.5, easy=0.5,
            often=0.75, suspects=20, replicates=500, seed=0.

    Returns:
        Rows items_count, quadrant_fraction, signal_loss and forgotten_fraction (means), suspect_score (the items that
        each signal names first); with copies auc and true_positive_fraction of every signal; the map; the signals of
        every item, its quadrant and its name as artefacts.

    Raises:
        InputError: a flag or the losses are not usable; the sentence says why.
    """
    flags = {name: value for name, value in flags.items() if value is not None}
    given = dict[str, Any]()
    if isinstance(losses, str | Path):
        flags["losses"] = str(losses)
    elif losses is not None:
        given["losses"] = read_losses(losses, bool(flags.get("items_first", False)))
        content = (
            given["losses"].losses.tobytes() + repr((given["losses"].losses.shape, given["losses"].names)).encode()
        )
        flags["losses"] = IN_MEMORY + sha256(content)[:12]
    if isinstance(copies, str | Path):
        flags["copies"] = str(copies)
    elif copies is not None:
        given["copies"] = np.asarray(copies)
        flags["copies"] = IN_MEMORY + sha256(given["copies"].tobytes() + str(given["copies"].dtype).encode())[:12]
    config = from_keywords(Config(), flags)
    return execute(NAME, sys.modules[__name__], config, None if out is None else Path(out), **given)


def run(
    config: Config, checkpoints: Checkpoints, losses: Losses | None = None, copies: np.ndarray | None = None
) -> Iterator[Row | Artefact | Note]:
    """Read or record the losses, draw the map, name suspects, and judge signals where copies are known."""
    found, times = _given(config, losses, copies) if config.losses else _planted(config, checkpoints)
    epochs, items = found.losses.shape
    if epochs > items:
        yield Note(f"there are {epochs} epochs of {items} items; if rows are items, say so with --items-first.")
    told = signals(found.losses, config.early, config.quantile)
    places = quadrants(told, config.easy, config.often)
    yield Row("items_count", float(items), None, None, items, {"epochs": epochs})
    for number, name in enumerate(QUADRANTS):
        yield Row("quadrant_fraction", *wilson(int((places == number).sum()), items), items, {"quadrant": name})
    yield from _mean_rows(told, config)
    yield from _suspect_rows(told, places, found.names, config)
    if times is not None:
        yield from _judged_rows(told, times, config)
    yield Artefact("losses", found.losses)
    yield Artefact("signals", {key(name): values for name, values in told.suspicion().items()})
    yield Artefact("map", {"difficulty": told.difficulty, "memorization": told.memorization, "quadrant": places})
    yield Artefact("groups", _groups(places, times))


def _given(
    config: Config, losses: Losses | None, copies: np.ndarray | None
) -> tuple[Losses, Int[np.ndarray, " n"] | None]:
    found = losses if losses is not None else read_losses(config.losses, config.items_first)
    check_losses(found.losses)
    if not config.copies:
        return found, None
    times = read_counts(copies if copies is not None else config.copies, len(found.names), "copies")
    require(
        bool((times > 1).any() and (times <= 1).any()),
        "copies tell of no item that stands several times, or of none that does not; leave them out.",
    )
    return found, times


def _planted(config: Config, checkpoints: Checkpoints) -> tuple[Losses, Int[np.ndarray, " n"]]:
    world = replace(config.world, seed=config.seed)
    found, nothing = collection(world), Questions((), (), (1,), 1, 4096, 0)
    told = made_once(checkpoints, "charted", recorded, world, nothing, checkpoints)
    first = found.first
    names = [f"{kind} {place}" for place, kind in enumerate(found.kinds[first])]
    return Losses(told[LOSSES].astype(np.float64), tuple(names)), found.copies[first]


def _mean_rows(told: Signals, config: Config) -> Iterator[Row]:
    """The mean of every signal, by a bootstrap over items; memorization is a share of epochs."""
    parts = {name: values for name, values in told.suspicion().items() if name != FORGOTTEN}
    for name, values in (*parts.items(), (FORGOTTEN, told.memorization)):
        of = values if name in (DROP, FORGOTTEN) else -values
        chance = stream(config.seed, "items", name).numpy()
        value, low, high = bootstrap(of, np.mean, chance, config.replicates) if len(of) > 1 else (of[0], None, None)
        metric = "forgotten_fraction" if name == FORGOTTEN else "signal_loss"
        setting = {} if name == FORGOTTEN else {"signal": name}
        yield Row(metric, float(value), low, high, len(of), setting)


def _suspect_rows(told: Signals, places: Int[np.ndarray, " n"], names: Sequence[str], config: Config) -> Iterator[Row]:
    """The items that score highest, in order; equal ones in the order of the matrix."""
    for name, scores in told.suspicion().items():
        for rank, item in enumerate(np.argsort(-scores, kind="stable")[: config.suspects], start=1):
            setting = {"signal": name, "rank": rank, "item": names[item], "quadrant": QUADRANTS[places[item]]}
            yield Row("suspect_score", float(scores[item]), None, None, 1, setting)


def _judged_rows(told: Signals, times: Int[np.ndarray, " n"], config: Config) -> Iterator[Row]:
    """How well every signal tells items that stand several times."""
    copy = times > 1
    for name, scores in told.suspicion().items():
        chance = stream(config.seed, "copies", name)
        setting: dict[str, Any] = {"signal": name, "kind": "all", "against": ONCE}
        yield Row("auc", *auc_interval(scores, copy, chance.numpy(), config.replicates), len(copy), setting)
        rate = true_positives_interval(scores, copy, 0.01, chance.numpy(), config.replicates)
        yield Row("true_positive_fraction", *rate, len(copy), {**setting, "rate": 0.01})


def _groups(places: Int[np.ndarray, " n"], times: Int[np.ndarray, " n"] | None) -> np.ndarray:
    names = np.array(QUADRANTS)[places] if times is None else np.where(times > 1, "several times", ONCE)
    return names.astype("S32")


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What signals are worth, where copies are known."""
    return {
        f"{name}: items that stand several times are told better than chance: interval above 0.5": row.interval.low
        > 0.5
        for name in (FORGOTTEN, DROP)
        for row in select(rows, "auc", signal=name)
    }


def figures(rows: Sequence[Row], artefacts: dict[str, Any]) -> dict[str, Figure]:
    """The map, and where copies are known what signals find."""
    chart = artefacts["map"]
    found = {"map": map_figure(chart["difficulty"], chart["memorization"], artefacts["groups"].astype(str))}
    if select(rows, "auc"):
        found["signals"] = signals_figure(rows, "Items that stand in the training set several times")
    return found
