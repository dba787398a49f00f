"""The loop against one written out by hand; interrupted anywhere; and its schedules against numbers."""

import math

import numpy as np
import pytest
import torch
from conformance import random, says_one_sentence

from difflab.errors import InputError
from difflab.runs.results import open_run
from difflab.training.loop import Keeping, Plan, optimize
from difflab.training.schedules import cosine, linear_one_cycle, one_cycle, warmed_cosine, warmup_cosine

STEPS = 12
GOAL = torch.tensor([[3.0, -1.0, 0.5], [2.0, 2.0, -2.0]])
KINDS = {
    "adamw": lambda groups: torch.optim.AdamW(groups, 0.1),
    "fused": lambda groups: torch.optim.AdamW(groups, 0.1, fused=True),
    "momentum": lambda groups: torch.optim.SGD(groups, 0.1, momentum=0.9),
    "plain": lambda groups: torch.optim.SGD(groups, 0.1),
}


def _rate(step):
    return 0.1 / (1 + step)


class Kept(dict):
    """Checkpoints in memory that stop the training after one of them."""

    def __init__(self, last=None):
        self.last, self.saved = last, []

    def load(self, name):
        return self.get(name)

    def save(self, name, arrays):
        self[name] = {key: np.array(value) for key, value in arrays.items()}
        self.saved.append(int(arrays["step"]))
        if self.saved[-1] == self.last:
            raise KeyboardInterrupt


def _parameters():
    return [torch.nn.Parameter(torch.zeros(2, 3)), torch.nn.Parameter(torch.ones(()))]


def _groups(parameters):
    return [{"params": parameters[:1], "weight_decay": 0.1}, {"params": parameters[1:], "weight_decay": 0.0}]


def _loss_of(parameters, generator):
    def loss(step):
        noise = torch.randn((2, 3), generator=generator)
        return ((parameters[0] * parameters[1] - GOAL - 0.1 * noise) ** 2).sum() * (1e-3 if step == 4 else 1.0)

    return loss


def _run(plan=None, kind="adamw", keeping=None, until=None, shown=None):
    """Weights and losses after a training, and its generator."""
    parameters, generator = _parameters(), random(7)
    found = optimize(
        _loss_of(parameters, generator),
        KINDS[kind](_groups(parameters)),
        plan or Plan(STEPS, _rate, 1.0, 0.8),
        keeping or Keeping(),
        until,
        generator,
        *([shown] if shown else []),
    )
    assert all(p.grad is None for p in parameters)
    return [p.detach() for p in parameters], found, generator


def _same(one, other):
    weights = all(map(torch.equal, one[0], other[0]))
    return weights and np.array_equal(one[1], other[1]) and torch.equal(one[2].get_state(), other[2].get_state())


# What a step is ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clip", [None, 1.0, 0.01])
@pytest.mark.parametrize("average", [0.0, 0.3, 0.95])
def test_the_loop_is_what_it_says(clip, average):
    """Gradient descent written out in numpy, in double precision."""
    found, losses, _ = _run(Plan(STEPS, _rate, clip, average), "plain")
    w, v, generator, means, lengths = np.zeros((2, 3)), 1.0, random(7), None, []
    for step in range(STEPS):
        noise = torch.randn((2, 3), generator=generator).double().numpy()
        scale = 1e-3 if step == 4 else 1.0
        error = w * v - GOAL.double().numpy() - 0.1 * noise
        assert losses[step] == pytest.approx(scale * (error**2).sum(), rel=1e-4)
        gradients = 2 * scale * error * v, 2 * scale * (error * w).sum()
        lengths.append(math.sqrt((gradients[0] ** 2).sum() + gradients[1] ** 2))
        factor = 1.0 if clip is None else min(1.0, clip / (lengths[-1] + 1e-6))
        w = w - _rate(step) * (factor * gradients[0] + 0.1 * w)
        v = v - _rate(step) * factor * gradients[1]
        # The first step is taken over whole, then the decay rises to its limit.
        decay = min(average, (1 + step) / (10 + step)) if step else 0.0
        means = (w, v) if means is None else (decay * means[0] + (1 - decay) * w, decay * means[1] + (1 - decay) * v)
    assert min(lengths) < 1.0 < max(lengths)
    for value, expected in zip(found, means if average else (w, v), strict=True):
        np.testing.assert_allclose(value.numpy(), expected, rtol=1e-4, atol=1e-6)


