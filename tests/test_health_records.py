"""Six tests of models of patients' records: distances by linear programming, laws by counting, tests by hand."""

import json
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from conformance import says_one_sentence
from hypothesis import given, settings
from hypothesis import strategies as st
from language_models import gpt2
from memorizers import memorizer
from scipy.optimize import linprog
from test_parallel import Memory

import difflab
from difflab.audits import record_probe, record_tests, record_worlds
from difflab.audits import records as audit
from difflab.audits.planted_records import encoded_of, patients_of
from difflab.audits.record_rows import Compared, Told, averaged, leak, rise
from difflab.audits.record_tests import Published, Questions, encoded, first
from difflab.autoregressive.generate import continued
from difflab.autoregressive.likelihood import OWN
from difflab.datasets.records import Record, read_vectors
from difflab.errors import InputError
from difflab.randomness import stream
from difflab.runs.rows import Row, select
from difflab.statistics.intervals import apart, wilson
from difflab.statistics.trajectories import clock, directions, trajectory_distance, unlikeness
from experiments import __main__ as command_line
from synthetic.data import visit_records as visits
from synthetic.data.visit_records import ARBITRARY, COMMON, INFERABLE, RARE, VisitRecords, visit_records

QUESTIONS = Questions((4, 8), 3, 64, 2, 0.2, Published(), 0)


def _times(random, n):
    return np.sort(random.random(n) * 9)


def _cost(drawn, truth, s, t, unlike, timed):
    """By loops: costs of every code of one and the other, padding included, times in shares of the longer."""
    n, longest = max(len(drawn), len(truth)), max([*s, *t, 0]) or 1
    table = np.empty((n, n))
    for i in range(n):
        for j in range(n):
            if i < len(drawn) and j < len(truth):
                table[i, j] = unlike[drawn[i], truth[j]] * (1 + abs(s[i] - t[j]) / longest)
            else:
                alone = s[i] if i < len(drawn) else t[j] if j < len(truth) else 0
                table[i, j] = 1 + (alone / longest if timed else 0)
    return table


@given(st.integers(0, 5), st.integers(0, 5), st.booleans(), st.integers(0, 10**6))
@settings(max_examples=40)
def test_the_earth_movers_distance_is_the_least_over_all_plans(n, m, timed, seed):
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(6, 3))
    unit = vectors / np.sqrt((vectors**2).sum(axis=1, keepdims=True))
    unlike = 1 - unit @ unit.T
    drawn, truth = random.integers(0, 6, n), random.integers(0, 6, m)
    s, t = _times(random, n), _times(random, m)
    found = trajectory_distance(unlikeness(directions(vectors), drawn, truth), s, t, timed)
    size = max(n, m)
    if size == 0:
        assert found == 0
        return
    table = _cost(drawn, truth, s, t, unlike, timed)
    ways = [sum(table[i, j] for i, j in enumerate(way)) / size for way in permutations(range(size))]
    assert found == pytest.approx(min(ways))
    # A plan may split codes; none is cheaper.
    rows, columns = np.kron(np.eye(size), np.ones(size)), np.kron(np.ones(size), np.eye(size))
    plan = linprog(table.ravel(), A_eq=np.concatenate([rows, columns]), b_eq=np.full(2 * size, 1 / size))
    assert found == pytest.approx(plan.fun, abs=1e-8)


def test_a_trajectory_is_nowhere_from_itself_and_padding_costs_one():
    codes, times = np.array([0, 1, 2]), np.array([0.0, 5.0, 10.0])

    def far(first, second, s, t, timed=False):
        return trajectory_distance(unlikeness(directions(np.eye(3)), first, second), s, t, timed)

    assert far(codes, codes, times, times) == 0
    assert far(codes[:2], codes, times[:2], times) == pytest.approx(1 / 3)
    assert far(codes[:2], codes, times[:2], times, True) == pytest.approx(2 / 3)
    # The same codes at another time cost nothing more: what is alike moves freely.
    assert far(codes, codes, times, times * 0) == 0
    assert far(codes[:1], codes[1:2], times[:1], times[2:]) == 2
    # A code without a vector is like itself alone.
    alone = directions(np.array([[2.0, 0.0], [0.0, 0.0], [1.0, 1.0]]))
    expected = [[0, 1, 1 - 0.5**0.5], [1, 0, 1], [1 - 0.5**0.5, 1, 0]]
    np.testing.assert_allclose(unlikeness(alone, codes, codes), expected)
    with pytest.raises(InputError, match="code \\[1\\]"):
        directions(np.array([[1.0], [np.nan]]))


