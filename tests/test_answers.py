"""What runs say to their questions: sentences from rows, beside what was published, in the order of the wings."""

import importlib
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import test_claims_clip
import test_claims_diffusion
import test_claims_edge
import test_claims_language
import test_claims_tokens
from kept_runs import RECORD

from difflab.files import plain
from difflab.runs import registry
from difflab.runs.answers import Answer, answered
from difflab.runs.numbers import Recorded
from difflab.runs.report import build
from difflab.runs.result import Result
from difflab.runs.rows import Row, select
from difflab.runs.sections import OTHERS, OWN, Section, grouped

BUILT = {
    name: experiment.build
    for found in (test_claims_edge, test_claims_diffusion, test_claims_clip, test_claims_language, test_claims_tokens)
    for name, experiment in found.EXPERIMENTS.items()
}
NAMES = list(registry.experiments())


def run_of(name, rows, claims=None, **config):
    return Result(name, config, rows, claims or {}, {"finished_at": "2026"}, {}, {})


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_answers_beside_its_claims(name):
    found = registry.experiments()[name]
    source = found.path.read_text("utf-8")
    assert re.search(r"(?m)^def answer\(run: Recorded\) -> Answer:$", source)
    # The figure that it names is one that the experiment draws.
    (figure,) = re.findall(r'(?m)^        "([a-z_]+)",$', source[source.index("def answer(") :])
    module = importlib.import_module(found.module)
    drawn = importlib.import_module(module.figures.__module__).__file__
    text = Path(drawn).read_text("utf-8")
    assert f'"{figure}"' in text[text.index("def figures(") :] or "metric.rsplit" in text, figure


@pytest.mark.parametrize("name", sorted(set(BUILT) - {"edge_stress"}))
def test_rows_made_by_hand_are_answered_by_a_sentence_and_not_by_claims(name):
    answer = answered(run_of(name, BUILT[name](), {"it holds": True}))
    assert "claims held" not in answer.sentence and answer.sentence.endswith(".")
    assert answer.figure and answer.look.endswith(("?", "."))


@pytest.mark.parametrize("run", [run for runs in RECORD.values() for run in runs], ids=lambda run: run.digest)
def test_kept_runs_answer_with_their_own_rows(run):
    answer = answered(run)
    assert answer.figure in run.figures
    assert answer.look.endswith(("?", ".")) and answer.sentence.endswith(".")
    numbers = re.findall(r"-?\d+\.\d{1,3}|\d{1,3},\d{3}", answer.sentence)
    ends = {f"{end:,.{d}f}" for row in run.rows for end in row.interval for d in (0, 1, 2, 3)}
    found = [row.value for row in select(run.rows, "transition_fraction", point="middle")] or [0.0]
    given = {f"{value:g}" for row in run.rows for value in row.setting.values() if isinstance(value, float)}
    assert set(numbers) <= ends | given | {f"{sum(found) / len(found):.3f}"}
    counts = set(re.findall(r"(\d+) of (\d+)", answer.sentence))
    assert counts <= {(str(round(row.value * row.n)), str(row.n)) for row in run.rows}
    assert numbers or counts


@pytest.mark.parametrize(
    ("name", "sentence", "published"),
    [
        ("digits_trained", "On real digits half of the samples are copies at M / N = 0.800 [0.800, 0.800].", "0.8"),
        ("memorization_in_time", "grows as N to the power 1.20", "power 1"),
        ("attack_budget", "After 50 steps 4 of 8 pictures that NeMo stopped are back, and of each control at most 10%.",
         "0.99"),
        ("memorization_planted", "with 256 copies 7 of 8 are drawn again, of those seen once 0 of 8", ""),
        ("clip_dejavu", "the pair tells 0.700 [0.600, 0.800] (AUC; chance is 0.5), the other 0.500", ""),
        ("clip_audited", "AUC is 0.100 [0.050, 0.200] above the reference's (naive Bayes).", ""),
        ("memorization_detected", "with an AUC of", "0.97"),
        ("pruning_attacked", "Without a defense 7 of 8 pictures are drawn", "0.98, 0.20, 0.99 and 0.00"),
        ("pipeline_audited", "how often their picture was shown: 0 of 8 (prompts), 0 of 8 (once)", ""),
    ],
)  # fmt: skip
def test_answers_on_rows_made_by_hand(name, sentence, published):
    answer = answered(run_of(name, BUILT[name]()))
    assert sentence in answer.sentence
    assert answer.published.startswith(published)


