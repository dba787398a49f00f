"""Every membership score goes through one suite; then each against a plain loop; then the audit that asks them all."""

import math
from dataclasses import is_dataclass

import numpy as np
import pytest
import torch
from conformance import assert_same_state, changed, method, says_one_sentence, state
from diffusers import DDIMScheduler

from difflab.audits import membership as audit
from difflab.audits.blind import blind_features, blind_scores
from difflab.diffusion.architecture import Architecture, build
from difflab.diffusion.loss import levels
from difflab.diffusion.membership.clid import Clid, clid
from difflab.diffusion.membership.clid import features as clid_features
from difflab.diffusion.membership.gradient_masking import GradientMasking, gradient_masking
from difflab.diffusion.membership.gradient_masking import features as masking_features
from difflab.diffusion.membership.multiple_loss import MultipleLoss, multiple_loss
from difflab.diffusion.membership.multiple_loss import features as loss_features
from difflab.diffusion.membership.pia import Pia, pia
from difflab.diffusion.membership.pian import Pian, pian
from difflab.diffusion.membership.secmi import Secmi, secmi
from difflab.diffusion.membership.single_loss import SingleLoss, single_loss
from difflab.errors import InputError
from difflab.methods import VARIABLE, methods
from difflab.randomness import stream
from difflab.runs.rows import select
from difflab.statistics.intervals import bootstrap
from difflab.statistics.ranking import auc
from experiments import __main__ as command_line

NAMES = list(methods("membership"))
DRAWS_NOTHING = {"pia", "pian", "secmi"}
PREDICTIONS = ["epsilon", "v_prediction", "sample"]
SIZES = Architecture(
    side=32, latent_channels=4, widths=(16, 32), layers=1, heads=2, vae_widths=(16, 16, 16), length=8, embedding=16,
    text_layers=1, prediction="epsilon",
)  # fmt: skip
CAPTIONS = [f"{colour} {animal}" for colour in ("red", "blue", "green") for animal in ("cat", "dog", "fish")]
SEEDS = [3, 11]
LATENTS = torch.randn((len(CAPTIONS), 4, 8, 8), generator=torch.Generator().manual_seed(1))
FEW = {"times": (0, 300, 900), "time": 20, "scales": (0.0, 1.0, -1.0, 2.0)}
"""Quicker than the defaults, and CLiD scored item by item."""


@pytest.fixture(scope="module")
def pipeline():
    return build(CAPTIONS, SIZES, 0)


@pytest.fixture
def own():
    """A pipeline that a test may spoil."""
    return build(CAPTIONS, SIZES, 0)


@pytest.fixture(scope="module")
def exact():
    """In float64, for comparisons to 1e-5 of what is nearly zero."""
    found = build(CAPTIONS, SIZES, 0)
    found.unet.double(), found.text_encoder.double()
    return found


def _config(name, **changes):
    return changed(method("membership", name)[1], FEW | changes)


def _scored(name, pipeline, n=9, seeds=SEEDS, latents=LATENTS, **changes):
    return method("membership", name)[0](pipeline, latents[:n], CAPTIONS[:n], seeds, _config(name, **changes))


def _score(*given, **changes):
    return _scored(*given, **changes).values


def test_the_folder_is_the_registry():
    expected = {"single_loss", "multiple_loss", "secmi", "pia", "pian", "gradient_masking", "clid"}
    assert expected <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_holds_a_frozen_config_and_a_function_of_its_name(name):
    function, config = method("membership", name)
    assert callable(function) and is_dataclass(config) and config.__dataclass_params__.frozen
    told = ("score", "Args:", "Returns:", "Raises:", "arXiv", "Differs:")
    assert all(part in function.__doc__ for part in told) and methods("membership")[name].papers


