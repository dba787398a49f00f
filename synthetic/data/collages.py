"""Captioned collages of small objects: a caption names some of them and says nothing of the others.

Objects of different classes stand in cells of a grid. The caption is three key words, the stand-in for names and
places, and what the named objects are called. The other, hidden objects are drawn without a look at the caption, so
that whoever never saw the picture can't tell them better than their frequencies say: `expected` gives the chance of
every class. With correlation 0 and no rare class this is the same for all, and no score can beat 0.5 without memory.

Two sources of objects: eight shapes in eight colours, and OpenMoji's emoji under their names.
"""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from difflab.errors import require
from difflab.files import sha256
from difflab.randomness import numpy_from
from synthetic.data.emoji import emoji
from synthetic.data.scenes import CITIES, COLOURS, SHAPES, solid

KEYS = CITIES[:64]
SOURCES = ("shapes", "emoji")
_JITTER = 1
_GROUND = 0.92


@dataclass(frozen=True)
class World:
    """What collages are made of.

    Attributes:
        source: "shapes" (the exact-null world of the two-core studies) or "emoji".
        classes: different objects; the first ones of the source, at most 64 shapes.
        cell: width of a cell in pixels.
        grid: cells on each side.
        objects: in each picture, of different classes.
        named: of those, in the caption.
        keys: key words of a caption.
        correlation: chance that a named object brings its partner along, in [0, 1]; a reference model learns that.
        rare: classes, the last ones, that are drawn a tenth as often as others.
        seed: of the partners.
    """

    source: str = "shapes"
    classes: int = 64
    cell: int = 8
    grid: int = 4
    objects: int = 5
    named: int = 2
    keys: int = 3
    correlation: float = 0.0
    rare: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.source in SOURCES, f"source is {self.source!r}; give one of {', '.join(SOURCES)}.")
        most = len(SHAPES) * 8 if self.source == "shapes" else 500
        require(8 <= self.classes <= most, f"classes is {self.classes}; give 8 to {most}.")
        require(self.cell >= 6 and self.grid >= 2, "a cell needs at least 6 pixels and the grid 2 cells a side.")
        require(1 <= self.named < self.objects, "name at least one object and leave one hidden.")
        require(self.objects < self.classes, f"{self.objects} objects of {self.classes} classes leave none out.")
        require(self.objects <= self.grid**2, f"{self.objects} objects do not fit into {self.grid**2} cells.")
        require(0 <= self.correlation <= 1, f"correlation is {self.correlation}; give a chance between 0 and 1.")
        require(self.objects - self.named >= self.named or self.correlation == 0, "partners need hidden places.")
        # Both kinds must suffice for a picture on their own, lest a draw run out of classes.
        fewest = 2 * self.objects
        require(
            self.rare == 0 or fewest <= self.rare <= self.classes - fewest,
            f"rare is {self.rare}; give 0, or {fewest} to {self.classes - fewest} of {self.classes} classes.",
        )
        require(1 <= self.keys <= len(KEYS), f"keys is {self.keys}; give 1 to {len(KEYS)} words.")

    @property
    def side(self) -> int:
        """Width and height of a picture in pixels."""
        return self.cell * self.grid


class Collages(NamedTuple):
    """Drawn collages.

    Attributes:
        pictures: RGB.
        classes: of each object; the first ones are those that the caption names, in its order.
        keys: indices into KEYS.
        captions: key words and named objects.
    """

    pictures: UInt8[np.ndarray, "n side side 3"]
    classes: Int[np.ndarray, "n objects"]
    keys: Int[np.ndarray, "n keys"]
    captions: tuple[str, ...]