def test_a_clock_is_the_median_of_what_time_does_at_a_code():
    texts = [np.array([3, 0, 1, 0]), np.array([0, 0, 2]), np.array([1, 1])]
    times = [np.array([7.0, 9.0, 9.0, 19.0]), np.array([0.0, 4.0, 4.5]), np.array([])]
    assert clock(texts, times, 5).tolist() == [4.0, 0.0, 0.5, 0.0, 0.0]
    assert clock(texts, [np.array([])] * 3, 5).tolist() == [0.0] * 5


def test_a_difference_of_fractions_is_newcombes():
    """Newcombe 1998, Stat. Med. 17, 873, table II, method 10."""
    for (a, n), (b, m), ends in (((56, 70), (48, 80), (0.0524, 0.3339)), ((9, 10), (3, 10), (0.1705, 0.8090)),
                                 ((10, 10), (0, 20), (0.6791, 1.0))):  # fmt: skip
        found = apart(wilson(a, n), wilson(b, m))
        assert found.value == pytest.approx(a / n - b / m)
        assert (found.low, found.high) == pytest.approx(ends, abs=1e-4)


LAW = VisitRecords(diseases=5, rare=2, own=3, common=4, visits=4, codes=2, values=4)


def test_records_follow_their_law():
    numbers, law = range(3000), visits.law_of(1, LAW)
    texts = [text.split() for text in visit_records(1, numbers, LAW).texts]
    codes = {f"dx:{i}": i for i in range(LAW.ordinary)}
    table = law.diseases > 0
    assert np.allclose(law.diseases.sum(axis=1), 1) and sorted(law.sensitive.tolist()) == list(range(5))
    diseases, told, common, total = [], 0, 0, 0
    for words in texts:
        assert len(words) == LAW.length and [word.split(":")[0] for word in words[:3]] == ["age", "area", "month"]
        assert all(word in set(map(visits.gap, visits.GAPS)) for word in words[3::3])
        held = [codes[word] for word in words if word in codes]
        common += sum(table[:, code].all() for code in held)
        total += len(held)
        fitting = np.flatnonzero(table[:, held].all(axis=1))
        assert len(fitting) > 0
        if len(fitting) == 1:
            diseases.append(fitting[0])
        for place, word in enumerate(words):
            if word.startswith("sx:"):
                told += 1
                assert place in (LAW.before + 2, LAW.before + 5)
                assert int(word[3:]) in law.sensitive[fitting]
    assert abs(told / 3000 - LAW.present) < 0.03 and abs(common / total - LAW.common_share) < 0.03
    shares = np.bincount(diseases, minlength=5) / len(diseases)
    assert abs(shares[3:].sum() - LAW.rare_share) < 0.015 and np.allclose(shares[:3], 0.95 / 3, atol=0.04)


@pytest.mark.parametrize("group", [RARE, COMMON])
def test_a_sensitive_code_is_that_of_the_disease_or_of_another(group):
    law = visits.law_of(1, LAW)
    for kind in (INFERABLE, ARBITRARY):
        config = replace(LAW, sensitive=kind, group=group)
        corpus, others = visit_records(1, range(200), config), set[int]()
        for text, fields in zip(corpus.texts, corpus.fields, strict=True):
            held = [int(word[3:]) for word in text.split() if word.startswith("dx:")]
            fitting = np.flatnonzero((law.diseases > 0)[:, held].all(axis=1))
            assert any((disease >= 3) == (group == RARE) for disease in fitting)
            first_, last = fields["sensitive"]
            told = int(text[first_:last].removeprefix("sx:"))
            others.add(told)
            if len(fitting) == 1:
                assert (told == law.sensitive[fitting[0]]) == (kind == INFERABLE)
            assert text[slice(*fields["identifiers"])] == " ".join(text.split()[:3])
        assert len(others) == (5 if kind == ARBITRARY else 2 if group == RARE else 3)


