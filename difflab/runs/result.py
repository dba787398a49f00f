"""A result: what a run found, the same in memory and on disk, and how it is asked and shown."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from safetensors import SafetensorError

from difflab.errors import InputError, require
from difflab.files import plain
from difflab.runs import papers
from difflab.runs.packing import unpacked
from difflab.runs.rows import Row

if TYPE_CHECKING:
    import pandas


def digest(experiment: str, config: Mapping[str, Any]) -> str:
    """Name a run: the first 12 hex digits of the SHA-256 of experiment and config as canonical JSON.

    Args:
        experiment: the experiment's name.
        config: everything that decides the numbers, seed included; tuples count as lists.

    Returns:
        12 lower-case hex digits.

    Raises:
        InputError: the config holds something that JSON cannot, or a number that is not finite.
    """
    content = {"experiment": experiment, "config": plain(config, "the config")}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


class Picture(NamedTuple):
    """A figure.

    Attributes:
        source: as PNG, a file or its bytes.
        alt: what it shows, in words.
        vector: as SVG; the record keeps none.
    """

    source: Path | bytes
    alt: str
    vector: Path | bytes | None = None

    def png(self) -> bytes:
        """The picture.

        Raises:
            InputError: its file cannot be read.
        """
        return _content(self.source)

    def svg(self) -> bytes:
        """The picture in vectors.

        Raises:
            InputError: there is none, or its file cannot be read.
        """
        require(self.vector is not None, "this figure is kept as PNG only; run the experiment again for its SVG")
        return _content(self.vector or b"")

    def _repr_png_(self) -> bytes:
        return self.png()


def _content(source: Path | bytes) -> bytes:
    if isinstance(source, bytes):
        return source
    try:
        return source.read_bytes()
    except OSError as error:
        raise InputError(f"{source} cannot be read ({error.strerror}); run the experiment again") from error


Array = np.ndarray | Mapping[str, np.ndarray]
"""What an artefact holds: one array, or several under names of their own."""
ONE, SEVERAL = ".npy", ".safetensors"


def suffix(array: Array) -> str:
    """Of the file that an artefact is kept in."""
    return SEVERAL if isinstance(array, Mapping) else ONE


class Arrays(Mapping[str, Any]):
    """Artefacts by name, each read from its file when it is asked for."""

    def __init__(self, files: Mapping[str, Path | Array]) -> None:
        self._files = dict(files)

    def __getitem__(self, name: str) -> Any:
        """The array, or the dictionary of arrays, as it was stored.

        Raises:
            KeyError: there is none of this name.
            InputError: its file is damaged.
        """
        if name not in self._files:
            raise KeyError(f"there is no artefact {name}; it has {', '.join(self._files) or 'none'}")
        found = self._files[name]
        if not isinstance(found, Path):
            return found
        try:
            if found.suffix == SEVERAL:
                return unpacked(found.read_bytes())
            return np.asarray(np.load(found, allow_pickle=False))
        except (OSError, ValueError, EOFError, SafetensorError) as error:
            raise InputError(f"{found} is damaged; remove the run's meta.json and run the experiment again") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


@dataclass(frozen=True, repr=False)
class Result:
    """What a finished run found.

    Attributes:
        experiment: which question was asked.
        config: everything that decided the numbers.
        rows: the numbers, each with its interval, its count and its setting.
        claims: sentence -> whether it held.
        meta: versions, device, seconds, papers.
        figures: name -> picture; a notebook shows one that a cell ends with.
        artefacts: name -> array.
        folder: where it lies on disk; None for one in memory.
    """

    experiment: str
    config: dict[str, Any]
    rows: list[Row]
    claims: dict[str, bool]
    meta: dict[str, Any]
    figures: Mapping[str, Picture]
    artefacts: Mapping[str, Any]
    folder: Path | None = None

    @property
    def digest(self) -> str:
        """The run's name: see `digest`."""
        return digest(self.experiment, self.config)

    def table(self, metric: str | None = None, **setting: str | float | bool) -> "pandas.DataFrame":
        """The rows as a table.

        Args:
            metric: only rows of this one; all if not given.
            setting: only rows whose setting has these entries.

        Returns:
            A frame with the columns metric, value, low, high, n, worlds_sd where a row has one, and one for each entry
            of the settings.

        Raises:
            InputError: there is no such metric, or no row has such an entry.
        """
        import pandas

        known = dict.fromkeys(row.metric for row in self.rows)
        if metric is not None and metric not in known:
            raise InputError(f"there is no metric {metric!r} in {self.experiment}; it has {', '.join(known)}.")
        chosen = [row for row in self.rows if metric in (None, row.metric)]
        for name in setting:
            if not any(name in row.setting for row in chosen):
                names = sorted({name for row in chosen for name in row.setting})
                raise InputError(f"no row has a setting {name!r}; they have {', '.join(names) or 'none'}.")
        chosen = [row for row in chosen if setting.items() <= row.setting.items()]
        head = ["metric", "value", "low", "high", "n"]
        head += ["worlds_sd"] if any(row.worlds_sd is not None for row in chosen) else []
        columns = dict.fromkeys(name for row in chosen for name in row.setting)
        lines = [
            [*(getattr(row, name) for name in head), *(row.setting.get(name) for name in columns)] for row in chosen
        ]
        return pandas.DataFrame(lines, columns=[*head, *columns]).astype({"low": float, "high": float})

    def cite(self) -> str:
        """The papers that the run rests on, a line each."""
        return papers.cited(self.meta.get("papers", []))

    def save(self, folder: str | Path) -> "Result":
        """Write the run as `difflab run --out FOLDER` does: to `<folder>/<experiment>/<digest>/`.

        Returns:
            The same result, on disk.

        Raises:
            WriteError: the folder cannot be written.
        """
        from difflab.runs.results import write

        return write(self, Path(folder))

    def in_memory(self) -> "Result":
        """The same result with all that it holds, independent of its folder."""
        figures = {
            name: Picture(picture.png(), picture.alt, picture.svg() if picture.vector else None)
            for name, picture in self.figures.items()
        }
        return replace(self, figures=figures, artefacts=Arrays(dict(self.artefacts)), folder=None)

    def _repr_html_(self) -> str:
        from difflab.runs.report import fragment

        return fragment(self)

    def __repr__(self) -> str:
        told = f"{len(self.rows)} rows, {sum(self.claims.values())} of {len(self.claims)} claims held"
        return f"<{self.experiment} {self.digest}: {told}; {self.folder or 'in memory'}>"
