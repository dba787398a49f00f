"""The regimes: what a cell's training set holds, what its oracle never saw, and a text encoder that learned as CLIP."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from difflab.audits import regimes
from difflab.audits.pretrained_text import paired, pretrained_text
from difflab.audits.regimes import Cell, begun, cell_plan, materials
from difflab.clip.model import embed_images, embed_texts, prepared
from difflab.clip.train import Training as ClipTraining
from difflab.clip.train import train
from difflab.diffusion.architecture import Architecture, build
from difflab.diffusion.generate import embed
from difflab.errors import InputError
from difflab.runs.resuming import key
from difflab.runs.rows import Row, select
from experiments.diffusion import regime
from experiments.diffusion.regime import SMOKE, Config
from synthetic import plan as plans

TWO = replace(SMOKE, texts=("joint",), worlds=2)
CELL = Cell("joint", 0.3, "epsilon", 4)
TINY = ClipTraining(steps=60, batch=32, rate=3e-3, warmup=5)


class Memory(dict):
    """Checkpoints in memory that can be stopped."""

    stops_after = None

    def load(self, name):
        return {key: value.copy() for key, value in self[name].items()} if name in self else None

    def save(self, name, arrays):
        self[name] = {key: np.array(value) for key, value in arrays.items()}
        if name == self.stops_after:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def memory():
    return Memory()


@pytest.fixture(scope="module")
def begin(memory):
    return begun(SMOKE, 0, memory)


@pytest.fixture(scope="module")
def rows(memory):
    return list(regime.run(TWO, memory))


@pytest.fixture(scope="module")
def learned():
    """Pictures of one colour each, named after it, and a CLIP around a pipeline's encoder that was trained on them."""
    names = ["red", "green", "blue", "grey"]
    colours = np.array([[200, 20, 20], [20, 180, 20], [20, 20, 200], [128, 128, 128]])
    places = np.random.default_rng(0).integers(4, size=128)
    grain = np.random.default_rng(1).integers(-20, 20, (128, 16, 16, 3))
    pictures = (colours[places][:, None, None] + grain).clip(0, 255).astype(np.uint8)
    captions = [f"{names[place]} paper" for place in places]
    pipeline = build(captions, Architecture(side=16, widths=(16,)), 0)
    clip = paired(pipeline, 16, 0)
    train(clip, pictures, captions, np.arange(128), TINY)
    return pipeline, clip, pictures, captions, names


@pytest.mark.parametrize("cell", Config().cells(), ids=lambda cell: cell.name)
def test_repeated_pictures_fill_the_share(cell):
    config = Config()
    plan = cell_plan(config, 5, cell)
    planted = plan.per_rung * cell.copies
    assert plan.ladder == (cell.copies,) and plan.seed == 5
    assert planted / (planted + plan.unique + plan.emoji) == pytest.approx(cell.share, rel=1e-3)


def test_the_grid_has_every_cell_once():
    cells = Config().cells()
    assert len(cells) == len({cell.name for cell in cells}) == 24


def test_the_training_set_is_as_large_as_the_share_says():
    material = materials(SMOKE, 0, CELL)["model"]
    counts = np.sort(np.bincount(material.rows))
    assert counts[-2:].tolist() == [4, 4] and set(counts[:-2]) == {1}
    assert 8 / len(material.rows) == pytest.approx(0.3, abs=0.01)


def test_no_repeated_picture_and_no_caption_of_one_is_shown_to_the_oracle_or_to_what_cells_share(begin):
    planted = begin.planted
    index = planted.where("repeated", "twin", "held_out")
    secret = {picture.tobytes() for picture in planted.pictures(index)}
    named = set(planted.captions(planted.where("repeated")))
    both = materials(SMOKE, 0, CELL)
    seen = {picture.tobytes() for picture in both["model"].pictures}
    repeated = {picture.tobytes() for picture in planted.pictures(planted.where("repeated"))}
    assert repeated <= seen and not seen & (secret - repeated)
    for material in (both["oracle"], begin.material):
        assert not secret & {picture.tobytes() for picture in material.pictures}
        assert not named & set(material.captions)
    assert len(both["oracle"].rows) == len(both["model"].rows)


def test_worlds_have_pictures_of_their_own_and_cells_of_one_world_share_them():
    first, same, other = (
        plans.draw(cell_plan(SMOKE, world, cell))
        for world, cell in ((0, CELL), (0, CELL._replace(copies=8, share=0.1)), (1, CELL))
    )
    pictures = [planted.pictures(planted.where("repeated")) for planted in (first, same, other)]
    assert (pictures[0] == pictures[1]).all() and (pictures[0] != pictures[2]).any()


def test_the_pretrained_encoder_tells_which_caption_belongs_to_a_picture(learned):
    pipeline, clip, pictures, captions, names = learned
    untrained = paired(pipeline, 16, 0)
    right = np.array([names.index(caption.split()[0]) for caption in captions])
    asked = [f"{name} paper" for name in names]

    def found(model):
        alike = embed_images(model, prepared(model, pictures)) @ embed_texts(model, asked).T
        return (alike.argmax(axis=1) == right).mean()

    assert found(clip) > 0.95 > 0.7 > found(untrained)