def test_the_loop_asks_for_gradients_itself_and_leaves_none():
    with torch.no_grad():
        found = _run()
        assert not torch.is_grad_enabled()
    assert _same(found, _run())


def test_gradients_that_were_there_before_do_not_count():
    parameters = _parameters()
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 100.0)
    optimize(_loss_of(parameters, random(7)), KINDS["plain"](_groups(parameters)), Plan(STEPS, _rate, None))
    assert all(map(torch.equal, parameters, _run(Plan(STEPS, _rate, None), "plain")[0]))


# Interrupted ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("average", [0.0, 0.8])
@pytest.mark.parametrize("last", [3, 9])
def test_a_killed_training_equals_the_whole(kind, average, last):
    plan, kept = Plan(STEPS, _rate, 1.0, average), Kept(last)
    with pytest.raises(KeyboardInterrupt):
        _run(plan, kind, Keeping(kept, "a", 3))
    assert list(kept) == ["a"] and kept.saved == list(range(3, last + 1, 3))
    kept.last, before = None, {key: value.copy() for key, value in kept["a"].items()}
    handed = kept["a"]
    assert _same(_run(plan, kind, Keeping(kept, "a", 3)), _run(plan, kind))
    assert kept.saved == [3, 6, 9]
    # A checkpoint that lives in memory is not trained on.
    assert all(np.array_equal(handed[key], before[key]) for key in before)


@pytest.mark.parametrize(
    ("stops", "saved"), [([1], [1]), ([0, 5, 5, 11], [5, 11]), ([7, 4], [7]), ([12], []), ([3, 12], [3])]
)
def test_pieces_equal_the_whole(stops, saved):
    whole, kept = _run(), Kept()
    for i, stop in enumerate(stops):
        _, losses, _ = _run(keeping=Keeping(kept, every=100), until=stop)
        done = max(stops[: i + 1])
        np.testing.assert_array_equal(losses[:done], whole[1][:done])
        assert len(losses) == STEPS and not losses[done:].any()
    assert _same(_run(keeping=Keeping(kept, every=100)), whole)
    # Stops are kept, the end is not.
    assert kept.saved == saved


def test_a_stop_is_the_mean_of_a_shorter_training():
    assert all(map(torch.equal, _run(until=5)[0], _run(Plan(5, _rate, 1.0, 0.8))[0]))
    assert all(map(torch.equal, _run(until=0)[0], _parameters()))
    assert _same(_run(until=STEPS + 5), _run())


def test_a_training_of_no_steps_changes_nothing():
    found, losses, _ = _run(Plan(0, _rate, 1.0, 0.8))
    assert all(map(torch.equal, found, _parameters())) and losses.shape == (0,)


def test_a_run_keeps_it_and_a_damaged_checkpoint_is_done_again(tmp_path, capsys):
    run = open_run(tmp_path, "loop", {})
    _run(keeping=Keeping(run, "a", 5), until=6)
    assert _same(_run(keeping=Keeping(run, "a", 5)), _run())
    (path,) = run.folder.rglob("a.safetensors")
    path.write_bytes(path.read_bytes()[:200])
    assert _same(_run(keeping=Keeping(run, "a", 5)), _run())
    assert "damaged" in capsys.readouterr().err


