"""The table of the literature: all thirty papers, none twice, and verdicts that the claims of recorded runs decide."""

from pathlib import Path

import pytest
from handmade import claims_of
from kept_runs import RECORD
from test_claims_mutated import WINGS

from difflab.runs import systems
from difflab.runs.papers import PAPERS
from difflab.runs.result import Result
from difflab.runs.systems import HELD, NOT_HELD, NOT_RUN, NOT_TESTABLE, SYSTEMS, System, verdict
from experiments.commands.list import main

PAPERS_PAGE = Path(__file__).parents[1] / "docs" / "findings" / "papers.md"


def test_all_thirty_are_there_and_none_twice():
    assert len(SYSTEMS) == 30 == len({system.paper for system in SYSTEMS}) == len({system.name for system in SYSTEMS})
    assert not [system.paper for system in SYSTEMS if system.paper not in PAPERS]
    assert all(system.says.endswith(".") and system.claims for system in SYSTEMS)
    assert all(any(part in parts for parts in one.claims.values()) for one in SYSTEMS for part in one.denies)


@pytest.mark.parametrize(
    ("system", "experiment"),
    [(one, name) for one in SYSTEMS for name in one.claims],
    ids=lambda one: getattr(one, "name", one),
)
def test_every_part_of_a_sentence_is_one_of_a_claim(system, experiment):
    (wing,) = (wing for wing, found in WINGS.items() if experiment in found)
    claims = claims_of(wing, experiment)(WINGS[wing][experiment].build())
    assert all(any(part in claim for claim in claims) for part in system.claims[experiment])


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda one: one.name)
def test_what_is_in_the_record_is_testable_where_the_paper_says_something(system):
    assert (verdict(system, RECORD) == NOT_RUN) == (not any(name in RECORD for name in system.claims))
    assert (verdict(system, RECORD) == NOT_TESTABLE) == (system.name == "LLAVADI")


def test_papers_are_asked_for_what_they_say():
    decide = {
        system.name: [
            claim
            for name, parts in system.claims.items()
            for run in RECORD.get(name, ())
            for claim in run.claims
            if any(part in claim for part in parts)
        ]
        for system in SYSTEMS
    }
    assert decide["LLAVADI"] == []
    assert [one.split(":")[0] for one in decide["Scenario cognition"]] == ["one wording"] * 2
    assert [one.split(":")[0] for one in decide["Health records"]] == ["T1", "T2", "T3", "T4"]
    assert not any("overlap completes" in one or "twice" in one for one in decide["Cross-client memorization"])
    assert sum("nobody was trained on" in one for one in decide["Cross-client memorization"]) >= 1


def test_a_claim_that_a_paper_denies_speaks_for_it_where_it_fails(monkeypatch):
    monkeypatch.setattr(systems, "default_run", lambda name, record: record[name][0])
    system = System("0000.00000", "one", "It says so.", {"edge_sweep": ("a", "b")}, denies=("b",))
    for claims, wanted in (
        ({"a": True, "b": False}, HELD),
        ({"a": False, "b": True}, NOT_HELD),
        ({"a": True, "b": True, "c": False}, "held in part, in 1 of 2 claims"),
    ):
        record = {"edge_sweep": [Result("edge_sweep", {}, [], claims, {}, {}, {})]}
        assert verdict(system, record) == wanted


@pytest.mark.parametrize(
    ("claims", "wanted"),
    [
        ({"a b": True, "c": False}, HELD),
        ({"a b": False, "c": True}, NOT_HELD),
        ({"a b": True, "x a": False, "a": False, "c": True}, "held in part, in 1 of 3 claims"),
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
    assert systems.unrecorded(system, {"edge_stress": failed}) == ["edge_sweep"]
    assert verdict(system, {"edge_stress": failed, "edge_sweep": held}) == "held in part, in 1 of 2 claims"


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
        names = [name if name in RECORD else f"{name} (not in the record yet)" for name in system.claims]
        assert said.strip() == f"{', '.join(names)}: {verdict(system, RECORD)}"
        linked = [place.split("#") for place in places.strip().split(", ")]
        assert [name for _, name in linked] == list(system.claims)
        assert all(name in headings(page) for page, name in linked)


def test_the_page_marks_what_is_not_in_the_record():
    lines = {line.split("]")[0].removeprefix("| ["): line for line in PAPERS_PAGE.read_text("utf-8").splitlines()}
    for system in SYSTEMS:
        asked = lines[system.name].split(" | ")[2].split(", ")
        assert [name for name, cell in zip(system.claims, asked, strict=True) if "not in the record yet" in cell] == [
            name for name in system.claims if name not in RECORD
        ]
        assert lines[system.name].endswith(f"| {verdict(system, RECORD)} |")


def test_what_is_not_built_has_no_page():
    assert systems.place("nothing_of_the_kind") == ""
