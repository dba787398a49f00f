"""Pages written from the record: README and findings are templates whose numbers are rows."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import jinja2

from difflab.errors import InputError, require
from difflab.files import write_atomically
from difflab.runs import registry
from difflab.runs.answers import answered
from difflab.runs.numbers import Numbers, Recorded, mean, published, shown, span, with_interval
from difflab.runs.record import default_run
from difflab.runs.result import Result
from difflab.runs.systems import SYSTEMS, place, unrecorded, verdict
from difflab.runs.tables import tables
from difflab.siblings import ROOT

_SHORT = 12
"""Rows of a table that a page of findings shows whole."""
TEMPLATES = ROOT / "docs" / "templates"


def pages(templates: Path) -> dict[Path, str]:
    """Every page of the project that is a template: its path, and the template's name.

    Raises:
        InputError: there are no templates: an installed difflab has none.
    """
    found = sorted(templates.rglob("*.jinja"))
    require(len(found) > 0, f"{templates} holds no templates; pages are written in a checkout of difflab.")
    names = [path.relative_to(templates) for path in found]
    # README.md stands at the top, all others below docs.
    places = [ROOT / name if name.name == "README.md.jinja" else ROOT / "docs" / name for name in names]
    return {place.with_suffix(""): name.as_posix() for place, name in zip(places, names, strict=True)}


def rendered(record: Mapping[str, list[Result]], templates: Path = TEMPLATES) -> dict[Path, str]:
    """The text of every page.

    Args:
        record: its runs by experiment.
        templates: their folder.

    Raises:
        InputError: there are no templates, or one asks for what the record does not hold, or holds several times.
    """
    names = pages(templates)
    documents = registry.documents()
    run_of = cache(lambda name: default_run(name, record))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"mean": mean, "span": span}
    environment.globals |= {
        "record": Numbers(record),
        "number": with_interval,
        "shown": shown,
        "published": published,
        "heading": lambda name: _heading(
            name, documents[name], Recorded(run_of(name)).minutes() if name in record else ""
        ),
        "question": lambda name: registry.question(documents[name]),
        "cost": lambda name: registry.cost(documents[name]),
        "answered": cache(lambda name: answered(run_of(name))),
        "systems": [(system, verdict(system, record), unrecorded(system, record)) for system in SYSTEMS],
        "place": place,
        "finding": lambda name: _finding(run_of(name)),
    }
    found = {}
    for path, name in names.items():
        try:
            found[path] = environment.get_template(name).render()
        except jinja2.TemplateError as error:
            raise InputError(f"{templates / name} can't be written: {error}") from error
    return found


def differing(record: Mapping[str, list[Result]]) -> list[Path]:
    """The pages that are missing, or are not what the record says."""
    texts = rendered(record)
    return [path for path, text in texts.items() if not path.is_file() or path.read_text("utf-8") != text]


def write_pages(record: Mapping[str, list[Result]]) -> list[Path]:
    """Write all pages; returns their paths."""
    texts = rendered(record)
    for path, text in texts.items():
        write_atomically(path, text.encode())
    return list(texts)


def _finding(run: Result) -> str:
    """What an experiment found: the answer, the figure that shows it, short tables, and every claim."""
    answer, recorded = answered(run), Recorded(run)
    shown = answer.figure if answer.figure in run.figures else next(iter(run.figures))
    parts = [f"**{answer.sentence}**" + (f" Published: {answer.published}." if answer.published else "")]
    parts += [recorded.figure(shown), f"*{answer.look}*" if answer.look else ""]
    counts = Counter(row.metric for row in run.rows)
    for table in tables(replace(run, rows=[row for row in run.rows if counts[row.metric] <= _SHORT])):
        # Checksums are for those who check.
        if "sha256" not in table.head:
            lines = [table.head, ["---"] * len(table.head), *table.rows]
            parts += [
                f"{table.name[0].upper()}{table.name[1:]}:",
                "\n".join(f"| {' | '.join(line)} |" for line in lines),
            ]
    rows = f"../../experiments/record/{run.experiment}/{run.digest}/rows.jsonl"
    parts += [f"All numbers are in [its rows]({rows}).", "Claims:", recorded.claims()]
    return "\n\n".join(filter(None, parts))


def _heading(name: str, document: str, took: str) -> str:
    """How the section of an experiment begins: its name, what it asks, what it takes, and what it took here."""
    cost = registry.cost(document)
    said = not took or re.search(rf"(?<![\d.]){re.escape(took)}", cost)
    beside = "" if said else f"; the recorded run took {took}, beside other work or not"
    return f"### {name}\n\n*{registry.question(document)}*\nCost on two cores: {cost}{beside}."
