"""The site: what its hooks make of README, scripts and docstrings; and that it is built without a warning."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mkdocs", reason="the site's packages are in difflab[docs]")

ROOT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
hooks = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(hooks)


def test_a_script_is_prose_and_code_in_turns():
    script = '# # Title\n#\n# One\n# two.\n\nx = 1\n\n\ny = """a\n\nb"""  # not prose\n\n# Three.\n'
    assert hooks.as_page(script, "a.py").split("\n\n*This page")[0] == (
        '# Title\n\nOne\ntwo.\n\n```python\nx = 1\n\ny = """a\n\nb"""  # not prose\n```\n\nThree.'
    )


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "tutorials").glob("*.py")), ids=lambda path: path.stem)
def test_a_tutorial_begins_with_its_title_and_uses_the_front_door(path):
    page = hooks.as_page(path.read_text("utf-8"), path.name)
    assert re.match(r"# \w[^\n]+\n\n\w", page)
    assert "import difflab\n" in page and page.count("```") % 2 == 0
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, re.S))
    compile(code, path.name, "exec")
    assert "assert " not in code


def test_formulas_are_mathml_outside_of_code_alone():
    text = hooks.formulas("A $x_t$ and\n$$\\frac{1}{N}$$\nbut `a $b$ c` and\n```\n$d$\n```\n")
    assert text.count("<math") == 2 and "<mfrac>" in text and 'display="block"' in text
    assert "`a $b$ c`" in text and "\n$d$\n" in text


def test_links_lead_to_what_the_site_has():
    text = hooks.from_top("[a](docs/findings/edge.md#x) [b](CONTRIBUTING.md) [c](CITATION.cff) [d](experiments/record)")
    assert text == "[a](findings/edge.md#x) [b](contributing.md) c [d](record/report.html)"
    text = hooks.on_page_markdown("[r](../../experiments/record) ![f](../../experiments/record/a/b/figures/c.png)")
    assert text == "[r](../record/report.html) ![f](../record/a/b/figures/c.png)"


def test_every_public_module_has_its_place_in_the_reference():
    pages = "".join(hooks.reference(*hooks.API[name]) for name in hooks.API)
    listed = re.findall(r"^::: (\S+)$", pages, re.M)
    assert len(listed) == len(set(listed))
    for package in ("difflab", "theory", "synthetic"):
        for path in (ROOT / package).rglob("*.py"):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            left_out = "panels" in module or "__" in path.name or ".datasets" in module or ".training" in module
            assert (module in listed) != left_out, module


def test_the_site_is_built_without_a_warning_and_asks_nobody(tmp_path):
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    answer = subprocess.run(build, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert answer.returncode == 0 and answer.stderr == "", answer.stderr[-2000:]
    pages = {path.relative_to(tmp_path).as_posix(): path.read_text("utf-8") for path in tmp_path.rglob("*.html")}
    assert {"index.html", "findings/clip.html", "record/report.html", "tutorials/test_a_clip.html"} <= set(pages)
    assert "squared_errors" in pages["api/theory.html"] and "wilson" in pages["api/statistics.html"]
    assert "<math" in pages["formulas.html"]
    for name, text in pages.items():
        assert not re.findall(r'(?:src|srcset)="https?:|<link [^>]*href="https?:(?!//squidfunk)', text), name
        assert str(ROOT) not in text
        for target in re.findall(r'(?:src|href)="([^":#?]+?)(?:[#?][^"]*)?"', text):
            there = ((tmp_path / name).parent / target).resolve() if not target.startswith("/") else tmp_path
            assert name == "404.html" or there.exists(), (name, target)
