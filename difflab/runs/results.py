"""Runs on disk: the only module that writes them.

One run is one folder `<out>/<experiment>/<digest>/`: `config.json` first, checkpoints while it runs, then
arrays, figures, `claims.json`, `rows.jsonl`, and `meta.json` last. A folder is finished when its `meta.json`
is there and everything that it counts is whole.
"""

import io
import json
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from uuid import uuid4

import numpy as np
from jaxtyping import Shaped
from safetensors import SafetensorError

from difflab.errors import InputError, WriteError
from difflab.files import json_bytes, plain, remove, write_atomically
from difflab.runs.packing import packed, unpacked
from difflab.runs.result import ONE, SEVERAL, Array, Arrays, Picture, Result, digest, suffix
from difflab.runs.rows import Artefact, Row, check_row

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_DIGEST = re.compile(r"[0-9a-f]{12}")
_AGAIN = "run the experiment again"


@runtime_checkable
class Checkpoints(Protocol):
    """Where half-done work is kept and found again; a `Run` is one."""

    def load(self, name: str) -> dict[str, np.ndarray] | None:
        """The arrays kept under this name, None where there are none."""

    def save(self, name: str, arrays: dict[str, np.ndarray]) -> None:
        """Keep arrays under this name."""


@dataclass(frozen=True)
class Run:
    """One run's folder: checkpoints while it runs, results when it ends. `open_run` makes one."""

    folder: Path
    experiment: str
    digest: str
    config: dict[str, Any]

    @property
    def finished(self) -> bool:
        """True when meta.json is there and everything that it counts is whole."""
        return whole(self.folder)

    def load(self, name: str) -> dict[str, np.ndarray] | None:
        """Read a checkpoint.

        Args:
            name: the name it was saved under.

        Returns:
            Its arrays in the order they were saved in, or None when there is none. A damaged one is renamed aside, with
            a line on stderr, and counts as none, so that a killed run resumes.

        Raises:
            InputError: the file is there and cannot be read.
        """
        path = self._checkpoint(name)
        try:
            arrays = unpacked(path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}); make it readable or remove it") from error
        except (SafetensorError, ValueError, KeyError):
            aside = path.with_suffix(f".damaged-{uuid4().hex[:8]}")
            with suppress(OSError):
                path.replace(aside)
            print(f"warning: {path} is damaged; that step is done again", file=sys.stderr)
            return None
        return {key: array if array.flags.writeable else array.copy() for key, array in arrays.items()}

    def save(self, name: str, arrays: Mapping[str, Shaped[np.ndarray, "..."]]) -> None:
        """Write a checkpoint; one of the same name is replaced as a whole.

        Args:
            name: letters, digits, _ and -.
            arrays: numbers and truth values, of any shape.

        Raises:
            WriteError: the folder cannot be written.
        """
        path = self._checkpoint(name)
        data = packed(arrays)
        try:
            write_atomically(path, data)
        except WriteError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            # Another process finished this run and removed the folder of checkpoints under our hands.
            write_atomically(path, data)

    def finish(
        self,
        rows: Iterable[Row],
        artefacts: Iterable[Artefact],
        figures: Mapping[str, Picture],
        claims: Mapping[str, bool | np.bool_],
        meta: Mapping[str, Any],
    ) -> None:
        """Write the results, meta.json last, and drop the checkpoints.

        A run that another process has finished meanwhile is left as it is.

        Args:
            rows: the measured numbers.
            artefacts: arrays, each under its own name.
            figures: name -> figure, kept as PNG and SVG.
            claims: sentence -> whether it held.
            meta: code version, packages, device, seconds; rows, figures, artefacts and finished_at are added.

        Raises:
            ValueError: a row, a name or an array cannot be stored; nothing is written.
            WriteError: the folder cannot be written; the run stays unfinished and resumes.
        """
        arrays: dict[str, Path | Array] = {}
        for artefact in artefacts:
            if artefact.name in arrays:
                raise ValueError(f"two artefacts of {self.experiment} share the name {artefact.name}")
            arrays[artefact.name] = artefact.array
        told = {claim: bool(held) for claim, held in claims.items()}
        made = dict(meta) | {"finished_at": datetime.now(UTC).isoformat(timespec="microseconds")}
        self.write(Result(self.experiment, self.config, list(rows), told, made, dict(figures), Arrays(arrays)))

    def write(self, result: Result) -> None:
        """Write a result of this run, as `finish` does."""
        checked = [check_row(row) for row in result.rows]
        head = {"experiment": self.experiment, "run": self.digest}
        lines = [json.dumps(head | _entries(row), ensure_ascii=False, allow_nan=False) + "\n" for row in checked]
        files = {f"{_name(name)}{suffix(array)}": _bytes(array) for name, array in result.artefacts.items()}
        for name, picture in result.figures.items():
            files[f"figures/{_name(name)}.png"] = picture.png()
            if picture.vector is not None:
                files[f"figures/{name}.svg"] = picture.svg()
        files["claims.json"] = json_bytes(result.claims)
        files["rows.jsonl"] = "".join(lines).encode()
        counted = {
            "rows": len(lines),
            "figures": {name: picture.alt for name, picture in result.figures.items()},
            "artefacts": list(result.artefacts),
        }
        last = json_bytes(plain(result.meta, "meta") | counted)
        if not self.finished:
            # A meta.json left beside damaged files must not vouch for the new ones before all are written.
            remove(self.folder / "meta.json")
            for path, data in files.items():
                write_atomically(self.folder / path, data)
            write_atomically(self.folder / "meta.json", last)
        shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)

    def _checkpoint(self, name: str) -> Path:
        return self.folder / "checkpoints" / f"{_name(name)}.safetensors"