def test_a_checkpoint_of_other_weights_is_one_sentence():
    kept = Kept()
    _run(keeping=Keeping(kept, every=3), until=3)
    expected = "the checkpoint belongs to a model of another size; give another --out."
    plan = Plan(STEPS, _rate, 1.0, 0.8)
    for shapes in ([(2, 4), ()], [(2, 3)], [(2, 3), (), (1,)], [(), (2, 3)]):
        optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(shape)) for shape in shapes])
        said = says_one_sentence(lambda optimizer=optimizer: optimize(pytest.fail, optimizer, plan, Keeping(kept)))
        assert said == expected
    assert says_one_sentence(lambda: _run(Plan(STEPS, _rate), keeping=Keeping(kept))) == expected


# Stopped, and watched ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("when", [0, 4])
def test_a_loss_that_is_not_finite_stops_and_is_not_kept(bad, when):
    parameters, kept = _parameters(), Kept()
    loss = lambda step: (parameters[0] - 1).square().sum() * (bad if step == when else 1.0)  # noqa: E731
    with pytest.raises(InputError) as error:
        optimize(loss, torch.optim.AdamW(parameters), Plan(STEPS, _rate), Keeping(kept, every=1))
    assert str(error.value) == f"the loss is {bad} at step {when}; lower the learning rate."
    assert kept.saved == list(range(1, when + 1))


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_may_say_itself_when_it_ends(kind):
    asked = []

    def until(step):
        asked.append(step)
        return step == 7

    ended = _run(kind=kind, until=until)
    assert asked == list(range(8)) and not ended[1][7:].any()
    assert all(map(torch.equal, ended[0], _run(kind=kind, until=7)[0]))
    assert all(map(torch.equal, _run(kind=kind, until=lambda step: True)[0], _parameters()))
    # Resumed behind a checkpoint, it ends at the same step.
    kept = Kept(last=4)
    with pytest.raises(KeyboardInterrupt):
        _run(kind=kind, keeping=Keeping(kept, every=4), until=until)
    kept.last, before = None, len(asked)
    again = _run(kind=kind, keeping=Keeping(kept, every=4), until=until)
    assert asked[before:] == [4, 5, 6, 7] and all(map(torch.equal, again[0], ended[0]))


def test_progress_counts_what_was_done_before():
    shown, kept = [], Kept()
    _run(keeping=Keeping(kept, every=4), until=5)
    _, losses, _ = _run(keeping=Keeping(kept, every=4), shown=lambda n=1, note="": shown.append((n, note)))
    assert [n for n, _ in shown] == [5] + [1] * (STEPS - 5)
    assert shown[-1][1] == f"loss {losses.mean():.4f}"


# Schedules -----------------------------------------------------------------------------------------------------------


def test_schedules_are_these_numbers():
    half = math.sqrt(0.5)
    cases = {
        cosine: ((8, 2.0), {0: 2.0, 2: 1 + half, 4: 1.0, 6: 1 - half, 8: 0.0}),
        warmup_cosine: ((12, 2.0, 4), {0: 0.5, 1: 1.0, 3: 2.0, 4: 2.0, 6: 1 + half, 8: 1.0, 12: 0.0}),
        warmed_cosine: ((8, 2.0, 4), {0: 0.5, 2: 0.75 * (1 + half), 4: 1.0, 6: 1 - half, 8: 0.0}),
        one_cycle: ((20, 2.0), {0: 0.08, 1: 1.04, 2: 2.0, 11: 1.0, 20: 0.0}),
        linear_one_cycle: ((20, 2.0), {0: 1.0, 1: 2.0, 2: 2.0, 11: 1.0, 19: 1 / 9, 20: 0.0}),
    }
    for schedule, (rest, expected) in cases.items():
        for step, rate in expected.items():
            assert schedule(step, *rest) == pytest.approx(rate, abs=1e-12), (schedule.__name__, step)


def test_short_schedules_have_a_rate():
    assert one_cycle(0, 1, 1.0) == pytest.approx(0.04) and cosine(0, 1, 1.0) == 1.0
    assert linear_one_cycle(0, 1, 1.0) == 1.0 and warmup_cosine(0, 1, 1.0, 0) == 1.0
    assert warmup_cosine(0, 1, 1.0, 5) == pytest.approx(0.2)
