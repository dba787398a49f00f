"""The record is whole, its claims are those of its rows, and README and findings say nothing else than it does."""

import io
import re
import shutil
from collections import Counter
from dataclasses import asdict, replace

import jinja2
import pytest
from jinja2 import nodes
from kept_runs import RECORD as FOUND
from PIL import Image

from difflab.errors import InputError
from difflab.files import plain
from difflab.runs import pages, registry
from difflab.runs.answers import answered
from difflab.runs.numbers import Numbers, Recorded, mean, shown, span
from difflab.runs.record import RECORD
from difflab.runs.result import Result
from difflab.runs.rows import Row
from difflab.runs.tables import tables
from experiments.__main__ import main

RUNS = [run for runs in FOUND.values() for run in runs]
BYTES = 16_000_000
FOLDER = pages.ROOT


def named(run):
    return f"{run.experiment}-{run.digest}"


# What prose may hold in digits, beside what is a setting or a name.
ALLOWED = (
    r"https?://[^\s)]+",
    r"arXiv:\d{4}\.\d{5}",
    r"et al\. 20\d\d",
    r"Python 3\.\d+",
    r"SD 1\.x or 2\.x",
    r"CC BY-SA 4\.0|Apache-2\.0",
    r"intervals of 95 %",
    r"constant 0\.8",
    r"\bt = 0(?:\.36)?\b(?!\.)",  # losses are shown at the time of the grid that is nearest to 0.36
    r"\b[NMdKC] = \d+|between 1 and 2",
    r"\bvariance \d+|\bnorm \d+",
    r"\b[\d.]+ (?:seconds|minutes|min)\b",
    r"\b[A-Za-z_]+\d+\b",  # a name, as x0
)


