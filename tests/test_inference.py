"""Search, unions and votes against loops that say the same in the plainest way."""

import sys

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from difflab.clip import inference
from difflab.clip.inference import most_voted, nearest, union, votes
from difflab.errors import InputError


def _unit(n, d, seed):
    drawn = np.random.default_rng(seed).normal(size=(n, d))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def _plain_nearest(queries, gallery, k):
    """Sorted by falling product, then by place, one query at a time."""
    found = []
    for query in queries:
        products = [float(np.dot(query.astype(np.float64), item.astype(np.float64))) for item in gallery]
        found.append(sorted(range(len(gallery)), key=lambda i, p=products: (-p[i], i))[:k])
    return np.array(found)


@pytest.mark.parametrize("k", [1, 5, 37])
@pytest.mark.parametrize("blocks", [(2048, 65_536), (4, 7), (1, 1)])
def test_nearest_agrees_with_sorting(k, blocks, monkeypatch):
    monkeypatch.setattr(inference, "_QUERIES_AT_ONCE", blocks[0])
    monkeypatch.setattr(inference, "_GALLERY_AT_ONCE", blocks[1])
    queries, gallery = _unit(11, 6, 0), _unit(37, 6, 1)
    found = nearest(queries, gallery, k)
    np.testing.assert_array_equal(found.places, _plain_nearest(queries, gallery, k))
    expected = np.take_along_axis(queries @ gallery.T, found.places, axis=1)
    np.testing.assert_allclose(found.similarity, expected, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 5))
def test_of_equally_near_ones_the_earlier_comes_first(seed, k, block):
    # Small whole numbers: products are exact, and many are equal.
    generator = np.random.default_rng(seed)
    queries, gallery = (generator.integers(-1, 2, size=(n, 3)).astype(np.float32) for n in (5, 12))
    before, inference._GALLERY_AT_ONCE = inference._GALLERY_AT_ONCE, block
    try:
        found = nearest(queries, gallery, k)
    finally:
        inference._GALLERY_AT_ONCE = before
    np.testing.assert_array_equal(found.places, _plain_nearest(queries, gallery, k))


def test_nearest_by_product_is_nearest_by_distance_for_unit_length():
    queries, gallery = _unit(9, 5, 2), _unit(50, 5, 3)
    distances = ((queries[:, None] - gallery[None]) ** 2).sum(axis=2)
    np.testing.assert_array_equal(nearest(queries, gallery, 4).places, np.argsort(distances, axis=1)[:, :4])


def test_a_gallery_on_disk_is_read_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(inference, "_GALLERY_AT_ONCE", 10)
    queries, gallery = _unit(3, 4, 4), _unit(33, 4, 5)
    np.save(tmp_path / "gallery.npy", gallery)
    mapped = np.load(tmp_path / "gallery.npy", mmap_mode="r")
    np.testing.assert_array_equal(nearest(queries, mapped, 5).places, nearest(queries, gallery, 5).places)


def test_faiss_finds_the_same():
    pytest.importorskip("faiss")
    queries, gallery = _unit(40, 16, 6), _unit(500, 16, 7)
    exact, other = nearest(queries, gallery, 10), nearest(queries, gallery, 10, search="faiss")
    np.testing.assert_array_equal(exact.places, other.places)
    np.testing.assert_allclose(exact.similarity, other.similarity, atol=1e-6)


def test_faiss_that_is_not_there_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(InputError, match="faiss is not installed"):
        nearest(_unit(2, 3, 0), _unit(4, 3, 0), 1, search="faiss")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"k": 0}, "k is 0"),
        ({"k": 6}, "k is 6 and the gallery holds 5"),
        ({"gallery": np.zeros((5, 4), np.float32)}, "3 wide"),
        ({"gallery": np.full((5, 3), np.nan, np.float32)}, "gallery's embeddings hold NaN"),
        ({"queries": np.full((2, 3), np.inf, np.float32)}, "queries' embeddings hold NaN"),
        ({"search": "annoy"}, "annoy"),
    ],
)
def test_mistakes_are_one_sentence(change, said):
    asked = {"queries": _unit(2, 3, 0), "gallery": _unit(5, 3, 1), "k": 2} | change
    with pytest.raises(InputError, match=said) as error:
        nearest(**asked)
    assert "\n" not in str(error.value)


def test_long_searches_show_progress(monkeypatch, capsys):
    monkeypatch.setattr(inference, "_SHOWN_ABOVE", 1)
    nearest(_unit(2, 3, 0), _unit(4, 3, 0), 1)
    assert "4/4" in capsys.readouterr().err


def _plain_votes(places, objects):
    counts = np.zeros((len(places), objects.shape[1]), int)
    for i, row in enumerate(places):
        for place in row:
            for c in range(objects.shape[1]):
                counts[i, c] += bool(objects[place, c])
    return counts


def test_votes_are_counted_and_unions_and_ranks_made_of_them():
    generator = np.random.default_rng(8)
    objects = generator.random((30, 9)) < 0.3
    places = np.array([generator.permutation(30)[:6] for _ in range(12)])
    counts = votes(places, objects)
    np.testing.assert_array_equal(counts, _plain_votes(places, objects))
    np.testing.assert_array_equal(counts, votes(places, scipy.sparse.csr_matrix(objects)))
    for row, place in zip(union(counts), places, strict=True):
        assert set(np.flatnonzero(row)) == {c for p in place for c in np.flatnonzero(objects[p])}
    for n in (1, 3, 9):
        for row, count in zip(most_voted(counts, n), counts, strict=True):
            ranked = sorted(range(9), key=lambda c, v=count: (-v[c], c))[:n]
            assert set(np.flatnonzero(row)) == {c for c in ranked if count[c] > 0}


def test_every_query_may_have_its_own_number():
    counts = np.array([[3, 1, 2], [1, 1, 0]])
    assert most_voted(counts, np.array([2, 1])).tolist() == [[True, False, True], [True, False, False]]
    with pytest.raises(InputError, match="at least one class"):
        most_voted(counts, np.array([2, 0]))


def test_pictures_without_objects_have_no_votes():
    counts = votes(np.array([[0, 1]]), np.zeros((2, 4), bool))
    assert counts.tolist() == [[0, 0, 0, 0]] and not union(counts).any() and not most_voted(counts, 2).any()


@pytest.mark.parametrize(("classes", "k"), [(64, 10), (64, 100), (24, 10)])
def test_the_union_saturates_as_its_formula_says(classes, k):
    generator = np.random.default_rng(9)
    objects = np.zeros((4000, classes), bool)
    for row in objects:
        row[generator.permutation(classes)[:5]] = True
    places = generator.integers(4000, size=(2000, k))
    chance = 1 - (1 - 5 / classes) ** k
    found = union(votes(places, objects)).mean(axis=1)
    assert found.mean() == pytest.approx(chance, abs=5 * found.std() / 2000**0.5 + 1e-4)
