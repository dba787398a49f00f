"""What language models cost here, beside plain loops over transformers' own classes on the same model and machine.

    .venv/bin/python benchmarks/language.py [--only training decoding likelihood] [--processor]

Training: texts of 16 to 128 tokens on a GPT-2 of 4 layers and 128 numbers, against a loop of padded batches of one
DataLoader, model(labels=...) and AdamW at its defaults, as transformers' examples have it: GPT-2 at its own activation
and dropout, and the very configuration that is trained here. Compared are tokens of texts a second. Its operations a
second stand beside those of a float32 product of two matrices of 1024 x 1024, and of the products that this model
consists of, at the sizes that they have at this batch.

Decoding: 1,000 prefixes of 50 tokens, 50 new ones each, greedy, against `generate` one prefix at a time, and against
`generate` on the same batches. Likelihood: a corpus of 100 tokens a text, against the model's own forward pass on
the same batches, on a GPT-2 of this size and a Llama as large as SmolLM2 (135 million weights, 49,152 tokens).

Wall-clock seconds, the best of two; with --processor the seconds that the processor worked for this process, which tell
the same on one thread of a machine that has other work.
"""

import argparse
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Int
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, GenerationConfig, GPT2Config, LlamaConfig, PreTrainedConfig
from transformers.utils import logging

from difflab.autoregressive.generate import continued
from difflab.autoregressive.likelihood import batches, predictions
from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.recipe import Recipe, architecture, build, packed
from difflab.autoregressive.train import cross_entropy, train

VOCABULARY, CONTEXT, BATCH, STEPS = 2048, 128, 32, 8
PREFIXES, GIVEN, NEW = 1000, 50, 50
SIDE = 1024
"""Of the matrices that rates are compared with."""
clock: Callable[[], float] = time.perf_counter
PARTS = ("training", "decoding", "likelihood")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--processor", action="store_true", help="processor time instead of wall-clock time")
    asked = parser.parse_args()
    only = asked.only
    global clock
    clock = time.process_time if asked.processor else time.perf_counter
    logging.set_verbosity_error()
    print(f"on {torch.get_num_threads()} threads, {'processor' if asked.processor else 'wall-clock'} time")
    config = architecture("gpt2", "small", VOCABULARY, CONTEXT, VOCABULARY - 1)
    if "training" in only:
        training(config)
    if "decoding" in only:
        decoding(build(config, 0, name="GPT-2"))
    if "likelihood" in only:
        likelihood(build(config, 0, name="GPT-2"), 640)
        likelihood(build(as_smollm2(), 0, name="135 million weights"), 40)


def as_smollm2() -> PreTrainedConfig:
    """A Llama of the sizes of SmolLM2-135M."""
    return LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
        num_key_value_heads=3, max_position_embeddings=2048, tie_word_embeddings=True,
    )  # fmt: skip


def row(name: str, value: str) -> None:
    """One line of the table."""
    print(f"  {name:55s}{value}", flush=True)


def training(config: PreTrainedConfig) -> None:
    """Tokens a second here and in two plain loops; operations a second."""
    texts = random_texts(np.random.default_rng(0).integers(16, CONTEXT, 1000))
    rows = packed(texts, CONTEXT + 1, VOCABULARY - 1)
    share = sum(map(len, texts)) / rows.size
    model = build(config, 0)
    ours = best(lambda: train(model, rows, Recipe(STEPS, BATCH, warmup=0), 0)) / STEPS
    mine = BATCH * (CONTEXT + 1) * share / ours
    row(f"training on rows of {CONTEXT} tokens, {BATCH} a step", f"{ours:.3f} s a step, {mine:.0f} tokens of texts/s")
    usual = GPT2Config(
        vocab_size=VOCABULARY, n_positions=CONTEXT, n_embd=config.n_embd, n_layer=config.n_layer, n_head=config.n_head,
        bos_token_id=VOCABULARY - 1, eos_token_id=VOCABULARY - 1,
    )  # fmt: skip
    for name, other in (("GPT-2's own config", usual), ("the same config", config)):
        theirs = plain_training(AutoModelForCausalLM.from_config(other), texts)
        row(
            f"a plain loop of padded texts, {name}",
            f"{theirs:.0f} tokens of texts/s, ours is {mine / theirs:.2f} times",
        )
        theirs = plain_training(AutoModelForCausalLM.from_config(other), list(rows[:, :CONTEXT]))
        row(
            f"a plain loop on our full rows, {name}",
            f"{theirs:.0f} tokens/s, ours is {mine / share / theirs:.2f} times",
        )
    peak, shown = product_rate([(SIDE, SIDE, SIDE)] * 20), torch.from_numpy(rows[:BATCH])
    network = model.model.requires_grad_(True)
    done = operations(lambda: cross_entropy(network, shown).mean().backward())
    n, width = BATCH * CONTEXT, config.n_embd
    layer = [(n, width, 3 * width), (n, width, width), (n, width, 4 * width), (n, 4 * width, width)]
    own = product_rate([*layer * config.n_layer, (n, width, VOCABULARY)])
    row(f"a matrix product of {SIDE} x {SIDE}", f"{peak / 1e9:.1f} GFLOP/s")
    row("the matrix products of this model, forward", f"{own / 1e9:.1f} GFLOP/s, {own / peak:.0%} of that")
    rate = done / ours
    row("training", f"{rate / 1e9:.1f} GFLOP/s, {rate / peak:.0%} of the first, {rate / own:.0%} of the second")


