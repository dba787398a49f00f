"""Can what a CLIP model remembers be measured without training a second one?

The two-model test needs a reference that never saw the pair. Here references that need no training take its place: a
naive Bayes over the caption's words and the nearest captions by words or by a sentence model, all from public pairs
(Kokhlikyan et al. 2024, arXiv 2504.05651, and the published one-model script of arXiv 2402.02103, which looks up
captions of a sentence model); and the exact chances, since the world is ours. In one world the hidden objects are
independent of the caption, and all references should guess; in the other, named objects bring partners along, and a
reference must know it, lest what everybody could guess be taken for memory.

Expect gaps to agree with the two-model test where nothing can be guessed, and to be smaller where a reference knows
more of the correlation than the models do; rankings of targets agree less (as they found). Two
gaps of one model with different references agree in part because they share that model; how far two second models
agree is what a reference can reach at best.
Cost on two cores: about 20 minutes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from difflab.audits.collage_models import SMALLEST, Study, counted, gallery, seen_by, trained_pairs, truth
from difflab.audits.one_model_rows import ANOTHER, EXACT, TWO_MODELS, reference_rows
from difflab.clip.gap import hidden_auc
from difflab.clip.panels import references_figure
from difflab.clip.references import sentences, without_training
from difflab.errors import require
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded, with_interval
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row, select
from synthetic.data import collages as drawn


@dataclass(frozen=True)
class Config(Study):
    """The study, and how strongly named objects bring others along."""

    correlations: tuple[float, ...] = (0.0, 0.5)
    """A world each."""
    sentence_model: bool = True
    """Ask all-MiniLM-L6-v2, too; it comes with difflab[sentences]."""
    neighbours: int = 50
    """Public captions by words or by meaning; more than of pictures, since few share a word."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(len(self.correlations) >= 1, "give at least one correlation.")
        require(1 <= self.neighbours <= self.public, f"neighbours is {self.neighbours}; the gallery has {self.public}.")


SMOKE = Config(**SMALLEST, sentence_model=False, neighbours=10)


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Train pairs in each world, and compare every model with every reference on its own targets."""
    for correlation in config.correlations:
        study = replace(config, world=replace(config.world, correlation=correlation))
        found = trained_pairs(study, checkpoints, f"correlation{round(100 * correlation)}")
        public = gallery(study)
        held = drawn.held(public, study.world)
        meanings = sentences(public.captions) if config.sentence_model else None
        gaps: dict[str, list[Float[np.ndarray, " q"]]] = {}
        areas: dict[str, list[Float[np.ndarray, " q"]]] = {}
        seen = [seen_by(clip, public, study) for clip in found.clips]
        for number, data in enumerate(found.sets):
            # The model of the pair's other half, and one of the next pair.
            strangers = (number + 1 - 2 * (number % 2), (number + 2) % len(found.clips))
            member, *others = (
                counted(found.clips[i], seen[i], data.found.captions, study) for i in (number, *strangers)
            )
            known = truth(data.found, study)
            own = hidden_auc(member, *known)
            references = {TWO_MODELS: others[0], ANOTHER: others[1], EXACT: drawn.expected(data.found, study.world)}
            references |= without_training(data.found.captions, public.captions, held, config.neighbours, meanings)
            for name, scores in references.items():
                area = hidden_auc(scores, *known)
                gaps.setdefault(name, []).append(own - area)
                areas.setdefault(name, []).append(area)
        yield from reference_rows(gaps, areas, study, correlation)


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What a one-model test must do to stand for two models."""
    found = {}
    names = [
        row.setting["reference"]
        for row in select(rows, "gap_score")
        if row.setting["reference"] not in (TWO_MODELS, ANOTHER)
    ]
    for name in dict.fromkeys(names):
        for row in select(rows, "difference_score", reference=name):
            correlation = row.setting["correlation"]
            two = select(rows, "gap_score", reference=TWO_MODELS, correlation=correlation)[0].value
            found[f"{name}, correlation {correlation:g}: its gap is within a tenth of the two-model gap"] = abs(
                row.value
            ) <= 0.1 * abs(two)
    best = {row.setting["correlation"]: row for row in select(rows, "ranking_similarity", reference=ANOTHER)}
    for row in select(rows, "ranking_similarity"):
        name, correlation = row.setting["reference"], row.setting["correlation"]
        if name not in (TWO_MODELS, ANOTHER):
            found[f"{name}, correlation {correlation:g}: ranks targets as another second model does or better"] = (
                row.interval.high >= best[correlation].value
            )
    return found


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """The gap by every reference, world by world."""
    return {"references": references_figure(rows, {TWO_MODELS: "memorizing", EXACT: "exact"})}


def answer(run: Recorded) -> Answer:
    """The gap of two models beside the smallest of one model."""
    two = run.rows("gap_score", reference=TWO_MODELS)[0]
    world = {"correlation": two.setting["correlation"]}
    told = [row for row in run.rows("gap_score", **world) if row.setting["reference"] not in (TWO_MODELS, ANOTHER)]
    least = min(told, key=lambda row: row.value, default=two)
    return Answer(
        f"At correlation {world['correlation']:g} two models show a gap of {with_interval(two)}, one model with "
        f"{least.setting['reference']} {with_interval(least)}.",
        "",
        "references",
        "Which references show the same gap as two models do?",
    )