def test_descriptions_are_alike_in_a_disease():
    known, law, words = visits.described(1, LAW), visits.law_of(1, LAW), LAW.words()
    every = np.arange(len(words))
    like = 1 - unlikeness(directions(known), every, every)
    assert np.allclose(np.diag(like), 1)
    ordinary = [i for i, word in enumerate(words) if word.startswith("dx:")]
    for i in ordinary:
        for j in ordinary:
            a, b = (int(words[k][3:]) for k in (i, j))
            both = [(law.diseases[:, c] > 0) for c in (a, b)]
            same = i != j and both[0].sum() == both[1].sum() == 1 and (both[0] == both[1]).all()
            assert like[i, j] == pytest.approx(1.0 if i == j else 0.5 if same else 0.0)
    disease = int(np.flatnonzero(law.diseases[:, int(words[ordinary[0]][3:])])[0])
    if (law.diseases[:, int(words[ordinary[0]][3:])] > 0).sum() == 1:
        assert like[ordinary[0], words.index(f"sx:{law.sensitive[disease]}")] == pytest.approx(0.5)


WORLD = audit.SMOKE.world


def test_every_record_is_trained_on_as_often_as_the_ledger_says():
    ledger = record_worlds.ledger_of(WORLD)
    rows = record_worlds.training_rows(WORLD, ledger)
    assert len(rows) == WORLD.rows and rows.shape[1] == WORLD.law.length + 1
    tokenizer = record_worlds.tokenizer_of(WORLD)
    texts = [tokenizer.decode(row[1:]) for row in rows]
    for entry in ledger:
        assert texts.count(entry.text) == entry.copies
        assert entry.text[slice(*entry.span)].startswith("sx:")
    patients = patients_of(WORLD)
    assert patients.some(16, ARBITRARY, RARE).sum() == 5 and patients.some(None, INFERABLE).sum() == 20
    assert (patients.copies[patients.twin] == 0).all()
    model = record_worlds.untrained(WORLD)
    mine, others = encoded_of(model, WORLD)
    assert len(mine.ids) == len(ledger) and len(others.ids) == WORLD.known
    assert not {one.name for one in others.records} & set(texts)
    # The clock is that of the gaps.
    known = tokenizer.get_vocab()
    assert [mine.clock[known[visits.gap(days)]] for days in visits.GAPS] == list(visits.GAPS)
    assert mine.clock.sum() == sum(visits.GAPS)


def _record(seed, sensitive=("20",), n=12, place=10, group=""):
    codes = [str(code) for code in np.random.default_rng(seed).integers(0, 18, n)]
    codes[:2] = [f"{30 + seed % 3}", f"{35 + seed % 5}"]
    codes[place] = sensitive[0]
    return Record(tuple(codes), tuple(float(i) for i in range(n)), sensitive, (0, 1), group, f"record {seed}")


@pytest.fixture(scope="module")
def random():
    return gpt2()


def test_drawn_trajectories_are_compared_with_what_follows_the_prompt(random):
    records = [_record(0), _record(1, n=9, place=8), _record(2, place=3), _record(3, ("21", "5"))]
    asked = encoded(random, records, None)
    found = record_tests.drawn(random, asked, first(4), QUESTIONS)
    # Of the third the code stands in the prompt; it is asked for nothing, but its trajectory is.
    assert np.isnan(found["told"][2]) and not np.isnan(found["distance"]).any()
    weights = random.model.get_input_embeddings().weight.double().numpy()
    unit = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    for i, record in enumerate(records):
        ids = np.array([int(code) for code in record.codes])
        chance = [stream(0, "trajectory", first(4), i, k).torch() for k in range(3)]
        written = continued(random, [ids[:4]] * 3, len(ids) - 4, OWN, chance)
        far = []
        for one in written:
            # All codes of records but their first take one unit of time.
            s, t = (np.cumsum(asked.clock[codes]) for codes in (one, ids[4:]))
            far.append(trajectory_distance(1 - unit[one] @ unit[ids[4:]].T, s, t))
        assert found["distance"][i] == pytest.approx(np.mean(far))
        if i != 2:
            wanted = {int(code) for code in record.sensitive if code in record.codes[4:]}
            assert found["told"][i] == np.mean([bool(wanted & set(one.tolist())) for one in written])
    assert np.isnan(record_tests.drawn(random, asked, first(9), QUESTIONS)["distance"][1])


def test_the_published_code_counts_what_the_prompt_tells(random):
    records = [_record(2, place=3), _record(1, n=9, place=8)]
    asked = encoded(random, records, None)
    leaky = QUESTIONS._replace(published=Published(whole_record=True, short_counted=True))
    assert record_tests.drawn(random, asked, first(4), leaky)["told"].tolist() == [1.0, 0.0]


