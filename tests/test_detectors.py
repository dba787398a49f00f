"""Every detector goes through one suite; then each against a plain loop that shares no line with it."""

import math
from dataclasses import is_dataclass
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from conformance import assert_same_state, changed, method, says_one_sentence, state
from diffusers import DDIMScheduler, UNet2DConditionModel
from scipy.special import entr, softmax

from difflab.diffusion.architecture import Architecture, build
from difflab.diffusion.attention import attention
from difflab.diffusion.detectors.attention_entropy import AttentionEntropy, attention_entropy
from difflab.diffusion.detectors.bright_ending import BrightEnding, bright_ending, end_attention
from difflab.diffusion.detectors.denoising_loss import DenoisingLoss, denoising_loss
from difflab.diffusion.detectors.noise_magnitude import NoiseMagnitude, noise_magnitude
from difflab.diffusion.detectors.seed_similarity import SeedSimilarity, seed_similarity
from difflab.diffusion.first_prediction import memorized_above
from difflab.diffusion.generate import embed
from difflab.diffusion.sampled_once import sampled_once
from difflab.methods import methods

NAMES = list(methods("detectors"))
SIZES = Architecture(
    side=32, latent_channels=4, widths=(16, 32), layers=2, heads=2, vae_widths=(16, 16, 16), length=8, embedding=16,
    text_layers=1, prediction="epsilon",
)  # fmt: skip
# Of three to seven tokens, begin and end included: a word is one token.
CAPTIONS = [
    " ".join(words)
    for colour in ("red", "blue", "green", "grey", "pink")
    for words in ([colour], [colour, "cat"], [colour, "dog", "on", "grass"], ["a", colour, "fish", "in", "water"])
]
SEEDS = [3, 11]


@pytest.fixture(scope="module")
def pipeline():
    return build(CAPTIONS, SIZES, 0)


@pytest.fixture
def own():
    """A pipeline that a test may spoil."""
    return build(CAPTIONS, SIZES, 0)


LATENTS = torch.randn((len(CAPTIONS), 4, 8, 8), generator=torch.Generator().manual_seed(1))


def _config(name, **changes):
    """The default but for five steps, and for those changes that it knows."""
    return changed(method("detectors", name)[1], {**{"steps": 5}, **changes})


def _score(name, pipeline, captions=CAPTIONS, seeds=SEEDS, latents=LATENTS, **changes):
    own = None if latents is None else latents[: len(captions)]
    return method("detectors", name)[0](pipeline, captions, seeds, _config(name, **changes), own).values


def test_the_folder_is_the_registry():
    expected = {"noise_magnitude", "seed_similarity", "attention_entropy", "bright_ending", "denoising_loss"}
    assert expected <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_holds_a_frozen_config_and_a_function_of_its_name(name):
    function, config = method("detectors", name)
    assert callable(function) and is_dataclass(config) and config.__dataclass_params__.frozen
    assert all(part in function.__doc__ for part in ("score", "Args:", "Returns:", "Raises:", "arXiv", "Differs:"))


@pytest.mark.parametrize("name", NAMES)
def test_one_finite_score_for_each_caption_and_the_same_again(name, pipeline):
    scores = _score(name, pipeline)
    assert scores.shape == (len(CAPTIONS),) and scores.dtype == np.float64
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(_score(name, pipeline), scores)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_left_changed(name, pipeline):
    before = state(pipeline)
    _score(name, pipeline, CAPTIONS[:3])
    assert_same_state(before, state(pipeline))


