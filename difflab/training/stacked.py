"""Perceptrons of one shape, trained side by side as one program, each on data of its own and as if it were alone."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
from jaxtyping import Float

from difflab.errors import require
from difflab.training.loop import NOWHERE, Keeping, Plan, optimize
from difflab.training.schedules import cosine

Outputs = list[Float[torch.Tensor, "m b _"]]
Losses = Callable[[int], Float[torch.Tensor, " m"]]
"""losses(step): of each perceptron, of which no one depends on another's weights."""


class Stacked(torch.nn.Module):
    """m perceptrons; SiLU stands between the layers, and nothing after the last one."""

    def __init__(self, widths: Sequence[int], generators: Sequence[torch.Generator]) -> None:
        """Weights from normal laws of variance 1 / inputs, biases 0.

        Args:
            widths: of the input, of every hidden layer, and of the output.
            generators: on the CPU, one for each perceptron, which draws its weights layer by layer.

        Raises:
            InputError: there is no layer, or no perceptron.
        """
        super().__init__()
        require(len(widths) >= 2 and len(generators) >= 1, "give an input, an output, and at least one perceptron.")
        layers = list(pairwise(widths))
        drawn = [[torch.randn(pair, generator=one) / pair[0] ** 0.5 for pair in layers] for one in generators]
        self.weights = torch.nn.ParameterList([torch.stack(layer) for layer in zip(*drawn, strict=True)])
        self.biases = torch.nn.ParameterList([torch.zeros(len(generators), 1, width) for width in widths[1:]])

    def forward(self, x: Float[torch.Tensor, "m b d"]) -> Outputs:
        """What every layer gives: the hidden ones after their SiLU, the output last."""
        found = list[torch.Tensor]()
        for weight, bias in zip(self.weights, self.biases, strict=True):
            x = torch.baddbmm(bias, torch.nn.functional.silu(x) if found else x, weight)
            found.append(x)
        return [*map(torch.nn.functional.silu, found[:-1]), found[-1]]

    def norms(self) -> Float[torch.Tensor, " m"]:
        """Length of the vector of all weights of each."""
        parts = [part.detach().flatten(1).square().sum(1) for part in (*self.weights, *self.biases)]
        return torch.stack(parts).sum(0).sqrt()


def train_stacked(
    network: Stacked,
    losses: Losses,
    steps: int,
    rate: float,
    keeping: Keeping = NOWHERE,
    until: int | None = None,
) -> None:
    """Train in place by Adam, along half a cosine from the rate to 0; what a killed run has done is not done again.

    Adam moves every weight by its own gradients alone, so that the sum of all losses trains each perceptron by its own.

    Args:
        network: all perceptrons.
        losses: of every step; what it draws comes from numbers of the step.
        steps: of the whole training.
        rate: highest learning rate.
        keeping: where the state is kept.
        until: stop after this many steps, to look at the networks; the next call goes on from the checkpoint.

    Raises:
        InputError: a loss is no longer finite.
    """
    optimizer = torch.optim.Adam(network.parameters(), rate, fused=True)
    plan = Plan(steps, partial(cosine, steps=steps, rate=rate), clip=None)
    optimize(lambda step: losses(step).sum(), optimizer, plan, keeping, until)
