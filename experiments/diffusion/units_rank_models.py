"""Do entropy and mutual information of units rank models by what they memorize, and diffusion models by their copies?

Bansal, Pruthi and Belinkov 2022 (arXiv 2210.09404) rank models without labels: where single examples are memorized
(labels drawn anew) units have more entropy and share less information, where a shortcut is, less entropy and more
information. Here perceptrons on scikit-learn's digits are taught labels of which a rising share is drawn anew, or with
a cue that tells a rising share of them; Kendall's tau of every reading with that share is taken within the models of a
seed, and over seeds. Then the same numbers are asked of diffusion models, by the share of what they draw that copies a
training picture: perceptrons that denoise few or many digits, one of them on its way, and tiny Stable Diffusions of few
or many scenes. Units are looked at where models meet pictures that nobody was trained on, or their own drawings, so
that no training set is needed.

Mutual information is taken in two ways: by nearest neighbours (Kraskov, k = 3), as in the paper, and in bins. In bins
it is at most the smaller of two units' entropies, so that it tends to fall where entropy does; by neighbours nothing of
that kind bounds it.

Prediction, made before any run at the defaults: copies are single examples kept by heart, so that by the paper entropy
rises with the share of copies and mutual information falls. A pilot of one seed of digits had both fall in bins, so
that we expected the paper's sign of information to hold and that of entropy to be refuted; of information by
neighbours nothing was predicted, and its claims were written after the run. Controls: networks never trained at the
same inputs; beside units stand the confidence, the loss on unseen pictures and the length of the weights, which cost
less. Every number is over seeds. The mechanism is reproduced, the paper's numbers are not comparable.

Differs: the paper's shortcuts are colours and words; it draws all labels of its noise anew, too. Edges of bins are
those of a layer of one model, and the outermost 2 % of activations share the outermost bins; published edges are
common to all units of a model. Units are up to 64 of each layer by chance instead of the first 64, and information by
neighbours is of so many pairs of them by chance. All models of a family have as many steps. Cost on two cores: about
16 minutes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.figure import Figure

from difflab.audits.digit_models import Denoisers, Perceptrons
from difflab.audits.unit_families import BY_PICTURES, NOISE, OWN, TRAINED, UNTRAINED, Families, digits_told
from difflab.audits.unit_figures import copies_figure, ranks_figure
from difflab.audits.unit_pipelines import PIPELINES, Pipelines, pipelines_told
from difflab.audits.unit_rank_rows import CLASSIFIERS, DIFFUSION, ENTROPY_RISES, SPOKEN, family_rows
from difflab.errors import at_least
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row, select

SURELY = 0.8
"""Size of the tau from which classifiers count as ranked."""


@dataclass(frozen=True)
class Config:
    """The families of models."""

    seeds: int = 8
    """Of digits: one model of every level of every family for each."""
    families: Families = field(default_factory=Families)
    """Perceptrons that classify and that denoise."""
    pipeline_seeds: int = 5
    """Of pipelines."""
    pipelines: Pipelines = field(default_factory=Pipelines)
    """Tiny Stable Diffusions."""
    workers: int = 2
    """Processes; they do not change the numbers."""
    seed: int = 0
    """Of the first models; the others follow."""

    def __post_init__(self) -> None:
        at_least(self, 2, "seeds", "pipeline_seeds")
        at_least(self, 1, "workers")
        at_least(self, 0, "seed")


SMOKE = Config(
    seeds=2,
    families=Families(
        levels=(0.0, 0.3, 0.6, 1.0), perceptrons=Perceptrons(pictures=60, width=8, steps=60, batch=20),
        pictures=(32, 16, 8, 4), longer=4, looks=(0.1, 0.2, 0.5, 1.0),
        denoisers=Denoisers(width=16, steps=60, batch=16, drawn=20, sampler_steps=5), unseen=40,
        units=8, pairs=2,
    ),
    pipeline_seeds=2,
    pipelines=Pipelines(
        pictures=(8, 6, 4, 2), steps=4, batch=4, autoencoder_steps=2, drawn=8, sampler_steps=2, unseen=8,
        units=4, pairs=1,
    ),
    workers=1,
)  # fmt: skip


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Train all models, look at their units, and rank."""
    seeds = range(config.seed, config.seed + config.seeds)
    told = digits_told(config.families, seeds, checkpoints, config.workers)
    seeds = range(config.seed, config.seed + config.pipeline_seeds)
    drawing = pipelines_told(config.pipelines, config.seed, seeds, checkpoints, config.workers)
    for some in (told, drawing):
        yield from family_rows(some, config.families, config.pipelines)
    yield Artefact("first_seed", told[0])


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """The paper's signs, of classifiers and of diffusion models; and that networks never trained are not ranked."""
    said = {}
    for row in select(rows, "rank_correlation"):
        family, who, reading = (row.setting[name] for name in ("family", "of", "reading"))
        if reading not in SPOKEN or who not in (TRAINED, OWN):
            continue
        rises = ENTROPY_RISES[family] == (reading == "unit_entropy")
        near, size = (row.interval.low, row.value) if rises else (-row.interval.high, -row.value)
        where = ", at own drawings" if who == OWN else ""
        what = f"{family}: {SPOKEN[reading]} {'rises' if rises else 'falls'} with memorization{where}"
        if family in CLASSIFIERS:
            said[f"{what}: tau is {SURELY} in size or more"] = size >= SURELY - 1e-9
        else:
            said[f"{what}: the interval of tau has this sign"] = near > 0
    for family in DIFFUSION:
        if found := [row.value for row in select(rows, "copied_fraction", family=family)]:
            said[f"{family}: the least and the most copies lie half of all drawn pictures apart"] = (
                max(found) - min(found) >= 0.5
            )
    if control := select(rows, "rank_correlation", of=UNTRAINED):
        said["networks never trained are not ranked: the interval of every reading of units holds 0"] = all(
            row.interval.low <= 0 <= row.interval.high for row in control if row.setting["reading"] in SPOKEN
        )
    return said


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """Tau of every reading, and units of diffusion models by what they copy."""
    return {"ranks": ranks_figure(rows), "copies": copies_figure(rows)}


def answer(run: Recorded) -> Answer:
    """Tau of entropy and of both informations with the copies of diffusion models, and with labels drawn anew."""
    parts = []
    for family in (NOISE, BY_PICTURES, PIPELINES):
        told = [run.number("rank_correlation", family=family, of=TRAINED, reading=reading) for reading in SPOKEN]
        parts.append(f"{', '.join(told)} ({family})")
    return Answer(
        "Kendall's tau of memorization with entropy of units, with their information in bins and with that by "
        f"neighbours: {'; '.join(parts)}.",
        "tau 0.6 to 1.0 in size, of classifiers",
        "ranks",
        "On which side of 0 do diffusion models lie, and do both kinds of information lie on the same?",
    )
