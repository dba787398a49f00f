"""What models keep of planted duplicates when they are trained anew on treated data, beside random rows."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from difflab.audits.data_treatments import CHANCE, PRUNED, UNTOUCHED, WEIGHTED, Treatment
from difflab.audits.duplicate_worlds import NATURAL, REPEATED
from difflab.audits.duplicates_found import Charted
from difflab.audits.text_items import REPEATED as SEEN
from difflab.audits.text_items import TWIN
from difflab.runs.rows import Row
from difflab.statistics.cartography import DROP
from difflab.statistics.intervals import POSITIVE, SHARE, Interval, grouped_fraction, mean, paired_difference, pooled
from difflab.statistics.ranking import auc, newcombe


def retrained_rows(charted: Sequence[Charted]) -> Iterator[Row]:
    """Extraction, membership and validation loss of every model; and beside random rows treated the same way."""
    n = len(charted)
    for treatment in (None, *charted[0].retrained):
        what, by = (UNTOUCHED, UNTOUCHED) if treatment is None else treatment
        for kind in REPEATED:
            for role in (SEEN, TWIN):
                counts, of = _counts(charted, treatment, kind, role)
                setting = {"treatment": what, "by": by, "kind": kind, "texts": role}
                yield Row("extracted_fraction", *grouped_fraction(counts, of), of * n, setting)
            texts = len(charted[0].answers(treatment)[f"{kind} score loss"]) // 2
            areas = pooled([newcombe(_membership(one, treatment, kind), texts, texts) for one in charted], bounds=SHARE)
            setting = {"treatment": what, "by": by, "kind": kind}
            yield Row("membership_auc", *areas[:3], n, setting, areas.sd)
        losses = [float(one.answers(treatment)["validation"].mean()) for one in charted]
        yield Row("validation_loss", *mean(losses, bounds=POSITIVE), n, {"treatment": what, "by": by})
    yield from _against_random(charted)


def _against_random(charted: Sequence[Charted]) -> Iterator[Row]:
    """By how much each treatment changes each number more than the same done to random rows."""
    measures: dict[str, Callable[[Charted, Treatment], float]] = {
        "extraction_difference": _extraction,
        "membership_difference": lambda one, what: float(np.mean([_membership(one, what, kind) for kind in REPEATED])),
    }
    for treatment in charted[0].retrained:
        other = Treatment(treatment.what, CHANCE)
        if treatment == other:
            continue
        setting = {"treatment": treatment.what, "by": treatment.by, "over": CHANCE}
        for metric, measure in measures.items():
            pairs = [(measure(one, treatment), measure(one, other)) for one in charted]
            gap = paired_difference([one for one, _ in pairs], [other for _, other in pairs])
            yield Row(metric, *_ends(gap), len(charted), setting)
        ratios = [
            float(one.answers(treatment)["validation"].mean() / one.answers(other)["validation"].mean())
            for one in charted
        ]
        yield Row("validation_ratio", *mean(ratios, bounds=POSITIVE), len(charted), setting)
    pairs = [
        (_extraction(one, Treatment(WEIGHTED, DROP)), _extraction(one, Treatment(PRUNED, DROP))) for one in charted
    ]
    gap = paired_difference([weighted for weighted, _ in pairs], [pruned for _, pruned in pairs])
    yield Row("extraction_difference", *_ends(gap), len(charted), {"treatment": WEIGHTED, "by": DROP, "over": PRUNED})


def _ends(gap: Interval) -> tuple[float, float | None, float | None]:
    """Where no world differs from another the spread of worlds says nothing of what is uncertain."""
    return (gap.value, gap.low, gap.high) if gap.low < gap.high else (gap.value, None, None)


def _counts(charted: Sequence[Charted], treatment: Treatment | None, kind: str, role: str) -> tuple[list[int], int]:
    """How many repeated texts, or twins, come back in every world, and of how many."""
    halves = [np.split(one.answers(treatment)[f"{kind} {_success(one)}"], 2)[role == TWIN] for one in charted]
    return [int(half.sum()) for half in halves], len(halves[0])


def _extraction(one: Charted, treatment: Treatment | None) -> float:
    """Share of the repeated texts of all kinds that come back."""
    shares = [np.split(one.answers(treatment)[f"{kind} {_success(one)}"], 2)[0].mean() for kind in REPEATED]
    return float(np.mean(shares))


def _success(one: Charted) -> str:
    """Under which name it stands whether a text came back."""
    (name,) = [key.removeprefix(f"{NATURAL} ") for key in one.told if key.startswith(f"{NATURAL} success exact")]
    return name


def _membership(one: Charted, treatment: Treatment | None, kind: str) -> float:
    """How well the loss tells repeated texts from their twins."""
    scores = one.answers(treatment)[f"{kind} score loss"]
    return auc(scores, np.arange(len(scores)) < len(scores) // 2)
