"""One self-contained page and one Markdown file from the finished runs of a folder."""

import base64
import json
import math
import os
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jinja2

from difflab.files import write_atomically
from difflab.runs.answers import Answer, answered
from difflab.runs.result import Result
from difflab.runs.results import finished_runs
from difflab.runs.sections import Section, grouped
from difflab.runs.tables import tables


def build(
    source: Path,
    documents: Mapping[str, str],
    out: Path | None = None,
    every: bool = False,
    record: Mapping[str, list[Result]] | None = None,
) -> Path:
    """Write `report.html` and `report.md` from the newest finished run of every experiment, or from all runs.

    The page holds everything it shows: no script, no address outside it, figures inside. Each run opens with its
    answer and the figure that shows it; a claim that did not hold stays on the page, before those that held. All other
    figures, numbers and configs are folded, and so is what has not been run.

    Args:
        source: the folder of all results.
        documents: experiment -> its docstring; the first paragraph is the question.
        out: where both files are written; beside the results if not given.
        every: all runs of an experiment, not only its newest.
        record: experiment -> kept runs, whose answers stand beside those of the page.

    Returns:
        The path of the HTML page.

    Raises:
        InputError: no finished run is there, or a figure cannot be read.
        WriteError: the folder cannot be written.
    """
    source, out = Path(source), Path(out or source)
    runs, unfinished = finished_runs(source, every)
    record = record or {}
    given = {
        "groups": grouped(runs, documents, record),
        "missing": _missing({run.experiment for run in runs}, documents, record),
        "unfinished": [f"{sentence[:1].upper()}{sentence[1:]}." for sentence in unfinished],
        "link": lambda path: os.path.relpath(path, out).replace(os.sep, "/"),
    }
    page, text = (_environment().get_template(name).render(given) for name in ("report.html", "report.md"))
    write_atomically(out / "report.md", text.encode())
    write_atomically(out / "report.html", page.encode())
    return out / "report.html"


def rendered(template: str, **given: Any) -> str:
    """A page of another shape, in the report's style.

    Args:
        template: a file of `difflab/runs/templates`.
        given: what it shows.
    """
    return _environment().get_template(template).render(given)


def fragment(run: Result) -> str:
    """One result as HTML, as a notebook shows it."""
    return _environment().get_template("section.html").render(section=Section(run, "", answered(run)))


def _missing(
    done: set[str], documents: Mapping[str, str], record: Mapping[str, list[Result]]
) -> list[tuple[str, list[Answer]]]:
    """Experiments that were not run, each with what the record says to its question."""
    return [(name, [answered(run) for run in record.get(name, ())]) for name in sorted(set(documents) - done)]


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
        "tables": tables,
        "verdict": _verdict,
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


def _facts(run: Result) -> list[tuple[str, str]]:
    facts = [("run", run.digest), ("time", _seconds(run)), ("device", run.meta.get("device", "unknown"))]
    memory = run.meta.get("peak_memory_mib")
    if isinstance(memory, dict) and {"process", "largest_worker"} <= memory.keys():
        facts.append(("memory", f"{memory['process']} MiB, its workers at most {memory['largest_worker']}"))
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
    return f"{sum(run.claims.values())} of {len(run.claims)} claims held" if run.claims else "no claims"


def _verdict(held: bool) -> str:
    return "held" if held else "did not hold"


def _alt(run: Result, name: str) -> str:
    words = run.figures[name].alt
    return f"{_words(name)}, of {run.experiment}" + (f": {words}" if words else "")


def _words(name: str) -> str:
    return name.replace("_", " ")
