"""Whom a search is let loose on, to see at which budget memories come back and when a control does, too."""

from collections.abc import Iterator

from difflab.audits.worlds import Targets, World, random_network
from difflab.diffusion.defended import Defended, undefended
from difflab.diffusion.defenses.nemo import Nemo, nemo
from difflab.diffusion.defenses.wanda import Wanda, wanda
from difflab.runs.rows import Row

PUBLISHED = {
    "repeated, nemo": {0: 0.20, 1: 0.73, 10: 0.79, 25: 0.94, 50: 0.99},
    "repeated, wanda": {0: 0.0, 1: 0.02, 10: 0.18, 25: 0.49, 50: 0.73},
    "never": {0: 0.0, 1: 0.0, 10: 0.0, 25: 0.0, 50: 0.02},
}
"""Memorized rates of SD 1.4 by steps of the search: Finding Dori, arXiv 2507.16880."""
MEMORIES = ("repeated, nemo", "repeated, wanda")
CONTROLS = ("once", "never", "random network", "oracle")


def searched_models(world: World, seed: int, of_nemo: Nemo, of_wanda: Wanda) -> dict[str, tuple[Targets, Defended]]:
    """By what a curve is called: pictures, and the model that is searched for them.

    Args:
        world: the model, its pictures and its oracle, if there is one.
        seed: of the defenses.
        of_nemo, of_wanda: how the memorized pictures are pruned.
    """
    pipeline, repeated = world.pipeline, world.groups["repeated"]
    captions = repeated.captions
    plain = undefended(pipeline, captions)
    pruned = nemo(pipeline, captions, world.unseen, seed, of_nemo)
    sparse = wanda(pipeline, captions, world.unseen, seed, of_wanda)
    cells = {"repeated": (repeated, plain), "repeated, nemo": (repeated, pruned), "repeated, wanda": (repeated, sparse)}
    cells |= {name: (group, plain) for name, group in world.groups.items() if name != "repeated"}
    cells |= {"random network": (repeated, undefended(random_network(pipeline), captions))}
    return cells | ({"oracle": (repeated, undefended(world.oracle, captions))} if world.oracle else {})


def published_rows() -> Iterator[Row]:
    """published_fraction by curve and steps of the search."""
    for curve, by_steps in PUBLISHED.items():
        for k, value in by_steps.items():
            yield Row("published_fraction", value, None, None, 0, {"curve": curve, "attack_steps": k})
