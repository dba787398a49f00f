"""Cells denoisers beside trained models of the record: transitions, errors, learned variances and losses."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Int

from difflab.randomness import resampling
from difflab.runs.numbers import Recorded
from difflab.runs.rows import Row, select
from difflab.statistics.intervals import bootstrap, summary
from synthetic.cells import CELLS, Labels, cells_losses, cells_rows
from synthetic.comparison import error_rows
from synthetic.data.dataset import data_keys
from synthetic.data.gaussian_mixture import GaussianMixture, gaussian_mixture
from synthetic.predictions import BOUNDS, CONSTANT, EXACT
from synthetic.study import Study

PREDICTIONS = (CELLS, EXACT, *BOUNDS, CONSTANT)
WHOLE = 0.95
"""Above this M / N learned variances and losses are all but 0, and ratios say nothing."""


def beside(
    trained: Sequence[Row], labels: Labels, criterion: float, arrays: Mapping[str, np.ndarray], n: int, samples: int
) -> Iterator[Row]:
    """crossover_fraction of cells by every criterion; then what was found and predicted by the setting's own one.

    Args:
        trained: rows of a run that trained models, with transition_fraction and crossover_fraction of these labels.
        labels: of the setting.
        criterion: of the setting, among the rounded CRITERIA.
        arrays: from :func:`synthetic.cells.predicted_copies`.
        n: training points.
        samples: of each law.
    """
    yield from cells_rows(labels, arrays, n, samples)
    for row in select(trained, "transition_fraction", point="middle", **labels):
        yield row._replace(setting={**row.setting, "criterion": criterion})
    for name in PREDICTIONS[1:]:
        for row in select(trained, "crossover_fraction", prediction=name, **labels):
            yield row._replace(setting={**row.setting, "criterion": criterion})


def errors_among(among: str, compared: Sequence[Sequence[Row]]) -> Iterator[Row]:
    """Errors of every prediction over the settings that have a transition, found and by cells.

    Args:
        among: what the rows call these settings.
        compared: of each setting its rows, from :func:`beside`.
    """
    found: list[float] = []
    predicted: dict[str, list[float]] = {name: [] for name in PREDICTIONS}
    for rows in compared:
        located = select(rows, "transition_fraction")
        if not located:
            continue
        criterion = located[0].setting["criterion"]
        own = [select(rows, "crossover_fraction", criterion=criterion, prediction=name) for name in PREDICTIONS]
        if all(own):
            found.append(located[0].value)
            for name, told in zip(PREDICTIONS, own, strict=True):
                predicted[name].append(told[0].value)
    if len(found) > 1:
        for row in error_rows(np.array(found), {name: np.array(values) for name, values in predicted.items()}):
            yield row._replace(setting={"among": among, **row.setting})


def variance_row(
    among: str, trained: Sequence[Row], settings: Sequence[tuple[Labels, Mapping[str, np.ndarray]]]
) -> Iterator[Row]:
    """Mean of |cells / trained - 1| of the learned variance, over settings and the sizes that both have.

    The interval is over settings, whose sizes share data sets.
    """
    errors = []
    for labels, arrays in settings:
        ratios = [
            arrays["variances"][:, list(arrays["sizes"]).index(row.setting["size"])].mean() / row.value
            for row in select(trained, "learned_variance", **labels)
            if row.setting["size"] in arrays["sizes"] and row.setting["size_over_n"] <= WHOLE
        ]
        if ratios:
            errors.append(float(np.mean(np.abs(np.array(ratios) - 1))))
    if len(errors) > 1:
        interval = bootstrap(np.array(errors), np.mean, resampling())
        yield Row("variance_error_ratio", *interval, len(errors), {"among": among})


def loss_rows(trained: Recorded, config: Study) -> Iterator[Row]:
    """loss_ratio, cells over trained, at the plotted time: of every variance and size, mean over the data sets.

    Args:
        trained: a run of crossover_trained.
        config: schedule, times and draws of the cells' losses.
    """
    given, study = trained.config, trained.config["study"]
    for variance in given["variances"]:
        law = GaussianMixture(given["n"], given["dim"], given["components"], variance)
        data = [gaussian_mixture(key, law) for key in data_keys(given["seed"], study["seeds"])]
        sizes = _sizes(trained.run.rows, variance)
        for on, losses in cells_losses(config, given["seed"], data, sizes).items():
            for i, size in enumerate(sizes.tolist()):
                here = {"variance": variance, "on": on, "size": size, "size_over_n": size / given["n"]}
                rows = trained.rows("denoising_loss", denoiser="trained", variance=variance, on=on, size=size)
                there = np.array([row.value for row in rows])
                yield Row("denoising_loss", *summary(losses[:, i]), len(data), {**here, "denoiser": CELLS})
                yield Row("denoising_loss", *summary(there), len(there), {**here, "denoiser": "trained"})
                if here["size_over_n"] <= WHOLE:
                    yield Row("loss_ratio", *summary(losses[:, i] / there), len(data), here)


def _sizes(rows: Sequence[Row], variance: float) -> Int[np.ndarray, " m"]:
    sizes = {int(row.setting["size"]) for row in select(rows, "memorized_fraction", variance=variance)}
    return np.array(sorted(sizes))
