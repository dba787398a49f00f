"""What a defense takes away for one picture of a batch: weights of the network, or tokens from its attention."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from diffusers import UNet2DConditionModel
from jaxtyping import Bool, Float

from difflab.diffusion.attention import attention
from difflab.diffusion.pruning import Mask, pruned
from difflab.errors import require


@dataclass(frozen=True)
class TokenMask:
    """A change of cross-attention, in every layer.

    Attributes:
        hidden: True for tokens that get no attention; never all of them.
        begin: what the score of the first token is multiplied by, before the softmax.
    """

    hidden: Bool[torch.Tensor, " tokens"]
    begin: float = 1.0

    def __post_init__(self) -> None:
        require(not bool(self.hidden.all()), "a token mask hides every token; leave at least one.")


AnyMask = Mask | TokenMask


@contextmanager
def masked(unet: UNet2DConditionModel, masks: Mask | Sequence[AnyMask] | None) -> Iterator[None]:
    """Take weights and tokens away within the context; on leaving the network computes as before.

    Args:
        unet: the network.
        masks: one mask of weights, or one mask for each row of every batch that the network is called with inside.

    Raises:
        InputError: as in `pruned`; inside, a token mask is for prompts of another length.
    """
    if masks is None or isinstance(masks, Mapping):
        with pruned(unet, masks):
            yield
        return
    with ExitStack() as stack:
        if any(isinstance(mask, TokenMask) for mask in masks):
            stack.enter_context(attention(unet, _Scores(masks)))
        if any(isinstance(mask, Mapping) and mask for mask in masks):
            stack.enter_context(pruned(unet, of_weights(masks)))
        yield


def of_weights(masks: Sequence[AnyMask]) -> list[Mask]:
    """The same masks where the prompt is empty: weights stay switched off, and there are no tokens to hide."""
    return [mask if isinstance(mask, Mapping) else {} for mask in masks]


class _Scores:
    """Row i of a batch as token mask i says."""

    def __init__(self, masks: Sequence[AnyMask]) -> None:
        length = next(len(mask.hidden) for mask in masks if isinstance(mask, TokenMask))
        self.hidden = torch.zeros((len(masks), length), dtype=torch.bool)
        self.begin = torch.ones(len(masks))
        for row, mask in enumerate(masks):
            if isinstance(mask, TokenMask):
                require(len(mask.hidden) == length, "token masks of one batch are for prompts of one length.")
                self.hidden[row], self.begin[row] = mask.hidden, mask.begin

    def __call__(
        self, scores: Float[torch.Tensor, "b heads pixels tokens"]
    ) -> Float[torch.Tensor, "b heads pixels tokens"]:
        shape = tuple(self.hidden.shape)
        require(shape == (len(scores), scores.shape[-1]), f"the masks are {shape} rows and tokens, the batch is not.")
        first = scores[..., :1] * self.begin.to(scores)[:, None, None, None]
        changed = torch.cat([first, scores[..., 1:]], dim=-1)
        return changed.masked_fill(self.hidden.to(scores.device)[:, None, None], -torch.inf)
