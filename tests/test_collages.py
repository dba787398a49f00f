"""Collages: what a caption names is there, what it hides is independent of it, and the chances are the exact ones."""

import hashlib

import numpy as np
import pytest

from difflab.errors import InputError
from synthetic.data import collages as drawn
from synthetic.data.collages import KEYS, World, collages
from synthetic.data.scenes import COLOURS

PLAIN = World()
WORLDS = {
    "shapes": PLAIN,
    "few": World(classes=10, objects=4, named=1, grid=2),
    "emoji": World(source="emoji", cell=12, classes=40),
    "correlated": World(correlation=0.6),
    "rare": World(rare=20),
    "both": World(classes=24, correlation=0.4, rare=12),
}


def _draw(world, n, seed=0, sharing=1):
    return collages(np.random.default_rng(seed), n, world, sharing)


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_a_caption_says_what_it_names_and_nothing_else(world):
    found, names = _draw(world, 50), drawn.names(world)
    held, named = drawn.held(found, world), drawn.named(found, world)
    assert (held.sum(axis=1) == world.objects).all() and (named.sum(axis=1) == world.named).all()
    assert (held & named == named).all()
    for caption, classes, keys in zip(found.captions, found.classes, found.keys, strict=True):
        assert len(set(classes.tolist())) == world.objects and len(set(keys.tolist())) == world.keys
        told = " ".join([KEYS[k] for k in keys] + [names[c] for c in classes[: world.named]])
        assert caption == told
        assert set(caption.split()) <= set(drawn.words(world))
    assert len(set(names)) == world.classes and len(set(drawn.words(world))) == len(drawn.words(world))


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_the_expected_chances_are_the_frequencies(world):
    n = 2500
    found = _draw(world, n, seed=1)
    chances = drawn.expected(found, world)
    named = drawn.named(found, world)
    assert (chances[named] == 0).all() and (chances >= 0).all() and (chances <= 1 + 1e-12).all()
    np.testing.assert_allclose(chances.sum(axis=1), world.objects - world.named)
    hidden = (drawn.held(found, world) & ~named).astype(float)
    # By class, and by how likely each was said to be.
    error = hidden - chances
    assert (np.abs(error.mean(axis=0)) < 4.5 * error.std(axis=0) / n**0.5 + 1e-9).all()
    for level in np.unique(chances.round(9)):
        here = np.isclose(chances, level) & ~named
        if here.sum() > 300:
            spread = max(level * (1 - level), 1e-4) ** 0.5
            assert abs(hidden[here].mean() - level) < 5 * spread / here.sum() ** 0.5


def test_without_correlation_all_hidden_classes_are_equally_likely():
    chances = drawn.expected(_draw(PLAIN, 20), PLAIN)
    named = drawn.named(_draw(PLAIN, 20), PLAIN)
    np.testing.assert_allclose(chances[~named], 3 / 62)


def test_with_certain_correlation_the_partners_are_there():
    world = World(correlation=1.0)
    found = _draw(world, 200)
    chances, held = drawn.expected(found, world), drawn.held(found, world)
    assert held[np.isclose(chances, 1)].all() and (np.isclose(chances, 1).sum(axis=1) >= 1).all()


def test_hidden_objects_do_not_depend_on_key_words():
    found = _draw(PLAIN, 8_000, seed=2)
    hidden = drawn.held(found, PLAIN) & ~drawn.named(found, PLAIN)
    keyed = np.zeros((len(found.keys), len(KEYS)))
    np.put_along_axis(keyed, found.keys, 1.0, axis=1)
    correlations = np.corrcoef(keyed.T, hidden.T.astype(float))[: len(KEYS), len(KEYS) :]
    assert np.abs(correlations).max() < 5 / 8_000**0.5


def test_key_words_are_shared_by_neighbours_only():
    found = _draw(PLAIN, 12, sharing=4)
    keys = [tuple(row) for row in found.keys.tolist()]
    assert keys == [keys[0]] * 4 + [keys[4]] * 4 + [keys[8]] * 4 and len(set(keys)) == 3


