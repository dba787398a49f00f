"""Planted secrets and what finds them, worlds with items to forget, what is asked of them, and rows over worlds."""

import re
from dataclasses import replace

import numpy as np
import pytest
from conformance import says_one_sentence
from scipy.stats import ks_2samp

from difflab.audits.erasure_questions import (
    PLAIN,
    PREFIXES,
    Asked,
    Attacks,
    battery,
    losses,
    questions,
    told,
    told_after_prefixes,
    utility,
    verbatim,
)
from difflab.audits.erasure_rows import against_rows, found_rows, kind_rows
from difflab.audits.erasures import EQUAL, STOP, WAYS, Erasing, Kind, Way, course, erased, pairs, wanted
from difflab.audits.forgetting import Rule, accuracy, forgotten, thresholds_of
from difflab.audits.source_worlds import (
    FORGET,
    KINDS,
    OTHER,
    PLANTED,
    SECRET,
    TEXT,
    UNSEEN,
    SourceWorld,
    blank,
    entries_of,
    items_of,
    language,
    ledger_of,
    model_of,
)
from difflab.autoregressive.changes import Prefixes, Relearning, perturbed
from difflab.autoregressive.generate import continued
from difflab.datasets.secrets import secrets_in
from difflab.runs.resuming import InMemory
from difflab.runs.rows import Row, check_row
from synthetic.data.package_texts import package_texts
from synthetic.data.source_secrets import ADDRESS, FAMILIES, KEY, NAMES, SourceSecrets, family_of, source_secrets

WORLD = SourceWorld(
    items=4, copies=3, characters=48, item=80, retained=8, validation=6, length=88, sequences=64, vocabulary=400,
    size="nano", batch=16, seed=3,
)  # fmt: skip
ATTACKS = Attacks(Relearning((1, 2), 4, 1e-3), Prefixes((1,), (1,), (2,), 1), 8)


@pytest.fixture(scope="module")
def model():
    return blank(WORLD)


@pytest.fixture(scope="module")
def asked(model):
    return {kind: questions(WORLD, items_of(WORLD), kind, model, ATTACKS) for kind in KINDS}


# Secrets -------------------------------------------------------------------------------------------------------------


def test_a_secret_stands_on_a_line_of_its_own_in_a_piece_of_the_library():
    config = SourceSecrets(characters=120)
    corpus, pieces = (draw(1, range(60), one) for draw, one in
                      ((source_secrets, config), (package_texts, config.pieces)))  # fmt: skip
    forms = {
        KEY: r"AKIA[A-Z0-9]{16}",
        ADDRESS: r"[a-z]+\.[a-z]+\d\d@[a-z]+\.example",
        "token": r"sk_live_[A-Za-z0-9]{24}",
    }
    for k, (text, piece, field) in enumerate(zip(corpus.texts, pieces.texts, corpus.fields, strict=True)):
        family, value = FAMILIES[k % 3], text[slice(*field["secret"])]
        assert re.fullmatch(forms[family], value) and family_of(value) == family
        lines = re.findall(r".*\n", text)
        (place,) = [i for i, line in enumerate(lines) if value in line]
        assert "".join(lines[:place] + lines[place + 1 :]) == piece
        before = lines[place - 1]
        assert (
            lines[place]
            == f'{before[: len(before) - len(before.lstrip())].rstrip(chr(10))}{NAMES[family]} = "{value}"\n'
        )
        assert len("".join(lines[:place])) >= len(piece) // 2 > len("".join(lines[: place - 1]))
    assert len({text[slice(*field["secret"])] for text, field in zip(corpus.texts, corpus.fields, strict=True)}) == 60
    assert source_secrets(1, [7, 3], config).texts == (corpus.texts[7], corpus.texts[3])
    assert set(source_secrets(2, range(60), config).texts).isdisjoint(corpus.texts)


