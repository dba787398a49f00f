"""difflab predict: where memorizing is predicted to begin; nothing is trained."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from difflab.errors import InputError
from difflab.randomness import stream
from difflab.runs.precision import double_precision


@dataclass(frozen=True)
class Predict:
    """Where memorizing is predicted to become the cheaper way to fit: closed forms, and with --exact by Monte Carlo."""

    n: int = 100
    """Training points N."""
    variance: float = 1.0
    """Within-cluster variance s, >= 0."""
    schedule: str = "vp"
    """'vp', 'flow', 've', 'ddpm-linear' or 'ddpm-cosine'."""
    parameterization: str = "eps"
    """Loss with unit weight on 'x0', 'eps', 'v', 'score', or the likelihood bound 'elbo'."""
    times: int = 26
    """Times on the grid."""
    t_min: float = 0.001
    """First time."""
    t_max: float = 0.999
    """Last time."""
    bound: float = 1.0
    """Constant C of the theorem, in [1, 2]."""
    exact: bool = False
    """Also draw a training set and find where the exact losses cross."""
    dim: int = 30
    """Dimension d of that training set."""
    components: int = 4
    """True clusters K of that training set."""
    seed: int = 0
    """Seed of that training set."""
    json: bool = False
    """Print one JSON object for the chosen parameterization, instead of a table of all."""


def main(arguments: Sequence[str]) -> None:
    """Print the predicted crossover."""
    import tyro

    asked = tyro.cli(Predict, args=arguments, prog="difflab predict")
    from theory.noise import PARAMETERIZATIONS

    if asked.parameterization not in PARAMETERIZATIONS:
        raise InputError(f"parameterization is {asked.parameterization!r}; choose from {', '.join(PARAMETERIZATIONS)}.")
    with double_precision():
        found = predictions(asked, [asked.parameterization] if asked.json else PARAMETERIZATIONS)
    if asked.json:
        print(json.dumps(asdict(asked) | found[asked.parameterization]))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=f"crossover for N = {asked.n}, variance {asked.variance:g}, {asked.schedule}, C = {asked.bound:g}"
    )
    for column in ("parameterization", *next(iter(found.values()))):
        table.add_column(column.replace("_", " "), justify="right")
    for name, values in found.items():
        table.add_row(name, *[f"{value:.9g}" for value in values.values()])
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def predictions(asked: Predict, parameterizations: Sequence[str]) -> dict[str, dict[str, float]]:
    """crossover_fraction, one_minus_fraction, crossover_size; with exact also exact_fraction, low, high.

    Raises:
        InputError: for a value outside its range.
    """

    from synthetic.data.gaussian_mixture import GaussianMixture, gaussian_mixture
    from theory.crossover import exact_crossover, exact_losses, uncrossed_fraction
    from theory.noise import SCHEDULES, training_weight, uniform_times

    if asked.schedule not in SCHEDULES:
        raise InputError(f"schedule is {asked.schedule!r}; choose one of {', '.join(SCHEDULES)}.")
    if asked.times < 1 or not 0 < asked.t_min <= asked.t_max or (asked.t_max >= 1 and asked.schedule != "ve"):
        raise InputError("the grid needs times >= 1 and 0 < t-min <= t-max < 1 (any t-max for schedule ve).")
    family = GaussianMixture(asked.n, asked.dim, asked.components, asked.variance)
    noise, times = SCHEDULES[asked.schedule], uniform_times(asked.times, asked.t_min, asked.t_max)
    losses = None
    if asked.exact:
        data_key, losses_key, bootstrap_key = (
            stream(asked.seed, name).jax() for name in ("data", "losses", "bootstrap")
        )
        data = gaussian_mixture(data_key, family)
        assert data.law is not None
        losses = exact_losses(losses_key, data.law, data.points, noise, times)
    found = {}
    for name in parameterizations:
        weight = training_weight(name, noise, times)
        try:
            rest = uncrossed_fraction(asked.variance, noise, times, weight, asked.bound)
        except ValueError as error:
            raise InputError(str(error)) from error
        values = {
            "crossover_fraction": 1 - rest,
            "one_minus_fraction": rest,
            "crossover_size": asked.n * (1 - rest),
        }
        if losses:
            exact = exact_crossover(bootstrap_key, losses, weight)
            values |= {"exact_fraction": exact.fraction, "low": exact.low, "high": exact.high}
        found[name] = values
    return found
