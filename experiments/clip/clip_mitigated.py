"""What makes a CLIP model remember less of its pictures, and what does that cost?

Text randomization (a share of a caption's words replaced at every visit), weight decay, a cap on the temperature and
early stopping, the four knobs of Déjà Vu Memorization in Vision-Language Models (arXiv 2402.02103), each on pairs of
models that share their data and seeds with the pairs that have none of them. The gap stands beside the training loss
(of the captions as they were shown, so not comparable between knobs), the share of own and of held-out captions that
find their picture, and zero-shot recognition, because a knob that keeps the model from learning removes memory, too.

The paper's verdict: text randomization is the best trade, much less memory at a moderate cost. Expect it to make these
models better, too, and weight decay alone to do nothing, nor a cap on the inverse temperature, which begins at 14 and
never gets to 20.
Cost on two cores: about 60 minutes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from difflab.audits.collage_mitigations import GRID, NOTHING, Knob, knob_rows
from difflab.audits.collage_models import SMALLEST, Study
from difflab.clip.panels import cost_figure
from difflab.clip.train import Training
from difflab.errors import require
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded, with_interval
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row, select

COLOURS = {
    NOTHING: "memorizing",
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
        require(NOTHING in labels and len(set(labels)) == len(labels), "give different knobs, one of them nothing.")
        for knob in self.knobs:
            replace(self.training, **dict[str, Any](knob.changes))


SMOKE = Config(**SMALLEST, knobs=(GRID[0], GRID[2], Knob("stopped after", (("stop", 2),))))


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Train and ask, knob by knob."""
    yield from knob_rows(config.knobs, config, checkpoints)


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
