"""Chance begins in one file: streams by name, and what is older than the names, by the numbers that it was made of."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch

from difflab.randomness import begin_torch, numbered, numpy_from, resampling, torch_from

ROOT = Path(__file__).parents[1]
PACKAGES = ("difflab", "synthetic", "theory", "experiments")
FILES = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
BEGINNINGS = {"manual_seed", "manual_seed_all", "default_rng", "RandomState", "PRNGKey", "SeedSequence"}
KEYS = {"jax.random.key", "random.key", "random.seed", "np.random.seed", "numpy.random.seed", "torch.seed"}
ALLOWED = {
    ("difflab/randomness.py", "default_rng"),
    ("difflab/randomness.py", "manual_seed"),
    ("difflab/statistics/leave_one_out.py", "RandomState"),  # scikit-learn takes no other; a stream's integer begins it
    ("synthetic/models.py", "jax.random.key"),  # shapes alone, nothing is drawn
}


def beginnings(source):
    """What a file lets chance begin with, by the name that it calls."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in KEYS:
                yield called
            elif called.rpartition(".")[2] in BEGINNINGS:
                yield called.rpartition(".")[2]


def test_chance_begins_in_one_file():
    found = {
        (path.relative_to(ROOT).as_posix(), name) for path in FILES for name in beginnings(path.read_text("utf-8"))
    }
    assert found == ALLOWED


@pytest.mark.parametrize(
    "line",
    [
        "torch.Generator().manual_seed(seed)",
        "torch.manual_seed(0)",
        "np.random.default_rng([seed, 1])",
        "default_rng(3)",
        "jax.random.key(0)",
        "jax.random.PRNGKey(0)",
        "np.random.seed(0)",
    ],
)
def test_a_beginning_is_found(line):
    assert list(beginnings(f"import torch\n\ndef f(seed):\n    return {line}\n"))


def test_what_is_older_than_the_names_draws_what_it_drew():
    """Recorded numbers and shipped weights were made of these."""
    assert [numbered(0, k) for k in range(3)] == [0, 1, 2] and numbered(1, 0) == 0x9E3779B1
    assert numbered(3, 5) == (3 * 0x9E3779B1 + 5) % 2**32
    for numbers in ((7,), (7, 1)):
        assert numpy_from(*numbers).random() == np.random.default_rng(list(numbers)).random()
    assert numpy_from(7).random() == np.random.default_rng(7).random()
    assert resampling().random() == np.random.default_rng(0).random()
    assert torch.rand(1, generator=torch_from(7)) == torch.rand(1, generator=torch.Generator().manual_seed(7))


def test_first_weights_meet_a_generator_of_the_same_number():
    with torch.random.fork_rng(devices=[]):
        begin_torch(7)
        assert torch.equal(torch.rand(3), torch.rand(3, generator=torch_from(7)))
