"""The record: finished runs that come with the project, small enough to be kept, and the source of its numbers."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from PIL import Image

from difflab.errors import require
from difflab.files import plain
from difflab.runs import registry
from difflab.runs.result import Arrays, Picture, Result
from difflab.runs.results import read_run, write
from difflab.siblings import ROOT

RECORD = ROOT / "experiments" / "record"
_WIDTH, _COLOURS = 900, 128
"""Of a kept figure: pixels, and colours."""


def keep(run: Result, record: Path = RECORD) -> Result:
    """Put a finished run into the record: rows, claims, meta and small figures, no arrays.

    Claims are judged anew: those of the record are what today's code says of the rows.

    Returns:
        The run as it lies there.
    """
    judged = registry.load(run.experiment).claims(run.rows)
    claims = {claim: bool(held) for claim, held in judged.items()}
    figures = {name: Picture(_small(picture.png()), picture.alt) for name, picture in run.figures.items()}
    meta = {name: value for name, value in run.meta.items() if name not in ("rows", "figures", "artefacts")}
    return write(replace(run, claims=claims, figures=figures, meta=meta, artefacts=Arrays({}), folder=None), record)


def recorded(record: Path = RECORD) -> dict[str, list[Result]]:
    """Every run of the record by experiment.

    Raises:
        InputError: one is damaged.
    """
    found: dict[str, list[Result]] = {}
    for path in sorted(record.glob("*/*/meta.json")):
        run = read_run(path.parent)
        found.setdefault(run.experiment, []).append(run)
    return found


def default_run(name: str, record: Mapping[str, Sequence[Result]]) -> Result:
    """The recorded run of an experiment's own command, without flags.

    Raises:
        InputError: the record holds none, or several.
    """
    wanted = plain(asdict(registry.load(name).Config()), "config")
    there = [run for run in record.get(name, ()) if run.config == wanted]
    require(len(there) == 1, f"the record holds {len(there)} default runs of {name}; keep one.")
    return there[0]


def _small(png: bytes) -> bytes:
    with Image.open(io.BytesIO(png)) as picture:
        flat = picture.convert("RGB")
    flat.thumbnail((_WIDTH, 4 * _WIDTH), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    # The furthest colours, not the most frequent ones: a thin line keeps its own.
    reduced = flat.quantize(_COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    reduced.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