def open_run(out: Path, experiment: str, config: Mapping[str, Any]) -> Run:
    """Open the folder of a run, made where it is not there.

    Args:
        out: the folder of all results.
        experiment: the experiment's name: letters, digits, _ and -.
        config: everything that decides the numbers, seed included.

    Returns:
        The run, new, half done or finished.

    Raises:
        WriteError: the folder cannot be made or written.
        InputError: the folder's config.json belongs to another config.
    """
    kept, name = plain(config, "the config"), digest(experiment, config)
    run = Run(Path(out) / _name(experiment) / name, experiment, name, kept)
    path, content = run.folder / "config.json", {"experiment": experiment, "config": kept}
    try:
        found = json.loads(path.read_text("utf-8"))
    except OSError:
        found = None
    except ValueError:
        # The folder's name is the hash of the config, so nothing is lost.
        print(f"warning: {path} is damaged; it is written again", file=sys.stderr)
        found = None
    if found not in (None, content):
        raise InputError(f"{path} is not the config that its folder is named after; move {run.folder} away")
    if found is None or not run.finished:
        # Even where it is there: a folder that cannot be written is noticed before the work, not after.
        write_atomically(path, json_bytes(content))
    return run


def read_run(folder: Path) -> Result:
    """Read a finished run.

    Args:
        folder: `<out>/<experiment>/<digest>`.

    Returns:
        Its rows, claims, config and meta, and where its figures lie.

    Raises:
        InputError: the folder is empty, unfinished, cut short or damaged; the sentence names it.
    """
    folder = Path(folder)
    meta, head = _read_json(folder, "meta.json"), _read_json(folder, "config.json")
    claims, text = _read_json(folder, "claims.json"), _read_text(folder, "rows.jsonl")
    try:
        experiment, config = str(head["experiment"]), dict(head["config"])
        name = digest(experiment, config)
        own = name == folder.absolute().name
        # Not splitlines, which also cuts at the separators that text inside a row may hold.
        rows = [_row(line, experiment, name) for line in text.split("\n") if line] if own else []
        if not all(isinstance(held, bool) for held in claims.values()):
            raise ValueError("a claim is neither held nor not")
        figures = {name: _picture(folder / "figures" / name, str(alt)) for name, alt in meta["figures"].items()}
        artefacts = {name: _artefact(folder, str(name)) for name in meta["artefacts"]}
        counted, finished_at = int(meta["rows"]), meta["finished_at"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"the run in {folder} is cut short or damaged; {_AGAIN}") from error
    if not own:
        raise InputError(f"{folder} is not named after the config in it; move it away and {_AGAIN}")
    if len(rows) != counted or (text and not text.endswith("\n")) or not isinstance(finished_at, str):
        raise InputError(f"the run in {folder} holds {len(rows)} of {counted} rows; {_AGAIN}")
    files = [*(picture.source for picture in figures.values()), *artefacts.values()]
    missing = [path for path in files if isinstance(path, Path) and not path.is_file()]
    if missing:
        raise InputError(f"the run in {folder} has lost {missing[0].name}; {_AGAIN}")
    return Result(experiment, config, rows, claims, meta, figures, Arrays(artefacts), folder)


