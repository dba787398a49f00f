"""Do a model's loss and the entropy of one of its layers pull its weights the same way? Cosines of their gradients."""

from typing import Any

import torch
from jaxtyping import Float, Int

from difflab.autoregressive.learning import full_rows
from difflab.autoregressive.objectives.compression import Compression, mean_entropy
from difflab.autoregressive.padded import shown
from difflab.autoregressive.shown import mean_loss
from difflab.autoregressive.unlearning import layer_of


def gradient_cosine(network: Any, rows: Int[torch.Tensor, "b t"], config: Compression, given: int = 1) -> float:
    """The cosine between the gradients of the mean loss and of the mean matrix entropy, over all weights that move.

    Above 0 a step that lowers the loss compresses, too, below 0 it spreads the layer's outputs.

    Args:
        network: of transformers, with weights that want gradients; their gradients stay as they are.
        rows: token ids.
        config: over which tokens, of which layer; its weight is not looked at.
        given: first tokens of every row that are not counted.

    Returns:
        In [-1, 1]; 0 where a gradient is 0.

    Reference:
        Yu 2025, arXiv 2505.08727, section 4: the sign of it along a training.
    """
    layer = layer_of(config, network.config.num_hidden_layers)
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    with torch.enable_grad():
        found = shown(network, full_rows(rows, given), frozenset({"hidden"}), layer)
        assert found.hidden is not None
        entropy = mean_entropy(found.hidden, found.counted, config.patch)
        of_loss = torch.autograd.grad(mean_loss(found), weights, retain_graph=True, materialize_grads=True)
        of_entropy = torch.autograd.grad(entropy, weights, materialize_grads=True)
    first, second = (torch.cat([part.flatten() for part in parts]).double() for parts in (of_loss, of_entropy))
    lengths = first.norm() * second.norm()
    return float(first @ second / lengths) if lengths > 0 else 0.0


class Cosines:
    """An objective of `difflab.autoregressive.train.train` that looks at its own batches on the way.

    Args:
        objective: that is lowered, objective(network, rows).
        config: of the entropy.
        given: first tokens of every row that are not counted.
        every: steps between two looks.

    Attributes:
        halves: of every look the cosines on both halves of the step's batch, which share no row of it.
    """

    def __init__(self, objective: Any, config: Compression, given: int, every: int) -> None:
        self._objective, self._config, self._given, self._every = objective, config, given, every
        self._step = 0
        self.halves = list[tuple[float, float]]()

    def __call__(self, network: Any, rows: Int[torch.Tensor, "b t"]) -> Float[torch.Tensor, "..."]:
        """The loss of this step."""
        if self._step % self._every == 0:
            half = len(rows) // 2
            parts = (rows[:half], rows[half:])
            first, second = (gradient_cosine(network, part, self._config, self._given) for part in parts)
            self.halves.append((first, second))
        self._step += 1
        lost: Float[torch.Tensor, ...] = self._objective(network, rows)
        return lost
