"""A board as one JSON file in the shape of lm-evaluation-harness's results, written and checked.

As there (version 0.4): `results` holds for each task the numbers under "metric,filter", with "metric_stderr,filter"
beside them, and `configs`, `versions`, `n-samples`, `higher_is_better`, `task_hashes`, `config`, `git_hash` and `date`
say what they rest on. A task is a defense, or the oracle; a filter is an attack with its steps or its variant.

Differs: from the harness's files in "metric_n", "metric_low", "metric_high" (the interval of 95 %, which over several
worlds holds how these differ; the standard error does not) and "metric_worlds_sd" of each number, and in `checksum`.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from difflab.audits.board import ORACLE, UNDEFENDED, shares, trigger
from difflab.audits.board_rule import RULE, is_cured, is_cured_where_fair
from difflab.errors import InputError, require
from difflab.files import json_bytes, read_text, sha256, write_atomically
from difflab.runs.result import Result
from difflab.runs.rows import Row, select

TARGETS, TWINS, COST = "memorized_fraction", "twin_fraction", "held_out_ratio"
PLAIN = "undefended_fraction"
"""Of the targets, from their prompts without a defense; beside the oracle."""
CURED, CURED_WHERE_FAIR = "cured,none", "cured_where_fair,none"
NO_ERROR = "N/A"
"""The standard error of what is no mean, as the harness writes it."""
_KEYS: dict[str, type | tuple[type, ...]] = {
    "results": dict,
    "group_subtasks": dict,
    "configs": dict,
    "versions": dict,
    "higher_is_better": dict,
    "n-samples": dict,
    "config": dict,
    "git_hash": str,
    "date": (int, float),
    "difflab_version": str,
    "packages": dict,
    "task_hashes": dict,
    "rule": str,
    "notes": list,
    "checksum": str,
}
_BY_TASK = ("group_subtasks", "configs", "versions", "higher_is_better", "n-samples", "task_hashes")
_PARTS = ("_stderr", "_n", "_low", "_high", "_worlds_sd")
_TOLERANCE = 1e-6


def document(board: Result) -> dict[str, Any]:
    """What the file holds.

    Args:
        board: what `difflab.board` returned.
    """
    entrants, settings, worlds = (board.config[name] for name in ("entrants", "settings", "worlds"))
    names = [entrant["name"] for entrant in entrants]
    results = {name: dict(_entries(board.rows, name)) for name in names}
    oracle = _values(results[ORACLE], TARGETS)
    for name in names:
        values = _values(results[name], TARGETS)
        results[name] |= {CURED: is_cured(values, oracle), CURED_WHERE_FAIR: is_cured_where_fair(values, oracle)}
    configs = {
        entrant["name"]: {
            "task": entrant["name"],
            "defense": entrant["source"],
            "defense_sha256": entrant["checksum"],
            "runs": list(entrant["runs"]),
            "worlds": worlds,
        }
        for entrant in entrants
    }
    per_task = {name: max(row.n for row in shares(board.rows, name).values()) for name in names}
    code, _, commit = str(board.meta["code_version"]).partition("+")
    found = {
        "results": results,
        "group_subtasks": {name: [] for name in names},
        "configs": configs,
        "versions": dict.fromkeys(names, settings["version"]),
        "higher_is_better": {name: {TARGETS: False, TWINS: False, COST: False} for name in names},
        "n-samples": {name: {"original": n, "effective": n} for name, n in per_task.items()},
        "config": {"model": "difflab worlds", "model_args": settings, "limit": settings["targets"]},
        "git_hash": commit,
        "date": datetime.fromisoformat(board.meta["finished_at"]).timestamp(),
        "difflab_version": code,
        "packages": board.meta["packages"],
        "task_hashes": {name: _hash([results[name], configs[name]]) for name in names},
        "rule": RULE,
        "notes": board.meta.get("notes", []),
    }
    return found | {"checksum": _hash(found)}


def write(board: Result, path: Path) -> dict[str, Any]:
    """Write the file and return what it holds.

    Raises:
        WriteError: it can't be written.
    """
    found = document(board)
    write_atomically(path, json_bytes(found))
    return found


def read(path: Path) -> dict[str, Any]:
    """Read a file that `write` made, or anybody's in this shape, and check it.

    Raises:
        InputError: with the first thing that is wrong with it.
    """
    require(path.is_file(), f"there is no file {path}.")
    try:
        found = json.loads(read_text(path))
        # Half of a pair of surrogates can be escaped in JSON and stands for no character.
        json.dumps(found, ensure_ascii=False).encode()
    except ValueError as error:
        raise InputError(f"{path} is no JSON: {error}.") from error
    wrong = next(mistakes(found), None)
    require(wrong is None, f"{path} is no board: {wrong}.")
    return found


def mistakes(found: Any) -> Iterator[str]:
    """What is wrong with a document, in the order in which a reader would want to mend it."""
    if not isinstance(found, dict):
        yield "it is not an object with results"
        return
    faults = [*_shape(found)]
    yield from faults
    if faults:
        return
    results = found["results"]
    for name, entries in results.items():
        yield from _numbers(name, entries, found["n-samples"][name]["effective"])
    oracle = _values(results[ORACLE], TARGETS)
    for name, entries in results.items():
        yield from _comparable(name, entries, oracle)
    for name, entries in results.items():
        if found["task_hashes"][name] != _hash([entries, found["configs"][name]]):
            yield f"task_hashes: that of {name} is not of its results and its config"
    if found["checksum"] != _hash({key: value for key, value in found.items() if key != "checksum"}):
        yield "checksum is not that of the rest of the file"


def _shape(found: Mapping[str, Any]) -> Iterator[str]:
    """Keys and types."""
    missing = [key for key in _KEYS if key not in found]
    if missing:
        yield f"{missing[0]} is missing"
        return
    for key, kind in _KEYS.items():
        if not isinstance(found[key], kind) or isinstance(found[key], bool):
            yield f"{key} is a {type(found[key]).__name__}"
            return
    results = found["results"]
    if ORACLE not in results or len(results) < 2:
        yield f"results need {ORACLE} and a defense"
    for key in _BY_TASK:
        for name in results.keys() ^ found[key].keys():
            yield f"results and {key} do not both have {name}"
    if not found["date"] > 0 or not math.isfinite(found["date"]):
        yield f"date is {found['date']}; it counts seconds since 1970"
    if found["rule"] != RULE:
        yield f"its rule is not this version's: {RULE.removesuffix('.')}"
    for name, entries in results.items():
        yield from _shape_of_task(name, entries, {key: found[key].get(name) for key in _BY_TASK})


def _shape_of_task(name: str, entries: Any, told: Mapping[str, Any]) -> Iterator[str]:
    samples, config = told["n-samples"], told["configs"]
    if not isinstance(entries, dict) or not all(key == "alias" or key.count(",") == 1 for key in entries):
        yield f"results of {name}: keys are 'metric,filter'"
    elif not all(isinstance(entries.get(key), bool) for key in (CURED, CURED_WHERE_FAIR)):
        yield f"results of {name}: {CURED} and {CURED_WHERE_FAIR} are true or false"
    elif not _values(entries, TARGETS):
        yield f"results of {name}: there is no {TARGETS}"
    if not isinstance(samples, dict) or not all(_is_count(samples.get(key)) for key in ("original", "effective")):
        yield f"n-samples of {name}: original and effective are counts of at least 2"
    elif samples["effective"] > samples["original"]:
        yield f"n-samples of {name}: effective is above original"
    if type(told["versions"]) is not int or told["versions"] < 1:
        yield f"versions: that of {name} is {told['versions']!r}; it is a whole number of at least 1"
    if not isinstance(told["higher_is_better"], dict) or told["higher_is_better"].get(TARGETS) is not False:
        yield f"higher_is_better of {name}: {TARGETS} is better where it is lower"
    worlds = config.get("worlds") if isinstance(config, dict) else None
    runs = config.get("runs") if isinstance(config, dict) else None
    if not isinstance(worlds, list) or not worlds or not isinstance(runs, list) or len(runs) != len(worlds):
        yield f"configs of {name}: it needs worlds, and a run for each"
    elif not all(isinstance(w, dict) and {"seed", "model", "oracle"} <= w.keys() for w in worlds):
        yield f"configs of {name}: a world has seed, model and oracle"


def _numbers(name: str, entries: Mapping[str, Any], n: int) -> Iterator[str]:
    """Every number of a task: in range, with a count, a standard error and an interval that fit it."""
    for key, value in entries.items():
        metric, _, trigger_name = key.partition(",")
        if key == "alias" or metric in ("cured", "cured_where_fair") or metric.endswith(_PARTS):
            if metric.endswith(_PARTS) and f"{_whole(metric)},{trigger_name}" not in entries:
                yield f"{name}: {key} belongs to no number"
            continue
        where = f"{name}, {key}"
        if metric not in (TARGETS, TWINS, COST, PLAIN):
            yield f"{where}: there is no such metric"
            continue
        count, error, low, high = _beside(entries, metric, trigger_name)
        if not _is_number(value) or value < 0 or (metric != COST and value > 1):
            yield f"{where}: {value!r} is not in [0, {'infinity' if metric == COST else '1'}]"
        elif not _is_count(count):
            yield f"{where}: n is {count!r}; it is a count of at least 2"
        elif not (_is_number(low) and _is_number(high) and low - _TOLERANCE <= value <= high + _TOLERANCE):
            yield f"{where}: {value} is not in its interval [{low}, {high}]"
        elif metric == COST:
            if error != NO_ERROR:
                yield f"{where}: stderr is {error!r}; that of a ratio is {NO_ERROR!r}"
        elif low < -_TOLERANCE or high > 1 + _TOLERANCE:
            yield f"{where}: the interval [{low}, {high}] leaves [0, 1]"
        elif count != n:
            yield f"{where}: n is {count}, but n-samples says {n}"
        elif abs(value * count - round(value * count)) > _TOLERANCE * count:
            yield f"{where}: {value} is no share of {count}"
        elif not _is_number(error) or abs(error - standard_error(value, count)) > _TOLERANCE:
            yield f"{where}: stderr is {error!r}; that of {value:g} of {count} is {standard_error(value, count):g}"


def _comparable(name: str, entries: Mapping[str, Any], oracle: Mapping[str, float]) -> Iterator[str]:
    """The same attacks as on the oracle, twins where it is a defense, and a verdict that follows."""
    values, twins = _values(entries, TARGETS), _values(entries, TWINS)
    for missing in sorted(oracle.keys() ^ values.keys()):
        yield f"{name}: {missing} was not tried on both {name} and the {ORACLE}"
        return
    if name != ORACLE and twins.keys() != values.keys():
        yield f"{name}: {min(twins.keys() ^ values.keys())} was not tried on both targets and twins"
    for key, verdict in ((CURED, is_cured), (CURED_WHERE_FAIR, is_cured_where_fair)):
        if entries[key] != verdict(values, oracle):
            yield f"{name}: {key} is {str(entries[key]).lower()}, which does not follow from its entries"


def standard_error(share: float, n: int) -> float:
    """Of a share of n independent targets, as the harness takes it: the sample's deviation over the root of n."""
    return math.sqrt(max(0.0, share * (1 - share)) / (n - 1))


