"""The audit of a language model: what it learned comes out, twins do not, and whatever can't be asked is said first."""

import inspect
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from memorizers import LENGTH, memorizer, texts, untrained
from scipy.stats import norm
from transformers import BertConfig, BertForMaskedLM, T5Config, T5ForConditionalGeneration

import difflab
from difflab.audits import text_reading
from difflab.audits.extract import Config
from difflab.audits.language_models import in_memory
from difflab.audits.shadowed_texts import shadow_scores
from difflab.audits.text_reading import answers
from difflab.errors import InputError
from difflab.runs.rows import select
from experiments import __main__ as command_line
from experiments.commands import audited
from experiments.commands import extract as extract_command

SEEN, UNSEEN = texts(0, 12), texts(1, 12)
FLAGS = {"prefix": (4, 10), "suffix": 10, "samples": (5,), "resamples": 2, "null_sets": 3, "replicates": 20}


@pytest.fixture(scope="module")
def model():
    return memorizer(SEEN)


@pytest.fixture(scope="module")
def said(model):
    """Both lists as text."""
    return [[model.decode(ids) for ids in some] for some in (SEEN, UNSEEN)]


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    """The model as a directory, and both lists as JSON lines."""
    folder = tmp_path_factory.mktemp("language")
    for name, one in (("model", model), ("other", untrained(seed=3))):
        one.model.save_pretrained(folder / name)
        one.tokenizer.save_pretrained(folder / name)
    for name, some in (("seen", SEEN), ("unseen", UNSEEN)):
        lines = [json.dumps({"text": model.decode(ids)}) for ids in some]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def found(model, said):
    return difflab.extract(model, *said, **FLAGS)


def _one(rows, metric, **setting):
    (row,) = select(rows, metric, **setting)
    return row


def test_what_was_learned_comes_out_and_twins_do_not(found):
    for method in ("exact", "approximate"):
        assert _one(found.rows, "extracted_fraction", method=method, prefix=10, texts="seen").value == 1
        assert _one(found.rows, "extracted_fraction", method=method, prefix=10, texts="unseen").value == 0
    for method in ("memorization_accuracy", "extraction_strength"):
        seen, unseen = (_one(found.rows, "truth_fraction", method=method, texts=t).value for t in ("seen", "unseen"))
        assert seen > 0.8 and unseen < 0.3
    assert _one(found.rows, "auc", method="loss").value == 1
    assert 0.2 < _one(found.rows, "auc", method="blind").value < 0.8
    assert not found.claims["no seen text is continued word for word"]
    assert {"extraction", "areas"} <= set(found.figures)


def test_the_same_tokens_are_compared_whatever_the_prefix(model, found):
    """The 10 tokens after the longest prefix of 10, not those after each prefix."""
    written = found.artefacts["answers"]["written_4"]
    row = _one(found.rows, "truth_fraction", method="exact", prefix=4, texts="seen")
    by_hand = []
    for ids in SEEN:
        with torch.no_grad():
            told = model.model.generate(torch.tensor([ids[6:10]]), max_new_tokens=10, do_sample=False, pad_token_id=0)
        same = told[0, 4:].numpy() == ids[10:20]
        by_hand.append((same.argmin() if not same.all() else 10) / 10)
    assert written.shape == (24, 10)
    np.testing.assert_allclose(row.value, np.mean(by_hand))


def test_memory_disk_and_processes_give_the_same_rows(model, said, saved, tmp_path):
    beside = [str(saved / "model"), str(saved / "other")]
    asked = {"scores": "loss,recall,reference", "reference": beside[0], "shadows": beside, "shots": 1, **FLAGS}
    paths = saved / "model", saved / "seen.jsonl", saved / "unseen.jsonl"
    on_disk = difflab.extract(*paths, out=tmp_path, workers=2, block=7, **asked)
    in_memory = difflab.extract(model, *said, **asked)
    assert [row.setting for row in on_disk.rows] == [row.setting for row in in_memory.rows]
    np.testing.assert_allclose([r.value for r in on_disk.rows], [r.value for r in in_memory.rows], atol=1e-5)
    assert {row.setting["method"] for row in select(on_disk.rows, "auc")} == {
        "loss", "recall", "reference", "lira", "rmia", "blind",
    }  # fmt: skip
    assert difflab.open_run(on_disk.folder).rows == on_disk.rows


class _Killed(Exception):
    pass


