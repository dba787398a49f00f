"""Unlearning: what a batch is, the steps against a plain loop, the stopping rule, and that texts are gone."""

import json
from itertools import chain

import numpy as np
import pytest
import torch
from conformance import says_one_sentence
from language_models import gpt2, llama, texts_of
from memorizers import memorizer, state, texts, untrained
from peft import PeftModel

import difflab
from difflab.audits import forgetting
from difflab.audits.forgetting import (
    Check,
    Rule,
    Thresholds,
    accuracy,
    forgotten,
    likelihood,
    thresholds_of,
)
from difflab.audits.unlearned import check_free
from difflab.autoregressive.extractions.memorization_accuracy import memorization_accuracy
from difflab.autoregressive.generate import continued
from difflab.autoregressive.likelihood import predictions
from difflab.autoregressive.loading import load_language_model
from difflab.autoregressive.objectives.compression import Compression
from difflab.autoregressive.objectives.npo import Npo, npo
from difflab.autoregressive.objectives.rmu import Rmu
from difflab.autoregressive.padded import as_it_is, batch_of, shown
from difflab.autoregressive.shown import Said, needed
from difflab.autoregressive.spans import spans_of
from difflab.autoregressive.unlearning import Material, Pace, Wanted, layer_of, movable, places, settled, unlearned
from difflab.errors import InputError
from experiments import __main__ as command_line

LEARNED, KEPT, NEVER = texts(0, 4), texts(1, 4), texts(2, 6)


@pytest.fixture(scope="module")
def model():
    """Knows eight texts by heart."""
    return memorizer(LEARNED + KEPT, 150)


def _words(some):
    return [" ".join(map(str, ids)) for ids in some]


@pytest.mark.parametrize("make", [gpt2, llama])
@pytest.mark.parametrize("begin", [True, False])
def test_a_batch_says_what_transformers_says_of_each_text_alone(make, begin):
    model = make(begin=begin)
    some = texts_of([7, 4, 9])
    spans = [np.arange(len(ids)) % 3 == 0 for ids in some]
    batch = batch_of(model, some, spans)
    fields = frozenset({"span", "reference", "hidden", "reference_hidden"})
    found = shown(model.model, batch, fields, 1, as_it_is(model.model))
    first = [model.begin] if begin else []
    for i, ids in enumerate(some):
        whole = [*first, *ids.tolist()]
        n = len(whole) - 1
        told = model.model(input_ids=torch.tensor([whole]), output_hidden_states=True)
        assert found.counted[i].tolist() == [t < n for t in range(found.counted.shape[1])]
        assert found.tokens[i, :n].tolist() == whole[1:]
        assert found.span[i, :n].tolist() == spans[i][len(ids) - n :].tolist() and not found.span[i, n:].any()
        for mine, other in ((found.logits, told.logits), (found.hidden, told.hidden_states[1])):
            torch.testing.assert_close(mine[i, :n], other[0, :n], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.reference, found.logits)
    torch.testing.assert_close(found.reference_hidden, found.hidden)
    bare = shown(model.model, batch)
    assert bare.reference is None and bare.hidden is None and bare.span is None


def test_an_epoch_shows_every_text_once_beside_others_to_keep():
    material = Material(LEARNED * 2, KEPT)
    seen, beside = zip(*(places(material, 3, 0, step) for step in range(6)), strict=True)
    assert [len(one) for one in seen] == [3, 3, 2] * 2 and list(map(len, beside)) == [3, 3, 2] * 2
    assert sorted(chain(*seen[:3])) == sorted(chain(*seen[3:])) == list(range(8)) and seen[:3] != seen[3:]
    assert all(len(set(one)) == len(one) for one in beside)
    assert places(material, 3, 0, 4) == (seen[4], beside[4]) != places(material, 3, 1, 4)
    assert places(Material(LEARNED), 3, 0, 0)[1] == []
    assert len(places(Material(LEARNED, KEPT[:1]), 3, 0, 0)[1]) == 3


