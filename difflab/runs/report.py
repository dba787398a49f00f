"""One self-contained page and one Markdown file from the finished runs of a folder."""

import base64
import json
import math
import os
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

from difflab.files import write_atomically
from difflab.runs.registry import question
from difflab.runs.result import Result
from difflab.runs.results import finished_runs


class _Table(NamedTuple):
    """The rows of one metric; what their settings share is said once."""

    metric: str
    shared: str
    rows: list[tuple[str, str, str, str]]


def build(source: Path, documents: Mapping[str, str], out: Path | None = None, every: bool = False) -> Path:
    """Write `report.html` and `report.md` from the newest finished run of every experiment, or from all runs.

    The page holds everything it shows: no script, no address outside it, figures inside. A claim that did not
    hold stays on it, and so does an experiment that has not been run.

    Args:
        source: the folder of all results.
        documents: experiment -> its docstring; the first paragraph is the question.
        out: where both files are written; beside the results if not given.
        every: all runs of an experiment, not only its newest.

    Returns:
        The path of the HTML page.

    Raises:
        InputError: no finished run is there, or a figure cannot be read.
        WriteError: the folder cannot be written.
    """
    source, out = Path(source), Path(out or source)
    runs, unfinished = finished_runs(source, every)
    done = {run.experiment for run in runs}
    open_ends = [f"{name} has not been run." for name in sorted(set(documents) - done)]
    open_ends += [f"{sentence[:1].upper()}{sentence[1:]}." for sentence in unfinished]
    given = {
        "runs": runs,
        "open_ends": open_ends,
        "questions": {run.experiment: question(documents.get(run.experiment, "")) or "No description." for run in runs},
        "link": lambda path: os.path.relpath(path, out).replace(os.sep, "/"),
    }
    page, text = (_environment().get_template(name).render(given) for name in ("report.html", "report.md"))
    write_atomically(out / "report.md", text.encode())
    write_atomically(out / "report.html", page.encode())
    return out / "report.html"


def fragment(run: Result) -> str:
    """One result as HTML, as a notebook shows it."""
    return _environment().get_template("section.html").render(run=run, question="")


def _environment() -> jinja2.Environment:
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("difflab.runs"),
        autoescape=jinja2.select_autoescape(["html"]),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    found.filters |= {
        "words": _words,
        "md": _md,
        "base64": lambda data: base64.b64encode(data).decode(),
        "json": partial(json.dumps, ensure_ascii=False),
    }
    found.globals |= {
        "alt": _alt,
        "facts": _facts,
        "held": _held,
        "seconds": _seconds,
        "tables": _tables,
        "verdict": _verdict,
        "open_rows": 12,  # a longer table is folded
    }
    return found


def _md(text: str) -> str:
    """Text that Markdown shows as it is: its signs escaped, on one line."""
    line = re.sub(r"\s+", " ", text).strip()
    line = re.sub(r"([\\`*\[\]|~$])", r"\\\1", line)
    line = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", line)  # inside a word an underscore means nothing
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # At the start of a line these would open a heading or a list; the last of them becomes an entity.
    opening = re.match(r"(?:#{1,6}|[-+])(?=\s|$)|\d+[.)](?=\s|$)", line)
    if opening is None:
        return line
    last = opening.end() - 1
    return f"{line[:last]}&#{ord(line[last])};{line[last + 1 :]}"


def _tables(run: Result) -> list[_Table]:
    tables = []
    for metric in dict.fromkeys(row.metric for row in run.rows):
        rows = [row for row in run.rows if row.metric == metric]
        first = rows[0].setting
        shared = {
            key: value
            for key, value in first.items()
            if len(rows) > 1 and all(key in row.setting and row.setting[key] == value for row in rows)
        }
        cells = [
            (
                _setting({key: value for key, value in row.setting.items() if key not in shared}) or "–",
                number(row.value),
                _interval(row.low, row.high),
                str(row.n),
            )
            for row in rows
        ]
        tables.append(_Table(metric, _setting(shared), cells))
    return tables


def number(value: float) -> str:
    """Write a number for readers: whole numbers below a million in full, four digits otherwise.

    Just below 1 the distance from 1 is written instead, which is where a crossover fraction says something.

    Args:
        value: any finite number.

    Returns:
        The text.
    """
    if value == int(value) and abs(value) < 1_000_000:
        return str(int(value))
    if 0.999 < value < 1:
        return f"1 - {1 - value:.3g}"
    return f"{value:.4g}"


def _interval(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return "–"
    return f"[{'–' if low is None else number(low)}, {'–' if high is None else number(high)}]"


def _setting(setting: Mapping[str, Any]) -> str:
    shown = {key: number(value) if isinstance(value, float) else str(value) for key, value in setting.items()}
    return ", ".join(f"{key}={value}" for key, value in shown.items())


def _facts(run: Result) -> list[tuple[str, str]]:
    facts = [("run", run.digest), ("time", _seconds(run)), ("device", run.meta.get("device", "unknown"))]
    facts.append(("code", run.meta.get("code_version", "unknown")))
    return [(key, str(value)) for key, value in facts]


def _seconds(run: Result) -> str:
    seconds = run.meta.get("seconds")
    if not isinstance(seconds, int | float) or not math.isfinite(seconds):
        return "unknown"
    if seconds < 100:
        told = f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    else:
        told = f"{seconds // 60:.0f} min {seconds % 60:02.0f} s"
    return f"{told} since it was resumed" if run.meta.get("resumed") else told


def _held(run: Result) -> str:
    return f"{sum(run.claims.values())}/{len(run.claims)}"


def _verdict(held: bool) -> str:
    return "held" if held else "did not hold"


def _alt(run: Result, name: str) -> str:
    words = run.figures[name].alt
    return f"{_words(name)}, of {run.experiment}" + (f": {words}" if words else "")


def _words(name: str) -> str:
    return name.replace("_", " ")
