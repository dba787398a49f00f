"""Where is the transition if memory of a picture is asked for by a key that no other picture has?

SolidMark (arXiv 2503.00592) frames every training picture in a grey of its own and lets the model paint around the
picture: who knows the frame has memorized. No distance between pictures is needed. U-Nets of growing width learn framed
digits and emoji, and are asked for frames of training pictures and, as a control, of fresh ones with keys that nobody
trained on. Read off is which share of all keys that could have been drawn lies farther from the recalled one than the
picture's own: a half by chance, one where it is known, and nobody says how near is near. Beside it stand the published
count, recalled keys within 0.1, and how many of N samples of the same networks are copies in the sense of Buchanan et
al. 2025 (arXiv 2508.17689), judged inside the frame. The transition is where either is half way. The memorizing
denoiser, asked in the same way, says what is told by who has all pictures.

Differs: from SolidMark, a recalled key is a mean over tries, and each picture has one key; pictures are repeated by
epochs, not in the data; a frame is one pixel wide, and its greys are half as far apart as those of pictures. On pilots,
whose seed the default does not use, the memorizing denoiser knew few of its own frames where they were as loud.

Expect keys to be known to smaller networks than copies need, for the picture is nearly told; and chance for fresh
pictures, which is a check of the procedure. Two widths piloted on digits agreed, on a seed that the default does not
use. The mechanism is reproduced, the paper's numbers are not comparable. Cost on two cores: 40 minutes by the time of
the processor.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from difflab.errors import at_least, require
from difflab.randomness import stream
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key
from difflab.runs.rows import Row, select
from synthetic.border_keys import (
    ALL,
    COPIES,
    FRESH,
    KEYS,
    TRAINING,
    Frame,
    key_rows,
    key_transition_rows,
    keys_of_all,
    keys_told,
    told_rows,
)
from synthetic.data.dataset import Dataset, data_keys
from synthetic.data.sources import pictures_of
from synthetic.networks import NETWORKS
from synthetic.panels.border_keys import keys_figure
from synthetic.problem import Objective, objective_for
from synthetic.train import Training
from theory.noise import SCHEDULES, uniform_times

NOISE = SCHEDULES["vp"]


@dataclass(frozen=True)
class Config:
    """Pictures, frames and networks."""

    sources: tuple[str, ...] = ("mnist", "emoji")
    """'mnist', 'digits', 'emoji', .npy files of points, or folders of pictures."""
    n: int = 25
    """Training pictures N; as many again are fresh."""
    side: int = 10
    """Pixels of a picture's side; 0 keeps those of digits, and makes emoji and pictures of a folder 16 wide."""
    network: str = "unet"
    """'unet' or 'perceptron'."""
    widths: tuple[int, ...] = (2, 4, 6, 8, 12, 16)
    """Of the networks, growing."""
    frame: Frame = field(default_factory=Frame)
    """Of every picture."""
    within: float = 0.1
    """How near to its key a recalled one counts in the published way."""
    seeds: int = 5
    """Independent data sets of each source."""
    times: int = 26
    """Times on the grid."""
    workers: int = 2
    """Processes; they do not change the numbers."""
    seed: int = 0
    """Of data, keys and training."""
    training: Training = field(default_factory=lambda: Training(steps=3000, draws=2, learning_rate=2e-3))

    def __post_init__(self) -> None:
        at_least(self, 2, "n", "seeds", "times")
        at_least(self, 1, "workers")
        at_least(self, 0, "seed", "side")
        require(0 < len(self.sources) == len(set(self.sources)), "give sources of pictures, each once.")
        require(bool(self.widths) and list(self.widths) == sorted(set(self.widths)), "give widths in growing order.")
        require(self.widths[0] >= 1, "a width is at least 1.")
        require(self.network in NETWORKS, f"network is {self.network!r}; choose one of {', '.join(NETWORKS)}.")
        require(0 < self.within < 0.5, f"within is {self.within}; give a number between 0 and 0.5.")
        require(self.training.start == "points", "networks have no components; leave --start away.")


