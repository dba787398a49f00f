"""Losses of anybody's training, epochs x items: an array, a table, or a file of either."""

from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from jaxtyping import Float, Shaped

from difflab.errors import InputError, reason, require

ENDINGS = (".npy", ".parquet", ".csv")
Given: TypeAlias = str | Path | np.ndarray | pd.DataFrame


class Losses(NamedTuple):
    """A matrix, and what its items are called.

    Attributes:
        losses: after every epoch, of every item.
        names: one for each item: its column's name, or its number.
    """

    losses: Float[np.ndarray, "epochs items"]
    names: tuple[str, ...]


def read_losses(given: Given, items_first: bool = False) -> Losses:
    """Losses as a matrix of epochs x items.

    Args:
        given: an array; a table whose rows are epochs and whose columns are items; or a file: .npy, .parquet, or .csv
            with a header and without an index.
        items_first: rows are items and columns epochs; items of a table are then called by its index.

    Raises:
        InputError: the file can't be read, or what it holds are no numbers in rows and columns.
    """
    where, found = ("the losses", given) if not isinstance(given, str | Path) else (str(given), _file(Path(given)))
    if isinstance(found, pd.DataFrame):
        table = found.T if items_first else found
        matrix, names = table.to_numpy(), tuple(map(str, table.columns))
    else:
        matrix = np.asarray(found)
        matrix = matrix.T if items_first and matrix.ndim == 2 else matrix
        names = tuple(map(str, range(matrix.shape[1]))) if matrix.ndim == 2 else ()
    require(
        matrix.ndim == 2, f"{where} hold an array of shape {matrix.shape}; give a matrix of losses, epochs x items."
    )
    return Losses(_numbers(matrix, where), names)


def read_counts(given: Given, items: int, what: str) -> Shaped[np.ndarray, " n"]:
    """One whole number for each item.

    Args:
        given: an array, a table of one column, or a file of either.
        items: how many there must be.
        what: they are called, in the sentence of an error.

    Raises:
        InputError: the file can't be read, or holds something else.
    """
    found = _file(Path(given)) if isinstance(given, str | Path) else given
    numbers = _numbers(np.asarray(found).reshape(-1), what)
    whole = bool(np.isfinite(numbers).all() and (numbers == np.round(numbers)).all() and (numbers >= 0).all())
    require(
        len(numbers) == items and whole,
        f"{what} are {len(numbers)} numbers for {items} items; give one whole number, at least 0, for each.",
    )
    return numbers.astype(np.int64)


def _numbers(values: Shaped[np.ndarray, "..."], where: str) -> Float[np.ndarray, "..."]:
    try:
        return values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where} hold {values.dtype}, which are no numbers; give losses alone.") from error


def _file(path: Path) -> np.ndarray | pd.DataFrame:
    require(path.is_file(), f"there is no readable file {path}.")
    require(path.suffix in ENDINGS, f"{path} is no file of losses; give {', '.join(ENDINGS)}.")
    try:
        if path.suffix == ".npy":
            return np.asarray(np.load(path, allow_pickle=False))
        return pd.read_parquet(path) if path.suffix == ".parquet" else _comma_separated(path)
    except ImportError as error:
        raise InputError(f"{path} is read by the package pyarrow, which is not installed; pip install it.") from error
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} can't be read: {reason(error)}.") from error


def _comma_separated(path: Path) -> pd.DataFrame:
    """A table of a CSV file whose first line says what its columns are called."""
    names = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False).iloc[0].tolist()
    unnamed = [name for name in names if not name.strip() or name.startswith("Unnamed: ")]
    require(not unnamed, f"{path} has a column without a name, as an index is; write it without one (index=False).")
    require(
        not all(map(_is_number, names)) or all(map(_is_whole, names)),
        f"{path} has numbers in its first line, where names of columns are read; write a line of names above them.",
    )
    return pd.read_csv(path)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _is_whole(word: str) -> bool:
    return word.strip().lstrip("+-").isdigit()
