"""What makes a CLIP model remember less of its pictures, and what does that cost?

Text randomization (a share of a caption's words replaced at every visit), weight decay, a cap on the temperature and
early stopping, the four knobs of Déjà Vu Memorization in Vision-Language Models (arXiv 2402.02103), each on pairs of
models that share their data and seeds with the pairs that have none of them. The gap stands beside the training loss
(of the captions as they were shown, so not comparable between knobs), the share of own and of held-out captions that
find their picture, and zero-shot recognition, because a knob that keeps the model from learning removes memory, too.

The paper's verdict: text randomization is the best trade, much less memory at a moderate cost. Expect it to make these
models better, too, and weight decay alone to do nothing, nor a cap on the inverse temperature, which begins at 14 and
never gets to 20.
Cost on two cores: 60 minutes, beside other work.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from difflab.audits.collage_models import (
    SMALLEST,
    Study,
    over_models,
    own_retrieved,
    rows,
    trained_pairs,
    usefulness,
)
from difflab.clip.panels import cost_figure
from difflab.clip.train import Training
from difflab.errors import require
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded, with_interval
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row, select
from difflab.statistics.intervals import paired_difference


class Knob(NamedTuple):
    """One change of the training.

    Attributes:
        name: of the mitigation; "nothing" for none.
        changes: of `Training`, name and value.
    """

    name: str
    changes: tuple[tuple[str, str | float | int], ...] = ()

    @property
    def label(self) -> str:
        """As rows and checkpoints call it."""
        values = [str(value) for _, value in self.changes if not isinstance(value, str)]
        return " ".join([self.name, *values])


GRID = (
    Knob("nothing"),
    Knob("random words", (("randomized", 0.15),)),
    Knob("random words", (("randomized", 0.3),)),
    Knob("masked words", (("randomized", 0.15), ("randomization", "masked"))),
    Knob("masked words", (("randomized", 0.3), ("randomization", "masked"))),
    Knob("masked words", (("randomized", 0.6), ("randomization", "masked"))),
    Knob("weight decay", (("weight_decay", 1.0),)),
    Knob("temperature cap", (("scale_cap", 10.0),)),
    Knob("stopped after", (("stop", 100),)),
    Knob("stopped after", (("stop", 200),)),
)
COLOURS = {
    "nothing": "memorizing",
    "random words": "generalizing",
    "masked words": "trained",
    "weight decay": "predicted",
    "temperature cap": "partly_memorizing",
    "stopped after": "control",
}


@dataclass(frozen=True)
class Config(Study):
    """The study, and the knobs."""

    training: Training = field(default_factory=lambda: Training(steps=300))
    n: int = 750
    knobs: tuple[Knob, ...] = GRID

    def __post_init__(self) -> None:
        super().__post_init__()
        labels = [knob.label for knob in self.knobs]
        require("nothing" in labels and len(set(labels)) == len(labels), "give different knobs, one of them nothing.")
        for knob in self.knobs:
            replace(self.training, **dict[str, Any](knob.changes))


SMOKE = Config(**SMALLEST, knobs=(GRID[0], GRID[2], Knob("stopped after", (("stop", 2),))))


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Train and ask, knob by knob."""
    gaps, held_out = dict[str, list[float]](), dict[str, list[float]]()
    for knob in config.knobs:
        study = replace(config, training=replace(config.training, **dict[str, Any](knob.changes)))
        name = "".join(letter if letter.isalnum() else "_" for letter in knob.label)
        found = trained_pairs(study, checkpoints, name)
        setting = {"mitigation": knob.label}
        yield from rows(found.pairs, study, setting)
        measured = usefulness(found.clips, found.losses, study)
        yield from over_models(measured | {"own_retrieved_fraction": own_retrieved(found)}, setting)
        gaps[knob.label] = [float(pair["hidden_auc"].mean()) for pair in found.pairs]
        held_out[knob.label] = measured["retrieved_fraction"]
    for label, values in gaps.items():
        if label != "nothing":
            # The same data, seeds and order: pair by pair.
            found_difference = paired_difference(values, gaps["nothing"])
            yield Row("lowered_score", *found_difference, len(values), {"mitigation": label, "of": "hidden_auc"})
            useful = paired_difference(held_out[label], held_out["nothing"])
            yield Row("useful_score", *useful, len(held_out[label]), {"mitigation": label, "of": "retrieved"})


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What the paper says of its knobs."""
    lowered = {row.setting["mitigation"]: row.interval for row in select(rows, "lowered_score")}
    useful = {row.setting["mitigation"]: row.interval for row in select(rows, "useful_score")}
    words = [label for label in lowered if "words" in label]
    decay = [label for label in lowered if label.startswith("weight decay")]
    found = {
        f"text randomization lowers the gap: {label}, the interval of the paired difference lies below 0": (
            lowered[label].high < 0
        )
        for label in words
    }
    found["and some of it costs no held-out retrieval: the interval of the paired difference is not below 0"] = any(
        useful[label].high >= 0 and lowered[label].high < 0 for label in words
    )
    if decay:
        found["weight decay alone does not: its interval holds 0"] = all(
            lowered[label].low <= 0 <= lowered[label].high for label in decay
        )
    return found


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """The privacy-utility planes."""
    metrics = {
        "retrieved_fraction": "held-out captions that find their picture",
        "zero_shot_auc": "zero-shot AUC",
        "training_loss": "training loss",
    }
    return {metric.rsplit("_", 1)[0]: cost_figure(rows, metric, words, COLOURS) for metric, words in metrics.items()}


def answer(run: Recorded) -> Answer:
    """The strongest knob, and what it costs."""
    best = min(run.rows("lowered_score"), key=lambda row: row.value)
    knob = best.setting["mitigation"]
    (cost, *_) = run.rows("useful_score", mitigation=knob)
    return Answer(
        f"Of all knobs {knob} leaves the least memory: the gap changes by {with_interval(best)}, held-out retrieval by "
        f"{with_interval(cost)}.",
        "",
        "retrieved",
        "To the right is more useful, below is less memory: which knobs lie to the lower right of none?",
    )
