"""Attack: Dori from several random starts, away from the prompt; the best one counts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch.nn.functional import pad

from difflab.diffusion.batch_sizes import searches_at_once
from difflab.diffusion.defended import Defended
from difflab.diffusion.generate import embed_tokens
from difflab.diffusion.search import Kept, Search, searched_from
from difflab.diffusion.tokens import vocabulary
from difflab.diffusion.trigger import Trigger
from difflab.errors import require
from difflab.randomness import torch_from

STARTS = ("noise", "tokens")


@dataclass(frozen=True)
class Restarts(Kept):
    """How the embeddings are searched.

    Attributes:
        keep: numbers of steps after which the embedding is kept, rising; the last one ends the search.
        rate: learning rate of Adam, in units of the start's root mean square.
        batch: draws of noise and time each step, all fresh.
        radius: greatest distance from the start, in units of the start's length; None for no bound.
        patience: steps between two looks at the loss on fixed draws; the best iterate so far is what is kept.
        looks: fixed draws of noise and time for those looks, the same for all starts of a target.
        starts: searches for each target.
        begin: where they begin: "noise", the prompt and Gaussian noise of its root mean square on every number, or
            "tokens", prompts of random tokens that fill all places between begin and end.
    """

    on_oracle: ClassVar[bool] = True
    starts: int = 4
    begin: str = "noise"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.starts >= 1, f"starts is {self.starts}; give at least 1.")
        require(self.begin in STARTS, f"begin is {self.begin!r}; give one of {', '.join(STARTS)}.")


def restarts(
    defended: Defended,
    latents: Float[torch.Tensor, "n c h w"],
    generators: Sequence[torch.Generator],
    config: Restarts = Restarts(),
) -> list[Trigger]:
    """Find embeddings under which the model denoises into the targets, far from the prompts that a cure was shown.

    Dori's search from each of config.starts random embeddings. All of a target meet the same draws of noise and time,
    and among those found after so many steps the one with the lowest loss on the fixed draws is kept.

    Args:
        defended: what is attacked, without guidance here.
        latents: targets z, encoded.
        generators: one for each target, on the CPU: its starts, then what all its searches draw.
        config: how.

    Returns:
        A trigger for each number in config.keep. Zero steps give the best of the starts themselves.

    Raises:
        InputError: numbers of targets, prompts, generators or masks differ, or the loss is not finite.

    Reference:
        Finding Dori (arXiv 2507.16880), section 4, searches from Gaussian embeddings and from other prompts' to ask
        where triggers lie. Restarts are those of adversarial attacks (Madry et al., arXiv 1706.06083).

    Differs:
        Prompts of random tokens stand in the place of other pictures' prompts. The rate is in units of the start's
        root mean square.
    """
    prompts, n, r = defended.embeddings, len(latents), config.starts
    require(
        n == len(prompts) == len(generators) == len(defended.masks),
        f"{n} targets, {len(prompts)} prompts, {len(generators)} generators: give as many of each, and of masks.",
    )
    starts = torch.cat([_starts(defended, i, generator, config) for i, generator in enumerate(generators)])
    seeds = [int(torch.randint(2**62, (), generator=generator)) for generator in generators]
    many = replace(
        defended,
        embeddings=starts.to(prompts),
        masks=[mask for mask in defended.masks for _ in range(r)],
    )
    z = latents.repeat_interleave(r, dim=0)

    def random() -> list[torch.Generator]:
        return [torch_from(seed) for seed in seeds for _ in range(r)]

    at_once = searches_at_once(defended.pipeline, config.batch)
    found = searched_from(many, z, random(), config, at_once)
    losses = torch.stack([_losses(replace(many, embeddings=one), z, random(), config, at_once) for one in found])
    best = losses.view(len(found), n, r).argmin(dim=2) + torch.arange(n) * r
    return [Trigger(k, one[places]) for k, one, places in zip(config.keep, found, best.to(found.device), strict=True)]


def _starts(
    defended: Defended, i: int, generator: torch.Generator, config: Restarts
) -> Float[torch.Tensor, "starts tokens width"]:
    """Where the searches for target i begin."""
    pipeline, y = defended.pipeline, defended.embeddings[i].float()
    if config.begin == "tokens":
        tokenizer, allowed = pipeline.tokenizer, vocabulary(pipeline.tokenizer)
        places = torch.randint(len(allowed), (config.starts, tokenizer.model_max_length - 2), generator=generator)
        ids = pad(allowed[places], (1, 0), value=tokenizer.bos_token_id)
        return embed_tokens(pipeline, pad(ids, (0, 1), value=tokenizer.eos_token_id)).float()
    noise = torch.randn((config.starts, *y.shape), generator=generator).to(y.device)
    return y + noise * y.square().mean().sqrt()


def _losses(
    found: Defended,
    latents: Float[torch.Tensor, "m c h w"],
    generators: Sequence[torch.Generator],
    config: Restarts,
    at_once: int,
) -> Float[torch.Tensor, " m"]:
    """Of each embedding on the fixed draws, with which its search began."""
    losses = []
    for part in torch.arange(len(latents)).split(at_once):
        search = Search(
            found.pipeline,
            latents[part].to(found.pipeline.device),
            found.embeddings[part].to(found.pipeline.device).float(),
            [generators[i] for i in part],
            config,
            [found.masks[i] for i in part],
        )
        search.look()
        losses.append(search.lowest.cpu())
    return torch.cat(losses)
