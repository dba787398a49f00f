"""Which pictures a membership audit asks about, and which of them are compared: planted ones, or two folders."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from difflab.audits.comparisons import LEAST, Comparison, enough
from difflab.audits.controls import apart_from
from difflab.datasets.captioned import Captioned, digests
from difflab.datasets.pixels import chosen, joined
from difflab.errors import require
from difflab.randomness import stream
from difflab.runs.rows import Note
from synthetic.plan import Planted

_EMOJI = 20
"""One of so many once-seen pictures is an emoji, as of the held-out ones."""


class Items(NamedTuple):
    """What is asked about.

    Attributes:
        pictures, captions: members and non-members.
        comparisons: which against which.
        left_out: why some are not compared.
    """

    pictures: UInt8[np.ndarray, "n h w 3"]
    captions: list[str]
    comparisons: list[Comparison]
    left_out: list[Note]


def of_plan(planted: Planted, most: int, seed: int) -> Items:
    """Repeated pictures by number of copies against their twins and against held-out ones; once-seen against held-out.

    Twins are drawn as the repeated pictures are, held-out pictures as the once-seen ones, a twentieth of both emoji.
    Repeated and held-out pictures are not drawn alike: half of the former are emoji. They are compared as there are few
    twins.

    Args:
        planted: the pictures that the model was trained on, and those that it was not.
        most: of once-seen, of held-out and of twins, at most.
        seed: chooses those.
    """
    random = stream(seed, "members").numpy()

    def some(role: str) -> Int[np.ndarray, " m"]:
        emoji, scenes = (random.permutation(planted.where(role, source=source)) for source in ("emoji", "scene"))
        few = min(most // _EMOJI, len(emoji))
        return np.concatenate([emoji[:few], scenes[: most - few]])

    repeated, once, held_out = planted.where("repeated"), some("unique"), some("held_out")
    twins = random.permutation(planted.where("twin"))[:most]
    index = np.concatenate([repeated, once, twins, held_out])
    role = np.array([planted.listed[i].role for i in index])
    copies = np.array([planted.listed[i].copies for i in index])
    controls = {"twins": role == "twin", "held out": role == "held_out"}
    comparisons = [Comparison("once", "held out", role == "unique", controls["held out"], True)]
    rungs = [int(n) for n in np.unique(copies[role == "repeated"]) if n > 1]
    groups = {f"{n} copies": copies == n for n in rungs} | {"64 and more": copies >= 64}
    comparisons += [
        Comparison(name, against, here, control, against == "twins")
        for name, here in groups.items()
        for against, control in controls.items()
    ]
    return Items(planted.pictures(index), planted.captions(index), *enough(comparisons, "pictures"))


def of_folders(members: Captioned, non_members: Captioned, most: int, seed: int) -> Items:
    """Members by how often their picture stands in the folder, and all of them, against the non-members.

    A picture that stands in a folder several times under one caption is asked about once. Non-members that are
    near-copies of members are left out, with a note.

    Args:
        members: the pictures that the model was trained on.
        non_members: those that it was not, drawn alike.
        most: of each kind, at most; a random choice where there are more.
        seed: of that choice.

    Raises:
        InputError: a picture is in both.
    """
    non_members, near = apart_from(members, non_members, ("--members", "--non-members"))
    inside, outside = (
        stream(seed, name).numpy().permutation(_first_of_each(found))[:most]
        for name, found in (("members", members), ("non-members", non_members))
    )
    member = np.arange(len(inside) + len(outside)) < len(inside)
    copies = np.where(member, np.concatenate([members.copies[inside], np.zeros(len(outside), int)]), 0)
    bounds = {"once": (1, 1), "2 to 15 copies": (2, 15), "16 to 63 copies": (16, 63), "64 and more": (64, np.inf)}
    groups = {name: (copies >= low) & (copies <= high) for name, (low, high) in bounds.items()}
    groups = {name: here for name, here in groups.items() if here.any()}
    groups = {"all": member} | (groups if len(groups) > 1 else {})
    comparisons = [Comparison(name, "non-members", here, ~member, True) for name, here in groups.items()]
    pictures = joined(chosen(members.pictures, inside), chosen(non_members.pictures, outside))
    captions = [*(members.captions[i] for i in inside), *(non_members.captions[i] for i in outside)]
    found = Items(pictures, captions, *enough(comparisons, "pictures"))
    require(
        len(found.comparisons) > 0,
        f"--members holds {len(inside)} different pictures and --non-members {len(outside)}; give at least {LEAST} of"
        " each.",
    )
    return found._replace(left_out=[*near, *found.left_out])


def _first_of_each(found: Captioned) -> Int[np.ndarray, " m"]:
    """Where a pair of picture and caption stands for the first time."""
    return np.sort(np.unique(digests(found), return_index=True)[1])