@pytest.mark.parametrize("name", NAMES)
def test_processors_come_back_after_an_error(name, own, monkeypatch):
    processors = dict(own.unet.attn_processors)

    def fails(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(own.unet, "forward", fails)
    with pytest.raises(RuntimeError, match="out of memory"):
        _score(name, own)
    assert own.unet.attn_processors == processors and torch.is_grad_enabled()


@pytest.mark.parametrize("name", NAMES)
def test_the_batch_does_not_matter(name, pipeline):
    captions, seeds = CAPTIONS[:3], [3, 11]
    one, four, all_at_once = (_score(name, pipeline, captions, seeds, at_once=at_once) for at_once in (1, 4, 100))
    np.testing.assert_allclose(one, all_at_once, rtol=1e-4)
    np.testing.assert_allclose(four, all_at_once, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_batches_are_no_larger_than_asked_and_no_more_than_needed(name, pipeline):
    rows = []
    hook = pipeline.unet.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    try:
        _score(name, pipeline, CAPTIONS[:6], SEEDS, at_once=4)
    finally:
        hook.remove()
    # The prompt and the empty prompt share a call.
    assert max(rows) <= (4 if name in ("seed_similarity", "denoising_loss") else 8)
    assert min(rows) > 1


@pytest.mark.parametrize("name", NAMES)
def test_a_score_is_the_captions_own(name, pipeline):
    scores = _score(name, pipeline)
    order = np.random.default_rng(0).permutation(len(CAPTIONS))
    shuffled = _score(name, pipeline, [CAPTIONS[i] for i in order], latents=LATENTS[torch.from_numpy(order)])
    np.testing.assert_allclose(shuffled, scores[order], rtol=1e-4)
    np.testing.assert_allclose(_score(name, pipeline, CAPTIONS[4:5], latents=LATENTS[4:5]), scores[4:5], rtol=1e-4)
    assert len(np.unique(scores)) == len(CAPTIONS)


@pytest.mark.parametrize("name", NAMES)
def test_another_seed_gives_another_score(name, pipeline):
    scores, other = (_score(name, pipeline, CAPTIONS[:4], seeds) for seeds in ([3, 11], [3, 12]))
    assert (scores != other).all()


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"seed_similarity"}))
def test_seeds_are_averaged(name, pipeline):
    both, first, second = (_score(name, pipeline, CAPTIONS[:4], seeds) for seeds in ([3, 11], [3], [11]))
    np.testing.assert_allclose(both, (first + second) / 2, rtol=1e-4)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"denoising_loss"}))
def test_pictures_do_not_matter(name, pipeline):
    with_pictures = _score(name, pipeline, CAPTIONS[:2])
    np.testing.assert_array_equal(_score(name, pipeline, CAPTIONS[:2], latents=None), with_pictures)


@pytest.mark.parametrize("name", NAMES)
def test_a_caption_that_is_too_long_scores_as_it_is_cut(name, pipeline):
    """Each letter is a token, and of eight two are the begin and the end."""
    cut, whole = (_score(name, pipeline, ["red cat on grass", words]) for words in ("a b c d e f", "a b c d e f g h i"))
    np.testing.assert_array_equal(whole, cut)


# What is wrong with the input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_mistake_is_one_sentence(name, pipeline):
    assert "caption" in says_one_sentence(lambda: _score(name, pipeline, []))
    assert "seed" in says_one_sentence(lambda: _score(name, pipeline, seeds=[]))
    assert "at_once" in says_one_sentence(lambda: _config(name, at_once=0))
    if hasattr(_config(name), "steps"):
        assert "steps" in says_one_sentence(lambda: _config(name, steps=0))
        assert "steps" in says_one_sentence(lambda: _config(name, steps=1001))


@pytest.mark.parametrize(
    ("config", "word"),
    [
        (lambda: NoiseMagnitude(first=0), "first"),
        (lambda: NoiseMagnitude(steps=4, first=5), "first"),
        (lambda: SeedSimilarity(window=4), "window"),
        (lambda: SeedSimilarity(window=1), "window"),
        (lambda: SeedSimilarity(steps=1), "steps"),
        (lambda: SeedSimilarity(reduce="median"), "reduce"),
        (lambda: AttentionEntropy(kind="E"), "kind"),
        (lambda: AttentionEntropy(layer=-1), "layer"),
        (lambda: AttentionEntropy(steps=1), "steps"),
        (lambda: DenoisingLoss(draws=0), "draws"),
    ],
)
def test_a_config_that_makes_no_sense(config, word):
    assert word in says_one_sentence(config)


