"""What every hidden unit of the MLPs does to the loss on some texts: a ranking of units to prune."""

import numpy as np
import torch
from jaxtyping import Float, Int

from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.train import cross_entropy
from difflab.autoregressive.units import maps_down


def unit_effects(model: LanguageModel, rows: Int[np.ndarray, "n t"]) -> Float[np.ndarray, "layers units"]:
    """By how much the mean loss would rise, to first order, were one unit left out: -sum of h dL/dh over all tokens.

    Args:
        model: left as it is.
        rows: token ids, all of one length; the first token of a row is not predicted.

    Raises:
        InputError: the model has no MLPs of a known kind.

    Reference:
        Molchanov et al. 2017, arXiv 1611.06440, section 2.2.
    """
    network = model.model
    maps = maps_down(network)
    factors = [torch.ones(maps.units, device=model.device, requires_grad=True) for _ in maps.modules]
    handles = [
        module.register_forward_pre_hook(lambda _, given, own=own: (given[0] * own, *given[1:]))
        for module, own in zip(maps.modules, factors, strict=True)
    ]
    try:
        with torch.enable_grad():
            loss = cross_entropy(network, torch.from_numpy(rows).to(model.device)).mean()
            found = torch.autograd.grad(loss, factors)
    finally:
        for handle in handles:
            handle.remove()
    return -torch.stack(found).cpu().numpy().astype(np.float64)
