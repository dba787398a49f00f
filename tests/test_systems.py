"""The table of the literature: all thirty papers, none twice, and verdicts that the claims of recorded runs decide."""

from pathlib import Path

import pytest
from kept_runs import RECORD

from difflab.runs import systems
from difflab.runs.papers import PAPERS
from difflab.runs.result import Result
from difflab.runs.systems import HELD, NOT_HELD, NOT_RUN, NOT_TESTABLE, SYSTEMS, System, verdict
from experiments.commands.list import main


def test_all_thirty_are_there_and_none_twice():
    assert len(SYSTEMS) == 30 == len({system.paper for system in SYSTEMS}) == len({system.name for system in SYSTEMS})
    assert not [system.paper for system in SYSTEMS if system.paper not in PAPERS]
    assert all(system.says.endswith((".", "?")) and system.claims for system in SYSTEMS)


@pytest.mark.parametrize(
    ("system", "experiment"),
    [(one, name) for one in SYSTEMS for name in one.claims if name in RECORD],
    ids=lambda one: getattr(one, "name", one),
)
def test_every_part_of_a_sentence_is_one_of_a_claim_of_the_recorded_run(system, experiment):
    claims = [claim for run in RECORD[experiment] for claim in run.claims]
    assert all(any(part in claim for claim in claims) for part in system.claims[experiment])
    assert verdict(system, RECORD) not in (NOT_RUN, NOT_TESTABLE)


@pytest.mark.parametrize(
    ("claims", "wanted"),
    [
        ({"a b": True, "c": False}, HELD),
        ({"a b": False, "c": True}, NOT_HELD),
        ({"a b": True, "x a": False, "a": False, "c": True}, "held in 1 of 3 claims"),
        ({"c": True}, NOT_TESTABLE),
        ({"b d": False}, NOT_HELD),
    ],
)
def test_the_claims_of_the_default_run_decide(claims, wanted, monkeypatch):
    monkeypatch.setattr(systems, "default_run", lambda name, record: record[name][1])
    system = System("0000.00000", "one", "It says so.", {"edge_sweep": ("a", "b d")})
    runs = [Result("edge_sweep", {}, [], said, {}, {}, {}) for said in ({"a": True}, claims)]
    assert verdict(system, {"edge_sweep": runs}) == wanted
    assert verdict(system, {}) == NOT_RUN


def test_all_experiments_of_a_paper_decide_that_were_run(monkeypatch):
    monkeypatch.setattr(systems, "default_run", lambda name, record: record[name][0])
    system = System("0000.00000", "one", "It says so.", {"edge_sweep": ("a",), "edge_stress": ("b",)})
    held = [Result("edge_sweep", {}, [], {"a": True, "b": False}, {}, {}, {})]
    failed = [Result("edge_stress", {}, [], {"a": True, "b": False}, {}, {}, {})]
    assert verdict(system, {"edge_sweep": held}) == HELD
    assert verdict(system, {"edge_stress": failed}) == NOT_HELD
    assert verdict(system, {"edge_stress": failed, "edge_sweep": held}) == "held in 1 of 2 claims"


def headings(page):
    """What a page can be linked to at: its headings in lower case, with hyphens for spaces."""
    lines = (Path(__file__).parents[1] / page).read_text("utf-8").splitlines()
    return {line.lstrip("# ").lower().replace(" ", "-") for line in lines if line.startswith("#")}


def test_the_command_prints_every_paper_with_its_verdict_and_the_place_of_its_experiments(capsys):
    main(["--papers"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 * len(SYSTEMS)
    for system, (first, _, said, places) in zip(SYSTEMS, zip(*[iter(lines)] * 4, strict=True), strict=True):
        assert first == f"arXiv:{system.paper}  {system.name}"
        assert said.strip() == f"{', '.join(system.claims)}: {verdict(system, RECORD)}"
        linked = [place.split("#") for place in places.strip().split(", ")]
        assert [name for _, name in linked] == list(system.claims)
        assert all(name in headings(page) for page, name in linked)


def test_what_is_not_built_has_no_page():
    assert systems.place("nothing_of_the_kind") == ""
