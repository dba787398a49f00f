"""Defense: random tokens among the words of the prompt, so that it is no longer the caption that was trained on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float, Int

from difflab.diffusion.defended import Defended, rewritten
from difflab.diffusion.generate import embed_tokens
from difflab.diffusion.tokens import tokens, unpadded, vocabulary
from difflab.errors import require
from difflab.randomness import numpy_from


@dataclass(frozen=True)
class TokenInsertion:
    """How many.

    Attributes:
        tokens: inserted into each caption, or as many as the text encoder still has room for, 0 or more.
    """

    tokens: int = 4

    def __post_init__(self) -> None:
        require(self.tokens >= 0, f"tokens is {self.tokens}; give 0 or more.")


def token_insertion(
    pipeline: StableDiffusionPipeline,
    captions: Sequence[str],
    unseen: Sequence[str] = (),
    seed: int = 0,
    config: TokenInsertion = TokenInsertion(),
) -> Defended:
    """The embedding of each caption with random tokens between begin and end.

    Any token of the vocabulary that is not special is as likely as any other, and so is every place; the caption's own
    tokens stay in their order.

    Args:
        pipeline: the model.
        captions: n prompts.
        unseen: not used.
        seed: of the draw, 0 or more; what a caption gets depends on the seed and the caption alone.
        config: how many.

    Returns:
        The model with another embedding for each caption; the caption's own where there is no room.

    Raises:
        InputError: there is no caption.

    Reference:
        Somepalli et al. 2023 (NeurIPS), arXiv 2305.20086: "random token replacement & addition" when prompting.

    Differs:
        Tokens are added and none replaced, and never so many that the caption would be cut.
    """
    require(len(captions) > 0, "token_insertion needs prompts to defend; give at least one.")
    tokenizer = pipeline.tokenizer
    others = vocabulary(tokenizer).numpy()

    def rewrite(captions: Sequence[str]) -> Float[torch.Tensor, "n tokens width"]:
        ids = tokens(tokenizer, captions)
        for row, plain in enumerate(unpadded(tokenizer, captions)):
            longer = torch.tensor(inserted(plain, others, min(config.tokens, ids.shape[1] - len(plain)), seed))
            ids[row, : len(longer)] = longer
        return embed_tokens(pipeline, ids)

    return rewritten(pipeline, captions, rewrite)


def inserted(plain: Sequence[int], others: Int[np.ndarray, " v"], k: int, seed: int) -> list[int]:
    """The same token ids with k others at random places, none before the first or after the last.

    Args:
        plain: a caption's ids, begin and end included.
        others: ids to draw from.
        k: how many.
        seed: together with the ids it seeds the draw, so that captions of one length differ in their places.
    """
    generator = numpy_from(seed, *plain)
    longer = list(plain)
    # One after the other: every arrangement of the k tokens among the caption's is equally likely.
    for token in generator.choice(others, k).tolist():
        longer.insert(int(generator.integers(1, len(longer))), token)
    return longer