def test_prompts_of_chance_and_of_identifiers(random):
    records = [_record(i) for i in range(4)]
    asked = encoded(random, records, None)
    for prompt in (record_tests.RANDOM, record_tests.STATIC):
        told = record_tests.drawn(random, asked, prompt, QUESTIONS)
        assert not np.isnan(told["told"]).any() and not np.isnan(told["distance"]).any()
        given = record_tests._prompt(asked, 0, prompt, QUESTIONS)
        assert given.tolist() == asked.ids[0][:2].tolist() if prompt == record_tests.STATIC else len(given) == 8
    nobody = encoded(random, [one._replace(identifiers=()) for one in records], None)
    assert np.isnan(record_tests.drawn(random, nobody, record_tests.STATIC, QUESTIONS)["told"]).all()
    assert np.isnan(record_tests.collapse(random, nobody, QUESTIONS)["sure"]).all()


def test_what_collapses_is_read_with_identifiers_of_others(random):
    records = [_record(i) for i in range(6)]
    asked = encoded(random, records, None)
    found = record_tests.collapse(random, asked, QUESTIONS)
    values = record_tests._identifiers(asked)

    def sure(ids):
        with torch.no_grad():
            logits = random.model(torch.tensor([[random.begin, *ids[:10]]])).logits[0, -1]
        return float(logits.log_softmax(-1)[20])

    for i, (record, ids) in enumerate(zip(records, asked.ids, strict=True)):
        assert found["sure"][i] == pytest.approx(sure(ids.tolist()), abs=1e-4)
        others = []
        for k in range(2):
            source = stream(0, "identifiers", i, k).numpy()
            changed = record_tests._with_others(record, ids, values, source)
            assert (changed[2:] == ids[2:]).all() and (changed[:2] != ids[:2]).all()
            assert all(changed[rank] in values[rank] for rank in range(2))
            others.append(sure(changed.tolist()))
        assert found["other sure"][i] == pytest.approx(np.mean(others), abs=1e-4)


def test_a_probe_reads_what_states_hold_and_nothing_else():
    random = np.random.default_rng(0)
    labels = [["", "a", "b"][i % 3] for i in range(90)]
    states = random.normal(size=(90, 5))
    states[:, 0] += [4.0 * (one == "a") - 4.0 * (one == "b") for one in labels]
    probe = record_probe.probed((states[:60], labels[:60]), states[60:])
    scores, right = record_probe.pairs(probe, labels[60:])
    by_hand = [
        (probe.probabilities[i, probe.codes.index(code)], code == truth)
        for i, truth in enumerate(labels[60:]) if truth for code in ("a", "b")
    ]  # fmt: skip
    assert scores.tolist() == [score for score, _ in by_hand] and right.tolist() == [so for _, so in by_hand]
    assert scores[right].min() > scores[~right].max()
    assert record_probe.probed((states[:60], ["a"] * 60), states[60:]) is None
    assert record_probe.probed((states[:60], ["a"] * 57 + ["b"] * 3), states[60:]) is None


def test_leaks_and_rises_are_differences_by_hand():
    random = np.random.default_rng(0)
    arrays = {
        f"{name} {prompt}": random.random(20) for name in ("told", "distance") for prompt in ("first 1", "first 2")
    }
    arrays["told first 1"][3] = np.nan
    told = Told(arrays, None, [""] * 20)
    member = np.arange(20) < 10
    some = Compared({}, member, ~member)
    far = arrays["distance first 1"]
    assert leak(told, "T1", "first 1", some).value == pytest.approx(far[10:].mean() - far[:10].mean())
    assert leak(told, "T2", "first 1", some).value == pytest.approx(
        np.nanmean(arrays["told first 1"][:10]) - arrays["told first 1"][10:].mean()
    )
    grown = arrays["told first 2"] - arrays["told first 1"]
    found = rise(told, "T2", ("first 1", "first 2"), some)
    assert found.value == pytest.approx(np.nanmean(grown[:10]) - grown[10:].mean()) and found.low < found.value
    assert averaged(arrays["told first 1"], np.arange(20) < 5, True) is None  # four have a number


def test_a_smoke_run_resumes_and_differs_by_seed():
    whole, broken = Memory(), Memory()
    rows = [row for row in audit.run(audit.SMOKE, whole) if isinstance(row, Row)]
    assert {row.metric for row in rows} >= {
        "trajectory_distance", "told_fraction", "leak_difference", "rise_difference", "member_auc", "probe_auc",
        "collapse_auc", "group_leak_difference", "rare_difference",
    }  # fmt: skip
    broken.update({name: value for name, value in whole.items() if "told" not in name})
    again = [row for row in audit.run(audit.SMOKE, broken) if isinstance(row, Row)]
    assert again == rows
    assert all(np.isnan(a).tolist() == np.isnan(b).tolist() and (a[~np.isnan(a)] == b[~np.isnan(b)]).all()
               for name in whole for a, b in zip(whole[name].values(), broken[name].values(), strict=True))  # fmt: skip
    assert len(audit.claims(rows)) == 12 and set(audit.figures(rows, {})) == {"told", "distance", "areas"}