def test_other_key_words_keep_the_named_objects():
    found = _draw(PLAIN, 30)
    others = drawn.rekeyed(np.random.default_rng(5), found, PLAIN)
    for before, after in zip(found.captions, others, strict=True):
        assert before.split()[PLAIN.keys :] == after.split()[PLAIN.keys :]
    assert (
        sum(a.split()[: PLAIN.keys] == b.split()[: PLAIN.keys] for a, b in zip(found.captions, others, strict=True))
        == 0
    )


@pytest.mark.parametrize("world", [PLAIN, WORLDS["emoji"]], ids=["shapes", "emoji"])
def test_objects_stand_in_cells_of_their_own(world):
    """Every picture's cells: as many are far from its ground as it has objects."""
    found = _draw(world, 60)
    assert found.pictures.shape == (60, world.side, world.side, 3) and found.pictures.dtype == np.uint8
    cells = found.pictures.reshape(60, world.grid, world.cell, world.grid, world.cell, 3).swapaxes(2, 3)
    cells = cells.reshape(60, world.grid**2, -1, 3).astype(float)
    ground = np.median(cells.reshape(60, -1, 3), axis=1)
    covered = (np.abs(cells - ground[:, None, None]).max(axis=(2, 3)) > 60).sum(axis=1)
    assert (covered <= world.objects).all() and np.mean(covered == world.objects) > 0.9


def test_a_picture_shows_the_colours_and_shapes_of_its_classes():
    found, names = _draw(PLAIN, 300, seed=3), drawn.names(PLAIN)
    cells = found.pictures.reshape(300, 4, 8, 4, 8, 3).swapaxes(2, 3).reshape(300, 16, 64, 3) / 255
    areas = {}
    right = 0
    for classes, own in zip(found.classes, cells, strict=True):
        ground = np.median(own.reshape(-1, 3), axis=0)
        far = np.abs(own - ground).max(axis=2)
        full = np.argsort(-far.max(axis=1))[: PLAIN.objects]
        shown = []
        for cell in full:
            pixel = own[cell][np.argsort(-far[cell])[:8]].mean(axis=0)
            shown.append(min(COLOURS, key=lambda name, p=pixel: np.linalg.norm(p - COLOURS[name])))
        told = [names[c].split() for c in classes]
        right += sorted(shown) == sorted(colour for colour, _ in told)
        if len(set(shown)) == PLAIN.objects and sorted(shown) == sorted(colour for colour, _ in told):
            for cell, colour in zip(full, shown, strict=True):
                shape = next(s for c, s in told if c == colour)
                areas.setdefault(shape, []).append((far[cell] > 0.5 * far[cell].max()).mean())
    assert right > 0.9 * 300
    size = {shape: np.mean(values) for shape, values in areas.items()}
    assert len(size) == 8 and size["square"] == max(size.values()) and size["bar"] == min(size.values())
    assert size["circle"] > size["ring"] and size["circle"] > size["moon"]


def test_the_same_seed_gives_the_same_collages_and_another_does_not():
    a, b, c = _draw(PLAIN, 5), _draw(PLAIN, 5), _draw(PLAIN, 5, seed=1)
    assert a.captions == b.captions and (a.pictures == b.pictures).all()
    assert drawn.content(a) == drawn.content(b) != drawn.content(c)
    assert drawn.content(a) != drawn.content(a._replace(captions=c.captions))
    assert a.captions != c.captions and len({hashlib.sha256(p.tobytes()).hexdigest() for p in c.pictures}) == 5


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_the_longest_caption_is_known(world):
    assert max(len(caption.split()) for caption in _draw(world, 2000).captions) <= drawn.longest(world)
    assert drawn.longest(PLAIN) == 7


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"source": "photos"}, "photos"),
        ({"classes": 65}, "classes is 65"),
        ({"objects": 17}, "17 objects do not fit"),
        ({"named": 5}, "leave one hidden"),
        ({"named": 4, "correlation": 0.5}, "partners"),
        ({"correlation": 1.5}, "correlation is 1.5"),
        ({"rare": 3}, "rare is 3"),
        ({"keys": 0}, "keys is 0"),
        ({"classes": 8, "objects": 8, "grid": 3}, "leave none out"),
        ({"cell": 4}, "cell"),
    ],
)
def test_impossible_worlds_are_refused(change, said):
    with pytest.raises(InputError, match=said):
        World(**change)
    with pytest.raises(InputError):
        _draw(PLAIN, 0)
