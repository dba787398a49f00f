"""How well texts, or spans of them, are still known while a model forgets them, and when that is little enough."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from difflab.autoregressive.extractions.extraction_likelihood import ExtractionLikelihood, extraction_likelihood
from difflab.autoregressive.generate import continued
from difflab.autoregressive.likelihood import predictions
from difflab.autoregressive.model import LanguageModel, Tokens
from difflab.autoregressive.spans import Span
from difflab.errors import at_least, require
from difflab.runs.results import Checkpoints
from difflab.statistics.verbatim import span_likelihood

CHECKS = "checks"
"""What checkpoints call them."""


class Check(NamedTuple):
    """What a model knew after some steps.

    Attributes:
        step: of the training.
        accuracy: MA: share of the tokens to forget that are the likeliest ones, meaned over texts.
        likelihood: EL_n of the texts to forget, meaned over them; NaN where it was not asked.
        loss: of the tokens to forget, in nats, meaned over texts.
        retained: loss of the texts to keep, the same way; NaN where there are none.
    """

    step: int
    accuracy: float
    likelihood: float
    loss: float
    retained: float


class Thresholds(NamedTuple):
    """How well the model as it was knew texts that it never saw."""

    accuracy: float
    likelihood: float


@dataclass(frozen=True)
class Rule:
    """When a text counts as forgotten.

    Attributes:
        n: tokens of the n-grams of EL.
        margin: EL is asked only where MA is at most so far above its threshold.
        patience: checks without a lower EL after which MA alone decides.
    """

    n: int = 10
    margin: float = 0.1
    patience: int = 5

    def __post_init__(self) -> None:
        at_least(self, 1, "n", "patience")
        at_least(self, 0, "margin")


def forgotten(checks: Sequence[Check], thresholds: Thresholds, rule: Rule = Rule()) -> bool:
    """Whether the last check says that texts are no better known than unseen ones.

    MA is at most its threshold, and EL at most its own, or EL has had no new low for `patience` checks.

    Args:
        checks: in their order.
        thresholds: MA and EL of texts that were never seen.
        rule: when.

    Reference:
        Jang et al. 2022, arXiv 2210.01504, section 3; patience and margin are of the code of arXiv 2509.13755.

    Differs:
        A number as large as its threshold is little enough: EL of unseen texts may be 0.
    """
    last = checks[-1]
    if not last.accuracy <= thresholds.accuracy:
        return False
    if last.likelihood <= thresholds.likelihood:
        return True
    asked = [check.likelihood for check in checks if not np.isnan(check.likelihood)]
    return len(asked) > rule.patience and min(asked[-rule.patience :]) >= min(asked[: -rule.patience])


def accuracy(model: LanguageModel, texts: Sequence[Tokens], spans: Sequence[Span] | None = None) -> tuple[float, float]:
    """MA and loss, meaned over texts.

    Args:
        model: that is asked.
        texts: token ids.
        spans: which tokens count, where not all do; without them the first of each text counts only in the loss.

    Returns:
        Share of the counted tokens that are the likeliest, and mean of their -ln p, each meaned over the texts that
            have such tokens; NaN where none has.
    """
    shares, losses = [], []
    for i, (ids, told) in enumerate(zip(texts, predictions(model, texts), strict=True)):
        n = len(told.greedy)
        if spans is None:
            counted, hits = np.ones(n, dtype=bool), told.greedy[n - len(ids) + 1 :]
        else:
            counted = spans[i][len(ids) - n :]
            hits = told.greedy[counted]
        # What is not asked is neither known nor forgotten.
        shares += [float(hits.mean())] if len(hits) else []
        losses += [float(-told.log_probs[counted].mean())] if counted.any() else []
    return _meaned(shares), _meaned(losses)


def likelihood(
    model: LanguageModel, texts: Sequence[Tokens], spans: Sequence[Span] | None = None, n: int = 10
) -> float:
    """EL_n, meaned over texts; of spans, meaned over all spans that can be asked, NaN where there are none.

    Args:
        model: that is asked.
        texts: token ids, more than n each where there are no spans.
        spans: which tokens count, where not all do.
        n: tokens of an n-gram.
    """
    if spans is None:
        return float(extraction_likelihood(model, texts, ExtractionLikelihood(n)).values.mean())
    first = 0 if model.begin is not None else 1
    runs = [(ids, a, b) for ids, span in zip(texts, spans, strict=True) for a, b in _runs(span, first)]
    if not runs:
        return float("nan")
    cuts = [[a + i for i in range(max(b - a - n + 1, 1))] for _, a, b in runs]
    prefixes = [ids[:cut] for (ids, _, _), some in zip(runs, cuts, strict=True) for cut in some]
    new = [b - cut for (_, _, b), some in zip(runs, cuts, strict=True) for cut in some]
    written = iter(continued(model, prefixes, new))
    values = [
        span_likelihood(ids[a:b], [next(written) for _ in some], n)
        for (ids, a, b), some in zip(runs, cuts, strict=True)
    ]
    return float(np.mean(values))


def thresholds_of(model: LanguageModel, unseen: Sequence[Tokens], n: int) -> Thresholds:
    """How well a model knows texts that it never saw.

    Raises:
        InputError: one has no more than n tokens.
    """
    short = [i for i, ids in enumerate(unseen) if len(ids) <= n]
    require(not short, f"{len(short)} unseen texts have no more than {n} tokens; give longer ones, or a smaller --n.")
    return Thresholds(accuracy(model, unseen)[0], likelihood(model, unseen, n=n))


class Known(NamedTuple):
    """What checks ask.

    Attributes:
        forget, spans: what shall not be known.
        retain: what shall.
        thresholds: None where nothing is compared; EL is then not asked.
        rule: when texts count as forgotten.
    """

    forget: Sequence[Tokens]
    spans: Sequence[Span] | None
    retain: Sequence[Tokens]
    thresholds: Thresholds | None
    rule: Rule


def check(model: LanguageModel, step: int, known: Known, whole: bool = False) -> Check:
    """What a model knows now.

    Args:
        model: that is asked.
        step: of the training.
        known: what is asked.
        whole: EL is asked in any case.
    """
    share, loss = accuracy(model, known.forget, known.spans)
    retained = accuracy(model, known.retain)[1] if known.retain else float("nan")
    near = known.thresholds is not None and share <= known.thresholds.accuracy + known.rule.margin
    asked = likelihood(model, known.forget, known.spans, known.rule.n) if near or whole else float("nan")
    return Check(step, share, asked, loss, retained)


def stopping(
    model: LanguageModel, known: Known, every: int, checkpoints: Checkpoints | None, checks: dict[int, Check]
) -> Callable[[int], bool]:
    """until(step) of a training: a check every so many steps, and an end where the rule says so.

    Args:
        model: whose weights are moved.
        known: what is asked.
        every: steps between two checks.
        checkpoints: where checks are kept, so that a resumed training stops where it would have.
        checks: by step; filled.
    """
    if checkpoints is not None:
        checks |= _kept(checkpoints.load(CHECKS))

    def until(step: int) -> bool:
        if step % every:
            return False
        if step not in checks:
            checks[step] = check(model, step, known)
            if checkpoints is not None:
                checkpoints.save(CHECKS, {CHECKS: np.array([checks[k] for k in sorted(checks)], dtype=np.float64)})
        done = [checks[k] for k in sorted(checks) if k <= step]
        return known.thresholds is not None and forgotten(done, known.thresholds, known.rule)

    return until


def _kept(arrays: Mapping[str, np.ndarray] | None) -> dict[int, Check]:
    rows = [] if arrays is None else arrays[CHECKS].tolist()
    return {int(row[0]): Check(int(row[0]), *row[1:]) for row in rows}


def _meaned(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _runs(span: Span, first: int) -> list[tuple[int, int]]:
    """Where each run of sensitive tokens begins and ends; the first token of a text only if something is before it."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], span, [False]]).astype(np.int8)))
    pairs = [(max(int(a), first), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    return [(a, b) for a, b in pairs if b > a]
