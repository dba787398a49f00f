"""Does a third exact denoiser, fitted to nothing, say where trained models start to copy?

Buchanan et al. 2025 (arXiv 2508.17689) predict it by two exact denoisers: one that generalizes and one that memorizes M
of N points. Trained models are neither; their loss lies below both. Here is a third one. The first M points divide the
training set into cells; components lie at the centres of the cells, all as likely, with the variance of the points
around them. Its samples are drawn as those of trained models are, by the same 26 times, and counted by the same
criterion. So it predicts the share of copies at every M / N and for every criterion, the learned variance and the
losses, without training and without a fitted number.

Nothing is trained here. What trained models do is read from the record: edge_sweep (64 settings, criterion 1/3),
edge_stress (what else was varied; the criteria 1/5, 1/4, 1/2 and 2/3 at its base alone) and crossover_trained (losses).
Those runs drew other data sets of the same laws where streams of chance were renamed since. Nobody tells the constant
0.8 the criterion, so other criteria than 1/3 are no part of the stress set. They stand apart, without an interval: they
are one law and the same models, not several settings.

Expect all five criteria within 0.02, and the shifts with the variance and the schedule, which the exact losses get
wrong by a half. In the sweep, where nothing moves, the constant 0.8 stays the better prediction; over the stress set it
is not clear which of both is better. Clusters of 3 directions only are missed. Cost on two cores: 6 minutes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from matplotlib.figure import Figure

from difflab.errors import require
from difflab.runs.answers import Answer
from difflab.runs.numbers import Numbers, Recorded
from difflab.runs.parallel import kept
from difflab.runs.record import recorded
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row, select
from synthetic.cells import CELLS, known_to_cells, nearest_criterion, predicted_copies
from synthetic.cells_beside import beside, errors_among, loss_rows, variance_row
from synthetic.panels.cells import criteria_figure, found_figure, loss_ratio_figure
from synthetic.panels.predictions import errors_figure
from synthetic.predictions import CONSTANT, EXACT
from synthetic.stress import BASE, Stress, chosen
from synthetic.study import Study

SWEEP, STRESS, FIVE = "sweep", "stress", "criteria"
"""What errors are means over: the sweep, the stress set at the criterion 1/3, and all criteria at its base."""
CRITERION = "criterion"
"""The kind of settings that only differ in what counts as a copy."""


@dataclass(frozen=True)
class Config:
    """Settings of the record, and how each is predicted."""

    n: tuple[int, ...] = (50, 100, 150, 200)
    """Training points N of the sweep."""
    dim: tuple[int, ...] = (30, 40, 50, 60)
    """Dimensions d of the sweep."""
    components: tuple[int, ...] = (3, 6, 9, 12)
    """True clusters K of the sweep."""
    only: tuple[str, ...] = ()
    """Kinds or settings of the stress set; all where none are given."""
    fractions: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, *(round(0.45 + i / 20, 2) for i in range(12)))
    """M / N of the cells denoisers."""
    workers: int = 2
    """Processes; does not change the numbers."""
    seed: int = 0
    """Seed of data and samples."""
    study: Study = field(default_factory=lambda: Study(samples=500, seeds=4))

    def __post_init__(self) -> None:
        require(len(self.fractions) >= 2 and self.fractions == tuple(sorted(set(self.fractions))),
                "give at least two fractions, in growing order.")  # fmt: skip
        require(self.fractions[0] > 0 and self.fractions[-1] <= 1, "fractions are M / N; they lie in (0, 1].")
        require(self.workers >= 1, f"workers is {self.workers}; give at least 1.")
        require(self.study.seeds >= 2, f"seeds is {self.study.seeds}; an interval needs at least 2 data sets.")
        chosen(self.only)


SMOKE = Config(
    n=(50,),
    dim=(30,),
    components=(3, 6),
    only=("variance: 0.25", "variance: 4", "criterion: 0.50", "start: k-means"),
    fractions=(0.3, 0.7, 0.8, 0.9, 1.0),
    workers=1,
    study=Study(seeds=2, samples=40, times=6, loss_draws=2),
)


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Predict every setting, each in a process of its own, and only then read what was found."""
    record = Numbers(recorded())
    sweep, stress = record("edge_sweep", parameterization="x0"), record("edge_stress")
    base = tuple(stress.config[name] for name in ("n", "dim", "components"))
    law = Stress("variance", SWEEP, (("variance", sweep.config["variance"]),))
    settings: list[tuple[str, dict[str, Any], Stress, tuple[int, ...]]] = [
        (SWEEP, dict(zip(("n", "dim", "components"), shape, strict=True)), law, shape)
        for shape in product(config.n, config.dim, config.components)
    ]
    settings += [(STRESS, {"kind": one.kind, "value": one.value}, one, base) for one in chosen(config.only)]
    # Many settings are one to a cells denoiser, which is predicted once.
    different = list(dict.fromkeys((known_to_cells(setting), shape) for _, _, setting, shape in settings))
    given = {
        f"setting{i}": (setting, config.study, config.seed, shape, config.fractions)
        for i, (setting, shape) in enumerate(different)
    }
    predicted = kept(predicted_copies, given, checkpoints, config.workers, "settings")
    arrays = dict(zip(different, predicted.values(), strict=True))
    for among, source in ((SWEEP, sweep), (STRESS, stress)):
        own = [one for one in settings if one[0] == among]
        each = [arrays[known_to_cells(setting), shape] for _, _, setting, shape in own]
        compared = []
        for (_, labels, setting, shape), one in zip(own, each, strict=True):
            criterion = nearest_criterion(setting.factor)
            rows = list(beside(source.run.rows, labels, criterion, one, shape[0], config.study.samples))
            compared.append(rows)
            yield from (row._replace(setting={"among": among, **row.setting}) for row in rows)
        by_kind = [(setting.kind, rows) for (_, _, setting, _), rows in zip(own, compared, strict=True)]
        yield from errors_among(among, [rows for kind, rows in by_kind if kind != CRITERION])
        for row in errors_among(FIVE, [rows for kind, rows in by_kind if kind in (BASE, CRITERION)]):
            yield row._replace(low=None, high=None)
        yield from variance_row(among, source.run.rows, [(one[1], told) for one, told in zip(own, each, strict=True)])
    yield from loss_rows(record("crossover_trained"), config.study)


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """Whether one exact denoiser predicts all of it, and better than the number that was fitted to one criterion."""
    errors = {row.setting["among"]: row.value for row in select(rows, "error_fraction", prediction=CELLS)}
    better = {
        row.setting["among"]: row.interval
        for row in select(rows, "better_fraction", prediction=CELLS)
        if row.setting["among"] != FIVE
    }
    said = {f"{among}: the mean absolute error is at most 0.02": error <= 0.02 for among, error in errors.items()}
    said |= {f"{among}: cells predict better than the constant 0.8": one.high < 0 for among, one in better.items()}
    variance = {row.setting["among"]: row.value for row in select(rows, "variance_error_ratio")}
    said |= {
        f"{among}: the learned variance is within 10 % on average": error <= 0.1 for among, error in variance.items()
    }
    moved = variance_shift(rows)
    if moved is not None:
        shift, predicted = moved
        said["from the smallest to the largest variance cells move as far as trained models, within 0.02"] = (
            abs(shift - predicted) <= 0.02
        )
    for on in ("train", "fresh"):
        ratios = [row for row in select(rows, "loss_ratio", on=on) if 0.2 <= row.setting["size_over_n"] <= 0.9]
        if ratios:
            said[f"{on}: at t near 0.36 and M / N from 0.2 to 0.9 losses are within 10 % of trained ones"] = all(
                abs(row.value - 1) <= 0.1 for row in ratios
            )
    return said


