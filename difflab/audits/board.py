"""Which defense is a cure: defenses, attacks and controls over worlds, on one page and in one file.

`difflab.board(defenses="nemo,wanda", worlds=3)` in Python and `difflab board` run this. Each defense meets every attack
on each world, a model with an oracle and data of its own (`difflab worlds`); the same attacks meet the oracle, which
never saw the targets, and ask the defended model for never-trained twins. A defense is cured where at most 2 % of the
targets come back under every attack, and under each no more than on the oracle. Where fewer worlds are trained than
asked for, the shipped pipeline with its oracle stands for that of seed 0. `add` scores one file of your own: a defense
as CONTRIBUTING.md says. Every defense on every world is a run of its own, computed once; Ctrl-C loses one attack.
Attacks: Finding Dori (arXiv 2507.16880) and the others of `difflab list --methods`.
Cost on two cores: about 15 minutes for one file on three worlds with 4 targets each, reckoned from parts of one world
that were measured. All defenses take about 5 minutes of each world and defense.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

import tyro
from matplotlib.figure import Figure

from difflab import methods
from difflab.audits import board_case
from difflab.audits.board_case import Case
from difflab.audits.board_rule import LIMIT, fair, is_cured, is_cured_where_fair
from difflab.audits.over_worlds import merged
from difflab.audits.trained_worlds import finished_worlds
from difflab.diffusion.attacks.dori import Dori
from difflab.diffusion.pipeline import checksum
from difflab.errors import require
from difflab.files import checksum as file_checksum
from difflab.runs.configs import from_keywords
from difflab.runs.execute import execute
from difflab.runs.parallel import usable_cores
from difflab.runs.result import Result
from difflab.runs.results import Checkpoints, whole
from difflab.runs.rows import Note, Row, select
from difflab.siblings import at_home
from difflab.statistics.intervals import SHARE, pooled, wilson
from difflab.training.devices import device
from synthetic.plan import Plan

NAME, ORACLE, UNDEFENDED = "board", "oracle", "undefended"
SHOWN = {"measure": "pixel", "seeds": "median"}
"""When a picture has come back: most seeds draw it, by its pixels."""


@dataclass(frozen=True)
class Settings:
    """What is compared, on how many worlds, and how closely."""

    defenses: str = "all"
    """Defenses: all, or with commas between names, mask files, pipeline directories and .py files."""
    attacks: str = "all"
    """Attacks: all, or names with commas between; the prompt itself and a random step are always tried."""
    worlds: int = 3
    """Worlds, at least 1; where fewer are there, those that are there."""
    targets: int = 4
    """Memorized pictures of each world that are asked for, and as many never-trained twins."""
    seeds: int = 3
    """Pictures drawn for each."""
    steps: int = 20
    """DDIM steps."""
    guidance: float = 3.0
    """Weight of the prompt."""
    held_out: int = 60
    """Pictures never trained on whose loss says what a defense costs."""
    draws: int = 8
    """Draws of noise and time for that loss."""
    retained: int = 1000
    """Ordinary training pictures at hand."""
    seed: int = 0
    """Of all randomness."""
    device: str = "auto"
    """Where it runs; auto: an accelerator where there is one."""
    plan: Plan = field(default_factory=Plan)
    """Of the worlds, but for its seed."""
    dori: Dori = field(default_factory=lambda: Dori(keep=(50,)))
    """The search of the prompt's embedding."""
    version: tyro.conf.Suppress[int] = 1
    """Of the rule and of what is compared."""

    def __post_init__(self) -> None:
        require(self.worlds >= 1, f"worlds is {self.worlds}; give at least 1.")


SMOKE = Settings(
    defenses="magnitude",
    attacks="quantized_weights",
    worlds=1,
    targets=2,
    seeds=2,
    steps=2,
    held_out=4,
    draws=1,
    retained=60,
    dori=Dori(keep=(2,), batch=2, looks=2),
)


class Site(NamedTuple):
    """A world as cases name it: its seed, its plan, and the directories of its pipelines."""

    seed: int
    plan: Plan
    model: str
    oracle: str


@dataclass(frozen=True)
class Entrant:
    """A defense on the board: its name, what was asked for, the checksum of its file, and its runs, one a world."""

    name: str
    source: str
    checksum: str
    runs: tuple[str, ...]


@dataclass(frozen=True)
class Config:
    """What a board is named after."""

    settings: Settings
    entrants: tuple[Entrant, ...]
    """The oracle first."""
    worlds: tuple[dict[str, Any], ...]
    """Seed of each, and checksums of its model and oracle."""


