"""Pictures that are a control of others: none may be one of these, in whatever file it lies."""

from difflab.datasets.captioned import Captioned, in_both, some_of
from difflab.datasets.near_copies import near_copies
from difflab.errors import require
from difflab.runs.rows import Note


def apart_from(targets: Captioned, controls: Captioned, flags: tuple[str, str]) -> tuple[Captioned, list[Note]]:
    """Controls without near-copies of the targets, and a note where there were any.

    Args:
        targets: pictures that a model was trained on.
        controls: pictures that it was not.
        flags: what both are called.

    Raises:
        InputError: a picture is in both, pixel by pixel, or every control is a near-copy of a target.
    """
    one, other = flags
    both = in_both(targets, controls)
    require(
        not both,
        f"{len(both)} pictures of {one} lie in {other}, too ({' and '.join(both[0]) if both else ''}); take them out of"
        " one.",
    )
    near = near_copies(controls.pictures, targets.pictures)
    if not near:
        return controls, []
    require(len(near) < len(controls.names), f"every picture of {other} is like one of {one}; give other ones.")
    first = min(near)
    pair = f"{controls.names[first]} of {targets.names[near[first]]}"
    told = f"{len(near)} pictures of {other} are left out: they are near-copies of pictures of {one} ({pair})."
    return some_of(controls, [i for i in range(len(controls.names)) if i not in near]), [Note(told)]