def write(result: Result, out: Path) -> Result:
    """Write a result below a folder of results, unless it is there; returns it as it lies there."""
    run = open_run(out, result.experiment, result.config)
    run.write(result)
    return read_run(run.folder)


def whole(folder: Path) -> bool:
    """Whether a folder holds a finished run."""
    try:
        read_run(folder)
    except InputError:
        return False
    return True


def finished_runs(out: Path, every: bool = False) -> tuple[list[Result], list[str]]:
    """Read the newest finished run of every experiment, or all of them.

    Args:
        out: the folder of all results.
        every: all finished runs, the oldest of an experiment first.

    Returns:
        The runs by experiment name, and one sentence for every run that is not finished.

    Raises:
        InputError: there is no such folder, or no finished run in it.
    """
    out, runs, unfinished = Path(out), list[Result](), list[str]()
    try:
        folders = sorted(f for f in out.glob("*/*") if f.is_dir() and _DIGEST.fullmatch(f.name))
        if not out.is_dir():
            raise NotADirectoryError
    except OSError as error:
        raise InputError(
            f"{out} is not a readable folder; give --out the folder that the runs were written to"
        ) from error
    for folder in folders:
        try:
            runs.append(read_run(folder))
        except InputError as error:
            unfinished.append(str(error))
    if not runs:
        seen = f" ({len(unfinished)} unfinished)" if unfinished else ""
        raise InputError(f"{out} holds no finished run{seen}; run an experiment first")
    runs.sort(key=lambda run: (run.experiment, run.meta["finished_at"]))
    newest = {run.experiment: run for run in runs}
    return runs if every else list(newest.values()), unfinished


def _name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"the name {name!r} would be a file's: use letters, digits, _ and -")
    return name


def _read_text(folder: Path, name: str) -> str:
    try:
        return (folder / name).read_bytes().decode("utf-8")
    except FileNotFoundError as error:
        raise InputError(f"the run in {folder} is not finished (no {name}); {_AGAIN}") from error
    except (OSError, ValueError) as error:
        raise InputError(f"the run in {folder} has an unreadable {name}; {_AGAIN}") from error


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    try:
        content = json.loads(_read_text(folder, name))
    except json.JSONDecodeError as error:
        raise InputError(f"the run in {folder} has a {name} that is cut short; {_AGAIN}") from error
    if not isinstance(content, dict):
        raise InputError(f"the run in {folder} has a {name} that is not one of ours; {_AGAIN}")
    return content


def _picture(stem: Path, alt: str) -> Picture:
    vector = stem.with_name(f"{stem.name}.svg")
    return Picture(stem.with_name(f"{stem.name}.png"), alt, vector if vector.is_file() else None)


def _entries(row: Row) -> dict[str, Any]:
    """A row as it is written; numbers of one world have no entry for a deviation between worlds."""
    return {name: value for name, value in row._asdict().items() if (name, value) != ("worlds_sd", None)}


def _row(line: str, experiment: str, run: str) -> Row:
    content = json.loads(line)
    if (content.pop("experiment"), content.pop("run")) != (experiment, run):
        raise ValueError("a row of another run")
    return check_row(Row(**content))


def _artefact(folder: Path, name: str) -> Path:
    several = folder / f"{name}{SEVERAL}"
    return several if several.is_file() else folder / f"{name}{ONE}"


def _bytes(array: Array) -> bytes:
    if isinstance(array, Mapping):
        return packed(array)
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
