"""Focal weights: what is known already counts less, of texts and of pictures alike."""

import torch
from jaxtyping import Float


def focal_losses(
    losses: Float[torch.Tensor, "*items"], power: float = 1.0, detached: bool = False
) -> Float[torch.Tensor, "*items"]:
    """Losses times what is left to learn of each: (1 - e^-loss)^power loss.

    Args:
        losses: -ln p of each item, or what stands for it; not negative.
        power: of the weight; 0 gives the losses back.
        detached: the weight has no gradient of its own.

    Reference:
        Ruan et al. 2025 (MAR), arXiv 2508.04117, power 1; focal loss is from arXiv 1708.02002.
    """
    # A root has no slope at 0, where a loss may be.
    left = (-torch.expm1(-losses)).clamp_min(torch.finfo(losses.dtype).tiny if 0 < power < 1 else 0)
    weight = (left.detach() if detached else left) ** power
    return weight * losses
