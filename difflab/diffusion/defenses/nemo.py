"""Defense: switch off the few value neurons that a memorized prompt needs, found for each prompt by itself."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Bool, Float

from difflab.diffusion.defended import Defended, Prompts
from difflab.diffusion.defended import pruned as prune
from difflab.diffusion.first_prediction import (
    first_predictions,
    memorized_above,
    pairwise_similarity,
    structural_similarity,
)
from difflab.diffusion.generate import AT_ONCE, embed, initial_noise, seeded
from difflab.diffusion.pruning import Mask, pruned, value_layers
from difflab.errors import require
from difflab.progress import progress
from difflab.randomness import item_seeds


@dataclass(frozen=True)
class Nemo:
    """How neurons are searched.

    Attributes:
        blocks: parts of the U-Net whose cross-attention is searched: "down", "mid", "up".
        seeds: initial noises that first predictions are compared over, at least 2.
        unseen: captions never trained on that say what is usual; at most so many are used.
        threshold: of the similarity; None for mean + one standard deviation on unseen captions.
        highest, lowest: of the z-score above which a neuron is a candidate, at first and at last.
        lower_by: how much it falls each time the candidates do not suffice.
        refine: let candidates go again that are not needed.
        steps: DDIM steps, of which the first one's time is used.
        window: of the similarity, see `structural_similarity`.
        at_once: predictions made in one batch.
    """

    blocks: tuple[str, ...] = ("down", "mid")
    seeds: int = 10
    unseen: int = 2000
    threshold: float | None = None
    highest: float = 5.0
    lowest: float = 1.0
    lower_by: float = 0.25
    refine: bool = True
    steps: int = 20
    window: int = 5
    at_once: int = 2 * AT_ONCE

    def __post_init__(self) -> None:
        require(set(self.blocks) <= {"down", "mid", "up"} and len(self.blocks) > 0, "blocks are any of down, mid, up.")
        require(self.seeds >= 2 and self.unseen >= 2, "nemo needs at least 2 seeds and 2 unseen captions.")
        require(self.highest >= self.lowest and self.lower_by > 0, "the z-score falls from highest to lowest.")
        require(1 <= self.steps <= 999 and self.at_once >= 1, "steps lies in [1, 999], and at_once is at least 1.")


@torch.no_grad()
def nemo(
    pipeline: StableDiffusionPipeline,
    captions: Prompts,
    unseen: Sequence[str],
    seed: int = 0,
    config: Nemo = Nemo(),
) -> Defended:
    """One mask for each caption: rows of W_v in cross-attention.

    a_i(y) = mean over tokens of |(W_v y)_i|, z = (a - mean) / standard deviation over unseen captions. A caption is
    memorized where the first predictions of two seeds are more alike than the threshold. Its candidates are the
    neurons with |z| above a falling bound and the k with the largest a in each layer, k rising, until the predictions
    with and without them differ for every seed kept. Then layers from last to first, then neurons one by one, are let
    go again where that keeps the predictions apart. All captions are searched in the same batches.

    Args:
        pipeline: the model.
        captions: n prompts to defend, or their embeddings.
        unseen: captions that were never trained on.
        seed: of the initial noises; not those that the defense will be judged with.
        config: how.

    Returns:
        The model under one mask for each caption; an empty one where it does not look memorized.

    Raises:
        InputError: there are fewer than two unseen captions, or the U-Net has no cross-attention in those blocks.

    Reference:
        Hintersdorf et al. 2024 (NeMo), arXiv 2406.02366, algorithms 1 and 2; Finding Dori (arXiv 2507.16880).

    Differs:
        The similarity, as in the detector `seed_similarity`. |z| as in the published code, z in algorithm 2.
    """
    layers = value_layers(pipeline.unet, config.blocks)
    require(len(layers) > 0, f"the U-Net has no cross-attention in {', '.join(config.blocks)}.")
    require(len(unseen) >= 2, f"there are {len(unseen)} unseen captions; nemo needs at least two.")
    seeds = item_seeds(seed, "nemo", config.seeds)
    ordinary = embed(pipeline, list(unseen)[: config.unseen])
    threshold = config.threshold
    if threshold is None:
        few = ordinary[: min(len(ordinary), 200)]
        plain = _predictions(pipeline, few, seeds, [{}] * len(few), config)
        threshold = memorized_above(pairwise_similarity(plain, config.window).amax(dim=1).numpy())
    y = captions if isinstance(captions, torch.Tensor) else embed(pipeline, captions)
    z, a = _activations(pipeline, y, ordinary, layers)
    plain = _predictions(pipeline, y, seeds, [{}] * len(y), config)
    kept = _seeds_alike(plain, threshold, config)
    search = _Search(pipeline, y, seeds, layers, plain, kept, config)
    off = _candidates(search, z, a, threshold, config)
    if config.refine:
        _refine(search, off, threshold)
    return prune(pipeline, captions, [search.mask(chosen) if chosen.any() else {} for chosen in off])


def _activations(
    pipeline: StableDiffusionPipeline,
    y: Float[torch.Tensor, "n tokens width"],
    ordinary: Float[torch.Tensor, "m tokens width"],
    layers: Sequence[str],
) -> tuple[Float[torch.Tensor, "n neurons"], Float[torch.Tensor, "n neurons"]]:
    """z and a of every value neuron, layer after layer."""
    weights = torch.cat([pipeline.unet.get_parameter(name) for name in layers])
    usual = torch.cat([(part @ weights.T).abs().mean(dim=1) for part in ordinary.split(256)]).double()
    a = (y @ weights.T).abs().mean(dim=1).double()
    # A neuron that never moves has no unusual value.
    return ((a - usual.mean(dim=0)) / usual.std(dim=0).clamp_min(1e-6)).cpu(), a.cpu()


def _predictions(
    pipeline: StableDiffusionPipeline,
    y: Float[torch.Tensor, "n tokens width"],
    seeds: Sequence[int],
    masks: Sequence[Mask],
    config: Nemo,
) -> Float[torch.Tensor, "n seeds c h w"]:
    """First predictions of every caption with every seed, under the caption's mask."""
    owner = torch.arange(len(y)).repeat_interleave(len(seeds))
    noise = initial_noise(pipeline, seeded(1, seeds))
    found = []
    for rows in torch.arange(len(owner)).split(config.at_once):
        with pruned(pipeline.unet, [masks[i] for i in owner[rows].tolist()]):
            x = noise[rows % len(seeds)]
            found.append(first_predictions(pipeline, y[owner[rows]], x, config.steps).cpu())
    return torch.cat(found).unflatten(0, (len(y), len(seeds)))