@pytest.mark.parametrize("name", NAMES)
def test_one_finite_score_for_each_picture_the_same_again_and_nothing_left_changed(name, pipeline):
    before = state(pipeline)
    first, again = (_scored(name, pipeline) for _ in range(2))
    assert_same_state(before, state(pipeline))
    assert first.values.shape == (len(CAPTIONS),) and first.values.dtype == np.float64
    assert np.isfinite(first.values).all() and len(np.unique(first.values)) == len(CAPTIONS)
    np.testing.assert_array_equal(again.values, first.values)
    if name != "clid":
        assert (first.values <= 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_batch_does_not_matter_and_is_no_larger_than_asked(name, pipeline):
    rows, all_at_once = [], _score(name, pipeline, 6, at_once=100)
    hook = pipeline.unet.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    try:
        few = _score(name, pipeline, 6, at_once=4)
    finally:
        hook.remove()
    assert min(rows) > 1 and max(rows) <= 4
    np.testing.assert_allclose(few, all_at_once, rtol=1e-3 if name == "secmi" else 1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_score_is_the_pictures_own_and_the_captions(name, exact):
    scores = _score(name, exact)
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(CAPTIONS)))
    function, config = method("membership", name)[0], _config(name)
    shuffled = function(exact, LATENTS[order], [CAPTIONS[i] for i in order], SEEDS, config).values
    np.testing.assert_allclose(shuffled, scores[order], rtol=1e-8)
    np.testing.assert_allclose(_score(name, exact, 1), scores[:1], rtol=1e-8)
    assert (function(exact, LATENTS, CAPTIONS[::-1], SEEDS, config).values[:4] != scores[:4]).all()


@pytest.mark.parametrize("name", NAMES)
def test_seeds_are_averaged_where_noise_is_drawn(name, exact):
    both, first, second = (_score(name, exact, 3, seeds) for seeds in ([3, 11], [3], [11]))
    np.testing.assert_allclose(both, (first + second) / 2, rtol=1e-8)
    assert (first == second).all() if name in DRAWS_NOTHING else (first != second).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_network_that_fails_leaves_gradients_as_they_were(name, own, monkeypatch):
    def fails(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(own.unet, "forward", fails)
    with pytest.raises(RuntimeError, match="out of memory"):
        _score(name, own)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("name", NAMES)
def test_a_mistake_is_one_sentence(name, pipeline):
    function, config = method("membership", name)[0], _config(name)
    assert "caption" in says_one_sentence(lambda: function(pipeline, LATENTS[:0], [], SEEDS, config))
    assert "3 latents" in says_one_sentence(lambda: function(pipeline, LATENTS[:3], CAPTIONS, SEEDS, config))
    assert "at_once" in says_one_sentence(lambda: _config(name, at_once=0))
    late = {"times": (0, 1000), "time": 1000}
    assert "the schedule has 1000" in says_one_sentence(lambda: _score(name, pipeline, **late))
    if name not in DRAWS_NOTHING:
        assert "seed" in says_one_sentence(lambda: _score(name, pipeline, seeds=[]))


def test_a_memorizer_is_told_by_distances_and_not_by_how_fast_it_moves(exact, monkeypatch):
    """A network that restores the nearest of three members: their proximal errors are 0, of others the distance to the
    nearest, in units of the noise; on the path the restored picture stays the same, so that SecMI sees nothing."""
    members = LATENTS[:3].double()

    def restores(pipeline, noisy, time, embeddings):
        alpha, sigma = levels(pipeline.scheduler, time, noisy)
        nearest = torch.cdist((noisy / alpha).flatten(1), members.flatten(1)).argmin(dim=1)
        return (noisy - alpha * members[nearest]) / sigma

    for place in ("noise_errors", "proximal", "membership.secmi"):
        monkeypatch.setattr(f"difflab.diffusion.{place}.predicted_noise", restores)
    latents = torch.cat([members, members + 0.1 * LATENTS[3:6].double()])
    alpha, sigma = levels(exact.scheduler, FEW["time"], latents)
    wanted = -(alpha / sigma).item() * (latents - members.repeat(2, 1, 1, 1)).flatten(1).norm(p=4, dim=1).numpy()
    scores = _score("pia", exact, 6, latents=latents, power=4.0)
    np.testing.assert_allclose(scores, wanted, rtol=1e-6, atol=1e-9)
    assert scores[:3].min() > scores[3:].max()
    np.testing.assert_allclose(_score("secmi", exact, 6, latents=latents), 0, atol=1e-12)


@pytest.mark.parametrize(
    ("config", "word"),
    [
        (lambda: SingleLoss(time=-1), "time"),
        (lambda: MultipleLoss(times=()), "times"),
        (lambda: MultipleLoss(times=(5, -1)), "times"),
        (lambda: GradientMasking(times=()), "times"),
        (lambda: GradientMasking(share=0.0), "share"),
        (lambda: GradientMasking(share=1.1), "share"),
        (lambda: Secmi(stride=0), "stride"),
        (lambda: Secmi(time=105), "multiple of stride"),
        (lambda: Secmi(time=-10), "multiple of stride"),
        (lambda: Pia(time=-1), "time"),
        (lambda: Pian(power=0.5), "power"),
        (lambda: Clid(weight=1.1), "weight"),
        (lambda: Clid(scales=(0.0, 0.0, 0.0, 1.0)), "scales"),
        (lambda: Clid(times=()), "times"),
    ],
)
def test_a_config_that_makes_no_sense(config, word):
    assert word in says_one_sentence(config)


def test_pictures_that_are_all_alike_give_clid_no_scale(pipeline):
    alike = LATENTS[:1].expand(3, -1, -1, -1)
    assert "too alike" in says_one_sentence(lambda: clid(pipeline, alike, ["red cat"] * 3, SEEDS))


def test_a_score_in_a_folder_of_the_users_own_is_found(tmp_path, monkeypatch):
    (tmp_path / "membership").mkdir()
    (tmp_path / "membership" / "constant.py").write_text('"""Membership score: always 1."""\n')
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert "constant" in methods("membership") and "constant" not in methods("detectors")
    (tmp_path / "membership" / "pia.py").write_text("")
    assert "pia.py" in says_one_sentence(lambda: methods("membership"))


# The plain loop ------------------------------------------------------------------------------------------------------


def _levels(pipeline, time):
    alpha_bar = float(pipeline.scheduler.alphas_cumprod[time])
    return math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)