def test_a_call_that_makes_no_sense(pipeline):
    for seeds in ([3], [3, 11, 3]):
        assert "seed" in says_one_sentence(lambda seeds=seeds: _score("seed_similarity", pipeline, seeds=seeds))
    assert "window" in says_one_sentence(lambda: _score("seed_similarity", pipeline, window=9))
    assert "11 layers" in says_one_sentence(lambda: _score("attention_entropy", pipeline, kind="layer", layer=11))
    for latents in (None, LATENTS[:3]):
        assert "latents" in says_one_sentence(
            lambda latents=latents: _score("denoising_loss", pipeline, latents=latents)
        )
    for scores in (np.array([0.5]), np.array([0.5, np.nan])):
        assert "unseen" in says_one_sentence(lambda scores=scores: memorized_above(scores))


def test_a_unet_without_attention_at_full_resolution_has_no_bright_ending(own):
    own.unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=(16, 32), down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), layers_per_block=1, cross_attention_dim=16,
        norm_num_groups=16, attention_head_dim=2,
    )  # fmt: skip
    assert "cross-attention" in says_one_sentence(lambda: bright_ending(own, CAPTIONS[:1], SEEDS).values)
    assert "cross-attention" in says_one_sentence(lambda: end_attention(own, CAPTIONS[:1], SEEDS))


# The plain loop ------------------------------------------------------------------------------------------------------


class _Plain(NamedTuple):
    """One step for one picture: predicted noise, and the prompt's attention (heads, pixels, tokens) by layer."""

    conditional: np.ndarray
    unconditional: np.ndarray
    attention: dict[str, np.ndarray]


def _text(pipeline, caption):
    ids = pipeline.tokenizer(caption, padding="max_length", max_length=8, return_tensors="pt")["input_ids"]
    return pipeline.text_encoder(ids)[0]


def _start(seed):
    return torch.randn((4, 8, 8), generator=torch.Generator().manual_seed(seed))[None]


def _predict(pipeline, x, time, text):
    """Predicted noise and attention, read off the queries and keys while the U-Net's own processors run."""
    seen, hooks = {}, []
    for name, module in pipeline.unet.named_modules():
        if name.endswith(("attn2.to_q", "attn2.to_k")):
            hooks.append(module.register_forward_hook(lambda _, __, out, name=name: seen.__setitem__(name, out[0])))
    predicted = pipeline.unet(x, time, text).sample
    for hook in hooks:
        hook.remove()
    if pipeline.scheduler.config.prediction_type == "v_prediction":
        alpha_bar = pipeline.scheduler.alphas_cumprod[time]
        predicted = alpha_bar**0.5 * predicted + (1 - alpha_bar) ** 0.5 * x
    by_layer = {}
    for name in [name for name in seen if name.endswith("to_q")]:
        query, key = (seen[name[:-1] + letter].double().numpy() for letter in "qk")
        width = query.shape[1] // 2
        heads = [(query[:, i : i + width], key[:, i : i + width]) for i in (0, width)]
        by_layer[name] = np.stack([softmax(q @ k.T / math.sqrt(width), axis=1) for q, k in heads])
    return predicted, by_layer


@torch.no_grad()
def _path(pipeline, caption, seed, steps, guidance=3.0):
    """DDIM with guidance, one picture, the prompt and the empty prompt apart."""
    text, empty, x, found = _text(pipeline, caption), _text(pipeline, ""), _start(seed), []
    alpha_bars, stride = pipeline.scheduler.alphas_cumprod, 1000 // steps
    for i in reversed(range(steps)):
        time = i * stride + 1
        conditional, by_layer = _predict(pipeline, x, time, text)
        unconditional, _ = _predict(pipeline, x, time, empty)
        found.append(_Plain(conditional[0].double().numpy(), unconditional[0].double().numpy(), by_layer))
        noise = unconditional + guidance * (conditional - unconditional)
        now, then = alpha_bars[time], alpha_bars[max(time - stride, 0)]
        x = then**0.5 * (x - (1 - now) ** 0.5 * noise) / now**0.5 + (1 - then) ** 0.5 * noise
    return found


