"""A bottleneck beside a layer: few noisy numbers a position from which the next token must be said, too (IB-FT)."""

from typing import Any

import torch
from jaxtyping import Float

from difflab.autoregressive.shown import Branch
from difflab.errors import require

MOST = 4.0
"""Log-variances are held between minus this and this."""


class Bottleneck(torch.nn.Module):
    """Two linear maps down, a draw, and one linear map up; trained beside the model and thrown away.

    Args:
        hidden: numbers of the layer's output.
        width: numbers that a position is squeezed into.

    Reference:
        Wang et al. 2025, arXiv 2510.16022: 256 numbers beside layer 20 of 32.
    """

    def __init__(self, hidden: int, width: int) -> None:
        super().__init__()
        require(min(hidden, width) >= 1, f"a bottleneck of {width} beside {hidden} numbers; give at least 1 of each.")
        self.mean, self.log_variance = torch.nn.Linear(hidden, width), torch.nn.Linear(hidden, width)
        self.up = torch.nn.Linear(width, hidden)

    def forward(
        self, outputs: Float[torch.Tensor, "b t d"], head: Any, noise: Float[torch.Tensor, "b t k"] | None = None
    ) -> Branch:
        """What the branch says.

        z = m + e^(s / 2) noise; the next token's logits are those that the model's own head gives of the map up of z,
        without the normalisation before it.

        Args:
            outputs: of the layer.
            head: from outputs of the last layer to logits, as `model.get_output_embeddings()`.
            noise: standard normal; None draws it from torch's own source.
        """
        mean, log_variance = self.mean(outputs), self.log_variance(outputs).clamp(-MOST, MOST)
        drawn = torch.randn_like(mean) if noise is None else noise
        return Branch(mean, log_variance, head(self.up(mean + (log_variance / 2).exp() * drawn)))