def _predict(pipeline, x, time, caption):
    """The noise that one picture is predicted to hold."""
    ids = pipeline.tokenizer(caption, padding="max_length", max_length=8, return_tensors="pt")["input_ids"]
    out = pipeline.unet(x[None], torch.tensor([time]), pipeline.text_encoder(ids)[0]).sample[0]
    (alpha, sigma), kind = _levels(pipeline, time), pipeline.scheduler.config.prediction_type
    return {"epsilon": out, "v_prediction": alpha * out + sigma * x, "sample": (x - alpha * out) / sigma}[kind]


def _eps(seed):
    return torch.randn((4, 8, 8), generator=torch.Generator().manual_seed(seed)).double()


def _noisy(pipeline, z, eps, time):
    alpha, sigma = _levels(pipeline, time)
    return alpha * z + sigma * eps


def _error(pipeline, z, caption, seed, time):
    eps = _eps(seed)
    with torch.no_grad():
        gap = _predict(pipeline, _noisy(pipeline, z, eps, time), time, caption) - eps
    return math.sqrt(float((gap**2).sum()))


@pytest.fixture(params=PREDICTIONS)
def told(request, exact):
    """The same network, whose prediction counts as noise, velocity or latents."""
    kept = exact.scheduler
    exact.scheduler = DDIMScheduler.from_config(kept.config, prediction_type=request.param)
    yield exact
    exact.scheduler = kept


Z, OWN = LATENTS[:3].double(), CAPTIONS[:3]


def test_losses_are_the_lengths_of_errors(told):
    single = single_loss(told, Z, OWN, SEEDS, SingleLoss(time=70)).values
    many = multiple_loss(told, Z, OWN, SEEDS, MultipleLoss(times=(10, 500, 990)))
    errors = [[[_error(told, z, c, s, t) for t in (10, 500, 990)] for s in SEEDS] for z, c in zip(Z, OWN, strict=True)]
    np.testing.assert_allclose(many.features, np.mean(errors, axis=1), rtol=1e-5)
    np.testing.assert_allclose(many.values, -np.mean(errors, axis=(1, 2)), rtol=1e-5)
    at_70 = [-np.mean([_error(told, z, c, s, 70) for s in SEEDS]) for z, c in zip(Z, OWN, strict=True)]
    np.testing.assert_allclose(single, at_70, rtol=1e-5)
    config = MultipleLoss(times=(10, 500, 990))
    np.testing.assert_array_equal(loss_features(told, Z, OWN, SEEDS, config), many.features)
    assert SingleLoss().time == 100 and MultipleLoss().times == (0, 100, 200, 300, 400, 500, 600, 700, 800, 900)


