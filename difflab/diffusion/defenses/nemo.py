"""Defense: switch off the few value neurons that a memorized prompt needs, found for each prompt by itself."""

import operator
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Bool, Float

from difflab.diffusion.batch_sizes import AT_ONCE
from difflab.diffusion.defended import Defended, Prompts
from difflab.diffusion.defended import pruned as prune
from difflab.diffusion.first_prediction import (
    memorized_above,
    pairwise_similarity,
    predictions_by_seed,
    seeds_alike,
    structural_similarity,
)
from difflab.diffusion.generate import embed
from difflab.diffusion.pruning import Mask, value_layers
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
        guidance: weight of the prompt in the predictions that this threshold is taken from: 1 is the prompt alone, as
            in the search.
        highest, lowest: of the z-score above which a neuron is a candidate, at first and at last.
        lower_by: how much it falls each time the candidates do not suffice.
        refine: let candidates go again that are not needed.
        order: in which a layer's candidates are let go: "index", each one once; "listed", first those of unusual z,
            then those of large a, the largest first. What stands in both lists is tried twice, and the first time only
            its second entry is struck out. A candidate then goes where the similarity stays below the bound, not at it.
        steps: DDIM steps.
        step: whose time all predictions are made at, 0 for the first, noisiest one; the picture is x_T at any.
        window: of the similarity, see `structural_similarity`.
        at_once: predictions made in one batch.
    """

    blocks: tuple[str, ...] = ("down", "mid")
    seeds: int = 10
    unseen: int = 2000
    threshold: float | None = None
    guidance: float = 1.0
    highest: float = 5.0
    lowest: float = 1.0
    lower_by: float = 0.25
    refine: bool = True
    order: str = "index"
    steps: int = 20
    step: int = 0
    window: int = 5
    at_once: int = 2 * AT_ONCE

    def __post_init__(self) -> None:
        require(set(self.blocks) <= {"down", "mid", "up"} and len(self.blocks) > 0, "blocks are any of down, mid, up.")
        require(self.seeds >= 2 and self.unseen >= 2, "nemo needs at least 2 seeds and 2 unseen captions.")
        require(self.highest >= self.lowest and self.lower_by > 0, "the z-score falls from highest to lowest.")
        require(self.order in ("index", "listed"), f"order is {self.order!r}; index or listed.")
        require(1 <= self.steps <= 999 and self.at_once >= 1, "steps lies in [1, 999], and at_once is at least 1.")
        require(0 <= self.step < self.steps, f"step is {self.step}; give 0 to {self.steps - 1}.")

    @classmethod
    def published(cls) -> "Nemo":
        """What the authors' code does, down to its slips.

        Its loop stops before the z-score reaches 1; it refines in the order in which candidates were listed; every
        prediction is of x_T, which nothing denoised, at the second of 50 steps; and the threshold comes from
        predictions with a guidance of 7 in which prompt and empty prompt are exchanged: a guidance of 1 - 7.
        """
        return cls(guidance=-6.0, lowest=1.25, order="listed", steps=50, step=1)


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
        The similarity, as in the detector `seed_similarity`; the threshold is of at most 200 unseen captions. |z| as
        in the published code, z in algorithm 2. The default leaves out the published code's slips, which
        `Nemo.published` has: there the last bound is 1.25 with k = 15 and not 1 with k = 16; neurons are let go in the
        order in which they were listed, some tried twice, only below the bound; predictions are at the second step and
        not at the first, and those of the threshold have guidance.
    """
    layers = value_layers(pipeline.unet, config.blocks)
    require(len(layers) > 0, f"the U-Net has no cross-attention in {', '.join(config.blocks)}.")
    require(len(unseen) >= 2, f"there are {len(unseen)} unseen captions; nemo needs at least two.")
    seeds = item_seeds(seed, "nemo", config.seeds)
    ordinary = embed(pipeline, list(unseen)[: config.unseen])
    threshold = config.threshold
    if threshold is None:
        few = ordinary[: min(len(ordinary), 200)]
        plain = predictions_by_seed(
            pipeline, few, seeds, [{}] * len(few), config.at_once, config.steps, config.step, config.guidance
        )
        threshold = memorized_above(pairwise_similarity(plain, config.window).amax(dim=1).numpy())
    y = captions if isinstance(captions, torch.Tensor) else embed(pipeline, captions)
    z, a = _activations(pipeline, y, ordinary, layers)
    plain = predictions_by_seed(pipeline, y, seeds, [{}] * len(y), config.at_once, config.steps, config.step)
    search = _Search(pipeline, y, seeds, layers, plain, seeds_alike(plain, threshold, config.window), config)
    off, levels = _candidates(search, z, a, threshold, config)
    if config.refine:
        _refine(search, off, _listed(search, off, z, a, levels), threshold)
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

    @property
    def places(self) -> list[range]:
        """Places of each layer's neurons among all, from the last layer to the first."""
        ends = torch.tensor(self.sizes).cumsum(0).tolist()
        return [range(end - n, end) for n, end in zip(self.sizes, ends, strict=True)][::-1]

    def mask(self, off: Bool[torch.Tensor, " neurons"]) -> Mask:
        """These neurons as a mask, of the layers that have any."""
        shapes = {name: self.pipeline.unet.get_parameter(name).shape for name in self.layers}
        parts = zip(self.layers, off.split(self.sizes), strict=True)
        return {name: part[:, None].expand(shapes[name]).clone() for name, part in parts if part.any()}

    def similarity(self, index: Sequence[int], off: Bool[torch.Tensor, "k neurons"]) -> Float[torch.Tensor, " k"]:
        """How like the unpruned prediction the pruned one still is, at the seed where it is most; of these captions."""
        masks, config = [self.mask(chosen) for chosen in off], self.config
        changed = predictions_by_seed(
            self.pipeline, self.y[list(index)], self.seeds, masks, config.at_once, config.steps, config.step
        )
        found = structural_similarity(self.plain[list(index)], changed, config.window)
        return found.masked_fill(~self.kept[list(index)], -torch.inf).amax(dim=1)