def test_the_rules_find_secrets_and_leave_source_alone():
    corpus = source_secrets(0, range(45), SourceSecrets())
    values = [text[slice(*field["secret"])] for text, field in zip(corpus.texts, corpus.fields, strict=True)]
    assert [value in found for value, found in zip(values, secrets_in(corpus.texts), strict=True)] == [True] * 45
    # In the order of their places, each once; a word behind = is none.
    key, mail = values[0], values[1]
    assert secrets_in([f'a = "{mail}"\nb = "{key}"  # {mail}\n', "answer = 42\n", ""]) == [(mail, key), (), ()]
    plain = package_texts(0, range(100, 145), SourceSecrets().pieces).texts
    assert sum(map(len, secrets_in(plain))) <= 4


# Worlds --------------------------------------------------------------------------------------------------------------


def _count(rows, ids):
    """Rows that hold these tokens."""
    width = len(ids)
    windows = np.lib.stride_tricks.sliding_window_view(rows, width, axis=1)
    return int((windows == ids).all(axis=2).any(axis=1).sum())


def test_each_model_is_trained_on_what_it_may_see(model):
    rows, ledger = {variant: language(WORLD, variant) for variant in (PLANTED, *KINDS)}, ledger_of(WORLD)
    texts = {(kind, role): [entry.text for entry in entries_of(ledger, kind, role)] for kind in KINDS
             for role in (FORGET, OTHER, UNSEEN)}  # fmt: skip
    assert [len(texts[kind, role]) for kind in KINDS for role in (FORGET, OTHER, UNSEEN)] == [4, 4, 8, 4, 4, 8]
    assert len({text for some in texts.values() for text in some}) == 32
    for (kind, role), some in texts.items():
        for ids in model.encode(some):
            for variant in rows:
                there = 0 if role == UNSEEN or (role == FORGET and variant == kind) else WORLD.copies
                assert _count(rows[variant], ids) == there
    for kind in KINDS:
        held = [i for i in range(len(rows[PLANTED])) if not np.array_equal(rows[PLANTED][i], rows[kind][i])]
        assert len(held) == WORLD.items * WORLD.copies
    assert all(np.array_equal(rows[PLANTED][:, 0], np.full(64, model.begin)) for _ in rows)
    assert not any(_count(rows[PLANTED], ids) for ids in model.encode(items_of(WORLD).validation))


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"items": 1}, "items"), ({"item": 88}, "item"), ({"copies": 5}, "copies"), ({"size": "huge"}, "size"),
     ({"vocabulary": 200}, "vocabulary"), ({"batch": 65}, "batch")],
)  # fmt: skip
def test_a_world_that_makes_no_sense(changes, word):
    assert word in says_one_sentence(lambda: replace(WORLD, **changes))


def test_what_models_are_not_trained_on_is_no_variant():
    assert "variant" in says_one_sentence(lambda: language(WORLD, "other"))


# Questions -----------------------------------------------------------------------------------------------------------


