"""Copies in part, on pictures made by hand; the overlap against every threshold; the map against single calls."""

import numpy as np
import pytest
import torch

from difflab.diffusion.architecture import Architecture, build
from difflab.diffusion.generate import embed, initial_noise, sampling, seeded
from difflab.diffusion.regions import (
    best_overlap,
    copied_outlines,
    copied_within,
    distance_within,
    in_latents,
    outlines,
    prompt_difference,
)

RNG = np.random.default_rng(0)


def _noise(*shape):
    return RNG.integers(0, 256, (*shape, 8, 8, 3), dtype=np.uint8)


def _mask():
    mask = np.zeros((8, 8), bool)
    mask[2:5, 3:7] = True
    return mask


def test_distances_count_the_pixels_of_the_mask_alone():
    pictures, member, mask = _noise(3), _noise(), _mask()
    for picture, found in zip(pictures, distance_within(mask, pictures, member), strict=True):
        errors = [
            (int(picture[p][c]) - int(member[p][c])) / 255 for p in zip(*mask.nonzero(), strict=True) for c in range(3)
        ]
        assert found == pytest.approx(np.sqrt(np.mean(np.square(errors))))


def test_a_place_of_latents_is_inside_where_half_of_its_pixels_are_or_it_is_the_fullest():
    half, few = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
    half[:4, 2:6] = half[0, 0] = True
    few[5, 5] = few[6, 6] = few[6, 7] = few[3, 3] = True
    found = in_latents(np.stack([half, few]), 2, 2)
    assert found.tolist() == [[[True, True], [False, False]], [[False, False], [False, True]]]
    assert not in_latents(np.zeros((1, 8, 8), bool), 4, 4).any()


def test_a_region_is_copied_where_the_median_picture_is_nearer_than_chance():
    members, drawn, held_out, mask = _noise(3), _noise(3, 3), _noise(50), _mask()
    drawn[0, :2, mask] = members[0][mask][:, None]
    drawn[1, :1, mask] = members[1][mask][:, None]
    masks = np.stack([mask] * 3)
    assert copied_within(masks, drawn, members, held_out).tolist() == [True, False, False]
    assert not copied_within(~masks, drawn, members, held_out).any()


def test_outlines_do_not_see_colours_and_are_copied_in_any_member():
    picture = _noise(1).astype(int)
    inverted, shifted = 255 - picture, np.minimum(picture // 2 + 20, 255)
    one, two, three = (outlines(p.astype(np.uint8)) for p in (picture, inverted, shifted))
    np.testing.assert_allclose(one, two, atol=1e-12)
    assert (
        float((one * three).sum()) > 0.99 and np.linalg.norm(one) == pytest.approx(1) and one.sum() == pytest.approx(0)
    )
    families, drawn = [_noise(4), _noise(4)], _noise(2, 3)
    drawn[0, :2] = 255 - families[0][[1, 3]]
    assert copied_outlines(drawn, families, _noise(50)).tolist() == [True, False]


def test_the_best_overlap_is_that_of_some_threshold():
    mask, guess = _mask(), RNG.normal(size=(8, 8))
    shares = [((guess >= t) & mask).sum() / ((guess >= t) | mask).sum() for t in guess.ravel()]
    assert best_overlap(mask, guess) == pytest.approx(max(shares))
    assert best_overlap(mask, mask.astype(float)) == 1
    assert best_overlap(mask, np.ones((8, 8))) == pytest.approx(mask.mean())


def test_the_map_is_the_mean_of_single_pictures():
    sizes = Architecture(
        side=32,
        latent_channels=4,
        widths=(16, 32),
        heads=2,
        vae_widths=(16, 16, 16),
        length=8,
        embedding=16,
        text_layers=1,
    )
    captions = ["red cat", "blue dog"]
    pipeline = build(captions, sizes, 0)
    found = prompt_difference(pipeline, captions, [3, 4, 5], 3, 2.0)
    for caption, one in zip(captions, found, strict=True):
        parts = []
        for seed in (3, 4, 5):
            noise = initial_noise(pipeline, seeded(1, [seed]))
            for step in sampling(pipeline, embed(pipeline, [caption]), noise, 3, 2.0):
                parts.append((step.conditional - step.unconditional)[0].square().mean(dim=0))
        np.testing.assert_allclose(one, torch.stack(parts).mean(dim=0).double().numpy(), rtol=1e-4)
    assert np.abs(found[0] - found[1]).max() > 1e-3 * found.max()
