"""A device is chosen, or its name checked, before anything is computed."""

import pytest
import torch
from conformance import says_one_sentence

from difflab.training.devices import device, devices


def _machine(monkeypatch, cuda=0, mps=False):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "names"),
    [
        (0, False, ["cpu"]),
        (0, True, ["mps", "cpu"]),
        (2, False, ["cuda", "cuda:0", "cuda:1", "cpu"]),
        (1, True, ["cuda", "cuda:0", "mps", "cpu"]),
    ],
)
def test_what_there_is_can_be_asked_for(cuda, mps, names, monkeypatch):
    _machine(monkeypatch, cuda, mps)
    assert devices() == names
    assert [device(name) for name in names] == [torch.device(name) for name in names]
    assert device() == device("auto") == torch.device(names[0])


@pytest.mark.parametrize("name", ["gpu", "cuda", "cuda:0", "mps", "CPU", "", "cpu,cuda", "meta"])
def test_what_is_not_there_is_one_sentence(name, monkeypatch):
    _machine(monkeypatch)
    assert says_one_sentence(lambda: device(name)) == f"there is no device {name!r} here; give auto or cpu."


def test_a_number_too_high_is_told_the_others(monkeypatch):
    _machine(monkeypatch, cuda=2)
    said = says_one_sentence(lambda: device("cuda:7"))
    assert said == "there is no device 'cuda:7' here; give auto, cuda, cuda:0, cuda:1 or cpu."


def test_this_machine_computes_where_it_says():
    assert all(torch.ones(2, device=device(name)).sum() == 2 for name in ["auto", *devices()])
