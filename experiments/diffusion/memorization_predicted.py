"""Does an early look at a model tell what it will have memorized in the end?

Dentan et al. 2024 (arXiv 2409.18858): at an early checkpoint PSMI of the last hidden state and the label is low where a
fine-tuned classifier will keep the label by heart, and tells so better than loss, margin or Mahalanobis distance. Here
perceptrons learn scikit-learn's digits, a tenth of whose labels are wrong. The truth comes from 64 shadow models, each
trained on a half: an item is memorized where the others tell in nine of ten whether a shadow saw it (LiRA); and, beside
it, whether the label is wrong. Signs are taken at a tenth of the training. Then language, as in the paper: small Llamas
that were trained on texts of four laws are fine-tuned to say which law a text has, with a tenth of the answers wrong;
signs and truth are the same. Then diffusion: which digits will a denoiser copy? The same signs, of its last hidden
layer where the picture meets noise and of what the digit shows, at a tenth of its training; the truth is what it draws
in the end. And pipelines: tiny Stable Diffusions are trained on scenes of which some are repeated, in one world from 11
to 64 times, in another all as often, so that copies alone do not tell. Signs are those of the channels of the U-Net's
middle block and of the loss of denoising, where scenes meet the same noise; the label is the colour of the ground,
which the caption names, so that PSMI is taken with the empty prompt, too. A denoiser has no margin. The truth is
whether a caption draws its scene back (by tiles, with a threshold that was fitted on held-out scenes before any U-Net
was looked at; of four pictures the median counts).

Prediction, made before any run at the defaults: copies are kept by heart as wrong labels are, so that PSMI is low of
digits and scenes that will be copied. A pilot of the language models, on a seed that no default uses, already spoke
against 0.8 and 0.9 there: 0.66 and 0.72, though one of its answers was no word of the tokenizer. One of pipelines spoke
against PSMI, too: with 32 copies of all 0.39, where a high loss told copies with 0.88; a first run at the default said
as much, 0.47 and 0.80, and the claims of the loss were written after it. Controls: random numbers; and whether PSMI
tells more than PSMI of a network never trained, or not fine-tuned, and than the data alone (labels of neighbours;
distance to the nearest digit or scene), and the loss more than that of a network never trained. Beside the signs stand
what the denoiser copies at a tenth already, how like its scene a caption's pictures are then, and what another denoiser
of the same pictures copies, which says how far a copy is a property of the picture. Every number is over seeds. The
mechanism is reproduced, the paper's numbers are not comparable.

Differs: a shadow is judged by the others, in the paper also by itself. The paper's models are language models of 7
billion weights, fine-tuned by LoRA to multiple choice. The law of a scene's label is that of all scenes of the training
set, each counted once. Cost on two cores: about 29 minutes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from difflab.audits.digit_models import Denoisers, Perceptrons
from difflab.audits.early_classifiers import LOSS, PSMI, RANDOM, UNTRAINED_LOSS, FlippedDigits, foretold_labels
from difflab.audits.early_denoisers import CopiedDigits, foretold_copies
from difflab.audits.early_pipelines import CopiedScenes, foretold_scenes
from difflab.audits.early_sign_rows import Foretold, sign_rows, signs_figure, signs_of
from difflab.audits.early_texts import FlippedAnswers, foretold_answers
from difflab.audits.taught_worlds import TaughtWorld, copy_thresholds
from difflab.audits.tuned_models import TuningWorld
from difflab.errors import at_least
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.parallel import called, kept
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key
from difflab.runs.rows import Artefact, Row, select

CLASSIFIERS, LANGUAGE, DENOISERS, PIPELINES = "classifiers", "language models", "denoisers", "pipelines"
SHADOWS, FLIPPED, COPIED = "told by shadow models", "wrong labels", "copied"
LADDER, EVEN = "drawn again, copies differ", "drawn again, at equal copies"
KEPT = {CLASSIFIERS: "labels", LANGUAGE: "answers"}
"""What each keeps by heart."""
MEMORIZED = 0.9
"""Share of shadow models whose membership is told, from which an item is memorized."""


@dataclass(frozen=True)
class Config:
    """The digits, and the models of them."""

    seeds: int = 8
    """Of digits, labels and weights."""
    labels: FlippedDigits = field(default_factory=FlippedDigits)
    """Classifiers of digits with wrong labels, and their shadows."""
    answers: FlippedAnswers = field(default_factory=FlippedAnswers)
    """Language models fine-tuned to answers that may be wrong, and their shadows."""
    copies: CopiedDigits = field(default_factory=CopiedDigits)
    """Denoisers."""
    scenes: CopiedScenes = field(default_factory=CopiedScenes)
    """Pipelines of repeated scenes."""
    pipelines: int = 5
    """Seeds of these; the first ones."""
    workers: int = 2
    """Processes; they do not change the numbers."""
    seed: int = 0
    """Of the first ones; the others follow."""

    def __post_init__(self) -> None:
        at_least(self, 2, "seeds", "pipelines")
        at_least(self, 1, "workers")
        at_least(self, 0, "seed")


_SMALL = TaughtWorld(
    items=4, twins=1, background=60, held_out=20, unseen=4, steps=3, batch=4, autoencoder_steps=2,
    autoencoder_pictures=8, seeds=1, sampler_steps=1,
)  # fmt: skip

SMOKE = Config(
    seeds=2,
    labels=FlippedDigits(
        flipped=0.2, shadows=8, directions=10, perceptrons=Perceptrons(pictures=60, width=16, steps=150, batch=20)
    ),
    answers=FlippedAnswers(
        before=TuningWorld(size="nano", length=9, vocabulary=16, branches=2, laws=2, pretraining=10), texts=40,
        flipped=0.2, shadows=8, steps=10, batch=10, directions=10,
    ),
    copies=CopiedDigits(
        pictures=20, noises=1, directions=10, denoisers=Denoisers(width=48, steps=400, batch=32, drawn=60,
                                                                  sampler_steps=8)
    ),
    scenes=CopiedScenes(
        ladder=replace(_SMALL, copies=(1, 2)), even=replace(_SMALL, copies=(2,)), noises=1, directions=10,
    ),
    pipelines=2,
    workers=1,
)  # fmt: skip


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Train all models, take signs on the way, and hold them against the truth."""
    seeds = range(config.seed, config.seed + config.seeds)
    given: dict[str, tuple[Any, ...]] = {
        key(CLASSIFIERS, seed): (foretold_labels, config.labels, seed, checkpoints) for seed in seeds
    }
    given |= {key(LANGUAGE, seed): (foretold_answers, config.answers, seed, checkpoints) for seed in seeds}
    given |= {key(DENOISERS, seed): (foretold_copies, config.copies, seed, checkpoints) for seed in seeds}
    found = kept(called, given, checkpoints, config.workers, "models asked early")
    told = {name: [found[key(name, seed)] for seed in seeds] for name in (CLASSIFIERS, LANGUAGE, DENOISERS)}
    for subject, truth, memorized in (
        (CLASSIFIERS, SHADOWS, lambda one: one["guessed"] >= MEMORIZED),
        (CLASSIFIERS, FLIPPED, lambda one: one["flipped"]),
        (LANGUAGE, SHADOWS, lambda one: one["guessed"] >= MEMORIZED),
        (LANGUAGE, FLIPPED, lambda one: one["flipped"]),
        (DENOISERS, COPIED, lambda one: one["copies"] >= config.copies.often),
    ):
        yield from sign_rows([Foretold(signs_of(one), memorized(one)) for one in told[subject]], subject, truth)
    for subject in told:
        yield Artefact(subject.replace(" ", "_"), told[subject][0])
    yield from _pipeline_rows(config, checkpoints)


