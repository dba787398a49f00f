"""Defense: switch off the weights that a set of memorized prompts drives harder than the empty prompt does."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float

from difflab.diffusion.batch_sizes import AT_ONCE, within
from difflab.diffusion.defended import Defended, Prompts, pruned
from difflab.diffusion.generate import embed, initial_noise, sampling, seeded
from difflab.diffusion.pruning import feedforward_layers, union
from difflab.errors import require


@dataclass(frozen=True)
class Wanda:
    """How weights are chosen.

    Attributes:
        sparsity: largest share of each row that is switched off at one time step, in (0, 1].
        first: share of the sampling steps, the noisiest first, whose choices are joined.
        steps: DDIM steps.
        guidance: weight of the prompt while sampling.
        at_once: pictures drawn in one batch.
    """

    sparsity: float = 0.01
    first: float = 0.2
    steps: int = 20
    guidance: float = 3.0
    at_once: int = AT_ONCE

    def __post_init__(self) -> None:
        require(0 < self.sparsity <= 1, f"sparsity is {self.sparsity}; give a share in (0, 1].")
        require(0 < self.first <= 1, f"first is {self.first}; give a share in (0, 1].")
        require(1 <= self.steps <= 999 and self.at_once >= 1, "steps lies in [1, 999], and at_once is at least 1.")


@torch.no_grad()
def wanda(
    pipeline: StableDiffusionPipeline,
    captions: Prompts,
    unseen: Sequence[str] = (),
    seed: int = 0,
    config: Wanda = Wanda(),
) -> Defended:
    """One mask for all captions together: entries of the second feed-forward weight of every transformer.

    S_ij = |W_ij| |X_j|_2 at each step of sampling, X the layer's inputs (every token scaled to length 1, prompt and
    empty prompt). In each row the largest `sparsity` of S are chosen, and of those the ones where S is larger than with
    empty prompts; then the choices of the first steps are joined.

    Args:
        pipeline: the model.
        captions: n prompts to defend together, or their embeddings.
        unseen: not used.
        seed: of the initial noise, the same for all prompts.
        config: how.

    Returns:
        The model under the same mask for every caption.

    Raises:
        InputError: there is no caption.

    Reference:
        Chavhan et al. 2024; Sun et al. 2024 (Wanda); Finding Dori (arXiv 2507.16880).

    Differs:
        At least one weight of each row is looked at: 1 % of a row of less than 100 would be none.
    """
    require(len(captions) > 0, "wanda needs prompts to defend; give at least one.")
    target, base = (_norms(pipeline, texts, seed, config) for texts in (captions, [""] * len(captions)))
    masks = [
        {
            name: chosen(pipeline.unet.get_parameter(name), target[name][step], base[name][step], config.sparsity)
            for name in target
        }
        for step in range(len(next(iter(target.values()))))
    ]
    return pruned(pipeline, captions, [union(masks)] * len(captions))


def chosen(
    weight: Float[torch.Tensor, "out in"],
    target: Float[torch.Tensor, " in"],
    base: Float[torch.Tensor, " in"],
    sparsity: float,
) -> torch.Tensor:
    """The largest scores of each row, where the target's is above the base's.

    Args:
        weight: W.
        target, base: norms of the inputs with the prompts and with empty ones.
        sparsity: share of each row, at least one entry.
    """
    score = weight.abs() * target
    k = max(1, int(sparsity * weight.shape[1]))
    off = torch.zeros(weight.shape, dtype=torch.bool, device=weight.device)
    off.scatter_(1, score.topk(k, dim=1).indices, True)
    return (off & (score > weight.abs() * base)).cpu()


def _norms(
    pipeline: StableDiffusionPipeline,
    texts: Sequence[str] | Float[torch.Tensor, "n tokens width"],
    seed: int,
    config: Wanda,
) -> dict[str, Float[torch.Tensor, "steps in"]]:
    """|X_j| by layer and step, over all prompts, tokens, and both halves of the guidance."""
    n_steps = max(1, int(config.first * config.steps))
    y = texts if isinstance(texts, torch.Tensor) else embed(pipeline, texts)
    layers = feedforward_layers(pipeline.unet)
    squares = {
        name: torch.zeros((n_steps, pipeline.unet.get_parameter(name).shape[1]), dtype=torch.float64) for name in layers
    }
    for part in torch.arange(len(texts)).split(within(pipeline, config.at_once)):
        noise = initial_noise(pipeline, seeded(len(part), [seed]))
        with _watched(pipeline, layers) as seen:
            for step in sampling(pipeline, y[part], noise, config.steps, config.guidance):
                for name in layers:
                    squares[name][step.index] += seen[name]
                if step.index + 1 == n_steps:
                    break
    return {name: square.sqrt().to(y.dtype).to(y.device) for name, square in squares.items()}


@contextmanager
def _watched(
    pipeline: StableDiffusionPipeline, layers: Sequence[str]
) -> Iterator[dict[str, Float[torch.Tensor, " in"]]]:
    """Squared length of every input column in the last call of these layers."""
    seen: dict[str, Float[torch.Tensor, " in"]] = {}

    def look(name: str, _: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
        rows = torch.nn.functional.normalize(inputs[0].flatten(0, -2).float(), dim=1)
        seen[name] = rows.square().sum(dim=0).double().cpu()

    handles = []
    try:
        for name in layers:
            layer = pipeline.unet.get_submodule(name.removesuffix(".weight"))
            handles.append(layer.register_forward_pre_hook(partial(look, name)))
        yield seen
    finally:
        for handle in handles:
            handle.remove()
