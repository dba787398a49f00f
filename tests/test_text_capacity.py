"""How many bits a model holds."""

import numpy as np
import pytest

from difflab.errors import InputError
from synthetic.capacity import Capacity, capacity, unintended_bits
from synthetic.data.random_strings import RandomStrings, random_strings


def test_unintended_bits_take_the_maximum_over_whole_texts():
    tokens, reference = np.log([[0.5, 0.01], [0.9, 0.9]]), np.log([[0.1, 0.1], [0.1, 0.1]])
    found = unintended_bits(tokens.sum(axis=1), reference.sum(axis=1))
    # 0.005 < 0.01: nothing, though the first token is better known.
    np.testing.assert_allclose(found, [0, np.log2(81)])
    np.testing.assert_allclose(unintended_bits(np.array([-np.inf]), np.array([-1.0])), [0])
    assert unintended_bits(np.array([]), np.array([])).size == 0
    for bad in (([np.nan], [-1.0]), ([-1.0], [np.nan]), ([-1.0], [-np.inf]), ([0.5], [-1.0])):
        with pytest.raises(InputError, match="log-probabilities hold"):
            unintended_bits(*map(np.array, bad))


def test_a_memorizer_holds_its_code_length_less_the_choice():
    texts = random_strings(0, range(32), RandomStrings(vocabulary=64, length=10))
    held = unintended_bits(np.full(32, -np.log(32.0)), -texts.bits * np.log(2))
    np.testing.assert_allclose(held, 60 - 5)


def test_the_capacity_is_the_most_held_over_sizes_and_says_of_which():
    held = {100: np.array([50.0, 70.0]), 200: np.array([90.0, 90.0]), 400: np.array([20.0, 160.0])}
    assert capacity(held) == Capacity(90, 200)
    # Of sizes that hold as much it is the smallest.
    assert capacity({**held, 150: np.array([90.0])}) == Capacity(90, 150)
    for bad in ({}, {1: np.array([])}, {1: np.array([-1.0])}, {1: np.array([np.nan])}):
        with pytest.raises(InputError, match="at least one data set"):
            capacity(bad)
