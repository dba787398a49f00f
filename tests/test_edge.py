"""Settings measured and predicted: rows from arrays whose answer is known by hand."""

import jax
import numpy as np
import pytest

from difflab.errors import InputError
from difflab.runs.rows import check_row, select
from difflab.statistics.intervals import Interval
from experiments.edge import edge_sweep
from experiments.edge.edge_stress import Config
from synthetic.comparison import (
    Comparison,
    compare,
    copies_of_laws,
    error_rows,
    of_data_sets,
    shift_rows,
    spread_rows,
)
from synthetic.data.gaussian_mixture import GaussianMixture
from synthetic.data.low_rank_mixture import LowRankMixture, low_rank_mixture
from synthetic.fits import loss_gap
from synthetic.predictions import CONSTANT, EXACT
from synthetic.stress import GRID, Stress, chosen, family, named, objective_of, rounded
from synthetic.study import Study
from theory.crossover import crossover_fraction
from theory.noise import SCHEDULES

N, TIMES = 20, 4
STUDY = Study(samples=100, times=TIMES)


@pytest.fixture
def arrays():
    """Two settings of two data sets; the losses of the second setting cross at 0.5 N, at every time and replicate."""
    sizes = np.array([5, 10, 15, 20])
    partly = np.broadcast_to(1 - sizes / N, (4, 3, TIMES, 4)).swapaxes(-1, -2).copy()
    general = np.full((4, 3, TIMES), 0.5)
    general[:2] = 0.25
    copies = np.array([[0, 0, 100, 100], [0, 0, 100, 100], [0, 50, 100, 100], [0, 50, 100, 100]])
    return {
        "sizes": sizes,
        "copies": copies,
        "variances": np.array([[0.75, 0.5, 0.25, 0.0]] * 3 + [[0.75, 0.3, 0.25, 0.0]]),
        "loss_sizes": sizes,
        "generalizing": general,
        "partly_memorizing": partly,
        "closed_forms": np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6], [0.7, 0.8]]),
    }


def test_a_setting_is_its_own_part_of_the_arrays(arrays):
    setting, rows = compare(STUDY, 0, {"name": "second"}, of_data_sets(arrays, slice(2, 4)), STUDY.objective(), 1)
    assert all(check_row(row) for row in rows)
    assert setting.transition.value == pytest.approx(0.5)
    assert setting.predicted == pytest.approx(
        {EXACT: 0.5, "closed form, C = 1": 0.6, "closed form, C = 2": 0.7, CONSTANT: 0.8}
    )
    assert [row.value for row in select(rows, "memorized_fraction")] == [0, 0.5, 1, 1]
    first, _ = compare(STUDY, 0, {"name": "first"}, of_data_sets(arrays, slice(0, 2)), STUDY.objective(), 1)
    (there,), straight = select(rows, "transition_variance"), select(rows, "straight_score")
    assert there.value == pytest.approx(0.4) and not straight, "two sizes before the transition are no line"
    assert [row.value for row in select(rows, "learned_variance")] == pytest.approx([0.75, 0.4, 0.25, 0])
    assert first.transition.value == pytest.approx(0.625) and first.predicted[EXACT] == pytest.approx(0.75)
    gap = loss_gap(setting._replace(labels={"dim": 2}), np.array([0.25, 0.5, 0.75]))
    assert gap == pytest.approx(np.repeat([[0.125], [0.0], [-0.125]], TIMES, axis=1))


def test_a_setting_without_a_transition(arrays):
    arrays["copies"][:] = 0
    setting, rows = compare(STUDY, 0, {"name": "none"}, of_data_sets(arrays, slice(0, 2)), STUDY.objective(), 1)
    assert setting.transition is None and not select(rows, "transition_fraction", point="middle")
    assert [row.value for row in select(rows, "straight_score")] == pytest.approx([1])
    assert not select(rows, "transition_variance")


def test_errors_by_hand():
    found = np.array([0.7, 0.8, 0.9])
    rows = list(error_rows(found, {EXACT: found + 0.01, CONSTANT: np.full(3, 0.8)}))
    errors = {row.setting["prediction"]: row.value for row in select(rows, "error_fraction")}
    assert errors == pytest.approx({EXACT: 0.01, CONSTANT: 0.2 / 3})
    squared = {row.setting["prediction"]: row.value for row in select(rows, "squared_error_fraction")}
    assert squared == pytest.approx({EXACT: 1e-4, CONSTANT: 0.02 / 3})
    (better,) = select(rows, "better_fraction")
    assert better.value == pytest.approx(0.01 - 0.2 / 3)


def test_settings_that_differ_and_settings_that_do_not():
    """Variance components by hand: data sets differ by 0.01 either way, settings not at all or by 0.1."""
    same = list(spread_rows([np.array([0.79, 0.8, 0.81])] * 4))
    assert [row.value for row in same] == pytest.approx([0, 0.01, 1])
    apart = list(spread_rows([np.array([0.79, 0.8, 0.81]), np.array([0.89, 0.9, 0.91])]))
    assert [row.value for row in apart[:2]] == pytest.approx([np.sqrt(0.005 - 1e-4 / 3), 0.01])
    assert apart[2].value == pytest.approx(2.6e-4, rel=0.02)  # F = 150 with 1 and 4 degrees of freedom


