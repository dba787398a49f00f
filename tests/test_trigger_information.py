"""Rounding, turning and handing on, against loops over numbers and rows."""

import numpy as np
import pytest
import torch

from difflab.diffusion.trigger_information import quantised, turned
from difflab.errors import InputError


@pytest.mark.parametrize("bits", [1, 2, 8])
def test_every_number_goes_to_the_nearest_value_of_its_own_embedding(bits):
    y = torch.randn((3, 2, 5, 4), generator=torch.Generator().manual_seed(0), dtype=torch.double)
    y[1] *= 10
    found = quantised(y, bits)
    for i, j in np.ndindex(3, 2):
        grid = torch.linspace(float(y[i, j].min()), float(y[i, j].max()), 2**bits, dtype=torch.double)
        nearest = grid[(y[i, j][..., None] - grid).abs().argmin(dim=-1)]
        torch.testing.assert_close(found[i, j], nearest)
        assert found[i, j].unique().numel() <= 2**bits


def test_an_embedding_of_one_value_stays_and_no_bits_are_refused():
    assert torch.equal(quantised(torch.full((2, 3), 0.3), 2), torch.full((2, 3), 0.3))
    with pytest.raises(InputError, match="at least 1"):
        quantised(torch.zeros(2, 3), 0)


def test_rows_turn_around_behind_the_begin_token():
    y = torch.arange(24.0).reshape(2, 4, 3)
    for one, other in zip(y, turned(y), strict=True):
        assert [row.tolist() for row in other] == [one[i].tolist() for i in (0, 3, 2, 1)]
    assert torch.equal(turned(turned(y)), y)
