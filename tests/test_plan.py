"""Plans: what a plan says was planted was planted, and nothing else."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from difflab.errors import InputError
from synthetic import plan as plans
from synthetic.data import scenes as drawn
from synthetic.data.emoji import emoji
from synthetic.data.scenes import CITIES
from synthetic.foreground import foreground
from synthetic.plan import ROLES, Plan, draw


def _says(error, *parts):
    text = str(error.value)
    assert "\n" not in text
    assert text.endswith(".")
    for part in parts:
        assert part in text


def _rows(pictures):
    return [picture.tobytes() for picture in pictures]


SMALL = Plan(unique=50, held_out=40, layouts=3, regions=4, recaptioned=3, rewordings=9, family_copies=12)
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
        ("recaptioned", "scene"): 27,
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
    assert len(rows) == 12 * 341 + 27 + 36 + 48 + len(planted.where("unique"))


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
    # With two cities, three colours and one shape there are twelve captions, of which at most ten are taken.
    true_scenes = drawn.scenes

    def few(generator, n):
        scene = true_scenes(generator, n)
        ground = scene.ground % 3
        colour = np.repeat((ground[:, None] + 1 + generator.integers(2, size=(n, 1))) % 3, 5, axis=1)
        return scene._replace(ground=ground, colour=colour, shape=scene.shape * 0, city=scene.city % 2)

    monkeypatch.setattr(drawn, "scenes", few)
    plan = Plan(ladder=(1,), per_rung=8, recaptioned=0, layouts=1, regions=1, twins=0, held_out=4, unique=30)
    planted = draw(plan)
    captions = [planted.listed[planted.where(role)[0]].caption for role in ("layout", "region")]
    captions += planted.captions(planted.where("repeated", source="scene"))
    assert len(set(captions)) == 6
    assert set(captions).isdisjoint(planted.captions(planted.where("unique", "held_out")))


def test_no_unique_picture_has_the_caption_of_a_held_out_one(default):
    held_out, unique = default.where("held_out"), default.where("unique")
    assert set(default.captions(held_out)).isdisjoint(default.captions(unique))


def test_recaptioned_pictures_are_one_picture_under_many_captions(planted):
    for index in _families(planted, "recaptioned").values():
        pictures = planted.pictures(index)
        assert (pictures == pictures[0]).all()
        captions = planted.captions(index)
        assert len(set(captions)) == len(captions) == 9
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


def test_pictures_shown_once_keep_their_first_row_and_all_others_theirs(planted):
    targets = planted.where("repeated")
    rows, once = planted.training(), planted.training(without=targets, once=True)
    places = {i: int(np.flatnonzero(rows == i)[0]) for i in targets}
    for i, first in places.items():
        assert np.flatnonzero(once == i).tolist() == [first]
    kept = ~np.isin(rows, targets)
    np.testing.assert_array_equal(once[kept], rows[kept])
    emptied = np.setdiff1d(np.flatnonzero(~kept), [*places.values()])
    assert np.isin(once[emptied], planted.where("unique")).all()
    assert np.unique(planted.material(targets, once=True)[2]).size == np.unique(rows).size


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


def test_the_scenes_are_the_same_with_fewer_emoji(monkeypatch):
    known, many = emoji(16), draw(TINY)
    fewer = known._replace(captions=known.captions[:-100], pictures=known.pictures[:-100])
    monkeypatch.setattr(plans, "emoji", lambda side: fewer)
    # Not the list that was drawn a moment ago.
    few = draw.__wrapped__(TINY)
    assert len(few.listed) == len(many.listed) - 100
    for field, again in zip(many.scene, few.scene, strict=True):
        np.testing.assert_array_equal(field, again)
    np.testing.assert_array_equal(many.region, few.region)
    for role in ROLES:
        assert few.captions(few.where(role, source="scene")) == many.captions(many.where(role, source="scene"))


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
        ({"rewordings": 0}, "negative"),
        ({"twins": len(CITIES)}, "other cities"),
        ({"rewordings": 3 * len(CITIES) + 1}, f"one picture has {3 * len(CITIES)} captions"),
    ],
)
def test_a_plan_that_makes_no_sense(changes, says):
    with pytest.raises(InputError) as error:
        Plan(**changes)
    _says(error, says)


def test_families_may_have_more_members_than_a_picture_has_captions():
    assert Plan(family_copies=500).family_copies == 500


def test_a_picture_may_have_every_caption_that_there_is():
    planted = draw(replace(TINY, rewordings=3 * len(CITIES)))
    assert len(set(planted.captions(planted.where("recaptioned")))) == 3 * len(CITIES)


def test_a_plan_of_more_emoji_than_there_are():
    with pytest.raises(InputError) as error:
        draw(Plan(twins=60, unique=5, held_out=20))
    _says(error, str(30 * 61 + 1), str(len(emoji(32).captions)))


def test_a_role_that_there_is_not(planted):
    with pytest.raises(InputError) as error:
        planted.where("repeated", "twins")
    _says(error, "twins", "held_out")


def test_the_foreground_is_what_objects_changed(planted):
    """Of scenes whatever differs from the ground behind them, of emoji whatever is not white."""
    places = np.r_[planted.where("repeated")[:8], planted.where("repeated", source="emoji")[:8]]
    found, pictures = foreground(planted, places), planted.pictures(places)
    for place, inside, picture in zip(places, found, pictures, strict=True):
        if planted.listed[place].source == "emoji":
            np.testing.assert_array_equal(inside, picture.min(axis=-1) < 255)
            continue
        scene = _scene(planted, [place])
        bare = scene._replace(place=np.where([True, True, False, True], scene.place, 1e-9))
        ground = drawn.pictures(bare, planted.plan.side)[0]
        np.testing.assert_array_equal(inside, (picture != ground).any(axis=-1))
        assert 0.02 < inside.mean() < 0.98
