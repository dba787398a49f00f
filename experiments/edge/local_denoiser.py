"""Are small networks local denoisers, and do they stop to be where they begin to copy?

Kamb and Ganguli 2025 (arXiv 2412.20292) explain what convolutional networks make of noise by exact denoisers that see a
patch around each pixel and compare it with patches of the training pictures: at the same place (local), at all
(equivariant), or at all from where the border looks the same (bordered), as networks that pad with zeros can. Nothing
is trained in them but the side of the patch at each time. Here the side is the one with the smallest loss on held-out
pictures, so that no network is asked. Beside them stands the memorizing denoiser, which sees the whole picture. U-Nets
of growing width are trained on the same digits and sampled from the same noise: which of these do their samples
resemble, and is the width at which this changes the one at which they copy?

Published: a median of r = 0.94 on MNIST, which that paper calls r2; both r and its square are reported here, as the
mean over data sets of the median over samples.

Differs:
    The U-Nets have no norms, which here would show a pixel its whole row.

Expect local agreement for narrow networks, and the memorizing one for wide ones. Cost on two cores: an hour.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from difflab.errors import at_least, require
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row, select
from synthetic.data.dataset import Dataset, data_keys
from synthetic.data.sources import pictures_of
from synthetic.local_machines import (
    BORDERED,
    EQUIVARIANT,
    LOCAL,
    MEMORIZING,
    agreement_rows,
    machine_rows,
    machines_of,
    network_beside,
)
from synthetic.networks import UNet
from synthetic.panels.local import agreement_figure, patches_figure
from synthetic.problem import Objective, objective_for
from synthetic.train import Training
from theory.noise import SCHEDULES, uniform_times

NOISE = SCHEDULES["vp"]
LOCAL_ONES = (LOCAL, EQUIVARIANT, BORDERED)


@dataclass(frozen=True)
class Config:
    """Pictures, machines and networks."""

    source: str = "mnist"
    """'mnist', 'digits', a .npy file of points, or a folder of pictures."""
    n: int = 50
    """Training pictures N; as many again are held out."""
    side: int = 14
    """Pixels of a picture's side."""
    widths: tuple[int, ...] = (4, 8, 16, 24)
    """Of the networks, growing."""
    patches: tuple[int, ...] = (1, 3, 5, 7, 9, 11, 13)
    """Sides of patches, odd; those larger than a picture are left out."""
    pictures: int = 10
    """Held-out pictures on which the side is chosen."""
    samples: int = 40
    """Generated pictures for each data set."""
    seeds: int = 3
    """Independent data sets."""
    times: int = 26
    """Times on the grid."""
    workers: int = 2
    """Processes; does not change the numbers."""
    seed: int = 0
    """Seed of data and training."""
    training: Training = field(default_factory=lambda: Training(steps=3000, draws=2, batch=25, learning_rate=2e-3))

    def __post_init__(self) -> None:
        at_least(self, 2, "n", "side", "seeds", "times", "samples")
        at_least(self, 1, "pictures", "workers")
        require(self.pictures <= self.n, f"pictures is {self.pictures}, but {self.n} are held out; give at most these.")
        require(bool(self.widths) and list(self.widths) == sorted(set(self.widths)), "give widths in growing order.")
        require(self.widths[0] >= 1, "a width is at least 1.")
        require(any(patch <= self.side for patch in self.patches), "give a patch that is not larger than a picture.")
        require(all(patch >= 1 and patch % 2 for patch in self.patches), "the side of a patch is odd and at least 1.")
        require(self.training.start == "points", "networks have no components; leave --start away.")


SMOKE = Config(
    source="digits",
    n=10,
    side=6,
    widths=(2,),
    patches=(1, 3),
    pictures=3,
    samples=4,
    seeds=2,
    times=4,
    workers=1,
    training=Training(steps=20, draws=2, chunk=20, learning_rate=3e-3),
)


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Machines of every data set, networks of every width, and how alike their samples are."""
    data, objective = _data(config), _objective(config)
    given = {f"machines{s}": (config, s) for s in range(config.seeds)}
    machines = list(kept(_machines, given, checkpoints, config.workers, "machines").values())
    yield from machine_rows(machines, data, np.asarray(objective.times))
    trained = kept(
        _network, {f"width{width}": (config, width) for width in config.widths}, checkpoints, config.workers, "networks"
    )
    for width, network in zip(config.widths, trained.values(), strict=True):
        yield from agreement_rows(width, network, machines, data)
    first = [network["samples"][0][:4] for network in trained.values()]
    yield Artefact("samples", np.stack([*(machines[0][f"{name}_samples"][:4] for name in LOCAL_ONES), *first]))


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """Whether networks that do not copy are local, and those that copy are not."""
    copied = {row.setting["width"]: row.value for row in select(rows, "memorized_fraction") if "width" in row.setting}
    r2 = {(row.setting["width"], row.setting["machine"]): row.value for row in select(rows, "r2_similarity")}
    local = {width: max(r2[width, machine] for machine in LOCAL_ONES) for width in copied}
    clean = [width for width in copied if copied[width] < 0.1]
    said = {"the narrowest network is more like a local denoiser than like the memorizing one": _is_local(r2, local, 0)}
    said["the widest network is more like the memorizing denoiser than like a local one"] = not _is_local(r2, local, -1)
    if clean:
        said["the widest network that copies under a tenth has a median r2 of 0.9 with a local denoiser"] = (
            local[clean[-1]] >= 0.9
        )
    said["networks are more like the memorizing denoiser where half of their samples are copies, and only there"] = all(
        (r2[width, MEMORIZING] > local[width]) == (copied[width] >= 0.5) for width in copied
    )
    return said


def _is_local(r2: dict[tuple[int, str], float], local: dict[int, float], place: int) -> bool:
    width = list(local)[place]
    return local[width] > r2[width, MEMORIZING]


def figures(rows: Sequence[Row], artefacts: dict[str, Any]) -> dict[str, Figure]:
    """Agreement and copies over the width, and the patch over time."""
    return {"agreement": agreement_figure(rows), "patches": patches_figure(rows)}


def answer(run: Recorded) -> Answer:
    """Agreement of the narrowest and the widest network."""
    widths = [row.setting["width"] for row in run.rows("r_similarity", machine=LOCAL)]
    first, last = (
        " and ".join(
            f"{run.number('r_similarity', width=width, machine=machine)} ({machine})" for machine in (LOCAL, MEMORIZING)
        )
        for width in (widths[0], widths[-1])
    )
    return Answer(
        f"The median r of a network's samples is {first} at width {widths[0]} and {last} at width {widths[-1]}.",
        "0.94",
        "agreement",
        "Do the lines cross where half of the samples are copies?",
    )


def _data(config: Config) -> list[Dataset]:
    keys = data_keys(config.seed, config.seeds, config.n, config.side)
    return [pictures_of(key, config.source, config.n, config.side, by_pixel=False) for key in keys]


def _objective(config: Config) -> Objective:
    return objective_for(config.training.parameterization, NOISE, uniform_times(config.times))


def _machines(config: Config, data_set: int) -> dict[str, np.ndarray]:
    dataset = _data(config)[data_set]
    return machines_of(dataset, config.seed, _objective(config), config.patches, config.pictures, config.samples)


def _network(config: Config, width: int) -> dict[str, np.ndarray]:
    data = _data(config)
    make = partial(UNet, width, data[0].points.shape[1:], NOISE, config.training.parameterization, norm=False)
    return network_beside(make, data, config.seed, _objective(config), config.training, config.samples)