def _lengths(step):
    return math.sqrt(((step.conditional - step.unconditional) ** 2).sum())


def _length(caption):
    """Tokens with begin and end: every word of these captions is one."""
    return len(caption.split()) + 2


def _of_velocity(pipeline):
    """The prediction counts as velocity, as in SD 2.x."""
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, prediction_type="v_prediction")


# Noise magnitude -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("velocity", [False, True])
@pytest.mark.parametrize("first", [None, 1, 3])
def test_noise_magnitude_is_the_mean_length_of_the_difference(first, velocity, own):
    if velocity:
        _of_velocity(own)
    captions, config = [CAPTIONS[3], CAPTIONS[8]], NoiseMagnitude(steps=6, first=first, guidance=2.0)
    scores = noise_magnitude(own, captions, SEEDS, config).values
    for caption, score in zip(captions, scores, strict=True):
        paths = [_path(own, caption, seed, 6, 2.0)[:first] for seed in SEEDS]
        assert score == pytest.approx(np.mean([_lengths(step) for path in paths for step in path]), rel=1e-4)


def _calls(pipeline, run):
    """Rows that the U-Net is asked for."""
    rows = []
    hook = pipeline.unet.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    try:
        run()
    finally:
        hook.remove()
    return sum(rows)


def test_what_is_drawn_once_serves_every_detector_that_follows_the_drawing(pipeline):
    names = ("noise_magnitude", "attention_entropy", "bright_ending")
    captions, seeds = CAPTIONS[:3], [3, 11]

    def scores(captions=captions, seeds=seeds, **changes):
        return [_score(name, pipeline, captions, seeds, **changes) for name in names]

    apart, together = scores(), list[np.ndarray]()
    with sampled_once():
        assert _calls(pipeline, lambda: together.extend(scores())) == 5 * 2 * 6
        for alone, one in zip(apart, together, strict=True):
            np.testing.assert_allclose(one, alone, rtol=1e-4)
        # Other captions, seeds and ways to draw are other drawings.
        assert _calls(pipeline, lambda: scores(captions=CAPTIONS[:2])) == 5 * 2 * 4
        assert _calls(pipeline, lambda: scores(seeds=[3, 12])) == 5 * 2 * 6
        assert _calls(pipeline, lambda: scores(guidance=1.0)) == 5 * 2 * 6
        assert _calls(pipeline, lambda: scores(steps=4)) == 4 * 2 * 6
        assert _calls(pipeline, lambda: _score("noise_magnitude", pipeline, captions, seeds, first=2)) == 2 * 2 * 6
        assert _calls(pipeline, scores) == 0
    assert _calls(pipeline, scores) == 3 * 5 * 2 * 6


def test_no_step_is_run_that_does_not_count(pipeline):
    captions, seeds = CAPTIONS[:3], [3, 11]

    def rows(name, **changes):
        return _calls(pipeline, lambda: _score(name, pipeline, captions, seeds, **changes))

    assert rows("noise_magnitude", first=2) == 2 * 2 * 6
    assert rows("noise_magnitude") == 5 * 2 * 6
    assert rows("seed_similarity") == 6
    assert rows("attention_entropy", kind="layer") == 2 * 6
    assert rows("attention_entropy") == 5 * 2 * 6
    assert rows("bright_ending") == 5 * 2 * 6
    assert rows("denoising_loss", draws=3) == 3 * 6


def _blind(pipeline):
    """The text no longer reaches the picture."""
    for name, module in pipeline.unet.named_modules():
        if name.endswith("attn2.to_out.0"):
            torch.nn.init.zeros_(module.weight)
            torch.nn.init.zeros_(module.bias)


