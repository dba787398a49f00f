"""Worlds that are trained and kept: a model and its oracle on data of their own, all from one seed.

One world is one run folder, named after all that decides its weights, with the pipelines `model` and `oracle` in it
and rows that say how many of the most repeated pictures each draws again. The oracle never saw those; it shares
tokenizer, text encoder and autoencoder with its model, and its U-Net begins at the same weights and meets the same
order, times and noise.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tyro
from jaxtyping import Shaped
from matplotlib.figure import Figure
from safetensors import SafetensorError, safe_open

from difflab.audits.pipeline_training import CARD, Train, train
from difflab.audits.worlds import OnWorld, open_world
from difflab.diffusion.defended import undefended
from difflab.diffusion.recipe import Recipe
from difflab.errors import InputError, require
from difflab.files import remove
from difflab.runs.configs import from_keywords
from difflab.runs.locks import busy
from difflab.runs.parallel import in_processes
from difflab.runs.result import digest
from difflab.runs.results import Checkpoints, Run
from difflab.runs.rows import Row, select
from difflab.runs.sweep import finished
from difflab.training.devices import device as find_device
from difflab.training.devices import one_thread
from synthetic.plan import Plan, draw

NAME = "world"
"""Of the runs, and of the folder that they lie in."""
MODEL, ORACLE, BASE = "model", "oracle", "base"
"""Pipelines in a world's folder; the base, which both begin with, goes when they are there."""


@dataclass(frozen=True)
class Seeded:
    """All that decides the weights of one world; `Worlds.each` makes them."""

    plan: Plan
    recipe: Recipe
    version: tyro.conf.Suppress[int] = 1
    """Of the code that trains, raised when it gives other weights."""

    @property
    def folder(self) -> Path:
        """Where it lies below a folder of worlds."""
        return Path(NAME) / digest(NAME, asdict(self))


@dataclass(frozen=True)
class Worlds:
    """Worlds of one plan and recipe, which differ in their seed alone."""

    plan: Plan = field(default_factory=Plan)
    """How many pictures of each role; its seed is the world's."""
    recipe: Recipe = field(default_factory=Recipe)
    """Sizes and steps; its seeds are the world's."""
    seeds: int = 10
    """Worlds, one for each seed."""
    first: int = 0
    """The first seed; the others follow."""

    def __post_init__(self) -> None:
        require(self.seeds >= 1, f"seeds is {self.seeds}; give at least 1.")
        require(self.first >= 0, f"first is {self.first}; give at least 0.")
        side, other = self.plan.side, self.recipe.architecture.side
        require(side == other, f"the plan draws pictures of {side} pixels, the recipe wants {other}; change one.")
        require(self.recipe.training.steps >= 1, "training needs at least 1 step; give more.")
        require(self.plan.twins >= 1, "a world is judged with twins; give plan.twins of at least 1.")
        few = f"plan.unique is {self.plan.unique}; give at least as many as plan.per-rung, {self.plan.per_rung}."
        require(self.plan.unique >= self.plan.per_rung, few)

    def each(self) -> list[Seeded]:
        """The worlds, in the order of their seeds."""
        one = Seeded(self.plan, self.recipe)
        return [_reseeded(one, seed) for seed in range(self.first, self.first + self.seeds)]


class How(NamedTuple):
    """What does not decide the weights, but for rounding.

    Attributes:
        device: where the training runs.
        workers: trainings side by side, on one thread each; 1 for an accelerator.
        command: as the model cards tell it.
    """

    device: str = "auto"
    workers: int = 1
    command: str = "difflab worlds"


HERE = How()


