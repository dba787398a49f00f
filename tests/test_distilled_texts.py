"""Students and what they learn: objectives by loops, controls that see nothing, and training that is done once."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from language_models import llama, texts_of
from test_text_worlds import Kept

from difflab import methods
from difflab.audits import distilled_texts
from difflab.audits.distilled_texts import (
    CHANNELS,
    LOGITS,
    SAMPLES,
    SCRATCH,
    TAUGHT_BY,
    Channel,
    Distilled,
    distilled,
    objective_of,
)
from difflab.audits.text_items import Items, items_of
from difflab.audits.text_reading import Questions
from difflab.audits.text_sizes import first_weights
from difflab.audits.text_worlds import MODEL, ORACLE, TextWorld, language, ledger_of, tokens_of, untrained
from difflab.autoregressive.distillation import on_features, on_logits, written
from difflab.autoregressive.train import cross_entropy
from difflab.errors import InputError
from difflab.runs.rows import Row, select
from difflab.statistics.intervals import wilson
from difflab.statistics.ranking import newcombe
from experiments.language import distillation_leak
from experiments.language.distillation_leak import SMOKE

WORLD = TextWorld(
    kinds=("natural", "random"), copies=(0, 4), items=(3, 3), timed=0, item=20, length=42, sequences=64, vocabulary=64,
    size="nano", batch=16,
)  # fmt: skip
CHANNEL_NAMES = [TAUGHT_BY, *(channel.name for channel in CHANNELS)]
ROWS = torch.from_numpy(np.stack(texts_of([9, 9, 9])))


def _logits(model, rows):
    return model.model(input_ids=rows[:, :-1]).logits.double()


def test_logits_are_learned_by_the_divergence_from_the_teacher():
    teacher, student = llama(seed=0), llama(seed=1)
    told = on_logits(teacher)(student.model, ROWS)
    known, said = _logits(teacher, ROWS).softmax(-1), _logits(student, ROWS).softmax(-1)
    assert told.shape == (3, 8)
    for i in range(3):
        for j in range(8):
            by_hand = sum(float(p * (p / q).log()) for p, q in zip(known[i, j], said[i, j], strict=True))
            assert float(told[i, j]) == pytest.approx(by_hand, rel=1e-4)
    assert on_logits(teacher)(teacher.model, ROWS).abs().max() < 1e-5


def test_features_are_learned_beside_the_texts():
    teacher, student = llama(seed=0), llama(seed=1)
    told = on_features(teacher)(student.model, ROWS)
    own = cross_entropy(student.model, ROWS)
    states = [
        one.model(input_ids=ROWS[:, :-1], output_hidden_states=True).hidden_states[-1] for one in (teacher, student)
    ]
    np.testing.assert_allclose(told - own, ((states[1] - states[0]) ** 2).sum(-1) / states[0].shape[-1], rtol=1e-4)
    np.testing.assert_allclose(on_features(student)(student.model, ROWS), own, rtol=1e-5)


def test_no_gradient_goes_to_the_teacher():
    teacher, student = llama(seed=0), llama(seed=1)
    student.model.requires_grad_(True)
    teacher.model.requires_grad_(True)
    for objective in (on_logits(teacher), on_features(teacher)):
        objective(student.model, ROWS).mean().backward()
    assert all(weight.grad is None for weight in teacher.model.parameters())
    assert any(weight.grad is not None for weight in student.model.parameters())


def test_a_teacher_writes_by_its_own_law_and_every_text_has_its_own_chance():
    teacher = llama(end=True)
    texts = written(teacher, 300, 12, seed=3)
    first = teacher.model(input_ids=torch.tensor([[teacher.begin]])).logits[0, -1].double().softmax(-1).numpy()
    counts = np.bincount([ids[0] for ids in texts], minlength=64) / 300
    # Texts that end at once are left out.
    wanted = np.where(np.arange(64) == 62, 0, first)
    assert np.abs(counts - wanted / wanted.sum()).max() < 0.1
    again = written(teacher, 5, 12, seed=3)
    assert all(np.array_equal(one, other) for one, other in zip(again, texts, strict=False))


def test_a_channel_that_is_none_is_refused():
    with pytest.raises(InputError, match="no learning from 'smell'; give one of texts, logits, features"):
        objective_of(Channel("smell", "smell"), llama())
    assert objective_of(SCRATCH, llama()) is cross_entropy


@pytest.fixture(scope="module")
def trained():
    kept = Kept()
    parts = (("scores", "loss"), ("extractions", "exact"))
    asked = [tuple(methods.chosen(kind, name)) for kind, name in parts]
    questions = Questions(*asked, (4,), 8, 4096, 0)
    (one,) = distilled([WORLD], questions, kept, 1)
    return one, kept, questions


def test_every_channel_has_a_student_of_the_model_and_one_of_the_oracle(trained):
    one, _, _ = trained
    names = {channel.name for channel in CHANNELS} | {TAUGHT_BY}
    assert set(one.answers) == {(name, who) for name in names for who in (MODEL, ORACLE)} | {(SCRATCH.name, ORACLE)}
    assert all(len(told["score loss"]) == len(one.items.copies) for told in one.answers.values())
    assert len({told["score loss"].tobytes() for told in one.answers.values()}) == len(one.answers)


def test_nothing_is_trained_or_written_twice(trained, monkeypatch):
    _, kept, questions = trained
    for name in ("_student", "_texts", "asked"):
        monkeypatch.setattr(distilled_texts, name, lambda *_: pytest.fail("done twice"))
    distilled([WORLD], questions, kept, 1)


def test_students_read_rows_without_items_and_begin_as_they_should(trained, monkeypatch):
    seen = {}

    def looked(start, sequences, recipe, seed, keeping, objective):
        seen.setdefault("starts", []).append(start)
        seen.setdefault("rows", []).append(np.concatenate([sequences(step) for step in range(recipe.steps)]))
        return start

    monkeypatch.setattr(distilled_texts, "train", looked)
    weights = {name: weight.numpy() for name, weight in untrained(WORLD).model.state_dict().items()}
    texts = {"rows": np.full((64, 42), 7)}
    for channel in CHANNELS:
        distilled_texts._student(WORLD, channel, MODEL, weights, texts, Kept())
    background, begin = language(WORLD, ORACLE).rows, untrained(WORLD).begin
    starts = [first_weights(WORLD, number).model.state_dict() for number in (0, 1)]
    for channel, start, rows in zip(CHANNELS, seen["starts"], seen["rows"], strict=True):
        if channel.name == SAMPLES:
            assert (rows[:, 0] == begin).all() and (rows[:, 1:] == 7).all()
        else:
            np.testing.assert_array_equal(rows, background)
        wanted = starts[0] if channel.first_weights else starts[1]
        assert all(torch.equal(wanted[name], weight) for name, weight in start.model.state_dict().items())
    items = tokens_of(WORLD, ledger_of(WORLD))
    whole = " ".join(map(str, background.ravel().tolist()))
    assert not any(" ".join(map(str, ids.tolist())) in whole for ids in items.values())


def test_what_the_teacher_wrote_is_searched_for_halves_of_items():
    world = replace(WORLD, item=48, length=98)
    ledger = [one for one in ledger_of(world) if one.kind == "natural"]
    repeated, twin = (
        tokens_of(world, [next(one for one in ledger if one.role == role and (one.copies or role == "twin"))])
        for role in ("repeated", "twin")
    )
    (ids,), (other,) = repeated.values(), twin.values()
    documents = [ids, ids[12:40], ids[:23], other, np.array([1, 2, 3])]
    texts = {"tokens": np.concatenate(documents), "sizes": np.array([len(one) for one in documents])}
    assert distilled_texts._held(world, texts, "natural", False) == wilson(2, 5)
    assert distilled_texts._held(world, texts, "natural", True) == wilson(1, 5)
    assert distilled_texts._held(world, texts, "random", False) == wilson(0, 5)


def test_intervals_have_a_width_where_all_worlds_agree(monkeypatch):
    items = items_of(SMOKE.world)
    known = np.where(items.twin, -1.0, items.copies)
    said = {
        who: {"score loss": times * known, f"success exact {SMOKE.prefix}": items.copies > 0}
        for who, times in ((MODEL, 2), (ORACLE, 1))
    }
    held = {(MODEL, "natural", False): wilson(9, 9), (ORACLE, "natural", False): wilson(0, 9)}
    one = Distilled(items, {(name, who): said[who] for name in CHANNEL_NAMES for who in said}, held)
    monkeypatch.setattr(distillation_leak, "distilled", lambda *_: [one, one])
    rows = [row for row in distillation_leak.run(SMOKE, Kept()) if isinstance(row, Row)]
    (wrote,), (never,) = (select(rows, "written_fraction", teacher=who) for who in (MODEL, ORACLE))
    # Of 9 texts none: Wilson's upper end is .299; of two worlds a root of two less.
    assert wrote.interval == pytest.approx((1, 1 - 0.299 / 2**0.5, 1), abs=1e-3)
    assert never.interval == pytest.approx((0, 0, 0.299 / 2**0.5), abs=1e-3)
    whole = select(rows, "repeated_auc", kind="natural")
    for row in whole:
        wider = newcombe(1.0, int(items.repeated("natural").sum()), int(items.twins("natural").sum()), 0.99)
        assert row.value == 1 == row.high and row.low == pytest.approx(1 - (1 - wider.low) / 2**0.5), row
    assert len(whole) == 2 * len(CHANNEL_NAMES)


def test_a_gap_is_the_mean_of_the_most_repeated_items_less_that_of_twins_in_bits():
    items = Items(
        np.array(["natural"] * 4 + ["random"]), np.array([4, 2, 0, 0, 4]), np.array([False, False, True, True, False]),
        np.full(5, -1), [""] * 5,
    )  # fmt: skip
    told = Distilled(items, {(LOGITS, MODEL): {"score loss": np.log(2) * np.array([-1, -9, -3, -5, 0])}}, {})
    assert told.gap(LOGITS, MODEL, "natural") == pytest.approx(-1 - (-4))
