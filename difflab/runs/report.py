"""One self-contained page and one Markdown file from the finished runs of a folder."""

import base64
import inspect
import json
import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from difflab.errors import InputError
from difflab.files import write_atomically
from difflab.runs.results import FinishedRun, finished_runs

_OPEN_ROWS = 12  # a longer table is folded
_TITLE = "Difflab report"
_STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --soft: #5a5a5a; --line: #d9d9d9;
  --card: #f6f6f4; --held: #00633d; --failed: #a32e00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e6; --paper: #161616; --soft: #a9a9a6;
  --line: #3a3a3a; --card: #202020; --held: #5fd39f; --failed: #ff9a70; } }
body { margin: 0 auto; max-width: 46rem; padding: 1rem; color: var(--ink); background: var(--paper);
  font: 1rem/1.55 system-ui, sans-serif; overflow-wrap: break-word; }
h1, h2, h3 { line-height: 1.25; }
h2 { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 1.5rem; }
a { color: inherit; }
.soft { color: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .5rem 0; font-variant-numeric: tabular-nums; font-size: .92rem; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { text-align: left; padding: .25rem .9rem .25rem 0; vertical-align: top;
  border-bottom: 1px solid var(--line); }
ul.claims { list-style: none; padding: 0; }
ul.claims li { padding: .15rem 0; }
.held, .failed { font-weight: 600; white-space: nowrap; }
.held { color: var(--held); }
.failed { color: var(--failed); }
figure { margin: 1.2rem 0; }
figcaption { color: var(--soft); font-size: .88rem; }
img { display: block; width: 640px; max-width: 100%; height: auto; background: #fff; border-radius: 4px; }
summary { cursor: pointer; }
pre { background: var(--card); padding: .8rem; overflow-x: auto; font-size: .85rem; }
"""


class _Table(NamedTuple):
    """The rows of one metric; what their settings share is said once."""

    metric: str
    shared: str
    rows: list[tuple[str, str, str, str]]


_HEADER = ("setting", "value", "interval", "n")


def build(out: Path, documents: Mapping[str, str]) -> Path:
    """Write `report.html` and `report.md` from the newest finished run of every experiment.

    The page holds everything it shows: no script, no address outside it, figures inside. A claim that did not
    hold stays on it, and so does an experiment that has not been run.

    Args:
        out: the folder of all results, where both files are written.
        documents: experiment -> its docstring; the first paragraph is the question.

    Returns:
        The path of the HTML page.

    Raises:
        InputError: no finished run is there, or a figure cannot be read.
        WriteError: the folder cannot be written.
    """
    out = Path(out)
    runs, unfinished = finished_runs(out)
    done = {run.experiment for run in runs}
    open_ends = [f"{name} has not been run." for name in sorted(set(documents) - done)]
    open_ends += [f"{sentence[:1].upper()}{sentence[1:]}." for sentence in unfinished]
    questions = {run.experiment: _question(documents.get(run.experiment, "")) for run in runs}
    page = _html(runs, questions, open_ends)
    write_atomically(out / "report.md", _markdown(out, runs, questions, open_ends).encode())
    write_atomically(out / "report.html", page.encode())
    return out / "report.html"


def _html(runs: Sequence[FinishedRun], questions: Mapping[str, str], open_ends: Sequence[str]) -> str:
    summary = [
        f'<tr><td><a href="#{escape(run.experiment)}">{escape(run.experiment)}</a></td>'
        f"<td>{_held(run)}</td><td>{escape(_seconds(run))}</td></tr>"
        for run in runs
    ]
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">",
        f"<title>{_TITLE}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{_TITLE}</h1>",
        '<div class="wide"><table><thead><tr><th scope="col">experiment</th><th scope="col">claims held</th>'
        '<th scope="col">time</th></tr></thead><tbody>',
        *summary,
        "</tbody></table></div>",
    ]
    if open_ends:
        items = "".join(f"<li>{escape(sentence)}</li>" for sentence in open_ends)
        parts.append(f'<h3>Not in this report</h3>\n<ul class="soft">{items}</ul>')
    parts += [_html_section(run, questions[run.experiment]) for run in runs]
    return "\n".join([*parts, "</body>\n</html>\n"])


def _html_section(run: FinishedRun, question: str) -> str:
    claims = "\n".join(
        f'<li><span class="{"held" if held else "failed"}">{_verdict(held)}</span> {escape(claim)}</li>'
        for claim, held in run.claims.items()
    )
    parts = [f'<section id="{escape(run.experiment)}">\n<h2>{escape(run.experiment)}</h2>']
    parts.append(f"<p>{escape(question)}</p>")
    parts.append(f'<ul class="claims">\n{claims}\n</ul>' if claims else '<p class="soft">No claims.</p>')
    for name, path in run.figures.items():
        alt = escape(_alt(run, name))
        data = base64.b64encode(_picture(path)).decode()
        parts.append(
            f'<figure><img alt="{alt}" src="data:image/png;base64,{data}">'
            f"<figcaption>{escape(_words(name))}</figcaption></figure>"
        )
    parts += [_html_table(table) for table in _tables(run)]
    facts = " · ".join(escape(f"{key} {value}") for key, value in _facts(run))
    config = escape(json.dumps(run.config, indent=2, ensure_ascii=False))
    parts.append(f'<p class="soft">{facts}</p>')
    parts.append(f"<details><summary>Config</summary><pre>{config}</pre></details>\n</section>")
    return "\n".join(parts)


def _html_table(table: _Table) -> str:
    name = escape(_words(table.metric)) + (f" ({escape(table.shared)})" if table.shared else "")
    head = "".join(f'<th scope="col">{title}</th>' for title in _HEADER)
    body = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
    shown = (
        f'<div class="wide"><table><caption>{name}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )
    if len(table.rows) <= _OPEN_ROWS:
        return shown
    return f"<details><summary>{name}: {len(table.rows)} numbers</summary>{shown}</details>"


def _markdown(out: Path, runs: Sequence[FinishedRun], questions: Mapping[str, str], open_ends: Sequence[str]) -> str:
    parts = [f"# {_TITLE}", _md_table(("experiment", "claims held", "time"), [_summary(run) for run in runs])]
    if open_ends:
        parts += ["Not in this report:", "\n".join(f"- {_md(sentence)}" for sentence in open_ends)]
    for run in runs:
        parts += [f"## {_md(run.experiment)}", _md(questions[run.experiment])]
        claims = "\n".join(f"- **{_verdict(held)}** {_md(claim)}" for claim, held in run.claims.items())
        parts.append(claims or "No claims.")
        for name, path in run.figures.items():
            parts.append(f"![{_md(_alt(run, name))}]({path.relative_to(out).as_posix()})")
        for table in _tables(run):
            name = _words(table.metric) + (f" ({table.shared})" if table.shared else "")
            # Block HTML, which Markdown passes through; the empty lines let the table inside be read again.
            folded = len(table.rows) > _OPEN_ROWS
            parts.append(f"<details><summary>{escape(name)}</summary>" if folded else f"**{_md(name)}**")
            parts += [_md_table(_HEADER, table.rows), *(["</details>"] if folded else [])]
        parts.append(" · ".join(_md(f"{key} {value}") for key, value in _facts(run)))
        parts.append("Config: " + _md(json.dumps(run.config, ensure_ascii=False)))
    return "\n\n".join(parts) + "\n"


def _md_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(_md(cell) for cell in row) + " |" for row in (header, *rows)]
    return "\n".join([lines[0], "|" + " --- |" * len(header), *lines[1:]])


def _md(text: str) -> str:
    """Text that Markdown shows as it is: its signs escaped, on one line."""
    line = re.sub(r"\s+", " ", text).strip()
    line = re.sub(r"([\\`*\[\]|~$])", r"\\\1", line)
    line = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", line)  # inside a word an underscore means nothing
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # At the start of a line these would open a heading or a list; the last of them becomes an entity.
    opening = re.match(r"(?:#{1,6}|[-+])(?=\s|$)|\d+[.)](?=\s|$)", line)
    if opening is None:
        return line
    last = opening.end() - 1
    return f"{line[:last]}&#{ord(line[last])};{line[last + 1 :]}"


def _tables(run: FinishedRun) -> list[_Table]:
    tables = []
    for metric in dict.fromkeys(row.metric for row in run.rows):
        rows = [row for row in run.rows if row.metric == metric]
        first = rows[0].setting
        shared = {
            key: value
            for key, value in first.items()
            if len(rows) > 1 and all(key in row.setting and row.setting[key] == value for row in rows)
        }
        cells = [
            (
                _setting({key: value for key, value in row.setting.items() if key not in shared}) or "–",
                number(row.value),
                _interval(row.low, row.high),
                str(row.n),
            )
            for row in rows
        ]
        tables.append(_Table(metric, _setting(shared), cells))
    return tables


def number(value: float) -> str:
    """Write a number for readers: whole numbers below a million in full, four digits otherwise.

    Just below 1 the distance from 1 is written instead, which is where a crossover fraction says something.

    Args:
        value: any finite number.

    Returns:
        The text.
    """
    if value == int(value) and abs(value) < 1_000_000:
        return str(int(value))
    if 0.999 < value < 1:
        return f"1 - {1 - value:.3g}"
    return f"{value:.4g}"


def _interval(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return "–"
    return f"[{'–' if low is None else number(low)}, {'–' if high is None else number(high)}]"


def _setting(setting: Mapping[str, Any]) -> str:
    shown = {key: number(value) if isinstance(value, float) else str(value) for key, value in setting.items()}
    return ", ".join(f"{key}={value}" for key, value in shown.items())


def _facts(run: FinishedRun) -> list[tuple[str, str]]:
    facts = [("run", run.digest), ("time", _seconds(run)), ("device", run.meta.get("device", "unknown"))]
    facts.append(("code", run.meta.get("code_version", "unknown")))
    return [(key, str(value)) for key, value in facts]


def _seconds(run: FinishedRun) -> str:
    seconds = run.meta.get("seconds")
    if not isinstance(seconds, int | float) or not math.isfinite(seconds):
        return "unknown"
    if seconds < 100:
        told = f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    else:
        told = f"{seconds // 60:.0f} min {seconds % 60:02.0f} s"
    return f"{told} since it was resumed" if run.meta.get("resumed") else told


def _summary(run: FinishedRun) -> tuple[str, str, str]:
    return run.experiment, _held(run), _seconds(run)


def _held(run: FinishedRun) -> str:
    return f"{sum(run.claims.values())}/{len(run.claims)}"


def _verdict(held: bool) -> str:
    return "held" if held else "did not hold"


def _question(document: str) -> str:
    paragraph = inspect.cleandoc(document).split("\n\n")[0]
    return " ".join(paragraph.split()) or "No description."


def _alt(run: FinishedRun, name: str) -> str:
    described = run.meta.get("figures", {})
    words = described.get(name, "") if isinstance(described, dict) else ""
    return f"{_words(name)}, of {run.experiment}" + (f": {words}" if words else "")


def _words(name: str) -> str:
    return name.replace("_", " ")


def _picture(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); run the experiment again") from error