def typed_numbers(template):
    """Numbers that somebody wrote into a template's prose: no expression, no setting, no part marked as earlier."""
    text = re.sub(r"<!-- not in the record -->.*?<!-- end -->", "", template, flags=re.S)
    text = re.sub(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", "", text, flags=re.S)
    text = re.sub(r"(?m)^ {4}.*$|`[^`]*`", "", text)  # commands and code
    text = re.sub("|".join(ALLOWED), "", text)
    return re.findall(r"\S*\d\S*", text)


def in_expressions(template):
    """Numbers within expressions that are printed and read from no row; those that choose rows and digits are not."""
    found = []

    def look(node):
        if isinstance(node, nodes.Const) and not isinstance(node.value, bool | None):
            found.extend(typed_numbers(str(node.value)))
        elif isinstance(node, nodes.Call):
            look(node.node)
            # These two write a number that they are given.
            if isinstance(node.node, nodes.Name) and node.node.name in ("shown", "number"):
                look(node.args[0])
        elif isinstance(node, nodes.Filter):
            if node.name != "format":
                look(node.node)
        elif isinstance(node, nodes.Getitem | nodes.Test):
            look(node.node)
        elif not isinstance(node, nodes.Compare | nodes.TemplateData | nodes.Import | nodes.FromImport):
            for child in node.iter_child_nodes():
                look(child)

    look(jinja2.Environment().parse(template))
    return found


@pytest.mark.parametrize("run", RUNS, ids=named)
def test_a_kept_run_is_whole_and_small(run):
    assert run.rows and run.claims and run.figures
    assert run.meta["artefacts"] == [] and not run.artefacts
    files = {path.relative_to(run.folder).as_posix() for path in run.folder.rglob("*") if path.is_file()}
    figures = {f"figures/{name}.png" for name in run.figures}
    assert files == {"config.json", "claims.json", "rows.jsonl", "meta.json", *figures}
    for picture in run.figures.values():
        png = picture.png()
        assert 1_000 < len(png) < 150_000
        assert Image.open(io.BytesIO(png)).width <= 900


def test_the_record_is_small_and_holds_nothing_else():
    files = [path for path in RECORD.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < BYTES
    folders = {run.folder for run in RUNS}
    assert {path for path in files if not folders & set(path.parents)} == {RECORD / "README.md"}


@pytest.mark.parametrize("run", RUNS, ids=named)
def test_the_claims_of_a_kept_run_are_those_of_its_rows(run):
    assert {claim: bool(held) for claim, held in registry.load(run.experiment).claims(run.rows).items()} == run.claims


@pytest.mark.parametrize("experiment", FOUND)
def test_the_default_command_makes_a_kept_run(experiment):
    default = plain(asdict(registry.load(experiment).Config()), "config")
    assert [run.config for run in FOUND[experiment]].count(default) == 1


@pytest.fixture(scope="module")
def texts():
    """What the pages are to say."""
    return pages.rendered(FOUND)


def test_the_pages_say_what_the_record_says(texts):
    assert {path.relative_to(pages.ROOT).as_posix() for path in texts} == {
        "README.md",
        *(
            f"docs/findings/{page}.md"
            for page in ("clip", "diffusion", "edge", "language", "papers", "tokens", "transition")
        ),
    }
    for path, text in texts.items():
        assert path.read_text("utf-8") == text, f"{path} differs; write it with difflab record"


def test_every_link_and_figure_of_the_pages_is_there(texts):
    for path, text in texts.items():
        for target, _, heading in re.findall(r"\]\((?!http)([^)#]*)(#([^)]*))?\)", text):
            there = (path.parent / target).resolve() if target else path
            assert there.exists(), (path, target)
            if heading:
                assert f"\n### {heading}\n" in there.read_text("utf-8"), (path, heading)
        figures = Counter(re.findall(r"\]\(([^)]*\.png)\)", text))
        assert [name for name, times in figures.items() if times > 1] == [], path


@pytest.mark.parametrize("template", sorted(pages.TEMPLATES.rglob("*.jinja*")), ids=lambda path: path.name)
def test_no_measured_number_is_typed_by_hand(template):
    text = template.read_text("utf-8")
    assert typed_numbers(text) == [] and in_expressions(text) == []


@pytest.mark.parametrize("template", sorted(pages.TEMPLATES.rglob("*.jinja*")), ids=lambda path: path.name)
def test_no_verdict_is_typed_by_hand(template):
    prose = re.sub(r"\{\{.*?\}\}|\{%.*?%\}", "", template.read_text("utf-8"), flags=re.S)
    assert not re.search(r"\| *(?:not held|held)\b", prose)


@pytest.mark.parametrize(
    ("line", "numbers"),
    [
        ("{% set straight = 0.99 %}", ["0.99"]),
        ("{{ shown(0.99) }} and {{ 'in 12 of them' }}", ["0.99", "12"]),
        ("{{ r.number('a', 2) ~ ' of 7' }}", ["7"]),
        ("{{ 0.5 | mean }}{{ 5 if x else 'about 6' }}", ["0.5", "5", "6"]),
        ("{{ r.number('a', 2, size=64) }} {{ r.rows('a') | selectattr('value', 'ge', 0.99) | mean(2) }}", []),
        (
            "{{ r.config.n[0] }} {{ shown(x, 3) }} {{ 'yes' if x > 0.5 }} {{ '%.2f' | format(x) }} {{ 'variance 1' }}",
            [],
        ),
    ],
)
def test_a_number_typed_within_an_expression_is_found(line, numbers):
    assert in_expressions(line) == numbers


@pytest.mark.parametrize(
    ("typed", "numbers"),
    [
        ("found at 0.798 of N", ["0.798"]),
        ("in 81 % of the samples", ["81"]),
        ("in 81% of them", ["81%"]),
        ("11 of 12 come back", ["11", "12"]),
        ("between [0.764, 0.831]", ["[0.764,", "0.831]"]),
        ("after 1,590 steps", ["1,590"]),
        ("moves by -0.054", ["-0.054"]),
        ("t = 0.361, N = 100: 7 runs", ["0.361,", "7"]),
        ("a {{ number }} and 5", ["5"]),
        ("{{ one }} <!-- not in the record -->\n0.5\n<!-- end -->\n and {{\ntwo }} 3.", ["3."]),
        ("N = 100, variance 1, weight x0, constant 0.8, arXiv:2508.17689, about 3.5 minutes", []),
        ("    difflab run x --n 200\nor `--n 200`, {{ p.number('a', digits=2) }}", []),
        ("{{ published('0.98') }} with NeMo", []),
        ("<!-- not in the record -->\n0.798 [0.7, 0.8]\n\n11 of 12\n<!-- end -->", []),
    ],
)
def test_a_typed_number_is_found(typed, numbers):
    assert typed_numbers(typed) == numbers


def test_what_is_not_in_the_record_is_marked_and_says_so(texts):
    names, lines = Counter(), dict[str, str]()
    for path, text in texts.items():
        lines |= {line[1]: line[0] for line in re.finditer(r"^\| \[`(\w+)`\]\(#\1\).*$", text, re.M)}
        for section in text.split("\n### ")[1:] if path.parent.name == "findings" else ():
            name, _, rest = section.partition("\n\n")
            names[name] += 1
            marked = rest.split("\n\n", 1)[1].startswith("<!-- not in the record -->\nNot in the record yet;")
            assert marked == (name not in FOUND), name
    assert names == Counter(registry.experiments().keys())
    assert lines.keys() == names.keys()
    for name, line in lines.items():
        assert ("| not in the record yet |" in line) == (name not in FOUND), name


def test_a_finding_begins_with_its_answer_and_holds_figure_short_tables_and_claims(texts):
    (run,) = FOUND["digits_trained"]
    answer = answered(run)
    page = texts[pages.ROOT / "docs" / "findings" / "edge.md"]
    section = page.split("\n### digits_trained\n")[1].split("\n### ")[0]
    assert section.split("\n\n")[1].startswith(f"**{answer.sentence}** Published: {answer.published}.")
    assert f"/figures/{answer.figure}.png)" in section and f"*{answer.look}*" in section
    assert all(claim in section for claim in run.claims)
    for table in tables(run):
        lines = [f"| {' | '.join(row)} |" in section for row in table.rows]
        assert all(lines) if len(table.rows) <= 12 else not any(lines)
    (line,) = [line for line in texts[pages.ROOT / "README.md"].splitlines() if line.startswith("| [`digits_trained`]")]
    assert line.endswith(f"| {answer.sentence} | {answer.published} |")


def made_up():
    rows = [
        Row("hit_fraction", 0.75, 0.5, 0.875, 4, {"a": 1, "b": "left"}),
        Row("hit_fraction", 0.25, None, None, 8, {"a": 1, "b": "right"}),
        Row("hit_fraction", -0.0001, None, None, 8, {"a": 2.0, "b": "left"}),
        Row("seconds", 12345.678, None, None, 1, {}),
    ]
    config = {"n": 3, "inner": {"sizes": [1, 2]}}
    return Result("toy", config, rows, {"it holds": True, "it does not": False}, {}, {}, {})


def test_a_run_over_worlds_stands_beside_the_run_on_one():
    one = made_up()
    many = replace(one, config={"each": one.config, "worlds": 3, "contents": "sums"})
    record = Numbers({"toy": [one, many]})
    assert record("toy").run is one and record("toy", n=3).run is one and record("toy", worlds=3).run is many


def test_numbers_are_written_from_rows():
    run = Numbers({"toy": [made_up()]})("toy", sizes=(1, 2))
    assert run.number("hit_fraction", 2, a=1, b="left") == "0.75 [0.50, 0.88]"
    assert run.number("hit_fraction", b="right") == "0.250"
    assert run.value("seconds", 1) == "12,345.7"
    assert run.count("hit_fraction", a=1, b="left") == "3 of 4"
    assert run.value("hit_fraction", a=2.0) == "0.000"
    assert mean(run.rows("hit_fraction", a=1)) == "0.500"
    assert span(run.rows("hit_fraction"), 2) == "0.00 to 0.75"
    assert shown(-0.26, 1) == "-0.3"
    assert run.claims() == "- **held**: it holds\n- **did not hold**: it does not"
    assert run.table("hit_fraction", "a", "b", 2).splitlines() == [
        "| a | left | right |",
        "| --- | --- | --- |",
        "| 1 | 0.75 [0.50, 0.88] | 0.25 |",
        "| 2 | 0.00 |  |",
    ]


def test_a_column_of_another_metric_stands_beside_a_table():
    losses = [
        Row("validation_loss", 0.5, 0.25, 0.75, 5, {"a": 2}),
        Row("validation_loss", 1.0, None, None, 5, {"a": 3}),
    ]
    run = Numbers({"toy": [made_up()]})("toy")
    assert run.table("hit_fraction", "a", "b", 2, losses).splitlines() == [
        "| a | left | right | validation loss |",
        "| --- | --- | --- | --- |",
        "| 1 | 0.75 [0.50, 0.88] | 0.25 |  |",
        "| 2 | 0.00 |  | 0.50 [0.25, 0.75] |",
    ]
    with pytest.raises(InputError, match="several rows"):
        run.table("hit_fraction", "a", "b", 2, losses[:1] * 2)


def test_what_a_run_took_is_said_unless_it_was_resumed():
    told = {
        seconds: Recorded(replace(made_up(), meta={"seconds": seconds, "resumed": False})).minutes()
        for seconds in (46.2, 2109.0, 120_000.0)
    }
    assert list(told.values()) == ["0.8 minutes", "35 minutes", "2,000 minutes"]
    assert Recorded(replace(made_up(), meta={"seconds": 46.2, "resumed": True})).minutes() == ""


def test_costs_on_pages_are_those_of_the_record(texts):
    page = "".join(texts.values())
    for run in (Recorded(pages.default_run(name, FOUND)) for name in FOUND):
        (section,) = re.findall(rf"\n### {run.run.experiment}\n\n(.*?)\n\n", page, re.S)
        if run.minutes():
            assert len(re.findall(rf"(?<![\d.]){run.minutes()}", section)) == 1, section
        else:
            assert "recorded run" not in section
    audited = Recorded(pages.default_run("pipeline_audited", FOUND))
    assert f"does the small pipeline draw copies? {audited.minutes()}\n" in page


@pytest.mark.parametrize(
    ("cost", "took", "said"),
    [
        (
            "about 30 minutes",
            "21 minutes",
            "about 30 minutes; the recorded run took 21 minutes, beside other work or not.",
        ),
        ("21 minutes", "21 minutes", "21 minutes."),
        ("121 minutes", "21 minutes", "121 minutes; the recorded run took 21 minutes, beside other work or not."),
        ("0.5 minutes", "5 minutes", "0.5 minutes; the recorded run took 5 minutes, beside other work or not."),
        ("21 minutes", "", "21 minutes."),
    ],
)
def test_a_cost_is_said_once(cost, took, said):
    document = f"Does it?\n\nIt does. Cost on two cores: {cost}.\n"
    assert pages._heading("it", document, took).endswith(f"Cost on two cores: {said}")


def test_a_verdict_is_that_of_the_claims():
    run = replace(RUNS[0], claims={"one": True, "two": True, "three": False})
    told = Recorded(run)
    assert (told.verdict("one", "two"), told.verdict("one", "three")) == ("held", "not held")
    with pytest.raises(InputError, match="four"):
        told.verdict("one", "four")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{{ record('toy').number('hit_fraction') }}", "3 rows hit_fraction"),
        ("{{ record('toy').number('miss_fraction') }}", "0 rows miss_fraction"),
        ("{{ record('toy').rows('miss_fraction') | mean }}", "no row miss_fraction"),
        ("{{ record('toy').table('hit_fraction', 'b', 'c') }}", "no row hit_fraction with an entry"),
        ("{{ record('toy').figure('curve') }}", "no figure curve"),
        ("{{ record('toy', n=4).claims() }}", "0 runs of toy"),
        ("{{ record('toys').claims() }}", "0 runs of toys"),
        ("{{ undefined }}", "undefined"),
    ],
)
def test_a_page_that_asks_for_what_is_not_there_is_not_written(tmp_path, line, words):
    (tmp_path / "README.md.jinja").write_text(line)
    with pytest.raises(pages.InputError, match=words):
        pages.rendered({"toy": [made_up()]}, tmp_path)


