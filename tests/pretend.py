"""An experiment that only counts, slowly, with a checkpoint after every step: what sweeps are tested on."""

import os
import sys
import time
from pathlib import Path

import numpy as np

from difflab.errors import InputError
from difflab.runs.executors import Job
from difflab.runs.locks import held
from difflab.runs.results import digest, open_run
from difflab.runs.rows import Row

STEPS = 5


def job(out, n, pause=0.0):
    """One run of the sweep; the pause is no part of its config."""
    return Job(("run", "counted", str(out), str(n), str(pause)), out / "counted" / digest("counted", {"n": n}))


def work(job):
    """Run a job in this process."""
    return main(job.arguments)


def main(arguments):
    """Count to STEPS; every step is noted in a file that outlives the run's checkpoints."""
    _, name, out, n, pause = arguments
    run = open_run(Path(out), name, {"n": int(n)})
    with held(run.folder):
        if run.finished:
            return 0
        saved = run.load("count")
        total = 0 if saved is None else int(saved["total"])
        for i in range(0 if saved is None else int(saved["done"]), STEPS):
            time.sleep(float(pause))
            total += int(n) * i
            with (run.folder / "steps.txt").open("a") as file:
                file.write(f"{os.getpid()} {i} {os.getppid()}\n")
            run.save("count", {"done": np.array(i + 1), "total": np.array(total), "ballast": np.zeros(1000)})
        run.finish([Row("total_count", float(total), None, None, STEPS, {"n": int(n)})], [], {}, {}, {"seconds": 1.0})
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except InputError as mistake:
        print(mistake, file=sys.stderr)
        sys.exit(2)
