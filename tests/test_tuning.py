"""Ways to fine-tune: what moves and what does not; and methods compared where they learned the same, by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from language_models import gpt2
from test_text_worlds import Kept

from difflab.audits.tuned_models import RATES, TuningWorld, blank, tuned
from difflab.audits.tuning_comparisons import (
    PROJECTIONS_OVER_ATTENTION,
    REFERENCE_OVER_LOSS,
    WEIGHTS_OVER_PROMPTS,
    at_gain,
    control_rows,
    difference_rows,
    epoch_rows,
    gain_rows,
    loss_at,
    size_rows,
)
from difflab.autoregressive.likelihood import predictions
from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.panels.tuning import courses_figure, gains_figure
from difflab.autoregressive.recipe import Recipe, architecture, build
from difflab.autoregressive.train import cross_entropy, train
from difflab.autoregressive.tuning import (
    ATTENTION,
    FULL,
    HEAD,
    METHODS,
    PREFIX,
    PROJECTIONS,
    PROMPT,
    PROMPTS,
    Sizes,
    adapted,
    trained_size,
)
from difflab.errors import InputError
from difflab.runs.rows import Note, Row, select
from difflab.statistics.ranking import auc
from experiments.language.finetuning_methods import SMOKE, Config

WORLD, SIZES = replace(SMOKE.world, pretraining=2, size="nano"), Sizes(4, 3, 5, 8)
ROWS = np.concatenate([np.full((8, 1), 17), np.random.default_rng(0).integers(0, 17, (8, 12))], axis=1)


@pytest.fixture(scope="module")
def model():
    config = architecture("llama", "nano", 18, 24, 17)
    config.tie_word_embeddings = False
    return build(config, 0)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_trains_its_own_weights_and_no_others(model, method):
    start = adapted(model, method, SIZES, 1)
    before = {name: weight.clone() for name, weight in start.model.named_parameters()}
    wanted = {name for name, weight in start.model.named_parameters() if weight.requires_grad}
    found = train(start, ROWS, Recipe(6, 8, RATES[method], 1, weight_decay=0.0), 0)
    moved = {name for name, weight in found.model.named_parameters() if not weight.equal(before[name])}
    # The begin of a text is never predicted and a few matrices need two steps, but nothing else may move.
    assert moved and moved <= wanted
    inner = dict(model.model.named_parameters())
    kept = {name.rpartition("base_model.")[2].removeprefix("model.").replace(".base_layer", ""): weight
            for name, weight in found.model.named_parameters() if name not in wanted}  # fmt: skip
    for name, weight in kept.items():
        assert any(weight.equal(other) for part, other in inner.items() if part.endswith(name)), name
    losses = [cross_entropy(one.model, torch.from_numpy(ROWS)).mean().item() for one in (start, found)]
    assert losses[1] < losses[0]


def test_as_much_is_trained_as_the_sizes_say(model):
    shapes = {name.split(".")[-2]: weight.shape for name, weight in model.model.named_parameters() if ".0." in name}

    def low_rank(names, rank):
        return 2 * rank * sum(sum(shapes[name]) for name in names)

    found = {method: trained_size(adapted(model, method, SIZES, 0)) for method in METHODS}
    assert found[FULL] == sum(weight.numel() for weight in model.model.parameters())
    assert found[HEAD] == 18 * 32 and found[PREFIX] == 3 * 2 * 2 * 32 and found[PROMPT] == 5 * 32
    assert found["LoRA on attention"] == low_rank(ATTENTION, 4)
    assert found["LoRA on projections"] == low_rank(PROJECTIONS, 4)
    assert found["LoRA on both"] == low_rank(ATTENTION + PROJECTIONS, 2)
    assert found["P-tuning"] == 5 * 32 + (32 * 8 + 8) + (8 * 8 + 8) + (8 * 32 + 32)


@pytest.mark.parametrize("method", METHODS)
def test_weights_start_as_the_model_and_prompts_by_their_seed(model, method):
    rows = torch.from_numpy(ROWS)
    start, again, other = (cross_entropy(adapted(model, method, SIZES, seed).model, rows) for seed in (1, 1, 2))
    assert start.equal(again)
    assert start.equal(other) == (method not in PROMPTS)
    own = cross_entropy(model.model, rows)
    assert torch.allclose(start, own, atol=1e-6) == (method not in PROMPTS)
    assert not any(weight.requires_grad for weight in model.model.parameters())


@pytest.mark.parametrize("method", METHODS)
def test_what_is_read_of_a_method_is_what_it_says_of_the_text(model, method):
    """Prompts have logits of their own, which are no word's."""
    start = adapted(model, method, SIZES, 3)
    given = torch.from_numpy(ROWS[:, :-1])
    logits = start.model(input_ids=given, attention_mask=torch.ones_like(given)).logits
    extra = {PROMPT: 5, "P-tuning": 5}.get(method, 0)
    assert logits.shape[1] == ROWS.shape[1] - 1 + extra
    truth = np.take_along_axis(logits[:, extra:].log_softmax(-1).detach().numpy(), ROWS[:, 1:, None], 2)[..., 0]
    told = predictions(start, [row[1:] for row in ROWS])
    np.testing.assert_allclose(np.stack([one.log_probs for one in told]), truth, atol=1e-5)
    loss = cross_entropy(start.model, torch.from_numpy(ROWS)).detach().numpy()
    np.testing.assert_allclose(-loss, truth, atol=1e-5)