def variance_shift(rows: Sequence[Row]) -> tuple[float, float] | None:
    """How far the transition moves from the smallest to the largest variance with both, found and by cells, if any."""
    both = []
    for row in select(rows, "transition_fraction", kind="variance"):
        labels = {"kind": "variance", "value": row.setting["value"], "criterion": row.setting["criterion"]}
        both += [
            (float(row.setting["value"]), row.value, told.value)
            for told in select(rows, "crossover_fraction", prediction=CELLS, **labels)
        ]
    if len(both) < 2:
        return None
    (_, found, told), (_, last_found, last_told) = min(both), max(both)
    return last_found - found, last_told - told


def figures(rows: Sequence[Row], artefacts: dict[str, Any]) -> dict[str, Figure]:
    """Found over predicted, the criteria, losses beside trained ones, and errors of all predictions."""
    sweep = [row for row in rows if row.setting.get("among") == SWEEP]
    return {
        "found": found_figure(rows),
        "criteria": criteria_figure(rows),
        "losses": loss_ratio_figure(rows),
        "errors": errors_figure(sweep),
    }


def answer(run: Recorded) -> Answer:
    """The errors over the sweep, over what else was varied, and over the criteria."""
    sweep, other, five = (run.value("error_fraction", among=among, prediction=CELLS) for among in (SWEEP, STRESS, FIVE))
    known, constant, exact = (
        run.value("error_fraction", among=among, prediction=name)
        for among, name in ((SWEEP, CONSTANT), (STRESS, CONSTANT), (STRESS, EXACT))
    )
    better = run.number("better_fraction", among=STRESS, prediction=CELLS)
    return Answer(
        f"With nothing fitted it is off by {sweep} of N over the sweep, where the constant is off by {known}, and by "
        f"{other} over what else was varied, where the constant is off by {constant} (cells less that: {better}) and "
        f"the exact losses by {exact}. At one base it is off by {five} over what counts as a copy.",
        "",
        "found",
        "Do the stress settings, which the constant cannot tell apart, lie on the diagonal?",
    )
