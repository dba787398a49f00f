"""Does a defense of yours hold when its prompts are searched?

The stress test of `difflab stress` and `difflab.stress` as an experiment, for the page and the record: without flags it
attacks NeMo on the shipped pipeline by Dori (arXiv 2507.16880). Cost on two cores: not timed by default, 5 minutes on
one core with 6 targets and 2 seeds.
"""

from difflab.audits.stress import SMOKE, Config, claims, figures, run
from difflab.runs.answers import Answer
from difflab.runs.numbers import Recorded

__all__ = ["SMOKE", "Config", "answer", "claims", "figures", "run"]


def answer(run: Recorded) -> Answer:
    """The pictures before the defense, behind it, and after the longest search; the same search for the controls."""
    here = {"target": "repeated", "measure": "pixel", "seeds": "median"}
    told = {
        state: run.count("memorized_fraction", state=state, attack="nothing", **here)
        for state in ("undefended", "defended")
    }
    steps = max(row.setting["attack_steps"] for row in run.rows("memorized_fraction", state="defended", attack="dori"))
    end = {"state": "defended", "attack": "dori", "attack_steps": steps}
    controls = [
        row.value
        for row in run.rows("memorized_fraction", measure="pixel", seeds="median", **end)
        if row.setting["target"] != "repeated"
    ]
    return Answer(
        f"Without the defense {told['undefended']} pictures are drawn, with it {told['defended']}, after a search of "
        f"{steps} steps {run.count('memorized_fraction', **here, **end)}; of each control at most "
        f"{max(controls, default=0.0):.0%}.",
        "",
        "steps",
        "Does the defended curve rise where the controls still lie at 0?",
    )
