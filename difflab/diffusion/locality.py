"""Is a memory in one place? Distances of embeddings, of what they make layers say, and of what defenses select."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from typing import NamedTuple

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Bool, Float, Int, Shaped
from scipy.stats import hypergeom

from difflab.diffusion.pruning import Mask, feedforward_layers, value_layers
from difflab.errors import require
from difflab.randomness import resampling
from difflab.runs.rows import Row
from difflab.statistics.intervals import bootstrap, mean, wilson

BLOCKS = ("down", "mid", "up")
PARTS = {"value": "NeMo's layers", "feedforward": "Wanda's layers"}
"""What rows call the layers, and what they are."""
DIFFERENT, ONE, OTHER_SEEDS = "different pictures", "one picture", "one prompt, other seeds"
"""What rows call the groups of embeddings that pairs are taken from."""
Matrix = Float[np.ndarray, "n n"]
"""One number for each pair, the same in both orders; NaN where the pair does not count."""
Groups = Mapping[str, tuple[Float[torch.Tensor, "_ tokens width"], Int[np.ndarray, " _"]]]
"""Embeddings by name, and the owner of each: pairs of one owner are compared."""


class OverPairs(NamedTuple):
    """A mean over pairs.

    Attributes:
        value: the mean.
        low, high: its interval, from resampling the members and not the pairs, which share members (a 95 % one covers
            88 % of the time with 8 members, 91 % with 40; one that resampled pairs 66 % and 31 %); None where fewer
            than three members are in any pair.
        n: pairs that count.
    """

    value: float
    low: float | None
    high: float | None
    n: int


def distances(vectors: Shaped[torch.Tensor, "n ..."]) -> Matrix:
    """Euclidean distance of every pair, whatever the shape of each: of embeddings the pairwise L2 of the paper."""
    flat = vectors.flatten(1).double()
    # By differences: the expanded square loses its digits where two are nearly equal.
    return torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist").cpu().numpy()


def cosines(vectors: Shaped[torch.Tensor, "n ..."]) -> Matrix:
    """Cosine of every pair, whatever the shape of each."""
    flat = torch.nn.functional.normalize(vectors.flatten(1).double(), dim=1)
    return (flat @ flat.T).cpu().numpy()


def within(matrix: Matrix, owner: Int[np.ndarray, " n"]) -> Matrix:
    """Only pairs of one owner still count: triggers of one picture, of several pictures at once."""
    return np.where(owner[:, None] == owner, matrix, np.nan)


def between(matrix: Matrix, owner: Int[np.ndarray, " n"]) -> Matrix:
    """Only pairs of different owners still count."""
    return np.where(owner[:, None] != owner, matrix, np.nan)


def over_pairs(matrix: Matrix, rng: np.random.Generator) -> OverPairs | None:
    """Mean over pairs i < j that are not NaN, or None where there is no such pair.

    Args:
        matrix: one number for each pair.
        rng: of the interval.
    """
    n = len(matrix)
    counts = ~np.isnan(matrix) & ~np.eye(n, dtype=bool)
    if not counts.any():
        return None
    filled = np.where(counts, matrix, 0.0)
    everyone = float(filled.sum() / counts.sum())
    n_pairs = int(counts.sum()) // 2
    if int(counts.any(axis=1).sum()) < 3:
        return OverPairs(everyone, None, None, n_pairs)

    def drawn(members: Int[np.ndarray, "*draws n"], axis: int = -1) -> Float[np.ndarray, "*draws"]:
        # How often each was drawn; a member beside itself is no pair.
        times = (members[..., None] == np.arange(n)).sum(axis=axis).astype(np.float64)
        pairs, total = (((times @ part) * times).sum(axis=-1) for part in (counts.astype(np.float64), filled))
        return np.where(pairs > 0, total / np.maximum(pairs, 1), everyone)

    return OverPairs(*bootstrap(np.arange(n), drawn, rng), n_pairs)


def random_like(
    embeddings: Float[torch.Tensor, "n tokens width"], generator: torch.Generator
) -> Float[torch.Tensor, "n tokens width"]:
    """As long as these, token by token, in random directions."""
    drawn = torch.randn(embeddings.shape, generator=generator).to(embeddings)
    return torch.nn.functional.normalize(drawn, dim=2) * embeddings.norm(dim=2, keepdim=True)


def layers(pipeline: StableDiffusionPipeline) -> dict[str, list[str]]:
    """Names of the weights that NeMo ("value") and Wanda ("feedforward") look at, in the order in which they run."""
    unet = pipeline.unet
    second = sorted(feedforward_layers(unet), key=lambda name: BLOCKS.index(name.split("_")[0]))
    return {"value": value_layers(unet, BLOCKS), "feedforward": second}


def settings(pipeline: StableDiffusionPipeline) -> list[tuple[dict[str, str | int], str]]:
    """What rows about a layer say of it, its place counted from 1, and the name of its weight."""
    return [
        ({"part": part, "layer": name.split(".transformer")[0], "place": place, "source": "measured"}, name)
        for part, names in layers(pipeline).items()
        for place, name in enumerate(names, start=1)
    ]


@torch.no_grad()
def activations(
    pipeline: StableDiffusionPipeline,
    embeddings: Float[torch.Tensor, "n tokens width"],
    noise: Float[torch.Tensor, "1 c h w"],
    time: int,
) -> dict[str, Float[torch.Tensor, "n ..."]]:
    """a_l(y): what these layers say to each embedding, at one noisy picture and one time, in one pass.

    The discrepancy of a layer is the mean of |a_l(y_i) - a_l(y_j)| over pairs: `over_pairs(distances(a_l), rng)`.

    Args:
        pipeline: the model.
        embeddings: n of them.
        noise: the noisy picture x_t, the same for all.
        time: t, the same for all.

    Returns:
        Outputs by the name of the layer's weight: those of W_v, which are W_v y and depend on the text alone, token by
        token, and those of the second feed-forward linear, pixel by pixel.

    Reference:
        Finding Dori (arXiv 2507.16880), activation discrepancy.
    """
    seen: dict[str, torch.Tensor] = {}

    def keep(name: str, _: torch.nn.Module, __: tuple[torch.Tensor], out: torch.Tensor) -> None:
        seen[name] = out.clone()

    handles, names = [], [name for part in layers(pipeline).values() for name in part]
    try:
        for name in names:
            layer = pipeline.unet.get_submodule(name.removesuffix(".weight"))
            handles.append(layer.register_forward_hook(partial(keep, name)))
        pipeline.unet(noise.expand(len(embeddings), *noise.shape[1:]), time, embeddings)
    finally:
        for handle in handles:
            handle.remove()
    return {name: seen[name] for name in names}


def selections(
    masks: Sequence[Mask], sizes: Mapping[str, tuple[int, ...]], neurons: bool
) -> dict[str, Bool[np.ndarray, "n items"]]:
    """What each mask selects in each layer.

    Args:
        masks: n of them.
        sizes: shapes of the weights by name; the layers that are looked at.
        neurons: an item is a whole row of the weight, taken where any entry is; else it is an entry.
    """
    found = {}
    for name, shape in sizes.items():
        nothing = torch.zeros(tuple(shape), dtype=torch.bool)
        off = torch.stack([mask.get(name, nothing).cpu() for mask in masks])
        found[name] = (off.any(dim=2) if neurons else off.flatten(1)).numpy()
    return found


def overlaps(sets: Bool[np.ndarray, "n items"]) -> Matrix:
    """Intersection over union of every pair of sets; NaN where both are empty, which the papers count as 1."""
    whole = sets.astype(np.float64)
    shared = whole @ whole.T
    united = whole.sum(axis=1)[:, None] + whole.sum(axis=1) - shared
    return np.divide(shared, united, out=np.full(shared.shape, np.nan), where=united > 0)


def chance_overlaps(sets: Bool[np.ndarray, "n items"]) -> Matrix:
    """The same, expected of random sets as large as these; NaN where both are empty."""
    n_items, sizes = sets.shape[1], sets.sum(axis=1).tolist()
    rows = [[chance_overlap(*sorted((a, b)), n_items) if a + b else np.nan for b in sizes] for a in sizes]
    return np.array(rows, np.float64)


@cache
def chance_overlap(first: int, second: int, n: int) -> float:
    """Expected intersection over union of random subsets of n things, exactly.

    sum over i of i / (first + second - i) P(i shared), hypergeometric.

    Args:
        first, second: sizes of the two, in [0, n], not both 0.
        n: things to choose from.

    Raises:
        InputError: a size is out of range, or both are 0.
    """
    require(
        0 <= min(first, second) <= max(first, second) <= n and first + second > 0,
        f"sets of {first} and {second} of {n} things have no overlap; give sizes in [0, n], not both 0.",
    )
    shared = np.arange(max(0, first + second - n), min(first, second) + 1)
    chance = hypergeom.pmf(shared, n, first, second)
    return float((shared / (first + second - shared) * chance).sum())


def pair_rows(metric: str, matrix: Matrix, setting: Mapping[str, str | int]) -> Iterator[Row]:
    """One row, the mean over the pairs that count; none where no pair does."""
    found = over_pairs(matrix, resampling())
    if found is not None:
        yield Row(metric, *found, dict(setting))


def distance_rows(
    start: Float[torch.Tensor, "n tokens width"],
    end: Float[torch.Tensor, "n tokens width"],
    owner: Int[np.ndarray, " n"],
    random: torch.Generator,
    setting: Mapping[str, str | int],
) -> Iterator[Row]:
    """How far apart starts and triggers of one picture are, how far each moved, and whether they moved alike.

    Args:
        start, end: before and after the search.
        owner: the picture that each was searched for.
        random: of the null, starts moved as far in random directions, token by token.
        setting: of the rows.
    """
    moves, n = end - start, len(end)
    aimless = start + random_like(moves, random)
    for group, vectors in {"starts": start, "triggers": end, "random moves": aimless}.items():
        yield from pair_rows("pairwise_distance", within(distances(vectors), owner), {**setting, "group": group})
    yield Row("moved_distance", *mean(moves.flatten(1).norm(dim=1).double().cpu().numpy()), n, dict(setting))
    alike = cosines(moves)
    yield from pair_rows("move_similarity", within(alike, owner), {**setting, "pictures": "one"})
    yield from pair_rows("move_similarity", between(alike, owner), {**setting, "pictures": "different"})
    across = within(distances(torch.cat([end, start])), np.tile(owner, 2))[:n, n:]
    own = int((np.nanargmin(across, axis=1) == np.arange(n)).sum())
    yield Row("own_start_nearest_fraction", *wilson(own, n), n, dict(setting))


def discrepancy_rows(
    pipeline: StableDiffusionPipeline, groups: Groups, noise: Float[torch.Tensor, "1 c h w"], time: int
) -> Iterator[Row]:
    """How different the things are that each layer says to embeddings of one owner; see `activations`."""
    for group, (y, owner) in groups.items():
        said = activations(pipeline, y, noise, time)
        for setting, name in settings(pipeline):
            apart = within(distances(said[name]), owner)
            yield from pair_rows("discrepancy_distance", apart, setting | {"group": group})


def overlap_rows(
    sets: Bool[np.ndarray, "n items"], owner: Int[np.ndarray, " n"], setting: Mapping[str, str | int]
) -> Iterator[Row]:
    """How well sets of one owner agree, and random sets as large; n is the number of pairs that are not both empty."""
    yield Row("selected_size", float(sets.sum(axis=1).mean()), None, None, len(sets), dict(setting))
    yield from pair_rows("overlap_fraction", within(overlaps(sets), owner), setting)
    yield from pair_rows("chance_overlap_fraction", within(chance_overlaps(sets), owner), setting)
