"""Federated training: one client is plain training, rounds by a plain loop, processes that die; whose texts match."""

import os
import signal
from dataclasses import replace
from difflib import SequenceMatcher
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_parallel import Memory, die

from difflab.audits import client_rows, client_worlds
from difflab.audits.client_rows import ALL, APPROXIMATE, INTER, INTRA, NONE, TOTAL, UNSEEN, UNTRAINED, cells, rate
from difflab.audits.client_worlds import PARAPHRASED, PRIVATE, SHARED, course, courses, matched, texts_of
from difflab.autoregressive.federated import Federation, TextClient, federated, near
from difflab.autoregressive.recipe import architecture, build
from difflab.autoregressive.train import cross_entropy, train
from difflab.errors import InputError
from difflab.randomness import stream
from difflab.runs.crew import HERE, PROCESSES, RAY, crew
from difflab.runs.rows import Row, select
from difflab.statistics.intervals import mean
from difflab.statistics.verbatim import common_runs
from difflab.training.federated import one_round
from difflab.training.schedules import warmup_cosine
from experiments.language.cross_client_memorization import SMOKE, Config

CONFIG = architecture("llama", "nano", 12, 9, 11)
HOW = Federation(rounds=3, batch=4, rate=5e-3, warmup=2)
"""Three rounds of a few steps."""


def rows_of(seed, n):
    return np.insert(np.random.default_rng(seed).integers(0, 11, (n, 7)), 0, 11, axis=1)


CLIENTS = [rows_of(0, 12), rows_of(1, 20)]


def weights_of(model):
    return {name: value.numpy().copy() for name, value in model.model.state_dict().items()}


def last(clients, how=HOW, kind=HERE, workers=1, memory=None):
    with crew(kind, workers) as hands:
        *_, found = federated(CONFIG, clients, how, 0, Memory() if memory is None else memory, hands)
    return weights_of(found)


def same(first, second):
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def test_one_client_is_plain_training_to_the_last_bit():
    found = []
    for how in (HOW, replace(HOW, rounds=1, epochs=3), replace(HOW, epochs=2)):
        found.append(last(CLIENTS[:1], how))
        assert same(found[-1], weights_of(train(CONFIG, CLIENTS[0], how.recipe(12), 0)))
    assert same(found[0], found[1])


@pytest.fixture(scope="module")
def here():
    """Weights after all rounds of both clients, in this process."""
    return last(CLIENTS)