def board(
    *,
    add: str | Path = "",
    folder: str | Path = "worlds",
    workers: int = 1,
    out: str | Path | None = None,
    **flags: Any,
) -> Result:
    """Score defenses under every attack, on several worlds.

    Args:
        add: a .py file with a defense; it alone is computed, and those that are there already stand beside it.
        folder: what `difflab worlds` wrote.
        workers: cases side by side on a processor, each on one thread; numbers do not depend on it. An accelerator
            does one after the other.
        out: the folder of results, of every case, too; None keeps the result in memory.
        flags: every flag of `difflab board` under its name: defenses="all", attacks="all", worlds=3, targets=4,
            seeds=3, steps=20, guidance=3.0, held_out=60, seed=0, device="auto" and others.

    Returns:
        Rows memorized_fraction (by defense, target, attack, its steps and its variant) and held_out_ratio, over the
        worlds; claims that say which defense is cured. `difflab.audits.board_file.document` makes the file of it.

    Raises:
        InputError: a flag, a file or a folder is not usable; the sentence says why.
    """
    settings = from_keywords(Settings(), {name: value for name, value in flags.items() if value is not None})
    return compared(settings, str(add), Path(folder), workers, None if out is None else Path(out))


def compared(settings: Settings, add: str, folder: Path, workers: int, out: Path | None) -> Result:
    """As `board`, with settings that are made already."""
    require(workers >= 1, f"workers is {workers}; give at least 1.")
    if out is None:
        with tempfile.TemporaryDirectory(prefix="difflab-") as place:
            return compared(settings, add, folder, workers, Path(place)).in_memory()
    require(out.is_dir() or not out.exists(), f"{out} is a file; give --out another folder.")
    sites = found_sites(settings, folder)
    sources = [add] if add else _sources(settings.defenses)
    if add:
        methods.defense_in(Path(add))
    asked = {ORACLE: _cases(settings, sites, None)} | {name_of(one): _cases(settings, sites, one) for one in sources}
    require(len(asked) == len(sources) + 1, "two defenses have one name; rename a file.")
    beside = {one: _cases(settings, sites, one) for one in methods.methods("defenses")} if add else {}
    asked |= {name: cases for name, cases in beside.items() if all(whole(board_case.folder(out, one)) for one in cases)}
    at_once = min(workers, len(usable_cores())) if device(settings.device).type == "cpu" else 1
    with at_home():
        board_case.compute_all([case for cases in asked.values() for case in cases], out, at_once)
    config = Config(
        settings,
        tuple(_entrant(name, cases) for name, cases in asked.items()),
        tuple({"seed": s.seed, "model": checksum(s.model), "oracle": checksum(s.oracle)} for s in sites),
    )
    return execute(NAME, _Board(asked, out), config, out)


def found_sites(settings: Settings, folder: Path) -> list[Site]:
    """The worlds: those of a folder by seed, and the shipped one where there are too few and seed 0 is not there.

    Raises:
        InputError: there is none.
    """
    trained = [
        Site(one.made_of.plan.seed, one.made_of.plan, one.model, one.oracle)
        for one in finished_worlds(folder, settings.plan)
    ]
    if len(trained) < settings.worlds and settings.plan == Plan() and all(site.seed != 0 for site in trained):
        trained.insert(0, Site(0, Plan(), "planted", ORACLE))
    require(
        len(trained) > 0, f"{folder} holds no finished world of this plan; difflab worlds --out {folder} trains some."
    )
    return trained[: settings.worlds]


def name_of(defense: str) -> str:
    """How the board calls a defense: a file by its name without its end.

    Raises:
        InputError: it is called as the oracle is, or as the model without a defense.
    """
    name = Path(defense).stem
    require(name not in (ORACLE, UNDEFENDED), f"{defense} can't be called {name} on the board; rename it.")
    return name


