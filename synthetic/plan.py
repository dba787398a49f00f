"""Which picture is repeated how often: the planted truth that every later claim is measured against.

A plan says how many pictures of each role there are; `draw` lists them, role by role, and `Planted` draws the pixels
that are asked for. Roles, in the order of the list:

    repeated     same picture, same caption, 1 to 256 copies (the duplication ladder)
    recaptioned  same picture under many captions
    layout       same shapes at the same places, every colour drawn anew, one caption
    region       one part of the picture is fixed, the rest drawn anew, one caption
    twin         never trained on; drawn by the same generator as the repeated picture whose caption it shares but for
                 the city (scenes), or from the same emoji (the other half of the controls)
    held_out     never trained on, no role but to say what a chance resemblance looks like
    unique       once, like almost everything that a large model is trained on
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import islice
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from difflab.errors import InputError, require
from difflab.randomness import numpy_from
from synthetic.data import scenes as drawn
from synthetic.data.emoji import emoji
from synthetic.data.scenes import CITIES, WORDINGS, Scenes

ROLES = ("repeated", "recaptioned", "layout", "region", "twin", "held_out", "unique")


@dataclass(frozen=True)
class Plan:
    """How many pictures of each role.

    Attributes:
        side: width and height in pixels.
        ladder: numbers of copies of the repeated pictures.
        per_rung: repeated pictures with each number of copies, half of them emoji.
        recaptioned: pictures under many captions.
        layouts: families of fixed shapes and free colours.
        regions: families of which one part is fixed.
        rewordings: captions of each recaptioned picture.
        family_copies: members of each layout or region family.
        unique: drawn scenes shown once.
        emoji: emoji shown once, of those that have no other role; None for all of them.
        twins: never-trained scenes for each repeated scene, and as many emoji for each repeated emoji, if there are.
        held_out: scenes and emoji that thresholds are fitted on; a twentieth of them emoji.
        seed: decides everything.
    """

    side: int = 32
    ladder: tuple[int, ...] = (1, 4, 16, 64, 256)
    per_rung: int = 12
    recaptioned: int = 3
    rewordings: int = 240
    layouts: int = 2
    regions: int = 6
    family_copies: int = 256
    unique: int = 15_000
    emoji: int | None = None
    twins: int = 4
    held_out: int = 3_000
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.side >= 8, f"side is {self.side}; pictures need at least 8 pixels.")
        require(
            min(self.ladder, default=0) >= 1 and self.per_rung >= 2 and self.per_rung % 2 == 0,
            "the ladder needs at least one number of copies, each >= 1, and an even number of pictures on each rung.",
        )
        sizes = (self.recaptioned, self.layouts, self.regions, self.unique, self.twins, self.held_out)
        require(self.emoji is None or self.emoji >= 0, "a plan can't hold a negative number of emoji.")
        require(
            min(sizes) >= 0 and min(self.family_copies, self.rewordings) >= 1,
            "a plan can't hold a negative number of pictures.",
        )
        # A twin has the words of its repeated picture and another city.
        require(self.twins < len(CITIES), f"twins is {self.twins}; there are {len(CITIES) - 1} other cities.")
        captions = len(WORDINGS) * len(CITIES)
        require(self.rewordings <= captions, f"rewordings is {self.rewordings}; one picture has {captions} captions.")


class Picture(NamedTuple):
    """One picture of the plan.

    Attributes:
        role: one of ROLES.
        family: number within the role: members of one family share it, a twin has that of its repeated picture.
        source: "scene" or "emoji".
        copies: how often the training set holds it under this caption; 0 = never.
        caption: what it is called.
    """

    role: str
    family: int
    source: str
    copies: int
    caption: str


@dataclass(frozen=True)
class Planted:
    """The pictures of a plan; the pixels are drawn on demand.

    Attributes:
        plan: what was asked for.
        listed: every picture, role by role.
        scene: what the drawn ones show, in the same order; emoji have no row here.
        glyph: index of the emoji, -1 for scenes.
        region: for members of a region family, which part is fixed.
        fixed: index into listed of the picture that the fixed part is taken from, -1 elsewhere.
    """

    plan: Plan
    listed: tuple[Picture, ...]
    scene: Scenes
    glyph: Int[np.ndarray, " n"]
    region: Bool[np.ndarray, "families side side"]
    fixed: Int[np.ndarray, " n"]

    def where(self, *roles: str, source: str | None = None, copies: int | None = None) -> Int[np.ndarray, " m"]:
        """Places in `listed`.

        Args:
            roles: any of ROLES.
            source: "scene" or "emoji"; either, if left out.
            copies: exact number of copies; any, if left out.

        Raises:
            InputError: there is no such role.
        """
        for role in roles:
            require(role in ROLES, f"there is no role {role}; the roles are {', '.join(ROLES)}.")
        found = [
            i
            for i, picture in enumerate(self.listed)
            if picture.role in roles and source in (None, picture.source) and copies in (None, picture.copies)
        ]
        return np.array(found, np.int64)

    def pictures(self, index: Int[np.ndarray, " m"]) -> UInt8[np.ndarray, "m side side 3"]:
        """Draw these pictures."""
        side = self.plan.side
        found = np.empty((len(index), side, side, 3), np.uint8)
        is_emoji = self.glyph[index] >= 0
        found[is_emoji] = emoji(side).pictures[self.glyph[index[is_emoji]]]
        found[~is_emoji] = self._scenes(index[~is_emoji])
        in_region = np.flatnonzero(self.fixed[index] >= 0)
        if len(in_region):
            # The picture that a family shares is drawn once.
            base, place = np.unique(self.fixed[index[in_region]], return_inverse=True)
            shared = self._scenes(base)[place]
            inside = self.region[[self.listed[i].family for i in index[in_region]]]
            found[in_region] = np.where(inside[..., None], shared, found[in_region])
        return found

    def shown(self, index: Int[np.ndarray, " m"]) -> Scenes:
        """What these scenes show, none of them an emoji."""
        row = np.cumsum(self.glyph < 0) - 1
        return drawn.take(self.scene, row[index])

    def _scenes(self, index: Int[np.ndarray, " m"]) -> UInt8[np.ndarray, "m side side 3"]:
        return drawn.pictures(self.shown(index), self.plan.side)

    def captions(self, index: Int[np.ndarray, " m"]) -> list[str]:
        """What these pictures are called."""
        return [self.listed[i].caption for i in index]

    def training(self, without: Int[np.ndarray, " k"] | None = None, once: bool = False) -> Int[np.ndarray, " rows"]:
        """One row for every copy in the training set.

        Args:
            without: pictures to leave out, for a model that has never seen them. The others keep their rows, and the
                rows left empty go to unique pictures, so that every other picture meets the same steps of training.
            once: those pictures keep one row each, their first.

        Returns:
            Places in `listed`.
        """
        rows = np.repeat(np.arange(len(self.listed)), [picture.copies for picture in self.listed])
        if without is None:
            return rows
        unique = np.setdiff1d(self.where("unique"), without)
        gone = np.isin(rows, without)
        if once:
            gone[np.unique(rows, return_index=True)[1]] = False
        require(len(unique) > 0, "there is no unique picture to stand in for the targets left out.")
        # In another order than the list's, which begins with the emoji.
        stand_ins = numpy_from(self.plan.seed).permutation(unique)
        rows[gone] = stand_ins[np.arange(gone.sum()) % len(unique)]
        return rows

    def material(
        self, without: Int[np.ndarray, " k"] | None = None, once: bool = False
    ) -> tuple[
        UInt8[np.ndarray, "m side side 3"], list[str], Int[np.ndarray, " rows"], Float[np.ndarray, " m"], list[str]
    ]:
        """What a model is trained on.

        Args:
            without: pictures to leave out.
            once: they are shown once instead.

        Returns:
            Every different picture and its caption; one row for every copy, as places in them; how often an
            autoencoder should meet each: emoji eight times as often as scenes, being few and hard; and the other
            captions, of pictures that are never shown.
        """
        index, rows = np.unique(self.training(without, once), return_inverse=True)
        weights = np.where(self.glyph[index] >= 0, 8.0, 1.0)
        others = np.setdiff1d(np.arange(len(self.listed)), index)
        return self.pictures(index), self.captions(index), rows, weights, self.captions(others)

    def references(self) -> UInt8[np.ndarray, "m side side 3"]:
        """About 2000 once-seen pictures, evenly from the list: they say how far apart pictures are."""
        return self._references

    @cached_property
    def _references(self) -> UInt8[np.ndarray, "m side side 3"]:
        unique = self.where("unique")
        return self.pictures(unique[:: max(1, len(unique) // 2000)])


@lru_cache(maxsize=4)
def draw(plan: Plan) -> Planted:
    """List the pictures of a plan; one list for all who ask for the same plan.

    Args:
        plan: how many of each role.

    Returns:
        The list, and all that is needed to draw any picture of it.

    Raises:
        InputError: the plan asks for more emoji than there are.
    """
    generator = numpy_from(plan.seed)
    names = emoji(plan.side).captions
    half = plan.per_rung // 2
    held_out_emoji = plan.held_out // 20
    needed = half * len(plan.ladder) * (1 + plan.twins) + held_out_emoji
    require(needed <= len(names), f"the plan asks for {needed} emoji; there are {len(names)}.")
    # Its own generator: another number of emoji must not change the scenes.
    glyphs = numpy_from(plan.seed, 1).permutation(len(names))
    draft = _Draft(generator, iter([names[glyph] for glyph in glyphs]))
    _add_repeated(plan, draft)
    _add_recaptioned(plan, draft)
    _add_layouts(plan, draft)
    region = _add_regions(plan, draft)
    _add_twins(plan, draft)
    names_held_out = list(islice(draft.names, held_out_emoji))
    _add_singles(draft, "held_out", 0, names_held_out, plan.held_out - held_out_emoji)
    _add_singles(draft, "unique", 1, list(islice(draft.names, plan.emoji)), plan.unique)
    glyph = np.full(len(draft.listed), -1)
    # The names were given out in the order of the list.
    shown = np.array([picture.source == "emoji" for picture in draft.listed])
    glyph[shown] = glyphs[: shown.sum()]
    scene = Scenes(*(np.concatenate(fields) for fields in zip(*draft.scenes, strict=True)))
    return Planted(plan, tuple(draft.listed), scene, glyph, region, _first_of_family(draft.listed))


@dataclass
class _Draft:
    """A list of pictures that is still being written.

    Attributes:
        generator: of everything that is drawn.
        names: of the emoji that have no role yet.
        listed: as in Planted.
        scenes: what the drawn ones show, a part for every call of `add_scenes`.
    """

    generator: np.random.Generator
    names: Iterator[str]
    listed: list[Picture] = field(default_factory=list)
    scenes: list[Scenes] = field(default_factory=list)

    def add_emoji(self, role: str, family: int, copies: int) -> None:
        """The next emoji gets this role."""
        self.listed.append(Picture(role, family, "emoji", copies, next(self.names)))

    def add_scenes(self, role: str, family: int, copies: int, found: Scenes, captions: list[str]) -> None:
        """Members of one family."""
        self.listed += [Picture(role, family, "scene", copies, caption) for caption in captions]
        self.scenes.append(found)

    def fresh(self, n: int) -> Scenes:
        """Scenes whose caption no listed picture has: one more would teach that caption's chance."""
        taken = {picture.caption for picture in self.listed}
        found = drawn.scenes(self.generator, n)
        for _ in range(1000):
            clash = [i for i, caption in enumerate(drawn.captions(found)) if caption in taken]
            if not clash:
                return found
            anew = drawn.scenes(self.generator, len(clash))
            for old, new in zip(found, anew, strict=True):
                old[clash] = new
        raise InputError("hardly any caption is left that no other picture has; ask for fewer pictures.")


