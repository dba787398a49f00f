"""Figure of the entropy-memorization law: pools of texts by entropy and score, without and with gibberish."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from difflab.runs.figures import COLOURS, new_figure
from difflab.statistics.entropy_memorization import line


def pools_figure(pools: Mapping[str, Float[np.ndarray, "levels 2"]]) -> Figure:
    """A panel for each population of texts: every pool's score over its entropy, and a line.

    Args:
        pools: of one world: by population entropies in bits, and scores.
    """
    figure, panels = new_figure("Pools of texts of one score", "entropy of the pool in bits", "edits", len(pools))
    for ax, (population, points) in zip(panels, pools.items(), strict=True):
        ax.plot(points[:, 0], points[:, 1], "o", color=COLOURS["trained"])
        if found := line(points[:, 0], points[:, 1]):
            ends = np.array([points[:, 0].min(), points[:, 0].max()])
            ax.plot(ends, found.slope.value * ends + found.intercept.value, color=COLOURS["exact"], linewidth=1)
        ax.set_title(population)
    return figure
