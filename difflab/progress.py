"""Progress on stderr: a bar on a terminal, otherwise a plain line every few seconds."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Advance = Callable[..., None]
"""advance(n=1, note=""): n more are done; the note is shown beside the count until the next one."""


@contextmanager
def progress(total: int, label: str, seconds_between_lines: float = 5.0, fleeting: bool = False) -> Iterator[Advance]:
    """Show how much of a piece of work is done, and an estimate of what is left; stdout stays untouched.

    Args:
        total: number of steps of the work, at least 0.
        label: what is being done, one short phrase.
        seconds_between_lines: least time between two plain lines, in seconds; the last line always comes, unless:
        fleeting: of work that is done many times: if it is quick it leaves no line, and its bar never stays.

    Returns:
        A context whose value is `advance(n=1, note="")`, to be called after every n steps.
    """
    on_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    shown = _bar(total, label, fleeting) if on_terminal else _lines(total, label, seconds_between_lines, fleeting)
    with shown as advance:
        yield advance


@contextmanager
def _bar(total: int, label: str, fleeting: bool) -> Iterator[Advance]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    # Rich would otherwise send what the program prints to stdout through this console, to stderr.
    with Progress(*columns, console=Console(file=sys.stderr), redirect_stdout=False, transient=fleeting) as shown:
        task = shown.add_task(label, total=total, note="")

        def advance(n: int = 1, note: str = "") -> None:
            shown.update(task, advance=n, note=note)

        yield advance


@contextmanager
def _lines(total: int, label: str, seconds_between_lines: float, fleeting: bool) -> Iterator[Advance]:
    started = last = monotonic()
    done, latest = 0, ""
    begun = (started, 0)

    def line(ending: str = "") -> None:
        note, spent = f" {latest}" if latest else "", monotonic() - started
        left = ""
        since, before = begun
        if before < done < total and not ending:
            left = f", about {(monotonic() - since) * (total - done) / (done - before):.0f} s left"
        print(f"{label}: {done}/{total}{note} ({spent:.0f} s{left}){ending}", file=sys.stderr, flush=True)

    def advance(n: int = 1, note: str = "") -> None:
        nonlocal done, last, latest, begun
        done, latest = done + n, note
        if monotonic() - started < 1:
            # Resumed work begins with what was done before, in no time.
            begun = (monotonic(), done)
        # The last step is left to the closing line, which would repeat it.
        if monotonic() - last >= seconds_between_lines and done < total:
            last = monotonic()
            line()

    try:
        yield advance
    except BaseException:
        line(", stopped")
        raise
    if not fleeting or monotonic() - started >= seconds_between_lines:
        line()
