"""What is shipped: the wheel, the two commands of the README, and what the README says."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

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


def test_the_installed_wheel_imports_and_answers(wheel, tmp_path):
    target = tmp_path / "elsewhere"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", target, wheel]
    subprocess.run([str(word) for word in install], check=True, capture_output=True)
    script = (
        f"import sys; sys.path.insert(0, {str(target)!r})\n"
        "import difflab, theory.crossover, synthetic.train, experiments.__main__ as line\n"
        "print([m.__file__ for m in (difflab, theory, synthetic, line)]); line.main(['list'])"
    )
    answer = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    files = re.findall(r"'([^']+)'", answer.stdout.splitlines()[0])
    assert len(files) == 4 and all(file.startswith(str(target)) for file in files)
    assert "crossover_trained" in answer.stdout
    entry = next(target.glob("*.dist-info")) / "entry_points.txt"
    assert "difflab = experiments.__main__:main" in entry.read_text()


def test_the_readme_names_what_exists():
    readme, findings = ((ROOT / name).read_text("utf-8") for name in ("README.md", "docs/findings.md"))
    assert "./lab quickstart" in readme and "./lab test" in readme
    for experiment in (ROOT / "experiments").glob("[a-z]*.py"):
        assert experiment.stem in readme
        assert f"\n### {experiment.stem}\n" in findings
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