LEARNED = [_record(i, (str(20 + i % 3),), n=20, place=15) for i in range(12)]
FRESH = [_record(100 + i, (str(20 + i % 3),), n=20, place=15) for i in range(12)]


def _own(record, group=""):
    """As users write it, in the words of a small model."""
    codes = [str(int(code) % 23) for code in record.codes]
    codes[15] = record.sensitive[0]
    return {"codes": codes, "times": list(record.times), "sensitive": list(record.sensitive),
            "identifiers": codes[:2], "group": group}  # fmt: skip


SEEN, UNSEEN = ([_own(one, "old" if i % 2 else "young") for i, one in enumerate(some)] for some in (LEARNED, FRESH))
ASKED = {"prompts": (4, 12), "draws": 2, "others": 2}


@pytest.fixture(scope="module")
def model():
    return memorizer([np.array([int(code) for code in one["codes"]]) for one in SEEN])


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    model.model.save_pretrained(folder / "model")
    model.tokenizer.save_pretrained(folder / "model")
    for name, some in (("seen", SEEN), ("unseen", UNSEEN)):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, some)))
    vectors = [{"code": str(code), "vector": np.eye(24)[code].tolist()} for code in range(24)]
    (folder / "vectors.jsonl").write_text("\n".join(map(json.dumps, vectors)))
    return folder


def test_a_model_that_knows_its_patients_is_told_by_its_numbers(model):
    found = difflab.records(model, SEEN, UNSEEN, **ASKED)

    def value(metric, **setting):
        (row,) = select(found.rows, metric, **setting)
        return row.value

    assert value("told_fraction", prompt="first 12", patients="seen") > 0.8
    assert value("told_fraction", prompt="first 12", patients="unseen") < 0.5
    assert value("trajectory_distance", prompt="first 12", patients="seen") < 0.2
    assert value("leak_difference", test="T1", prompt="first 12") > 0.2
    assert value("member_auc") == 1 and 0 <= value("collapse_auc") <= 1
    assert value("group_leak_difference", group="old", prompt="first 12") > 0.3
    assert not found.claims["T4: the least likely codes do not tell seen from unseen records"]
    assert set(found.figures) == {"told", "distance"}


def test_files_and_objects_give_the_same_rows(model, saved, tmp_path):
    on_disk = difflab.records(saved / "model", saved / "seen.jsonl", saved / "unseen.jsonl", out=tmp_path, **ASKED)
    in_memory = difflab.records(model, SEEN, UNSEEN, **ASKED)
    assert [row.setting for row in on_disk.rows] == [row.setting for row in in_memory.rows]
    np.testing.assert_allclose([r.value for r in on_disk.rows], [r.value for r in in_memory.rows], atol=1e-5)
    assert difflab.open_run(on_disk.folder).rows == on_disk.rows
    other = difflab.records(model, SEEN, UNSEEN, vectors=str(saved / "vectors.jsonl"), **ASKED)
    ones = [select(found.rows, "trajectory_distance", prompt="first 4", patients="unseen")[0].value
            for found in (in_memory, other)]  # fmt: skip
    assert ones[0] != ones[1]


def test_the_command_writes_a_page(saved, tmp_path, capsys):
    words = ["records", str(saved / "model"), "--records", str(saved / "seen.jsonl"), "--prompts", "4", "--draws", "1"]
    command_line.main([*words, "--out", str(tmp_path)])
    page = capsys.readouterr().out.strip()
    assert "health_records" in Path(page).read_text()


def test_what_records_do_not_say_is_left_out(model):
    plain = [{"codes": one["codes"]} for one in SEEN]
    found = difflab.records(model, plain, prompts=(4,), draws=1)
    notes = " ".join(found.meta["notes"])
    assert "names sensitive codes" in notes and "names identifiers" in notes and "nothing is compared" in notes
    assert "without times" in notes
    assert {row.metric for row in found.rows} == {"trajectory_distance"} and not found.claims


