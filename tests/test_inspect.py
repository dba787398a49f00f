"""Inside a model: states and attention against a plain pass, local dimension in closed form, the audit of both."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from conformance import assert_same_state, says_one_sentence, state
from language_models import gpt2, llama, texts_of
from memorizers import memorizer, texts
from scipy.stats import entropy

import difflab
from difflab.audits import inspect as audit
from difflab.audits.inspected import parts, read_language_model
from difflab.audits.language_models import in_memory
from difflab.audits.worlds import random_network
from difflab.autoregressive.inside import inside as inside_language_model
from difflab.autoregressive.recipe import build
from difflab.datasets.texts import read_texts
from difflab.diffusion import inside as diffusion
from difflab.diffusion.generate import embed
from difflab.diffusion.pipeline import SHIPPED, load
from difflab.runs.rows import Row, select
from difflab.statistics.intervals import mean, one_more
from difflab.statistics.readings import Asked, jackknife, layer_readings
from experiments import __main__ as command_line

FEW = {"items": 16, "units": 6, "pairs": 2, "neighbours": 3}


@pytest.mark.parametrize("model", [gpt2(), llama(), gpt2(begin=False)], ids=["gpt2", "llama", "without begin"])
def test_states_and_attention_are_those_of_each_text_by_itself(model):
    texts = texts_of([5, 9, 9, 2, 30])
    before = model.config._attn_implementation
    found = inside_language_model(model, texts, most_tokens=20)
    assert model.config._attn_implementation == before
    model.model.set_attn_implementation("eager")
    for i, ids in enumerate(texts):
        whole = ids if model.begin is None else np.append(model.begin, ids)
        told = model.model(torch.from_numpy(whole)[None], output_hidden_states=True, output_attentions=True)
        assert list(found.states) == ["embedding", "block 1", "block 2"]
        for layer, states in zip(told.hidden_states, found.states.values(), strict=True):
            assert states[i] == pytest.approx(layer[0, -1].numpy(), rel=1e-4, abs=1e-5)
        for layer, heads in zip(told.attentions, found.attention.values(), strict=True):
            assert heads[i] == pytest.approx([entropy(head[-1]) for head in layer[0].double().numpy()], abs=1e-4)
    model.model.set_attn_implementation(before)


def test_a_block_that_tells_no_attention_keeps_its_number(monkeypatch):
    """A hybrid's blocks of another kind tell none."""
    model, texts = gpt2(), texts_of([5, 9])
    every = inside_language_model(model, texts).attention
    own = type(model.model).forward

    def forward(self, *given, **more):
        told = own(self, *given, **more)
        told.attentions = (None, *told.attentions[1:])
        return told

    monkeypatch.setattr(type(model.model), "forward", forward)
    found = inside_language_model(model, texts).attention
    assert list(found) == ["block 2"] and (found["block 2"] == every["block 2"]).all()


def test_the_local_dimension_of_a_normal_law_in_closed_form():
    variances = torch.tensor([0.0, 0.0, 4.0, 100.0, 1e-3]).reshape(5, 1, 1)
    alpha, sigma = 0.8, 0.6
    spread = alpha**2 * variances + sigma**2
    random = torch.Generator().manual_seed(0)
    points = torch.randn((400, 5, 1, 1), generator=random) * variances.sqrt()
    probes = torch.randn((1, *points.shape), generator=random).sign()
    found = diffusion.local_dimensions(lambda x: sigma * x / spread, points, alpha, sigma, probes)
    s, v, x = (part.flatten().double().numpy() for part in (variances, spread, points[7]))
    expected = 5 - sigma**2 * (1 / v).sum() + (sigma * alpha * x / v).__pow__(2).sum()
    assert float(found[7]) == pytest.approx(np.clip(expected, 0, 5), rel=1e-4)
    # Two directions are wide, and three narrower than the noise.
    assert float(found.mean()) == pytest.approx(sum(1 - sigma**2 / v + sigma**2 * alpha**2 * s / v**2), abs=0.1)
    assert 1.5 < float(found.mean()) < 2.3


def test_a_pipeline_is_left_as_it_was_and_an_untrained_copy_shares_all_but_its_network():
    pipeline = load(SHIPPED, device="cpu")
    before = state(pipeline)
    other = random_network(pipeline)
    latents, prompts = torch.zeros(3, 16, 8, 8), embed(pipeline, ["a", "b", "c"])
    told = [
        diffusion.inside(one, latents, prompts, [torch.Generator().manual_seed(i) for i in range(3)])
        for one in (pipeline, other)
    ]
    assert_same_state(before, state(pipeline))
    assert other.vae is pipeline.vae and other.unet is not pipeline.unet and not other.unet.training
    for one in told:
        assert list(one.states) == ["conv_in", "down 1", "down 2", "mid", "up 1", "up 2"]
        assert all(len(values) == 3 for values in (*one.states.values(), *one.attention.values(), one.dimensions))
    # The untrained network's attention is nearly even.
    assert all(heads.mean() > 0.98 * np.log(prompts.shape[1]) for heads in told[1].attention.values())