def test_shifts_are_taken_data_set_by_data_set():
    """Both data sets move by 0.1, so that the shift is sure though they lie far apart."""

    def comparison(value, each):
        return Comparison({"kind": value, "value": value}, Interval(np.mean(each), 0, 1), each, {EXACT: 0.7}, [])

    base, moved = (comparison(value, np.array([0.6, 0.8]) + shift) for value, shift in (("base", 0), ("moved", 0.1)))
    nowhere = Comparison({"kind": "no", "value": "no"}, None, np.array([0.6, np.inf]), {EXACT: 0.7}, [])
    rows = list(shift_rows(base, [moved, nowhere]))
    (found,) = select(rows, "shift_fraction", prediction="found")
    assert found.interval == pytest.approx((0.1, 0.1, 0.1)) and found.setting["kind"] == "moved"


def test_the_round_law_has_the_same_variance():
    law = LowRankMixture(400, 6, 2, rank=2, factor_variance=3.0, variance=0.5)
    dataset = low_rank_mixture(jax.random.key(0), law)
    round_law = rounded(dataset).law
    traces = [np.trace(np.asarray(one @ one.T)) for one in dataset.law.factors]
    assert round_law.factors is None and float(round_law.variance) == pytest.approx(0.5 + np.mean(traces) / 6, rel=1e-5)
    assert np.array_equal(round_law.means, dataset.law.means)


class TestStress:
    def test_weights_on_the_x0_loss(self):
        study = Config().study
        clipped = objective_of(study, Stress("weight", "c", weight="SNR up to 5"))
        snr = (1 - clipped.times**2) / clipped.times**2
        assert clipped.weight == pytest.approx(np.minimum(snr, 5))
        # Flow matching: log-SNR falls by 2 / (t (1 - t)) dt, and the eps loss is SNR times the x0 loss.
        even = objective_of(
            study, Stress("weight", "u", schedule="flow", grid=("uniform", 2000), weight="uniform in log-SNR")
        )
        t, dt = even.times[100:-100], even.times[1] - even.times[0]
        assert even.weight[100:-100] == pytest.approx(((1 - t) / t) ** 2 * 2 / (t * (1 - t)) * dt, rel=1e-3)
        eps = objective_of(study, Stress("weight", "e", weight="eps"))
        assert eps.weight == pytest.approx(snr)

    def test_a_grid_of_equal_steps(self):
        grid = objective_of(Config().study, Stress("grid", "g", grid=("log-SNR", 9)))
        alpha, sigma = (np.asarray(a) for a in SCHEDULES["vp"](grid.times))
        steps = np.diff(2 * np.log(alpha / sigma))
        assert steps == pytest.approx(steps.mean()) and grid.weight == pytest.approx(1)

    def test_families(self):
        assert family(100, 30, 4, GRID[0]) == GaussianMixture(100, 30, 4)
        assert family(100, 30, 4, Stress("priors", "p", (("imbalance", 4.0),))).imbalance == 4
        thick = family(100, 30, 4, Stress("shape", "s", (("rank", 3), ("factor_variance", 2.0))))
        assert thick == LowRankMixture(100, 30, 4, rank=3, factor_variance=2.0)
        # The thick and the thin clusters spread as much as the round ones, in all.
        for stress in GRID:
            if stress.kind == "shape":
                law = family(100, 30, 4, stress)
                assert law.rank * law.factor_variance + 30 * law.variance == pytest.approx(30, rel=0.01)

    def test_a_part_of_the_settings(self):
        assert chosen(()) == list(GRID)
        names = [named(one) for one in chosen(("priors", "weight: eps"))]
        assert names == ["base: base", "priors: 4 to 1", "priors: 16 to 1", "weight: eps"]
        for name in ("weigth", "weight: epsilon", "base"):
            with pytest.raises(InputError, match=f"no '{name}' to vary"):
                Config(only=(name,))


def test_measured_arrays_hold_what_was_asked():
    """The closed forms of a shape of data are those of its own variance, and every data set has exact losses."""
    config = edge_sweep.Config(n=(12,), dim=(4,), components=(2,), variance=0.5, refined=0,
                               study=Study(sizes=(3, 12), seeds=2, samples=20, times=6, replicates=2,
                                           training=edge_sweep.SMOKE.study.training))  # fmt: skip
    with jax.debug_key_reuse(False):
        arrays = copies_of_laws([GaussianMixture(12, 4, 2, 0.5)], config.study, 0, 0)
    expected = [crossover_fraction(0.5, *config.study.objective(), bound) for bound in (1.0, 2.0)]
    assert arrays["closed_forms"] == pytest.approx(np.tile(expected, (2, 1)))
    assert arrays["partly_memorizing"].shape == (2, 2, len(arrays["loss_sizes"]), 6)
    assert arrays["copies"].shape == (2, 2) and arrays["loss_sizes"][-1] == 12