def by_hand(how):
    """Two clients with optimizers of their own, weights copied and averaged by loops."""
    models = [build(CONFIG, 0).model.requires_grad_(True) for _ in CLIENTS]
    optimizers, steps = [], [0, 0]
    for model in models:
        named = dict(model.named_parameters())
        groups = [[p for p in named.values() if p.ndim > 1], [p for p in named.values() if p.ndim == 1]]
        optimizers.append(
            torch.optim.AdamW(
                [{"params": part, "weight_decay": d} for part, d in zip(groups, (0.1, 0.0), strict=True)],
                betas=(0.9, 0.95),
            )
        )
    for _ in range(how.rounds):
        for i, (model, optimizer, rows) in enumerate(zip(models, optimizers, CLIENTS, strict=True)):
            total = how.rounds * how.epochs * len(rows) // how.batch
            anchor = [p.detach().clone() for p in model.parameters()]
            for _ in range(how.epochs * len(rows) // how.batch):
                places = range(steps[i] * how.batch, (steps[i] + 1) * how.batch)
                chosen = [
                    int(stream(0, "order", p // len(rows)).numpy().permutation(len(rows))[p % len(rows)])
                    for p in places
                ]
                shown = torch.from_numpy(rows[chosen])
                loss = model(input_ids=shown, labels=shown).loss
                loss = loss + how.proximal / 2 * sum(
                    ((p - at) ** 2).sum() for p, at in zip(model.parameters(), anchor, strict=True)
                )
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                for group in optimizer.param_groups:
                    group["lr"] = warmup_cosine(steps[i], total, how.rate, how.warmup)
                optimizer.step()
                steps[i] += 1
        with torch.no_grad():
            for parts in zip(*(model.parameters() for model in models), strict=True):
                middle = sum(len(rows) * part for rows, part in zip(CLIENTS, parts, strict=True)) / 32
                for part in parts:
                    part.copy_(middle)
    return {name: value.detach().numpy() for name, value in models[0].state_dict().items()}


@pytest.mark.parametrize("proximal", [0.0, 5.0])
def test_rounds_are_those_of_an_independent_loop(proximal, here):
    how = replace(HOW, proximal=proximal)
    found, hand = last(CLIENTS, how) if proximal else here, by_hand(how)
    for name in found:
        np.testing.assert_allclose(found[name], hand[name], atol=2e-4)
    if proximal:
        assert max(np.abs(found[name] - here[name]).max() for name in found) > 1e-3


def test_the_proximal_term_pulls_to_where_the_round_began():
    model = build(CONFIG, 0).model.requires_grad_(True)
    rows, objective = torch.from_numpy(CLIENTS[0]), near(3.0)
    plain = cross_entropy(model, rows)
    assert torch.allclose(objective(model, rows), plain)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.01)
    count = sum(weight.numel() for weight in model.parameters())
    moved = objective(model, rows) - cross_entropy(model, rows)
    assert torch.allclose(moved, torch.full_like(moved, 1.5 * count * 1e-4), rtol=1e-3)


def test_rounds_are_not_done_again(here):
    memory = Memory()
    with crew(HERE, 1) as hands:
        rounds = federated(CONFIG, CLIENTS, HOW, 0, memory, hands)
        next(rounds)
        next(rounds)
        rounds.close()
    # The first round was looked at and counts; the second was not.
    assert int(memory["round"]["round"]) == 1
    asked = []

    def counting(work, arguments):
        asked.append([one[1] for one in arguments])
        return [work(*one) for one in arguments]

    *_, found = federated(CONFIG, CLIENTS, HOW, 0, memory, counting)
    assert asked == [[1, 1], [2, 2]] and same(weights_of(found), here)


@pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")
def test_actors_give_the_same_weights_whoever_dies(here, tmp_path, monkeypatch):
    monkeypatch.setenv("PARENT", str(os.getpid()))
    monkeypatch.setenv("DEADLY", str(tmp_path / "died"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    deadly = [CLIENTS[0], CLIENTS[1].view(Deadly)]
    assert same(last(deadly, kind=RAY, workers=2), here)
    assert (tmp_path / "died").exists()


class Deadly(np.ndarray):
    """Rows that kill whoever reads the third part of them, once; not the process that the tests run in."""

    def __getitem__(self, places):
        found = np.asarray(self)[places]
        path = Path(os.environ["DEADLY"])
        if isinstance(places, list | np.ndarray) and str(os.getpid()) != os.environ["PARENT"]:
            Deadly.read += 1
            if Deadly.read == 3 and not path.exists():
                path.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return found


Deadly.read = 0


def test_processes_give_the_same_weights_also_where_one_dies_in_a_round(here, tmp_path, monkeypatch):
    monkeypatch.setenv("PARENT", str(os.getpid()))
    monkeypatch.setenv("DEADLY", str(tmp_path / "died"))
    deadly = [CLIENTS[0], CLIENTS[1].view(Deadly)]
    assert same(last(deadly, kind=PROCESSES, workers=2), here)
    assert (tmp_path / "died").exists()


def test_who_dies_whenever_asked_is_one_sentence():
    with pytest.raises(InputError, match="died 3 times in one round"), crew(PROCESSES, 1) as hands:
        hands(die, [(1,)])


def test_crews_that_are_not_there_are_one_sentence():
    for kind, workers, said in (("cluster", 1, "give here, processes, ray"), (HERE, 0, "give at least 1")):
        with pytest.raises(InputError, match=said), crew(kind, workers):
            pass
    with pytest.raises(InputError, match="there are no clients"):
        next(federated(CONFIG, [], HOW, 0, Memory(), lambda work, arguments: []))


def test_one_round_leaves_what_it_was_given():
    weights = weights_of(build(CONFIG, 0))
    before = {name: value.copy() for name, value in weights.items()}
    one_round(TextClient(CONFIG, CLIENTS[0], HOW, 0), 0, weights, {})
    assert same(weights, before)


def test_the_longest_common_run_is_that_of_difflib():
    random = np.random.default_rng(0)
    for _ in range(100):
        a, texts = random.integers(0, 4, random.integers(0, 12)), random.integers(0, 4, (3, random.integers(1, 12)))
        blocks = [SequenceMatcher(None, a.tolist(), b.tolist(), autojunk=False).find_longest_match() for b in texts]
        assert common_runs(a, texts).tolist() == [block.size for block in blocks]


def test_a_completion_is_held_against_every_suffix():
    suffixes = np.array([[1, 2, 3, 4], [9, 9, 1, 2]])
    assert matched(np.array([1, 2, 3, 7]), suffixes) == (3, 0.25)
    assert matched(np.array([9, 9, 1]), suffixes) == (3, 0.25)
    assert matched(np.array([], int), suffixes) == (0, 1.0)


WORLD = replace(SMOKE.world, items=8, overlap=0.25, paraphrased=0.5)


def test_texts_are_held_by_whom_the_ledger_says():
    texts, kinds = texts_of(WORLD), WORLD.kinds
    assert [list(kinds).count(kind) for kind in (SHARED, PARAPHRASED, PRIVATE)] == [2, 4, 2]
    for client, rows in enumerate(texts.rows):
        own, before = texts.items[client], texts.items[(client - 1) % 3]
        lines = [tuple(row[1:]) for row in rows.tolist()]
        assert len(lines) == WORLD.documents + WORLD.copies * (8 + 6) and (rows[:, 0] == WORLD.vocabulary).all()
        for item in own.tolist():
            assert lines.count(tuple(item)) == WORLD.copies
        for item, other, kind in zip(before, texts.others[(client - 1) % 3], kinds, strict=True):
            assert lines.count(tuple(item.tolist())) == (WORLD.copies if kind == SHARED else 0)
            assert lines.count(tuple(other.tolist())) == (0 if kind == PRIVATE else WORLD.copies)
            assert (item != other).sum() == (round(0.15 * 16) if kind == PARAPHRASED else 0)
        held = [texts.held(one, kinds).tolist() for one in range(4)]
        never = set(map(tuple, held[3]))
        assert [len(some) for some in held] == [8 + 6] * 4 == [len(never)] * 4
        assert not never & set(lines) and not {tuple(row) for row in texts.validation.tolist()} & set(lines)
    # Knobs of who has what do not change the texts.
    other = texts_of(replace(WORLD, overlap=0.0, paraphrased=0.0))
    assert np.array_equal(other.items, texts.items) and np.array_equal(other.validation, texts.validation)
    assert np.array_equal(other.rows[0][: WORLD.documents], texts.rows[0][: WORLD.documents])


def test_documents_are_of_the_clients_own_domain_by_the_share_asked():
    rows = [texts_of(replace(WORLD, heterogeneity=share)).rows for share in (0.0, 0.5, 1.0)]
    for share, some in zip((0.0, 0.5, 1.0), rows, strict=True):
        for client in range(3):
            own = client_worlds._drawn(WORLD, client + 1, range(1)).shape[1]
            law, shared = (client_worlds.markov_text(0, [0], WORLD.law(d)).law for d in (client + 1, 0))
            documents = some[client][: WORLD.documents, 1:]
            fits = [np.isfinite(law.bits(one[None])[0]) for one in documents]
            also = [np.isfinite(shared.bits(one[None])[0]) for one in documents]
            n = round(share * WORLD.documents)
            assert own == WORLD.length and all(fits[:n]) and all(also[n:]) and not all(fits[n:]) * (n < len(fits))


def looks_by_hand(seed):
    random = np.random.default_rng(seed)
    return {"loss": np.array([3.0, 2.0, 1.0]), "run": random.integers(0, 12, (3, 4, 4, 4)),
            "edits": random.random((3, 4, 4, 4))}  # fmt: skip


def test_rates_are_those_of_a_count_by_loops():
    looks, chosen = looks_by_hand(0), np.array([True, False, True, True])
    for match, hit in (("verbatim 6", lambda i, j, k: looks["run"][2, i, j, k] >= 6),
                       (APPROXIMATE, lambda i, j, k: looks["edits"][2, i, j, k] <= 0.25)):  # fmt: skip
        table = [[np.mean([hit(i, j, k) for j in (0, 2, 3)]) for k in range(4)] for i in range(4)]
        np.testing.assert_allclose(cells(looks, match, -1, chosen), table)
        assert rate(looks, match, -1, INTRA, chosen) == pytest.approx(np.mean([table[i][i] for i in range(3)]))
        others = [table[i][k] for i in range(3) for k in range(3) if i != k]
        assert rate(looks, match, -1, INTER, chosen) == pytest.approx(np.mean(others))
        assert rate(looks, match, -1, UNSEEN, chosen) == pytest.approx(np.mean(table[3][:3]))
        assert rate(looks, match, -1, UNTRAINED, chosen) == pytest.approx(np.mean([table[i][3] for i in range(3)]))
        anybody = [any(hit(i, j, k) for k in range(3)) for i in range(3) for j in (0, 2, 3)]
        assert rate(looks, match, -1, TOTAL, chosen) == pytest.approx(np.mean(anybody))


@pytest.mark.parametrize("untrained", [3.0, 9.0])
def test_methods_are_compared_where_their_losses_are_equal_but_never_with_an_untrained_model(untrained):
    some = [looks_by_hand(seed) | {"loss": np.array([untrained, 2.0, 1.0])} for seed in range(2)]
    slower = [one | {"loss": np.array([untrained, 2.5, 1.5])} for one in some]
    (row,) = client_rows.level_rows({"a": some, "b": slower}, ["verbatim 6"], [("a", "b")])
    gaps = []
    for one in some:
        totals = [rate(one, "verbatim 6", place, TOTAL, np.ones(4, bool)) for place in range(3)]
        # The level is 1.5: half way between the looks of the first, the last look of the second.
        gaps.append((totals[1] + totals[2]) / 2 - totals[2])
    found = mean(gaps)
    assert row.interval == pytest.approx((found.value, max(-1, found.low), min(1, found.high)))
    assert row.metric == "total_difference"
    for run, other, value in ((0, 0, 0), (12, 0, 1)):
        alike = {"a": [one | {"run": np.full((3, 4, 4, 4), run)} for one in some],
                 "b": [one | {"run": np.full((3, 4, 4, 4), other)} for one in slower]}  # fmt: skip
        (row,) = client_rows.level_rows(alike, ["verbatim 6"], [("a", "b")])
        # Of 12 items none: Wilson's upper end is .2425; of two worlds a root of two less.
        below, above = (0.2425, 0) if run else (0.2425 / 2**0.5,) * 2
        assert row.interval == pytest.approx((value, value - below, value + above), abs=1e-3), row
    # Of what is below the level after its first round nothing is said.
    quick = [one | {"loss": np.array([untrained, 1.4, 1.0])} for one in some]
    assert not list(client_rows.level_rows({"a": quick, "b": slower}, ["verbatim 6"], [("a", "b")]))


def test_of_what_is_nothing_on_both_sides_in_all_worlds_nothing_is_claimed():
    rows = [Row("total_difference", value, -0.1, 0.1, 5, {"match": name}, sd)
            for value, sd, name in ((0.0, 0.0, "a"), (0.0, 0.1, "b"), (0.2, 0.0, "b"), (-0.1, 0.2, "c"))]  # fmt: skip
    assert client_rows.telling(rows, "total_difference") == rows[1:]
    assert client_rows.telling(rows, "total_difference", match="b") == rows[1:3]
    assert not client_rows.telling(rows, "inter_difference")


def test_differences_are_those_of_loops_and_have_a_width_where_all_worlds_agree():
    worlds = {"no overlap": WORLD, "more overlap": WORLD, "paraphrases": WORLD}
    some = {name: [looks_by_hand(3 * k + seed) for seed in range(2)] for k, name in enumerate(worlds)}
    world = SimpleNamespace(clients=3, items=4, kinds=np.array([SHARED, PRIVATE, PRIVATE, PRIVATE]))
    rows = client_rows.gap_rows(some, dict.fromkeys(worlds, world), ["verbatim 6"])
    at = {(row.metric, row.setting.get("condition", "")): row for row in rows}
    hit = [[one["run"] >= 6 for one in looks] for looks in some.values()]
    private = [[table[-1][:, 1:].mean(axis=1) for table in tables] for tables in hit]
    pairs = [(i, k) for i in range(3) for k in range(3) if i != k]
    for k, name in enumerate(worlds):
        inter = np.array([np.mean([table[pair] for pair in pairs]) for table in private[k]])
        unseen, never = (np.array([np.mean(part) for part in parts]) for parts in
                         ([table[3, :3] for table in private[k]], [table[:3, 3] for table in private[k]]))  # fmt: skip
        intra = np.array([np.mean(np.diag(table)[:3]) for table in private[k]])
        assert at["excess_difference", name].value == pytest.approx(np.mean(inter - unseen))
        assert at["trained_difference", name].value == pytest.approx(np.mean(inter - never))
        assert at["twofold_difference", name].value == pytest.approx(np.mean(intra - 2 * inter))
    added = [np.mean([table[-1].mean(axis=1)[pair] for pair in pairs for table in hit[k]]) for k in range(3)]
    assert at["inter_difference", "paraphrases"].value == pytest.approx(added[2] - added[0])
    nothing = [looks | {"run": np.zeros((3, 4, 4, 4), int)} for looks in some["no overlap"]]
    for row in client_rows.gap_rows(dict.fromkeys(worlds, nothing), dict.fromkeys(worlds, world), ["verbatim 6"]):
        # Of 9 or 12 items none: Wilson's upper end is .3 or .24; of two worlds a root of two less.
        assert row.value == 0 and row.interval.low < -0.15 and row.interval.high > 0.15, row
    own = nothing[0]["run"].copy()
    own[:, range(3), :, range(3)] = 12
    alike = [looks | {"run": own} for looks in nothing]
    rows = client_rows.gap_rows(dict.fromkeys(worlds, alike), dict.fromkeys(worlds, world), ["verbatim 6"])
    twofold = select(rows, "twofold_difference")
    assert [row.value for row in twofold] == [1] * 3 == [row.high for row in twofold] and twofold[0].low < 0.8


def test_conditions_differ_in_one_thing_or_hold_the_epochs():
    conditions = Config().conditions()
    base = conditions["federated"]
    for name, world in conditions.items():
        differ = [part for part in vars(base) if getattr(base, part) != getattr(world, part)]
        assert len(differ) == (0 if name == "federated" else 2 if name == "paraphrases" else 1), name
    how = {name: (one.federation.rounds, one.federation.epochs) for name, one in conditions.items()}
    assert {name: told for name, told in how.items() if told != (8, 1)} == {
        "4 rounds of 2 epochs": (4, 2),
        "2 rounds of 4 epochs": (2, 4),
        "half the rounds": (4, 1),
        "twice the rounds": (16, 1),
        "twice the epochs": (8, 2),
    }
    assert conditions[NONE].kinds.tolist() == [PRIVATE] * 24 and ALL == "all"


def test_rows_in_one_place_are_looked_at_after_as_many_steps_as_a_client_takes():
    world = replace(SMOKE.world, together=False)
    texts = texts_of(world)
    with crew(HERE, 1) as hands:
        found = course(world, Memory(), hands)
    rows, how = np.concatenate(texts.rows), client_worlds._rounds_of(world)
    assert len(found["loss"]) == 1 + 3 * world.federation.rounds
    assert how.local(len(rows)) == world.federation.local(len(texts.rows[0]))
    # It is plain training, however often it is looked at.
    config = client_worlds.architecture_of(world)
    model = train(config, rows, how.recipe(len(rows)), world.seed)
    looked = client_worlds.look(model, world, texts)
    assert all(np.array_equal(found[name][-1], looked[name]) for name in looked)


def test_a_killed_course_is_looked_at_as_if_it_had_not_been():
    world = replace(SMOKE.world, federation=replace(SMOKE.world.federation, rounds=2, epochs=2))
    whole, broken = Memory(), Memory()
    with crew(HERE, 1) as hands:
        found = course(world, whole, hands)
        assert found["loss"].shape == (3,) and found["run"].shape == (3, 4, 4, 4)
        first = {name: value for name, value in whole.items() if name.endswith(("look_0",))}
        broken.update(first)
        again = course(world, broken, hands)
    assert all(np.array_equal(found[name], again[name]) for name in found)
    (other,) = courses([world], Memory(), 1, HERE)
    assert all(np.array_equal(found[name], other[name]) for name in found)
    # The losses are those of the model that was averaged.
    assert found["loss"][2] < found["loss"][0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"executor": "slurm"}, "give here, processes, ray"),
        ({"run_lengths": (40,)}, "as many as are compared"),
        ({"seeds": 1}, "seeds is 1"),
        ({"proximal": 0.0}, "proximal positive"),
        ({"world": replace(WORLD, length=32, federation=Federation(rounds=3))}, "a multiple of 4"),
    ],
)
def test_configs_that_make_no_sense_are_refused(change, said):
    with pytest.raises(InputError, match=said):
        replace(Config(), **change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"overlap": 0.7, "paraphrased": 0.7}, "no item to one client alone"),
        ({"prefix": 16}, "fewer than the 16 tokens"),
        ({"overlap": -0.1}, "a share between 0 and 1"),
        ({"size": "huge"}, "give one of nano"),
        ({"clients": 1}, "clients is 1"),
    ],
)
def test_worlds_that_make_no_sense_are_refused(change, said):
    with pytest.raises(InputError, match=said):
        replace(WORLD, **change)
