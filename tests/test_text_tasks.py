"""Tasks on the same inputs: answers by loops, attention by hand, levels by search, and what rows make of looks."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from language_models import gpt2, llama, texts_of
from scipy.stats import entropy
from test_text_worlds import Kept

from difflab.audits import text_tasks
from difflab.audits.task_comparisons import (
    BEFORE,
    LAST,
    LEVEL,
    SPREAD,
    STEPS,
    TOLD,
    USED,
    difference_rows,
    rank_rows,
    taken,
    task_rows,
)
from difflab.audits.text_tasks import equally, of_tasks
from difflab.autoregressive.attention import attention_entropy
from difflab.autoregressive.train import cross_entropy
from difflab.errors import InputError
from difflab.runs.rows import Note, select
from difflab.statistics.levels import at_level, common_level
from experiments.language.text_by_task import SMOKE, Config
from synthetic.data.text_tasks import TASKS, meanings, posed, tokens

WORLD = replace(SMOKE.world, steps=4, every=2)


def _answered(task, words, known):
    """One answer, by the sentence that describes the task."""
    v = len(known.positive)
    positive = [bool(known.positive[word]) for word in words]
    return {
        "nothing": [],
        "topic": [v + 1 + positive[0]],
        "sentiment": [v + 1 + (positive.count(True) >= positive.count(False))],
        "headline": [word for i, word in enumerate(words) if i % 4 == 0],
        "summary": [word for i, word in enumerate(words) if i % 2 == 0],
        "translation": [int(known.translation[word]) for word in words],
        "reversal": list(reversed(words)),
        "copy": list(words),
    }[task]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("length", [1, 6, 9])
def test_answers_are_what_the_task_says(task, length):
    known, inputs = meanings(3, 10), np.random.default_rng(0).integers(0, 10, (40, length))
    rows = posed(task, inputs, known)
    for row, words in zip(rows.tolist(), inputs.tolist(), strict=True):
        assert row == [13, *words, 10, *_answered(task, words, known), 13]
    assert rows.max() < tokens(10)


@pytest.mark.parametrize("task", TASKS)
def test_an_answer_depends_on_as_many_words_as_are_used_and_tells_those_that_are_told(task):
    """Each word of the input is changed in turn, in many inputs."""
    known, generator = meanings(0, 8), np.random.default_rng(1)
    inputs = generator.integers(0, 8, (300, 7))
    answers, depends = posed(task, inputs, known)[:, 9:], 0
    for place in range(7):
        others = inputs.copy()
        others[:, place] = generator.integers(0, 8, 300)
        depends += bool((posed(task, others, known)[:, 9:] != answers).any())
    assert depends == TASKS[task].used(7)
    assert TASKS[task].told(7) == (0 if TASKS[task].labels else answers.shape[1] - 1)


def test_meanings_are_a_permutation_and_a_half():
    known = meanings(1, 9)
    assert sorted(known.translation.tolist()) == list(range(9)) and known.positive.sum() == 4
    assert not np.array_equal(known.translation, meanings(2, 9).translation)


@pytest.mark.parametrize("make", [gpt2, llama])
def test_the_spread_of_attention_is_the_entropy_of_each_query(make):
    model = make()
    rows = np.stack(texts_of([12, 12, 12]))
    model.model.set_attn_implementation("eager")
    weights = model.model(input_ids=torch.from_numpy(rows), output_attentions=True).attentions
    model.model.set_attn_implementation("sdpa")
    found = []
    for layer in weights:
        for row in layer:
            for head in row.double().numpy():
                for query in range(6, 10):
                    found.append(entropy(head[query, 1:6], base=2))
    assert attention_entropy(model, rows, (1, 6), 6) == pytest.approx(np.mean(found), abs=1e-5)
    assert model.config._attn_implementation == "sdpa"


def test_attention_that_nothing_is_asked_of_is_refused():
    rows = np.stack(texts_of([12, 12]))
    with pytest.raises(InputError, match="must stand before"):
        attention_entropy(llama(), rows, (1, 8), 6)
    with pytest.raises(InputError, match="no token to predict"):
        attention_entropy(llama(), rows, (1, 6), 10)


def test_a_level_is_met_on_the_line_between_snapshots():
    losses, values = np.array([5.0, 3.0, 4.0, 1.0]), np.array([0.0, 1.0, 9.0, 2.0])
    assert at_level(losses, values, 4.0) == 0.5 and at_level(losses, values, 3.0) == 1.0
    assert at_level(losses, values, 2.0) == pytest.approx(1.5)
    assert np.isnan([at_level(losses, values, 6.0), at_level(losses, values, 0.5)]).all()
    assert common_level([losses, np.array([2.0, 1.5])]) == 1.5
    with pytest.raises(InputError, match="a loss is NaN"):
        at_level(np.array([np.nan]), np.array([0.0]), 1.0)


def test_a_random_trace_meets_a_level_where_a_fine_search_does():
    generator = np.random.default_rng(0)
    for _ in range(50):
        losses, values = generator.random(6), generator.random(6)
        level = float(generator.uniform(losses.min(), losses.max()))
        fine = np.linspace(0, 5, 500_001)
        # Snapshots that are worse than one before are passed over.
        best = [i for i in range(6) if i == 0 or losses[i] < losses[:i].min()]
        first = fine[np.argmax(np.interp(fine, np.arange(len(best)), losses[best]) <= level)] if best[1:] else 0
        wanted = np.interp(first, np.arange(len(best)), values[best])
        if losses[0] < level:
            assert np.isnan(at_level(losses, values, level))
        else:
            assert at_level(losses, values, level) == pytest.approx(wanted, abs=1e-4)


def test_all_tokens_count_the_same_whatever_the_task():
    model = text_tasks._blank(WORLD)
    known, inputs = meanings(0, WORLD.vocabulary), WORLD.inputs("new", 3)
    sums = []
    for task in ("nothing", "copy"):
        rows = torch.from_numpy(posed(task, inputs, known))
        sums.append(equally(WORLD)(model.model, rows)[:, : WORLD.length].sum() / rows[:, 1:].numel())
        each = cross_entropy(model.model, rows)[:, : WORLD.length].sum() / (3 * (2 * WORLD.length + 2))
        assert float(sums[-1]) == pytest.approx(float(each), rel=1e-5)
    assert float(sums[0]) == pytest.approx(float(sums[1]), rel=1e-5)


def test_inputs_of_roles_are_others():
    found = [WORLD.inputs(role, 50).tolist() for role in text_tasks.ROLES]
    assert len({str(one) for part in found for one in part}) > 240
    assert WORLD.inputs("new", 3, 5).tolist() == WORLD.inputs("new", 8).tolist()[5:]


def test_every_input_that_comes_back_does_so_equally_often():
    back = [int(text_tasks._order(WORLD, place // WORLD.items)[place % WORLD.items]) for place in range(12)]
    assert sorted(back) == sorted(3 * list(range(4))) and back[:4] != back[4:8]


def test_a_killed_training_is_looked_at_as_if_it_had_not_been():
    whole, broken = Kept(), Kept()
    looks = of_tasks([WORLD], ["summary"], whole, 1)[WORLD, "summary"]
    assert looks["steps"].tolist() == [0, 2, 4] and set(looks) >= {"loss", "accuracy", "attention", "exact seen"}
    # All but the first look is lost, and the half-done training is there.
    broken.update({name: value for name, value in whole.items() if "look_2" not in name and "look_4" not in name})
    broken.pop(next(name for name in broken if name.endswith("_summary")))
    again = of_tasks([WORLD], ["summary"], broken, 1)[WORLD, "summary"]
    assert all(np.array_equal(looks[name], again[name]) for name in looks)


def looks(losses, exact, run, attention=None):
    found = {"loss": losses, "steps": [0, 50, 100], "exact seen": exact, "exact unseen": [0, 0, 0],
             "run seen": run, "run unseen": [0, 0, 0]}  # fmt: skip
    if attention is not None:
        found |= {"attention": attention, "accuracy": [0, 0.5, 1]}
    return {name: np.array(values, float) for name, values in found.items()}


BY_TASK = {
    "nothing": [looks([3, 2, 1], [0, 0.2, 0.4], [0, 0.2, 0.4])] * 2,
    "topic": [looks([3, 2, 1], [0, 0.1, 0.4], [0, 0.1, 0.5], [9, 2, 1])] * 2,
    "headline": [looks([3, 2, 1.5], [0, 0.25, 0.5], [0, 0.2, 0.4], [9, 2, 2])] * 2,
    "summary": [looks([3, 2, 1], [0, 0.2, 0.4], [0, 0.45, 0.55], [9, 2.5, 2.5])] * 2,
    "copy": [looks([3, 1.5, 1], [0, 0.5, 1], [0, 0.6, 0.9], [9, 3, 3])] * 2,
}


def test_tasks_are_compared_at_the_level_that_all_reach():
    # The level of both worlds is 1.5.
    assert taken(BY_TASK, "exact seen", LEVEL) == {
        "nothing": pytest.approx([0.3] * 2), "topic": pytest.approx([0.25] * 2), "headline": [0.5] * 2,
        "summary": pytest.approx([0.3] * 2), "copy": [0.5] * 2,
    }  # fmt: skip
    assert taken(BY_TASK, "attention", LAST) == {
        "topic": [1, 1], "headline": [2, 2], "summary": [2.5, 2.5], "copy": [3, 3],
    }  # fmt: skip
    assert taken(BY_TASK, "exact seen", BEFORE)["copy"] == [0, 0]
    (steps,) = select(task_rows(BY_TASK, WORLD), "taken_steps", task="topic", at=LEVEL)
    assert steps.value == 75
    (gap,) = difference_rows(BY_TASK, LEVEL, [("copy", "topic")])
    assert gap.value == pytest.approx(0.25)


def test_ranks_leave_out_nothing_and_are_those_of_a_hand_count():
    rows = list(rank_rows(BY_TASK, WORLD, LEVEL))
    found = {row.setting["by"]: row.value for row in rows}
    # Runs at the level: topic 0.3, headline 0.4, summary 0.5, copy 0.6; used 1, 2, 4, 8; told 0, 2, 4, 8; steps 75,
    # 100, 75, 50, so that of six pairs one agrees, four do not, and one is tied.
    assert found == {
        USED: pytest.approx(1), TOLD: pytest.approx(1), SPREAD: pytest.approx(1), STEPS: pytest.approx(-3 / 30**0.5),
    }  # fmt: skip
    assert all(row.n == 4 and row.high - row.low > 0.5 for row in rows)
    last = {row.setting["by"]: row.value for row in rank_rows(BY_TASK, WORLD, LAST)}
    assert last[USED] == pytest.approx(4 / 6)
    same = {task: [looks([3, 2, 1], [0, 0, 0], [0, 0, 0], [1, 1, 1])] * 2 for task in BY_TASK}
    assert {tuple(row.interval) for row in rank_rows(same, WORLD, LEVEL)} == {(0.0, -1.0, 1.0)}
    few = {task: BY_TASK[task] for task in ("nothing", "topic", "copy")}
    (note,) = rank_rows(few, WORLD, LEVEL)
    assert isinstance(note, Note) and "2 tasks are not ranked" in note.sentence


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tasks": ("copy",)}, "give nothing, sentiment, summary, translation and any others"),
        ({"tasks": ("poem",)}, "there is no task"),
        ({"tasks": (*SMOKE.tasks, "summary")}, "none twice"),
        ({"seeds": 1}, "seeds is 1"),
    ],
)
def test_configs_that_make_no_sense_are_refused(change, said):
    with pytest.raises(InputError, match=said):
        replace(Config(), **change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prefix": 8}, "fewer than the 8 words"),
        ({"repeated": 8}, "leave room in a batch"),
        ({"every": 5}, "a multiple of every"),
        ({"size": "huge"}, "give one of nano"),
    ],
)
def test_worlds_that_make_no_sense_are_refused(change, said):
    with pytest.raises(InputError, match=said):
        replace(SMOKE.world, **change)