@torch.no_grad()
def _plain_secmi(pipeline, x, caption, end, stride):
    def step(x, start, end):
        eps = _predict(pipeline, x, start, caption)
        (alpha, sigma), (alpha_end, sigma_end) = _levels(pipeline, start), _levels(pipeline, end)
        return alpha_end * ((x - sigma * eps) / alpha) + sigma_end * eps

    time = 0
    while time < end:
        x, time = step(x, time, time + stride), time + stride
    return -float(((step(step(x, end, end + stride), end + stride, end) - x) ** 2).sum())


def test_secmi_is_one_step_up_and_down_again(told):
    scores = secmi(told, Z, OWN, [], Secmi(time=60, stride=20)).values
    plain = [_plain_secmi(told, z, caption, 60, 20) for z, caption in zip(Z, OWN, strict=True)]
    np.testing.assert_allclose(scores, plain, rtol=1e-5)
    assert (Secmi().time, Secmi().stride) == (100, 10)


@torch.no_grad()
def _plain_pia(pipeline, z, caption, time, power, normal):
    g = _predict(pipeline, z, 0, caption)
    if normal:
        g = g / g.abs().mean() * 0.7978845608028654
    alpha, sigma = _levels(pipeline, time)
    gap = (g - _predict(pipeline, alpha * z + sigma * g, time, caption)).abs()
    return -(float((gap**power).sum()) ** (1 / power))


def test_pia_and_pian_ask_twice(told):
    for score, config, normal in ((pia, Pia(time=150), False), (pian, Pian(time=150), True)):
        scores = score(told, Z, OWN, [], config).values
        plain = [_plain_pia(told, z, caption, 150, 4, normal) for z, caption in zip(Z, OWN, strict=True)]
        np.testing.assert_allclose(scores, plain, rtol=1e-5)
    third = pia(told, Z[:1], OWN[:1], [], Pia(time=150, power=3.0)).values
    np.testing.assert_allclose(third, _plain_pia(told, Z[0], OWN[0], 150, 3, False), rtol=1e-5)
    assert (Pia().time, Pia().power, Pian().time, Pian().power) == (200, 4.0, 200, 4.0)


def _plain_masked(pipeline, z, caption, seed, time, share):
    eps = _eps(seed)
    noisy = _noisy(pipeline, z, eps, time).requires_grad_(True)
    ((_predict(pipeline, noisy, time, caption) - eps) ** 2).sum().sqrt().backward()
    slope = noisy.grad.abs().numpy().ravel()
    inside = np.zeros(slope.size, bool)
    inside[np.argsort(slope)[::-1][: round(share * slope.size)]] = True
    mask = torch.from_numpy(inside.reshape(4, 8, 8))
    mixed = z.clone()
    mixed[mask] = eps[mask]
    with torch.no_grad():
        gap = _predict(pipeline, mixed, time, caption) + z - eps
    return math.sqrt(float((gap[mask] ** 2).sum()))


def test_gradient_masking_is_the_error_where_the_gradient_is_large(told):
    config = GradientMasking(times=(0, 600), share=0.3)
    found = gradient_masking(told, Z, OWN, SEEDS, config)
    plain = [
        [np.mean([_plain_masked(told, z, c, seed, time, 0.3) for seed in SEEDS]) for time in config.times]
        for z, c in zip(Z, OWN, strict=True)
    ]
    np.testing.assert_allclose(found.features, plain, rtol=1e-5)
    np.testing.assert_allclose(found.values, -np.mean(plain, axis=1), rtol=1e-5)
    np.testing.assert_array_equal(masking_features(told, Z, OWN, SEEDS, config), found.features)
    assert GradientMasking().share == 0.2 and GradientMasking().times == MultipleLoss().times


