"""What is shipped: the wheel, the two commands of the README, and what the README says."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from difflab.runs import registry

ROOT = Path(__file__).parents[1]
PACKAGES = {"difflab", "theory", "synthetic", "experiments"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_exactly_the_four_packages(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == PACKAGES
    tracked = {str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == tracked
    record = {str(path.relative_to(ROOT)) for path in (ROOT / "experiments" / "record").rglob("*") if path.is_file()}
    assert {name for name in names if name.startswith("experiments/record/")} == record


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    target = tmp_path_factory.mktemp("installed")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", target, wheel]
    subprocess.run([str(word) for word in install], check=True, capture_output=True)
    return target


def python(target, script, folder):
    """Run a script with what is installed in a folder."""
    words = [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(target)!r})\n{script}"]
    return subprocess.run(words, capture_output=True, text=True, cwd=folder)


def test_the_installed_wheel_imports_and_answers(installed, tmp_path):
    script = (
        "import difflab, theory.crossover, synthetic.train, experiments.__main__ as line\n"
        "print([m.__file__ for m in (difflab, theory, synthetic, line)]); line.main(['list'])"
    )
    answer = python(installed, script, tmp_path)
    files = re.findall(r"'([^']+)'", answer.stdout.splitlines()[0])
    assert len(files) == 4 and all(file.startswith(str(installed)) for file in files)
    assert "crossover_trained" in answer.stdout
    entry = next(installed.glob("*.dist-info")) / "entry_points.txt"
    assert "difflab = experiments.__main__:main" in entry.read_text()


def test_the_installed_wheel_shows_its_record_and_writes_no_pages(installed, tmp_path):
    answer = python(installed, "from experiments.__main__ import main; main(['report', '--record'])", tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert "crossover_trained" in (tmp_path / "results" / "record" / "report.md").read_text("utf-8")
    answer = python(installed, "from experiments.__main__ import main; main(['record'])", tmp_path)
    assert answer.returncode == 2
    (line,) = answer.stderr.splitlines()
    assert "checkout" in line


def test_the_readme_names_what_exists():
    readme = (ROOT / "README.md").read_text("utf-8")
    assert "./lab quickstart" in readme and "./lab test" in readme
    assert len(readme.splitlines()) <= 120
    known = registry.experiments()
    shown = re.findall(r"\[`(\w+)`\]\(docs/findings/(\w+)\.md#\1\)", readme)
    assert {wing for _, wing in shown} == {found.wing for found in known.values()}
    assert all(known[name].wing == wing for name, wing in shown)
    for name, found in known.items():
        page = (ROOT / "docs" / "findings" / f"{found.wing}.md").read_text("utf-8")
        assert f"\n| [`{name}`](#{name}) |" in page and f"\n### {name}\n" in page
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", readme) + re.findall(r'src="(?!http)([^"]+)"', readme):
        assert (ROOT / target).exists(), target
    for path in re.findall(r"`((?:synthetic|theory|difflab|experiments|benchmarks)/[\w/]+\.py)`", readme):
        assert (ROOT / path).exists(), path


def test_lab_explains_itself_and_refuses_an_old_python(tmp_path):
    answer = subprocess.run(["sh", str(ROOT / "lab")], capture_output=True, text=True)
    assert answer.returncode == 0 and "quickstart" in answer.stdout
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\ncase "$1" in -V) echo Python 3.8.0;; *) exit 1;; esac\n')
    old.chmod(0o755)
    answer = subprocess.run(
        ["sh", str(ROOT / "lab"), "setup"], capture_output=True, text=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}
    )
    assert answer.returncode == 2 and "3.11" in answer.stderr


def test_nothing_but_plain_pins_in_the_constraints():
    for line in (ROOT / "constraints" / "py311.txt").read_text().splitlines():
        assert re.fullmatch(r"[A-Za-z0-9_.\-]+==[A-Za-z0-9_.+!\-]+", line), line
