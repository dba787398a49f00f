"""The body of the trained experiments: every row is what it says it is, and can be had again."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from difflab.errors import InputError
from difflab.runs.rows import Artefact, Row, check_row, select
from difflab.statistics.intervals import wilson
from synthetic.data.coloured_templates import ColouredTemplates, coloured_templates
from synthetic.data.gaussian_mixture import GaussianMixture, gaussian_mixture
from synthetic.data.low_rank_mixture import LowRankMixture, low_rank_mixture
from synthetic.models import LearnedMixture, LearnedTemplates
from synthetic.predictions import within
from synthetic.study import Study, study
from synthetic.train import Training
from theory.crossover import crossover_fraction
from theory.denoisers import generalizing
from theory.noise import SCHEDULES, training_weight, uniform_times, variance_preserving

N, DIM = 12, 4
SIZES = (3, 7, 12)
SETTINGS = [{"variance": 0.5}, {"variance": 2.0}]
# The learning rate of the only step is 0: the models stay at the points where they start, which is known exactly.
STILL = Study(
    sizes=SIZES, seeds=2, samples=150, loss_draws=3, replicates=3, times=15, training=Training(steps=1, draws=1)
)


def _data():
    return [
        [
            gaussian_mixture(jax.random.key(seed), GaussianMixture(N, DIM, components=2, variance=setting["variance"]))
            for seed in range(2)
        ]
        for setting in SETTINGS
    ]


def _split(items):
    rows, artefacts = [], {}
    for item in items:
        if isinstance(item, Artefact):
            artefacts[item.name] = item.array
        else:
            rows.append(check_row(item))
    return rows, artefacts


@pytest.fixture(scope="module")
def data():
    return _data()


@pytest.fixture(scope="module")
def still(data):
    return _split(study(STILL, 0, SETTINGS, data, LearnedMixture))


def _models():
    for setting in SETTINGS:
        for data_set in range(2):
            for size in SIZES:
                yield {**setting, "data_set": data_set, "size": size, "size_over_n": size / N}


def test_each_model_has_one_memorized_fraction_with_its_wilson_interval(still):
    rows = select(still[0], "memorized_fraction")
    assert [row.setting for row in rows] == list(_models())
    for row in rows:
        assert row.n == 150
        copies = round(row.value * 150)
        assert row.interval == wilson(copies, 150)
        assert row.low <= row.value <= row.high
    # Components at training points with almost no variance copy them.
    assert min(row.value for row in rows) > 0.9


def test_the_rows_of_a_data_set_speak_of_its_own_models(still, data):
    rows = select(still[0], "mean_distance", to="training point")
    assert [{k: v for k, v in row.setting.items() if k != "to"} for row in rows] == list(_models())
    assert max(row.value for row in rows) < 1e-6  # single precision
    np.testing.assert_allclose([row.value for row in select(still[0], "learned_variance")], 1e-6, rtol=1e-5)
    # All points are means of the largest model: their distances to the true means are known.
    for setting, group in zip(SETTINGS, data, strict=True):
        for s, dataset in enumerate(group):
            (row,) = select(still[0], "mean_distance", to="true mean", data_set=s, size=N, **setting)
            truth = np.median(cdist(dataset.points, dataset.law.means).min(1))
            assert row.value == pytest.approx(truth, rel=1e-5)
            assert row.n == N


def test_models_are_matched_by_the_data_sets_given_not_by_the_setting_seeds(data):
    rows, _ = _split(study(replace(STILL, seeds=3), 0, SETTINGS, data, LearnedMixture))
    assert max(row.value for row in select(rows, "mean_distance", to="training point")) < 1e-6


def test_losses_stand_beside_those_of_the_exact_denoisers(still, data):
    rows = select(still[0], "denoising_loss")
    t = uniform_times(15)[5]
    assert {row.setting["t"] for row in rows} == {round(float(t), 5)}  # 0.357, the nearest to 0.36
    for on in ("train", "fresh"):
        for setting in SETTINGS:
            for data_set in range(2):
                here = {"on": on, "data_set": data_set, **setting}
                trained, partly = (
                    select(rows, "denoising_loss", denoiser=name, **here) for name in ("trained", "partly memorizing")
                )
                assert (
                    [row.setting["size"] for row in trained] == [row.setting["size"] for row in partly] == list(SIZES)
                )
                (memory,) = select(rows, "denoising_loss", denoiser="memorizing", **here)
                (truth,) = select(rows, "denoising_loss", denoiser="generalizing", **here)
                # The largest model is the memorizing denoiser, up to its variance of 1e-6, and meets the same noise.
                assert trained[-1].value == pytest.approx(memory.value, rel=1e-3, abs=1e-4)
                assert partly[-1].value == pytest.approx(memory.value, rel=1e-9)
                assert (truth.value < memory.value) == (on == "fresh")
                assert "size" not in memory.setting
                for row in (*trained, *partly, memory, truth):
                    assert row.n == 3
                    assert row.low < row.value < row.high
                # On its own points the exact law leaves about d s sigma^2 / (alpha^2 s + sigma^2).
                s = setting["variance"]
                expected = DIM * s * t**2 / ((1 - t**2) * s + t**2)
                assert truth.value == pytest.approx(expected, rel=0.6)
    for name in ("trained", "partly_memorizing", "memorizing", "generalizing"):
        found = still[1][f"losses_train_{name}_1"]
        (first, *_) = select(
            rows, "denoising_loss", denoiser=name.replace("_", " "), on="train", data_set=0, **SETTINGS[1]
        )
        assert found.shape[1] == 15
        assert found[0, 5] == first.value


def test_predictions_are_there_for_each_setting(still, data):
    times = uniform_times(15)
    weight = training_weight("x0", variance_preserving, times)
    for setting in SETTINGS:
        rows = {row.setting["prediction"]: row for row in select(still[0], "crossover_fraction", **setting)}
        assert set(rows) == {"constant 0.8", "closed form, C = 1", "closed form, C = 2", "exact losses"}
        assert rows["constant 0.8"].value == 0.8
        for bound in (1, 2):
            expected = 1 - np.mean(times**2 / (times**2 + (1 - times**2) * setting["variance"])) / bound
            assert rows[f"closed form, C = {bound}"].value == pytest.approx(expected, rel=1e-10)
            given = crossover_fraction(setting["variance"], variance_preserving, times, weight, float(bound))
            assert rows[f"closed form, C = {bound}"].value == pytest.approx(given, rel=1e-10)
        exact = rows["exact losses"]
        assert 1 / N <= exact.low <= exact.value <= exact.high <= 1
    low, high = (select(still[0], "crossover_fraction", prediction="exact losses", **s)[0] for s in SETTINGS)
    assert low.value < high.value


def test_a_transition_is_reported_only_where_it_is(still):
    # Everything is memorized from the first size on.
    for setting in SETTINGS:
        rows = select(still[0], "transition_fraction", **setting)
        assert [row.setting["point"] for row in rows] == ["start", "middle", "end"]
        assert {(row.value, row.n) for row in rows} == {(SIZES[0] / N, 2)}


def test_chance_is_that_of_points_of_the_law(still, data):
    rows = select(still[0], "chance_fraction")
    assert [(row.setting["variance"], row.setting["data_set"]) for row in rows] == [(0.5, 0), (0.5, 1), (2, 0), (2, 1)]
    for row, dataset in zip(rows, [d for group in data for d in group], strict=True):
        assert row.n == 150
        # Counted again on many points of our own.
        rng = np.random.default_rng(0)
        means = np.asarray(dataset.law.means)[rng.integers(2, size=20000)]
        others = means + np.sqrt(float(dataset.law.variance)) * rng.normal(size=means.shape)
        nearest = np.partition(cdist(others, dataset.points), 1, axis=1)[:, :2]
        truth = np.mean(nearest[:, 0] < nearest[:, 1] / 3)
        assert abs(row.value - truth) < 5 * np.sqrt(truth * (1 - truth) / 150) + 0.01


def test_artefacts_are_kept_for_the_first_data_set_of_each_setting(still, data):
    for g in range(2):
        np.testing.assert_array_equal(still[1][f"points_{g}"], np.asarray(data[g][0].points, np.float32))
        generated = still[1][f"generated_{g}"]
        assert generated.shape == (3, 8, DIM)
        # Copies, but not all of one point.
        distance = np.linalg.norm(generated[:, :, None] - still[1][f"points_{g}"], axis=-1)
        assert np.median(distance.min(-1)) < 0.02
        assert len(set(distance[2].argmin(-1))) > 1


def test_a_seed_gives_the_same_rows_and_another_one_others(still, data):
    again, artefacts = _split(study(STILL, 0, SETTINGS, data, LearnedMixture))
    assert again == still[0]
    for name, array in artefacts.items():
        np.testing.assert_array_equal(array, still[1][name])
    other, other_artefacts = _split(study(STILL, 1, SETTINGS, data, LearnedMixture))
    assert [(row.metric, row.setting) for row in other] == [(row.metric, row.setting) for row in again]
    for metric, here in (
        ("denoising_loss", {"denoiser": "trained"}),
        ("denoising_loss", {"denoiser": "generalizing"}),
        ("chance_fraction", {}),
        ("crossover_fraction", {"prediction": "exact losses"}),
    ):
        one, two = ([row.value for row in select(rows, metric, **here)] for rows in (again, other))
        assert one != two, metric
    assert not np.any(other_artefacts["generated_0"] == still[1]["generated_0"])


def test_no_key_of_training_is_one_of_the_data(data, monkeypatch):
    """Data sets come from fold_in(key(seed), s), of which a split of key(seed) is another name."""

    class Enough(Exception):
        pass

    def look(config, keys, *rest):
        found.extend(jax.random.key_data(key).tolist() for key in keys)
        raise Enough

    found = []
    monkeypatch.setattr("synthetic.study.trained", look)
    with pytest.raises(Enough):
        list(study(STILL, 3, SETTINGS, data, LearnedMixture))
    of_data = [jax.random.key_data(jax.random.fold_in(jax.random.key(3), s)).tolist() for s in range(8)]
    assert len(found) == 2 and not any(key in of_data for key in found)


def test_training_goes_into_the_rows(data):
    training = Training(steps=150, draws=4, learning_rate=0.05, chunk=150)
    config = replace(STILL, seeds=1, training=training)
    rows, _ = _split(study(config, 0, SETTINGS[:1], [data[0][:1]], LearnedMixture))
    few, _, everything = select(rows, "memorized_fraction")
    assert few.value < 0.3
    assert everything.value > 0.7
    start, middle, end = (select(rows, "transition_fraction", point=p) for p in ("start", "middle", "end"))
    assert SIZES[0] / N < middle[0].value < 1
    assert start[0].value <= middle[0].value
    assert all(row.value >= middle[0].value for row in end)
    few, _, everything = select(rows, "learned_variance")
    assert few.value > 10 * everything.value


# Coloured templates and real data


@pytest.fixture(scope="module")
def coloured():
    return coloured_templates(
        jax.random.key(2), ColouredTemplates(n=8, templates=3, source="digits", side=0, channels=2, colour_variance=0.7)
    )


def _dense_eigenvalues(law):
    """Eigenvalues of the dense covariance of every component over all channels."""
    channels = law.means[0].size // law.means.shape[-1]
    values = []
    for factors in np.asarray(law.factors):
        one = float(law.variance) * np.eye(len(factors)) + factors @ factors.T
        values.append(np.linalg.eigvalsh(np.kron(np.eye(channels), one)))
    return np.sort(np.concatenate(values)), channels


def test_within_is_the_eigenvalues_of_the_dense_covariances(coloured):
    low_rank = low_rank_mixture(jax.random.key(0), LowRankMixture(n=2, dim=6, components=3, rank=2, variance=0.1))
    full = low_rank_mixture(jax.random.key(0), LowRankMixture(n=2, dim=3, components=2, rank=3, variance=0.0))
    for law in (coloured.law, low_rank.law, full.law):
        dense, channels = _dense_eigenvalues(law)
        np.testing.assert_allclose(np.repeat(np.sort(within(law)), channels), dense, rtol=1e-8, atol=1e-10)
    np.testing.assert_array_equal(within(generalizing(jnp.zeros((3, 5)), 0.3)), [0.3])


def test_a_study_of_coloured_templates(coloured):
    config = Study(
        sizes=(3, 8), seeds=1, samples=60, loss_draws=2, replicates=2, times=9, schedule="flow", t_max=0.99,
        training=Training(parameterization="v", steps=1, draws=1),
    )  # fmt: skip
    rows, artefacts = _split(study(config, 0, [{}], [[coloured]], LearnedTemplates))
    noise, times = SCHEDULES["flow"], uniform_times(9, 0.001, 0.99)
    weight = training_weight("v", noise, times)
    dense, _ = _dense_eigenvalues(coloured.law)
    for bound in (1, 2):
        (row,) = select(rows, "crossover_fraction", prediction=f"closed form, C = {bound}")
        expected = crossover_fraction(np.clip(dense, 0, None), noise, times, weight, float(bound))
        assert row.value == pytest.approx(expected, rel=1e-9)
    assert [row.value > 0.9 for row in select(rows, "memorized_fraction")] == [True, True]
    assert artefacts["generated_0"].shape == (2, 8, 2, 64)
    # Variance summed over the pixels, for one channel: the colour variance of 1e-6 times the squared templates.
    peaks = np.asarray(coloured.points) / np.abs(coloured.points).max((1, 2), keepdims=True)
    squared = np.sum((peaks / np.abs(peaks).max(2, keepdims=True)) ** 2, axis=2)[:, 0]
    learned = select(rows, "learned_variance", size=8)[0].value
    assert learned == pytest.approx(1e-6 * squared.mean(), rel=1e-4)


def test_real_data_have_no_law_and_only_the_constant_prediction(data):
    dataset = data[0][0]._replace(law=None)
    config = replace(STILL, seeds=1, sizes=(N,))
    rows, _ = _split(study(config, 0, [{"kind": "real"}], [[dataset]], LearnedMixture))
    assert [row.setting["prediction"] for row in select(rows, "crossover_fraction")] == ["constant 0.8"]
    assert select(rows, "mean_distance") == []
    assert {row.setting["denoiser"] for row in select(rows, "denoising_loss")} == {
        "trained",
        "partly memorizing",
        "memorizing",
    }
    # One size is still a size.
    assert [row.setting["size"] for row in select(rows, "denoising_loss", denoiser="trained")] == [N, N]
    (chance,) = select(rows, "chance_fraction")
    distances = np.partition(cdist(dataset.fresh, dataset.points), 1, axis=1)[:, :2]
    expected = wilson(int((distances[:, 0] < distances[:, 1] / 3).sum()), N)
    assert chance == Row("chance_fraction", *expected, N, {"kind": "real", "data_set": 0})


# Settings


def test_default_sizes_are_ten_up_to_all_points():
    assert Study().sizes_for(100) == tuple(range(10, 101, 10))
    assert Study().sizes_for(12)[-1] == 12
    assert Study(sizes=(2, 5)).sizes_for(5) == (2, 5)
    for n in range(2, 40):
        sizes = Study().sizes_for(n)
        assert sizes[0] >= 1
        assert sizes == tuple(sorted(set(sizes)))


def test_sizes_beyond_the_points_are_refused():
    with pytest.raises(InputError, match=r"size 9 .* 8 training points"):
        Study(sizes=(2, 9)).sizes_for(8)
    with pytest.raises(InputError, match="size 0"):
        Study(sizes=(0, 2)).sizes_for(8)


@pytest.mark.parametrize(
    "mistake",
    [
        {"schedule": "cosine"},
        {"seeds": 0},
        {"samples": 0},
        {"loss_draws": 1},
        {"times": 1},
        {"replicates": 1},
        {"t_min": 0.0},
        {"t_min": float("nan")},
        {"t_max": 1.0},
        {"t_min": 0.5, "t_max": 0.5},
        {"factor": 0.0},
        {"factor": 1.1},
        {"factor": float("nan")},
        {"sizes": (3, 2)},
        {"sizes": (2, 2)},
    ],
)
def test_impossible_settings_are_refused(mistake):
    name = list(mistake)[-1]
    with pytest.raises(InputError, match=name) as error:
        Study(**mistake)
    assert "\n" not in str(error.value)


def test_exploding_noise_may_run_past_one():
    assert Study(schedule="ve", t_max=20.0).t_max == 20