def test_a_killed_run_asks_the_rest_only(model, said, monkeypatch, tmp_path):
    from difflab.audits import extract as module

    asked = []

    def counted(model, ids, questions):
        asked.append(len(ids))
        if len(asked) == 2:
            raise _Killed
        return answers(model, ids, questions)

    monkeypatch.setattr(module, "answers", counted)
    with pytest.raises(_Killed):
        difflab.extract(model, *said, out=tmp_path, block=10, **FLAGS)
    again = difflab.extract(model, *said, out=tmp_path, block=10, **FLAGS)
    assert asked == [10, 10, 10, 4]
    whole = difflab.extract(model, *said, block=10, **FLAGS)
    assert [row.value for row in again.rows] == [row.value for row in whole.rows]


def test_every_method_runs_and_what_lacks_something_is_said(model, said):
    found = difflab.extract(model, *said, scores="all", extractions="all", shots=1, cut=18, **{**FLAGS, "prefix": 8})
    told = {row.setting["method"] for row in select(found.rows, "auc")}
    assert {"grad_norm", "neighbourhood", "recall"} <= told and "reference" not in told
    assert any("reference is left out: give --reference" in note for note in found.meta["notes"])


def test_a_reference_is_used(model, said, tmp_path):
    other = untrained(seed=3)
    other.model.save_pretrained(tmp_path / "other")
    other.tokenizer.save_pretrained(tmp_path / "other")
    found = difflab.extract(model, *said, reference=str(tmp_path / "other"), scores="reference,loss", **FLAGS)
    assert _one(found.rows, "auc", method="reference").value == 1


def test_shadows_tell_seen_from_unseen(model, said, tmp_path, monkeypatch):
    others = [untrained(seed) for seed in (3, 4, 5)]
    for i, other in enumerate(others):
        other.model.save_pretrained(tmp_path / str(i))
        other.tokenizer.save_pretrained(tmp_path / str(i))
    asked = {"scores": "loss", "extractions": "extraction_strength", **FLAGS}
    model.model.save_pretrained(tmp_path / "own")
    model.tokenizer.save_pretrained(tmp_path / "own")
    shadows = [str(tmp_path / str(i)) for i in range(3)]
    names, plain = [], text_reading.read
    monkeypatch.setattr(
        text_reading, "read", lambda one, *a, **more: (names.append(id(one)), plain(one, *a, **more))[1]
    )
    found = difflab.extract(tmp_path / "own", *said, shadows=shadows, **asked)
    # Nobody reads the texts twice.
    assert len(names) == len(set(names)) == 4
    told = found.artefacts["answers"]["mean_log_probs"]
    ids = [*SEEN, *UNSEEN]
    for column, one in enumerate((model, *others)):
        losses = [
            float(one.model(torch.tensor([[one.begin, *t.tolist()]]), labels=torch.tensor([[-100, *t.tolist()]])).loss)
            for t in ids
        ]
        # Texts are asked in an order of chance, seen ones first.
        for part in (slice(12), slice(12, 24)):
            np.testing.assert_allclose(np.sort(told[part, column]), np.sort(np.negative(losses[part])), atol=1e-5)
    assert {row.setting["method"] for row in select(found.rows, "auc")} == {"loss", "lira", "rmia", "blind"}
    assert _one(found.rows, "auc", method="lira").value == _one(found.rows, "auc", method="rmia").value == 1
    with pytest.raises(InputError, match="at least 2"):
        difflab.extract(tmp_path / "own", *said, shadows=shadows[:1], **asked)
    with pytest.raises(InputError, match="--unseen"):
        difflab.extract(tmp_path / "own", said[0], shadows=shadows, **asked)


def test_an_unseen_text_is_held_against_the_others_only():
    """RMIA by a loop: how many of the other unseen texts gained less by training."""
    random, unseen = np.random.default_rng(0), np.arange(9) >= 4
    for _ in range(20):
        log_probs = -random.gamma(2, size=(9, 4))
        p = np.exp(log_probs)
        gained = p[:, 0] / ((1.3 * p[:, 1:].mean(axis=1) + 0.7) / 2)
        by_hand = [np.mean([gained[i] > gained[z] for z in np.flatnonzero(unseen) if z != i]) for i in range(9)]
        np.testing.assert_allclose(shadow_scores(log_probs, unseen)["rmia"], by_hand)
        logit = np.log(p / (1 - p))
        mean, spread = logit[:, 1:].mean(axis=1), logit[:, 1:].std(axis=1, ddof=1)
        np.testing.assert_allclose(
            shadow_scores(log_probs, unseen)["lira"], norm.cdf(logit[:, 0], mean, spread), atol=1e-6
        )
    for few in (shadow_scores, lambda a, b: shadow_scores(a[:, :2], b)):
        with pytest.raises(InputError, match="at least 2"):
            few(log_probs, unseen if few is not shadow_scores else np.arange(9) == 8)


