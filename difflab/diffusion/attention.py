"""Cross-attention made visible: how much every token gets, in every layer, while the U-Net runs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from jaxtyping import Float

from difflab.errors import require

Probabilities = dict[str, Float[torch.Tensor, "_ _ _ tokens"]]
"""Attention (pictures, heads, pixels, tokens) of the last call of the U-Net, by the name of the layer (`...attn2`)."""


def cross_attentions(unet: UNet2DConditionModel) -> dict[str, Attention]:
    """The cross-attention layers by name, in the order in which they run: down, mid, up."""
    found = {
        name: module
        for name, module in unet.named_modules()
        if isinstance(module, Attention) and name.endswith("attn2")
    }
    order = ("down_blocks", "mid_block", "up_blocks")
    return dict(sorted(found.items(), key=lambda item: order.index(item[0].split(".")[0])))


@contextmanager
def attention(
    unet: UNet2DConditionModel,
    change: Callable[[Float[torch.Tensor, "b heads pixels tokens"]], Float[torch.Tensor, "b heads pixels tokens"]]
    | None = None,
) -> Iterator[Probabilities]:
    """Record the cross-attention probabilities of every call of the U-Net within the context.

    p = softmax(q k^T / sqrt(width)) over tokens, per head and pixel. On leaving, the layers compute as before.

    Args:
        unet: its cross-attention layers are watched.
        change: applied to the scores q k^T / sqrt(width) before the softmax; None leaves them.

    Returns:
        A context whose value is filled anew at every call of the U-Net.
    """
    seen: Probabilities = {}
    layers = cross_attentions(unet)
    before = {name: layer.processor for name, layer in layers.items()}
    try:
        for name, layer in layers.items():
            layer.set_processor(_Recorder(name, seen, change))
        yield seen
    finally:
        for name, layer in layers.items():
            layer.set_processor(before[name])


class _Recorder:
    """An attention processor as diffusers calls it, written out so that the probabilities exist."""

    def __init__(self, name: str, seen: Probabilities, change: Callable[..., Any] | None) -> None:
        self.name, self.seen, self.change = name, seen, change

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
    ) -> torch.Tensor:
        residual, text = hidden_states, encoder_hidden_states
        assert text is not None and hidden_states.ndim == 3
        require(
            attention_mask is None,
            "attention can be watched and changed for prompts as long as the empty one only; leave out the extra rows.",
        )
        query, key, value = attn.to_q(hidden_states), attn.to_k(text), attn.to_v(text)
        query, key, value = (part.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for part in (query, key, value))
        if attn.upcast_attention:
            query, key = query.float(), key.float()
        scores = query @ key.transpose(-1, -2) * attn.scale
        if self.change is not None:
            scores = self.change(scores)
        probabilities = scores.softmax(dim=-1).to(value.dtype)
        self.seen[self.name] = probabilities
        out = (probabilities @ value).transpose(1, 2).flatten(2)
        out = attn.to_out[1](attn.to_out[0](out))
        if attn.residual_connection:
            out = out + residual
        return out / attn.rescale_output_factor
