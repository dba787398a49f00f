"""Objective: compression, the outputs of a layer over neighbouring tokens shall point into few directions."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float

from difflab.autoregressive.shown import Said, check_given, mean_loss
from difflab.errors import at_least, require


@dataclass(frozen=True)
class Compression:
    """How much, and over which tokens.

    Attributes:
        weight: of the entropy; 20 is published for phases that a gate begins and ends
            (`difflab.training.gate`), 0.3 for a term that is always there.
        patch: tokens that are looked at together.
        layer: whose output it is, counted from 1; 0: the middle one.
    """

    needs: ClassVar = ("retain.hidden",)
    depth: ClassVar = 0.5
    weight: float = 0.3
    patch: int = 8
    layer: int = 0

    def __post_init__(self) -> None:
        at_least(self, 0, "weight", "layer")
        at_least(self, 1, "patch")


def compression(said: Said, config: Compression = Compression()) -> Float[torch.Tensor, ""]:
    """The loss of training with the matrix entropy of a layer.

    l + w E, with l the mean loss and E the mean of `matrix_entropy` over all patches of counted tokens.

    Args:
        said: of texts to learn, with the layer's output.
        config: how much, and over which tokens.

    Returns:
        Not negative, in nats.

    Raises:
        InputError: there are no texts to learn, no output of a layer, or no text has a patch of tokens.

    Reference:
        Yu 2025 (GAPT), arXiv 2505.08727, section 3.
    """
    check_given(said, config)
    assert said.retain is not None and said.retain.hidden is not None
    return mean_loss(said.retain) + config.weight * mean_entropy(said.retain.hidden, said.retain.counted, config.patch)


def mean_entropy(
    hidden: Float[torch.Tensor, "b t d"], counted: Bool[torch.Tensor, "b t"], patch: int
) -> Float[torch.Tensor, ""]:
    """Mean of `matrix_entropy` over all patches of so many tokens that are all counted.

    Raises:
        InputError: there is no such patch.
    """
    return matrix_entropy(_patches(hidden, counted, patch)).mean()


def matrix_entropy(outputs: Float[torch.Tensor, "n k d"], least: float = 1e-5) -> Float[torch.Tensor, " n"]:
    """Matrix-based entropy of order 2 of n sets of k vectors.

    max(0, 2 ln(tr K + least) - ln(|K|^2 + least)), K = Z Z^T, |K| its Frobenius norm. 0 where all are parallel, ln k
    where they are orthogonal and of one length.

    Args:
        outputs: Z.
        least: keeps the logarithms finite.
    """
    wide = outputs if outputs.dtype == torch.float64 else outputs.float()
    products = wide @ wide.transpose(1, 2)
    trace = products.diagonal(dim1=1, dim2=2).sum(-1)
    return (2 * (trace + least).log() - (products.square().sum((1, 2)) + least).log()).clamp_min(0.0)


def _patches(
    hidden: Float[torch.Tensor, "b t d"], counted: Bool[torch.Tensor, "b t"], patch: int
) -> Float[torch.Tensor, "n k d"]:
    """Those of `patch` tokens one after the other that are all counted; what is left at the end of a text is not."""
    whole = hidden.shape[1] // patch * patch
    found = hidden[:, :whole].unflatten(1, (-1, patch)).flatten(0, 1)
    there = counted[:, :whole].unflatten(1, (-1, patch)).flatten(0, 1).all(-1)
    require(bool(there.any()), f"no text has {patch} tokens that are counted; give longer ones, or a smaller patch.")
    return found[there]
