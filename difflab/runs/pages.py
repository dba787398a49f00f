"""Pages written from the record: README and findings are templates whose numbers are rows."""

from collections.abc import Mapping
from pathlib import Path

import jinja2

from difflab.errors import InputError, require
from difflab.files import write_atomically
from difflab.runs import registry
from difflab.runs.numbers import Numbers, mean, published, shown, span, with_interval
from difflab.runs.result import Result
from difflab.siblings import ROOT

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
        "heading": lambda name: _heading(name, documents[name]),
        "question": lambda name: registry.question(documents[name]),
        "cost": lambda name: registry.cost(documents[name]),
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


def _heading(name: str, document: str) -> str:
    """How the section of an experiment begins: its name, what it asks, and what it takes on two cores."""
    return f"### {name}\n\n*{registry.question(document)}*\nCost on two cores: {registry.cost(document)}."
