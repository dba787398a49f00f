"""What defenses do to prompts, against plain loops over single captions."""

from collections import Counter
from copy import copy, deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from conformance import says_one_sentence
from diffusers import DDIMScheduler

from difflab.diffusion.architecture import Architecture, build
from difflab.diffusion.defenses.attention_scaling import AttentionScaling, attention_scaling
from difflab.diffusion.defenses.prompt_embedding import PromptEmbedding, _FirstStep, prompt_embedding
from difflab.diffusion.defenses.token_insertion import TokenInsertion, inserted, token_insertion
from difflab.diffusion.generate import embed
from difflab.randomness import item_seeds

SIZES = Architecture(
    side=16, latent_channels=4, widths=(16, 32), heads=2, vae_widths=(16, 16, 16), length=8, embedding=24,
    text_layers=1, prediction="epsilon",
)  # fmt: skip
# Of three to seven tokens, begin and end included: a word is one token.
CAPTIONS = [
    " ".join(words)
    for colour in ("red", "blue", "green", "grey")
    for words in ([colour], [colour, "cat"], [colour, "dog", "on", "grass"], ["a", colour, "fish", "in", "water"])
]
SOME = [CAPTIONS[i] for i in (1, 6, 11)]
SEEDS = item_seeds(40, "prompt embedding", 2)
SMALL = PromptEmbedding(target=0.0, seeds=2, updates=3, steps=5)


def _build():
    """Random weights, but for text loud enough to matter."""
    pipeline = build(CAPTIONS, SIZES, 0)
    for name, module in pipeline.unet.named_modules():
        if name.endswith("attn2.to_out.0"):
            module.weight.data.mul_(10)
    pipeline.unet.conv_out.weight.data.mul_(10)
    return pipeline


@pytest.fixture(scope="module")
def pipeline():
    return _build()


@pytest.fixture(scope="module")
def velocity(pipeline):
    """Predicts velocities, of embeddings whose length is not 1 and is not the same for all captions."""
    other = copy(pipeline)
    other.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, prediction_type="v_prediction")
    other.text_encoder = deepcopy(pipeline.text_encoder)
    (weight,) = (p for name, p in other.text_encoder.named_parameters() if name.endswith("final_layer_norm.weight"))
    weight.data.mul_(2 * torch.rand(weight.shape, generator=torch.Generator().manual_seed(0)) + 1)
    return other


@pytest.fixture
def own():
    """A pipeline that a test may spoil."""
    return _build()


def _ids(pipeline, caption):
    return pipeline.tokenizer(caption)["input_ids"]


@torch.no_grad()
def _encode(pipeline, ids):
    """One sequence, padded by hand."""
    padded = [*ids, *[pipeline.tokenizer.pad_token_id] * (8 - len(ids))]
    return pipeline.text_encoder(torch.tensor([padded]))[0][0]


# Prompt embedding: the magnitude -------------------------------------------------------------------------------------


