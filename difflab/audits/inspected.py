"""A model of either kind, looked at beside copies that were never trained, as arrays that can be kept."""

import copy
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float

from difflab.audits.worlds import random_network
from difflab.autoregressive import inside as language
from difflab.autoregressive.generate import continued
from difflab.autoregressive.likelihood import OWN
from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.recipe import build
from difflab.datasets.texts import Texts
from difflab.diffusion import inside as diffusion
from difflab.diffusion.batch_sizes import fitting
from difflab.diffusion.generate import batches, embed
from difflab.diffusion.inside import Times
from difflab.diffusion.tokens import say_cut
from difflab.errors import require
from difflab.progress import progress
from difflab.randomness import item_seeds, stream, torch_from
from difflab.statistics.readings import GROUPS, Inside

MODEL, UNTRAINED = "model", "untrained"
_GUIDANCE = 3.0


class Reading(NamedTuple):
    """What decides the arrays.

    Attributes:
        items: texts or pictures, at most.
        tokens: of a text.
        steps: of drawing.
        times: where a pipeline is looked at.
        copies: never trained, each with first weights of its own.
        seed: of all chance.
    """

    items: int
    tokens: int
    steps: int
    times: Times
    copies: int
    seed: int


def read_language_model(model: LanguageModel, texts: Texts | None, reading: Reading) -> dict[str, np.ndarray]:
    """Look inside a language model and its untrained copies at the same texts: see `parts`.

    Raises:
        InputError: too few texts have so many tokens, or the model can't write texts by itself and none are given.
    """
    least = 2 * GROUPS
    require(
        reading.tokens < model.context,
        f"tokens is {reading.tokens} and {model.name} reads {model.context}; give fewer.",
    )
    if texts is None:
        require(model.begin is not None, f"{model.name} has no token that begins a text; give texts for it to read.")
        generators = [stream(reading.seed, "written", i).torch() for i in range(reading.items)]
        nothing = [np.zeros(0, np.int64)] * reading.items
        ids = continued(model, nothing, reading.tokens, OWN, generators)
        whose = "it writes"
    else:
        order = stream(reading.seed, "texts").numpy().permutation(len(texts.texts))
        ids, whose = [found[: reading.tokens] for found in model.encode([texts.texts[i] for i in order])], "given"
    whole = [one for one in ids if len(one) == reading.tokens][: reading.items]
    require(
        len(whole) >= least,
        f"{len(whole)} texts that are {whose} have {reading.tokens} tokens, and {least} are needed; give more or longer"
        " texts, or fewer tokens.",
    )
    name = f"{model.name}, never trained"
    with progress((1 + reading.copies) * len(whole), "texts read") as advance:
        found = _arrays(MODEL, language.inside(model, whole, advance=advance))
        for who, seed in untrained_copies(reading):
            # Building a model writes into its configuration.
            other = build(copy.deepcopy(model.model.config), seed, model.tokenizer, name)
            other.model.to(model.device)
            found |= _arrays(who, language.inside(other, whole, advance=advance))
    return found


def read_pipeline(pipeline: StableDiffusionPipeline, texts: Texts | None, reading: Reading) -> dict[str, np.ndarray]:
    """Look inside a pipeline and its untrained copies at the same pictures, which the pipeline draws: see `parts`.

    Raises:
        InputError: there are too few prompts.
    """
    prompts = _prompts(texts, reading)
    say_cut(pipeline.tokenizer, prompts)
    embeddings = embed(pipeline, prompts)
    seeds = item_seeds(reading.seed, "drawn", len(prompts))
    latents = _drawn(pipeline, embeddings, seeds, reading.steps)

    with progress((1 + reading.copies) * len(prompts), "pictures looked at") as advance:

        def told(who: str, one: StableDiffusionPipeline) -> dict[str, np.ndarray]:
            noises = [stream(reading.seed, "noise", i).torch() for i in range(len(prompts))]
            return _arrays(who, diffusion.inside(one, latents, embeddings, noises, reading.times, advance))

        found = told(MODEL, pipeline)
        for who, seed in untrained_copies(reading):
            found |= told(who, random_network(pipeline, seed))
    return found


def untrained_copies(reading: Reading) -> list[tuple[str, int]]:
    """What arrays call each copy that was never trained, and the seed of its first weights."""
    seeds = item_seeds(reading.seed, UNTRAINED, reading.copies)
    return [(f"{UNTRAINED}-{i}", seed) for i, seed in enumerate(seeds)]


def parts(arrays: Mapping[str, np.ndarray], who: str) -> Inside:
    """What the arrays say of the model or of one copy: "WHO states PLACE LAYER", "WHO attention PLACE LAYER", "WHO
    dimensions".
    """
    layers: dict[str, dict[str, np.ndarray]] = {"states": {}, "attention": {}}
    for name in sorted(arrays):
        owner, kind, *rest = name.split(" ", 3)
        if owner == who and kind in layers:
            layers[kind][rest[1]] = arrays[name]
    return Inside(layers["states"], layers["attention"], arrays.get(f"{who} dimensions"))


def _arrays(who: str, inside: Inside) -> dict[str, np.ndarray]:
    found = {} if inside.dimensions is None else {f"{who} dimensions": inside.dimensions}
    for kind, layers in (("states", inside.states), ("attention", inside.attention)):
        found |= {f"{who} {kind} {i:03d} {name}": array for i, (name, array) in enumerate(layers.items())}
    return found


def _prompts(texts: Texts | None, reading: Reading) -> list[str]:
    """The user's, or as many empty ones as pictures are wanted."""
    if texts is None:
        return [""] * reading.items
    least = 2 * GROUPS
    require(len(texts.texts) >= least, f"there are {len(texts.texts)} prompts; give at least {least}, or none.")
    order = stream(reading.seed, "texts").numpy().permutation(len(texts.texts))[: reading.items]
    return [texts.texts[i] for i in order]


def _drawn(
    pipeline: StableDiffusionPipeline,
    embeddings: Float[torch.Tensor, "n tokens width"],
    seeds: Sequence[int],
    steps: int,
) -> Float[torch.Tensor, "n c h w"]:
    """The latents of one picture for each prompt."""
    generators = [torch_from(seed) for seed in seeds]
    found = []
    with progress(len(seeds), "pictures drawn") as advance:
        for rows, taken in batches(pipeline, embeddings, generators, steps, _GUIDANCE, fitting(pipeline)):
            *_, last = taken
            found.append(last.denoised)
            advance(len(rows))
    return torch.cat(found)
