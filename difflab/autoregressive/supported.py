"""What a language model must be before it is asked anything; each fault in one sentence."""

from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from difflab.errors import InputError, require

_PADDING = 128
"""Ids without a token that any model may have: vocabularies are padded to multiples of 64 or 128."""


def check_config(config: Any, name: str) -> None:
    """What its configuration tells of a model that is not yet read.

    Raises:
        InputError: it is an encoder-decoder or a masked model.
    """
    kind = next(iter(getattr(config, "architectures", None) or ()), "model")
    encoder = getattr(config, "is_encoder_decoder", False)
    require(
        not encoder,
        f"{name} holds a {kind} of encoder and decoder ({config.model_type}); give a causal language model.",
    )
    require("MaskedLM" not in kind, f"{name} holds a {kind}, a masked model; give a causal language model.")


def check_model(model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """What must hold of a model and its tokenizer.

    Args:
        model: in evaluation mode.
        tokenizer: its own.
        name: how sentences call it.

    Raises:
        InputError: a weight is not finite, tokenizer and vocabulary are of different sizes, or the model is not causal.
    """
    for weight_name, weight in model.named_parameters():
        if weight.numel() and not torch.stack(torch.aminmax(weight.detach())).isfinite().all():
            raise InputError(f"{name}: the weight {weight_name} is not finite; fetch or train the model again.")
    config: Any = model.config
    check_config(config, name)
    vocabulary = config.get_text_config().vocab_size
    _check_sizes(tokenizer, vocabulary, name)
    _check_causal(model, vocabulary, name)


def _check_sizes(tokenizer: PreTrainedTokenizerBase, vocabulary: int, name: str) -> None:
    """No token lies outside the vocabulary, and only padding of the vocabulary lies outside the tokenizer."""
    tokens = max(tokenizer.get_vocab().values(), default=-1) + 1
    remedy = "give the tokenizer that the model was trained with"
    require(tokens > 0, f"{name}: the tokenizer has no tokens; {remedy}.")
    require(
        tokens <= vocabulary,
        f"{name}: the tokenizer has {tokens} tokens and the model {vocabulary}, so that some lie outside its"
        f" vocabulary; {remedy}.",
    )
    require(
        vocabulary - tokens <= max(_PADDING, vocabulary // 20),
        f"{name}: the tokenizer has {tokens} tokens and the model {vocabulary}, more than padding explains; {remedy}.",
    )


@torch.inference_mode()
def _check_causal(model: torch.nn.Module, vocabulary: int, name: str) -> None:
    """What comes later does not change what is said of the first token."""
    device = next(model.parameters()).device
    ids = torch.tensor([[0, 0], [0, vocabulary - 1]], device=device)
    try:
        found = getattr(model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False), "logits", None)
    except (TypeError, ValueError, RuntimeError, LookupError, AttributeError) as error:
        raise InputError(f"{name} can't read two tokens as a causal language model: {error}.") from error
    if found is None or tuple(found.shape[-2:]) != (2, vocabulary):
        raise InputError(f"{name} is a {type(model).__name__}, which predicts no tokens; give a causal language model.")
    require(bool(found.isfinite().all()), f"{name} gives no numbers for two tokens; load it in float32.")
    one, other = found[:, -2].float()
    scale = 16 * torch.finfo(found.dtype).eps * float(one.abs().max())
    require(
        bool((one - other).abs().max() <= scale),
        f"{name} looks at later tokens, as masked models do; give a causal language model.",
    )