def _candidates(
    search: _Search,
    z: Float[torch.Tensor, "n neurons"],
    a: Float[torch.Tensor, "n neurons"],
    threshold: float,
    config: Nemo,
) -> tuple[Bool[torch.Tensor, "n neurons"], list[int]]:
    """More and more neurons for each caption, until its predictions change; and the k that each stopped at."""
    off = torch.zeros(z.shape, dtype=torch.bool)
    reached = [0] * len(z)
    active = search.kept.any(dim=1).nonzero()[:, 0].tolist()
    levels = int((config.highest - config.lowest) / config.lower_by + 1e-9) + 1
    with progress(levels, "candidates") as advance:
        for k in range(levels):
            if not active:
                break
            off[active] = (z[active].abs() > _bound(config, k)) | _top(a[active], k, search.sizes)
            left = search.similarity(active, off[active])
            for i in active:
                reached[i] = k
            active = [i for i, value in zip(active, left.tolist(), strict=True) if value > threshold]
            advance(1)
    return off, reached


def _bound(config: Nemo, k: int) -> float:
    return config.highest - k * config.lower_by


def _top(a: Float[torch.Tensor, "n neurons"], k: int, sizes: Sequence[int]) -> Bool[torch.Tensor, "n neurons"]:
    """The k largest of each layer."""
    parts = []
    for part in a.split(list(sizes), dim=1):
        chosen = torch.zeros(part.shape, dtype=torch.bool)
        parts.append(chosen.scatter(1, part.topk(min(k, part.shape[1]), dim=1).indices, True))
    return torch.cat(parts, dim=1)


def _listed(
    search: _Search,
    off: Bool[torch.Tensor, "n neurons"],
    z: Float[torch.Tensor, "n neurons"],
    a: Float[torch.Tensor, "n neurons"],
    levels: Sequence[int],
) -> list[list[int]]:
    """The candidates of each caption in the order in which they are let go, layers from last to first."""
    if search.config.order == "index":
        return [[n for layer in search.places for n in layer if chosen[n]] for chosen in off]
    found = []
    for i, k in enumerate(levels):
        queue = list[int]()
        for layer in search.places if off[i].any() else []:
            queue += [n for n in layer if abs(z[i, n]) > _bound(search.config, k)]
            queue += [layer[n] for n in a[i, list(layer)].topk(min(k, len(layer))).indices.tolist()]
        found.append(queue)
    return found


def _refine(
    search: _Search, off: Bool[torch.Tensor, "n neurons"], listed: Sequence[Sequence[int]], threshold: float
) -> None:
    """Let go of layers, then of neurons as they are listed, that are not needed; in place."""
    everyone = off.any(dim=1).nonzero()[:, 0].tolist()
    if not everyone:
        return
    may_go = operator.lt if search.config.order == "listed" else operator.le
    # Where the candidates did not suffice, what they reached is what has to be kept.
    now = dict(zip(everyone, search.similarity(everyone, off[everyone]).tolist(), strict=True))
    bound = {i: max(threshold, value) for i, value in now.items()}

    def try_without(groups: dict[int, list[int]]) -> None:
        """Of some captions a group of neurons is let go, where the predictions stay apart."""
        asked = {i: group for i, group in groups.items() if off[i, group].any()}
        if not asked:
            return
        index = list(asked)
        trial = off[index].clone()
        for row, i in enumerate(index):
            trial[row, asked[i]] = False
        for row, (i, left) in enumerate(zip(index, search.similarity(index, trial).tolist(), strict=True)):
            if may_go(left, bound[i]):
                off[i], now[i] = trial[row], left

    for layer in search.places:
        try_without({i: list(layer) for i in everyone})
    queues = {i: [n for n in listed[i] if off[i, n]] for i in everyone}
    entries = {i: Counter(queue) for i, queue in queues.items()}
    longest = max(map(len, queues.values()))
    with progress(longest, "refinement") as advance:
        for place in range(longest):
            alone = dict[int, list[int]]()
            for i, queue in queues.items():
                if place >= len(queue):
                    continue
                if entries[i][queue[place]] == 1:
                    alone[i] = [queue[place]]
                elif may_go(now[i], bound[i]):
                    # It stays off, since it is listed once more.
                    entries[i][queue[place]] -= 1
            try_without(alone)
            advance(1)
