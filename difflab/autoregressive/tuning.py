"""Ways to fine-tune a small Llama: which weights move, or which are put beside it."""

import copy
from typing import NamedTuple

import torch
from peft import LoraConfig, PeftConfig, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig, get_peft_model

from difflab.autoregressive.model import LanguageModel
from difflab.errors import require
from difflab.randomness import begin_torch

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
PROJECTIONS = ("gate_proj", "up_proj", "down_proj")
"""Matrices of a Llama's attention, and of what follows it in a layer."""
FULL, HEAD, LORA_ATTENTION, LORA_PROJECTIONS, LORA_BOTH, PREFIX, PROMPT, P_TUNING = (
    "full", "head", "LoRA on attention", "LoRA on projections", "LoRA on both", "prefix", "prompt", "P-tuning",
)  # fmt: skip
WEIGHTS = (FULL, HEAD, LORA_ATTENTION, LORA_PROJECTIONS, LORA_BOTH)
"""Ways that change what the layers compute."""
PROMPTS = (PREFIX, PROMPT, P_TUNING)
"""Ways that put learned tokens before the text and leave the layers as they are."""
METHODS = WEIGHTS + PROMPTS


class Sizes(NamedTuple):
    """How much is trained.

    Attributes:
        rank: of LoRA's matrices on attention or projections alone; on both, each has half of it, at least 1.
        prefix: keys and values of each layer that prefix tuning puts before the text.
        prompt: embeddings that prompt tuning and P-tuning put before it.
        hidden: width of the perceptron that writes those of P-tuning.
    """

    rank: int = 2
    prefix: int = 8
    prompt: int = 16
    hidden: int = 32

    def before(self, method: str) -> int:
        """Places before the text that a method takes of the context."""
        return {PREFIX: self.prefix, PROMPT: self.prompt, P_TUNING: self.prompt}.get(method, 0)


def adapted(model: LanguageModel, method: str, sizes: Sizes, seed: int) -> LanguageModel:
    """A copy of a model in which what a method trains wants gradients, and nothing else does.

    LoRA starts as the model itself; prompts and prefixes are random at first, so that the model starts a little worse.

    Args:
        model: a Llama whose head has weights of its own; it stays as it is.
        method: a name of `METHODS`.
        sizes: how much is trained.
        seed: of the first weights of what is put beside the model.

    Raises:
        InputError: there is no such method, the model is no Llama, or its head is its embedding.

    Reference:
        LoRA: Hu et al. 2021, arXiv 2106.09685. Prefix tuning: Li and Liang 2021, arXiv 2101.00190. Prompt tuning:
        Lester et al. 2021, arXiv 2104.08691. P-tuning: Liu et al. 2021, arXiv 2103.10385. As peft has them.
    """
    require(method in METHODS, f"method is {method!r}; give one of {', '.join(METHODS)}.")
    kind = model.config.model_type
    require(kind == "llama", f"{model.name} is a {kind}; give a Llama, whose matrices have these names.")
    require(
        not model.config.tie_word_embeddings, f"{model.name}'s head is its embedding; untie them to train one alone."
    )
    network = copy.deepcopy(model.model)
    if method in (FULL, HEAD):
        network.requires_grad_(method == FULL)
        network.get_parameter("lm_head.weight").requires_grad_(True)
        return LanguageModel(network, model.tokenizer, method)
    with torch.random.fork_rng(devices=[]):
        begin_torch(seed)
        beside = get_peft_model(network, _config(method, sizes), autocast_adapter_dtype=False)
    return LanguageModel(beside.eval(), model.tokenizer, method)


def trained_size(model: LanguageModel) -> int:
    """How many numbers want gradients."""
    return sum(weight.numel() for weight in model.model.parameters() if weight.requires_grad)


def _config(method: str, sizes: Sizes) -> PeftConfig:
    task = "CAUSAL_LM"
    if method == PREFIX:
        return PrefixTuningConfig(task_type=task, num_virtual_tokens=sizes.prefix)
    if method == PROMPT:
        return PromptTuningConfig(task_type=task, num_virtual_tokens=sizes.prompt)
    if method == P_TUNING:
        return PromptEncoderConfig(task_type=task, num_virtual_tokens=sizes.prompt, encoder_hidden_size=sizes.hidden)
    rank, targets = sizes.rank, {LORA_ATTENTION: ATTENTION, LORA_PROJECTIONS: PROJECTIONS}.get(method)
    if targets is None:
        rank, targets = max(1, rank // 2), ATTENTION + PROJECTIONS
    return LoraConfig(task_type=task, r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=list(targets))
