"""Does a defense of yours hold when its prompts are searched?

The stress test of `difflab stress` and `difflab.stress` as an experiment, for the page and the record: without flags it
attacks NeMo on the shipped pipeline by Dori (arXiv 2507.16880). Cost on two cores: not timed by default, 5 minutes on
one core with 6 targets and 2 seeds.
"""

from difflab.audits.stress import SMOKE, Config, claims, figures, run

__all__ = ["SMOKE", "Config", "claims", "figures", "run"]
