"""Does somebody's own pipeline draw copies of its training pictures?

The audit of `difflab audit` and `difflab.audit` as an experiment, for the page and the record: without flags it asks
the shipped pipeline, whose truth is planted, about its own pictures (copies as in arXiv 2507.16880). Cost on two cores:
about 4 minutes.
"""

from difflab.audits.audit import SMOKE, Config, claims, figures, run

__all__ = ["SMOKE", "Config", "claims", "figures", "run"]
