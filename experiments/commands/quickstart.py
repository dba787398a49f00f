"""difflab quickstart: four small experiments, then the page, which shows them beside the record."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from difflab.runs import registry
from difflab.runs.answers import answered
from difflab.runs.execute import execute
from experiments.commands.report import write

QUICKSTART = ("crossover_trained", "pipeline_audited", "clip_dejavu", "text_extracted")


def main(arguments: Sequence[str]) -> None:
    """Four experiments, the page, and what each found, in a sentence."""
    parser = argparse.ArgumentParser(prog="difflab quickstart", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder of the results")
    out = parser.parse_args(arguments).out
    modules = {name: registry.load(name) for name in QUICKSTART}
    runs = [execute(name, module, module.QUICK, out) for name, module in modules.items()]
    print(write(out))
    for run in runs:
        answer = answered(run)
        print(f"{run.experiment}: {answer.sentence}{f' Published: {answer.published}.' if answer.published else ''}")