BAD = {
    "no records": (lambda m, f: difflab.records(m, []), "holds no records"),
    "no object": (lambda m, f: difflab.records(m, [7]), "give objects"),
    "no codes": (lambda m, f: difflab.records(m, [{"times": [1]}]), 'no field "codes"'),
    "a wrong field": (lambda m, f: difflab.records(m, [{"code": ["1"]}]), "has a field"),
    "a number": (lambda m, f: difflab.records(m, [{"codes": [1, 2]}]), "no list of text"),
    "too few times": (lambda m, f: difflab.records(m, [{"codes": ["1", "2"], "times": [1]}]), "give one for each"),
    "falling": (lambda m, f: difflab.records(m, [{"codes": ["1", "2"], "times": [2, 1]}]), "its times fall"),
    "not there": (lambda m, f: difflab.records(m, [{"codes": ["1", "2"], "sensitive": ["3"]}]), "none of its codes"),
    "not a token": (lambda m, f: difflab.records(m, [*SEEN, {"codes": ["1", "flu"]}], prompts=4), "no token of"),
    "one code": (lambda m, f: difflab.records(m, [*SEEN, {"codes": ["1"]}]), "has one code"),
    "too long": (lambda m, f: difflab.records(m, [*SEEN, {"codes": ["1"] * 50}]), "cut it"),
    "seen and unseen": (lambda m, f: difflab.records(m, SEEN, [*UNSEEN, SEEN[2]]), "among the unseen"),
    "no file": (lambda m, f: difflab.records(m, "nowhere.jsonl"), "no file nowhere.jsonl"),
    "no vectors": (lambda m, f: difflab.records(m, SEEN, vectors="nowhere"), "no file nowhere"),
    "no model": (lambda m, f: difflab.records("nowhere", SEEN), "no model directory"),
    "no prompt": (lambda m, f: difflab.records(m, SEEN, prompts=(0,)), "at least 1"),
    "a planted world": (lambda m, f: difflab.records(m, SEEN, background=7), "planted patients are described"),
}


@pytest.mark.parametrize("name", BAD)
def test_mistakes_are_one_sentence(name, model, saved):
    call, words = BAD[name]
    assert words in says_one_sentence(lambda: call(model, saved))


def test_the_command_says_mistakes_and_exits_with_2(saved, tmp_path, capsys):
    (tmp_path / "bad.jsonl").write_text('{"codes": ["1"]}\n{"codes": 3}\n')
    for words, said in (
        ([], "name the model"),
        ([str(saved / "model")], "name the records"),
        ([str(saved / "model"), "--records", str(tmp_path / "bad.jsonl")], "bad.jsonl, line 2"),
        (["--records", str(saved / "seen.jsonl")], "name the model"),
    ):
        with pytest.raises(SystemExit) as end:
            command_line.main(["records", *words, "--out", str(tmp_path)])
        assert end.value.code == 2 and said in capsys.readouterr().err


def test_vectors_that_make_no_sense_are_named(tmp_path):
    for lines, said in (
        ('{"code": "1"}', "line 1 is no"),
        ('{"code": "1", "vector": [1]}\n{"code": "1", "vector": [2]}', "second vector"),
        ('{"code": "1", "vector": [1]}\n{"code": "2", "vector": [2, 3]}', "those before it 1"),
        ("", "holds no vectors"),
    ):
        (tmp_path / "v.jsonl").write_text(lines)
        with pytest.raises(InputError, match=said):
            read_vectors(tmp_path / "v.jsonl")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prompts": (40,)}, "planted sensitive codes stand after"),
        ({"seeds": 1}, "seeds is 1"),
        ({"share": 0.0}, "share is 0.0"),
        ({"unseen": "x"}, "go with --records"),
    ],
)
def test_configs_that_make_no_sense_are_refused(change, said):
    with pytest.raises(InputError, match=said):
        replace(audit.Config(), **change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"patients": (5,)}, "as many of both"),
        ({"size": "huge"}, "give one of nano"),
        ({"law": replace(LAW, sensitive=ARBITRARY)}, "natural records"),
    ],
)
def test_worlds_that_make_no_sense_are_refused(change, said):
    with pytest.raises(InputError, match=said):
        replace(WORLD, **change)


def test_prompts_of_planted_patients_end_with_visits():
    assert audit.Config().asked == (7, 11, 15) and replace(audit.Config(), prompts=(5, 3)).asked == (3, 5)
    with pytest.raises(InputError, match="natural, inferable, arbitrary"):
        replace(LAW, sensitive="unknown")
