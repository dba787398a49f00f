"""Manifests: they state what was planted, and whatever differs from them is found and named."""

import copy
import hashlib
from collections import Counter
from dataclasses import asdict, replace

import numpy as np
import pytest

from difflab.errors import InputError
from difflab.files import json_bytes
from synthetic import manifest as manifests
from synthetic import plan as plans
from synthetic.data.emoji import ATTRIBUTION, emoji
from synthetic.plan import ROLES, Plan, draw

TINY = Plan(
    side=16,
    ladder=(1, 3),
    per_rung=2,
    recaptioned=1,
    rewordings=5,
    layouts=1,
    regions=1,
    family_copies=4,
    unique=6,
    held_out=20,
    twins=2,
)


def _says(error, *parts):
    text = str(error.value)
    assert "\n" not in text
    assert text.endswith(".")
    for part in parts:
        assert part in text


@pytest.fixture(scope="module")
def tiny():
    planted = draw(TINY)
    return planted, manifests.manifest(planted)


def test_a_manifest_comes_back_as_it_was(tiny, tmp_path):
    planted, stated = tiny
    manifests.write(tmp_path / "new" / "manifest.json", stated)
    found = manifests.read(tmp_path / "new" / "manifest.json")
    assert found == stated
    manifests.check(planted, found)
    assert Plan(**{**found["plan"], "ladder": tuple(found["plan"]["ladder"])}) == TINY


def test_a_manifest_states_every_planted_picture_and_twin(tiny):
    planted, stated = tiny
    assert stated["attribution"] == ATTRIBUTION
    assert stated["plan"] == {**asdict(TINY), "ladder": [1, 3]}
    assert stated["counts"] == Counter(picture.role for picture in planted.listed)
    listed, place = [], 0
    for family in stated["families"]:
        captions = family["captions"] * (family["count"] if len(family["captions"]) == 1 else 1)
        listed += [(family["role"], family["family"], family["source"], family["copies"], c) for c in captions]
        members = planted.pictures(np.arange(place, place + family["count"]))
        assert family["pixels"] == hashlib.sha256(members.tobytes()).hexdigest()
        place += family["count"]
    assert listed == [tuple(picture) for picture in planted.listed[:place]]
    assert {picture.role for picture in planted.listed[place:]} == {"held_out", "unique"}
    for other in stated["others"]:
        index = planted.where(other["role"], source=other["source"])
        assert other["count"] == len(index)
        assert other["captions"] == hashlib.sha256("\n".join(planted.captions(index)).encode()).hexdigest()
        assert other["pixels"] == hashlib.sha256(planted.pictures(index[:256]).tobytes()).hexdigest()


def test_the_manifest_of_the_shipped_plan_is_small():
    assert len(json_bytes(manifests.manifest(draw(Plan())))) < 150_000


def _leaves(value, path=()):
    if isinstance(value, dict | list):
        for name, entry in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(entry, (*path, name))
    else:
        yield path


def test_a_manifest_that_differs_anywhere_is_found(tiny, monkeypatch):
    planted, stated = tiny
    monkeypatch.setattr(manifests, "manifest", lambda planted: stated)
    paths = list(_leaves(stated))
    assert len(paths) > 100
    for path in paths:
        for new in ("other", 12345, None):
            changed = copy.deepcopy(stated)
            inner = changed
            for name in path[:-1]:
                inner = inner[name]
            inner[path[-1]] = new
            # A number that may be None, and is.
            if changed == stated:
                continue
            with pytest.raises(InputError) as error:
                manifests.check(planted, changed)
            _says(error, path[0], "in the manifest")
            if isinstance(path[-1], str):
                _says(error, path[-1])


@pytest.mark.parametrize("name", ["plan", "counts", "families", "others"])
@pytest.mark.parametrize("value", [None, [], {}, "text", 3, [3], {"a": 1}])
def test_a_manifest_with_another_shape_is_found(tiny, monkeypatch, name, value):
    planted, stated = tiny
    monkeypatch.setattr(manifests, "manifest", lambda planted: stated)
    for changed in ({**stated, name: value}, {key: entry for key, entry in stated.items() if key != name}):
        with pytest.raises(InputError) as error:
            manifests.check(planted, changed)
        _says(error, name)


@pytest.mark.parametrize("role", ROLES)
def test_a_changed_caption_is_found(tiny, role):
    planted, stated = tiny
    last = planted.where(role)[-1]
    listed = list(planted.listed)
    listed[last] = listed[last]._replace(caption="another one")
    with pytest.raises(InputError) as error:
        manifests.check(replace(planted, listed=tuple(listed)), stated)
    _says(error, role, "captions")


@pytest.mark.parametrize("role", ROLES)
def test_a_changed_scene_is_found(tiny, role):
    planted, stated = tiny
    last = planted.where(role, source="scene")[-1]
    row = sum(picture.source == "scene" for picture in planted.listed[:last])
    tint = planted.scene.tint.copy()
    tint[row] += 0.01
    with pytest.raises(InputError) as error:
        manifests.check(replace(planted, scene=planted.scene._replace(tint=tint)), stated)
    _says(error, role, "scene", "pixels")
    assert "Pillow" not in str(error.value)


@pytest.mark.parametrize("role", ["repeated", "twin", "held_out", "unique"])
def test_an_emoji_that_is_drawn_a_little_differently_is_found_and_explained(tiny, monkeypatch, role):
    planted, stated = tiny
    known = emoji(16)
    pictures = known.pictures.copy()
    pictures[planted.glyph[planted.where(role, source="emoji")[0]], 5, 5, 1] ^= 1
    monkeypatch.setattr(plans, "emoji", lambda side: known._replace(pictures=pictures))
    with pytest.raises(InputError) as error:
        manifests.check(planted, stated)
    _says(error, role, "emoji", "pixels", "Pillow", "FreeType")


def test_another_plan_is_named_by_what_it_changes(tiny):
    _, stated = tiny
    with pytest.raises(InputError) as error:
        manifests.check(draw(replace(TINY, seed=5)), stated)
    _says(error, "plan, seed is 5 here, but 0 in the manifest")


def test_one_more_unique_picture_is_found(tiny):
    planted, stated = tiny
    stated = copy.deepcopy(stated)
    stated["counts"]["unique"] += 1
    with pytest.raises(InputError) as error:
        manifests.check(planted, stated)
    _says(error, "counts, unique", "FreeType")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]", b"3", b"[" * 100_000])
def test_a_file_that_is_no_manifest(tmp_path, content):
    path = tmp_path / "manifest.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        manifests.read(path)
    _says(error, str(path))


def test_a_manifest_that_is_missing(tmp_path):
    with pytest.raises(InputError) as error:
        manifests.read(tmp_path / "nowhere.json")
    _says(error, "nowhere.json")