def _entries(rows: Sequence[Row], name: str) -> Iterator[tuple[str, Any]]:
    """The numbers of one defense."""
    yield "alias", name
    for metric, target in ((TARGETS, "repeated"), (TWINS, "never")):
        for row in shares(rows, name, target).values():
            yield from _entry(metric, trigger(row), row, standard_error(row.value, row.n))
    for row in shares(rows, UNDEFENDED).values() if name == ORACLE else ():
        yield from _entry(PLAIN, trigger(row), row, standard_error(row.value, row.n))
    for row in select(rows, COST, defense=name):
        yield from _entry(COST, row.setting["captions"], row, NO_ERROR)


def _entry(metric: str, name: str, row: Row, error: float | str) -> Iterator[tuple[str, Any]]:
    value, low, high = row.interval
    yield f"{metric},{name}", value
    yield f"{metric}_stderr,{name}", error
    yield f"{metric}_n,{name}", row.n
    yield f"{metric}_low,{name}", low
    yield f"{metric}_high,{name}", high
    if row.worlds_sd is not None:
        yield f"{metric}_worlds_sd,{name}", row.worlds_sd


def _whole(metric: str) -> str:
    return next(metric.removesuffix(part) for part in _PARTS if metric.endswith(part))


def _values(entries: Mapping[str, Any], metric: str) -> dict[str, float]:
    return {key.partition(",")[2]: value for key, value in entries.items() if key.startswith(f"{metric},")}


def _hash(value: Any) -> str:
    return sha256(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())


def _beside(entries: Mapping[str, Any], metric: str, name: str) -> tuple[Any, ...]:
    """Count, standard error and interval of a number; None where one is missing."""
    return tuple(entries.get(f"{metric}_{part},{name}") for part in ("n", "stderr", "low", "high"))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 2
