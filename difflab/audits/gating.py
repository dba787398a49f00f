"""Training under a gate: a layer's entropy is lowered, too, in the phases that the gate opens, or at given steps."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int

from difflab.autoregressive.learning import full_rows
from difflab.autoregressive.objectives.compression import Compression, mean_entropy
from difflab.autoregressive.padded import shown
from difflab.autoregressive.shown import mean_loss
from difflab.autoregressive.unlearning import layer_of
from difflab.training.gate import Gate, State, turned


class Gated:
    """An objective of `difflab.autoregressive.train.train` that looks at what it has seen: objective(network, rows).

    It holds the state of its gate, and takes its steps to be those of one training from the first on: a training that
    was interrupted begins anew with a new one.

    Args:
        config: how much the entropy counts, over which tokens, of which layer.
        gate: when it is lowered, too.
        given: first tokens of every row that are not learned.
        steps: whether the entropy is lowered at each step, in place of what the gate says; a control.

    Attributes:
        compressing: whether the entropy was lowered, too, of every step so far.

    Reference:
        Yu 2025 (GAPT), arXiv 2505.08727, section 3.
    """

    def __init__(self, config: Compression, gate: Gate, given: int = 1, steps: Sequence[bool] | None = None) -> None:
        self._config, self._gate, self._given, self._steps = config, gate, given, steps
        self._state = State()
        self.compressing = list[bool]()

    def __call__(self, network: Any, rows: Int[torch.Tensor, "b t"]) -> Float[torch.Tensor, ""]:
        """The loss of this step."""
        layer = layer_of(self._config, network.config.num_hidden_layers)
        found = shown(network, full_rows(rows, self._given), frozenset({"hidden"}), layer)
        assert found.hidden is not None
        loss, entropy = mean_loss(found), mean_entropy(found.hidden, found.counted, self._config.patch)
        now = self._state.compressing if self._steps is None else self._steps[len(self.compressing)]
        self.compressing.append(bool(now))
        self._state = turned(self._state, float(loss.detach()), float(entropy.detach()), self._gate)
        return loss + self._config.weight * entropy if now else loss
