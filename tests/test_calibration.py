"""What a copy threshold is calibrated on: near-copies count as one, pictures of one caption are not compared."""

import io

import numpy as np
import pytest
from PIL import Image

import difflab
from difflab.audits import audit, pipelines
from difflab.datasets import pixels
from difflab.datasets.near_copies import different
from difflab.diffusion import copies, similarity
from difflab.diffusion.calibration import apart, calibration, enough
from difflab.diffusion.similarity import Gallery, described, leave_one_out, measures, nearest_similarity
from difflab.runs.results import open_run
from difflab.runs.rows import select
from synthetic.plan import Plan, draw


@pytest.fixture(scope="module")
def scenes():
    plan = draw(Plan(unique=70, held_out=0, emoji=0, recaptioned=0, layouts=0, regions=0, per_rung=2, ladder=(1,)))
    index = plan.where("unique")
    return plan.pictures(index), plan.captions(index)


def _stored(picture, quality):
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))


def test_different_pictures_stay_and_near_copies_do_not(scenes):
    pictures, _ = scenes
    assert different(pictures).tolist() == list(range(70))
    again = np.stack([_stored(pictures[i], quality) for i, quality in ((3, 95), (3, 60), (9, 75))])
    both = np.concatenate([pictures, again, pictures[:2]])
    assert different(both).tolist() == list(range(70))
    # Of a chain the first stays, wherever it lies.
    assert different(both[::-1]).tolist() == [*range(4), *(i for i in range(5, 75) if 74 - i not in (0, 1, 3, 9))]


def test_flat_pictures_of_two_colours_are_different():
    pictures = np.stack([np.full((8, 8, 3), value, np.uint8) for value in (10, 10, 14, 200)])
    assert different(pictures).tolist() == [0, 2, 3]


def test_near_copies_of_large_pictures_are_found_at_a_small_size(scenes):
    pictures = np.stack([np.asarray(Image.fromarray(one).resize((96, 128))) for one in scenes[0][:6]])
    both = np.concatenate([pictures, _stored(pictures[2], 50)[None]])
    assert different(both).tolist() == list(range(6))


def test_held_out_pictures_stay_apart_from_training_pictures(scenes, capsys):
    pictures, captions = scenes
    held_out = np.concatenate([pictures[:3], _stored(pictures[20], 80)[None]])
    kept = apart(held_out, ["new", captions[30].upper() + " ", "other", "again"], pictures[10:], captions[10:])
    assert kept.tolist() == [True, False, True, False]
    assert "leaves out 2 of 4" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["pixel", "efficientnet"])
def test_pictures_of_one_caption_are_not_compared(name, scenes):
    measure, pictures = measures()[name], scenes[0]
    features = measure.describe(pictures)
    plain = leave_one_out(measure, features)
    assert np.array_equal(leave_one_out(measure, features, np.arange(70)), plain)
    best = int(plain.argmax())
    rest = np.delete(np.arange(70), best)
    partner = rest[_alike(measure, features, best)[rest].argmax()]
    kinds = np.arange(70)
    kinds[partner] = kinds[best]
    found = leave_one_out(measure, features, kinds)
    assert found[best] < plain[best] and len(found) == 70
    assert len(leave_one_out(measure, features, np.zeros(70, np.int64))) == 0


def _alike(measure, features, i):
    if measure.angular:
        return (features[i : i + 1] * features).sum(dim=(1, 2)).numpy()
    return -similarity.distances(features[i : i + 1].expand_as(features), features).numpy()


