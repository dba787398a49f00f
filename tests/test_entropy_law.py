"""The law on planted texts: which texts a population holds, what lines and tests are made of them; and pictures."""

import io

import numpy as np
import pytest
from PIL import Image

from difflab.audits import entropy_law
from difflab.audits.entropy_law import (
    GIBBERISH,
    ONCE,
    REPEATED,
    UNSEEN,
    Asked,
    at_equal_copies,
    copied_pictures,
    inferred,
    of_pools,
    of_texts,
    pools_of,
    scored,
)
from difflab.audits.entropy_law_rows import back_rows
from difflab.audits.text_items import items_of
from difflab.audits.text_worlds import TextWorld
from difflab.diffusion.pipeline import SHIPPED, load
from difflab.statistics.entropy_memorization import token_entropy
from synthetic import plan as plans
from synthetic.plan import Plan

WORLD = TextWorld(
    copies=(0, 1, 64), items=(12, 12, 12), timed=0, item=20, length=42, sequences=2400, vocabulary=32, slots=8
)
ASKED = Asked(4, 16, 64, 10, 3, 19)


@pytest.fixture(scope="module")
def found():
    """As if every item with 64 copies had come back, and of the others as many tokens as differ in them."""
    items = items_of(WORLD)
    return scored(WORLD, np.where(items.copies == 64, 0, 5), ASKED)


def test_populations_are_those_of_the_ledger(found):
    kinds, copies = found.items.kinds, found.items.copies
    members = {name: found.population(name) for name in (ONCE, REPEATED, GIBBERISH, UNSEEN)}
    assert members[ONCE].sum() == 2 * (12 + 12 + 36) and copies[members[ONCE]].max() == 1
    assert set(kinds[members[ONCE]]) == {"natural", "template"}
    for name, more in ((REPEATED, {"natural", "template"}), (GIBBERISH, {"random"}), (UNSEEN, {"random"})):
        added = members[name] & ~members[ONCE]
        assert set(kinds[added]) == more and (members[name] | ~members[ONCE]).all()
        assert set(copies[added]) == ({0} if name == UNSEEN else {64})
    # Gibberish with many copies that did not come back is not memorized, nor is what came back and was never seen.
    lost = found._replace(scores=np.where(copies == 0, 0, 5))
    assert lost.population(GIBBERISH).tolist() == members[ONCE].tolist()
    shares = {row.setting["copies"]: row.value for row in back_rows([found, lost])}
    assert shares == {0: 0.5, 1: 0.0, 64: 0.5}


def test_tokens_are_those_after_the_prefix_and_pools_are_of_one_score(found):
    words = found.items.texts[3].split()
    assert found.truths.shape == (len(found.items.texts), 16) and len(words) == 20
    # Words stand for the same tokens everywhere.
    tokens = dict(zip(words[4:], found.truths[3].tolist(), strict=True)) if len(set(words[4:])) == 16 else {}
    assert len(set(tokens.values())) == len(tokens)
    pools = pools_of(found, REPEATED, ASKED, 0)
    assert pools.scores.tolist() == [0, 5] and pools.texts.tolist() == [24, 120]
    # Two points are no line.
    assert of_pools(found, REPEATED, ASKED, 0) is None and of_pools(found, ONCE, ASKED, 0) is None


def test_single_texts_have_the_entropy_of_their_own_tokens(found):
    entropies = np.array([token_entropy(one) for one in found.truths])
    changed = found._replace(scores=(100 * entropies).astype(np.int64))
    assert of_texts(changed, ONCE).r.value > 0.999


def test_intercepts_tell_what_came_back_from_twins_and_not_twins_from_twins(found):
    random = np.random.default_rng(0)
    noisy = found._replace(scores=found.scores * 5 + random.integers(0, 5, len(found.scores)))
    assert inferred(noisy, "one slope", 64, ASKED, 0)["p"].max() <= 0.05
    assert inferred(noisy, "one slope", 0, ASKED, 0)["p"].mean() > 0.05
    again = inferred(noisy, "own slopes", 64, ASKED, 0)["p"]
    assert again.tolist() == inferred(noisy, "own slopes", 64, ASKED, 0)["p"].tolist()


def test_what_is_told_of_a_picture_is_of_that_picture(monkeypatch):
    planted = plans.draw(Plan())
    index, seen = planted.where("repeated"), []

    def compared(measure, drawn, own, gallery):
        seen.extend((drawn, own, gallery))
        return np.arange(3.0 * len(own)).reshape(-1, 3) ** 2

    monkeypatch.setattr(entropy_law, "ask", lambda pipeline, captions, seeds, steps: (captions, len(seeds), steps))
    monkeypatch.setattr(entropy_law, "compare", compared)
    told = copied_pictures(load(SHIPPED, device="cpu"), 3, 7, 0)
    assert seen[0] == (planted.captions(index), 3, 7) and len(seen[2]) == len(index) + 500
    assert np.array_equal(seen[1], planted.pictures(index))
    for place in (0, 5, len(index) - 1):
        one = planted.listed[index[place]]
        assert told["copies"][place] == one.copies and told["scene"][place] == (one.source == "scene")
        buffer = io.BytesIO()
        Image.fromarray(seen[1][place]).save(buffer, "PNG", optimize=True)
        assert told["bytes"][place] == len(buffer.getvalue()) and told["alike"][place] == (3.0 * place + 1) ** 2


def test_pictures_are_compared_at_equal_copies_and_within_their_source():
    random = np.random.default_rng(1)
    copies, scene = np.repeat([1, 64], 10), np.tile([True, False], 10)
    size = random.normal(size=20)
    told = {"copies": copies, "scene": scene, "bytes": size + 9 * scene, "alike": copies + 3.0 * scene - size}
    whole = at_equal_copies(told)
    assert whole.r.value == pytest.approx(-1) and whole.points == 20
    assert at_equal_copies(told, 64).points == 10
    shifted = told | {"alike": told["alike"] + 100 * (copies == 64) * scene}
    assert at_equal_copies(shifted).r.value == pytest.approx(-1)
