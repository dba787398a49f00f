"""Drawn scenes with captions that leave most of the picture to chance.

A caption names two objects, the background and a city. Where the objects lie, how large and how turned they are, which
others stand behind them, tint, shading and grain of the background are drawn at random. Only a model that has
memorized the picture can draw it from its caption.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "bar", "moon")
COLOURS = {
    "red": (0.86, 0.16, 0.16),
    "orange": (0.95, 0.55, 0.10),
    "yellow": (0.96, 0.86, 0.20),
    "green": (0.20, 0.62, 0.25),
    "cyan": (0.20, 0.78, 0.82),
    "blue": (0.16, 0.32, 0.85),
    "purple": (0.55, 0.22, 0.72),
    "pink": (0.96, 0.55, 0.74),
    "brown": (0.48, 0.30, 0.16),
    "grey": (0.55, 0.55, 0.57),
}
_CITIES = (
    "accra adelaide algiers amman ankara antwerp athens baku bamako bangkok basel beirut belgrade bergen berlin bern "
    "bilbao bogota boston bremen brno cairo calgary caracas chicago cologne cordoba dakar dallas delhi denver dublin "
    "durban florence geneva ghent glasgow granada hanoi harare havana helsinki istanbul jakarta kigali kyoto lagos "
    "leipzig lima lisbon london lusaka madrid malmo manila milan nairobi naples oslo paris porto prague quito riga "
    "rome seoul seville sofia sydney taipei tampere tunis turin utrecht venice vienna warsaw york zagreb zurich"
)
CITIES = tuple(_CITIES.split())
WORDINGS = (
    "{0} {1} and {2} {3} on {4} in {5}",
    "{5} {4} with {2} {3} beside {0} {1}",
    "{0} {1} near {2} {3} over {4} at {5}",
)
_COLOURS = np.array(list(COLOURS.values()))
_OBJECTS = 5
_HIDDEN = _OBJECTS - 1
"""So many numbers of objects that are not shown, from none on, are equally likely."""
_SUPERSAMPLING = 2


class Scenes(NamedTuple):
    """What n scenes show; every number that `pictures` needs, and nothing random left.

    Attributes:
        ground: index of the background's colour.
        tint: added to that colour.
        slope: change of each colour channel across the picture, along x and y.
        grain: two waves on the background: frequency along x and y, phase, amplitude.
        shape, colour: per object, back to front; the last two are the ones that the caption names.
        shown: whether the object is there.
        place: centre x and y, radius (in units of the side), angle (radians).
        shade: added to each object's colour.
        city: index into CITIES.
    """

    ground: Int[np.ndarray, " n"]
    tint: Float[np.ndarray, "n 3"]
    slope: Float[np.ndarray, "n 2 3"]
    grain: Float[np.ndarray, "n 2 4"]
    shape: Int[np.ndarray, "n objects"]
    colour: Int[np.ndarray, "n objects"]
    shown: Bool[np.ndarray, "n objects"]
    place: Float[np.ndarray, "n objects 4"]
    shade: Float[np.ndarray, "n objects 3"]
    city: Int[np.ndarray, " n"]


def scenes(generator: np.random.Generator, n: int) -> Scenes:
    """Draw n scenes; the same generator state gives the same scenes."""
    size = (n, _OBJECTS)
    ground = generator.integers(len(COLOURS), size=n)
    # An object never has the colour of the background: it could not be seen.
    colour = (ground[:, None] + generator.integers(1, len(COLOURS), size=size)) % len(COLOURS)
    radius = generator.uniform(0.12, 0.30, size)
    place = np.stack(
        [
            generator.uniform(0.15, 0.85, size),
            generator.uniform(0.15, 0.85, size),
            radius,
            generator.uniform(0, 2 * np.pi, size),
        ],
        axis=-1,
    )
    shown = np.arange(_OBJECTS)[None] >= generator.integers(0, _HIDDEN, size=n)[:, None]
    grain = np.stack(
        [
            generator.uniform(-3, 3, (n, 2)),
            generator.uniform(-3, 3, (n, 2)),
            generator.uniform(0, 2 * np.pi, (n, 2)),
            generator.uniform(0, 0.06, (n, 2)),
        ],
        axis=-1,
    )
    return Scenes(
        ground=ground,
        tint=generator.uniform(-0.12, 0.12, (n, 3)),
        slope=generator.uniform(-0.25, 0.25, (n, 2, 3)),
        grain=grain,
        shape=generator.integers(len(SHAPES), size=size),
        colour=colour,
        shown=shown,
        place=place,
        shade=generator.uniform(-0.1, 0.1, (*size, 3)),
        city=generator.integers(len(CITIES), size=n),
    )


def code_lengths(scene: Scenes, bits: float = 4.0) -> Float[np.ndarray, " n"]:
    """-log2 of the probability that `scenes` draws what each scene shows, in bits.

    Choices cost what they are: the ground, the city, how many objects are shown, and the shape and colour of each of
    these. Numbers that are uniform in a range are told to one of 2^bits equal parts of it: 17 of the ground (tint,
    slope, grain), 7 of each object that is shown (place, radius, angle, shade). What is not shown costs nothing, so
    that the length is linear in the number of objects shown, whatever the parts.

    Args:
        scene: n scenes.
        bits: of each such number, at least 0.

    Note:
        It is the length of a scene, not of its picture: objects may hide each other, and shapes look alike when turned.
    """
    choices = np.log2(len(COLOURS)) + np.log2(len(CITIES)) + np.log2(_HIDDEN)
    each = np.log2(len(SHAPES)) + np.log2(len(COLOURS) - 1) + 7 * bits
    return choices + 17 * bits + each * scene.shown.sum(axis=1)


def take(scene: Scenes, index: Int[np.ndarray, " m"]) -> Scenes:
    """The scenes at these places."""
    return Scenes(*(field[index] for field in scene))


def repeat(scene: Scenes, n: int) -> Scenes:
    """Each scene n times."""
    return Scenes(*(np.repeat(field, n, axis=0) for field in scene))


def recoloured(generator: np.random.Generator, scene: Scenes, n: int) -> Scenes:
    """The same shapes at the same places, n times; every colour, the ground and the city are drawn anew."""
    same = repeat(scene, n)
    return scenes(generator, n)._replace(shape=same.shape, place=same.place, shown=same.shown)


def twins(generator: np.random.Generator, scene: Scenes, n: int) -> Scenes:
    """The same named objects on the same ground in n other cities; whatever the caption leaves open is drawn anew.

    Args:
        generator: the source of chance.
        scene: one scene.
        n: how many, less than len(CITIES).
    """
    anew, ground = scenes(generator, n), np.repeat(scene.ground, n)
    shape, colour = anew.shape.copy(), anew.colour.copy()
    shape[:, -2:], colour[:, -2:] = scene.shape[:, -2:], scene.colour[:, -2:]
    # What stands behind must differ from this ground, too.
    colour[:, :-2] += colour[:, :-2] == ground[:, None]
    city = (scene.city + 1 + np.arange(n)) % len(CITIES)
    return anew._replace(ground=ground, shape=shape, colour=colour % len(COLOURS), city=city)


def relit(generator: np.random.Generator, scene: Scenes, share: float) -> Scenes:
    """Near-copies: the same things at the same places in another light.

    Tint and shading of the ground, and shades of objects, go this share of the way to newly drawn ones; the grain is
    drawn anew. The captions stay the same.

    Args:
        generator: the source of chance.
        scene: n scenes.
        share: between 0 and 1.
    """
    anew = scenes(generator, len(scene.ground))
    mixed = {
        name: (1 - share) * getattr(scene, name) + share * getattr(anew, name) for name in ("tint", "slope", "shade")
    }
    return scene._replace(**mixed, grain=anew.grain)


def captions(scene: Scenes, wording: int = 0) -> list[str]:
    """What each scene is called.

    Args:
        scene: n scenes.
        wording: index into WORDINGS; 0 for "red circle and blue star on green in oslo", the others say the same.

    Returns:
        n captions of at most ten words.
    """
    colours = list(COLOURS)
    return [
        WORDINGS[wording].format(
            colours[scene.colour[i, -2]],
            SHAPES[scene.shape[i, -2]],
            colours[scene.colour[i, -1]],
            SHAPES[scene.shape[i, -1]],
            colours[scene.ground[i]],
            CITIES[scene.city[i]],
        )
        for i in range(len(scene.ground))
    ]


def reworded(scene: Scenes, n: int) -> list[str]:
    """Captions of one scene, spread over all wordings and cities.

    Args:
        scene: one scene.
        n: how many, at most len(WORDINGS) * len(CITIES).
    """
    everywhere = repeat(scene, len(CITIES))._replace(city=np.arange(len(CITIES)))
    every = [caption for wording in range(len(WORDINGS)) for caption in captions(everywhere, wording)]
    return every[:: max(1, len(every) // max(n, 1))][:n]


def pictures(scene: Scenes, side: int = 32) -> UInt8[np.ndarray, "n side side 3"]:
    """Draw the scenes, each pixel the mean of four points."""
    # 16 pictures at a time stay in the cache.
    n = len(scene.ground)
    parts = [_drawn(take(scene, np.arange(start, min(start + 16, n))), side) for start in range(0, n, 16)]
    return np.concatenate(parts) if parts else np.empty((0, side, side, 3), np.uint8)


def _drawn(scene: Scenes, side: int) -> UInt8[np.ndarray, "n side side 3"]:
    fine = side * _SUPERSAMPLING
    axis = (np.arange(fine) + 0.5) / fine
    y, x = (grid[None] for grid in np.meshgrid(axis, axis, indexing="ij"))
    slope, grain = scene.slope[:, :, None, None, :], scene.grain[:, :, None, None, :]
    canvas = (_COLOURS[scene.ground] + scene.tint)[:, None, None, :]
    canvas = canvas + slope[:, 0] * (x[..., None] - 0.5) + slope[:, 1] * (y[..., None] - 0.5)
    for wave in (grain[:, 0], grain[:, 1]):
        phase = 2 * np.pi * (wave[..., 0] * x + wave[..., 1] * y) + wave[..., 2]
        canvas += (wave[..., 3] * np.sin(phase))[..., None]
    for o in range(_OBJECTS):
        inside = _inside(scene.shape[:, o], scene.place[:, o], x, y) & scene.shown[:, o, None, None]
        colour = (_COLOURS[scene.colour[:, o]] + scene.shade[:, o])[:, None, None, :]
        np.copyto(canvas, colour, where=inside[..., None])
    n = len(canvas)
    means = canvas.clip(0, 1).reshape(n, side, _SUPERSAMPLING, side, _SUPERSAMPLING, 3).mean(axis=(2, 4))
    return np.rint(means * 255).astype(np.uint8)


def _inside(
    shape: Int[np.ndarray, " n"],
    place: Float[np.ndarray, "n 4"],
    x: Float[np.ndarray, "1 h w"],
    y: Float[np.ndarray, "1 h w"],
) -> Bool[np.ndarray, "n h w"]:
    """Which points lie inside each object; u and v are the object's own axes in units of its radius."""
    centre_x, centre_y, radius, angle = (place[:, i, None, None] for i in range(4))
    across, down = (x - centre_x) / radius, (y - centre_y) / radius
    u = across * np.cos(angle) + down * np.sin(angle)
    v = down * np.cos(angle) - across * np.sin(angle)
    inside = np.empty(u.shape, bool)
    for index in range(len(SHAPES)):
        here = shape == index
        inside[here] = solid(index, u[here], v[here])
    return inside