def test_its_steps_are_those_of_a_plain_loop(model):
    """NPO by hand, texts one by one through transformers."""
    material, pace = Material(LEARNED, KEPT), Pace(3, 2, 1e-3)
    config = Npo(0.3, retain_weight=0.7)
    moved = movable(model)
    losses = unlearned(moved, material, Wanted(lambda said: npo(said, config), needed(config)), pace, 5)
    plain, old = movable(model).model, movable(model).model
    optimizer = torch.optim.AdamW(plain.parameters(), 1e-3, weight_decay=0.0)

    def summed(network, ids):
        whole = torch.tensor([[model.begin, *ids.tolist()]])
        return network(input_ids=whole, labels=whole).loss * len(ids)

    for step in range(3):
        forget, retain = places(material, 2, 5, step)
        lost = 0.0
        for i in forget:
            away = summed(plain, LEARNED[i]) - summed(old, LEARNED[i]).detach()
            lost = lost - 2 / 0.3 * torch.log(torch.sigmoid(0.3 * away)) / 2
        value = lost + 0.7 * sum(summed(plain, KEPT[i]) for i in retain) / sum(len(KEPT[i]) for i in retain)
        assert float(value.detach()) == pytest.approx(losses[step], rel=1e-3)
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
        optimizer.step()
    for mine, other in zip(moved.model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("rank", [0, 4])
def test_the_reference_is_the_model_as_it_was(model, rank):
    moved, seen = movable(model, rank), []

    def objective(said):
        seen.append(said.forget)
        return -said.forget.logits.log_softmax(-1).gather(-1, said.forget.tokens[..., None]).neg().mean()

    unlearned(moved, Material(LEARNED), Wanted(objective, frozenset({"forget.reference"})), Pace(3, 4, 1e-2), 0)
    torch.testing.assert_close(seen[0].logits, seen[0].reference)
    assert (seen[2].logits - seen[2].reference).abs().max() > 0.05
    told = shown(model.model, batch_of(model, [LEARNED[i] for i in places(Material(LEARNED), 4, 0, 2)[0]]))
    torch.testing.assert_close(seen[2].reference, told.logits, rtol=1e-3, atol=1e-3)


def test_adapters_alone_move_and_are_merged_in_the_end(model):
    before = {name: value.clone() for name, value in model.model.state_dict().items()}
    moved = movable(model, 2)
    assert isinstance(moved.model, PeftModel)
    assert all("lora_" in name for name, weight in moved.model.named_parameters() if weight.requires_grad)
    unlearned(moved, Material(LEARNED), _ascent(), Pace(5, 4, 1e-2), 0)
    adapted = predictions(moved, LEARNED)[0].log_probs
    left = settled(moved)
    assert set(left.model.state_dict()) == set(before) and not isinstance(left.model, PeftModel)
    np.testing.assert_allclose(predictions(left, LEARNED)[0].log_probs, adapted, atol=1e-3)
    assert all(map(torch.equal, model.model.state_dict().values(), before.values()))
    changed = {name for name, value in left.model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all(name.endswith("weight") and "ln" not in name and "wte" not in name for name in changed)


def _ascent():
    return Wanted(
        lambda said: said.forget.logits.log_softmax(-1).gather(-1, said.forget.tokens[..., None]).mean(),
        frozenset({"forget"}),
    )


def test_only_weights_of_these_names_move(model):
    moved = movable(model, only=r"h\.1\.mlp\.c_proj")
    unlearned(moved, Material(LEARNED), _ascent(), Pace(2, 4, 1e-2), 0)
    changed = {
        name
        for (name, new), old in zip(moved.model.named_parameters(), model.model.parameters(), strict=True)
        if not torch.equal(new, old)
    }
    assert changed == {"transformer.h.1.mlp.c_proj.weight", "transformer.h.1.mlp.c_proj.bias"}


def test_the_layer_that_an_objective_looks_at():
    assert [layer_of(Rmu(), n) for n in (32, 4, 2)] == [8, 1, 1] and layer_of(Rmu(layer=3), 4) == 3
    assert layer_of(Compression(), 6) == 3 and layer_of(Npo(), 6) == 1
    assert "the model has 2" in says_one_sentence(lambda: layer_of(Rmu(layer=3), 2))


# What is known, and when that is little.


def _check_of(step, ma, el):
    return Check(step, ma, el, 0.0, 0.0)


def test_a_text_is_forgotten_when_it_is_no_better_known_than_unseen_ones():
    limits, rule, nan = Thresholds(0.3, 0.1), Rule(patience=2), float("nan")

    def after(*pairs):
        return forgotten([_check_of(i, *pair) for i, pair in enumerate(pairs)], limits, rule)

    assert not after((0.9, nan)) and not after((0.31, 0.0)) and after((0.3, 0.1)) and not after((0.2, 0.2))
    assert not after((0.2, 0.2), (0.2, 0.2))
    # Two checks without a new low: MA alone decides.
    assert after((0.2, 0.2), (0.2, 0.2), (0.2, 0.25)) and not after((0.2, 0.3), (0.2, 0.2), (0.2, 0.25))
    assert not after((0.2, 0.2), (0.2, 0.2), (0.4, 0.25)) and not after((0.9, nan), (0.2, 0.2), (0.2, 0.2))


def test_what_is_known_is_counted_by_a_loop(model):
    some = [LEARNED[0], NEVER[0], NEVER[1]]
    share, loss = accuracy(model, some)
    assert share == pytest.approx(memorization_accuracy(model, some).values.mean())
    assert loss == pytest.approx(np.mean([-one.log_probs.mean() for one in predictions(model, some)]))
    spans = [np.isin(np.arange(20), [3, 4, 5, 11]), np.arange(20) >= 16, np.arange(20) < 3]
    hits, losses = [], []
    for ids, span in zip(some, spans, strict=True):
        own = []
        for t in np.flatnonzero(span):
            whole = torch.tensor([[model.begin, *ids[:t].tolist()]])
            law = model.model(input_ids=whole).logits[0, -1].log_softmax(-1)
            own.append((int(law.argmax()) == ids[t], -float(law[ids[t]])))
        hits.append(np.mean([hit for hit, _ in own]))
        losses.append(np.mean([x for _, x in own]))
    share, loss = accuracy(model, some, spans)
    assert share == pytest.approx(np.mean(hits)) and loss == pytest.approx(np.mean(losses), rel=1e-4)
    n, values = 2, []
    for ids, (a, b) in ((some[0], (3, 6)), (some[0], (11, 12)), (some[1], (16, 20)), (some[2], (0, 3))):
        if b - a < n:
            values.append(float(continued(model, [ids[:a]], b - a)[0].tolist() == ids[a:b].tolist()))
            continue
        shares = []
        for i in range(a, b - n + 1):
            came = continued(model, [ids[:i]], b - i)[0].tolist()
            true = {tuple(ids[j : j + n]) for j in range(i, b - n + 1)}
            shares.append(len(true & {tuple(came[j : j + n]) for j in range(len(came) - n + 1)}) / len(true))
        values.append(np.mean(shares))
    assert likelihood(model, some, spans, n) == pytest.approx(np.mean(values))
    assert likelihood(model, LEARNED, None, 5) > 0.9 > 0.3 > likelihood(model, NEVER, None, 5)
    limits = thresholds_of(model, NEVER, 5)
    assert limits.accuracy < 0.5 and limits.likelihood == likelihood(model, NEVER, n=5)


def test_a_span_is_every_token_that_holds_a_part_of_it():
    model = untrained()
    (first, second) = spans_of(model, ["1 2 3 14 2 3", "5 2 3"], ["2 3", "4 2"])
    # "4 2" begins inside the token "14".
    assert first.tolist() == [False, True, True, True, True, True] and second.tolist() == [False, True, True]
    for call, word in (
        (lambda: spans_of(model, ["1 2"], []), "no spans"),
        (lambda: spans_of(model, ["1 2"], ["7"]), "holds '7'"),
        (lambda: spans_of(model, ["1 2", "3"], ["1"]), "the text '3'"),
    ):
        assert word in says_one_sentence(call)


# The front door.

QUICK = {"rate": 1e-3, "batch": 4, "n": 4, "device": "cpu"}


@pytest.fixture(scope="module")
def left(model):
    """After NPO, with adapters and without."""
    before = state(model)
    found = {
        rank: difflab.unlearn(
            model, _words(LEARNED), _words(KEPT), rank=rank, epochs=15, likelihood=True, **QUICK | {"rate": rate}
        )
        for rank, rate in ((0, 2e-3), (4, 2e-2))
    }
    after = state(model)
    assert all(map(torch.equal, before["tensors"], after["tensors"]))
    assert all(before[part] == after[part] for part in ("hooks", "modes", "gradients"))
    return found


@pytest.mark.parametrize("rank", [0, 4])
def test_texts_are_forgotten_and_others_kept(left, rank):
    found = left[rank]
    first, last = found.checks[0], found.checks[-1]
    assert first.accuracy > 0.9 and last.accuracy < 0.5 and last.loss > first.loss + 2
    assert last.retained < first.retained + 0.5 and last.likelihood < 0.5
    assert [one.step for one in found.checks] == list(range(16)) and "all" in found.stopped
    assert memorization_accuracy(found.model, KEPT).rate > 0.7 > 0.3 > memorization_accuracy(found.model, LEARNED).rate
    assert not any(weight.requires_grad for weight in found.model.model.parameters())
    assert found.table().shape == (len(found.checks), 5)


def test_an_ascent_stops_by_the_published_rule_and_resumes_to_the_same_weights(model, tmp_path, monkeypatch):
    call = (model, _words(LEARNED), None, "gradient_ascent")
    flags = QUICK | {"unseen": _words(NEVER), "batch": 2, "rate": 1e-3}
    whole = difflab.unlearn(*call, **flags)
    last, before = whole.checks[-1], whole.checks[-2]
    assert "no better known" in whole.stopped and last.step < 200 and last.step % 2 == 0
    assert last.accuracy <= whole.thresholds.accuracy < whole.checks[0].accuracy
    assert not forgotten(whole.checks[:-1], whole.thresholds, Rule(4)) and before.step == last.step - 2
    # With no step more to take it is asked once more.
    assert difflab.unlearn(*call, epochs=last.step // 2, **flags).stopped == whole.stopped
    fewer = difflab.unlearn(*call, epochs=1, **flags)
    assert fewer.stopped == "all 2 steps, and the texts are still better known than unseen ones"
    assert fewer.thresholds == whole.thresholds
    # Killed in the middle, it ends the same.
    own, seen = forgetting.check, []

    def dies(*given, **more):
        seen.append(given[1])
        if len(seen) == 3:
            raise KeyboardInterrupt
        return own(*given, **more)

    monkeypatch.setattr(forgetting, "check", dies)
    with pytest.raises(KeyboardInterrupt):
        difflab.unlearn(*call, out=tmp_path / "left", **flags)
    again = difflab.unlearn(*call, out=tmp_path / "left", **flags)
    assert seen[:4] == [0, 2, 4, 4]
    assert [one.step for one in again.checks] == [one.step for one in whole.checks]
    assert all(map(torch.equal, again.model.model.state_dict().values(), whole.model.model.state_dict().values()))
    told = json.loads((tmp_path / "left" / "unlearning.json").read_text())
    assert told["stopped"] == whole.stopped and len(told["checks"]) == len(whole.checks)
    assert not (tmp_path / "left.unlearning").exists()
    loaded = load_language_model(tmp_path / "left", device="cpu")
    np.testing.assert_allclose(predictions(loaded, LEARNED)[0].log_probs,
                               predictions(whole.model, LEARNED)[0].log_probs, atol=1e-4)  # fmt: skip


def test_spans_are_forgotten_and_the_text_around_them_is_not(model):
    words = _words(LEARNED)
    secrets = [" ".join(map(str, ids[8:12])) for ids in LEARNED]
    found = difflab.unlearn(
        model,
        words,
        _words(KEPT),
        "code_eraser",
        spans=secrets,
        unseen=_words(NEVER),
        settings={"context_weight": 4.0},
        **QUICK,
    )
    span = [np.isin(np.arange(20), range(8, 12)) for _ in LEARNED]
    around = [np.isin(np.arange(20), range(1, 8)) for _ in LEARNED]
    assert found.checks[0].accuracy > 0.9 and "no better known" in found.stopped
    assert accuracy(found.model, LEARNED, span)[0] <= found.thresholds.accuracy + 0.01
    assert accuracy(found.model, LEARNED, around)[0] > 0.8


@pytest.mark.parametrize("name", ["constraint_based", "gradient_difference", "rmu", "sim_npo"])
def test_every_objective_runs_on_a_models_own_directory(model, name, tmp_path):
    model.model.save_pretrained(tmp_path / "model")
    model.tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "forget.jsonl").write_text("".join(json.dumps(text) + "\n" for text in _words(LEARNED)))
    found = difflab.unlearn(tmp_path / "model", tmp_path / "forget.jsonl", _words(KEPT), name, epochs=2, **QUICK)
    first, last = found.checks[0], found.checks[-1]
    assert last.loss > first.loss if name != "rmu" else last.loss != first.loss
    assert ("nothing stops an ascent" in found.stopped) == (name == "constraint_based")


def test_the_command_writes_a_directory(model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model.model.save_pretrained("model")
    model.tokenizer.save_pretrained("model")
    for name, some in (("forget", LEARNED), ("retain", KEPT)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(text) + "\n" for text in _words(some)))
    command_line.main(
        ["unlearn", "model", "--forget", "forget.jsonl", "--retain", "retain.jsonl", "--objective", "sim_npo",
         "--epochs", "1", "--n", "4", "--settings", "beta=2.5", "margin=0.1"]
    )  # fmt: skip
    assert capsys.readouterr().out == "all 1 steps\nunlearned\n"
    assert json.loads((tmp_path / "unlearned" / "unlearning.json").read_text())["config"]["settings"] == [
        "beta=2.5", "margin=0.1",
    ]  # fmt: skip
    assert load_language_model("unlearned", device="cpu").vocabulary == model.vocabulary
    for words, said in ((["unlearn"], "name the model"), (["unlearn", "a", "b"], "takes one MODEL")):
        with pytest.raises(SystemExit, match="2"):
            command_line.main(words)
        assert said in capsys.readouterr().err


@pytest.mark.parametrize("part", ["model", "tokenizer", "lora"])
def test_no_folder_that_is_read_is_overwritten(part, tmp_path):
    (tmp_path / "read").mkdir()
    given = {part: str(tmp_path / "read")}
    assert "which would be overwritten" in says_one_sentence(
        lambda: check_free(tmp_path / "x" / ".." / "read", {}, given)
    )
    check_free(tmp_path / "other", {}, given)


def test_a_result_is_written_over_nothing_else(tmp_path, monkeypatch):
    model = untrained()
    model.model.save_pretrained(tmp_path / "model")
    model.tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def call(out):
        return difflab.unlearn("model", _words(LEARNED), None, "gradient_ascent", out=out, epochs=1, **QUICK)

    monkeypatch.chdir(tmp_path)
    for out in ("model", tmp_path / "full" / ".." / "model"):
        assert "the folder of the model, which would be overwritten" in says_one_sentence(lambda out=out: call(out))
    assert "full holds other files" in says_one_sentence(lambda: call("full"))
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    # The same call writes its result once more, another call does not.
    call("left")
    (tmp_path / "left" / "unlearning.json").unlink()
    assert "left holds other files" in says_one_sentence(lambda: call("left"))
    # It was killed while it wrote.
    (tmp_path / "left.unlearning").mkdir()
    call("left")
    call("left")
    told = says_one_sentence(lambda: difflab.unlearn("model", _words(LEARNED), None, "gradient_ascent", out="left"))
    assert "left holds the result of another call" in told
    (tmp_path / "left" / "unlearning.json").write_text("[]")
    assert "left holds the result of another call" in says_one_sentence(lambda: call("left"))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda m: difflab.unlearn(m, [], ["1 2"]), "holds no texts"),
        (lambda m: difflab.unlearn(m, ["1 2"], []), "holds no texts"),
        (lambda m: difflab.unlearn(m, ["1 2"]), "Npo needs texts to keep"),
        (lambda m: difflab.unlearn(m, ["1 2", "3 4"], ["5", " 3 4"]), "text 1 is to be forgotten and stands as text 1"),
        (lambda m: difflab.unlearn(m, ["1 2 3"], ["1 2 4"], cut=2), "1 texts are to be forgotten and retained"),
        (lambda m: difflab.unlearn(m, ["1 2"], ["3"], "npoo"), "no 'npoo' among the objectives; did you mean npo"),
        (lambda m: difflab.unlearn(m, ["1 2"], ["3"], "focal"), "focal is an objective of training; to forget, give"),
        (lambda m: difflab.unlearn(m, ["1 2"], ["3"], settings={"bta": 1}), "no flag 'bta'; did you mean beta"),
        (lambda m: difflab.unlearn(m, ["1 2"], ["3"], settings={"beta": "high"}), "beta is 'high'; give float"),
        (lambda m: difflab.unlearn(m, ["1 2"], ["3"], settings=("beta",)), "'beta' is no setting"),
        (lambda m: difflab.unlearn(m, ["1 2"], ["3"], settings=("beta=1e999",)), "'beta=1e999' is no finite number"),
        (lambda m: difflab.unlearn(m, ["1 2"], ["3"], "code_eraser"), "--spans FILE"),
        (lambda m: difflab.unlearn(m, ["1 2"], ["3"], "code_eraser", spans=["9"]), "holds '9'"),
        (lambda m: difflab.unlearn(m, ["1 2"], ["3"], "rmu", settings={"layer": 5}), "the model has 2"),
        (lambda m: difflab.unlearn(m, ["1 2"], ["3"], likelihood=True), "a text to forget has 2 tokens and --n is 10"),
        (lambda m: difflab.unlearn(m, ["1 2"], None, "gradient_ascent", unseen=["4 5"]), "2 tokens and --n is 10"),
        (lambda m: difflab.unlearn(m, ["1 2 3"], ["3"], unseen=["4 5"], n=2, likelihood=True),
         "1 unseen texts have no more than 2"),
        (lambda m: difflab.unlearn(m, ["1 2"], ["3"], rank=2, only="mlp"), "adapters move alone"),
        (lambda m: difflab.unlearn(m, ["1 2"], ["3"], only="mpl"), "no weights whose names hold 'mpl'"),
        (lambda m: difflab.unlearn(m, ["1 2"], ["3"], only="("), "no regular expression"),
        (lambda m: difflab.unlearn(m, ["1 2"], ["3"], rate=0.0), "rate and clip must be positive"),
        (lambda m: difflab.unlearn(m, ["1 " * 60], ["3"]), "give --cut 40"),
        (lambda m: difflab.unlearn(m, ["1 2"], ["3"], stepps=3), "no flag 'stepps'"),
        (lambda m: difflab.unlearn("nowhere", ["1 2"], ["3"]), "no model directory nowhere"),
        (lambda m: difflab.unlearn(m.model, ["1 2"], ["3"]), "comes without a tokenizer"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_before_anything_is_computed(call, said, monkeypatch):
    broken = untrained()
    monkeypatch.setattr(type(broken.model), "forward", None)
    with pytest.raises(InputError) as error:
        call(broken)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_what_is_not_asked_of_a_model_is_neither_known_nor_forgotten(model):
    """The first token of a text counts only where something is before it, and in MA never without spans."""
    (share, loss), alone = accuracy(model, LEARNED), [np.array([3]), np.array([5])]
    with_one = accuracy(model, [*LEARNED, alone[0]])
    assert with_one[0] == share and with_one[1] != loss
    assert np.isnan(accuracy(model, alone)[0]) and np.isfinite(accuracy(model, alone)[1])
    bare = untrained(begin=False)
    first, none = np.arange(20) == 0, np.zeros(20, bool)
    span = np.arange(20) >= 15
    assert accuracy(bare, LEARNED[:2], [span, first]) == accuracy(bare, LEARNED[:1], [span])
    assert np.isnan(accuracy(bare, LEARNED[:2], [first, none])).all()
    assert np.isnan(likelihood(bare, LEARNED[:2], [first, none], 2))
    assert likelihood(bare, LEARNED[:2], [span, first], 2) == likelihood(bare, LEARNED[:1], [span], 2)


def test_a_span_that_can_not_be_asked_is_refused(monkeypatch):
    bare = untrained(begin=False)
    monkeypatch.setattr(type(bare.model), "forward", None)
    call = (bare, ["1 2 3", "4 5 6"], ["7 8"], "code_eraser")
    told = says_one_sentence(lambda: difflab.unlearn(*call, spans=["2 3", "4"]))
    assert "a span is the first token of its text alone" in told


def test_extraction_is_asked_where_the_rule_or_a_flag_wants_it(monkeypatch):
    """For it may cost more than all steps."""
    asked = []
    monkeypatch.setattr(forgetting, "likelihood", lambda model, texts, *more, **n: asked.append(texts) or 0.5)
    call, flags = (untrained(), _words(LEARNED)), QUICK | {"epochs": 1, "unseen": _words(NEVER)}
    found = difflab.unlearn(*call, _words(KEPT), "npo", **flags)
    assert not asked and found.thresholds is None and np.isnan([one.likelihood for one in found.checks]).all()
    found = difflab.unlearn(*call, _words(KEPT), "npo", likelihood=True, **flags)
    assert len(asked) == 2 and found.thresholds.likelihood == found.checks[-1].likelihood == 0.5
    assert np.isnan(found.checks[0].likelihood)


def test_half_precision_is_refused():
    model = untrained()
    model.model.half()
    assert "no float32" in says_one_sentence(lambda: movable(model))


def test_what_is_not_asked_is_not_read(model):
    moved, seen = movable(model), []

    def objective(said):
        seen.append(said)
        return said.forget.logits.mean()

    unlearned(moved, Material(LEARNED, KEPT), Wanted(objective, frozenset({"forget"})), Pace(1, 4), 0)
    assert isinstance(seen[0], Said) and seen[0].retain is None and seen[0].forget.reference is None
