"""Small language models that know a few texts by heart, and what a model must be left as."""

import numpy as np
import torch
from language_models import words
from transformers import GPT2Config, GPT2LMHeadModel

from difflab.autoregressive.model import LanguageModel
from difflab.methods import methods

VOCABULARY, CONTEXT, LENGTH = 24, 40, 20


def untrained(seed=0, begin=True, size=VOCABULARY, width=32, layers=2, scale=1.0):
    """A random GPT-2; with a larger scale its predictions depend on all that came before."""
    torch.manual_seed(seed)
    ends = {"bos_token_id": None, "eos_token_id": None}
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=size, n_positions=CONTEXT, n_embd=width, n_layer=layers, n_head=2, **ends)
    )
    model = model.eval().requires_grad_(False)
    for weight in model.parameters():
        if weight.ndim == 2:
            weight.mul_(scale)
    return LanguageModel(model, words(begin, size=size), "random")


def texts(seed, n, length=LENGTH, size=VOCABULARY):
    """Random words, of which none begins a text."""
    return list(np.random.default_rng(seed).integers(0, size - 1, (n, length)))


def memorizer(learned, steps=90):
    """A model that was trained on these texts and nothing else, until it says them word for word."""
    found = untrained()
    model = found.model.requires_grad_(True)
    ids = torch.from_numpy(np.stack([np.append(found.begin, one) for one in learned]))
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(steps):
        loss = model(input_ids=ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    optimizer.zero_grad()
    model.requires_grad_(False)
    return found


def state(found):
    """Everything that a method must leave as it found it."""
    model = found.model
    return {
        "tensors": [value.clone() for value in model.state_dict().values()],
        "rng": [torch.get_rng_state(), torch.from_numpy(np.random.get_state()[1].astype(np.int64))],  # noqa: NPY002
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
        "modes": [module.training for module in model.modules()],
        "gradients": [value.requires_grad or value.grad is not None for value in model.parameters()],
        "sides": (found.tokenizer.padding_side, found.tokenizer.truncation_side),
        "grad": torch.is_grad_enabled(),
    }


def padded_log_probs(found, some, side):
    """ln p of every token and of all that could have come, by one padded batch of transformers' own forward pass.

    Nothing of difflab reads here: padding is masked, and places are counted from the first token.
    """
    begin = [] if found.begin is None else [found.begin]
    rows = [begin + one.tolist() for one in some]
    longest = max(map(len, rows))
    pads = [[0] * (longest - len(row)) for row in rows]
    ids = [pad + row if side == "left" else row + pad for row, pad in zip(rows, pads, strict=True)]
    ones = [[0] * len(pad) + [1] * len(row) if side == "left" else [1] * len(row) + [0] * len(pad)
            for row, pad in zip(rows, pads, strict=True)]  # fmt: skip
    mask = torch.tensor(ones)
    with torch.no_grad():
        logits = found.model(
            input_ids=torch.tensor(ids), attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0)
        ).logits.double()
    laws = []
    for row, pad, values in zip(rows, pads, logits.log_softmax(-1).numpy(), strict=True):
        first = len(pad) if side == "left" else 0
        laws.append((values[first : first + len(row) - 1], row[1:]))
    return laws


def shared_parts(kind):
    """Of each method that can do with texts that are read already, the function that does."""
    parts = {name: found.part("from_predictions") for name, found in methods(kind).items()}
    return {name: part for name, part in parts.items() if part}