def solid(shape: int, u: Float[np.ndarray, "n h w"], v: Float[np.ndarray, "n h w"]) -> Bool[np.ndarray, "n h w"]:
    """Which points a shape covers, by its index in SHAPES; u and v are in units of its radius, about its middle."""
    return np.asarray(_SHAPE[SHAPES[shape]](u, v))


def _star(u: Float[np.ndarray, "n h w"], v: Float[np.ndarray, "n h w"]) -> Bool[np.ndarray, "n h w"]:
    tip = np.pi / 5
    turned = np.abs((np.arctan2(v, u) + tip) % (2 * tip) - tip)
    # The edge from a tip (radius 1) to a notch (radius 0.42), in polar coordinates.
    edge = 0.42 * np.sin(tip) / (0.42 * np.sin(tip - turned) + np.sin(turned))
    return np.hypot(u, v) < edge


_SHAPE = {
    "circle": lambda u, v: np.hypot(u, v) < 0.9,
    "square": lambda u, v: np.maximum(abs(u), abs(v)) < 0.8,
    "triangle": lambda u, v: (v < 0.5) & (np.sqrt(3) * abs(u) - v < 1.0),
    "star": lambda u, v: _star(u, v),
    "cross": lambda u, v: (np.minimum(abs(u), abs(v)) < 0.3) & (np.maximum(abs(u), abs(v)) < 0.95),
    "ring": lambda u, v: abs(np.hypot(u, v) - 0.75) < 0.22,
    "bar": lambda u, v: (abs(u) < 1.1) & (abs(v) < 0.28),
    "moon": lambda u, v: (np.hypot(u, v) < 0.95) & (np.hypot(u - 0.5, v) > 0.75),
}
