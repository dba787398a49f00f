"""A model that was made to forget, with what it knew on the way: to ask, to audit, and to save."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from transformers.utils import logging

from difflab.audits.forgetting import Check, Thresholds
from difflab.autoregressive.model import LanguageModel
from difflab.errors import require
from difflab.files import json_bytes, read_text, remove, write_atomically

CARD = "unlearning.json"
"""Written last: a directory that has it is whole."""


def half_done(folder: Path) -> Path:
    """Where the work lies whose result is not in its folder yet."""
    whole = folder.resolve()
    return whole.with_name(f"{whole.name}.unlearning")


def check_free(folder: Path, config: Mapping[str, Any], read: Mapping[str, str]) -> None:
    """Raises InputError where a result would be written over something else.

    Args:
        folder: that it is written to.
        config: of the result; one of the same config may be written once more.
        read: folders that are read, by what lies in them.
    """
    require(folder.is_dir() or not folder.exists(), f"{folder} is a file; give --out another folder.")
    for what, source in read.items():
        require(
            not source or Path(source).resolve() != folder.resolve(),
            f"{folder} is the folder of the {what}, which would be overwritten; give --out another one.",
        )
    if (folder / CARD).is_file():
        try:
            kept = json.loads(read_text(folder / CARD))["config"]
        except (ValueError, KeyError, TypeError):
            kept = None
        require(
            kept == json.loads(json_bytes(dict(config))),
            f"{folder} holds the result of another call; give --out another folder.",
        )
    elif folder.is_dir() and any(folder.iterdir()):
        # A call that was killed while it wrote its result has left its half-done work.
        require(half_done(folder).is_dir(), f"{folder} holds other files; give --out another folder.")


@dataclass(frozen=True)
class Unlearned:
    """A model that was made to forget.

    Attributes:
        model: to ask, to audit or to save.
        checks: what it knew, before the first step, after every epoch, and at the end.
        thresholds: how well it knew unseen texts at first, where it was compared with them.
        stopped: why there were no more steps.
        config: what was asked for.
    """

    model: LanguageModel
    checks: tuple[Check, ...]
    thresholds: Thresholds | None
    stopped: str
    config: Mapping[str, Any]

    def table(self) -> pd.DataFrame:
        """A row for each check."""
        return pd.DataFrame(self.checks, columns=list(Check._fields))

    def save(self, folder: str | Path) -> Path:
        """Write the model, its tokenizer and what is known of it to a directory that `load_language_model` reads.

        Raises:
            InputError: the directory can't be written, or is a file.
        """
        path = Path(folder)
        require(path.is_dir() or not path.exists(), f"{path} is a file; give another folder.")
        remove(path / CARD)
        network: Any = self.model.model
        logging.disable_progress_bar()
        try:
            network.save_pretrained(path)
        finally:
            logging.enable_progress_bar()
        self.model.tokenizer.save_pretrained(path)
        told = {
            "config": dict(self.config),
            "stopped": self.stopped,
            "thresholds": None if self.thresholds is None else self.thresholds._asdict(),
            "checks": [
                {name: None if value != value else value for name, value in one._asdict().items()}
                for one in self.checks
            ],
        }
        write_atomically(path / CARD, json_bytes(told))
        return path
