"""What mkdocs does beside its own work: pages from README, scripts and docstrings, and formulas without a script.

Nothing is written into docs: the pages exist while the site is built.
"""

import itertools
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from difflab.runs import registry
from difflab.runs.record import RECORD
from difflab.runs.report import build

ROOT = Path(__file__).parents[1]
RECORDED = "record/report.html"
"""The page of all kept runs."""
API = {
    "difflab": ("The front door", "difflab", "difflab/*.py"),
    "runs": ("Runs and results", "difflab.runs", "difflab/runs/*.py"),
    "audits": ("Audits", "difflab.audits", "difflab/audits/*.py"),
    "diffusion": ("Diffusion", "difflab.diffusion", "difflab/diffusion/*.py"),
    "detectors": ("Detectors", "difflab.diffusion.detectors", "difflab/diffusion/detectors/*.py"),
    "defenses": ("Defenses", "difflab.diffusion.defenses", "difflab/diffusion/defenses/*.py"),
    "attacks": ("Attacks", "difflab.diffusion.attacks", "difflab/diffusion/attacks/*.py"),
    "membership": ("Membership scores", "difflab.diffusion.membership", "difflab/diffusion/membership/*.py"),
    "clip": ("CLIP", "difflab.clip", "difflab/clip/*.py"),
    "autoregressive": ("Language models", "difflab.autoregressive", "difflab/autoregressive/*.py"),
    "codecs": ("Codecs", "difflab.autoregressive.codecs", "difflab/autoregressive/codecs/*.py"),
    "pictures": ("Picture tokens", "difflab.autoregressive.pictures", "difflab/autoregressive/pictures/*.py"),
    "extractions": ("Extractions", "difflab.autoregressive.extractions", "difflab/autoregressive/extractions/*.py"),
    "scores": ("Scores of texts", "difflab.autoregressive.scores", "difflab/autoregressive/scores/*.py"),
    "objectives": ("Objectives", "difflab.autoregressive.objectives", "difflab/autoregressive/objectives/*.py"),
    "statistics": ("Statistics", "difflab.statistics", "difflab/statistics/*.py"),
    "theory": ("Theory", "theory", "theory/*.py"),
    "synthetic": ("Synthetic", "synthetic", "synthetic/**/*.py"),
}
"""Page -> title, package, files. Panels, which draw figures, are left out."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and pictures that do not lie in docs."""

    def add(place: str, content: str | bytes) -> None:
        files.append(File.generated(config, place, content=content))

    add("index.md", from_top((ROOT / "README.md").read_text("utf-8")))
    add("contributing.md", from_top((ROOT / "CONTRIBUTING.md").read_text("utf-8")))
    for script in sorted((ROOT / "docs" / "tutorials").glob("*.py")):
        add(f"tutorials/{script.stem}.md", as_page(script.read_text("utf-8"), script.name))
    for name in API:
        add(f"api/{name}.md", reference(*API[name]))
    for kept in sorted([*RECORD.glob("*/*/figures/*.png"), *RECORD.glob("*/*/rows.jsonl")]):
        add(f"record/{kept.relative_to(RECORD).as_posix()}", kept.read_bytes())
    with tempfile.TemporaryDirectory() as folder:
        page = build(RECORD, registry.documents(), Path(folder), every=True)
        add(RECORDED, page.read_text("utf-8"))
    return files


def on_page_markdown(markdown: str, **given: Any) -> str:
    """Links into the record lead to its page and its figures; formulas become MathML, which browsers draw."""
    markdown = re.sub(r"\]\((?:\.\./)*experiments/record\)", "](../record/report.html)", markdown)
    markdown = re.sub(r"\]\((?:\.\./)*experiments/record/", "](../record/", markdown)
    return formulas(markdown)


def from_top(text: str) -> str:
    """A page of the project's top folder, with links as from within docs."""
    text = text.replace("](experiments/record)", f"]({RECORDED})").replace("](docs/", "](")
    text = text.replace("](CONTRIBUTING.md)", "](contributing.md)")
    return re.sub(r"\[([^\]]*)\]\((?:CITATION\.cff|LICENSE)\)", r"\1", text)


def as_page(script: str, name: str) -> str:
    """A script as Markdown: lines that are comments are prose, all others are code."""
    told: list[str] = []
    for is_prose, blocks in itertools.groupby(re.split(r"\n{2,}", script.strip()), _is_prose):
        text = "\n\n".join(blocks)
        told.append(_prose(text) if is_prose else f"```python\n{text}\n```")
    return "\n\n".join([*told, f"*This page is the script `docs/tutorials/{name}`, which the tests run.*", ""])


def _is_prose(block: str) -> bool:
    return all(line == "#" or line.startswith("# ") for line in block.splitlines())


def _prose(block: str) -> str:
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in block.splitlines())


def reference(title: str, package: str, pattern: str) -> str:
    """One page of a subpackage: every module of it under its own heading."""
    modules = []
    for path in sorted(ROOT.glob(pattern)):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[-1].startswith("__") or "panels" in parts:
            continue
        modules.append(".".join(parts))
    return "\n\n".join([f"# {title}", *(f"::: {module}" for module in [package, *modules]), ""])


def formulas(markdown: str) -> str:
    """TeX between dollars as MathML, outside of code; two dollars make a display of their own."""
    pieces = re.split(r"(```.*?```|`[^`\n]*`)", markdown, flags=re.S)
    return "".join(piece if piece.startswith("`") else _typeset(piece) for piece in pieces)


def _typeset(text: str) -> str:
    text = re.sub(r"\$\$(.+?)\$\$", _mathml("block"), text, flags=re.S)
    return re.sub(r"\$([^$\n]+)\$", _mathml("inline"), text)


def _mathml(display: str) -> Callable[[re.Match[str]], str]:
    return lambda found: convert(found[1].strip(), display=display)
