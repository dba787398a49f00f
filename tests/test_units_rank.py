"""Stacked perceptrons against one trained alone; families of digits; readings that rank models, against loops."""

import numpy as np
import pytest
import torch
from conformance import says_one_sentence
from scipy.stats import kendalltau

from difflab.audits import digit_models, unit_families
from difflab.audits.digit_models import Denoisers, Lessons, Perceptrons, copied, digits_of, drawn_by
from difflab.audits.unit_families import BY_PICTURES, BY_STEPS, NOISE, SHORTCUT, TRAINED, Families
from difflab.audits.unit_rank_rows import level_rows, rank_rows
from difflab.randomness import stream
from difflab.runs.resuming import InMemory
from difflab.runs.rows import select
from difflab.statistics.readings import Asked, layer_readings, unit_readings
from difflab.training.loop import NOWHERE, Keeping
from difflab.training.stacked import Stacked, train_stacked


def generators(n):
    return [stream(0, "weights", i).torch() for i in range(n)]


def test_a_stacked_perceptron_is_trained_as_if_it_were_alone():
    x, y = torch.randn((2, 3, 20, 4), generator=torch.Generator().manual_seed(0))
    y = y[..., :2]
    network = Stacked((4, 5, 6, 2), generators(3))
    first = [parameter.detach().clone() for parameter in network.parameters()]
    train_stacked(network, lambda step: (network(x)[-1] - y).square().mean((1, 2)), 30, 0.01)
    for i in range(3):
        layers = [torch.nn.Linear(*pair) for pair in ((4, 5), (5, 6), (6, 2))]
        for k, layer in enumerate(layers):
            layer.weight.data, layer.bias.data = first[k][i].T.clone(), first[3 + k][i, 0].clone()
        alone = torch.nn.Sequential(layers[0], torch.nn.SiLU(), layers[1], torch.nn.SiLU(), layers[2])
        optimizer = torch.optim.Adam(alone.parameters(), 0.01)
        for step in range(30):
            optimizer.param_groups[0]["lr"] = 0.01 * 0.5 * (1 + np.cos(np.pi * step / 30))
            optimizer.zero_grad()
            (alone(x[i]) - y[i]).square().mean().backward()
            optimizer.step()
        assert network(x)[-1][i].detach() == pytest.approx(alone(x[i]).detach(), abs=1e-4)
        length = sum(float(parameter.detach().square().sum()) for parameter in alone.parameters()) ** 0.5
        assert float(network.norms()[i]) == pytest.approx(length, rel=1e-4)
        assert network(x)[1][i].detach() == pytest.approx(alone[:4](x[i]).detach(), abs=1e-4)


def test_first_weights_have_the_variance_of_inputs_and_belong_to_one_generator():
    network = Stacked((400, 100, 2), generators(2))
    assert float(network.weights[0].detach().std()) == pytest.approx(400**-0.5, rel=0.02)
    again = Stacked((400, 100, 2), generators(2)[1:])
    assert torch.equal(network.weights[1][1], again.weights[1][0])
    says_one_sentence(lambda: Stacked((4,), generators(1)))


def test_classifiers_learn_their_own_rows_and_go_on_where_they_were_killed():
    config, digits = Perceptrons(width=24, steps=120, batch=20), digits_of(1000)
    inputs = np.repeat(digits.pixels[None, :60], 2, axis=0)
    labels = np.stack([digits.labels[:60], (digits.labels[:60] + 1) % 10])
    rows = np.stack([np.arange(30), np.arange(30, 60)])
    lessons = Lessons(inputs, labels, rows)
    network = digit_models.trained_classifiers(config, lessons, 0, NOWHERE)
    given = digit_models.outputs_at(network, inputs)[-1].numpy().argmax(2) == labels
    for i in range(2):
        assert given[i, rows[i]].all() and given[i, rows[1 - i]].mean() < 0.95
    kept = InMemory()
    digit_models.trained_classifiers(config, lessons, 0, Keeping(kept, "training", 50), until=70)
    resumed = digit_models.trained_classifiers(config, lessons, 0, Keeping(kept, "training", 50))
    assert all(map(torch.equal, network.parameters(), resumed.parameters()))


def test_a_denoiser_of_two_pictures_draws_them_and_one_never_trained_draws_none():
    digits, config = digits_of(1000), Denoisers(width=64, steps=300, drawn=30, sampler_steps=15)
    pictures = [digits.pixels[:2], digits.pixels[:40]]
    ((_, network),) = digit_models.trained_denoisers(config, pictures, 0, [300], InMemory())
    few, many = copied(drawn_by(network, config, 0), pictures)
    assert few > 25 and many < few
    first = digit_models.untrained_denoisers(config, 2, 0)
    assert copied(drawn_by(first, config, 0), pictures).tolist() == [0, 0]


