"""difflab quickstart: crossover, detection and déjà vu at a small honest size, then the page."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from difflab.runs import registry
from difflab.runs.execute import execute
from difflab.runs.rows import Row, select
from experiments.commands.report import write

QUICKSTART = ("crossover_predicted", "crossover_trained", "templates_trained", "memorization_detected", "clip_dejavu")


def main(arguments: Sequence[str]) -> None:
    """Five experiments, the page, and what was predicted and found, in five lines."""
    parser = argparse.ArgumentParser(prog="difflab quickstart", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder of the results")
    out = parser.parse_args(arguments).out
    modules = {name: registry.load(name) for name in QUICKSTART}
    rows = {name: execute(name, module, module.QUICK, out).rows for name, module in modules.items()}
    page = write(out)

    def told(row: Row) -> str:
        value, low, high = row.interval
        return f"{value:.3f}" if low == high else f"{value:.3f} [{low:.3f}, {high:.3f}]"

    def comparison(name: str, **setting: float) -> str:
        exact = select(rows[name], "crossover_fraction", prediction="exact losses", **setting)
        found = select(rows[name], "transition_fraction", point="middle", **setting)
        return f"predicted {told(exact[0])}, found {told(found[0]) if found else 'no transition'}"

    predicted = select(rows[QUICKSTART[0]], "crossover_fraction", variance=1.0, parameterization="x0")
    variances = sorted({row.setting["variance"] for row in select(rows[QUICKSTART[1]], "memorized_fraction")})
    print(page)
    print("M/N for variance 1: " + "; ".join(f"{row.setting['prediction']} {told(row)}" for row in predicted))
    print("clusters: " + "; ".join(f"variance {v:g}: {comparison(QUICKSTART[1], variance=v)}" for v in variances))
    print(f"coloured digits: {comparison(QUICKSTART[2])}")
    found = select(rows[QUICKSTART[3]], "auc", seeds=2, copies="64 and more", against="held_out")
    named = {row.setting["detector"].replace("_", " "): told(row) for row in found}
    detectors = "; ".join(f"{name} {area}" for name, area in named.items())
    print(f"memorized captions against unseen ones, area under the curve: {detectors}")
    areas = select(rows[QUICKSTART[4]], "hidden_auc", models="member and non-member")
    revealed = {row.setting["of"]: told(row) for row in areas}
    print(f"objects that a caption hides, AUC: member {revealed['target']}, non-member {revealed['reference']}")
