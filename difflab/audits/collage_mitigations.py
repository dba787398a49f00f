"""Studies of CLIP models on collages whose training is changed by one knob, to remember less."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from difflab.audits.collage_models import Study, over_models, own_retrieved, rows, trained_pairs, usefulness
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Row
from difflab.statistics.intervals import paired_difference

NOTHING = "nothing"


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
    Knob(NOTHING),
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


def knob_rows(knobs: Sequence[Knob], study: Study, checkpoints: Checkpoints) -> Iterator[Row]:
    """Train the study under every knob, and say what is remembered and what it costs, beside no change.

    Args:
        knobs: one of them is NOTHING.
        study: what each changes; data, seeds and order are the same under all.
        checkpoints: where weights are kept.

    Yields:
        What `difflab.audits.collage_models` says of each; lowered_score and useful_score, paired differences to
        NOTHING in the gap and in held-out retrieval.
    """
    gaps, held_out = dict[str, list[float]](), dict[str, list[float]]()
    for knob in knobs:
        changed = replace(study, training=replace(study.training, **dict[str, Any](knob.changes)))
        name = "".join(letter if letter.isalnum() else "_" for letter in knob.label)
        found = trained_pairs(changed, checkpoints, name)
        setting = {"mitigation": knob.label}
        yield from rows(found.pairs, changed, setting)
        measured = usefulness(found.clips, found.losses, changed)
        yield from over_models(measured | {"own_retrieved_fraction": own_retrieved(found)}, setting)
        gaps[knob.label] = [float(pair["hidden_auc"].mean()) for pair in found.pairs]
        held_out[knob.label] = measured["retrieved_fraction"]
    for label, values in gaps.items():
        if label != NOTHING:
            # The same data, seeds and order: pair by pair.
            lowered = paired_difference(values, gaps[NOTHING])
            yield Row("lowered_score", *lowered, len(values), {"mitigation": label, "of": "hidden_auc"})
            useful = paired_difference(held_out[label], held_out[NOTHING])
            yield Row("useful_score", *useful, len(held_out[label]), {"mitigation": label, "of": "retrieved"})
