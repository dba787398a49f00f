"""Membership score: how little the weights would move if the text were trained on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch.func import functional_call

from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.reading import check_lengths, decoded, finite_scores
from difflab.errors import require
from difflab.statistics.scores import Scores

POWERS = (1.0, 2.0, float("inf"))


@dataclass(frozen=True)
class GradNorm:
    """How a gradient is measured.

    Attributes:
        power: p of the norm of each tensor's gradient: 1, 2 or inf.
    """

    power: float = float("inf")

    def __post_init__(self) -> None:
        require(self.power in POWERS, f"power is {self.power}; give 1, 2 or inf.")


def grad_norm(model: LanguageModel, texts: Sequence[Int[np.ndarray, " _"]], config: GradNorm = GradNorm()) -> Scores:
    """Score texts by minus the gradient of their loss.

    score = - mean over parameter tensors of |gradient of the mean loss of the text's tokens|_p.

    Args:
        model: that is asked; its gradients stay as they are, frozen weights included.
        texts: token ids, read one at a time.
        config: how.

    Returns:
        One score per text, not positive, higher = more likely a member; features are the norms, tensor by tensor.

    Raises:
        InputError: there are no texts, one has no predicted token, is longer than the context or holds ids outside the
            vocabulary, or a gradient is not finite.

    Reference:
        Wang et al. 2024, arXiv 2402.17012; p = inf as in mimir, arXiv 2402.07841.
    """
    check_lengths(model, texts, 1 if model.begin is not None else 2)
    norms = np.stack([_norms(model, ids, config.power) for ids in texts])
    found = finite_scores(decoded(model, texts), (-norms.mean(axis=1)).tolist())
    return Scores(found.items, found.values, norms)


@torch.enable_grad()
def _norms(model: LanguageModel, ids: Int[np.ndarray, " _"], power: float) -> Float[np.ndarray, " tensors"]:
    """Norms of the gradient of one text's loss, one for each tensor of weights; 0 of a tensor that it does not move."""
    begin = [] if model.begin is None else [model.begin]
    whole = torch.tensor([*begin, *ids.tolist()], device=model.device)
    # Aliases of the weights that a gradient may flow to, so that nothing of the model itself is touched.
    weights = {name: value.detach().requires_grad_() for name, value in model.model.named_parameters()}
    arguments = {"input_ids": whole[None, :-1], "use_cache": False}
    logits = functional_call(model.model, weights, kwargs=arguments).logits[0, 1 - len(whole) :]
    loss = torch.nn.functional.cross_entropy(logits.float(), whole[1:])
    gradients = torch.autograd.grad(loss, list(weights.values()), allow_unused=True, materialize_grads=True)
    norms = torch.stack([torch.linalg.vector_norm(one, power, dtype=torch.float64) for one in gradients])
    return norms.cpu().numpy()