@pytest.mark.parametrize("name", ["pixel", "patch"])
def test_pictures_described_block_by_block_compare_alike(name, scenes, monkeypatch):
    measure, (pictures, _) = measures()[name], scenes
    features, kinds = measure.describe(pictures), np.arange(70) // 2
    monkeypatch.setattr(similarity, "AT_ONCE", 2 * 4 * pictures[0].size)
    lazy = similarity.gallery(measure, pictures)
    assert isinstance(lazy, Gallery) and [len(block) for _, block in lazy.blocks()] == [2] * 35
    whole = leave_one_out(measure, features, kinds)
    np.testing.assert_allclose(leave_one_out(measure, lazy, kinds), whole, atol=1e-5)
    monkeypatch.setattr(similarity, "ASKED", 24)
    np.testing.assert_allclose(leave_one_out(measure, lazy, kinds), whole[::3], atol=1e-5)
    assert len(leave_one_out(measure, features, kinds)) == 70
    looked, other = (described(measure, pictures[:5] // 2, one) for one in (lazy, features))
    found, wanted = nearest_similarity(measure, looked, lazy), nearest_similarity(measure, other, features)
    np.testing.assert_allclose(found[0], wanted[0], atol=1e-5)
    assert found[1].tolist() == wanted[1].tolist()


def test_few_pictures_are_compared_among_references_that_are_not_copies_of_them(scenes):
    pictures, captions = scenes
    assert enough(captions) and not enough(captions[:50]) and not enough(["a photo of sks dog"] * 70)
    assert enough(["A dog ", "a  Dog", *captions[:49]])
    references = np.concatenate([_stored(pictures[1], 80)[None], pictures[10:]])
    found = calibration(pictures[:3], captions[:3], np.arange(3), references, "others")
    assert (len(found.pictures), found.left_out, found.on) == (63, 0, "the folder and others")
    assert len(set(found.kinds)) == 63
    np.testing.assert_array_equal(found.pictures[3:], pictures[10:])


def _audited(pictures, texts, **flags):
    flags = {"captions": 2, "seeds": 2, "steps": 1, "detectors": "noise_magnitude", "device": "cpu"} | flags
    return difflab.audit("planted", (pictures, texts), **flags)


def _on(result):
    (row,) = select(result.rows, "calibration_left_out_count")
    return row.value, row.n, row.setting["on"]


def test_near_copies_do_not_move_the_threshold(scenes):
    pictures, captions = scenes
    again = np.stack([_stored(one, 90) for one in pictures[:10]])
    both = np.concatenate([pictures, again])
    results = [_audited(pictures, captions), _audited(both, [*captions, *(f"again {i}" for i in range(10))])]
    assert [_on(one) for one in results] == [(0, 70, "the folder"), (10, 80, "the folder")]
    assert "without 10 near-copies" in results[1].figures["similarity"].alt
    for metric in ("threshold_similarity", "memorized_fraction"):
        one, other = ([row.value for row in select(result.rows, metric, measure="pixel")] for result in results)
        assert one == other


def _drawn(pictures, copied):
    """What a model that memorized some draws: those between JPEG and likeness by chance, of the others anything."""
    random = np.random.default_rng(0)
    noise = random.normal(0, 25, (len(pictures), 2, *pictures.shape[1:]))
    shown = np.where(np.arange(len(pictures))[:, None, None, None] < copied, pictures, pictures[::-1])
    return np.clip(shown[:, None] + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("kept", "expected"), [(True, 23), (False, 0)], ids=["as it is", "with near-copies left in"])
def test_with_near_copies_the_audited_share_of_copies_stays_where_it_was(scenes, monkeypatch, kept, expected):
    """The second time nothing is left out of the calibration: the share falls, so the first time says something."""
    pictures, captions = scenes
    pictures, captions = pictures[:64], captions[:64]
    pixel = measures()["pixel"]
    monkeypatch.setattr(pipelines, "measures", lambda _: {"pixel": pixel})
    monkeypatch.setattr(audit, "ask", lambda _, asked, *__: _drawn(pictures[: len(asked)], 23))
    for left_out in ("_scored", "figures"):
        monkeypatch.setattr(audit, left_out, lambda *_: {})
    if not kept:
        monkeypatch.setattr(audit, "different", lambda own: np.arange(len(own)))
    found = []
    for n in (0, 3, 10):
        again = [pictures, *(_stored(one, 90)[None] for one in pictures[:n])]
        result = _audited(np.concatenate(again), [*captions, *(f"again {i}" for i in range(n))], captions=30)
        (row,) = select(result.rows, "memorized_fraction", measure="pixel", captions="once", seeds="median")
        found.append(round(row.value * row.n))
        assert row.n == 30
    assert found[0] == 23 and all(abs(one - expected) <= 1 for one in found[1:])


def test_an_audit_works_from_one_picture_on(scenes):
    pictures, captions = scenes
    _, of, on = _on(_audited(pictures[:1], captions[:1]))
    assert of == 1 and "openmoji" in on


def test_many_rows_of_few_pictures_are_few_pictures(scenes, tmp_path, monkeypatch):
    pictures, captions = (np.concatenate([part[:30], part[:20], part[:20]]) for part in scenes)
    for i in range(30, 70):
        Image.fromarray(scenes[0][i]).save(tmp_path / f"{i}.png")
    result = _audited(pictures, captions.tolist(), reference=str(tmp_path))
    assert _on(result) == (40, 70, f"the folder and {tmp_path}")
    assert select(result.rows, "memorized_fraction")[0].setting["captions"] == "2 to 15 copies"
    # What can be known is known before anything is drawn.
    monkeypatch.setattr(audit, "ask", None)
    for i in range(50, 70):
        (tmp_path / f"{i}.png").unlink()
    with pytest.raises(difflab.InputError, match=r"30 different pictures and those of .* are 50; give"):
        _audited(pictures, captions.tolist(), reference=str(tmp_path))


def test_few_pictures_are_compared_with_a_folder(scenes, tmp_path):
    (pictures, captions), n = scenes, 5
    for i in range(10, 70):
        Image.fromarray(pictures[i]).save(tmp_path / f"{i}.png")
    result = _audited(pictures[:n], captions[:n], reference=str(tmp_path))
    assert str(tmp_path) in _on(result)[2]
    assert select(result.rows, "threshold_similarity", measure="pixel")[0].n == 60 + n
    with pytest.raises(difflab.InputError, match="give over 50 of both"):
        for i in range(30, 70):
            (tmp_path / f"{i}.png").unlink()
        _audited(pictures[:n], captions[:n], reference=str(tmp_path))


def test_a_killed_drawing_goes_on_where_it_was(tmp_path, monkeypatch, capsys):
    pipeline, captions = difflab.load("planted", device="cpu"), [f"a cat {i}" for i in range(5)]
    monkeypatch.setattr(copies, "fitting", lambda _: 4)
    wanted = copies.ask(pipeline, captions, [1, 2], 1, 2.0)
    real, calls = copies.generate, []

    def once(*given):
        calls.append(len(given[1]))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(copies, "generate", once)
    run = open_run(tmp_path, "drawn", {"n": 1})
    with pytest.raises(KeyboardInterrupt):
        copies.ask(pipeline, captions, [1, 2], 1, 2.0, run)
    found = copies.ask(pipeline, captions, [1, 2], 1, 2.0, run)
    np.testing.assert_array_equal(found, wanted)
    assert calls == [4, 4, 4, 2]
    assert "drawing pictures: 10/10" in capsys.readouterr().err
    monkeypatch.setattr(pixels, "IN_MEMORY", 0)
    np.testing.assert_array_equal(copies.ask(pipeline, captions, [1, 2], 1, 2.0, run), wanted)


def test_frozen_thresholds_of_the_plan_leave_nothing_out():
    """The pictures that the shipped thresholds were fitted on hold no near-copy of a training picture."""
    planted = draw(Plan())
    places = planted.where("held_out")[::40]
    some = planted.where("unique")[::20]
    held_out, training = planted.pictures(places), planted.pictures(some)
    assert apart(held_out, planted.captions(places), training, planted.captions(some)).all()
    assert different(held_out).tolist() == list(range(len(places)))
