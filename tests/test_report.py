"""The page: whole in itself, nothing hidden, nothing run as markup; Markdown with the same content."""

import base64
import errno
import os
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.figure import Figure

from difflab.errors import InputError, WriteError
from difflab.runs.figures import new_figure, picture
from difflab.runs.report import build
from difflab.runs.results import Row, open_run
from difflab.runs.tables import number

VOID = {"meta", "img", "br", "hr"}
DOCUMENTS = {
    "ring": "Does <b>size</b> matter & how?\nSecond line.\n\nPaper: not shown.",
    "never_run": "Will it run?",
}


class Page(HTMLParser):
    """Elements with their attributes and text; unbalanced tags fail."""

    def __init__(self, source):
        super().__init__()
        self.open, self.elements, self.text, self.folded, self.unfolded = [], [], [], [], ""
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if "details" in self.open:
            self.folded.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)
            self.unfolded += "" if "details" in self.open else data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def words(self):
        return re.sub(r"\s+", " ", "".join(self.text))


def _finish(out, experiment, config, rows, claims, figures=None, seconds=75.0, resumed=False):
    run = open_run(out, experiment, config)
    meta = {"seconds": seconds, "resumed": resumed, "device": "cpu <x>", "code_version": "abc"}
    meta["peak_memory_mib"] = {"process": 512, "largest_worker": 768}
    pictures = {name: picture(figure) for name, figure in (figures or {}).items()}
    run.finish(rows, [], pictures, claims, meta)
    return run


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    figure, _ = new_figure("Loss <of> all", 'size "k"', "loss")
    few = [Row("copy_fraction", 0.25, 0.125, None, 40, {"size": k, "name": "a|b<c>"}) for k in (1, 2)]
    many = [Row("loss", 0.1 * k, 0.1 * k - 0.05, 0.1 * k + 0.05, 7, {"size": k}) for k in range(13)]
    claims = {"copies vanish for size > 3 & <i>stay</i>": True, "loss | falls": False}
    drawn = {"loss_by_k": figure, "small": Figure((0.5, 0.5))}
    ring = _finish(out, "ring", {"prompt": "</pre><script>x", "seed": 3}, few + many, claims, drawn)
    _finish(out, "zeta", {"seed": 1}, few[:1], {}, {"tiny": Figure((0.5, 0.5))}, seconds=1.25, resumed=True)
    half = open_run(out, "half", {"seed": 1})
    path = build(out, DOCUMENTS)
    return {
        "out": out,
        "ring": ring,
        "half": half,
        "path": path,
        "html": path.read_text("utf-8"),
        "page": Page(path.read_text("utf-8")),
        "md": (out / "report.md").read_text("utf-8"),
    }


def test_the_page_needs_nothing_but_itself(built):
    page = built["page"]
    assert built["path"] == built["out"] / "report.html"
    assert not page.all("script")
    assert not page.all("link")
    for _, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "srcset", "action", "data"):
            assert attributes.get(name, "#").startswith(("#", "data:image/png;base64,"))
    assert "http:" not in built["html"]
    assert "https:" not in built["html"]
    assert "url(" not in built["html"]
    assert "@import" not in built["html"]


def test_the_page_is_fit_for_a_phone_and_the_dark(built):
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in built["page"].all("meta")
    assert "prefers-color-scheme: dark" in built["html"]
    assert "max-width: 100%" in built["html"]
    # A table scrolls in its own box, and a long name breaks.
    assert len(re.findall(r'<div class="wide"><table>', built["html"])) == len(built["page"].all("table"))
    assert ".wide { max-width: 100%; overflow-x: auto;" in built["html"]
    assert "overflow-wrap: anywhere" in built["html"]


def test_every_claim_is_on_the_page_with_its_verdict(built):
    words = built["page"].words()
    assert "held copies vanish for size > 3 & <i>stay</i>" in words
    assert "did not hold loss | falls" in words
    assert re.search(r"ring\s*1 of 2 claims held\s*zeta\s*no claims", words)
    assert "time 1.2 s since it was resumed" in words


def test_what_failed_comes_before_what_held(built):
    classes = [attributes.get("class") for attributes in built["page"].all("span")]
    assert [name for name in classes if name in ("held", "failed")] == ["failed", "held"]
    assert built["md"].index("**did not hold**") < built["md"].index("**held**")