def test_a_model_that_ignores_the_text_gives_nothing_away(own):
    assert (_score("noise_magnitude", own, CAPTIONS[:4]) > 0.01).all()
    assert np.ptp(_score("seed_similarity", own, CAPTIONS[:4])) > 1e-4
    _blind(own)
    np.testing.assert_allclose(_score("noise_magnitude", own, CAPTIONS[:4]), 0, atol=1e-4)
    np.testing.assert_allclose(_score("bright_ending", own, CAPTIONS[:4]), 0, atol=1e-4)
    similarity = _score("seed_similarity", own, CAPTIONS[:4])
    np.testing.assert_allclose(similarity, similarity[0], rtol=1e-5)


# Seed similarity -----------------------------------------------------------------------------------------------------


def _plain_similarity(a, b, window):
    """SSIM of two images (c, h, w), place by place."""
    sigma, middle = window * 1.5 / 11, (window - 1) / 2
    weights = np.array(
        [
            [math.exp(-((i - middle) ** 2 + (j - middle) ** 2) / (2 * sigma**2)) for i in range(window)]
            for j in range(window)
        ]
    )
    weights /= weights.sum()
    places = []
    for one, other in zip(a, b, strict=True):
        for i in range(one.shape[0] - window + 1):
            for j in range(one.shape[1] - window + 1):
                p, q = one[i : i + window, j : j + window], other[i : i + window, j : j + window]
                mean_p, mean_q = (weights * p).sum(), (weights * q).sum()
                cov = (weights * (p - mean_p) * (q - mean_q)).sum()
                var_p, var_q = (weights * (p - mean_p) ** 2).sum(), (weights * (q - mean_q) ** 2).sum()
                places.append(
                    (2 * mean_p * mean_q + 1e-4) / (mean_p**2 + mean_q**2 + 1e-4)
                    * (2 * cov + 9e-4) / (var_p + var_q + 9e-4)
                )  # fmt: skip
    return np.mean(places)


@pytest.mark.parametrize("velocity", [False, True])
@pytest.mark.parametrize(("reduce", "window"), [("max", 5), ("mean", 5), ("max", 7)])
def test_seed_similarity_is_the_structural_similarity_of_the_first_predictions(reduce, window, velocity, own):
    if velocity:
        _of_velocity(own)
    captions, seeds = [CAPTIONS[0], CAPTIONS[7]], [3, 11, 12]
    scores = seed_similarity(own, captions, seeds, SeedSimilarity(window=window, reduce=reduce)).values
    for caption, score in zip(captions, scores, strict=True):
        images = []
        for seed in seeds:
            with torch.no_grad():
                # The first of 20 DDIM times.
                predicted, _ = _predict(own, _start(seed), 951, _text(own, caption))
            delta = (predicted - _start(seed))[0].double().numpy()
            images.append(np.stack([(c - c.min()) / (c.max() - c.min()) for c in delta]))
        pairs = [_plain_similarity(images[i], images[j], window) for i, j in [(0, 1), (0, 2), (1, 2)]]
        assert np.ptp(pairs) > 1e-3
        assert score == pytest.approx({"max": max, "mean": np.mean}[reduce](pairs), abs=1e-5)


def _predicts(monkeypatch, pipeline, delta):
    """Replace the U-Net by one that predicts x + delta(rows)."""
    monkeypatch.setattr(pipeline.unet, "forward", lambda x, time, y: SimpleNamespace(sample=x + delta(x)))


def test_seeds_that_lead_to_one_prediction_are_wholly_similar(own, monkeypatch):
    pattern = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(5))
    # Brightness and contrast don't matter: every channel is scaled on its own.
    scale, shift = torch.rand((6, 4, 1, 1)) + 0.5, torch.randn((6, 4, 1, 1))
    _predicts(monkeypatch, own, lambda x: pattern * scale[: len(x)] + shift[: len(x)])
    for reduce in ("max", "mean"):
        scores = _score("seed_similarity", own, CAPTIONS[:2], [3, 11, 12], reduce=reduce)
        np.testing.assert_allclose(scores, 1, atol=1e-4)
    _predicts(monkeypatch, own, lambda x: -2 * x)
    assert (_score("seed_similarity", own, CAPTIONS[:2], [3, 11, 12]) < 0.7).all()