def test_models_that_cannot_be_tuned_so_are_refused(model):
    with pytest.raises(InputError, match="give one of full, head"):
        adapted(model, "soft", SIZES, 0)
    with pytest.raises(InputError, match="is a gpt2"):
        adapted(gpt2(), FULL, SIZES, 0)
    tied = build(architecture("llama", "nano", 18, 24, 17), 0)
    with pytest.raises(InputError, match="head is its embedding"):
        adapted(tied, HEAD, SIZES, 0)


def test_members_and_twins_are_told_apart_by_scores_of_one_reading_and_kept():
    kept = Kept()
    looks = tuned([WORLD], ["prompt"], kept, 1)[WORLD, "prompt"]
    assert looks["steps"].tolist() == [0, 1, 2] and int(looks["size"]) == WORLD.beside.prompt * 32
    # By hand, of the model before fine-tuning.
    model = blank(WORLD)
    weights = kept[next(name for name in kept if name.endswith("_before"))]
    model.model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    assert isinstance(model, LanguageModel)
    texts = WORLD.texts("validation", WORLD.validation)
    rows = np.stack(model.encode(texts))
    start = adapted(model, "full", WORLD.beside, 0)
    full = tuned([WORLD], ["full"], kept, 1)[WORLD, "full"]
    told = [one.log_probs.mean() for one in predictions(start, list(rows))]
    assert full["loss"][0] == pytest.approx(-np.mean(told), abs=1e-5)
    asked = model.encode(WORLD.texts("member", 8) + WORLD.texts("twin", 8))
    values = np.array([one.log_probs.mean() for one in predictions(model, asked)])
    assert full["auc loss"][0] == auc(values, np.arange(16) < 8) and full["auc reference"][0] == 0.5


def test_a_killed_tuning_is_looked_at_as_if_it_had_not_been():
    whole = Kept()
    looks = tuned([WORLD], ["LoRA on both"], whole, 1)[WORLD, "LoRA on both"]
    broken = Kept({name: value for name, value in whole.items() if "look_1" not in name and "look_2" not in name})
    broken.pop(next(name for name in broken if name.endswith("_LoRA_on_both")))
    again = tuned([WORLD], ["LoRA on both"], broken, 1)[WORLD, "LoRA on both"]
    assert all(np.array_equal(looks[name], again[name]) for name in looks)


def looks(losses, areas, reference=None):
    n = len(losses)
    found = {"loss": losses, "steps": [0, 4, 8][:n], "exact seen": [0, 0, 0.5][:n], "exact unseen": [0] * n}
    for name in ("loss", "reference", "zlib", "min_k"):
        given = reference if name == "reference" and reference else areas
        found |= {f"auc {name}": given, f"tpr {name}": [0] * n}
    return {name: np.array(values, float) for name, values in found.items()} | {"size": np.array(7)}


def by_method(prompt=2.5, prefix=2.9, lora=0.7):
    """Full fine-tuning falls from 3 to 2; of prompts the best loss is given, of LoRA on both its last area."""
    found = dict.fromkeys(METHODS, looks([3, 2.5, 2], [0.5, 0.6, 0.8]))
    found |= {
        FULL: looks([3, 2.5, 2], [0.5, 0.6, 0.8], [0.5, 0.7, 0.9]),
        "LoRA on attention": looks([3, 2.6, 2.4], [0.5, 0.55, 0.65]),
        "LoRA on both": looks([3, 2.5, 2], [0.5, 0.58, lora]),
        "prompt": looks([3.1, 2.9, prompt], [0.5, 0.5, 0.54]),
        "prefix": looks([3.1, 3.0, prefix], [0.5, 0.5, 0.56]),
        "P-tuning": looks([3.1, 3.1, 3.0], [0.5, 0.5, 0.5]),
    }
    return {method: [found[method]] * 2 for method in METHODS}


def test_methods_are_compared_where_they_learned_the_same():
    found = by_method()
    assert loss_at(found[FULL][0], 0.5) == 2.5
    assert at_gain(found, FULL, "auc loss", 0.25) == pytest.approx([0.55] * 2)
    assert at_gain(found, "prompt", "auc loss", 0.5) == [0.54] * 2
    assert at_gain(found, "LoRA on attention", "auc loss", 0.5) == pytest.approx([0.6] * 2)
    assert np.isnan(at_gain(found, "prefix", "auc loss", 0.5)).all()
    gaps = {row.setting["of"]: row.value for row in difference_rows(found, "tiny", 0.5)}
    assert gaps == {
        WEIGHTS_OVER_PROMPTS: pytest.approx(0.58 - 0.54), PROJECTIONS_OVER_ATTENTION: pytest.approx(0.6 - 0.6),
        REFERENCE_OVER_LOSS: pytest.approx(0.7 - 0.6),
    }  # fmt: skip
    # At a gain of 0.1 the prefix gets there, too, and betrays more than the prompt.
    gaps = {row.setting["of"]: row.value for row in difference_rows(found, "tiny", 0.1)}
    assert gaps[WEIGHTS_OVER_PROMPTS] == pytest.approx(0.516 - 0.56)