def _add_repeated(plan: Plan, draft: _Draft) -> None:
    half = plan.per_rung // 2
    first_emoji = half * len(plan.ladder)
    for rung, copies in enumerate(plan.ladder):
        for family in range(rung * half, (rung + 1) * half):
            found = draft.fresh(1)
            draft.add_scenes("repeated", family, copies, found, drawn.captions(found))
        for family in range(rung * half, (rung + 1) * half):
            draft.add_emoji("repeated", first_emoji + family, copies)


def _add_recaptioned(plan: Plan, draft: _Draft) -> None:
    for family in range(plan.recaptioned):
        found = draft.fresh(1)
        captions = drawn.reworded(found, plan.rewordings)
        draft.add_scenes("recaptioned", family, 1, drawn.repeat(found, plan.rewordings), captions)


def _add_layouts(plan: Plan, draft: _Draft) -> None:
    n = plan.family_copies
    for family in range(plan.layouts):
        found = draft.fresh(1)
        members = drawn.recoloured(draft.generator, found, n)
        draft.add_scenes("layout", family, 1, members, drawn.captions(found) * n)


def _add_regions(plan: Plan, draft: _Draft) -> Bool[np.ndarray, "families side side"]:
    """Returns which part of each family is fixed: a rectangle."""
    n, side, generator = plan.family_copies, plan.side, draft.generator
    region = np.zeros((plan.regions, side, side), bool)
    for family in range(plan.regions):
        found = draft.fresh(n)
        height, width = generator.integers(side * 3 // 8, side * 3 // 4, size=2)
        top, left = generator.integers(0, side - height + 1), generator.integers(0, side - width + 1)
        region[family, top : top + height, left : left + width] = True
        draft.add_scenes("region", family, 1, found, drawn.captions(found)[:1] * n)
    return region


def _add_twins(plan: Plan, draft: _Draft) -> None:
    repeated = [picture for picture in draft.listed if picture.role == "repeated"]
    scenes = [picture for picture in repeated if picture.source == "scene"]
    # The repeated scenes were the first ones added, one by one.
    for picture, scene in zip(scenes, draft.scenes, strict=False):
        twins = drawn.twins(draft.generator, scene, plan.twins)
        draft.add_scenes("twin", picture.family, 0, twins, drawn.captions(twins))
    for picture in repeated:
        if picture.source == "emoji":
            for _ in range(plan.twins):
                draft.add_emoji("twin", picture.family, 0)


def _add_singles(draft: _Draft, role: str, copies: int, names: list[str], n: int) -> None:
    """These emoji and n scenes, each picture a family of its own."""
    found = draft.fresh(n)
    draft.listed += [Picture(role, family, "emoji", copies, name) for family, name in enumerate(names)]
    captions = enumerate(drawn.captions(found), start=len(names))
    draft.listed += [Picture(role, family, "scene", copies, caption) for family, caption in captions]
    draft.scenes.append(found)


def _first_of_family(listed: list[Picture]) -> Int[np.ndarray, " n"]:
    """For members of a region family the place of its first member, -1 elsewhere."""
    fixed, first = np.full(len(listed), -1), dict[int, int]()
    for i, picture in enumerate(listed):
        if picture.role == "region":
            fixed[i] = first.setdefault(picture.family, i)
    return fixed