def test_noise_and_levels_are_those_of_the_schedule():
    clean, times = torch.ones(3, 4), torch.tensor([0.1, 0.5, 0.9])
    noise = torch.full((3, 4), 2.0)
    found = digit_models.noised(clean, times, noise).numpy()
    for row, t in zip(found, (0.1, 0.5, 0.9), strict=True):
        assert row == pytest.approx([np.cos(np.pi * t / 2) + 2 * np.sin(np.pi * t / 2)] * 4, rel=1e-5)
    given = digit_models.with_level(clean, times)
    assert given.shape == (3, 4 + 2 * digit_models.FREQUENCIES)
    assert float((given[:, 4:12] ** 2 + given[:, 12:] ** 2 - 1).abs().max()) < 1e-5


def test_readings_without_a_jackknife_are_those_with_one():
    states = np.random.default_rng(0).normal(size=(60, 5)) @ np.random.default_rng(1).normal(size=(5, 5))
    asked = Asked(units=5, pairs=10, neighbours=4)
    alone = unit_readings([states], asked, np.random.default_rng(2))
    beside = layer_readings(states, asked, np.random.default_rng(2))
    for name, value in alone.items():
        assert value == pytest.approx(beside[name].value)
    both = unit_readings([states, 2 * states + 1], asked, np.random.default_rng(2))
    assert both["unit_entropy"] == pytest.approx(alone["unit_entropy"])
    assert set(unit_readings([states, states[:, :1]], asked, np.random.default_rng(2))) == {"unit_entropy"}


SMALL = Families(
    levels=(0.0, 0.2, 0.5, 1.0), perceptrons=Perceptrons(pictures=200, width=4, steps=2, batch=5),
    pictures=(16, 8, 4, 2), longer=4, looks=(0.2, 0.5, 0.7, 1.0),
    denoisers=Denoisers(width=4, steps=10, batch=4, drawn=4, sampler_steps=2), unseen=16, units=3, pairs=2,
)  # fmt: skip


def test_labels_and_cues_are_right_in_the_shares_that_were_asked_for():
    digits = digits_of(7)
    lessons = unit_families._lessons(SMALL, digits, 7)
    truth = digits.labels[:200]
    anew = [(one != truth).mean() for one in lessons.labels[:4]]
    assert anew[0] == 0 and anew == pytest.approx([0.0, 0.18, 0.45, 0.9], abs=0.07)
    assert not lessons.inputs[:4, :, 64:].any() and (lessons.labels[4:] == truth).all()
    told = [(one[:, 64:].argmax(1) == truth).mean() for one in lessons.inputs[4:]]
    assert told == pytest.approx([0.1, 0.28, 0.55, 1.0], abs=0.07)
    apart = unit_families._unseen(SMALL, digits, 7, False)
    assert np.array_equal(apart[4], apart[7]) and not np.array_equal(lessons.inputs[4], lessons.inputs[7])


def test_families_tell_one_number_a_level_of_every_reading():
    found = unit_families.classified(SMALL, 0, InMemory()) | unit_families.denoised(SMALL, 0, InMemory())
    assert all(np.isfinite(values).all() and len(values) == 4 for values in found.values())
    assert np.array_equal(found[f"{NOISE}|level"], SMALL.levels) and np.array_equal(
        found[f"{BY_STEPS}|{TRAINED}|unit_entropy"][-1:], found[f"{BY_PICTURES}|{TRAINED}|unit_entropy"][2:3]
    )
    families = (NOISE, SHORTCUT, BY_PICTURES, BY_STEPS)
    rows = [*rank_rows([found, found]), *level_rows(
        [found, found], dict.fromkeys(families, SMALL.levels), dict.fromkeys(families, 60))]  # fmt: skip
    for family in (NOISE, SHORTCUT):
        for row in select(rows, "rank_correlation", family=family):
            name = f"{family}|{row.setting['of']}|{row.setting['reading']}"
            assert row.value == pytest.approx(kendalltau(found[name], SMALL.levels).statistic) and row.n == 8
    assert not select(rows, "copied_fraction", family=NOISE) and len(select(rows, "copied_fraction")) == 8
    assert len(select(rows, "fitted_fraction", family=SHORTCUT)) == 4
    # Where both seeds copy nothing 60 pictures still leave it open.
    none = {f"{BY_PICTURES}|level": np.zeros(4)}
    (first, *_) = level_rows([none, none], {BY_PICTURES: SMALL.pictures}, {BY_PICTURES: 60})
    assert first.metric == "copied_fraction" and first.interval.low == 0 < first.interval.high < 0.06


@pytest.mark.parametrize(
    "wrong",
    [
        {"levels": (0.0, 0.5, 1.0)}, {"levels": (0.0, 0.5, 0.4, 1.0)}, {"levels": (0.0, 0.5, 0.7, 1.1)},
        {"looks": (0.0, 0.2, 0.5, 1.0)}, {"looks": (0.1, 0.2, 0.5, 0.9)}, {"pictures": (2, 4, 8, 16)},
        {"longer": 5}, {"time": 0.0}, {"unseen": 1700}, {"units": 1}, {"pairs": 0},
    ],
)  # fmt: skip
def test_families_that_cannot_be_trained_are_refused(wrong):
    says_one_sentence(lambda: Families(**wrong))
