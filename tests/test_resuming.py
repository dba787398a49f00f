"""What is kept is not made again; names; pieces of a run apart."""

import numpy as np

from difflab.runs.results import open_run
from difflab.runs.resuming import Prefixed, key, made_once


def test_what_is_kept_is_made_once(tmp_path):
    run, calls = open_run(tmp_path, "counted", {"n": 1}), []

    def make(*given):
        calls.append(given)
        return {"a": np.arange(3), "b": np.array(2.5)}

    first, again = (made_once(run, "one", make, 1, "two") for _ in range(2))
    assert calls == [(1, "two")]
    for found in (first, again, run.load("one")):
        assert found.keys() == {"a", "b"} and np.array_equal(found["a"], [0, 1, 2]) and found["b"] == 2.5
    made_once(run, "two", make)
    assert calls == [(1, "two"), ()]


def test_pieces_of_a_run_do_not_see_each_other(tmp_path):
    run = open_run(tmp_path, "counted", {"n": 1})
    first, second = Prefixed(run, "0"), Prefixed(run, "1")
    first.save("model", {"a": np.array(1)})
    assert second.load("model") is None and run.load("model") is None
    assert first.load("model")["a"] == 1 == run.load("0_model")["a"]


def test_names_are_letters_digits_and_lines():
    assert key("repeated, nemo", 0.1) == "repeated__nemo_0_1" and key("wanda 10 %") == "wanda_10__"