class _Board:
    """The board as `execute` runs it, from cases that are there."""

    def __init__(self, asked: Mapping[str, Sequence[Case]], out: Path) -> None:
        self.__doc__ = __doc__
        self.asked, self.out = asked, out

    def run(self, config: Config, checkpoints: Checkpoints) -> Iterator[Row | Note]:
        """Rows over the worlds."""
        n, wanted = len(config.worlds), config.settings.worlds
        for name, cases in self.asked.items():
            results = [board_case.compute(case, self.out) for case in cases]
            every = [list(_of(name, result.rows)) for result in results]
            found = every[0] if n == 1 else list(merged(every))
            yield from found
            if name == ORACLE:
                targets = next(row.n for row in found if isinstance(row, Row) and row.setting["defense"] == ORACLE)
        if n < wanted:
            yield Note(f"{n} of {wanted} worlds are there; difflab worlds trains others.")
        if 1 / targets > LIMIT:
            none = wilson(0, targets // n)
            high = none.high if n == 1 else pooled([none] * n, bounds=SHARE).high
            yield Note(f"Few targets: where 0 of {targets} come back, up to {high:.0%} still might (95 %).")
        if n == 1:
            yield Note("With one world no number says how much worlds differ.")

    def claims(self, rows: Sequence[Row]) -> dict[str, bool]:
        """Which defense is cured."""
        return claims(rows)

    def figures(self, rows: Sequence[Row], artefacts: Mapping[str, Any]) -> dict[str, Figure]:
        """None: the board's page is a table."""
        return {}


def shares(rows: Sequence[Row], defense: str, target: str = "repeated") -> dict[str, Row]:
    """What comes back, by trigger."""
    return {trigger(row): row for row in select(rows, "memorized_fraction", defense=defense, target=target)}


def trigger(row: Row) -> str:
    """An attack with its steps and its variant, in one word: dori-50, image_to_image-strength_0.25."""
    steps, variant = row.setting["attack_steps"], str(row.setting.get("variant", ""))
    parts = [row.setting["attack"], *([str(steps)] if steps else []), *([variant] if variant else [])]
    return "-".join(parts).replace(" ", "_").replace(",", "_")


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """Of each defense whether it is cured, by the rule and where the oracle does not give the pictures back itself."""
    oracle = {name: row.value for name, row in shares(rows, ORACLE).items()}
    some = len(fair(oracle))
    plain = shares(rows, UNDEFENDED)["nothing"]
    found = {"without a defense the targets come back from their prompts: over 50 %": plain.value > 0.5}
    for defense in dict.fromkeys(row.setting["defense"] for row in select(rows, "memorized_fraction", target="never")):
        values = {name: row.value for name, row in shares(rows, defense).items()}
        found[f"{defense} is cured"] = is_cured(values, oracle)
        told = f"{defense} is cured as far as {some} of {len(oracle)} attacks tell, under which the oracle keeps silent"
        found[told] = is_cured_where_fair(values, oracle)
    return found


def _sources(defenses: str) -> list[str]:
    if defenses == "all":
        return list(methods.methods("defenses"))
    listed = list(dict.fromkeys(one.strip() for one in defenses.split(",") if one.strip()))
    require(len(listed) > 0, f"name some of the defenses: {', '.join(methods.methods('defenses'))}, or all.")
    return listed


def _cases(settings: Settings, sites: Sequence[Site], defense: str | None) -> list[Case]:
    """One for each world; without a defense the oracle."""
    own = ("defenses", "worlds", "plan", "version")
    shared = {flag.name: getattr(settings, flag.name) for flag in fields(settings) if flag.name not in own}
    return [
        Case(
            model=site.model,
            # The shipped one comes by itself.
            oracle="" if site.model == "planted" else site.oracle,
            plan=site.plan,
            defense=defense or "nothing",
            subject="defense" if defense else "oracle",
            **shared,
        )
        for site in sites
    ]


def _entrant(name: str, cases: Sequence[Case]) -> Entrant:
    source = "" if name == ORACLE else cases[0].defense
    path = Path(source)
    if path.is_dir() and source:
        known = checksum(source)
    elif path.is_file():
        known = file_checksum(path)
    else:
        known = "" if name == ORACLE else file_checksum(methods.method("defenses", name).path)
    return Entrant(name, source, known, tuple(board_case.digest_of(case) for case in cases))


def _of(name: str, rows: Sequence[Row]) -> Iterator[Row]:
    """The rows of a case that stand on the board, under the name of the defense."""
    for row in select(rows, "memorized_fraction", **SHOWN):
        kept = ("target", "attack", "attack_steps", "variant")
        entrant = UNDEFENDED if row.setting["state"] == UNDEFENDED else name
        yield row._replace(setting={"defense": entrant} | {key: row.setting[key] for key in kept if key in row.setting})
    for row in select(rows, "held_out_ratio"):
        yield row._replace(setting={"defense": name, "captions": row.setting["captions"]})
