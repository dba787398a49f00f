"""Where a planted picture shows something, and where it is only ground."""

import numpy as np
from jaxtyping import Bool, Int

from synthetic.data.scenes import pictures
from synthetic.plan import Planted


def foreground(planted: Planted, index: Int[np.ndarray, " m"]) -> Bool[np.ndarray, "m side side"]:
    """Pixels that objects changed: a scene's differ from the same scene without any, an emoji's from white.

    Args:
        planted: whose pictures they are.
        index: places in its list, of no picture of which only a part is fixed.
    """
    shown = planted.pictures(index)
    ground, scenes = np.full_like(shown, 255), planted.glyph[index] < 0
    bare = planted.shown(index[scenes])
    ground[scenes] = pictures(bare._replace(shown=np.zeros_like(bare.shown)), planted.plan.side)
    return (shown != ground).any(axis=-1)
