"""Figures of pictures that are copied in part: maps of where, and families that share a layout."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure

from difflab.runs.figures import picture_strips


def maps_figure(artefacts: Mapping[str, np.ndarray]) -> Figure:
    """A member, two drawn pictures, the true mask, and both maps, for every family."""
    strips = []
    for family, mask in enumerate(artefacts["truth"]):
        greys = [mask.astype(np.float64), artefacts["map_bright"][family], artefacts["map_prompts"][family]]
        scaled = [(grey - grey.min()) / max(float(np.ptp(grey)), 1e-12) for grey in greys]
        shown = [np.repeat(np.rint(grey * 255).astype(np.uint8)[..., None], 3, axis=-1) for grey in scaled]
        strips.append(np.stack([artefacts["members"][family], *artefacts["drawn"][family][:2], *shown]))
    title = "Training picture, two drawn, true mask, bright ending, difference"
    return picture_strips(np.stack(strips), [f"family {i}" for i in range(len(strips))], title, a_line=2)


def layouts_figure(
    members: UInt8[np.ndarray, "n side side 3"], drawn: UInt8[np.ndarray, "n seeds side side 3"]
) -> Figure:
    """A member of every family, and what its caption draws."""
    strips = np.concatenate([members[:, None], drawn[:, :4]], axis=1)
    title = "Fixed layout, free colours. Left: training picture. Right: drawn."
    return picture_strips(strips, [f"family {i}" for i in range(len(strips))], title, a_line=2)
