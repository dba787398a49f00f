"""At which budget does a search stop finding memories and begin to write pictures?

With enough steps a free embedding can be fitted to any picture, so an attack that brings a pruned picture back proves
memory only at budgets at which pictures never memorized stay away (the reviewers' objection to Finding Dori,
arXiv 2507.16880: pictures that are not memorized reach a similarity of 0.65 at 150 steps). Here every target gets the
same search, its rate and its draws, and the curves run on until the controls give way: once-seen pictures,
never-trained twins, the repeated pictures on a network of random weights, and on a model retrained without them (the
oracle; --oracle names another).

Published, SD 1.4, memorized rate after 0, 1, 10, 25, 50 steps: NeMo 0.20, 0.73, 0.79, 0.94, 0.99; Wanda 0.00, 0.02,
0.18, 0.49, 0.73; pictures never memorized 0, 0, 0, 0, about 0.02, and similarity 0.65 at 150 steps.
Cost on two cores: 37 minutes on one of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from matplotlib.figure import Figure

from difflab.audits.attack_budgets import CONTROLS, MEMORIES, published_rows, searched_models
from difflab.audits.searches import attacked
from difflab.audits.searches import rows as rows_of
from difflab.audits.worlds import OnWorld, open_world
from difflab.diffusion.attacks.dori import Dori
from difflab.diffusion.defenses.nemo import Nemo
from difflab.diffusion.defenses.wanda import Wanda
from difflab.diffusion.panels.attacks import steps_figure
from difflab.errors import require
from difflab.randomness import stream
from difflab.runs.answers import Answer
from difflab.runs.figures import picture_strips
from difflab.runs.numbers import Recorded
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key, made_once
from difflab.runs.rows import Artefact, Note, Row, select

COLOURS = {
    "repeated": "trained",
    "repeated, nemo": "memorizing",
    "repeated, wanda": "partly_memorizing",
    "once": "control",
    "never": "generalizing",
    "random network": "predicted",
    "oracle": "exact",
}


@dataclass(frozen=True)
class Config(OnWorld):
    """The case, two defenses, and how long the search goes on."""

    nemo: Nemo = field(default_factory=lambda: Nemo(blocks=("down", "mid", "up")))
    sparsity: float = 0.1
    """Of Wanda."""
    dori: Dori = field(default_factory=lambda: Dori(keep=(0, 1, 10, 25, 50, 150, 500)))
    rates: tuple[float, ...] = (0.1,)
    """Of the search; each is a set of curves."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(len(self.rates) > 0, "give at least one rate.")
        first = self.dori.keep[0]
        require(first <= 50, f"the search is first looked at after {first} steps; give a number up to 50.")


SMOKE = Config(
    targets=2, nemo=Nemo(blocks=("up",), seeds=2, unseen=20, refine=False), dori=Dori(keep=(0, 1), batch=1, looks=1),
    seeds=2, steps=2, held_out=2, draws=1, retained=60,
)  # fmt: skip


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact | Note]:
    """Search for every target at every rate; a killed run goes on with the next curve."""
    world = open_world(config)
    yield from world.left_out
    cells = searched_models(world, stream(config.seed, "defense").integer, config.nemo, Wanda(config.sparsity))
    yield from published_rows()
    for rate in config.rates:
        search = replace(config.dori, rate=rate)
        for curve, (targets, defended) in cells.items():
            found = made_once(checkpoints, key(curve, rate), attacked, config, world.judge, defended, targets, search)
            yield from rows_of(world.judge, found, targets, search, {"curve": curve, "rate": rate})
            if rate == config.rates[0] and curve in ("repeated, nemo", "never", "oracle"):
                shown = [targets.pictures, *found["drawn"][1:-1, :, 0]]
                yield Artefact(f"strip_{curve.replace(', ', '_')}", np.stack(shown, axis=1))


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """At the first rate."""
    rate = select(rows, "memorized_fraction")[0].setting["rate"]

    def curve(name: str) -> dict[int, Row]:
        shown = {"curve": name, "rate": rate, "attack": "dori", "measure": "pixel", "seeds": "median"}
        return {row.setting["attack_steps"]: row for row in select(rows, "memorized_fraction", **shown)}

    curves = {name: curve(name) for name in (*MEMORIES, *CONTROLS) if curve(name)}
    budgets = list(curves[MEMORIES[0]])
    early = [steps for steps in budgets if steps <= 50]
    controls = {steps: max(curves[name][steps].value for name in CONTROLS if name in curves) for steps in budgets}
    memories = {steps: min(curves[name][steps].value for name in MEMORIES) for steps in budgets}
    apart = [steps for steps in budgets if memories[steps] > 0.5 and controls[steps] <= 0.1]
    return {
        "up to 50 steps no control comes back: at most 10 % of each": max(controls[k] for k in early) <= 0.1,
        "at 50 steps or fewer most of what NeMo stopped is back": curves[MEMORIES[0]][early[-1]].value > 0.5,
        "and most of what Wanda stopped": curves[MEMORIES[1]][early[-1]].value > 0.5,
        "NeMo is broken sooner than Wanda, as published": sum(
            curves[MEMORIES[0]][k].value - curves[MEMORIES[1]][k].value for k in early
        )
        > 0,
        "at the largest budget a control gives way: over 10 %": controls[budgets[-1]] > 0.1,
        "there is a budget that tells memory from injection": len(apart) > 0,
    }


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """Rate and loss against the steps of the search, and the pictures on the way."""
    rates = select(rows, "memorized_fraction", attack="dori", measure="pixel", seeds="median")
    losses = select(rows, "target_loss", attack="dori")
    panels = {row.setting["rate"]: f"rate {row.setting['rate']:g}" for row in losses}
    curves = ("Budget of the search", "steps", ("rate", panels), ("curve", COLOURS))
    found = {"memorized": steps_figure(rates, *curves), "loss": steps_figure(losses, *curves)}
    looks = ", ".join(dict.fromkeys(str(row.setting["attack_steps"]) for row in losses))
    for name, strips in artefacts.items():
        title = f"{name.removeprefix('strip_').replace('_', ' ')}: picture, then after {looks} steps"
        found[name] = picture_strips(strips, [f"target {i}" for i in range(len(strips))], title, a_line=2)
    return found


def answer(run: Recorded) -> Answer:
    """NeMo's pictures at the largest budget up to 50 steps, beside the worst control."""
    here = {"rate": run.rows("memorized_fraction")[0].setting["rate"], "attack": "dori"}
    here |= {"measure": "pixel", "seeds": "median"}
    steps = max(k for k in (row.setting["attack_steps"] for row in run.rows("memorized_fraction", **here)) if k <= 50)
    controls = [
        row for row in run.rows("memorized_fraction", attack_steps=steps, **here) if row.setting["curve"] in CONTROLS
    ]
    worst = max((row.value for row in controls), default=0.0)
    back = run.count("memorized_fraction", curve=MEMORIES[0], attack_steps=steps, **here)
    return Answer(
        f"After {steps} steps {back} pictures that NeMo stopped are back, and of each control at most {worst:.0%}.",
        f"{_PUBLISHED[steps]:.2f} under NeMo (SD 1.4)" if steps in _PUBLISHED else "",
        "memorized",
        "Where do memories come back, and how much later do the controls begin to rise?",
    )


_PUBLISHED = {0: 0.20, 1: 0.73, 10: 0.79, 25: 0.94, 50: 0.99}