def test_the_jackknife_of_a_mean_is_students_interval():
    values = np.random.default_rng(0).normal(size=9)
    assert jackknife(lambda rows: float(values[rows].mean()), np.arange(9)) == pytest.approx(mean(values))


def test_what_states_do_not_allow_is_left_out():
    random, states = np.random.default_rng(0), np.random.default_rng(1).normal(size=(24, 6))
    every = layer_readings(states, Asked(pairs=3, neighbours=3), random)
    bare = layer_readings(states, Asked(pairs=3, neighbours=3), np.random.default_rng(0), with_interval=False)
    assert {name: (one.value, one.value, one.value) for name, one in every.items()} == bare
    assert list(every) == [
        "unit_entropy", "unit_information", "neighbour_information", "matrix_entropy", "neighbour_dimension",
    ]  # fmt: skip
    alike = layer_readings(np.ones((24, 1)), Asked(), random)
    assert list(alike) == ["unit_entropy", "matrix_entropy"] and alike["matrix_entropy"].value == 0
    # One unit that is hundreds of times as large hides no other.
    states[:, 0] *= 1e4
    wide = np.concatenate([states[:, :1], np.random.default_rng(2).normal(size=(24, 30))], axis=1)
    assert layer_readings(wide, Asked(units=31, pairs=1, neighbours=3), random)["unit_entropy"].value > 0.5


class Nothing:
    """Checkpoints that keep nothing."""

    def load(self, name):
        return None

    def save(self, name, arrays):
        pass


@pytest.fixture(scope="module")
def model():
    return gpt2()


def test_a_language_model_is_read_beside_its_untrained_copy(model, tmp_path):
    lines = [" ".join(map(str, ids)) for ids in texts_of([12] * 20)]
    found = difflab.inspect(model, lines, tokens=8, out=tmp_path, **FEW)
    assert {row.setting["of"] for row in found.rows} == {"model", "untrained"}
    assert len(select(found.rows, "unit_entropy", of="model")) == 3
    assert len(select(found.rows, "attention_entropy", of="untrained")) == 2
    assert set(found.figures) == {"units", "shared", "spread", "dimension", "heads"} and len(found.claims) == 4
    again = difflab.inspect(model, lines, tokens=8, out=tmp_path, **FEW)
    assert again.rows == found.rows and again.folder == found.folder


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_model_that_was_never_trained_fails_all_claims(seed):
    """Its first weights are none of those that it is compared with."""
    never = build(llama().model.config, seed, llama().tokenizer)
    said = audit.claims(_rows_of(never))
    assert len(said) == 4 and not any(said.values())


def test_a_model_that_was_trained_is_told_from_all_of_them():
    said = audit.claims(_rows_of(memorizer(texts(0, 4), 150)))
    assert {name.partition(":")[0] for name, held in said.items() if held} >= {"entropy of attention"}


def _rows_of(model):
    config = replace(audit.SMOKE, model=in_memory(model), items=32, tokens=8, copies=8)
    return [row for row in audit.run(config, Nothing(), model) if isinstance(row, Row)]


def test_untrained_copies_have_first_weights_of_their_own(model):
    lines = read_texts([" ".join(map(str, ids)) for ids in texts_of([8] * 16)])
    arrays = read_language_model(model, lines, replace(audit.SMOKE, items=16, tokens=8, copies=3).reading)
    told = [parts(arrays, who).states["block 2"] for who in ("model", "untrained-0", "untrained-1", "untrained-2")]
    assert all(not np.allclose(a, b) for a, b in combinations(told, 2))
    rows = list(audit._untrained_rows([[Row("a_score", x, None, None, 9, {"layer": "b"})] for x in (1.0, 2.0, 6.0)]))
    assert rows == [Row("a_score", *one_more([1.0, 2.0, 6.0]), 3, {"layer": "b"})]


def test_mistakes_are_one_sentence(model, tmp_path, capsys):
    assert "tokens is 48" in says_one_sentence(lambda: difflab.inspect(model, tokens=48))
    assert "0 texts" in says_one_sentence(lambda: difflab.inspect(model, ["1 2 3"] * 20, tokens=8))
    assert "no token that begins" in says_one_sentence(lambda: difflab.inspect(gpt2(begin=False), tokens=8))
    assert "3 prompts" in says_one_sentence(lambda: difflab.inspect("planted", ["a", "b", "c"], items=16))
    assert "leave --tokenizer out" in says_one_sentence(lambda: difflab.inspect("planted", tokenizer=str(tmp_path)))
    assert "items is 3" in says_one_sentence(lambda: difflab.inspect("planted", items=3))
    assert "share" in says_one_sentence(lambda: difflab.inspect("planted", items=16, blocks=1.0))
    with pytest.raises(SystemExit):
        command_line.main(["inspect"])
    assert "name the model" in capsys.readouterr().err