def test_clid_is_what_the_caption_adds_and_the_likelihood(told):
    config = Clid(times=(440, 460), weight=0.7)
    found = clid(told, Z, OWN, SEEDS, config)

    def likelihood(z, caption):
        return -np.mean([_error(told, z, caption, seed, time) ** 2 for seed in SEEDS for time in (440, 460)]) / 256

    own = np.array([likelihood(z, caption) for z, caption in zip(Z, OWN, strict=True)])
    adds = own - np.array([likelihood(z, "") for z in Z])
    np.testing.assert_allclose(found.features, np.stack([adds, own], axis=1), rtol=1e-5)

    def scaled(v):
        return (v - np.median(v)) / (np.percentile(v, 75) - np.percentile(v, 25))

    np.testing.assert_allclose(found.values, 0.7 * scaled(adds) + 0.3 * scaled(own), rtol=1e-5, atol=1e-8)
    known = clid(told, Z[:1], OWN[:1], SEEDS, Clid(times=(440, 460), weight=0.7, scales=(0.1, 2.0, -0.3, 4.0)))
    assert known.values[0] == pytest.approx(0.7 * (adds[0] - 0.1) / 2 + 0.3 * (own[0] + 0.3) / 4, rel=1e-5)
    np.testing.assert_array_equal(clid_features(told, Z, OWN, SEEDS, config), found.features)
    assert Clid().times == (440, 450, 460) and Clid().weight == 0.5


def test_intervals_of_exchangeable_pictures_hold_one_half(pipeline):
    """Forty draws of 20 members and 20 non-members from one law; at 95 % two or so miss, of a wrong interval more."""
    z = torch.randn((40 * 40, 4, 8, 8), generator=torch.Generator().manual_seed(5))
    scores = single_loss(pipeline, z, ["red cat"] * len(z), [7]).values.reshape(40, 40)
    member, held = np.arange(40) < 20, 0
    for i, draw in enumerate(scores):
        pairs = np.stack([draw, member], axis=1)
        found = bootstrap(pairs, lambda p: auc(p[:, 0], p[:, 1] > 0), stream(0, "draw", i).numpy(), 300)
        held += found.low <= 0.5 <= found.high
    assert held >= 36


# The blind baseline --------------------------------------------------------------------------------------------------


