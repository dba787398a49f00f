"""Does somebody's own CLIP model reveal objects of its training pictures that their captions never name?

The test of `difflab dejavu` and `difflab.dejavu` as an experiment, for the page and the record: without flags two small
models are trained on collages and tested as if we knew nothing of them (arXiv 2402.02103). Cost on two cores: 87
seconds.
"""

from difflab.audits.dejavu import SMOKE, Config, claims, figures, run

__all__ = ["SMOKE", "Config", "claims", "figures", "run"]
