"""Progress goes to stderr, in few lines where nobody watches, and leaves stdout to the results."""

import io
import sys

import pytest

import difflab.progress
from difflab.progress import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(difflab.progress, "monotonic", lambda: now[0])
    return now


def test_plain_lines_come_every_five_seconds_and_at_the_end(clock, capsys):
    with progress(20, "training") as advance:
        for step in range(10):
            clock[0] += 2
            advance(2, note=f"loss {step}")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "training: 6/20 loss 2 (6 s, about 14 s left)",
        "training: 12/20 loss 5 (12 s, about 8 s left)",
        "training: 18/20 loss 8 (18 s, about 2 s left)",
        "training: 20/20 loss 9 (20 s)",
    ]


def test_quick_work_is_one_line(clock, capsys):
    with progress(1000, "drawing") as advance:
        for _ in range(1000):
            advance()
    assert capsys.readouterr().err == "drawing: 1000/1000 (0 s)\n"


def test_what_was_done_before_says_nothing_of_what_is_left(clock, capsys):
    with progress(100, "training") as advance:
        advance(80)
        clock[0] += 10
        advance(10)
        clock[0] += 10
        advance(10)
    assert capsys.readouterr().err.splitlines()[0] == "training: 90/100 (10 s, about 10 s left)"


def test_the_first_long_piece_tells_what_the_others_will_take(clock, capsys):
    with progress(3, "drawing") as advance:
        clock[0] += 60
        advance()
    assert capsys.readouterr().err.splitlines()[0] == "drawing: 1/3 (60 s, about 120 s left)"


@pytest.mark.parametrize(("seconds", "lines"), [(4, []), (6, ["drawing: 2/2 (6 s)"])])
def test_fleeting_work_leaves_a_line_only_where_it_took_long(clock, capsys, seconds, lines):
    with progress(2, "drawing", fleeting=True) as advance:
        clock[0] += seconds
        advance(2)
    assert capsys.readouterr().err.splitlines() == lines


def test_work_that_breaks_off_says_where(clock, capsys):
    with pytest.raises(KeyboardInterrupt), progress(3, "drawing") as advance:
        advance()
        raise KeyboardInterrupt
    assert capsys.readouterr().err == "drawing: 1/3 (0 s), stopped\n"


def test_a_terminal_gets_a_bar_on_stderr_and_prints_stay_on_stdout(monkeypatch):
    out, err = io.StringIO(), Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with progress(3, "drawing [0, 1]") as advance:
        print("a result")
        advance(3, note="[loss] 0.5")
    assert out.getvalue() == "a result\n"
    assert "drawing [0, 1]" in err.getvalue()  # brackets are no markup
    assert "[loss] 0.5" in err.getvalue()
    assert "3/3" in err.getvalue()
