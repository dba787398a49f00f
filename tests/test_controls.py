"""A picture that was trained on is no control, in whatever file it lies."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from difflab.audits.controls import apart_from
from difflab.audits.members import of_folders
from difflab.audits.pipeline_training import listed_rows
from difflab.audits.searches import ordinary
from difflab.audits.worlds import OnWorld, Targets, open_world
from difflab.datasets import near_copies
from difflab.datasets.captioned import captioned
from difflab.errors import InputError
from synthetic.plan import Plan, draw

FLAGS = ("--seen", "--unseen")


@pytest.fixture(scope="module")
def scenes():
    plan = draw(Plan(unique=70, held_out=0, emoji=0, recaptioned=0, layouts=0, regions=0, per_rung=2, ladder=(1,)))
    return plan.pictures(plan.where("unique"))


def _stored(picture, quality):
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))


def _set(pictures, name):
    return captioned(
        pictures, [f"{name} {i}" for i in range(len(pictures))], [f"{name}{i}" for i in range(len(pictures))]
    )


def test_near_copies_of_targets_leave_the_controls(scenes):
    seen = _set(scenes[:30], "a")
    again = np.stack([_stored(scenes[4], 90), *scenes[30:40], _stored(scenes[7], 60)])
    found, notes = apart_from(seen, _set(again, "b"), FLAGS)
    assert found.names == tuple(f"b{i}" for i in range(1, 11)) and found.captions[0] == "b 1"
    np.testing.assert_array_equal(found.pictures, scenes[30:40])
    told = "2 pictures of --unseen are left out: they are near-copies of pictures of --seen (b0 of a4)."
    assert [note.sentence for note in notes] == [told]
    others = _set(scenes[30:], "b")
    assert apart_from(seen, others, FLAGS) == (others, [])


def test_the_picture_itself_and_controls_that_are_all_near_copies_are_refused(scenes):
    seen, again = _set(scenes[:30], "a"), np.stack([_stored(one, 80) for one in scenes[:5]])
    with pytest.raises(InputError, match=r"1 pictures of --seen lie in --unseen, too \(a9 and b1\)"):
        apart_from(seen, _set(np.stack([again[0], scenes[9]]), "b"), FLAGS)
    with pytest.raises(InputError, match="every picture of --unseen is like one of --seen"):
        apart_from(seen, _set(again, "b"), FLAGS)


def test_a_member_saved_anew_is_no_non_member(scenes):
    outside = np.concatenate([scenes[30:60], np.stack([_stored(one, 85) for one in scenes[:3]])])
    items = of_folders(_set(scenes[:30], "a"), _set(outside, "b"), 1000, 0)
    assert len(items.captions) == 60 and not {"b 30", "b 31", "b 32"} & set(items.captions)
    assert "3 pictures of --non-members are left out" in items.left_out[0].sentence


def test_a_target_saved_anew_is_no_control_of_a_stressed_defense(scenes, tmp_path):
    for name, pictures in (("images", scenes[:10]), ("never", [_stored(scenes[2], 90), *scenes[10:]])):
        (tmp_path / name).mkdir()
        for i, picture in enumerate(pictures):
            Image.fromarray(picture).save(tmp_path / name / f"{i}.png")
        lines = "".join(f'{{"file_name": "{i}.png", "text": "{name} {i}"}}\n' for i in range(len(pictures)))
        (tmp_path / name / "metadata.jsonl").write_text(lines)
    config = OnWorld(
        images=str(tmp_path / "images"), never=str(tmp_path / "never"), targets=3, held_out=4, device="cpu"
    )
    world = open_world(config)
    assert world.groups["never"].captions == ("never 1", "never 2", "never 3") and len(world.unseen) == 60
    assert "1 pictures of --never are left out" in world.left_out[0].sentence
    # What an attack relearns from holds no near-copy of what is attacked either.
    again = np.concatenate([world.retained.pictures, _stored(world.groups["never"].pictures[0], 90)[None]])
    more = world._replace(retained=Targets(again, (*world.retained.captions, "again")))
    assert "again" not in ordinary(more).captions and ordinary(more).captions == list(world.retained.captions)


def test_an_oracle_is_not_trained_on_a_near_copy_of_what_is_left_out(scenes):
    found = _set(np.concatenate([scenes[:5], _stored(scenes[2], 90)[None], scenes[3:4]]), "a")
    assert listed_rows(found, ["a1"], "data").tolist() == [0, 0, 2, 3, 4, 5, 6]
    assert listed_rows(found, ["a2", "a5"], "data").tolist() == [0, 1, 0, 3, 4, 1, 6]
    for left_out, told in (("a2", "a5 of data is a near-copy of a2"), ("a6", "a3 of data is a near-copy of a6")):
        with pytest.raises(InputError, match=told):
            listed_rows(found, [left_out], "data")


def test_pictures_by_the_thousand_are_compared_as_few_are(scenes, monkeypatch):
    again = np.stack([_stored(scenes[i], 90) for i in (1, 5, 60)])
    whole = near_copies.near_copies(again, scenes), near_copies.different(np.concatenate([scenes, again])).tolist()
    assert whole == ({0: 1, 1: 5, 2: 60}, list(range(70)))
    monkeypatch.setattr(near_copies, "_ROWS", 7)
    monkeypatch.setattr(near_copies, "_PAIRS", 2)
    assert whole == (
        near_copies.near_copies(again, scenes), near_copies.different(np.concatenate([scenes, again])).tolist()
    )  # fmt: skip


def test_every_experiment_on_a_world_says_what_it_left_out():
    sources = [path.read_text("utf-8") for path in (Path(__file__).parents[1] / "experiments").glob("*/*.py")]
    on_worlds = [source for source in sources if "open_world(" in source]
    assert len(on_worlds) >= 6 and all("yield from world.left_out" in source for source in on_worlds)


def test_the_first_of_several_near_copies_is_named_and_equal_ones_are_met_once(scenes):
    others = np.concatenate([scenes[5:6], scenes[:3], scenes[:1]])
    assert near_copies.near_copies(scenes[:4], others) == {0: 1, 1: 2, 2: 3}
    twice = np.concatenate([scenes[:3], scenes[:3]])
    assert near_copies.different(twice, scenes[2:5]).tolist() == [0, 1, 2, 7, 8]
