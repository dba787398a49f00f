"""Triggers cut down: found with few free rows, rounded to few bits, handed to other models; what they draw, in rows."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch

from difflab.audits.searches import attacked
from difflab.audits.worlds import OnWorld, Targets, World
from difflab.diffusion.attacks.dori import Dori
from difflab.diffusion.defended import Defended, undefended
from difflab.diffusion.trigger_information import drawn_from, quantised, turned
from difflab.randomness import resampling
from difflab.runs.rows import Row
from difflab.statistics.intervals import bootstrap


def cut_down(
    config: OnWorld,
    world: World,
    met: tuple[Targets, Defended],
    search: Dori,
    bits: Sequence[int],
    transfer: bool,
) -> dict[str, np.ndarray]:
    """Triggers of targets; where all rows are free they are rounded, and perhaps handed to other models.

    Args:
        config: how the world is asked.
        world: the model, its oracle and the judge.
        met: the targets, and the model under which they are searched for.
        search: how; its `rows` are free, None all of them.
        bits: to which triggers of free rows are rounded, for each number.
        transfer: whether they are handed to the model without a defense, to the oracle, and on in another order.

    Returns:
        As `difflab.audits.searches.attacked`; what is drawn of rounded ones under "bits_B", of handed ones "to_MODEL".
    """
    targets, defended = met
    found = attacked(config, world.judge, defended, targets, search)
    if search.rows is not None:
        return found
    judge, behind, triggers = world.judge, defended.of(targets.captions), torch.from_numpy(found["found"])
    found |= {f"bits_{few}": drawn_from(judge, behind, quantised(triggers, few)) for few in bits}
    if transfer:
        for name, model in {"original": world.pipeline, "oracle": world.oracle}.items():
            if model is not None:
                found[f"to_{name}"] = drawn_from(judge, undefended(model, behind.embeddings), triggers)
        found["to_reversed"] = drawn_from(judge, behind, turned(triggers))
    return found


def cut_rows(
    world: World, targets: Targets, found: Mapping[str, np.ndarray], search: Dori, bits: Sequence[int], target: str
) -> Iterator[Row]:
    """Rates of triggers as found, rounded and handed on; what the search gained.

    Args:
        world: the judge.
        targets: what was searched for.
        found: by `cut_down`.
        search: how.
        bits: to which triggers of free rows were rounded.
        target: what rows call the targets.
    """
    before = found["loss"][0]
    for k, steps in enumerate(search.keep):
        setting: dict[str, str | int] = {"target": target, "attack_steps": steps}
        free_rows: dict[str, str | int] = {"kept": str(search.rows or "all")}
        drawn = [("rows", found["drawn"][1 + k], free_rows)]
        if search.rows is None:
            drawn += [("bits", found[f"bits_{few}"][k], {"bits": few}) for few in bits]
            drawn += [("transfer", found[name][k], {"to": name[3:]}) for name in found if name.startswith("to_")]
        for cut, pictures, more in drawn:
            here = setting | {"cut": cut} | more
            yield from world.judge.rows(pictures, targets.pictures, targets.captions, here)
        after = found["loss"][1 + k]
        gap = bootstrap(1 - after / before, np.median, resampling())
        yield Row("gained_difference", *gap, len(before), setting | free_rows)