def test_the_pipeline_embeds_captions_as_the_trained_tower_does(learned):
    pipeline, clip, pictures, captions, _ = learned
    before = {name: value.clone() for name, value in pipeline.text_encoder.state_dict().items()}
    memory = Memory()
    taught = pretrained_text(pipeline, pictures, captions, TINY, memory)
    states = embed(taught, captions[:8])
    ids = clip.tokenizer(captions[:8])
    with torch.no_grad():
        assert torch.equal(states, clip.model.text(input_ids=ids).last_hidden_state)
        end = states[torch.arange(8), (ids == pipeline.tokenizer.eos_token_id).int().argmax(dim=1)]
        assert torch.allclose(clip.model.projection(end), clip.model.encode_text(ids), atol=1e-5)
    assert not torch.allclose(states, embed(pipeline, captions[:8]), atol=0.1)
    assert all(torch.equal(value, before[name]) for name, value in pipeline.text_encoder.state_dict().items())
    # Kept: the second time nothing is trained.
    steps_would_fail = replace(TINY, rate=1e9)
    again = pretrained_text(pipeline, pictures, captions, steps_would_fail, memory)
    assert torch.equal(embed(again, captions[:8]), states)


@pytest.mark.parametrize("text", regimes.TEXTS)
def test_a_cell_trains_what_it_says(begin, memory, text):
    """Both predictions, each with its oracle; the text encoder moves where it is trained, and only there."""
    config, first = replace(SMOKE, texts=(text,)), embed(begin.pipeline, ["red"])
    weights = []
    for prediction in ("epsilon", "v_prediction"):
        cell = Cell(text, 0.3, prediction, 4)
        for name, pipeline in regimes.both(config, 0, cell, begin, Memory(memory)):
            assert pipeline.scheduler.config.prediction_type == prediction
            moved = not torch.equal(embed(pipeline, ["red"]), first)
            assert moved == (text != "random")
            assert pipeline.vae is begin.pipeline.vae
            weights.append(pipeline.unet.state_dict()["conv_in.weight"])
            assert name in ("model", "oracle")
    assert len({weight.numpy().tobytes() for weight in weights}) == 4
    assert torch.equal(embed(begin.pipeline, ["red"]), first)


def test_every_cell_has_its_rows_over_all_worlds(rows):
    found = [row for row in rows if isinstance(row, Row)]
    cells = [cell.name for cell in TWO.cells()]
    for cell in cells:
        rates = select(found, "memorized_fraction", cell=cell)
        told = {(row.setting["defense"], row.setting["attack"], row.setting["role"]) for row in rates}
        plain = {(d, "nothing", role) for d in regime_defenses() for role in ("repeated", "twin")}
        searched = {("nemo", "dori", "repeated"), ("nemo", "dori", "twin"), ("nothing", "dori", "oracle")}
        assert told == plain | searched | {("nothing", "nothing", "oracle")} and len(rates) == len(told)
        assert all(row.n == 4 and row.worlds_sd is not None for row in rates)
        for metric in ("stopped_fraction", "brought_back_fraction", "planted_fraction"):
            assert len(select(found, metric, cell=cell)) == 1
        assert len(select(found, "held_out_ratio", cell=cell)) == 4
    assert len(select(found, "passed_fraction")) == 1


def regime_defenses():
    return ("nothing", "nemo", "random_neurons", "wanda")


def test_what_is_brought_back_was_stopped():
    """Of four pictures the first is never memorized, the second stays, the third comes back, the fourth does not."""
    arrays = {"limit": np.array(0.5), "sizes nemo": np.ones(4), "losses nothing": np.ones(4)}
    for way, drawn in (("nothing nothing", "0111"), ("nemo nothing", "1100"), ("nemo dori", "1110")):
        arrays[f"alike {way} repeated"] = np.repeat([[float(one)] for one in drawn], 3, axis=1)
    found = list(regime._rows(SMOKE, CELL, arrays))
    assert select(found, "stopped_fraction")[0].value == 0.5
    assert select(found, "brought_back_fraction")[0].value == 0.25


def test_a_killed_run_does_no_cell_twice(rows, memory, monkeypatch):
    cells = [name for name in memory if name.startswith("cell")]
    assert len(cells) == 2
    half = Memory({name: arrays for name, arrays in memory.items() if name not in cells})
    half.stops_after = cells[0]
    asked = []

    def same_again(config, world, cell, checkpoints):
        asked.append((world, cell.text))
        return memory.load(key("cell", world, *cell))

    monkeypatch.setattr(regime, "_cell", same_again)
    with pytest.raises(KeyboardInterrupt):
        list(regime.run(TWO, half))
    half.stops_after = None
    assert list(regime.run(TWO, half)) == rows
    assert asked == [(0, "joint"), (1, "joint")]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"texts": ("frozen",)}, "texts is ('frozen',); give some of random, clip, joint."),
        ({"shares": (0.0,)}, "each lies between 0 and 1"),
        ({"copies": ()}, "copies is (); give at least one"),
        ({"copies": (4, 4)}, "none twice"),
        ({"predictions": ("x",)}, "epsilon or v_prediction"),
        ({"shares": (0.9,)}, "are seen once; give fewer emoji than that."),
        ({"worlds": 0}, "worlds is 0"),
    ],
)
def test_bad_grids_are_told_before_anything_is_drawn(changes, said):
    with pytest.raises(InputError, match=re.escape(said)):
        replace(SMOKE, **changes)