def refused(capsys, *arguments):
    """The sentence that a command ends with, and no more."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_the_check_finds_a_page_that_differs(texts, tmp_path, monkeypatch, capsys):
    for path in texts:
        there = tmp_path / path.relative_to(pages.ROOT)
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, there)
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    main(["record", "--check"])
    assert capsys.readouterr().out == ""
    # The same record is read and written once more to the same texts.
    again = {tmp_path / path.relative_to(FOLDER): text for path, text in texts.items()}
    monkeypatch.setattr("experiments.commands.record.recorded", lambda record: FOUND)
    monkeypatch.setattr(pages, "rendered", lambda record: again)
    page = tmp_path / "docs" / "findings" / "edge.md"
    page.write_text(page.read_text("utf-8").replace("0.803", "0.804"), "utf-8")
    line = refused(capsys, "record", "--check")
    assert line == "difflab: edge.md differs from the record; write the pages with difflab record."
    assert "0.804" in page.read_text("utf-8")


def test_pages_are_written_in_a_checkout_only(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("experiments.commands.record.TEMPLATES", tmp_path)
    assert "checkout" in refused(capsys, "record")
    assert "checkout" in refused(capsys, "record", "--keep", str(RUNS[0].folder))


def test_the_report_of_the_record_shows_every_run(tmp_path, capsys):
    main(["report", "--record", "--out", str(tmp_path)])
    page = tmp_path / "record" / "report.html"
    assert capsys.readouterr().out.strip() == str(page)
    text = page.read_text("utf-8")
    assert all(f'<section id="{run.digest}">' in text and f'href="#{run.digest}"' in text for run in RUNS)