def test_the_blind_baseline_finds_what_can_be_seen_and_read_and_no_more():
    generator, member = np.random.default_rng(0), np.arange(80) < 40
    pictures = generator.integers(0, 256, (80, 16, 16, 3), np.uint8)
    captions = [f"a {'red' if one else 'blue'} cat {i}" for i, one in enumerate(member)]
    same = ["a cat"] * 80

    def area(pictures, captions):
        return auc(blind_scores(blind_features(pictures, captions), member, stream(0, "blind")), member)

    assert area(pictures, captions) > 0.95 and 0.2 < area(pictures, same) < 0.8
    numbered = [f"{'狗' if one else '猫'}在第{i}号照片" for i, one in enumerate(member)]
    assert area(pictures, numbered) > 0.95
    darker = np.where(member[:, None, None, None], pictures // 2, pictures).astype(np.uint8)
    assert area(darker, same) > 0.95
    found = blind_features(pictures[:2], ["red cat", "red dog"])
    assert found.shape == (2, 48 + 3 + 2) and list(found[:, -1]) == [1, 1]
    block = pictures[0, :4, 4:8].reshape(-1, 3).mean(axis=0) / 127.5 - 1
    np.testing.assert_allclose(found[0, [1, 17, 33]], block, atol=1e-5)
    few = says_one_sentence(lambda: blind_scores(found, np.array([True, False]), stream(0, "blind")))
    assert "at least 5" in few


def test_the_blind_baseline_holds_a_member_out_with_its_twins():
    """Twins in the other folds say what a member is not: 20 members, each with two twins that are hardly other."""
    chance = np.random.default_rng(0)
    families, member = np.repeat(np.arange(20), 3), np.arange(60) % 3 == 0
    apart, whole = [], []
    for seed in range(12):
        seen = chance.normal(size=(20, 30))[families] + 0.1 * chance.normal(size=(60, 30))
        apart.append(auc(blind_scores(seen, member, stream(seed, "blind")), member))
        whole.append(auc(blind_scores(seen, member, stream(seed, "blind"), families), member))
    assert np.mean(apart) < 0.4 < np.mean(whole) < 0.6


# The audit -----------------------------------------------------------------------------------------------------------

QUICK = {"methods": "single_loss,multiple_loss", "samples": (5, 10), "resamples": 2, "null_sets": 3, "replicates": 20,
         "false_positives": (0.1, 0.01)}  # fmt: skip


def _pictures(seed, n):
    return np.random.default_rng(seed).integers(0, 256, (n, 32, 32, 3), np.uint8)


def _words(n):
    return [CAPTIONS[i % len(CAPTIONS)] for i in range(n)]


@pytest.fixture(scope="module")
def audited(pipeline):
    """Twenty-two members, of which five stand in the folder three times, and twenty-four non-members."""
    repeated = _pictures(2, 5)
    inside = np.concatenate([_pictures(0, 17), *(repeated,) * 3])
    captions = [*_words(17), *_words(5) * 3]
    return audit.membership(
        pipeline, members=(inside, captions), non_members=(_pictures(1, 24), _words(24)), **QUICK, items=50
    )


def test_an_audit_compares_every_score_with_a_blind_baseline(audited):
    areas = select(audited.rows, "auc")
    assert {row.setting["method"] for row in areas} == {"single_loss", "multiple_loss", "blind"}
    counts = {row.setting["copies"]: row.n for row in areas}
    assert counts == {"all": 22 + 24, "once": 17 + 24, "2 to 15 copies": 5 + 24}
    shown = select(audited.rows, "auc", method="single_loss", copies="once")[0]
    member, non_member = audited.artefacts["member"], audited.artefacts["non_member"]
    scores, here = audited.artefacts["scores_single_loss"], member[1] | non_member[1]
    assert shown.value == pytest.approx(auc(scores[here], member[1][here]))
    rates = {row.setting["false_positives"] for row in select(audited.rows, "true_positive_fraction")}
    assert rates == {0.1}
    (note,) = audited.meta["notes"]
    assert "24 non-members can't resolve so few, give 100" in note
    assert audited.artefacts["features"].shape == (46, 1 + 10)


def test_an_audit_asks_of_whole_sets_and_of_null_sets(audited):
    sizes = {(row.setting["copies"], row.setting["sample"]) for row in select(audited.rows, "mean_p_value")}
    assert sizes == {("all", 5), ("all", 10), ("once", 5), ("once", 10), ("2 to 15 copies", 5)}
    false = select(audited.rows, "false_alarm_fraction")
    assert {(row.setting["test"], row.setting["sample"], row.n) for row in false} == {
        (test, size, 3) for test in ("one split", "five folds") for size in (5, 10)
    }
    assert set(audited.figures) == {"areas", "dataset_inference"} and len(audited.claims) == 5


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        ({"members": "a"}, "go together"),
        ({"model": "oracle"}, "--members FOLDER and --non-members FOLDER"),
        ({"methods": "secmy"}, "no 'secmy' among the membership"),
        ({"noises": 0}, "noises is 0"),
        ({"items": 19}, "items is 19"),
        ({"false_positives": (0.0,)}, "false_positives"),
        ({"false_positives": (1.0,)}, "false_positives"),
        ({"false_positives": ()}, "false_positives"),
        ({"samples": (10, 4)}, "at least 5"),
        ({"samples": ()}, "at least 5"),
        ({"null_sets": 0}, "null_sets is 0"),
        ({"members": "nowhere", "non_members": "nowhere"}, "nowhere"),
    ],
)
def test_a_flag_that_makes_no_sense_is_one_sentence_before_anything_is_loaded(flags, word):
    with pytest.raises(InputError) as error:
        audit.membership(**flags)
    assert word in str(error.value)


def test_pictures_that_make_no_sense_are_one_sentence_before_anything_is_scored(pipeline, monkeypatch):
    monkeypatch.setattr(pipeline.unet, "forward", None)
    own, other = (_pictures(0, 6), _words(6)), (_pictures(1, 6), _words(6))

    def said(members, non_members):
        return says_one_sentence(
            lambda: audit.membership(pipeline, members=members, non_members=non_members, methods="pia")
        )

    both = (np.concatenate([other[0][:5], own[0][3:4]]), _words(6))
    assert "1 pictures of --members lie in --non-members, too (picture 3 and picture 5)" in said(own, both)
    assert "5 different pictures and --non-members 2; give at least 5" in said(
        (_pictures(0, 5), _words(5)), (_pictures(1, 2), _words(2))
    )
    assert "this pipeline draws (32, 32, 3)" in said((own[0][:, :16, :16], own[1]), other)


def test_the_command_line_says_it_in_one_sentence_and_exits_with_2(capsys):
    for words, said in ((["membership"], "name the pipeline"), (["membership", "oracle"], "--non-members FOLDER")):
        with pytest.raises(SystemExit) as ended:
            command_line.main(words)
        assert ended.value.code == 2 and said in capsys.readouterr().err.splitlines()[-1]
