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
import torch
from jaxtyping import Float
from matplotlib.figure import Figure

from difflab.audits.searches import attacked
from difflab.audits.worlds import OnWorld, Targets, World, open_world
from difflab.diffusion.attacks.dori import Dori
from difflab.diffusion.defended import Defended, undefended
from difflab.diffusion.defenses.nemo import Nemo, nemo
from difflab.diffusion.trigger import Trigger
from difflab.errors import require
from difflab.randomness import stream
from difflab.runs.figures import legend_below, new_figure, rungs
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row, select
from difflab.statistics.intervals import bootstrap

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
    dori=Dori(keep=(1, 2), batch=2, looks=2),
    bits=(2,),
    rows=(1,),
    seeds=2,
    steps=2,
    retained=60,
)


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Find triggers for every target with every number of rows, cut them down, and hand them on."""
    world = open_world(config)
    captions, seed = world.groups["repeated"].captions, stream(config.seed, "defense").integer
    pruned = nemo(world.pipeline, captions, world.unseen, seed, config.nemo)
    cells: dict[str, tuple[Targets, Defended]] = {"repeated": (world.groups["repeated"], pruned)}
    if "never" in world.groups:
        cells["never"] = (world.groups["never"], pruned)
    if world.oracle is not None:
        cells["oracle"] = (world.groups["repeated"], undefended(world.oracle, captions))
    for target, (targets, defended) in cells.items():
        for free in (*config.rows, None):
            found = checkpoints.load(f"{target}_{free or 'all'}")
            if found is None:
                search = replace(config.dori, rows=free)
                found = attacked(config, world.judge, defended, targets, search)
                if free is None:
                    found |= _cut_down(world, defended.of(targets.captions), found["found"], config)
                    found |= (
                        _handed_on(world, defended.of(targets.captions), found["found"], config)
                        if target == "repeated"
                        else {}
                    )
                checkpoints.save(f"{target}_{free or 'all'}", found)
            yield from _rows(world, targets, found, config, target, free)


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
    budgets = sorted({row.setting["attack_steps"] for row in select(rows, "memorized_fraction")})
    return {
        "bits": _against(rows, budgets, "bits", "bits a number (all: not rounded)"),
        "rows": _against(rows, budgets, "rows", "token rows that may move"),
    }


def quantised(embeddings: Float[torch.Tensor, "*n tokens width"], bits: int) -> Float[torch.Tensor, "*n tokens width"]:
    """Each embedding rounded to 2^bits values, evenly over its own range."""
    low, high = embeddings.amin(dim=(-2, -1), keepdim=True), embeddings.amax(dim=(-2, -1), keepdim=True)
    step = (high - low).clamp_min(torch.finfo(embeddings.dtype).tiny) / (2**bits - 1)
    return low + ((embeddings - low) / step).round() * step


def _cut_down(world: World, met: Defended, found: np.ndarray, config: Config) -> dict[str, np.ndarray]:
    """Drawn from rounded triggers, of every budget."""
    return {
        f"bits_{bits}": np.stack(
            [world.judge.draw(met, Trigger(embeddings=quantised(y, bits))) for y in torch.from_numpy(found)]
        )
        for bits in config.bits
    }


def _handed_on(world: World, met: Defended, found: np.ndarray, config: Config) -> dict[str, np.ndarray]:
    """Drawn from the triggers by other models, and with the rows after the begin token in reverse order."""
    triggers = [Trigger(embeddings=torch.from_numpy(one)) for one in found]
    models = {"original": world.pipeline} | ({"oracle": world.oracle} if world.oracle else {})
    drawn = {
        f"to_{name}": np.stack([world.judge.draw(undefended(model, met.embeddings), one) for one in triggers])
        for name, model in models.items()
    }
    turned = [torch.cat([y[:, :1], y[:, 1:].flip(1)], dim=1) for y in torch.from_numpy(found)]
    drawn["to_reversed"] = np.stack([world.judge.draw(met, Trigger(embeddings=y)) for y in turned])
    return drawn


def _rows(
    world: World, targets: Targets, found: dict[str, np.ndarray], config: Config, target: str, free: int | None
) -> Iterator[Row]:
    """Rates of triggers as found, rounded and handed on; what the search gained."""
    before = found["loss"][0]
    for k, steps in enumerate(config.dori.keep):
        setting: dict[str, str | int] = {"target": target, "attack_steps": steps}
        groups: dict[str, tuple[np.ndarray, dict[str, str | int]]] = {
            "rows": (found["drawn"][1 + k], {"kept": str(free or "all")})
        }
        if free is None:
            groups |= {f"bits {b}": (found[f"bits_{b}"][k], {"bits": b}) for b in config.bits}
            names = [name for name in found if name.startswith("to_")]
            groups |= {f"transfer {name}": (found[name][k], {"to": name[3:]}) for name in names}
        for cut, (drawn, more) in groups.items():
            here = setting | {"cut": cut.split()[0]} | more
            yield from world.judge.rows(drawn, targets.pictures, targets.captions, here)
        after = found["loss"][1 + k]
        gap = bootstrap(1 - after / before, np.median, np.random.default_rng(0))
        yield Row("gained_fraction", *gap, len(before), setting | {"kept": str(free or "all")})


def _against(rows: Sequence[Row], budgets: Sequence[int], cut: str, label: str) -> Figure:
    figure, panels = new_figure("What a trigger may be cut down to", label, "memorized fraction", len(budgets))
    shown = {"measure": "pixel", "seeds": "median"}
    for ax, steps in zip(panels, budgets, strict=True):
        here = select(rows, "memorized_fraction", attack_steps=steps, **shown)
        found = {target: select(here, "memorized_fraction", target=target, cut=cut) for target in COLOURS}
        if cut == "bits":
            for target, curve in found.items():
                # The trigger as it was found is that of all rows.
                curve += select(here, "memorized_fraction", target=target, cut="rows", kept="all")
        levels = [row.setting["bits" if "bits" in row.setting else "kept"] for row in found["repeated"]]
        curves = {target: [row.interval for row in curve] for target, curve in found.items() if curve}
        rungs(ax, levels, curves, COLOURS)
        if len(budgets) > 1:
            ax.set_title(f"{steps} steps")
        ax.set_ylim(-0.03, 1.03)
    legend_below(figure)
    return figure