def _seeds_alike(
    plain: Float[torch.Tensor, "n seeds c h w"], threshold: float, config: Nemo
) -> Bool[torch.Tensor, "n seeds"]:
    """Seeds whose prediction is more like some other seed's than the threshold; none: not memorized."""
    n_seeds = plain.shape[1]
    alike = pairwise_similarity(plain, config.window) > threshold
    first, second = torch.triu_indices(n_seeds, n_seeds, offset=1)
    kept = torch.zeros((len(plain), n_seeds), dtype=torch.bool)
    for pair, (i, j) in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
        kept[:, i] |= alike[:, pair]
        kept[:, j] |= alike[:, pair]
    return kept


@dataclass(frozen=True)
class _Search:
    """What stays the same while neurons are tried."""

    pipeline: StableDiffusionPipeline
    y: Float[torch.Tensor, "n tokens width"]
    seeds: Sequence[int]
    layers: Sequence[str]
    plain: Float[torch.Tensor, "n seeds c h w"]
    kept: Bool[torch.Tensor, "n seeds"]
    config: Nemo

    @property
    def sizes(self) -> list[int]:
        """Neurons in each layer."""
        return [len(self.pipeline.unet.get_parameter(name)) for name in self.layers]

    def mask(self, off: Bool[torch.Tensor, " neurons"]) -> Mask:
        """These neurons as a mask, of the layers that have any."""
        shapes = {name: self.pipeline.unet.get_parameter(name).shape for name in self.layers}
        parts = zip(self.layers, off.split(self.sizes), strict=True)
        return {name: part[:, None].expand(shapes[name]).clone() for name, part in parts if part.any()}

    def similarity(self, index: Sequence[int], off: Bool[torch.Tensor, "k neurons"]) -> Float[torch.Tensor, " k"]:
        """How like the unpruned prediction the pruned one still is, at the seed where it is most; of these captions."""
        masks = [self.mask(chosen) for chosen in off]
        changed = _predictions(self.pipeline, self.y[list(index)], self.seeds, masks, self.config)
        found = structural_similarity(self.plain[list(index)], changed, self.config.window)
        return found.masked_fill(~self.kept[list(index)], -torch.inf).amax(dim=1)