def plain_training(network: torch.nn.Module, texts: Sequence[Int[np.ndarray, " t"]]) -> float:
    """Tokens of texts a second of the loop that anybody would write."""
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    found = list[float]()

    def collate(some: list[Int[np.ndarray, " t"]]) -> dict[str, torch.Tensor]:
        lengths = torch.tensor([len(ids) for ids in some])
        ids = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(part) for part in some], batch_first=True)
        there = torch.arange(ids.shape[1]) < lengths[:, None]
        return {"input_ids": ids, "attention_mask": there.long(), "labels": ids.masked_fill(~there, -100)}

    def run() -> None:
        tokens, begin = 0, clock()
        loader = DataLoader(texts, batch_size=BATCH, shuffle=True, collate_fn=collate)  # type: ignore[arg-type]
        for _, batch in zip(range(STEPS), loader, strict=False):
            tokens += int(batch["attention_mask"].sum())
            optimizer.zero_grad()
            network(**batch).loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
        found.append(tokens / (clock() - begin))

    best(run)
    return max(found[1:])


def decoding(model: LanguageModel) -> None:
    """Prefixes a second here and by generate."""
    prefixes = random_texts(np.full(PREFIXES, GIVEN))
    ours = best(lambda: continued(model, prefixes, NEW))
    row(f"{PREFIXES} prefixes of {GIVEN}, {NEW} new tokens each", f"{ours:.2f} s")
    # A tenth of them one at a time: the others would take as long.
    one = best(lambda: generated(model, prefixes[: PREFIXES // 10], 1)) * 10
    row("the same by generate, one at a time", f"{one:.2f} s, {one / ours:.1f} times as long")
    many = best(lambda: generated(model, prefixes, 64))
    row("the same by generate, 64 at once", f"{many:.2f} s, {many / ours:.2f} times as long")


def generated(model: LanguageModel, prefixes: Sequence[Int[np.ndarray, " p"]], at_once: int) -> None:
    """What transformers' generate writes greedily; nothing ends a text."""
    config = GenerationConfig(max_new_tokens=NEW, do_sample=False, pad_token_id=0, eos_token_id=None)
    for start in range(0, len(prefixes), at_once):
        ids = torch.from_numpy(np.stack([np.append(model.begin, p) for p in prefixes[start : start + at_once]]))
        model.model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)  # type: ignore[operator]


def likelihood(model: LanguageModel, n: int, length: int = 100) -> None:
    """Tokens a second of all five numbers, as a share of the forward pass alone."""
    texts = random_texts(np.full(n, length))
    ours = best(lambda: predictions(model, texts))

    @torch.inference_mode()
    def forward() -> None:
        for rows in batches(np.full(n, length), 4096):
            model.model(input_ids=torch.from_numpy(np.stack([texts[i] for i in rows])), use_cache=False)

    alone = best(forward)
    row(
        f"likelihood of {n} texts, {model.name}",
        f"{n * length / ours:.0f} tokens/s, {alone / ours:.0%} of the forward pass",
    )


def random_texts(lengths: Int[np.ndarray, " n"]) -> list[Int[np.ndarray, " t"]]:
    """Tokens drawn evenly; the last ones of the vocabulary are left for marks."""
    generator = np.random.default_rng(1)
    return [generator.integers(0, VOCABULARY - 2, n) for n in lengths]


def product_rate(sizes: Sequence[tuple[int, int, int]]) -> float:
    """Floating-point operations a second of float32 products of (n, m) and (m, k) matrices."""
    pairs = [(torch.randn((n, m)), torch.randn((m, k))) for n, m, k in sizes]

    def run() -> None:
        for a, b in pairs:
            a @ b

    return sum(2 * n * m * k for n, m, k in sizes) / best(run)


def operations(function: Callable[[], object]) -> float:
    """Floating-point operations of matrix products in a call, attention as matrix products."""
    counter = FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), counter:
        function()
    return float(counter.get_total_flops())


def best(function: Callable[[], object]) -> float:
    """Wall-clock seconds of the quicker of two calls, after one to warm up."""
    function()
    found = []
    for _ in range(2):
        begin = clock()
        function()
        found.append(clock() - begin)
    return min(found)


if __name__ == "__main__":
    main()