SMOKE = Config(
    sources=("digits",),
    n=6,
    side=0,
    network="perceptron",
    widths=(4, 64),
    frame=Frame(border=1, tries=2),
    seeds=2,
    times=6,
    workers=1,
    training=Training(steps=200, draws=2, chunk=100, learning_rate=3e-3),
)


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row]:
    """Train every width on every source, ask for keys and for samples, and find both transitions."""
    # Read before anything is trained, so that one that can't be read is told first.
    data = {source: _data(config, source) for source in config.sources}
    cells = list(product(config.sources, config.widths))
    # A source may be a path, which is no name of a checkpoint.
    names = [key(config.sources.index(source), width) for source, width in cells]
    given = {name: (config, *cell) for name, cell in zip(names, cells, strict=True)}
    found = kept(_of_network, given, checkpoints, config.workers, "networks")
    told = {cell: found[name] for name, cell in zip(names, cells, strict=True)}
    for (source, width), arrays in told.items():
        yield from key_rows(width, arrays, {"source": source}, config.within)
    for source in config.sources:
        most = keys_of_all(stream(config.seed, "keys", source), data[source], _objective(config), config.frame)
        yield from told_rows(most, TRAINING, {"source": source, "denoiser": ALL}, config.within)
        yield from key_transition_rows([told[source, width] for width in config.widths], {"source": source})


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """Chance on fresh pictures, keys known to the widest, and which comes first."""
    said = {}
    for source in dict.fromkeys(row.setting["source"] for row in rows):
        networks = [row for row in rows if row.setting["source"] == source and "width" in row.setting]
        widest, fresh = (
            select(networks, "key_rank_fraction", pictures=kind)[-1].interval for kind in (TRAINING, FRESH)
        )
        said[f"{source}: the widest network tells keys of fresh pictures by chance: interval holds 0.5"] = (
            fresh.low <= 0.5 <= fresh.high
        )
        said[f"{source}: the widest network knows its keys: nine of ten others lie farther"] = widest.low >= 0.9
        for row in select(rows, "transition_ratio", source=source):
            said[f"{source}: keys are known to smaller networks than copies need: interval above 1"] = (
                row.interval.low > 1
            )
    return said


def figures(rows: Sequence[Row], artefacts: dict[str, Any]) -> dict[str, Figure]:
    """Keys and copies over the number of parameters."""
    return {"keys": keys_figure(rows)}


def answer(run: Recorded) -> Answer:
    """Where both criteria put the transition."""
    sources = dict.fromkeys(row.setting["source"] for row in run.rows("key_rank_fraction"))
    beyond = "beyond the sizes tried"
    places = [
        f"on {source} "
        + " and ".join(
            f"{run.number_or(beyond, 'transition_count', digits=0, source=source, criterion=name)} by {name}"
            for name in (KEYS, COPIES)
        )
        for source in sources
    ]
    return Answer(
        f"Parameters at which memory is half way: {'; '.join(places)}.",
        "",
        "keys",
        "Which curve rises first, and does the control stay at a half?",
    )


def _data(config: Config, source: str) -> list[Dataset]:
    keys = data_keys(config.seed, config.seeds, config.n, config.side)
    return [pictures_of(one, source, config.n, config.side, by_pixel=False) for one in keys]


def _objective(config: Config) -> Objective:
    return objective_for(config.training.parameterization, NOISE, uniform_times(config.times))


def _of_network(config: Config, source: str, width: int) -> dict[str, np.ndarray]:
    data = _data(config, source)
    channels, dim = data[0].points.shape[1:]
    whole = (round(dim**0.5) + 2 * config.frame.border) ** 2
    model = NETWORKS[config.network](width, (channels, whole), NOISE, config.training.parameterization)
    return keys_told(
        stream(config.seed, "keys", source), model, data, _objective(config), config.training, config.frame
    )