def test_only_the_answer_its_figure_and_the_claims_are_open(built):
    """Checksums, configs, tables and other figures are folded, and so is what was not run."""
    opened = built["page"].unfolded
    assert "1 of 2 claims held." in opened
    assert "loss | falls" in opened
    assert built["page"].folded.count("img") == 1 and len(built["page"].all("img")) == 3
    assert built["page"].folded.count("table") == len(built["page"].all("table")) == 3
    for digest in (built["ring"].digest, built["half"].digest, "never_run", '"seed": 3'):
        assert digest not in opened
        assert digest in built["page"].words()
    assert "Not run: 1 experiments, 1 unfinished" in built["page"].words()


def test_text_is_text_and_not_markup(built):
    assert not built["page"].all("b")
    assert not built["page"].all("i")
    words = built["page"].words()
    assert "Does <b>size</b> matter & how? Second line." in words
    assert "Paper" not in words
    assert "</pre><script>x" in words
    assert "cpu <x>" in words and "512 MiB, its workers at most 768" in words
    assert f"run {built['ring'].digest}" in words


def test_figures_are_inside_with_words_for_those_who_do_not_see_them(built):
    first, _, second = built["page"].all("img")
    assert first["alt"] == 'loss by k, of ring: Loss <of> all; loss against size "k"'
    assert second["alt"] == "tiny, of zeta"
    stored = (built["ring"].folder / "figures" / "loss_by_k.png").read_bytes()
    assert base64.b64decode(first["src"].split(",")[1]) == stored


def test_numbers_stand_by_metric_with_their_intervals(built):
    html, words = built["html"], built["page"].words()
    # What all rows of a metric share is said once, above them.
    assert "copy fraction (name a|b<c>)" in words
    assert "<tr><td>2</td><td>0.25</td><td>[0.125, –]</td><td>40</td></tr>" in html
    assert "<tr><td>12</td><td>1.2</td><td>[1.15, 1.25]</td><td>7</td></tr>" in html


def test_what_is_not_there_is_said(built):
    words = built["page"].words()
    assert "never_run has not been run." in words
    assert str(built["half"].folder) in words
    assert "never_run has not been run." in built["md"]
    assert str(built["half"].folder) in built["md"]


def test_markdown_says_the_same(built):
    md, folder = built["md"], f"ring/{built['ring'].digest}"
    assert "Does &lt;b&gt;size&lt;/b&gt; matter &amp; how? Second line." in md
    assert "- **held** copies vanish for size &gt; 3 &amp; &lt;i&gt;stay&lt;/i&gt;" in md
    assert "- **did not hold** loss \\| falls" in md
    (target,) = re.findall(r"!\[loss by k, of ring.*?\]\((.*?)\)", md)
    assert target == f"{folder}/figures/loss_by_k.png"
    assert (built["out"] / target).is_file()
    assert "| 2 | 0.25 | [0.125, –] | 40 |".replace("[", "\\[").replace("]", "\\]") in md
    assert "**copy fraction (name a\\|b&lt;c&gt;)**" in md
    assert "<script" not in md
    # Every table has as many cells in each line as in its head.
    for table in re.findall(r"(?:^\|.*\n)+", md, re.M):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


@pytest.mark.parametrize(
    ("document", "shown"),
    [
        ("# no heading", "&#35; no heading"),
        ("- no list", "&#45; no list"),
        ("12. no list", "12&#46; no list"),
        (
            "-0.5 *is* `code` and snake_case _too_ [x](y)",
            "-0.5 \\*is\\* \\`code\\` and snake_case \\_too\\_ \\[x\\](y)",
        ),
        ("", "No description."),
    ],
)
def test_markdown_signs_in_a_question_are_shown_as_they_are(tmp_path, document, shown):
    _finish(tmp_path, "ring", {}, [], {})
    build(tmp_path, {"ring": document})
    assert f"\n### ring\n\n{shown}\n" in (tmp_path / "report.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3.0, "3"),
        (0.123456, "0.1235"),
        (-2e-7, "-2e-07"),
        (123456.0, "123456"),
        (1e9, "1e+09"),
        (-0.0, "0"),
        (1 - 1.7153e-5, "1 - 1.72e-05"),
    ],
)
def test_numbers_are_short(value, text):
    assert number(value) == text


def test_no_run_and_a_full_disk_are_one_sentence(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no finished run"):
        build(tmp_path, DOCUMENTS)
    _finish(tmp_path, "ring", {}, [Row("loss", np.float64(1), None, None, 1, {})], {})

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(WriteError, match="disk is full"):
        build(tmp_path, DOCUMENTS)
    assert {path.name for path in tmp_path.iterdir()} == {"ring"}