def test_a_transition_that_is_not_there_is_not_invented():
    rows = [row for row in BUILT["digits_trained"]() if row.metric != "transition_fraction"]
    assert (
        answered(run_of("digits_trained", rows)).sentence
        == "On real digits half of the samples are copies at no size tried."
    )


@pytest.mark.parametrize("name", ["digits_trained_elsewhere", "edge_sweep"])
def test_rows_that_no_sentence_fits_answer_with_the_claims(name):
    rows = [Row("loss", 1.0, None, None, 1, {})]
    assert answered(run_of(name, rows, {"a": True, "b": False})) == Answer("1 of 2 claims held.")
    assert answered(run_of(name, rows)).sentence == "The run measured numbers and claims nothing."


def test_runs_stand_by_wing_and_audits_of_a_users_own_apart():
    clip, edge = run_of("clip_dejavu", BUILT["clip_dejavu"]()), RECORD["crossover_trained"][0]
    own = run_of("pipeline_audited", BUILT["pipeline_audited"](), model="mine/")
    quick = plain(asdict(registry.load("pipeline_audited").QUICK), "config")
    ours = run_of("pipeline_audited", BUILT["pipeline_audited"](), **quick)
    gone = run_of("an_old_one", [])
    record = {name: runs for name, runs in RECORD.items() if name != "clip_dejavu"}
    groups = grouped([gone, clip, own, ours, edge], registry.documents(), record)
    titles = [(group.title, [section.run.experiment for section in group.sections]) for group in groups]
    assert titles == [
        ("Edge", ["crossover_trained"]),
        ("Diffusion", ["pipeline_audited"]),
        ("CLIP", ["clip_dejavu"]),
        (OTHERS, ["an_old_one"]),
        (OWN, ["pipeline_audited"]),
    ]
    (section,) = groups[0].sections
    assert section.recorded == (section.answer,) and section.apart == ""
    assert groups[2].sections[0].recorded == ()


def test_runs_of_one_experiment_say_what_tells_them_apart():
    (group,) = grouped(RECORD["edge_sweep"], registry.documents())
    first, second = (section.apart for section in group.sections)
    assert first != second
    assert {"parameterization x0", "parameterization eps"} == {
        part for text in (first, second) for part in re.findall(r"parameterization \w+", text)
    }


def test_claims_that_failed_come_first_and_a_missing_figure_gives_way():
    run = replace(RECORD["crossover_trained"][0])
    section = Section(run, "", Answer("One.", figure="not_drawn"))
    verdicts = [held for _, held in section.claims]
    assert verdicts == sorted(run.claims.values()) and dict(section.claims) == run.claims
    assert section.shown == next(iter(run.figures))
    assert Section(run_of("a", []), "", Answer("One.")).shown == ""


def test_the_page_shows_what_the_record_says_beside_a_live_run(tmp_path):
    run = run_of("digits_trained", BUILT["digits_trained"](), {"it holds": True})
    run.save(tmp_path)
    text = build(tmp_path, registry.documents(), record=RECORD).read_text("utf-8")
    assert "<dt>Published</dt><dd>0.8, on other data</dd>" in text
    assert "edge_sweep has not been run. In the record: Half of the samples" in text
    kept = answered(RECORD["crossover_trained"][0]).sentence
    RECORD["crossover_trained"][0].in_memory().save(tmp_path)
    text = build(tmp_path, registry.documents(), record=RECORD).read_text("utf-8")
    assert text.count(kept) == 2
    assert Recorded(run).number_or("none", "transition_fraction", point="end") == "none"