def test_who_does_not_get_there_is_said_and_not_compared():
    found = by_method(prompt=2.6)
    rows = list(gain_rows(found, "tiny", 0.5))
    notes = [row.sentence for row in rows if isinstance(row, Note)]
    assert notes == [
        f"{method}, tiny: a gain of 0.5 is reached in 0 of 2 worlds; nothing is said of it there." for method in PROMPTS
    ]
    rows = [row for row in rows if not isinstance(row, Note)]
    reached = {row.setting["method"]: row.value for row in select(rows, "reached_fraction")}
    assert reached == {method: float(method not in PROMPTS) for method in METHODS}
    assert {row.setting["method"] for row in select(rows, "gain_auc")} == set(METHODS) - set(PROMPTS)
    assert WEIGHTS_OVER_PROMPTS not in {row.setting["of"] for row in difference_rows(found, "tiny", 0.5)}
    found["prompt"] = [by_method()["prompt"][0], found["prompt"][0]]
    notes = [row.sentence for row in gain_rows(found, "tiny", 0.5) if isinstance(row, Note)]
    assert "reached in 1 of 2 worlds; nothing is said" in " ".join(notes)


@pytest.mark.parametrize("n", [1, 4, 7])
def test_a_figure_shows_every_gain_and_every_method(n):
    rows = []
    for method in (methods := [f"method {i}" for i in range(10)]):
        for gain in (gains := [i / 10 for i in range(n)]):
            here = {"size": "s", "method": method, "gain": gain}
            rows.append(Row("reached_fraction", 1.0, 0.5, 1.0, 3, here))
            rows.append(Row("gain_auc", 0.6, 0.5, 0.7, 3, here | {"score": "loss"}))
        at = {"size": "s", "method": method, "epoch": 1}
        rows += [Row("auc", 0.6, 0.5, 0.7, 3, at | {"score": "loss"}), Row("validation_loss", 2.0, 1.0, 3.0, 3, at)]
    (ax,) = gains_figure(rows).axes
    labels = [one.get_label() for one in ax.containers]
    assert labels == [f"{gain:.0%} of what full fine-tuning gains" for gain in gains]
    heights = np.array([one.lines[0].get_ydata() for one in ax.containers], float)
    assert len(np.unique(np.round(heights, 6))) == n * len(methods) and np.abs(heights - np.arange(10)).max() < 0.5
    (ax,) = courses_figure(rows).axes
    assert [line.get_label() for line in ax.lines[:10]] == methods


def test_epochs_sizes_and_controls_are_rows():
    found, world = by_method(), replace(WORLD, members=32, steps=(0, 4, 8))
    rows = list(epoch_rows(found, world))
    (area,) = select(rows, "auc", method=FULL, epoch=2, score="reference")
    (growth,) = select(rows, "growth_difference", method="prompt")
    (back,) = select(rows, "extracted_fraction", method=FULL, epoch=2, texts="seen")
    assert area.value == pytest.approx(0.9) and growth.value == pytest.approx(0.04)
    assert (back.value, back.n) == (0.5, 64) and back.low < 0.5 < back.high
    larger = by_method() | {FULL: [looks([4, 3, 2], [0.5, 0.7, 0.9])] * 2}
    (gap,) = [row for row in size_rows(found, larger, ("nano", "tiny"), 0.5) if row.setting["method"] == FULL]
    assert gap.value == pytest.approx(0.7 - 0.6)
    assert [row.value for row in control_rows(found, "tiny")] == [0.5] * 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sizes": ("tiny", "nano")}, "in this order"),
        ({"gains": (0.0, 0.5)}, "shares above 0"),
        ({"gains": (1.1,)}, "at most 1"),
        ({"seeds": 1}, "seeds is 1"),
    ],
)
def test_configs_that_make_no_sense_are_refused(change, said):
    with pytest.raises(InputError, match=said):
        replace(Config(), **change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"members": 65}, "give a multiple of batch"),
        ({"steps": (1, 4, 8)}, "give 0, 4, which are one epoch, and more"),
        ({"steps": (0, 3, 8)}, "give 0, 4"),
        ({"steps": (0, 4)}, "and more"),
        ({"steps": (0, 8, 4)}, "ascending"),
        ({"prefix": 32}, "fewer than the 32 words"),
        ({"beside": Sizes(0)}, "at least 1 of each"),
        ({"size": "huge"}, "give one of nano"),
    ],
)
def test_worlds_that_make_no_sense_are_refused(change, said):
    with pytest.raises(InputError, match=said):
        replace(TuningWorld(), **change)