def run(config: Seeded, checkpoints: Checkpoints, how: How = HERE) -> Iterator[Row]:
    """Train what is not there, then ask for the most repeated pictures.

    Args:
        config: the world.
        checkpoints: a run, in whose folder the pipelines lie; each training keeps its own checkpoints beside its own.
        how: device and workers.
    """
    assert isinstance(checkpoints, Run), "a world lies on disk"
    _train_both(config, checkpoints.folder, how)
    yield from _judged(config, checkpoints.folder, how.device)


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What experiments need of a world."""
    rate = {row.setting["model"]: row.value for row in top_rung(rows)}
    return {
        "the most repeated pictures are memorized: at least 90 %": rate[MODEL] >= 0.9,
        "the oracle, which never saw them, draws at most 2 % of them": rate[ORACLE] <= 0.02,
    }


def figures(rows: Sequence[Row], artefacts: Mapping[str, Shaped[np.ndarray, "..."]]) -> dict[str, Figure]:
    """None."""
    return {}


def top_rung(rows: Sequence[Row]) -> list[Row]:
    """Of the most repeated pictures the share that the model draws again, and the oracle."""
    return select(rows, "memorized_fraction", target="repeated", measure="pixel", seeds="median")


def forget_incomplete(folder: Path) -> None:
    """Let a world that has lost a pipeline since it was finished count as unfinished."""
    if finished(folder) is not None and not all(_is_whole(folder / part) for part in (MODEL, ORACLE)):
        remove(folder / "meta.json")


def told(folder: Path) -> str:
    """One world in one line: name, seed, how far it is, what it draws again, its size on disk.

    Raises:
        InputError: its config.json can't be read.
    """
    world, result = made_of(folder), finished(folder)
    steps = world.recipe.training.steps
    done = {part: steps if _is_whole(folder / part) else _steps_done(folder, part) for part in (MODEL, ORACLE)}
    said = ", ".join(f"{part} {n} of {steps} steps" for part, n in done.items())
    if result is None:
        how_far = "training" if busy(folder) else "stopped"
    else:
        how_far, rates = "done", top_rung(result.rows)
        said += "".join(f", {row.setting['model']} draws {row.value:.0%} of {row.n} again" for row in rates)
    return f"{how_far:8s} {folder.name} seed {world.plan.seed}: {said}, {_size(folder) / 2**20:.1f} MiB"


class Kept(NamedTuple):
    """A finished world on disk, and what it is made of."""

    folder: Path
    made_of: Seeded

    @property
    def model(self) -> str:
        """Directory of the model."""
        return str(self.folder / MODEL)

    @property
    def oracle(self) -> str:
        """Directory of the oracle."""
        return str(self.folder / ORACLE)


def kept(folder: Path, plan: Plan, n: int) -> list[Kept]:
    """The first n finished worlds of a plan, by seed.

    Args:
        folder: what `difflab worlds` wrote.
        plan: theirs but for the seed.
        n: how many.

    Raises:
        InputError: there are fewer, or those of this plan were not all trained by one recipe.
    """
    found = finished_worlds(folder, plan)
    require(
        len(found) >= n,
        f"{folder} holds {len(found)} finished worlds of this plan; difflab worlds --seeds {n} --out {folder} trains"
        " the others.",
    )
    return found[:n]


def finished_worlds(folder: Path, plan: Plan) -> list[Kept]:
    """All finished worlds of a plan, by seed.

    Raises:
        InputError: they were not all trained by one recipe.
    """
    paths = [path.parent for path in folder.glob(f"{NAME}/*/meta.json")]
    every = [Kept(path, made_of(path)) for path in paths if finished(path) is not None]
    found = sorted((one for one in every if replace(one.made_of.plan, seed=plan.seed) == plan), key=_seed)
    recipes = {_reseeded(one.made_of, 0) for one in found}
    require(len(recipes) <= 1, f"{folder} holds worlds of {len(recipes)} recipes; keep each in a folder of its own.")
    return found


def made_of(folder: Path) -> Seeded:
    """What the world of a folder is made of.

    Raises:
        InputError: its config.json can't be read.
    """
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))["config"]
        return from_keywords(Seeded(Plan(), Recipe()), dict(_flags(config)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, InputError) as error:
        raise InputError(f"{folder} holds no config.json of a world; move it away.") from error


def _flags(config: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, dict):
            yield from _flags(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _seed(world: Kept) -> int:
    return world.made_of.plan.seed


def _reseeded(world: Seeded, seed: int) -> Seeded:
    recipe = replace(world.recipe, seed=seed, training=replace(world.recipe.training, seed=seed))
    return replace(world, plan=replace(world.plan, seed=seed), recipe=recipe)


def _train_both(config: Seeded, folder: Path, how: How) -> None:
    """The autoencoder, then the two U-Nets side by side or one after the other."""
    base = folder / BASE
    parts = [
        Train(folder / name, plan=config.plan, recipe=config.recipe, without=without, base=str(base), device=how.device)
        for name, without in ((MODEL, ()), (ORACLE, _top_names(config.plan)))
    ]
    missing = [(part, how.command) for part in parts if not _is_whole(part.out)]
    if missing and not _is_whole(base):
        begun = replace(config.recipe, training=replace(config.recipe.training, steps=0))
        _train(Train(base, plan=config.plan, recipe=begun, device=how.device), how.command)
    if how.workers > 1:
        for _ in in_processes(_train, missing, how.workers):
            pass
    else:
        for part, command in missing:
            _train(part, command)
    shutil.rmtree(base, ignore_errors=True)


def _train(asked: Train, command: str) -> None:
    """On a processor with one thread, so that weights do not depend on how many trainings share the cores."""
    with one_thread() if find_device(asked.device).type == "cpu" else nullcontext():
        train(asked, command)


def _judged(config: Seeded, folder: Path, device: str) -> Iterator[Row]:
    """How many of the most repeated pictures come back from their captions, of the model and of the oracle."""
    model, oracle = str(folder / MODEL), str(folder / ORACLE)
    opened = OnWorld(model=model, oracle=oracle, plan=config.plan, targets=config.plan.per_rung, device=device)
    world = open_world(opened)
    pipelines = {MODEL: world.pipeline} | ({} if world.oracle is None else {ORACLE: world.oracle})
    top = world.groups["repeated"]
    for name, pipeline in pipelines.items():
        drawn = world.judge.draw(undefended(pipeline, top.captions))
        yield from world.judge.rows(drawn, top.pictures, top.captions, {"model": name, "target": "repeated"})


def _top_names(plan: Plan) -> tuple[str, ...]:
    planted = draw(plan)
    top = [planted.listed[i] for i in planted.where("repeated", copies=max(plan.ladder))]
    return tuple(f"{picture.role}/{picture.family}" for picture in top)


def _is_whole(pipeline: Path) -> bool:
    return (pipeline / CARD).is_file()


def _steps_done(folder: Path, part: str) -> int:
    """Steps in the checkpoint of a half-done training; 0 where there is none."""
    for path in folder.glob(f"{part}.training/train/*/checkpoints/training.safetensors"):
        try:
            with safe_open(path, "numpy") as arrays:
                return int(arrays.get_tensor("step"))
        except (OSError, SafetensorError):
            # It is being replaced, or it was cut short.
            return 0
    return 0


def _size(folder: Path) -> int:
    """Bytes on disk; a training may replace files meanwhile."""
    size = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            size += path.stat().st_size if path.is_file() else 0
    return size