def test_short_texts_are_scored_and_not_continued(model, said):
    seen = [*said[0], model.decode(SEEN[0][:15]), model.decode(SEEN[1][:5])]
    found = difflab.extract(model, seen, said[1], extractions="all", **FLAGS)
    assert _one(found.rows, "extracted_fraction", method="exact", prefix=4, texts="seen").n == 12
    assert _one(found.rows, "truth_fraction", method="memorization_accuracy", texts="seen").n == 14
    assert _one(found.rows, "truth_fraction", method="extraction_likelihood", texts="seen").n == 13
    assert any("2 texts have fewer than 20 tokens" in note for note in found.meta["notes"])


def test_without_unseen_texts_nothing_is_compared(model, said):
    found = difflab.extract(model, said[0], **FLAGS)
    assert select(found.rows, "extracted_fraction") and not select(found.rows, "auc")


def _nan(model):
    broken = untrained()
    next(broken.model.parameters()).data.view(-1)[3] = float("nan")
    return broken.model


SEQ = {"d_model": 8, "d_kv": 8, "d_ff": 8, "num_layers": 1, "num_heads": 1}
SMALL = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
BAD = {
    "no text": (lambda m, s: difflab.extract(m, []), "holds no texts"),
    # Unwrapped, for the tests' own type checks look at one item of a list, by chance.
    "no string": (lambda m, s: inspect.unwrap(difflab.extract)(m, [*s[0], 7]), "a number"),
    "an empty text": (lambda m, s: difflab.extract(m, [*s[0], " "]), "is empty"),
    "longer than the context": (lambda m, s: difflab.extract(m, [" ".join(s[0][:3])]), "--cut 40"),
    "seen and unseen": (lambda m, s: difflab.extract(m, s[0], [*s[1], s[0][3]]), "among the unseen"),
    "no tokenizer": (lambda m, s: difflab.extract(m.model, s[0]), "tokenizer"),
    "a masked model": (
        lambda m, s: difflab.extract(BertForMaskedLM(BertConfig(vocab_size=24, **SMALL)), s[0], tokenizer=m.tokenizer),
        "masked",
    ),
    "an encoder and decoder": (
        lambda m, s: difflab.extract(
            T5ForConditionalGeneration(T5Config(vocab_size=24, **SEQ)), s[0], tokenizer=m.tokenizer
        ),
        "decoder",
    ),
    "a weight that is no number": (lambda m, s: difflab.extract(_nan(m), s[0], tokenizer=m.tokenizer), "is not finite"),
    "another vocabulary": (
        lambda m, s: difflab.extract(untrained(size=12).model, s[0], tokenizer=m.tokenizer), "tokenizer"
    ),
    "all too short": (lambda m, s: difflab.extract(m, s[0], prefix=30), "no text has 80 tokens"),
    "one token": (lambda m, s: difflab.extract(m, [*s[0], m.decode(SEEN[0][:1])]), "fewer than two tokens"),
    "too few unseen": (lambda m, s: difflab.extract(m, s[0], s[1][:3]), "at least 5 of each"),
    "prefix 0": (lambda m, s: difflab.extract(m, s[0], prefix=0), "at least 1"),
    "no such method": (lambda m, s: difflab.extract(m, s[0], scores="los"), "no 'los' among the scores"),
    "no such file": (lambda m, s: difflab.extract(m, "nowhere.jsonl"), "there is no nowhere.jsonl"),
    "no such model": (lambda m, s: difflab.extract("nowhere", s[0]), "no model directory nowhere"),
    "one text in place of a list": (lambda m, s: difflab.extract(m, "word " * 100), "a list of texts"),
    "no package": (lambda m, s: difflab.extract(m, "package:nowhere"), "no Python package"),
    "a planted language and a model": (lambda m, s: difflab.extract(m, s[0], length=200), "planted language"),
    "a tokenizer in memory and a model by name": (
        lambda m, s: difflab.extract("nowhere", s[0], tokenizer=m.tokenizer), "the tokenizer an object"
    ),
    "no adapters there": (lambda m, s: difflab.extract(m, s[0], lora="nowhere"), "nowhere"),
    "a model in memory and processes": (lambda m, s: difflab.extract(m, s[0], workers=2), "in memory"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence_before_anything_is_asked(name, model, said, monkeypatch):
    from difflab.audits import extract as module

    monkeypatch.setattr(module, "answers", lambda *_, **__: pytest.fail("asked"))
    call, told = BAD[name]
    with pytest.raises(InputError) as error:
        call(model, said)
    assert told in str(error.value) and str(error.value).count("\n") == 0


def _words(value):
    return map(str, value if isinstance(value, tuple) else (value,))


def test_the_command_line_gives_a_page_and_code_2(saved, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = [
        "--prefix",
        "4",
        "--suffix",
        "10",
        "--samples",
        "5",
        "--resamples",
        "2",
        "--null-sets",
        "3",
        "--replicates",
        "20",
    ]
    lists = ["--texts", str(saved / "seen.jsonl"), "--unseen", str(saved / "unseen.jsonl")]
    command_line.main(["extract", str(saved / "model"), *lists, *flags])
    assert (tmp_path / "results" / "report.html").is_file()
    for words, told in ((["extract"], "name the model"), (["extract", str(saved / "model")], "--texts")):
        with pytest.raises(SystemExit) as stopped:
            command_line.main(words)
        assert stopped.value.code == 2 and told in capsys.readouterr().err


@pytest.mark.parametrize("first", [0, 1, 2, 3, 4, 5])
def test_what_follows_a_flag_is_not_taken_for_the_model(first, saved, monkeypatch):
    configs = []
    monkeypatch.setattr(audited, "execute", lambda name, module, config, out: configs.append(config))
    monkeypatch.setattr(audited, "write", lambda out: "")
    other, model = str(saved / "other"), str(saved / "model")
    flags = [
        ["--reference", other],
        ["--texts", str(saved / "seen.jsonl")],
        ["--unseen", str(saved / "unseen.jsonl")],
        ["--seed", "3"],
        ["--dtype", "float16"],
    ]
    words = [word for flag in flags[:first] for word in flag] + [model]
    words += [word for flag in flags[first:] for word in flag] + ["--shadows", other, other, "--prefix", "4", "10"]
    extract_command.main(words)
    (config,) = configs
    assert (config.model, config.reference, config.shadows) == (model, other, (other, other))
    assert (config.seed, config.dtype, config.prefix) == (3, "float16", (4, 10))
    # Several values may end nowhere: a model after them is one of theirs, and that is said.
    with pytest.raises(InputError, match="name the model"):
        extract_command.main(["--shadows", other, other, model, *flags[1], *flags[2]])


def test_the_run_is_named_after_the_texts(saved):
    config = Config(model=str(saved / "model"), texts=str(saved / "seen.jsonl"))
    other = saved / "other.jsonl"
    other.write_text((saved / "seen.jsonl").read_text() + '\n{"text": "one more"}')
    assert replace(config, texts=str(other)).contents != config.contents


def test_a_model_in_memory_is_named_after_all_that_decides_what_it_says(said):
    one, other = untrained(), untrained()
    assert in_memory(one) == in_memory(other)
    other.model.config.activation_function = "relu"
    assert in_memory(one) != in_memory(other)


def test_what_begins_alike_is_told_and_what_is_read_alike_is_refused(model, said):
    ends = [model.decode(np.append(SEEN[0], token)) for token in (1, 2)]
    seen, unseen = [*said[0][1:], ends[0]], [*said[1], ends[1]]
    found = difflab.extract(model, seen, unseen, **FLAGS)
    assert any("1 texts (unseen) begin as one of the others (seen) does" in note for note in found.meta["notes"])
    with pytest.raises(InputError, match="where they are read"):
        difflab.extract(model, seen, unseen, cut=LENGTH, **FLAGS)


def test_a_model_that_ends_at_once_is_said_to(said):
    silent = untrained()
    silent.model.generation_config.eos_token_id = 3
    silent.model.lm_head.weight.data.zero_()
    silent.model.transformer.ln_f.bias.data.fill_(1)
    silent.model.lm_head.weight.data[3] = 1
    found = difflab.extract(silent, *said, **FLAGS)
    assert sum("the model ended at once for 24 of 24 texts" in note for note in found.meta["notes"]) == 2