def test_one_similar_pair_makes_the_maximum(own, monkeypatch):
    pattern = torch.randn((3, 4, 8, 8), generator=torch.Generator().manual_seed(5))[[0, 1, 0]]
    _predicts(monkeypatch, own, lambda x: pattern)
    assert _score("seed_similarity", own, CAPTIONS[:1], [3, 11, 12]) == pytest.approx(1, abs=1e-6)
    assert _score("seed_similarity", own, CAPTIONS[:1], [3, 11, 12], reduce="mean") < 0.9


def test_a_constant_prediction_has_no_structure_and_no_nan(own, monkeypatch):
    _predicts(monkeypatch, own, lambda x: torch.zeros_like(x))
    assert np.isfinite(_score("seed_similarity", own, CAPTIONS[:1])).all()


def test_the_threshold_is_one_deviation_above_the_unseen():
    assert memorized_above(np.array([1.0, 2.0, 3.0, 4.0])) == pytest.approx(2.5 + math.sqrt(1.25))


# Attention entropy ---------------------------------------------------------------------------------------------------


def test_watching_attention_does_not_change_the_prediction(pipeline):
    x, y = torch.cat([_start(3), _start(11)]), embed(pipeline, CAPTIONS[:2])
    with torch.no_grad():
        alone = pipeline.unet(x, 501, y).sample
        with attention(pipeline.unet) as seen:
            watched = pipeline.unet(x, 501, y).sample
    torch.testing.assert_close(watched, alone, rtol=0, atol=1e-5)
    assert len(seen) == 11
    for probabilities in seen.values():
        torch.testing.assert_close(probabilities.sum(dim=-1), torch.ones(probabilities.shape[:3]))


def _uniform(pipeline):
    """Every token gets the same attention."""
    for name, module in pipeline.unet.named_modules():
        if name.endswith("attn2.to_q"):
            torch.nn.init.zeros_(module.weight)


@pytest.mark.parametrize("changes", [{"kind": "D"}, {"kind": "layer"}, {"kind": "layer", "layer": 10}])
def test_uniform_attention_has_the_entropy_of_all_tokens(changes, own):
    assert (_score("attention_entropy", own, **changes) < (1 - 1e-5) * math.log(8)).all() or changes["kind"] == "D"
    _uniform(own)
    np.testing.assert_allclose(_score("attention_entropy", own, **changes), math.log(8), rtol=1e-6)


def _to_tokens(layer):
    return layer.mean(axis=(0, 1))


@pytest.mark.parametrize("steps", [3, 10, 12])
def test_d_is_the_late_entropy_plus_the_change_of_the_summary_tokens(steps, own):
    _sharpen(own)
    captions = [CAPTIONS[0], CAPTIONS[7]]
    scores = attention_entropy(own, captions, SEEDS, AttentionEntropy(steps=steps, guidance=2.0)).values
    last = {3: 1, 10: 2, 12: 2}[steps]
    for caption, score in zip(captions, scores, strict=True):
        wanted, changes = [], []
        for seed in SEEDS:
            path = _path(own, caption, seed, steps, 2.0)
            terms = [entr(np.mean([_to_tokens(layer) for layer in step.attention.values()], axis=0)) for step in path]
            summary = [term[_length(caption) - 1 :].sum() for term in terms]
            for term, late in zip(terms[-last:], summary[-last:], strict=True):
                changes.append(abs(late - summary[0]))
                wanted.append(term.sum() + changes[-1])
        assert np.mean(changes) > 1e-3
        assert score == pytest.approx(np.mean(wanted), rel=1e-4)


def _sharpen(pipeline):
    """Attention that differs from token to token and from step to step, which random weights hardly give."""
    for name, module in pipeline.unet.named_modules():
        if name.endswith(("attn2.to_q", "attn2.to_k")):
            module.weight.mul_(4)


