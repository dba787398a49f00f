"""Does the search find the picture in the network, or carry it in?

An embedding has more numbers than a picture has latents, so a trigger may hold the picture itself (the reviewers'
objection to Finding Dori, arXiv 2507.16880). Three accounts of that, which the paper does not give, on pictures that
NeMo pruned away, on never-trained twins, and on a model retrained without the targets (the oracle):

- bits: the trigger is rounded to 2, 4, 8 bits a number (a grid over the range of its own values) and drawn again. A
  pointer to something in the network is expected to survive, a picture written into it is not;
- rows: only 1, 2, 4 token rows after the begin token may move. The injection argument expects twins to come back as
  rows are added, memory expects the memorized pictures already at one row;
- transfer: the trigger found on the pruned model is given to the model as it was, to the oracle, and to the pruned
  model with the rows in another order. A trigger that carries the picture makes the oracle draw it as well.

The loss gap is what the search gains on the target, in units of the loss before.
Cost on two cores: 15 minutes on one of them, beside other work.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from matplotlib.figure import Figure

from difflab.audits.trigger_cuts import cut_down, cut_rows
from difflab.audits.worlds import OnWorld, open_world
from difflab.diffusion.attacks.dori import Dori
from difflab.diffusion.defended import undefended
from difflab.diffusion.defenses.nemo import Nemo, nemo
from difflab.diffusion.panels.attacks import cuts_figure
from difflab.errors import require
from difflab.randomness import stream
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key, made_once
from difflab.runs.rows import Artefact, Note, Row, select

COLOURS = {"repeated": "memorizing", "never": "generalizing", "oracle": "exact"}


@dataclass(frozen=True)
class Config(OnWorld):
    """The case, the defense, and how the triggers are cut down."""

    nemo: Nemo = field(default_factory=lambda: Nemo(blocks=("down", "mid", "up")))
    dori: Dori = field(default_factory=lambda: Dori(keep=(50, 150)))
    bits: tuple[int, ...] = (2, 4, 8)
    """For each number of a trigger."""
    rows: tuple[int, ...] = (1, 2, 4)
    """Token rows that may move, beside all of them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(all(1 <= b <= 16 for b in self.bits), f"bits is {self.bits}; give numbers from 1 to 16.")


SMOKE = Config(
    targets=2,
    nemo=Nemo(blocks=("up",), seeds=2, unseen=20, refine=False),
    dori=Dori(keep=(1, 2), batch=1, looks=1),
    bits=(2,),
    rows=(1,),
    seeds=2,
    steps=2,
    held_out=2,
    draws=1,
    retained=60,
)


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact | Note]:
    """Find triggers for every target with every number of rows, cut them down, and hand them on."""
    world = open_world(config)
    yield from world.left_out
    repeated, seed = world.groups["repeated"], stream(config.seed, "defense").integer
    pruned = nemo(world.pipeline, repeated.captions, world.unseen, seed, config.nemo)
    targets = {name: (group, pruned) for name, group in world.groups.items() if name != "once"}
    if world.oracle is not None:
        targets["oracle"] = (repeated, undefended(world.oracle, repeated.captions))
    for target, (group, defended) in targets.items():
        for free in (*config.rows, None):
            search = replace(config.dori, rows=free)
            cell = (config, world, (group, defended), search, config.bits, target == "repeated")
            found = made_once(checkpoints, key(target, free or "all"), cut_down, *cell)
            yield from cut_rows(world, group, found, search, config.bits, target)


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What memory expects, at the first budget; of twins at every one."""
    first = min(row.setting["attack_steps"] for row in select(rows, "memorized_fraction"))

    def rates(**setting: str | int) -> list[float]:
        shown = {"attack_steps": first, "measure": "pixel", "seeds": "median"} | setting
        return [row.value for row in select(rows, "memorized_fraction", **shown)]

    whole = rates(target="repeated", cut="rows", kept="all")[0]
    bits = [row.setting["bits"] for row in select(rows, "memorized_fraction", cut="bits")]
    found = {}
    if bits:
        coarse = rates(target="repeated", cut="bits", bits=min(bits))[0]
        said = f"triggers of memorized pictures survive {min(bits)} bits a number: most of them"
        found[said] = coarse > 0.5 * whole
    one = rates(target="repeated", cut="rows", kept="1")
    found["one free row brings most memorized pictures back: above 50 %"] = bool(one) and one[0] > 0.5
    twins = [row.value for row in select(rows, "memorized_fraction", target="never", measure="pixel", seeds="median")]
    if twins:
        found["no twin comes back, however many rows are free: at most 10 %"] = max(twins) <= 0.1
    oracle = rates(target="repeated", cut="transfer", to="oracle")
    if oracle:
        found["the oracle draws nothing from triggers found on the pruned model: at most 10 %"] = oracle[0] <= 0.1
    return found


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """Rates against bits and against free rows."""
    return {
        "bits": cuts_figure(rows, "bits", "bits a number (all: not rounded)", COLOURS),
        "rows": cuts_figure(rows, "rows", "token rows that may move", COLOURS),
    }


def answer(run: Recorded) -> Answer:
    """What whole triggers draw: on the pruned model, of twins, and on the oracle."""
    here = {"measure": "pixel", "seeds": "median"}
    here["attack_steps"] = min(row.setting["attack_steps"] for row in run.rows("memorized_fraction", **here))
    whole = run.count("memorized_fraction", target="repeated", cut="rows", kept="all", **here)
    twins = run.count("memorized_fraction", target="never", cut="rows", kept="all", **here)
    oracle = run.count("memorized_fraction", target="repeated", cut="transfer", to="oracle", **here)
    return Answer(
        f"Triggers bring {whole} pruned pictures back and {twins} twins; given to the oracle they draw {oracle}.",
        "",
        "bits",
        "How coarsely can a trigger be rounded before its picture is gone?",
    )
