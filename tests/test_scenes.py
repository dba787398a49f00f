"""Drawn scenes: what a caption says is drawn, and the rest is left to chance."""

import hashlib
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthetic.data import scenes as drawn
from synthetic.data.scenes import CITIES, COLOURS, SHAPES, WORDINGS, Scenes

NAMES = list(COLOURS)
RGB = np.array(list(COLOURS.values()))


def _rows(pictures):
    return [picture.tobytes() for picture in pictures]


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