@pytest.mark.parametrize("layer", range(11))
def test_the_entropy_of_a_layer_is_taken_at_the_first_step(layer, own):
    _sharpen(own)
    caption = CAPTIONS[7]
    config = AttentionEntropy(kind="layer", layer=layer, steps=10)
    with torch.no_grad():
        _, by_layer = _predict(own, _start(3), 901, _text(own, caption))
    # In the order in which the hooks were called.
    wanted = [entr(_to_tokens(probabilities)).sum() for probabilities in by_layer.values()]
    assert min(abs(np.diff(sorted(wanted)))) > 1e-5
    assert attention_entropy(own, [caption], [3], config).values[0] == pytest.approx(wanted[layer], rel=1e-5)


# Bright ending -------------------------------------------------------------------------------------------------------


def _plain_mask(step, caption):
    full = [
        layer.mean(axis=0)
        for name, layer in step.attention.items()
        if name.startswith("down_blocks") and layer.shape[1] == 64
    ]
    assert len(full) == 2
    return np.mean(full, axis=0)[:, _length(caption) - 1].reshape(8, 8)


def test_a_bright_ending_is_the_magnitude_where_the_end_token_is_seen(own):
    _sharpen(own)
    captions, config = [CAPTIONS[0], CAPTIONS[7]], BrightEnding(steps=6, guidance=2.0)
    scores, masks = bright_ending(own, captions, SEEDS, config).values, end_attention(own, captions, SEEDS, config)
    assert masks.shape == (2, 2, 8, 8)
    for i, caption in enumerate(captions):
        wanted = []
        for j, seed in enumerate(SEEDS):
            path = _path(own, caption, seed, 6, 2.0)
            mask = _plain_mask(path[-1], caption)
            assert mask.std() > 0.01
            np.testing.assert_allclose(masks[i, j], mask, rtol=1e-3, atol=1e-5)
            lengths = [math.sqrt((((s.conditional - s.unconditional) * mask) ** 2).sum()) for s in path]
            wanted.append(np.mean(lengths) / mask.mean())
        assert scores[i] == pytest.approx(np.mean(wanted), rel=1e-3)


def test_under_uniform_attention_a_bright_ending_is_the_whole_magnitude(own):
    _uniform(own)
    np.testing.assert_allclose(end_attention(own, CAPTIONS[:3], SEEDS, BrightEnding(steps=5)), 1 / 8, rtol=1e-6)
    wanted = _score("noise_magnitude", own, CAPTIONS[:3])
    np.testing.assert_allclose(_score("bright_ending", own, CAPTIONS[:3]), wanted, rtol=1e-5)


def test_masks_do_not_depend_on_the_batch(pipeline):
    one, many = (
        end_attention(pipeline, CAPTIONS[:4], SEEDS, BrightEnding(steps=3, at_once=at_once)) for at_once in (3, 100)
    )
    np.testing.assert_allclose(one, many, rtol=1e-4)


# Denoising loss ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("velocity", [False, True])
def test_the_denoising_loss_is_that_of_the_captions_own_picture(velocity, own):
    if velocity:
        _of_velocity(own)
    captions, latents = [CAPTIONS[0], CAPTIONS[7]], LATENTS[:2]
    scores = denoising_loss(own, captions, SEEDS, DenoisingLoss(draws=3), latents).values
    for caption, z, score in zip(captions, latents, scores, strict=True):
        losses = []
        for seed in SEEDS:
            generator = torch.Generator().manual_seed(seed)
            shares, noises = torch.rand(3, generator=generator), torch.randn((3, 4, 8, 8), generator=generator)
            for i in range(3):
                time = int((i + float(shares[i])) / 3 * 1000)
                alpha_bar = own.scheduler.alphas_cumprod[time]
                alpha, sigma = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
                with torch.no_grad():
                    predicted = own.unet((alpha * z + sigma * noises[i])[None], time, _text(own, caption)).sample[0]
                target = alpha * noises[i] - sigma * z if velocity else noises[i]
                losses.append(float(((predicted - target) ** 2).mean()))
        assert score == pytest.approx(-np.mean(losses), rel=1e-4)
