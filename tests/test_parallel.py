"""Work in other processes: answers, faults, and what is left behind."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from difflab.errors import InputError
from difflab.runs.parallel import core_shares, in_processes, kept, usable_cores

_begun = []


def square(number, pause=0.0):
    time.sleep(pause)
    return number**2, os.getpid(), sorted(os.sched_getaffinity(0)), list(_begun)


def begin(word):
    _begun.append(word)


def die(number):
    os.kill(os.getpid(), signal.SIGKILL)


def fault(number):
    raise InputError(f"no square of {number}.")


def test_answers_come_with_their_places_from_processes_on_their_own_cores():
    ticks = []
    found = dict(in_processes(square, [(i, 0.3) for i in range(4)], 2, begin, ("ready",), lambda: ticks.append(1)))
    assert [found[i][0] for i in range(4)] == [0, 1, 4, 9]
    assert os.getpid() not in {pid for _, pid, _, _ in found.values()}
    shares = [sorted(share) for share in core_shares(2)]
    assert {tuple(cores) for _, _, cores, _ in found.values()} == set(map(tuple, shares))
    assert all(begun == ["ready"] for _, _, _, begun in found.values())
    assert ticks


def test_shares_of_the_cores():
    cores = usable_cores()
    assert core_shares(1) == [set(cores)]
    assert set().union(*core_shares(len(cores))) == set(cores)
    assert all(len(share) == 1 for share in core_shares(2 * len(cores)))


def test_a_fault_is_raised_here_and_a_killed_process_is_one_sentence():
    with pytest.raises(InputError, match="no square of 3"):
        list(in_processes(fault, [(3,)], 1))
    with pytest.raises(InputError, match="was killed"):
        list(in_processes(die, [(1,), (2,)], 2))
    assert not multiprocessing.active_children()


def test_nobody_waits_for_work_that_is_not_wanted():
    answers = in_processes(square, [(1, 0.0), (2, 60.0)], 2)
    assert next(answers)[1][0] == 1
    start = time.monotonic()
    answers.close()
    assert time.monotonic() - start < 20 and not multiprocessing.active_children()


def test_nobody_works_on_for_a_parent_that_was_killed(tmp_path):
    code = "import test_parallel, difflab.runs.parallel as p; list(p.in_processes(test_parallel.noted, [(%r,)], 1))"
    told = tmp_path / "pid"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(
        [sys.executable, "-c", f"if __name__ == '__main__': {code % str(told)}"], env=environment
    ) as p:
        end = time.monotonic() + 60
        while not told.exists() or not told.read_text():
            assert p.poll() is None and time.monotonic() < end
            time.sleep(0.05)
        p.kill()
    worker = Path("/proc") / told.read_text()
    while worker.exists():
        assert time.monotonic() < end, "the worker outlives whoever waits for it"
        time.sleep(0.05)


def noted(path):
    Path(path).write_text(str(os.getpid()))
    time.sleep(300)


class Memory(dict):
    """Checkpoints in memory."""

    load = dict.get
    save = dict.__setitem__


def squared(number):
    return {"square": np.array(number**2), "process": np.array(os.getpid())}


def test_what_was_kept_is_not_done_again():
    memory = Memory()
    first = kept(squared, {"two": (2,)}, memory, 2, "squares")
    both = kept(squared, {"three": (3,), "two": (2,)}, memory, 2, "squares")
    assert list(both) == ["three", "two"] and [int(a["square"]) for a in both.values()] == [9, 4]
    assert both["two"]["process"] == first["two"]["process"] != both["three"]["process"]
    # A run that was killed after its last piece has nothing left to compute.
    assert kept(squared, {"two": (2,)}, memory, 2, "squares") == {"two": memory["two"]}
    assert list(in_processes(square, [], 2)) == []


def noted_when(number, pause):
    begun = time.monotonic()
    time.sleep(pause)
    return {"begun": np.array(begun), "over": np.array(time.monotonic())}


@pytest.mark.parametrize("workers", [1, 2])
def test_work_waits_for_what_it_needs_and_the_rest_goes_on(workers):
    """The second call waits for the first; the third, which need not, begins before it where somebody is free."""
    given = {"first": (0, 0.6), "needy": (1, 0.0), "free": (2, 0.1)}
    memory = Memory()
    found = kept(noted_when, given, memory, workers, "pieces", {"needy": "first"})
    assert list(found) == list(given)
    assert found["needy"]["begun"] >= found["first"]["over"]
    assert (found["free"]["begun"] < found["needy"]["begun"]) == (workers == 2)
    # What it needs was kept before.
    del memory["needy"]
    assert set(kept(noted_when, given, memory, 2, "pieces", {"needy": "first"})) == set(given)


def test_work_that_waits_for_itself_is_said():
    with pytest.raises(InputError, match="wait for each other"):
        list(in_processes(square, [(1,), (2,)], 2, after={0: 1, 1: 0}))
