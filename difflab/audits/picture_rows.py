"""Copies, quality and costs of three families of image models, over worlds, in rows."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Bool

from difflab.audits.picture_judge import PIXEL
from difflab.audits.picture_reading import THROUGH, WHOLE, Asking
from difflab.audits.picture_told import FAMILIES, MANY, REPEATED, TWIN, Told
from difflab.audits.picture_worlds import DIFFUSION, MODEL, ORACLE, TOKENS, PictureWorld, cost
from difflab.runs.rows import Note, Row
from difflab.statistics.intervals import SHARE, grouped_fraction, mean, paired_difference, pooled, share_interval
from difflab.statistics.levels import at_level, common_level

HELD_OUT = {THROUGH: "from the codec", WHOLE: "as they are"}
"""What drawn pictures are compared with, to say how good they are; the first blames no model for its codec."""
EQUAL_COMPUTE = "equal compute"
EQUAL_QUALITY = {of: f"equal quality, held-out pictures {name}" for of, name in HELD_OUT.items()}
_FEWEST = 2


def cost_rows(world: PictureWorld) -> Iterator[Row]:
    """Weights, compute of the training, and pictures shown, by family."""
    for family in FAMILIES:
        spent, here = cost(world, family), {"family": family}
        yield Row("weights_count", spent.weights, None, None, 1, here)
        yield Row("training_flops_count", spent.flops * world.steps(family), None, None, 1, here)
        yield Row("pictures_shown_count", world.shown(family), None, None, 1, here)


def codec_rows(told: Sequence[Told]) -> Iterator[Row]:
    """How far pictures come back from codecs, how many are copies then, and the kernel distance of others: no model
    does better."""
    for family in FAMILIES:
        answers = [one.answers[family, MODEL] for one in told]
        errors, best = ([float(one[f"codec {what}"]) for one in answers] for what in ("error", "distance"))
        copies = [one.answers[family, MODEL][f"codec {PIXEL}"] > one.judge.thresholds[PIXEL].value for one in told]
        yield Row("reconstruction_distance", *mean(errors, bounds=SHARE), len(told), {"family": family})
        yield Row("codec_distance", *mean(best), len(told), {"family": family})
        yield _fraction("genuine_fraction", copies, {"family": family})


def copy_rows(told: Sequence[Told], asking: Asking) -> Iterator[Row]:
    """Copies drawn from captions alone, by family, look and copies, of twins, and of oracles; and quality."""
    last = len(asking.looks) - 1
    for family, look in product(FAMILIES, range(len(asking.looks))):
        here: dict[str, Any] = {"family": family, "trained": asking.looks[look]}
        for copies in np.unique(told[0].asked).tolist():
            chosen = [one.copied(family, look)[one.asked == copies] for one in told]
            role = REPEATED if copies else TWIN
            yield _fraction("memorized_fraction", chosen, here | {"model": MODEL, "pictures": role, "copies": copies})
        for of, name in HELD_OUT.items():
            distances = [one.distance(family, look, of) for one in told]
            yield Row("kernel_distance", *mean(distances), len(told), here | {"held_out": name})
    for family in TOKENS:
        chosen = [one.copied(family, last, ORACLE)[one.asked > 0] for one in told]
        setting = {"family": family, "trained": 1.0, "model": ORACLE, "pictures": REPEATED, "copies": 0}
        yield _fraction("memorized_fraction", chosen, setting)
    for order in TOKENS:
        losses = [float(one.answers[order, MODEL]["held_out_loss"]) for one in told]
        yield Row("held_out_loss", *mean(losses), len(told), {"family": order, "unit": "nats a token"})


def extraction_rows(told: Sequence[Told], asking: Asking) -> Iterator[Row]:
    """What greedy decoding makes of the caption and the first tokens: a copy by pixels, and every token right."""
    for order in TOKENS:
        for given, copies in product(asking.given(order), np.unique(told[0].asked).tolist()):
            setting = {"family": order, "given": given, "pictures": REPEATED if copies else TWIN, "copies": copies}
            pixels, tokens = [], []
            for one in told:
                answers, here = one.answers[order, MODEL], one.asked == copies
                alike = answers[f"given {given} {PIXEL}"][here, 0]
                pixels.append(alike > one.judge.thresholds[PIXEL].value)
                tokens.append(answers[f"given {given} right"][here] == 1)
            yield _fraction("extracted_fraction", pixels, setting | {"judged": PIXEL})
            yield _fraction("extracted_fraction", tokens, setting | {"judged": "all tokens"})


def family_rows(told: Sequence[Told], asking: Asking, shown: Mapping[str, int]) -> Iterator[Row | Note]:
    """By how much token models copy more of the much repeated pictures than diffusion does.

    At equal compute (the end of both), after as many pictures shown, and at equal quality: where both first reach the
    best kernel distance of the worse one. Once from held-out pictures as they come back from each one's codec, for what
    a codec loses is no fault of the model, and once from these as they are, which is what a user sees. Between looks
    along straight lines. A world counts where neither is better at its first look than the other ever is.

    Args:
        told: of each world.
        asking: when models were looked at.
        shown: pictures that each family is shown in its whole training.
    """
    looks, n = range(len(asking.looks)), int((told[0].asked >= MANY).sum())
    rates = {family: [[one.copies_rate(family, i) for i in looks] for one in told] for family in FAMILIES}
    apart = {
        (family, of): np.array([[one.distance(family, i, of) for i in looks] for one in told])
        for family, of in product(FAMILIES, HELD_OUT)
    }
    reached = [0.0, *(share * shown[DIFFUSION] for share in asking.looks)]
    for order in TOKENS:
        token = [one[-1] for one in rates[order]]
        as_many = [float(np.interp(shown[order], reached, [0.0, *one])) for one in rates[DIFFUSION]]
        compared = {
            EQUAL_COMPUTE: (token, [one[-1] for one in rates[DIFFUSION]]),
            "equal pictures shown": (token, as_many),
        }
        for of, at in EQUAL_QUALITY.items():
            levels = [common_level(pair) for pair in zip(apart[order, of], apart[DIFFUSION, of], strict=True)]
            ours, theirs = (
                [at_level(*one) for one in zip(apart[family, of], map(np.array, rates[family]), levels, strict=True)]
                for family in (order, DIFFUSION)
            )
            compared[at] = ours, theirs
        for at, (ours, theirs) in compared.items():
            setting = {"family": order, "against": DIFFUSION, "at": at, "copies": MANY}
            # Where one begins better than the other ends nothing is compared.
            pairs = [(one, other) for one, other in zip(ours, theirs, strict=True) if np.isfinite([one, other]).all()]
            if len(pairs) < _FEWEST:
                yield Note(
                    f"{order}, {at}: nothing is compared, for in {len(pairs)} of {len(told)} worlds both get there."
                )
                continue
            ours, theirs = [one for one, _ in pairs], [other for _, other in pairs]
            yield Row("copies_difference", *paired_difference(ours, theirs), len(pairs), setting)
            for family, values in ((order, ours), (DIFFUSION, theirs)):
                found = pooled([share_interval(value, n) for value in values], bounds=SHARE)
                here = setting | {"of": family}
                yield Row("copied_fraction", found.value, found.low, found.high, n * len(pairs), here, found.sd)


def _fraction(metric: str, chosen: Sequence[Bool[np.ndarray, " n"]], setting: dict[str, Any]) -> Row:
    n = len(chosen[0])
    return Row(metric, *grouped_fraction([int(one.sum()) for one in chosen], n), n * len(chosen), setting)
