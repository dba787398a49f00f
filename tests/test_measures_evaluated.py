"""Measures judged: statistics against plain loops, changes against the attacks, an experiment of known truth."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from conformance import assert_same_state, says_one_sentence, state
from diffusers import DPMSolverMultistepScheduler

from difflab.audits.every_score import COPY_MEASURES, DETECTORS, MEMBERSHIP, Asked, every_score
from difflab.audits.model_changes import UNCHANGED, Change, Changes, Ordinary, changed
from difflab.audits.worlds import Targets, World
from difflab.diffusion.architecture import Architecture, build
from difflab.diffusion.attacks.quantized_weights import on_grid
from difflab.diffusion.autoencoder import encode
from difflab.diffusion.copies import ask, compare
from difflab.diffusion.finetuning import Retained
from difflab.diffusion.judge import Judge
from difflab.diffusion.membership.clid import Clid, clid
from difflab.diffusion.similarity import measures
from difflab.errors import InputError
from difflab.methods import VARIABLE, methods
from difflab.runs.rows import Artefact, Note, Row, select
from difflab.statistics.faithfulness import (
    detected_fraction,
    faithfulness,
    faithfulness_difference,
    paired_fraction,
    robustness,
)
from experiments.diffusion import measures_evaluated as experiment

SIZES = Architecture(
    side=32, latent_channels=4, widths=(16, 32), layers=1, heads=2, vae_widths=(16, 16, 16), length=8, embedding=16,
    text_layers=1, prediction="epsilon",
)  # fmt: skip
CAPTIONS = tuple(f"{colour} {animal}" for colour in ("red", "blue", "green") for animal in ("cat", "dog"))
PICTURES = np.random.default_rng(0).integers(0, 256, (80, 32, 32, 3), np.uint8)
SCALES = (0.1, 2.0, -0.3, 4.0)
N = len(CAPTIONS)


@pytest.fixture(scope="module")
def world():
    """Two networks of random weights, of which one stands for the model."""
    model, oracle = (build(list(CAPTIONS), SIZES, seed) for seed in (0, 1))
    known = {name: measure for name, measure in measures().items() if name != "efficientnet"}
    judge = Judge(known, {}, PICTURES[20:], [3, 11], steps=2)
    groups = {"repeated": Targets(PICTURES[:N], CAPTIONS), "never": Targets(PICTURES[N : 2 * N], CAPTIONS)}
    return World(model, oracle, groups, CAPTIONS, {}, Targets(PICTURES[20:26], CAPTIONS), judge)


@pytest.fixture(scope="module")
def asked(world):
    latents = encode(world.pipeline, PICTURES[:N])
    return Asked(world.groups["repeated"], latents, world.judge, (5, 7), (2,), SCALES)


# Statistics ----------------------------------------------------------------------------------------------------------


def test_faithfulness_is_the_share_of_pairs_in_order_whatever_the_items():
    scores = np.random.default_rng(1).normal(size=(9, 2)).round(1) + np.array([0.5, 0.0])
    won = [(a > b) + (a == b) / 2 for a, b in product(scores[:, 0], scores[:, 1])]
    assert faithfulness(scores) == pytest.approx(np.mean(won), abs=1e-12)
    assert detected_fraction(scores) == np.mean(scores[:, 0] > scores[:, 1].max())
    assert paired_fraction(scores).value == pytest.approx(np.mean([a > b for a, b in scores]))
    other = scores[::-1] * 2
    assert faithfulness_difference(np.stack([scores, other], axis=1)) == faithfulness(other) - faithfulness(scores)
    easier = scores[:, ::-1]
    assert faithfulness_difference(np.stack([scores, easier], axis=1)) == pytest.approx(1 - 2 * faithfulness(scores))


def test_what_says_the_same_of_both_models_knows_nothing():
    item = np.random.default_rng(2).normal(size=12)
    both = np.stack([item, item], axis=1)
    assert faithfulness(both) == 0.5 and detected_fraction(both) == 0 and paired_fraction(both).value == 0
    assert robustness(np.stack([both, both], axis=1)) == 0


@pytest.mark.parametrize(
    ("gaps", "wanted"),
    [
        ((2.0, 2.0), 1.0),
        ((2.0, 1.0), 2 / 3),
        ((1.0, 2.0), 2 / 3),
        ((-2.0, -1.0), 2 / 3),
        ((2.0, -1.0), 0.0),
        ((2.0, 0.0), 0.0),
        ((2.0, 1.0, 2.0), 0.8),
        ((2.0, 2.0, -2.0), 0.0),
    ],
)
def test_robustness_is_how_much_of_the_distance_stays(gaps, wanted):
    """Of the mean distance: items have levels of their own, and the scale says nothing."""
    random = np.random.default_rng(3)
    noise = random.normal(size=(6, len(gaps)))
    noise -= noise.mean(axis=0)
    without = random.normal(size=(6, len(gaps)))
    scores = np.stack([without + np.array(gaps) + noise, without], axis=2)
    assert robustness(scores) == pytest.approx(wanted, abs=1e-9)
    assert robustness(100 * scores + 7) == pytest.approx(wanted, abs=1e-9)


# Changes -------------------------------------------------------------------------------------------------------------


def test_changes_are_those_of_the_attacks_and_leave_the_model_alone(world, asked):
    pipeline, before = world.pipeline, state(world.pipeline)
    retained = Retained(encode(pipeline, PICTURES[20:26]), list(CAPTIONS))
    seen = Ordinary(retained, asked.latents, 4)
    assert changed(pipeline, UNCHANGED, CAPTIONS, seen) is pipeline
    rounded = changed(pipeline, Change("bits", 4), CAPTIONS, seen).unet.state_dict()
    name = next(key for key in rounded if key.endswith("to_q.weight"))
    plain = pipeline.unet.state_dict()[name]
    assert torch.equal(rounded[name], on_grid(plain, 4)) and not torch.equal(rounded[name], plain)
    drawn = changed(pipeline, Change("sampler", "dpm_solver"), CAPTIONS, seen)
    assert isinstance(drawn.scheduler, DPMSolverMultistepScheduler) and drawn.unet is pipeline.unet
    few, many, again = (
        changed(pipeline, Change("relearning", k), CAPTIONS, seen).unet.state_dict()[name] for k in (1, 2, 2)
    )
    assert torch.equal(many, again) and 0 < (few - plain).abs().max() < (many - plain).abs().max()
    with pytest.raises(InputError, match="target 0 is among the ordinary"):
        with_target = Retained(torch.cat([retained.latents[1:], asked.latents[:1]]), retained.captions)
        changed(pipeline, Change("relearning", 1), CAPTIONS, seen._replace(retained=with_target))
    assert_same_state(state(pipeline), before)


def test_changes_are_listed_from_none_on():
    found = Changes(relearning=(3, 9), bits=(6, 2), sampler="euler")
    assert [tuple(change) for change in found.each()] == [
        ("nothing", 0), ("relearning", 3), ("relearning", 9), ("bits", 6), ("bits", 2), ("sampler", "euler"),
    ]  # fmt: skip
    assert [tuple(change) for change in found.hardest()] == [("relearning", 9), ("bits", 2)]


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        ({"relearning": (0, 5)}, "at least 1 step"),
        ({"relearning": (5, 3)}, "keep"),
        ({"bits": (4, 8)}, "falling"),
        ({"bits": (1,)}, "at least 2"),
        ({"sampler": "ddim"}, "another sampler"),
        ({"sampler": "magic"}, "no sampler"),
    ],
)
def test_a_change_that_makes_no_sense(flags, word):
    assert word in says_one_sentence(lambda: Changes(**flags))


# Scores --------------------------------------------------------------------------------------------------------------


def test_everything_scores_every_target(world, asked):
    found = every_score(world.pipeline, asked)
    wanted = {(DETECTORS, name) for name in methods("detectors")} | {
        (MEMBERSHIP, name) for name in methods("membership")
    }
    assert set(found) == wanted | {(COPY_MEASURES, "pixel"), (COPY_MEASURES, "patch")}
    assert all(values.shape == (N,) and np.isfinite(values).all() for values in found.values())
    drawn = ask(world.pipeline, CAPTIONS, [3, 11], steps=2)
    alike = compare(measures()["patch"], drawn, PICTURES[:N], PICTURES[20:])
    np.testing.assert_allclose(found[COPY_MEASURES, "patch"], np.median(alike, axis=1), atol=1e-6)
    known = clid(world.pipeline, asked.latents[:1], CAPTIONS[:1], (2,), Clid(scales=SCALES))
    # On a scale of its own, not beside the other targets.
    np.testing.assert_allclose(found[MEMBERSHIP, "clid"][:1], known.values, rtol=1e-4)
    few = replace(asked, detectors="noise_magnitude", membership="pia")
    again, other = every_score(world.pipeline, few), every_score(world.oracle, few)
    assert len(again) == 4 and all(np.array_equal(values, found[name]) for name, values in again.items())
    assert not any(np.array_equal(values, found[name]) for name, values in other.items())


def test_another_sampler_is_asked_of_what_draws_alone(world, asked):
    found = every_score(
        world.pipeline, replace(asked, detectors="seed_similarity,noise_magnitude,denoising_loss"), True
    )
    assert set(found) == {(COPY_MEASURES, "pixel"), (COPY_MEASURES, "patch"), (DETECTORS, "noise_magnitude")}


# The experiment ------------------------------------------------------------------------------------------------------


class Memory(dict):
    """Checkpoints in memory."""

    load = dict.get
    save = dict.__setitem__


STRANGER = '''"""Membership score: of other models."""
from dataclasses import dataclass
from difflab.errors import InapplicableError

@dataclass(frozen=True)
class Stranger:
    """Nothing."""

def stranger(pipeline, latents, captions, seeds, config):
    raise InapplicableError("no")
'''
TRUE, LOST, BLURRED = ("detector", "true"), ("membership score", "lost"), ("copy measure", "blurred")


@pytest.fixture
def calls(world, monkeypatch):
    """Asked twice after each change, of the model and of its oracle; one score knows the model for ever, one forgets it
    with rounded weights, and one knows it so little that targets differ more."""
    found, levels = [], np.arange(N) * 10.0

    def scores(pipeline, asked, drawing_only):
        model, rounded = len(found) % 2 == 0, len(found) // 2 == 2
        found.append(drawing_only)
        said = {TRUE: 100.0 * model + levels, BLURRED: 1.0 * model + levels}
        return said if drawing_only else said | {LOST: 100.0 * (model and not rounded) + levels}

    monkeypatch.setattr(experiment, "open_world", lambda config: world)
    monkeypatch.setattr(experiment, "every_score", scores)
    return found


def test_an_experiment_of_known_truth(calls):
    changes = Changes(relearning=(1,), bits=(4,), sampler="euler")
    config, memory = replace(experiment.SMOKE, changes=changes, detectors="noise_magnitude"), Memory()
    found = list(experiment.run(config, memory))
    assert calls == 6 * [False] + 2 * [True]
    rows = [one for one in found if isinstance(one, Row)]

    def values(metric, name, **setting):
        here = select(rows, metric, kind=name[0], measure=name[1], **setting)
        return [row.value for row in here if row.setting["change"] != "hardest"]

    pairs = np.mean([(a + 1 > b) for a in 10 * np.arange(N) for b in 10 * np.arange(N)])
    assert values("auc", TRUE) == [1, 1, 1, 1] and values("auc", LOST) == [1, 1, 0.5]
    assert values("auc", BLURRED) == pytest.approx(4 * [pairs]) and values("paired_fraction", BLURRED) == [1, 1, 1, 1]
    assert values("true_positive_fraction", BLURRED, false_positives=0.01) == pytest.approx(4 * [1 / N])
    assert values("auc_difference", LOST) == [0, -0.5] and values("robustness_fraction", LOST) == [1, 0]
    hardest = {row.setting["measure"]: row.value for row in select(rows, "robustness_fraction", change="hardest")}
    assert hardest == {"true": 1, "lost": 0, "blurred": 1}
    (blind,) = select(rows, "auc", kind="blind baseline")
    assert (blind.low, blind.value, blind.high, blind.n) == (0.5, 0.5, 0.5, 2 * N)
    assert not select(rows, "paired_fraction", kind="blind baseline")
    notes = " ".join(one.sentence for one in found if isinstance(one, Note))
    assert "noise_magnitude is left out" in notes and "6 targets allow no false positive at 1%" in notes
    kept = {one.name: one.array for one in found if isinstance(one, Artefact)}
    assert set(kept) == {"scores_nothing_0", "scores_relearning_1", "scores_bits_4", "scores_sampler_euler"}
    assert kept["scores_bits_4"]["detector_true"][:, 0].tolist() == [100, 110, 120, 130, 140, 150]
    figure = experiment.figures(rows, {})["measures"]
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert set(names[:2]) == {"blind", "blurred"} and set(names[2:]) == {"true", "lost"}
    # A killed run asks nothing twice.
    del memory["scores_bits_4_oracle"]
    resumed = {name: dict(reversed(arrays.items())) for name, arrays in memory.items()}
    calls[:] = calls[:5]
    again = [one for one in experiment.run(config, Memory(resumed)) if isinstance(one, Row)]
    assert len(calls) == 6 and again == rows


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        ({"targets": 4}, "at least 5"),
        ({"noises": 0}, "noises"),
        ({"detectors": "dori"}, "no 'dori'"),
        ({"membership": "dori"}, "no 'dori'"),
    ],
)
def test_a_flag_that_makes_no_sense(flags, word):
    assert word in says_one_sentence(lambda: replace(experiment.SMOKE, **flags))


def test_a_model_without_an_oracle_is_refused_before_anything_is_loaded(monkeypatch):
    monkeypatch.setattr(experiment, "open_world", lambda config: pytest.fail("loaded"))
    config = replace(experiment.SMOKE, plan=replace(experiment.SMOKE.plan, unique=10))
    assert "--oracle" in says_one_sentence(lambda: next(experiment.run(config, Memory())))


def test_a_score_that_is_not_for_the_pipeline_is_left_out(world, asked, tmp_path, monkeypatch):
    (tmp_path / "membership").mkdir()
    (tmp_path / "membership" / "stranger.py").write_text(STRANGER)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert (MEMBERSHIP, "stranger") not in every_score(world.pipeline, replace(asked, membership="stranger,pia"))