def _plain_magnitude(pipeline, y, steps=5, seeds=SEEDS):
    """m of one embedding in its own precision, one noise at a time."""
    unet, time = pipeline.unet, (steps - 1) * (1000 // steps) + 1
    empty, lengths = _encode(pipeline, _ids(pipeline, "")).to(y.dtype), []
    for seed in seeds:
        x = torch.randn((1, 4, 4, 4), generator=torch.Generator().manual_seed(seed)).to(y.dtype)
        with_prompt, without = unet(x.expand(2, -1, -1, -1), time, torch.stack([y, empty])).sample
        moved = with_prompt - without
        if pipeline.scheduler.config.prediction_type == "v_prediction":
            # alpha v + sigma x: of two velocities at one x, alpha times their difference.
            moved = moved * pipeline.scheduler.alphas_cumprod[time].to(y.dtype) ** 0.5
        lengths.append((moved**2).sum() ** 0.5)
    return sum(lengths) / len(lengths)


def _magnitudes(pipeline, embeddings, steps=5, seeds=SEEDS):
    with torch.no_grad():
        return np.array([float(_plain_magnitude(pipeline, y, steps, seeds)) for y in embeddings])


@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize("kind", ["epsilon", "velocity"])
def test_the_magnitude_is_the_prompts_part_of_the_first_prediction(kind, steps, pipeline, velocity):
    chosen = {"epsilon": pipeline, "velocity": velocity}[kind]
    y = embed(chosen, SOME)
    with torch.no_grad():
        found = _FirstStep(chosen, SEEDS, steps).magnitude(y)
    np.testing.assert_allclose(found.numpy(), _magnitudes(chosen, y, steps), rtol=1e-4)


# Prompt embedding: the search ----------------------------------------------------------------------------------------


def _plain_search(pipeline, start, target, config):
    """AdamW written out, for one caption: the best iterate, and m of every one."""
    unit, y = start.square().mean() ** 0.5, start.clone()
    first, second, best, seen = torch.zeros_like(y), torch.zeros_like(y), start, []
    for step in range(config.updates + 1):
        y = y.detach().requires_grad_()
        m = _plain_magnitude(pipeline, y)
        seen.append(float(m.detach()))
        best = y.detach() if seen[-1] == min(seen) else best
        if seen[-1] <= target or step == config.updates:
            return best, seen
        gradient = unit * torch.autograd.grad(m, y)[0]
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        direction = first / (1 - 0.9 ** (step + 1)) / ((second / (1 - 0.999 ** (step + 1))) ** 0.5 + 1e-8)
        moved = y.detach() * (1 - 0.01 * config.rate) - config.rate * unit * direction
        y = torch.cat([start[:1], moved[1:]])
    raise AssertionError


@pytest.mark.parametrize(("kind", "rate"), [("velocity", 0.05), ("epsilon", 0.3), ("epsilon", 1.0)])
def test_the_embedding_is_that_of_a_plain_search(kind, rate, pipeline, velocity):
    chosen, config = {"epsilon": pipeline, "velocity": velocity}[kind], SMALL
    captions = [SOME[0], SOME[2]]
    start = embed(chosen, captions)
    found = prompt_embedding(chosen, captions, seed=40, config=replace(config, rate=rate)).embeddings
    exact, best_at = copy(chosen), []
    exact.unet = deepcopy(chosen.unet).double()
    for y, plain in zip(found, start, strict=True):
        wanted, seen = _plain_search(exact, plain.double(), 0.0, replace(config, rate=rate))
        assert len(seen) == 4
        best_at.append(int(np.argmin(seen)))
        assert (y - wanted).norm() <= 1e-4 * (wanted - plain).norm()
    # The longest stride never lowers the first; shorter ones overshoot.
    assert max(best_at) > 1 and (rate < 0.3 or min(best_at) < 3) and (rate < 1 or min(best_at) == 0)


def test_a_caption_stops_where_it_arrives_while_others_go_on(pipeline):
    captions = [*SOME[:2], CAPTIONS[15]]
    start = embed(pipeline, captions)
    target = float(3.5 * _magnitudes(pipeline, start)[0])
    found, lengths = prompt_embedding(pipeline, captions, seed=40, config=replace(SMALL, target=target)).embeddings, []
    after = _magnitudes(pipeline, found)
    for y, plain, m in zip(found, start, after, strict=True):
        wanted, seen = _plain_search(pipeline, plain, target, SMALL)
        lengths.append(len(seen))
        assert m == pytest.approx(min(seen), rel=1e-4) and (y - wanted).norm() <= 1e-4 * (wanted - plain).norm()
    # The first is there from the start, the second arrives, and the last doesn't.
    assert lengths[0] == 1 < lengths[1] < lengths[2] == 4 and list(after <= target) == [True, True, False]
    assert torch.equal(found[0], start[0])


def test_the_begin_token_stays_and_every_other_moves(pipeline):
    start, found = embed(pipeline, SOME), prompt_embedding(pipeline, SOME, seed=40, config=SMALL).embeddings
    assert torch.equal(found[:, 0], start[:, 0])
    assert ((found - start)[:, 1:].abs() > 0).float().mean() > 0.99


@pytest.mark.parametrize("rate", [3.0, 1e6])
def test_no_rate_makes_it_worse(rate, pipeline):
    start, config = embed(pipeline, SOME), replace(SMALL, rate=rate, updates=2)
    found = prompt_embedding(pipeline, SOME, seed=40, config=config).embeddings
    assert (_magnitudes(pipeline, found) <= _magnitudes(pipeline, start) * (1 + 1e-5)).all()
    assert found.isfinite().all()


@pytest.mark.parametrize(("updates", "target", "calls"), [(0, 0.0, 1), (3, 0.0, 4), (10, 1e9, 1)])
def test_no_prediction_is_made_that_is_not_needed(updates, target, calls, pipeline, monkeypatch):
    forward, rows = pipeline.unet.forward, []

    def spy(x, *rest):
        rows.append(len(x))
        return forward(x, *rest)

    monkeypatch.setattr(pipeline.unet, "forward", spy)
    found = prompt_embedding(pipeline, SOME, seed=40, config=replace(SMALL, updates=updates, target=target)).embeddings
    assert rows == [2, *[6] * calls]
    assert torch.equal(found, embed(pipeline, SOME)) == (calls == 1)


def test_the_usual_magnitude_is_one_deviation_above_the_mean(pipeline):
    before = _magnitudes(pipeline, embed(pipeline, CAPTIONS[:8]))
    # Of the unseen captions only so many are looked at.
    usual, config = before[:5], replace(SMALL, target=None, unseen=5, updates=1)
    target = float(usual.mean() + usual.std())
    found = prompt_embedding(pipeline, CAPTIONS[:8], CAPTIONS, 40, config).embeddings
    wanted = prompt_embedding(pipeline, CAPTIONS[:8], (), 40, replace(config, target=target)).embeddings
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    stayed = [torch.equal(y, plain) for y, plain in zip(found, embed(pipeline, CAPTIONS[:8]), strict=True)]
    # Another deviation, or another few captions, would draw the line elsewhere.
    assert stayed == (before <= target).tolist() and 0 < sum(stayed) < 8


def test_the_batch_does_not_matter(pipeline, monkeypatch):
    config = replace(SMALL, target=None, updates=3)
    whole = prompt_embedding(pipeline, SOME, CAPTIONS[:6], 40, config).embeddings
    monkeypatch.setattr("difflab.diffusion.batch_sizes.fitting", lambda _: 4)
    parts = prompt_embedding(pipeline, SOME, CAPTIONS[:6], 40, config).embeddings
    assert (parts - whole).norm() < 1e-4 * (whole - embed(pipeline, SOME)).norm()


def test_other_prompts_meet_the_same_defense_later(pipeline):
    others = CAPTIONS[2:5]
    met = prompt_embedding(pipeline, SOME, (), 40, SMALL).of(others)
    torch.testing.assert_close(met.embeddings, prompt_embedding(pipeline, others, (), 40, SMALL).embeddings)
    assert not met.embeddings.requires_grad
    assert float((met.embeddings - embed(pipeline, others)).abs().max()) > 0.01


def test_other_noises_find_another_embedding(pipeline):
    config = replace(SMALL, updates=1)
    one, other = (prompt_embedding(pipeline, SOME, seed=seed, config=config).embeddings for seed in (40, 41))
    assert ((one - other).flatten(1).norm(dim=1) > 0.01 * one.flatten(1).norm(dim=1)).all()


# Token insertion -----------------------------------------------------------------------------------------------------


def _encoded(pipeline, captions, seed, config, monkeypatch):
    """The ids that the text encoder was given, padding and all, and what came back."""
    forward, given = pipeline.text_encoder.forward, []

    def spy(ids):
        given.extend(ids.tolist())
        return forward(ids)

    monkeypatch.setattr(pipeline.text_encoder, "forward", spy)
    found = token_insertion(pipeline, captions, (), seed, config).embeddings
    monkeypatch.undo()
    return given, found


@pytest.mark.parametrize("k", [1, 3, 4, 20])
def test_a_caption_survives_in_order_with_as_many_tokens_as_fit(k, pipeline, monkeypatch):
    captions = ["", *CAPTIONS[:4], "a red dog in grass water"]
    given, found = _encoded(pipeline, captions, 3, TokenInsertion(k), monkeypatch)
    special = {pipeline.tokenizer.bos_token_id, pipeline.tokenizer.eos_token_id, pipeline.tokenizer.pad_token_id}
    for caption, ids, y in zip(captions, given, found, strict=True):
        plain = _ids(pipeline, caption)
        n, room = len(plain), 8 - len(plain)
        longer, padding = ids[: n + min(k, room)], ids[n + min(k, room) :]
        assert len(ids) == 8 and set(padding) <= {pipeline.tokenizer.pad_token_id}
        assert longer[0] == plain[0] and longer[-1] == plain[-1]
        words = iter(longer[1:-1])
        assert all(word in words for word in plain[1:-1])
        extra = Counter(longer) - Counter(plain)
        assert sum(extra.values()) == min(k, room) and not special & set(extra)
        torch.testing.assert_close(y, _encode(pipeline, longer), rtol=0, atol=1e-5)
    assert [len(_ids(pipeline, caption)) for caption in captions] == [2, 3, 4, 6, 7, 8]
    assert torch.equal(found[-1], embed(pipeline, captions)[-1])


def test_no_tokens_leave_the_captions(pipeline):
    assert torch.equal(
        token_insertion(pipeline, CAPTIONS, config=TokenInsertion(0)).embeddings, embed(pipeline, CAPTIONS)
    )


def test_places_and_tokens_are_spread(pipeline):
    plain, vocabulary, n = [0, 5, 6, 1], np.arange(10, 20), 1500
    drawn = [inserted(plain, vocabulary, 2, seed) for seed in range(n)]
    patterns = Counter(tuple(token >= 10 for token in ids[1:-1]) for ids in drawn)
    # Two words and two others: six arrangements, each drawn 250 times give or take 14.
    assert len(patterns) == 6 and min(patterns.values()) > 190 and max(patterns.values()) < 310
    tokens = Counter(token for ids in drawn for token in ids if token >= 10)
    # Ten tokens, each drawn 300 times give or take 16.
    assert set(tokens) == set(vocabulary) and min(tokens.values()) > 230 and max(tokens.values()) < 370
    # Of the two tokens either comes first as often: 45 % of the draws each, give or take 1.3.
    first = [[token for token in ids if token >= 10] for ids in drawn]
    assert 0.4 < np.mean([one < other for one, other in first]) < 0.5
    assert 0.4 < np.mean([one > other for one, other in first]) < 0.5


def test_another_caption_or_another_seed_is_another_draw(pipeline, monkeypatch):
    captions = [caption for caption in CAPTIONS if len(caption.split()) == 2]
    one, found = _encoded(pipeline, captions, 0, TokenInsertion(2), monkeypatch)
    other, _ = _encoded(pipeline, captions, 1, TokenInsertion(2), monkeypatch)
    again, _ = _encoded(pipeline, [*captions[::-1], captions[0]], 0, TokenInsertion(2), monkeypatch)
    assert again == [*one[::-1], one[0]]
    plain = [_ids(pipeline, caption) for caption in captions]
    extras = [tuple((Counter(ids) - Counter([*own, own[-1]])).elements()) for ids, own in zip(one, plain, strict=True)]
    assert len(set(extras)) == len(captions) and one != other
    assert not torch.equal(found, embed(pipeline, captions))


# Attention scaling ---------------------------------------------------------------------------------------------------


def test_what_follows_the_last_word_is_hidden(pipeline):
    # Words of the tokenizer's, then one that it spells out.
    captions = ["", "red", "red cat", "a red fish in water", "a red dog in grass water", "redo"]
    masks = attention_scaling(pipeline, captions).masks
    assert [mask.hidden.tolist() for mask in masks[:-1]] == [
        [False, True, True, True, True, True, True, True],
        [False, False, True, True, True, True, True, True],
        [False, False, False, True, True, True, True, True],
        [False, False, False, False, False, False, True, True],
        [False, False, False, False, False, False, False, True],
    ]
    spelled = len(_ids(pipeline, "redo"))
    assert spelled > 3 and (~masks[-1].hidden).sum() == spelled - 1 and not masks[-1].hidden[: spelled - 1].any()
    assert {mask.begin for mask in masks} == {1.25} and attention_scaling(pipeline, []).masks == []
    assert attention_scaling(pipeline, ["red"], config=AttentionScaling(1.5)).masks[0].begin == 1.5


# What is wrong with the input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "word"),
    [
        (lambda: PromptEmbedding(target=-1.0), "target"),
        (lambda: PromptEmbedding(target=float("nan")), "target"),
        (lambda: PromptEmbedding(seeds=0), "seed"),
        (lambda: PromptEmbedding(unseen=1), "unseen"),
        (lambda: PromptEmbedding(updates=-1), "updates"),
        (lambda: PromptEmbedding(rate=0.0), "rate"),
        (lambda: PromptEmbedding(rate=float("inf")), "rate"),
        (lambda: PromptEmbedding(steps=0), "steps"),
        (lambda: PromptEmbedding(steps=1000), "steps"),
        (lambda: TokenInsertion(tokens=-1), "tokens"),
        (lambda: AttentionScaling(factor=0.0), "factor"),
        (lambda: AttentionScaling(factor=-1.25), "factor"),
        (lambda: AttentionScaling(factor=float("nan")), "factor"),
    ],
)
def test_a_config_that_makes_no_sense(config, word):
    assert word in says_one_sentence(config)


@pytest.mark.parametrize("method", [token_insertion, attention_scaling])
def test_a_caption_that_is_too_long_is_defended_as_it_is_cut(method, pipeline):
    cut, whole = (method(pipeline, [words], CAPTIONS) for words in ("a b c d e f", "a b c d e f g h"))
    assert torch.equal(whole.embeddings, cut.embeddings)
    for one, other in zip(whole.masks, cut.masks, strict=True):
        assert (one == other) if isinstance(one, dict) else torch.equal(one.hidden, other.hidden)


def test_a_call_that_makes_no_sense(own):
    for method in (prompt_embedding, token_insertion):
        assert "at least one" in says_one_sentence(lambda method=method: method(own, [], CAPTIONS))
    for n in (0, 1):
        assert "at least two" in says_one_sentence(lambda n=n: prompt_embedding(own, SOME, CAPTIONS[:n]).embeddings)
    own.unet.conv_out.bias[0] = torch.nan
    assert "not finite" in says_one_sentence(lambda: prompt_embedding(own, SOME, config=SMALL).embeddings)
