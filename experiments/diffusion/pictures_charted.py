"""Does the course of a diffusion model's training tell which pictures stand in the training set several times?

The question of `data_cartography` for pictures (GenDataCarto, Patel and Shanbhag, arXiv 2509.00083, which has no
diffusion model): a tiny Stable Diffusion is trained for some eighty epochs on scenes and emoji, some of which stand
there four times, the others once. At the ends of 16 epochs the loss of every picture is written down by the running
mean of the weights, always at the same four times and noises: with new ones at every look chance would pass for
forgetting. Five signals of that course tell repeated pictures from others of their own source: the paper's early loss
and forget events, how far the loss falls, the area under it, and where it ends.

Every number is a mean over worlds, one a seed; intervals are the wider of Student's and Newcombe's. Controls: shuffled
labels, and a baseline that sees pictures and captions and no model. Expect no forget events where copies are, as in
language; and the last loss to find copies, while the drop depends on how hard a picture was at first. Claims were
written after pilots on seeds 0 and 1, which the default does not use. The mechanism is reproduced, the paper's numbers
are not comparable.

Limit: four probes at 16 looks cost about 19 % of the training, counting a look at a picture as a third of a step with
it: more than the 15 % that the house allows its default, which therefore looks at one probe, and seldom
(`difflab.diffusion.recorded`). Cost on two cores: 11 minutes, beside other work.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from matplotlib.figure import Figure

from difflab.audits.cartography_figures import courses_figure, signals_figure
from difflab.audits.duplicate_pictures import EMOJI, SCENES, PictureWorld, picture_rows, recorded_pictures
from difflab.errors import at_least
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row, select
from difflab.statistics.cartography import DROP, FINAL, FORGOTTEN


@dataclass(frozen=True)
class Config:
    """The pictures, and the pipelines that are trained on them."""

    seeds: int = 5
    """Worlds, one for each seed."""
    world: PictureWorld = field(default_factory=PictureWorld)
    """Of all; its seed is not looked at."""
    workers: int = 2
    """Processes; they do not change the numbers."""
    seed: int = 10
    """Of the first world; the others follow."""

    def __post_init__(self) -> None:
        at_least(self, 2, "seeds")
        at_least(self, 1, "workers")
        at_least(self, 0, "seed")


SMOKE = Config(
    seeds=2, world=PictureWorld(items=5, copies=2, once=5, steps=10, batch=8, autoencoder_steps=2, probes=1), workers=1
)


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Train, write down, and compare over worlds."""
    seeds = range(config.seed, config.seed + config.seeds)
    arguments = {f"pictures_{seed}": (replace(config.world, seed=seed), checkpoints) for seed in seeds}
    told = list(kept(recorded_pictures, arguments, checkpoints, config.workers, "pipelines, charted").values())
    yield from picture_rows(told, seeds)
    for place, one in enumerate(told):
        yield Artefact(f"losses_{place}", one["losses"])
    groups = np.where(told[0]["emoji"], EMOJI, SCENES)
    yield Artefact("groups", np.char.add(groups, np.where(told[0]["copies"] > 1, ", repeated", "")).astype("S32"))


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What each signal finds of either source, and what controls must not show."""
    said = {}
    for name in (FORGOTTEN, DROP, FINAL):
        if found := select(rows, "auc", signal=name):
            said[f"{name}: copies are told from their own source, of scenes and of emoji: intervals above 0.5"] = all(
                row.interval.low > 0.5 for row in found
            )
    if chance := select(rows, "control_auc"):
        said["shuffled labels: the interval of every signal's AUC holds 0.5"] = all(
            row.interval.low <= 0.5 <= row.interval.high for row in chance
        )
    if blind := select(rows, "blind_auc"):
        said[
            "pictures and captions alone do not tell what is repeated: no interval of the blind AUC lies above 0.5"
        ] = all(row.interval.low <= 0.5 for row in blind)
    return said


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """What signals find, and the losses themselves."""
    return {
        "signals": signals_figure(rows, "Pictures that stand in the training set several times"),
        "courses": courses_figure(artefacts["losses_0"], artefacts["groups"].astype(str)),
    }


def answer(run: Recorded) -> Answer:
    """What three signals find among scenes."""
    last, drop, events = (run.number("auc", signal=name, kind=SCENES) for name in (FINAL, DROP, FORGOTTEN))
    return Answer(
        f"Among scenes those that stand there several times are told by the last loss with an AUC of {last}, by how far"
        f" it falls with {drop}, by forget events with {events}.",
        "",
        "signals",
        "Which signal finds copies among scenes and among emoji?",
    )
