"""Where does pruning have something local to cut?

A memory that is one prompt's can be cut; one that the whole network shares can't. Small models of small pictures are
trained on the same repeated pictures, and one thing is changed at a time: how often each is repeated (so its share of
the training set), the number of training steps, the width of the U-Net, and whether the text encoder is trained too.
In each cell NeMo prunes every repeated prompt, as many random neurons are switched off beside it, and Wanda prunes the
whole set. Prunable is a cell whose pictures are memorized (over half of them), whose memories NeMo stops (to under 40 %
of what they were) for less than 2 % of loss on other captions, and where the random neurons stop fewer. No more
pictures can be memorized than pass as copies of themselves through the autoencoder; how many do is a row.

Not in the papers (arXiv 2406.02366, 2507.16880), which prune one model that nobody can train again. Three prototypes
of ours suggested it: with half of each batch planted nothing local was found.
Cost on two cores: 55 minutes on one of them, beside other work. A killed run goes on with the cell's last checkpoint.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from diffusers import StableDiffusionPipeline
from matplotlib.figure import Figure

from difflab.audits.pruned_models import (
    DEFENSES,
    GRID,
    Cell,
    lets_pruning_work,
    pixel_judge,
    pruned_rows,
    prunings,
    rebuilt,
)
from difflab.diffusion.copies import memorized
from difflab.diffusion.defenses.nemo import Nemo
from difflab.diffusion.panels.attacks import cells_figure
from difflab.diffusion.recipe import Material, train_pipeline
from difflab.errors import require
from difflab.randomness import item_seeds
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import Prefixed
from difflab.runs.rows import Artefact, Row, select
from synthetic import plan as plans
from synthetic.plan import Plan, Planted


@dataclass(frozen=True)
class Config:
    """The cells, their common data, and the defenses."""

    cells: tuple[Cell, ...] = GRID
    plan: Plan = field(
        default_factory=lambda: Plan(
            side=16, per_rung=8, recaptioned=0, layouts=0, regions=0, unique=1000, twins=1, held_out=1000
        )
    )
    """Its ladder is 1 and the cell's copies."""
    autoencoder_steps: int = 16_000
    """Of the one autoencoder that all cells share; after 3,000 drawn scenes are too blurred to pass as copies."""
    nemo: Nemo = field(default_factory=lambda: Nemo(blocks=("down", "mid", "up"), window=3))
    sparsity: float = 0.1
    """Of Wanda."""
    seeds: int = 4
    """Pictures drawn for every caption."""
    steps: int = 20
    """DDIM steps."""
    guidance: float = 3.0
    """Weight of the prompt."""
    held_out: int = 200
    """Pictures never trained on whose loss says what pruning costs."""
    seed: int = 0
    """Of the pictures drawn and of the defenses."""

    def __post_init__(self) -> None:
        require(len(self.cells) >= 1 and len(set(self.cells)) == len(self.cells), "give different cells, at least one.")
        require(self.seeds >= 2, f"seeds is {self.seeds}; give at least 2.")


SMOKE = Config(
    cells=(Cell(4, 6, (16,)), Cell(4, 6, (16,), "joint")),
    plan=Plan(side=16, per_rung=2, recaptioned=0, layouts=0, regions=0, unique=60, emoji=40, twins=1, held_out=60),
    autoencoder_steps=4, nemo=Nemo(blocks=("up",), seeds=2, unseen=20, refine=False, window=3),
    seeds=2, steps=2, held_out=8,
)  # fmt: skip


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Train, prune, draw and compare, cell by cell."""
    shared = None
    for place, cell in enumerate(config.cells):
        planted = plans.draw(replace(config.plan, ladder=(1, cell.copies)))
        recipe = cell.recipe(config.plan.side, config.autoencoder_steps)
        material = Material(*planted.material())
        pipeline = train_pipeline(material, recipe, Prefixed(checkpoints, str(place)), shared)
        shared = shared or pipeline
        yield from _rows(planted, pipeline, material, cell, config)


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What the prototypes suggested."""
    cells = list(dict.fromkeys(row.setting["cell"] for row in select(rows, "planted_fraction")))
    prunable = [cell for cell in cells if lets_pruning_work(rows, cell)]
    share = {cell: select(rows, "planted_fraction", cell=cell)[0].value for cell in cells}
    high = [cell for cell in cells if share[cell] > 0.5]
    return {
        f"some cell is prunable ({len(prunable)} of {len(cells)})": len(prunable) > 0,
        "none is where over half of the training set is planted": bool(high) and not set(prunable) & set(high),
        "a jointly trained text encoder is no obstacle": any("joint" in cell for cell in prunable),
    }


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """Memorized pictures of every cell under every defense, and what the defenses cost."""
    cells = list(dict.fromkeys(row.setting["cell"] for row in select(rows, "planted_fraction")))
    shown = {"memorized_fraction": {"role": "repeated"}, "held_out_ratio": {}}
    return {
        metric: cells_figure(rows, metric, "Where pruning works", cells, DEFENSES, **setting)
        for metric, setting in shown.items()
    }


def answer(run: Recorded) -> Answer:
    """In how many models pruning works."""
    cells = list(dict.fromkeys(row.setting["cell"] for row in run.rows("planted_fraction")))
    works = [cell for cell in cells if lets_pruning_work(run.run.rows, cell)]
    return Answer(
        f"In {len(works)} of {len(cells)} models NeMo stops what is memorized at little cost"
        f"{': ' + '; '.join(works) if works else ''}.",
        "",
        "memorized_fraction",
        "In which models does NeMo fall far below no defense, and random neurons do not?",
    )


def _rows(
    planted: Planted, pipeline: StableDiffusionPipeline, material: Material, cell: Cell, config: Config
) -> Iterator[Row]:
    """What passes the autoencoder, and what every defense does."""
    repeated, setting = planted.where("repeated", copies=cell.copies), {"cell": cell.name}
    seeds, n = item_seeds(config.seed, "judge", config.seeds), len(material.rows)
    judge = pixel_judge(planted, material.pictures, seeds, config.steps, config.guidance)
    passed = rebuilt(judge, pipeline, planted.pictures(repeated))
    yield Row("passed_fraction", *memorized(passed, judge.thresholds["pixel"].value), len(repeated), setting)
    yield Row("planted_fraction", len(repeated) * cell.copies / n, None, None, n, setting)
    captions, unseen = (planted.captions(some) for some in (repeated, planted.where("held_out", source="scene")))
    defenses = prunings(pipeline, captions, unseen, config.seed, config.nemo, config.sparsity)
    yield from pruned_rows(planted, judge, defenses, repeated, config.held_out, setting)
