"""Which detector tells memorized captions from unseen ones, where the truth is planted?

Detectors look at the model only, not at the training set: the length of the prompt's part of the predicted noise (Wen
et al. 2024, arXiv 2407.21720), the likeness of the first prediction over seeds (NeMo, arXiv 2406.02366), the entropy of
cross-attention (Ren et al. 2024, arXiv 2403.11052), the same length within the end token's attention (bright ending,
arXiv 2410.21665); beside them a baseline that is given the picture, the denoising loss. Positives are captions of
repeated pictures, by number of copies. Negatives were never trained on: held-out captions, which have nothing to do
with the repeated ones, as in the papers; and twins, the harder ones, which differ from a repeated caption in one word.
Published numbers are those of SD 1.4 on 500 memorized prompts against unrelated ones.

Expect noise magnitude to be nearly perfect from 64 copies on. Cost on two cores: 36 minutes
beside other work, when every detector drew for itself.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
import tyro
from diffusers import StableDiffusionPipeline
from jaxtyping import Bool, Float
from matplotlib.figure import Figure

from difflab.diffusion.autoencoder import encode
from difflab.diffusion.detection import group_rows, rule_rows
from difflab.diffusion.detectors.attention_entropy import AttentionEntropy, attention_entropy
from difflab.diffusion.detectors.bright_ending import BrightEnding, bright_ending
from difflab.diffusion.detectors.denoising_loss import DenoisingLoss, denoising_loss
from difflab.diffusion.detectors.noise_magnitude import NoiseMagnitude, noise_magnitude
from difflab.diffusion.detectors.seed_similarity import SeedSimilarity, seed_similarity
from difflab.diffusion.panels.detectors import by_copies_figure, curves_figure
from difflab.diffusion.pipeline import checksum, load
from difflab.diffusion.sampled_once import sampled_once
from difflab.errors import require
from difflab.randomness import item_seeds, stream
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key, made_once
from difflab.runs.rows import Artefact, Row, select
from difflab.statistics.scores import Scores
from synthetic import plan as plans
from synthetic.plan import Plan

Score = Callable[..., Scores]


class Published(NamedTuple):
    """What papers report for SD 1.4: area under the curve, and true positives at 1 % false positives."""

    detector: str
    seeds: int
    steps: str
    auc: float
    true_positive_fraction: float
    source: str


PUBLISHED = (
    Published("noise_magnitude", 1, "first", 0.976, 0.896, "Jeon et al. 2025"),
    Published("noise_magnitude", 4, "first", 0.992, 0.944, "Jeon et al. 2025"),
    Published("noise_magnitude", 4, "all", 0.996, 0.982, "Jeon et al. 2025"),
    Published("seed_similarity", 10, "first", 0.98, 0.876, "Hintersdorf et al. 2024"),
    Published("attention_entropy", 1, "first", 0.846, 0.116, "Jeon et al. 2025"),
    Published("attention_entropy", 1, "all", 0.606, 0.0, "Jeon et al. 2025"),
    Published("bright_ending", 1, "all", 0.986, 0.950, "Chen et al. 2025"),
    Published("bright_ending", 4, "all", 0.997, 0.980, "Chen et al. 2025"),
)


@dataclass(frozen=True)
class Config:
    """The model, its planted truth, and how detectors sample."""

    model: str = "planted"
    """A pipeline that was trained on this plan: a directory, or planted."""
    plan: Plan = field(default_factory=Plan)
    seeds: int = 4
    """Seeds of the detectors that use several; the others use one."""
    steps: int = 20
    """DDIM steps."""
    guidance: float = 3.0
    """Weight of the prompt."""
    uniques: int = 120
    """Captions of once-seen pictures, half of them emoji."""
    twins: int = 240
    """Captions of never-trained twins, evenly from those of the plan."""
    held_out: int = 120
    """Captions that have nothing to do with any that was trained on, half of them emoji."""
    replicates: int = 500
    """Bootstrap resamples."""
    seed: int = 0
    """Of the noises; they differ from those that pictures are drawn from."""

    contents: tyro.conf.Suppress[str] = field(init=False, default="")
    """Checksum of the model."""

    def __post_init__(self) -> None:
        require(self.seeds >= 2, f"seeds is {self.seeds}; the likeness over seeds needs at least 2.")
        require(max(self.plan.ladder) >= 64, "the plan repeats no picture 64 times; detectors are judged on those.")
        object.__setattr__(self, "contents", checksum(self.model))


SMOKE = Config(
    plan=Plan(ladder=(1, 64), per_rung=2, unique=60, emoji=40, twins=2, held_out=60),
    seeds=2,
    steps=2,
    uniques=4,
    twins=4,
    held_out=4,
    replicates=10,
)


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Score every caption with every detector, then compare groups of captions."""
    planted = plans.draw(config.plan)
    pipeline = load(config.model)
    generator = stream(config.seed, "asked").numpy()
    some = [
        np.sort(generator.permutation(planted.where(role, source=source))[: n // 2])
        for role, n in (("unique", config.uniques), ("held_out", config.held_out))
        for source in ("scene", "emoji")
    ]
    twins = planted.where("twin")
    twins = twins[:: max(1, len(twins) // max(1, config.twins))]
    asked = np.concatenate([planted.where("repeated"), *some, twins])
    captions = planted.captions(asked)
    latents = encode(pipeline, planted.pictures(asked))
    copies = np.array([planted.listed[i].copies for i in asked])
    role = np.array([planted.listed[i].role for i in asked])
    several = item_seeds(config.seed, "detectors", config.seeds)
    groups: dict[int | str, Bool[np.ndarray, " n"]] = {int(c): copies == c for c in np.unique(copies) if c > 0}
    many = groups | {"64 and more": copies >= 64}
    told = dict[tuple[str, int, str], Float[np.ndarray, " n"]]()
    with sampled_once():
        for detector, seeds, steps, score in _detectors(config):
            given = (pipeline, captions, several[:seeds], latents)
            scores = made_once(checkpoints, key(detector, seeds, steps), _scored, score, *given)
            told[detector, seeds, steps] = scores["scores"]
    for (detector, seeds, steps), found in told.items():
        setting: dict[str, str | int] = {"detector": detector, "seeds": seeds, "steps": steps}
        for against in ("held_out", "twin"):
            random = stream(config.seed, "bootstrap")
            yield from group_rows(found, many, role == against, against, setting, random, config.replicates)
        if detector == "seed_similarity":
            both = groups | {"held out": role == "held_out", "twins": role == "twin"}
            yield from rule_rows(found, both, role == "held_out", setting)
        yield Artefact(key("scores", detector, seeds, steps), found)
    for published in PUBLISHED:
        setting = {"detector": published.detector, "seeds": published.seeds, "steps": published.steps}
        setting |= {"copies": "SD 1.4", "source": published.source}
        yield Row("auc", published.auc, None, None, 500, setting)
        yield Row("true_positive_fraction", published.true_positive_fraction, None, None, 500, setting)
    yield Artefact("copies", copies)
    yield Artefact("held_out", role == "held_out")
    yield Artefact("twin", role == "twin")


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What the papers say."""
    seeds = max(row.setting["seeds"] for row in select(rows, "auc", against="twin"))
    full = select(rows, "auc", detector="noise_magnitude", seeds=seeds, steps="all")
    many = {row.setting["against"]: row.value for row in select(full, "auc", copies="64 and more")}
    loss = select(rows, "auc", detector="denoising_loss", seeds=seeds, copies="64 and more", against="held_out")
    ladder = [row for row in select(full, "auc", against="held_out") if isinstance(row.setting["copies"], int)]
    once = [row.interval for row in ladder if row.setting["copies"] == 1]
    return {
        "noise magnitude tells 64 and more copies from unseen captions: AUC at least 0.95": many["held_out"] >= 0.95,
        "and from twins of repeated captions: AUC at least 0.95": many["twin"] >= 0.95,
        "captions of once-seen pictures look like unseen ones: the interval of their AUC holds 0.5": bool(once)
        and once[0].low <= 0.5 <= once[0].high,
        "the AUC of noise magnitude never falls with the number of copies": len(ladder) > 1
        and all(a.value <= b.value for a, b in itertools.pairwise(ladder)),
        "noise magnitude does better than the loss on the picture itself": many["held_out"] > loss[0].value,
    }


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """AUC against copies for every detector, and the curves behind it."""
    return {"copies": by_copies_figure(rows), "curves": curves_figure(rows, artefacts)}


def answer(run: Recorded) -> Answer:
    """Noise magnitude at the most seeds, against captions never trained on."""
    here: dict[str, Any] = {"detector": "noise_magnitude", "steps": "all", "against": "held_out"}
    here["copies"] = "64 and more"
    seeds = max(row.setting["seeds"] for row in run.rows("auc", **here))
    told = [row for row in select(run.run.rows, "auc", detector="noise_magnitude") if "source" in row.setting]
    return Answer(
        f"Noise magnitude tells captions with 64 and more copies from unseen ones with an AUC of "
        f"{run.number('auc', seeds=seeds, **here)}.",
        f"{max(row.value for row in told):.3f} (SD 1.4)" if told else "",
        "copies",
        "How many copies does each detector need before it leaves one half, which is chance?",
    )


def _detectors(config: Config) -> Iterator[tuple[str, int, str, Score]]:
    """Every detector as it is used: name, seeds, steps, and what scores captions."""
    sampled: dict[str, Any] = {"steps": config.steps, "guidance": config.guidance}
    for seeds in (1, config.seeds):
        yield "noise_magnitude", seeds, "first", partial(noise_magnitude, config=NoiseMagnitude(first=1, **sampled))
        yield "noise_magnitude", seeds, "all", partial(noise_magnitude, config=NoiseMagnitude(**sampled))
        layer = AttentionEntropy(kind="layer", layer=2, **sampled)
        yield "attention_entropy", seeds, "first", partial(attention_entropy, config=layer)
        yield "attention_entropy", seeds, "all", partial(attention_entropy, config=AttentionEntropy(**sampled))
        yield "bright_ending", seeds, "all", partial(bright_ending, config=BrightEnding(**sampled))
        yield "denoising_loss", seeds, "all", partial(denoising_loss, config=DenoisingLoss())
    similar = SeedSimilarity(steps=config.steps)
    yield "seed_similarity", config.seeds, "first", partial(seed_similarity, config=similar)


def _scored(
    score: Score,
    pipeline: StableDiffusionPipeline,
    captions: Sequence[str],
    seeds: Sequence[int],
    latents: Float[torch.Tensor, "n c h w"],
) -> dict[str, np.ndarray]:
    return {"scores": score(pipeline, captions, seeds, latents=latents).values}
