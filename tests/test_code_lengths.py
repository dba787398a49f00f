"""Code lengths, redundancy and fragility against independent ways to the same numbers."""

import zlib
from itertools import pairwise, product

import numpy as np
import pytest
from conformance import says_one_sentence
from hypothesis import given
from hypothesis import strategies as st

from difflab.statistics.code_lengths import huffman_bits, huffman_lengths, png_bytes, zlib_bytes
from difflab.statistics.redundancy import compressed_share, fragility, repeated_share, replaced


def shortest(counts):
    """The least total length of any prefix code, by trying all lengths that Kraft allows."""
    n = len(counts)
    return min(
        sum(count * length for count, length in zip(counts, lengths, strict=True))
        for lengths in product(range(1, n), repeat=n)
        if sum(2.0**-length for length in lengths) <= 1
    )


@given(st.lists(st.integers(1, 50), min_size=2, max_size=5))
def test_no_code_is_shorter_than_huffmans(counts):
    lengths = huffman_lengths(np.array(counts))
    assert sum(2.0 ** -int(length) for length in lengths) == 1
    assert counts @ lengths == shortest(counts)


def test_of_powers_of_two_the_code_is_the_entropy():
    assert huffman_lengths(np.array([1, 0, 4, 2, 1])).tolist() == [3, 0, 1, 2, 3]
    assert huffman_lengths(np.array([0.0, 0.3])).tolist() == [0, 1]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60))
def test_bits_of_a_text_lie_between_its_entropy_and_one_more(tokens):
    shares = np.bincount(tokens)[np.bincount(tokens) > 0] / len(tokens)
    entropy = float(-(shares * np.log2(shares)).sum())
    assert entropy - 1e-9 <= huffman_bits(np.array(tokens)) <= entropy + 1


def test_an_empty_text_needs_no_bits():
    assert huffman_bits(np.zeros(0, np.int64)) == 0 == compressed_share("")


def test_zlib_bytes_are_zlibs():
    for text in ("", "word " * 100, "Fußgänger", "\ud800"):
        assert zlib_bytes(text) == len(zlib.compress(text.encode("utf-8", "surrogatepass")))
    assert compressed_share("word " * 100) > 0.9 and compressed_share("a") < 0


@pytest.mark.parametrize("shape", [(9, 7), (9, 7, 1), (9, 7, 3)])
def test_png_bytes_are_those_of_a_file_with_these_pixels(shape):
    picture = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    rows = picture.reshape(9, -1)
    # Noise can't be predicted: no filter helps, and a file without one is as short but for some bytes.
    plain = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows), 9)
    chunks = 8 + 25 + (12 + len(plain)) + 12
    assert abs(png_bytes(picture) - chunks) <= 12
    assert png_bytes(np.zeros(shape, np.uint8)) < png_bytes(picture)


@given(st.lists(st.integers(0, 3), max_size=20), st.integers(1, 3))
def test_the_repeated_share_is_that_of_a_loop(tokens, n):
    seen, repeated, total = set(), 0, max(0, len(tokens) - n + 1)
    for i in range(total):
        gram = tuple(tokens[i : i + n])
        repeated += gram in seen
        seen.add(gram)
    assert repeated_share(np.array(tokens, np.int64), n) == pytest.approx(repeated / total if total else 0)


def test_exactly_so_many_tokens_are_changed_to_any_other():
    random, prefix = np.random.default_rng(0), np.array([0, 4, 2, 3, 4, 0])
    new = set()
    for changes in (0, 1, 3, 6) * 30:
        found = replaced(prefix, changes, 5, random)
        assert (found != prefix).sum() == changes and found.min() >= 0 and found.max() < 5
        new |= {(old, one) for old, one in zip(prefix.tolist(), found.tolist(), strict=True) if old != one}
    assert new == {(old, one) for old in (0, 2, 3, 4) for one in range(5) if one != old}
    assert prefix.tolist() == [0, 4, 2, 3, 4, 0]


def test_fragility_counts_memorized_texts_that_break():
    before, after = np.array([True] * 8 + [False] * 4), np.array([True] * 2 + [False] * 6 + [True] * 4)
    found = fragility(before, after)
    assert found.value == 0.75 and found.low < 0.75 < found.high
    ends = [fragility(before, np.arange(12) < kept).value for kept in range(9)]
    assert ends[0] == 1 and ends[-1] == 0 and all(a > b for a, b in pairwise(ends))


def mistakes():
    prefix, none = np.array([1, 2]), np.zeros(3, bool)
    yield lambda: huffman_lengths(np.zeros(3))
    yield lambda: huffman_lengths(np.array([1.0, -1.0]))
    yield lambda: huffman_lengths(np.array([1.0, np.inf]))
    yield lambda: png_bytes(np.zeros((2, 2, 4), np.uint8))
    yield lambda: repeated_share(prefix, 0)
    yield lambda: replaced(prefix, 3, 5, np.random.default_rng(0))
    yield lambda: replaced(prefix, 1, 1, np.random.default_rng(0))
    yield lambda: fragility(none, none)
    yield lambda: fragility(~none, none[:2])


@pytest.mark.parametrize("call", list(mistakes()))
def test_a_mistake_is_one_sentence(call):
    says_one_sentence(call)