def collages(generator: np.random.Generator, n: int, world: World, sharing: int = 1) -> Collages:
    """Draw n collages; the same generator state gives the same ones.

    Args:
        generator: the source of chance.
        n: how many, at least 1.
        world: what they are made of.
        sharing: how many of them, next to each other, share their key words.
    """
    require(n >= 1 and sharing >= 1, "draw at least one collage, and let at least one share its key words.")
    classes = _classes(generator, n, world)
    keys = np.repeat(_keys(generator, -(-n // sharing), world), sharing, axis=0)[:n]
    return Collages(_pictures(generator, classes, world), classes, keys, captions(classes, keys, world))


def rekeyed(generator: np.random.Generator, found: Collages, world: World) -> tuple[str, ...]:
    """The captions with other key words: the same named objects, another place."""
    return captions(found.classes, _keys(generator, len(found.keys), world), world)


def longest(world: World) -> int:
    """Most words of a caption."""
    return world.keys + sum(sorted(len(name.split()) for name in _objects(world).names)[-world.named :])


def content(found: Collages) -> str:
    """SHA-256 of the pictures' bytes and the captions: says whether another computer draws the same."""
    return sha256(found.pictures.tobytes() + "\n".join(found.captions).encode())


def captions(classes: Int[np.ndarray, "n objects"], keys: Int[np.ndarray, "n keys"], world: World) -> tuple[str, ...]:
    """What collages of these objects and key words are called."""
    names = _objects(world).names
    return tuple(
        " ".join([KEYS[k] for k in key] + [names[c] for c in own[: world.named]])
        for own, key in zip(classes, keys, strict=True)
    )


def words(world: World) -> tuple[str, ...]:
    """Every word that a caption may hold, once each."""
    return tuple(dict.fromkeys([*KEYS, *" ".join(_objects(world).names).split()]))


def names(world: World) -> tuple[str, ...]:
    """What the classes are called."""
    return _objects(world).names


def held(found: Collages, world: World) -> Bool[np.ndarray, "n classes"]:
    """Which classes each picture holds."""
    return _matrix(found.classes, world)


def named(found: Collages, world: World) -> Bool[np.ndarray, "n classes"]:
    """Which classes each caption names."""
    return _matrix(found.classes[:, : world.named], world)


def expected(found: Collages, world: World) -> Float[np.ndarray, "n classes"]:
    """The chance of each class to be among the hidden objects, given the caption: what no memory is needed for.

    A sum over how many of the named objects' partners came along, and over how many hidden objects are rare.

    Returns:
        In [0, 1]; 0 for named classes; a row sums to the number of hidden objects.
    """
    partner, hidden = _partners(world), world.objects - world.named
    rare = np.arange(world.classes) >= world.classes - world.rare
    chances = np.zeros((len(found.classes), world.classes))
    for row, caption in zip(chances, found.classes[:, : world.named], strict=True):
        brought = [p for p in partner[caption] if p not in caption]
        for some in range(2 ** len(brought)):
            came = [p for i, p in enumerate(brought) if some >> i & 1]
            chance = world.correlation ** len(came) * (1 - world.correlation) ** (len(brought) - len(came))
            if chance == 0:
                continue
            row[came] += chance
            left = np.ones(world.classes, bool)
            left[[*caption, *came]] = False
            kinds = (left & ~rare, left & rare)
            means = _means(int(kinds[0].sum()), int(kinds[1].sum()), hidden - len(came))
            for kind, mean in zip(kinds, means, strict=True):
                row[kind] += chance * mean / max(1, kind.sum())
    return chances


class _Objects(NamedTuple):
    names: tuple[str, ...]
    sprites: Float[np.ndarray, "classes wide wide 4"]


@functools.lru_cache(maxsize=4)
def _objects(world: World) -> _Objects:
    """Names and sprites (colour and opacity), one pixel wider than a cell on each side, for the jitter."""
    return (_shapes if world.source == "shapes" else _emoji)(world)


def _shapes(world: World) -> _Objects:
    colours = [name for name in COLOURS if name not in ("brown", "grey")]
    pairs = [(colour, shape) for shape in range(len(SHAPES)) for colour in colours]
    # Classes of a smaller world differ in shape and in colour, too.
    pairs = [pairs[(i * 9) % 64] for i in range(64)][: world.classes]
    fine = 4
    axis = ((np.arange(world.cell * fine) + 0.5) / (world.cell * fine) - 0.5) * 2.1
    v, u = np.meshgrid(axis, axis, indexing="ij")
    blocks = (world.cell, fine, world.cell, fine)
    solids = [solid(shape, u[None], v[None])[0].reshape(blocks).mean(axis=(1, 3)) for shape in range(len(SHAPES))]
    sprites = np.zeros((world.classes, world.cell, world.cell, 4))
    for i, (colour, shape) in enumerate(pairs):
        sprites[i, ..., :3], sprites[i, ..., 3] = COLOURS[colour], solids[shape]
    return _Objects(tuple(f"{colour} {SHAPES[shape]}" for colour, shape in pairs), _framed(sprites))


def _emoji(world: World) -> _Objects:
    found = emoji(world.cell, longest=2)
    require(len(found.captions) >= world.classes, f"{len(found.captions)} emoji have short names; give fewer classes.")
    # Evenly over the list, where likes stand beside each other.
    places = np.linspace(0, len(found.captions) - 1, world.classes).round().astype(int)
    pictures = found.pictures[places] / 255.0
    opacity = (pictures.min(axis=-1, keepdims=True) < 0.98).astype(float)
    return _Objects(tuple(found.captions[i] for i in places), _framed(np.concatenate([pictures, opacity], axis=-1)))


def _framed(sprites: Float[np.ndarray, "classes cell cell 4"]) -> Float[np.ndarray, "classes wide wide 4"]:
    return np.pad(sprites, ((0, 0), (_JITTER, _JITTER), (_JITTER, _JITTER), (0, 0)))


def _partners(world: World) -> Int[np.ndarray, " classes"]:
    """Every class's partner, never itself: the next one around a circle in random order."""
    around = numpy_from(world.seed).permutation(world.classes)
    partner = np.empty(world.classes, np.int64)
    partner[around] = np.roll(around, -1)
    return partner


def _weights(world: World) -> Float[np.ndarray, " classes"]:
    return np.where(np.arange(world.classes) < world.classes - world.rare, 1.0, 0.1)


def _classes(generator: np.random.Generator, n: int, world: World) -> Int[np.ndarray, "n objects"]:
    """Different classes, drawn one after the other by weight: largest of Gumbel noise plus log weight."""

    def drawn(size: int, taken: Bool[np.ndarray, "n classes"]) -> Int[np.ndarray, "n size"]:
        gumbel = generator.gumbel(size=(n, world.classes)) + np.log(_weights(world))
        return np.argsort(-np.where(taken, -np.inf, gumbel), axis=1, kind="stable")[:, :size]

    nothing = np.zeros((n, world.classes), bool)
    caption = drawn(world.named, nothing)
    taken = _matrix(caption, world)
    partner = _partners(world)[caption]
    came = generator.random((n, world.named)) < world.correlation
    came &= ~np.take_along_axis(taken, partner, axis=1)
    np.put_along_axis(taken, np.where(came, partner, caption), True, axis=1)
    others = drawn(world.objects - world.named, taken)
    # Partners that came along take the first hidden places; whoever was drawn for the last ones stays away.
    there = np.concatenate([came, np.ones(others.shape, bool)], axis=1)
    order = np.argsort(~there, axis=1, kind="stable")[:, : others.shape[1]]
    hidden = np.take_along_axis(np.concatenate([partner, others], axis=1), order, axis=1)
    return np.concatenate([caption, hidden], axis=1)


def _keys(generator: np.random.Generator, n: int, world: World) -> Int[np.ndarray, "n keys"]:
    return np.argsort(generator.random((n, len(KEYS))), axis=1)[:, : world.keys]


def _means(common: int, rare: int, draws: int) -> tuple[float, float]:
    """How many of the draws, one after the other by weight, are common and how many rare, in the mean."""
    chances = {0: 1.0}
    for drawn in range(draws):
        later: dict[int, float] = {}
        for n_rare, chance in chances.items():
            weight = 0.1 * (rare - n_rare)
            share = weight / (weight + common - (drawn - n_rare))
            for more, part in ((1, share), (0, 1 - share)):
                later[n_rare + more] = later.get(n_rare + more, 0.0) + chance * part
        chances = later
    mean = sum(n_rare * chance for n_rare, chance in chances.items())
    return draws - mean, mean


def _matrix(classes: Int[np.ndarray, "n objects"], world: World) -> Bool[np.ndarray, "n classes"]:
    found = np.zeros((len(classes), world.classes), bool)
    np.put_along_axis(found, classes, True, axis=1)
    return found


def _pictures(
    generator: np.random.Generator, classes: Int[np.ndarray, "n objects"], world: World
) -> UInt8[np.ndarray, "n side side 3"]:
    """Every object in a cell of its own, shifted by at most a pixel, tinted; grain over all."""
    n, cell, grid = len(classes), world.cell, world.grid
    sprites = _objects(world).sprites
    windows = np.lib.stride_tricks.sliding_window_view(sprites, (cell, cell), axis=(1, 2))
    place = np.argsort(generator.random((n, grid**2)), axis=1)[:, : world.objects]
    shift = generator.integers(0, 2 * _JITTER + 1, size=(2, *classes.shape))
    tint = generator.normal(0, 0.05, (*classes.shape, 3))
    ground = _GROUND + generator.normal(0, 0.03, (n, 1, 1, 1, 3))
    cells = np.broadcast_to(ground, (n, grid**2, cell, cell, 3)).copy()
    for o in range(world.objects):
        drawn = np.moveaxis(windows[classes[:, o], shift[0, :, o], shift[1, :, o]], 1, -1)
        colour, opacity = drawn[..., :3] + tint[:, o, None, None], drawn[..., 3:]
        at = (np.arange(n), place[:, o])
        cells[at] = opacity * colour + (1 - opacity) * cells[at]
    # Rows of cells, rows of pixels, columns of cells, columns of pixels.
    canvas = cells.reshape(n, grid, grid, cell, cell, 3).swapaxes(2, 3).reshape(n, world.side, world.side, 3)
    canvas += generator.normal(0, 0.02, canvas.shape)
    return np.rint(canvas.clip(0, 1) * 255).astype(np.uint8)