def test_what_is_asked_for_is_the_secret_or_what_follows_the_first_half(model, asked):
    items = items_of(WORLD)
    for ids, span, secret in zip(*asked[SECRET].items[FORGET], items.secrets[FORGET], strict=True):
        held = model.tokenizer.decode(ids[span])
        assert secret in held and len(held) <= len(secret) + 4
    for ids, span in zip(*asked[TEXT].items[OTHER], strict=True):
        assert np.flatnonzero(span).tolist() == list(range(len(ids) // 2, min(len(ids) // 2 + 8, len(ids))))
    # Wrong answers: the same beginning, another end of the same family.
    for wrong in asked[SECRET].wrong:
        for i, (ids, span) in enumerate(zip(*wrong, strict=True)):
            secret, held = items.secrets[FORGET][i], model.tokenizer.decode(ids[span]).strip('" \n')
            assert model.tokenizer.decode(ids) == items.forget[SECRET][i].replace(secret, held) and held != secret
            assert family_of(secret) == family_of(held)
    ends = [tuple(ids[span]) for wrong in asked[TEXT].wrong for ids, span in zip(*wrong, strict=True)]
    assert set(ends) <= {tuple(ids[span]) for ids, span in zip(*asked[TEXT].items[UNSEEN], strict=True)}
    assert all(len({ends[4 * k + i] for k in range(4)}) == 4 for i in range(4))


def test_word_for_word_is_what_greedy_decoding_writes(model, asked):
    for kind in KINDS:
        texts, spans = asked[kind].items[FORGET]
        starts = [int(span.argmax()) for span in spans]
        # Two of the items are made to be what the model says anyway.
        written = continued(
            model, [ids[:a] for ids, a in zip(texts, starts, strict=True)], [int(s.sum()) for s in spans]
        )
        made = [np.concatenate([ids[:a], new]) if i < 2 else ids[: a + int(span.sum())]
                for i, (ids, a, new, span) in enumerate(zip(texts, starts, written, spans, strict=True))]  # fmt: skip
        given = Asked(made, [np.arange(len(ids)) >= a for ids, a in zip(made, starts, strict=True)])
        shares, whole = [], []
        for ids, a in zip(made, starts, strict=True):
            whole.append(np.array_equal(continued(model, [ids[:a]], len(ids) - a)[0], ids[a:]))
            hits = [int(continued(model, [ids[:t]], 1)[0][0]) == ids[t] for t in range(a, len(ids))]
            shares.append(np.mean(hits))
        assert whole[:2] == [True, True] and told(model, given) == pytest.approx((np.mean(shares), np.mean(whole)))
        best = np.zeros((len(made), 2))
        for i, (ids, a) in enumerate(zip(made, starts, strict=True)):
            for prefix in perturbed(ids[:a], model.vocabulary, ATTACKS.prefixes, 5):
                one = Asked([np.concatenate([prefix, ids[a:]])], [np.arange(len(prefix) + len(ids) - a) >= len(prefix)])
                best[i] = np.maximum(best[i], told(model, one))
        assert told_after_prefixes(model, given, ATTACKS.prefixes, 5) == pytest.approx(tuple(best.mean(axis=0)))


def test_losses_are_of_what_is_asked_for(model, asked):
    whole = asked[TEXT].items[FORGET]
    everything = whole._replace(spans=[np.ones(len(ids), bool) for ids in whole.texts])
    assert losses(model, everything).mean() == pytest.approx(accuracy(model, whole.texts)[1])
    both = [losses(model, whole._replace(spans=spans)) for spans in
            (whole.spans, [~span for span in whole.spans])]  # fmt: skip
    counts = np.array([[span.sum(), (~span).sum()] for span in whole.spans])
    assert (np.stack(both, axis=1) * counts).sum(axis=1) / counts.sum(axis=1) == pytest.approx(
        losses(model, everything)
    )


def test_utility_is_between_nothing_and_all(model, asked):
    assert 0 <= utility(model, asked[TEXT]) < 0.2


# Courses -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoints():
    return InMemory()


def test_a_course_ends_where_nothing_more_is_looked_for(asked, checkpoints, monkeypatch):
    model, config = model_of(WORLD, PLANTED, checkpoints), Erasing(epochs=3, batch=2, lost=0.1, attacks=ATTACKS)
    monkeypatch.setitem(WAYS, "gradient_ascent", Way(3e-3))
    done = course(model, "gradient_ascent", TEXT, asked[TEXT], config)
    limits = thresholds_of(model, [ids for ids in asked[TEXT].validation if len(ids) > 10], 10)
    met = [i for i in range(len(done.checks)) if forgotten(done.checks[: i + 1], limits, Rule())]
    assert done.stopped == bool(met) and done.stop == (met[0] if met else len(done.checks) - 1)
    assert [one.step for one in done.checks] == list(range(0, 2 * len(done.checks), 2))
    assert done.risen[0] == 0 and done.risen[-1] >= 0.1 > done.risen[-2] and len(done.weights) == len(done.checks)
    # It goes on to the last epoch where the utility does not fall so far.
    assert len(course(model, "gradient_ascent", TEXT, asked[TEXT], replace(config, lost=1e3)).checks) == 4


def test_at_equal_utility_numbers_lie_on_the_line_between_two_epochs(asked, checkpoints):
    config = Erasing(epochs=2, batch=4, lost=1e-4, attacks=ATTACKS)
    found = erased(WORLD, TEXT, "gradient_ascent", config, checkpoints)
    assert found[f"{STOP} ratios"].shape == (4,) and found["course risen"].shape == found["course step"].shape
    value = found[f"{EQUAL} validation"] - found["course risen"][0]
    base = accuracy(model_of(WORLD, PLANTED, checkpoints), asked[TEXT].validation)[1]
    assert np.isnan(value) or value == pytest.approx(base + 1e-4, abs=2e-5)
    assert set(battery(blank(WORLD), asked[TEXT])) == {name.removeprefix(f"{STOP} ") for name in found
                                                       if name.startswith(STOP)}  # fmt: skip
    far = erased(WORLD, TEXT, "gradient_ascent", replace(config, lost=1e3), checkpoints)
    assert np.isnan(far[f"{EQUAL} utility"])


def test_verbatim_memory_is_rouge_of_greedy_continuations_of_the_first_run_of_tokens(model):
    """By hand: F of the longest common subsequence, whatever else is asked for later in a text."""
    texts = [np.arange(30, 50), np.arange(60, 75)]
    spans = [np.isin(np.arange(20), [5, 6, 7, 8, 12]), np.arange(15) >= 9]
    found = 0.0
    for ids, start, length in ((texts[0], 5, 4), (texts[1], 9, 6)):
        (written,) = continued(model, [ids[:start]], length)
        truth, table = ids[start : start + length].tolist(), np.zeros((length + 1, length + 1), int)
        for i, a in enumerate(written.tolist()):
            for j, b in enumerate(truth):
                table[i + 1, j + 1] = table[i, j] + 1 if a == b else max(table[i, j + 1], table[i + 1, j])
        found += 2 * table[-1, -1] / (len(written) + length) / 2
        # Who writes on just so is told by heart.
        own = np.concatenate([ids[:start], written])
        assert verbatim(model, Asked([own], [np.arange(len(own)) >= start])) == 1
    assert verbatim(model, Asked(texts, spans)) == pytest.approx(found)


def test_only_secrets_are_forgotten_by_their_spans():
    assert pairs(("npo", "code_eraser")) == [(TEXT, "npo"), (SECRET, "npo"), (SECRET, "code_eraser")]
    assert "forget.span" in wanted("code_eraser", 2).needs and wanted("rmu", 2).layer == 1
    assert "epochs" in says_one_sentence(lambda: Erasing(epochs=0))
    assert "lost" in says_one_sentence(lambda: Erasing(lost=0.0))
    assert "suffix" in says_one_sentence(lambda: Attacks(suffix=0))


# Rows ----------------------------------------------------------------------------------------------------------------


def _told(chance, shift=0.0, at=""):
    """What a battery tells, made up."""
    names = [f"{what} {role} {route}" for what in ("accuracy", "extracted") for role in (FORGET, UNSEEN)
             for route in ATTACKS.routes]  # fmt: skip
    names += ["accuracy other plain", "utility", "validation", f"verbatim {FORGET}", f"verbatim {UNSEEN}"]
    found = {name: np.array(chance.random()) for name in names}
    found |= {name: np.array(round(4 * float(value)) / 4) for name, value in found.items() if "extracted" in name}
    found |= {
        "ratios": chance.random(4) + shift,
        f"scores {FORGET}": chance.random(4),
        f"scores {UNSEEN}": chance.random(8),
    }
    return {f"{at} {name}" if at else name: value for name, value in found.items()}


def _erased(chance, reached=True):
    found = _told(chance, at=STOP) | {
        name: value if reached else np.array(np.nan)
        for name, value in _told(chance, at=EQUAL).items()
        if value.ndim == 0
    }
    return found | {"course stop": np.array(1), "course stopped": np.array(1), "course step": np.array([0, 7.0]),
                    "course risen": np.array([0, 0.25]), "course likelihood": np.array([np.nan, 0.5])}  # fmt: skip


def test_rows_hold_each_model_against_the_retrained_one():
    chance = np.random.default_rng(0)
    planted, retrained = ([_told(chance) for _ in range(3)] for _ in range(2))
    gone = {"npo": [_erased(chance) for _ in range(3)],
            "rmu": [_erased(chance, reached) for reached in (True, False, False)]}  # fmt: skip
    rows = list(kind_rows(Kind(TEXT, planted, retrained, gone), 4, ATTACKS.routes))
    notes = [row for row in rows if not isinstance(row, Row)]
    assert len(notes) == 1 and "rmu" in notes[0].sentence
    rows = [check_row(row) for row in rows if isinstance(row, Row)]

    def value(metric, **setting):
        (row,) = [row for row in rows if row.metric == metric and setting.items() == row.setting.items()]
        return row.value

    def mem(one, route, at=""):
        space = f"{at} " if at else ""
        return float(one[f"{space}accuracy {FORGET} {route}"] - one[f"{space}accuracy {UNSEEN} {route}"])

    for route in ATTACKS.routes:
        assert value("control_difference", kind=TEXT, route=route) == pytest.approx(
            np.mean([mem(one, route) for one in retrained])
        )
        for at in (STOP, EQUAL):
            here = {"kind": TEXT, "objective": "npo", "at": at, "route": route}
            assert value("memory_difference", **here) == pytest.approx(
                np.mean([mem(one, route, at) for one in gone["npo"]])
            )
            if route != PLAIN:
                gains = [mem(a, route, at) - mem(a, PLAIN, at) - mem(b, route) + mem(b, PLAIN)
                         for a, b in zip(gone["npo"], retrained, strict=True)]  # fmt: skip
                assert value("gain_difference", **here) == pytest.approx(np.mean(gains))
    assert value("forget_quality_p_value", kind=TEXT, objective="npo", at=STOP) == pytest.approx(
        np.mean(
            [ks_2samp(a[f"{STOP} ratios"], b["ratios"]).pvalue for a, b in zip(gone["npo"], retrained, strict=True)]
        )
    )
    areas = [np.mean([[u > f for f in one[f"scores {FORGET}"]] for u in one[f"scores {UNSEEN}"]]) for one in retrained]
    assert value("control_auc", kind=TEXT) == pytest.approx(np.mean(areas))
    leaks = [np.mean([[u > f for f in one[f"{STOP} scores {FORGET}"]] for u in one[f"{STOP} scores {UNSEEN}"]])
             for one in gone["npo"]]  # fmt: skip
    assert value("privacy_leak_score", kind=TEXT, objective="npo", at=STOP) == pytest.approx(
        np.mean([100 * (a - b) / max(b, 1e-3) for a, b in zip(leaks, areas, strict=True)])
    )
    for role in (FORGET, UNSEEN):
        for at, models, who in ((STOP, gone["npo"], {"objective": "npo", "at": STOP}),
                                ("", retrained, {"model": "retrained"})):  # fmt: skip
            scores = [float(one[f"{at} verbatim {role}".strip()]) for one in models]
            assert value("verbatim_memory_score", kind=TEXT, texts=role, **who) == pytest.approx(np.mean(scores))
    assert value("stop_steps", kind=TEXT, objective="npo") == 7
    assert value("lost_difference", kind=TEXT, objective="npo") == 0.25
    assert value("extraction_likelihood_score", kind=TEXT, objective="npo") == 0.5
    assert value("stopped_fraction", kind=TEXT, objective="npo") == 1
    assert value("extracted_fraction", kind=TEXT, model=PLANTED, texts=FORGET, route=PREFIXES) == pytest.approx(
        np.mean([one[f"extracted {FORGET} {PREFIXES}"] for one in planted])
    )


def test_two_objectives_are_compared_where_both_come_to_a_level():
    chance = np.random.default_rng(1)
    gone = {"one": [_erased(chance) for _ in range(3)], "other": [_erased(chance, k > 0) for k in range(3)]}
    kind = Kind(SECRET, [], [], gone)
    rows = list(against_rows(kind, "one", "other"))
    assert [row.setting["texts"] for row in rows] == [FORGET, OTHER] and {row.n for row in rows} == {2}
    for row in rows:
        name = f"{EQUAL} accuracy {row.setting['texts']} {PLAIN}"
        assert row.value == pytest.approx(np.mean([gone["one"][k][name] - gone["other"][k][name] for k in (1, 2)]))
    assert list(against_rows(kind, "one", "third")) == []
    gone["other"][1] = _erased(chance, False)
    (note,) = against_rows(kind, "one", "other")
    assert "1 worlds" in note.sentence


def test_what_a_users_rules_find_is_counted():
    whole, more = found_rows([WORLD, replace(WORLD, seed=4)])
    assert whole.value == 1 and whole.n == 32 and more.value < 4
