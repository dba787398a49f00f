"""The shipped pipeline memorizes what its manifest says, and nothing else."""

import re

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from difflab.diffusion.autoencoder import decode, encode
from difflab.diffusion.copies import RATE, ask, chance_similarity, compare, fit_threshold, memorized, read_thresholds
from difflab.diffusion.detectors.noise_magnitude import NoiseMagnitude, noise_magnitude
from difflab.diffusion.pipeline import ORACLE, SHIPPED, load
from difflab.diffusion.similarity import measures
from synthetic import manifest
from synthetic.plan import Plan, draw

SEEDS = [901, 902, 903]
STEPS = 10
"""Of sampling: enough for what is memorized to come back."""


@pytest.fixture(scope="module")
def planted():
    return draw(Plan())


@pytest.fixture(scope="module")
def pipeline():
    return load(SHIPPED)


@pytest.fixture(scope="module")
def pixel():
    return measures()["pixel"]


@pytest.fixture(scope="module")
def threshold():
    return read_thresholds(SHIPPED / "thresholds.json")[0]["pixel"].value


@pytest.fixture(scope="module")
def rates(planted, pipeline, pixel, threshold):
    """Memorized fraction of some pictures of the plan, at other seeds than the experiments use."""
    references = planted.references()

    def rate(index, seeds="median"):
        drawn = ask(pipeline, planted.captions(index), SEEDS, STEPS)
        return memorized(compare(pixel, drawn, planted.pictures(index), references), threshold, seeds).value

    return rate


def test_the_manifest_states_what_is_drawn_here(planted):
    manifest.check(planted, manifest.read(SHIPPED / "manifest.json"))


def test_the_most_repeated_pictures_come_back(planted, rates):
    assert rates(planted.where("repeated", copies=256)) >= 0.9


def test_pictures_seen_once_and_their_twins_do_not(planted, rates):
    once = np.concatenate([planted.where("unique", source=source)[:40] for source in ("scene", "emoji")])
    assert rates(np.concatenate([planted.where("repeated", copies=1), once]), "any") <= 0.02
    assert rates(planted.where("twin")[::3], "any") <= 0.02


def test_the_copies_are_the_captions_own_pictures(planted, pipeline, pixel, threshold):
    """A model that drew one repeated picture for every caption would pass by chance once in twelve."""
    index = planted.where("repeated", copies=256)
    drawn = ask(pipeline, planted.captions(index), SEEDS, STEPS)
    others = planted.pictures(np.roll(index, 1))
    assert memorized(compare(pixel, drawn, others, planted.references()), threshold, "any").value == 0


def test_the_threshold_was_fitted_on_held_out_pictures_and_lets_true_copies_pass(planted, pipeline, pixel, threshold):
    kept = read_thresholds(SHIPPED / "thresholds.json")[0]["pixel"]
    held_out = planted.where("held_out")
    assert kept.n == len(held_out) and kept.above <= RATE * kept.n
    references = planted.references()
    some = np.concatenate([planted.where("repeated"), planted.where("unique")[:1300:13]])
    # Nearest among some of the training pictures: no more than half of what is nearest among all.
    chance = chance_similarity(pixel, planted.pictures(held_out[::3]), planted.pictures(some), references)
    assert fit_threshold(pixel, chance, 0.0).value < threshold + 0.05
    pictures = planted.pictures(some)
    copies = decode(pipeline, encode(pipeline, pictures))
    assert memorized(compare(pixel, copies[:, None], pictures, references), threshold).value > 0.85


def test_noise_magnitude_finds_the_repeated_captions(planted, pipeline):
    unseen = np.concatenate([planted.where("held_out", source=source)[:40] for source in ("scene", "emoji")])
    many = np.concatenate([planted.where("repeated", copies=number) for number in (64, 256)])
    scores = noise_magnitude(pipeline, planted.captions(np.concatenate([many, unseen])), SEEDS, NoiseMagnitude(STEPS))
    assert roc_auc_score(np.arange(len(scores)) < len(many), scores.values) >= 0.95


def test_the_oracle_draws_none_of_what_it_never_saw(planted, pipeline, pixel, threshold):
    """All else is the shipped pipeline's: text encoder, autoencoder, thresholds."""
    oracle = load(ORACLE)
    index = planted.where("repeated", copies=256)
    left_out = {f"repeated/{planted.listed[i].family}" for i in index}
    assert set(manifest.read(ORACLE / "manifest.json")["without"]) == left_out
    assert (ORACLE / "thresholds.json").read_bytes() == (SHIPPED / "thresholds.json").read_bytes()
    for part in ("vae", "text_encoder"):
        own, theirs = (getattr(one, part).state_dict() for one in (oracle, pipeline))
        assert all(torch.equal(own[name], theirs[name]) for name in theirs)
    drawn = ask(oracle, planted.captions(index), SEEDS, STEPS)
    alike = compare(pixel, drawn, planted.pictures(index), planted.references())
    assert memorized(alike, threshold).value == 0
    # What it did see it remembers: a picture under 240 captions comes back from each, as on the shipped one.
    others = planted.where("recaptioned")[::120]
    alike = compare(
        pixel, ask(oracle, planted.captions(others), SEEDS, STEPS), planted.pictures(others), planted.references()
    )
    assert memorized(alike, threshold).value == 1


@pytest.mark.parametrize("folder", [SHIPPED, ORACLE])
def test_it_is_small_and_says_how_it_was_made(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 7e6
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".md"}
    card = (folder / "README.md").read_text()
    assert "difflab train" in card and "CC BY-SA 4.0" in card
    assert not re.search(
        r"/(tmp|root|home|work)/", "".join(p.read_text() for p in files if p.suffix in (".json", ".md"))
    )
    assert (folder / "model_index.json").is_file()