def _candidates(
    search: _Search,
    z: Float[torch.Tensor, "n neurons"],
    a: Float[torch.Tensor, "n neurons"],
    threshold: float,
    config: Nemo,
) -> Bool[torch.Tensor, "n neurons"]:
    """More and more neurons for each caption, until its predictions change."""
    off = torch.zeros(z.shape, dtype=torch.bool)
    active = search.kept.any(dim=1).nonzero()[:, 0].tolist()
    levels = int((config.highest - config.lowest) / config.lower_by + 1e-9) + 1
    with progress(levels, "candidates") as advance:
        for k in range(levels):
            if not active:
                break
            bound = config.highest - k * config.lower_by
            off[active] = (z[active].abs() > bound) | _top(a[active], k, search.sizes)
            left = search.similarity(active, off[active])
            active = [i for i, value in zip(active, left.tolist(), strict=True) if value > threshold]
            advance(1)
    return off


def _top(a: Float[torch.Tensor, "n neurons"], k: int, sizes: Sequence[int]) -> Bool[torch.Tensor, "n neurons"]:
    """The k largest of each layer."""
    parts = []
    for part in a.split(list(sizes), dim=1):
        chosen = torch.zeros(part.shape, dtype=torch.bool)
        parts.append(chosen.scatter(1, part.topk(min(k, part.shape[1]), dim=1).indices, True))
    return torch.cat(parts, dim=1)


def _refine(search: _Search, off: Bool[torch.Tensor, "n neurons"], threshold: float) -> None:
    """Let go of layers, then of neurons, that are not needed; in place."""
    everyone = off.any(dim=1).nonzero()[:, 0].tolist()
    if not everyone:
        return
    # Where the candidates did not suffice, what they reached is what has to be kept.
    reached = search.similarity(everyone, off[everyone])
    bound = {i: max(threshold, value) for i, value in zip(everyone, reached.tolist(), strict=True)}
    ends = torch.tensor(search.sizes).cumsum(0).tolist()
    layers = [range(end - n, end) for n, end in zip(search.sizes, ends, strict=True)][::-1]

    def try_without(groups: dict[int, list[int]]) -> None:
        """Of some captions a group of neurons is let go, where the predictions stay apart."""
        asked = {i: group for i, group in groups.items() if off[i, group].any()}
        if not asked:
            return
        index = list(asked)
        trial = off[index].clone()
        for row, i in enumerate(index):
            trial[row, asked[i]] = False
        left = search.similarity(index, trial)
        for row, i in enumerate(index):
            if left[row] <= bound[i]:
                off[i] = trial[row]

    for layer in layers:
        try_without({i: list(layer) for i in everyone})
    queues = {i: [n for layer in layers for n in layer if off[i, n]] for i in everyone}
    longest = max(map(len, queues.values()))
    with progress(longest, "refinement") as advance:
        for place in range(longest):
            try_without({i: [queue[place]] for i, queue in queues.items() if place < len(queue)})
            advance(1)
