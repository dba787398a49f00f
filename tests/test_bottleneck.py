"""The branch of IB-FT against sums written out."""

import math

import numpy as np
import torch
from conformance import says_one_sentence

from difflab.autoregressive.bottleneck import Bottleneck


def test_the_branch_says_the_next_token_through_a_draw():
    torch.manual_seed(0)
    branch, head = Bottleneck(6, 3), torch.nn.Linear(6, 5, bias=False)
    outputs, noise = 20 * torch.randn(2, 4, 6), torch.randn(2, 4, 3)
    said = branch(outputs, head, noise)
    for i, t in np.ndindex(2, 4):
        h = outputs[i, t].detach().numpy()
        m = branch.mean.weight.detach().numpy() @ h + branch.mean.bias.detach().numpy()
        s = branch.log_variance.weight.detach().numpy() @ h + branch.log_variance.bias.detach().numpy()
        s = np.array([min(4.0, max(-4.0, x)) for x in s])
        z = m + np.array([math.exp(x / 2) for x in s]) * noise[i, t].numpy()
        logits = head.weight.detach().numpy() @ (
            branch.up.weight.detach().numpy() @ z + branch.up.bias.detach().numpy()
        )
        np.testing.assert_allclose(said.mean[i, t].detach(), m, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(said.log_variance[i, t].detach(), s, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(said.logits[i, t].detach(), logits, rtol=1e-3, atol=1e-4)
    assert (said.log_variance.abs() == 4).any()
    torch.manual_seed(1)
    drawn = branch(outputs, head).logits
    torch.manual_seed(1)
    assert torch.equal(branch(outputs, head).logits, drawn) and not torch.equal(branch(outputs, head).logits, drawn)


def test_a_bottleneck_has_a_width():
    assert "bottleneck of 0" in says_one_sentence(lambda: Bottleneck(6, 0))
