"""Pictures to tokens and back: nearest codes by loops, what a pyramid adds up to, files, and bad input."""

import numpy as np
import pytest
import torch

from difflab.autoregressive.codecs import grid
from difflab.autoregressive.codecs.grid import Codec, decode, encode, error, fit, load_codec, save_codec, summed
from difflab.errors import InputError
from synthetic.plan import Plan, draw

PLAN = Plan(side=16, ladder=(1,), per_rung=2, recaptioned=0, layouts=0, regions=0, unique=160, emoji=20, twins=1,
            held_out=40)  # fmt: skip


@pytest.fixture(scope="module")
def pictures():
    planted = draw(PLAN)
    return planted.pictures(planted.where("unique"))


@pytest.fixture(scope="module")
def raster(pictures):
    return fit(pictures[:120], 2, (8,), 32, 0)


@pytest.fixture(scope="module")
def pyramid(pictures):
    return fit(pictures[:120], 2, (1, 2, 4, 8), 32, 0)


def test_a_token_is_the_nearest_code_of_its_patch(pictures, raster):
    tokens = encode(raster, pictures[:3])
    for i in range(3):
        for row in range(8):
            for column in range(8):
                patch = pictures[i, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] / 255
                vector = patch.transpose(2, 0, 1).reshape(-1)
                apart = ((raster.books[0] - vector) ** 2).sum(axis=1)
                assert apart[tokens[i, 8 * row + column]] <= apart.min() + 1e-5


def test_what_was_decoded_is_encoded_again(raster):
    # Codes that differ by less than rounding to bytes moves them would be taken for each other.
    books = np.random.default_rng(0).uniform(0, 1, (1, 16, 12)).astype(np.float32)
    codec = Codec(2, (8,), books)
    tokens = np.random.default_rng(1).integers(0, 16, (5, 64))
    np.testing.assert_array_equal(encode(codec, decode(codec, tokens)), tokens)
    for pictures in (decode(codec, tokens), decode(raster, tokens)):
        assert pictures.shape == (5, 16, 16, 3)


def test_a_pyramid_takes_what_coarser_grids_leave_over(pictures, pyramid):
    some = pictures[120:124]
    tokens, start = torch.from_numpy(encode(pyramid, some)), 0
    target = torch.from_numpy(some / 255).float()
    patches = target.view(-1, 8, 2, 8, 2, 3).permute(0, 5, 2, 4, 1, 3).reshape(-1, 12, 8, 8)
    for k, side in enumerate(pyramid.sides):
        rest = patches - summed(pyramid, tokens, k)
        step = 8 // side
        for i in range(side):
            for j in range(side):
                mean = rest[:, :, i * step : (i + 1) * step, j * step : (j + 1) * step].mean(dim=(2, 3)).numpy()
                apart = ((mean[:, None] - pyramid.books[k][None]) ** 2).sum(axis=2)
                chosen = tokens[:, start + side * i + j].numpy()
                assert (apart[range(len(some)), chosen] <= apart.min(axis=1) + 1e-5).all()
        start += side**2
    left = [float((patches - summed(pyramid, tokens, k)).square().mean()) for k in range(5)]
    assert left == sorted(left, reverse=True)


def test_pictures_come_back_nearly(pictures, raster, pyramid):
    held_out = pictures[120:]
    flat = np.sqrt(np.mean((held_out - held_out.mean(axis=(0, 1, 2))) ** 2)) / 255
    assert error(pyramid, held_out) < error(raster, held_out) < 0.6 * flat
    whole = decode(pyramid, encode(pyramid, held_out)).astype(float)
    assert error(pyramid, held_out) == pytest.approx(np.sqrt(np.mean((whole - held_out) ** 2)) / 255)


def test_the_same_seed_gives_the_same_books(pictures, pyramid):
    again = fit(pictures[:120], 2, (1, 2, 4, 8), 32, 0)
    np.testing.assert_array_equal(again.books, pyramid.books)
    assert not np.array_equal(fit(pictures[:120], 2, (1, 2, 4, 8), 32, 1).books, pyramid.books)


def test_blocks_do_not_change_tokens(pictures, pyramid, monkeypatch):
    whole = encode(pyramid, pictures[:10])
    monkeypatch.setattr(grid, "_AT_ONCE", 3)
    np.testing.assert_array_equal(encode(pyramid, pictures[:10]), whole)
    assert encode(pyramid, pictures[:0]).shape == (0, 85)
    assert decode(pyramid, whole).shape == (10, 16, 16, 3)


def test_a_codec_comes_back_from_its_file(pictures, pyramid, tmp_path):
    save_codec(pyramid, tmp_path / "codec.safetensors")
    again = load_codec(tmp_path / "codec.safetensors")
    assert (again.patch, again.sides, again.codes, again.length) == (2, (1, 2, 4, 8), 32, 85)
    assert (again.order, again.groups) == ("next-scale", (1, 4, 16, 64))
    np.testing.assert_array_equal(again.books, pyramid.books)
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "codec.safetensors").read_bytes()[:100])
    for name in ("cut", "none"):
        with pytest.raises(InputError, match="holds no codec"):
            load_codec(tmp_path / f"{name}.safetensors")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda p: fit(p, 2, (8, 4), 8, 0), "from coarse to fine"),
        (lambda p: fit(p, 0, (8,), 8, 0), "at least 1 pixel"),
        (lambda p: fit(p, 2, (), 8, 0), "from coarse to fine"),
        (lambda p: fit(p, 2, (4,), 8, 0), "the codec takes 8 x 8"),
        (lambda p: fit(p, 2, (8,), 1, 0), "at least 2"),
        (lambda p: fit(p[:3], 2, (1, 8), 8, 0), "3 patches of 1 x 1"),
        (lambda p: Codec(2, (8,), np.zeros((1, 4, 3), np.float32)), "would fit the grids"),
    ],
)
def test_bad_input_is_said_in_one_sentence(pictures, call, words):
    with pytest.raises(InputError, match=words):
        call(pictures)


def test_tokens_that_are_none_are_refused(raster):
    for tokens in (np.zeros((1, 63), int), np.full((1, 64), 32), np.full((1, 64), -1)):
        with pytest.raises(InputError, match="64 tokens from 0 to 31"):
            decode(raster, tokens)