def _pipeline_rows(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Of pipelines of scenes with several numbers of copies, and with one."""
    asked, seeds = config.scenes, range(config.seed, config.seed + config.pipelines)
    worlds = {
        (truth, seed): replace(world, seed=seed)
        for truth, world in ((LADDER, asked.ladder), (EVEN, asked.even))
        for seed in seeds
    }
    thresholds = copy_thresholds(list(worlds.values()), checkpoints, config.workers)
    given = {
        key(world.name, "foretold"): (asked, world, threshold, checkpoints)
        for world, threshold in zip(worlds.values(), thresholds, strict=True)
    }
    found = kept(foretold_scenes, given, checkpoints, config.workers, "pipelines asked early")
    for truth in (LADDER, EVEN):
        told = [found[key(worlds[truth, seed].name, "foretold")] for seed in seeds]
        yield from sign_rows([Foretold(signs_of(one), one["copied"]) for one in told], PIPELINES, truth)
        yield Artefact(key(PIPELINES, truth), told[0])


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What PSMI tells of labels and of copies, and what controls must not tell."""
    said = {}
    for subject, what in KEPT.items():
        for row in select(rows, "auc", sign=PSMI, subject=subject, truth=SHADOWS):
            said[f"PSMI at a tenth tells which {what} are memorized in the end: AUC of at least 0.8"] = row.value >= 0.8
        for row in select(rows, "auc", sign=PSMI, subject=subject, truth=FLIPPED):
            said[f"PSMI at a tenth tells which {what} are wrong: AUC of at least 0.9"] = row.value >= 0.9
        for row in select(rows, "auc_difference", sign=PSMI, subject=subject, truth=SHADOWS):
            said[f"PSMI tells memorized {what} better than {row.setting['less']}: interval above 0"] = (
                row.interval.low > 0
            )
    for row in select(rows, "auc", sign=PSMI, truth=COPIED):
        said["PSMI at a tenth tells which digits a denoiser will copy: interval of the AUC above 0.5"] = (
            row.interval.low > 0.5
        )
    for truth in (LADDER, EVEN):
        for row in select(rows, "auc", sign=PSMI, truth=truth):
            said[f"PSMI at a tenth tells which scenes are {truth}: interval of the AUC above 0.5"] = (
                row.interval.low > 0.5
            )
    for row in select(rows, "auc_difference", sign=PSMI, subject=DENOISERS):
        said[f"PSMI tells copies better than {row.setting['less']}: interval above 0"] = row.interval.low > 0
    for row in select(rows, "auc_difference", sign=PSMI, subject=PIPELINES, truth=EVEN):
        said[f"PSMI tells scenes {EVEN} better than {row.setting['less']}: interval above 0"] = row.interval.low > 0
    for row in select(rows, "auc", sign=LOSS, truth=EVEN):
        said[f"a high loss at a tenth tells which scenes are {EVEN}: interval of the AUC above 0.5"] = (
            row.interval.low > 0.5
        )
    for row in select(rows, "auc_difference", sign=LOSS, subject=PIPELINES, truth=EVEN):
        said[f"the loss tells scenes {EVEN} better than {row.setting['less']}: interval above 0"] = row.interval.low > 0
    if control := select(rows, "auc", sign=RANDOM):
        said["random numbers tell nothing: the interval of every AUC holds 0.5"] = all(
            row.interval.low <= 0.5 <= row.interval.high for row in control
        )
    return said


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """Areas under the curve of all signs."""
    return {"signs": signs_figure(rows)} if select(rows, "auc") else {}


def answer(run: Recorded) -> Answer:
    """What PSMI and the loss tell, of labels, of answers and of copies."""
    psmi, loss = (run.number("auc", sign=name, subject=CLASSIFIERS, truth=SHADOWS) for name in (PSMI, LOSS))
    told, lost = (run.number("auc", sign=name, subject=LANGUAGE, truth=SHADOWS) for name in (PSMI, LOSS))
    copies, early = (run.number("auc", sign=name, truth=COPIED) for name in (PSMI, LOSS))
    scenes, seen, blank = (run.number("auc", sign=name, truth=EVEN) for name in (PSMI, LOSS, UNTRAINED_LOSS))
    return Answer(
        f"At a tenth of the training PSMI tells labels that classifiers memorize with an AUC of {psmi}, the loss with"
        f" {loss}; answers of fine-tuned language models with {told} and {lost}; digits that denoisers copy with"
        f" {copies} and {early}; scenes that pipelines draw back, of equal copies, with {scenes} and {seen}, and the"
        f" loss of a network never trained tells these with {blank}.",
        "PSMI better than loss, margin and Mahalanobis distance, of fine-tuned language models",
        "signs",
        "Which sign tells of labels, which of copies, and which is there without training?",
    )
