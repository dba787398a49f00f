"""Attack: search a prompt of real tokens, no free embedding, under which the defended model draws the picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float, Int

from difflab.diffusion.batch_sizes import searches_at_once
from difflab.diffusion.defended import Defended
from difflab.diffusion.generate import embed_tokens
from difflab.diffusion.loss import Draws, loss_at
from difflab.diffusion.masks import AnyMask
from difflab.diffusion.search import Kept, Search, best_so_far
from difflab.diffusion.tokens import vocabulary
from difflab.diffusion.trigger import Trigger
from difflab.errors import require


@dataclass(frozen=True)
class DiscreteTokens(Kept):
    """How the prompt is searched.

    Attributes:
        keep: numbers of steps after which the prompt is kept, rising; the last one ends the search.
        tokens: free ones after the begin token; None for as many as the encoder reads between begin and end.
        rate: learning rate of Adam, in units of the root mean square of the token embeddings that it begins at.
        batch: draws of noise and time each step, all fresh.
        radius: greatest distance of the continuous copy from where it begins, in units of that one's length; None for
            no bound.
        patience: steps between two looks at the loss on fixed draws; the best prompt so far is what is kept.
        looks: fixed draws of noise and time for those looks.
    """

    keep: tuple[int, ...] = (100,)
    tokens: int | None = None
    rate: float = 1.0
    patience: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.tokens is None or self.tokens >= 1, f"tokens is {self.tokens}; give at least 1, or None.")


def discrete_tokens(
    defended: Defended,
    latents: Float[torch.Tensor, "n c h w"],
    generators: Sequence[torch.Generator],
    config: DiscreteTokens = DiscreteTokens(),
) -> list[Trigger]:
    """Find prompts under which the model denoises into the targets, and encode them.

    Args:
        defended: what is attacked, without guidance here. The search does not begin at its embeddings: they do not
            tell their tokens, so it begins at random ones, as the papers do.
        latents: targets z, encoded.
        generators: one for each target, on the CPU.
        config: how.

    Returns:
        A trigger for each number in config.keep: the prompts that `hard_prompts` has found by then, as tokens and as
        their encodings. Zero steps give the defense's own embeddings, without tokens.

    Raises:
        InputError: as `hard_prompts`, or there is not one start for each target.

    Reference:
        Hard prompts made easy, PEZ (Wen et al. 2023, arXiv 2302.03668), algorithm 1, with the denoising loss in place
        of CLIP's, as UnlearnDiffAtk (arXiv 2310.11868) has it; Finding Dori (arXiv 2507.16880) reports that discrete
        prompts give no verbatim copies of SD's memorized pictures.

    Differs:
        Adam without weight decay. The best prompt by a loss on fixed draws, for the last one. Every token of the prompt
        is free, no caption is its prefix or suffix. Found tokens need not be those that their own text is split into.
    """
    pipeline, start, n = defended.pipeline, defended.embeddings, len(latents)
    require(n == len(start), f"{n} targets, {len(start)} starts: give as many of each.")
    ids = hard_prompts(pipeline, latents, generators, config, defended.masks)
    found = [Trigger(k, embed_tokens(pipeline, of).to(start), of) for k, of in zip(config.keep, ids, strict=True)]
    return [Trigger(0, start.clone()), *found[1:]] if config.keep[0] == 0 else found


def hard_prompts(
    pipeline: StableDiffusionPipeline,
    latents: Float[torch.Tensor, "n c h w"],
    generators: Sequence[torch.Generator],
    config: DiscreteTokens = DiscreteTokens(),
    masks: Sequence[AnyMask] | None = None,
) -> Int[torch.Tensor, "kept n length"]:
    """Token ids of the prompts, to be read with the pipeline's tokenizer.

    Adam on a continuous copy p of the free tokens' input embeddings. The loss and its gradient are those at the
    vocabulary's nearest embedding to each row of p, and the gradient moves p: E |eps - eps(alpha z + sigma eps, t,
    encoder(nearest(p)))|^2 over noise and time drawn anew in every step. All targets move in one batch and do not see
    each other.

    Args:
        pipeline: the model under attack.
        latents: targets z, encoded.
        generators: one for each target, on the CPU: its first tokens, any but special ones, then its noises.
        config: how.
        masks: one for each target.

    Returns:
        For each number in config.keep begin, free tokens, end and padding of the prompt with the lowest loss on fixed
        draws among those looked at so far, the random one that it begins with included.

    Raises:
        InputError: numbers of targets, generators or masks differ, there are fewer places in a prompt than free tokens,
            or the loss is not finite.
    """
    n, most = len(latents), pipeline.tokenizer.model_max_length - 2
    require(
        n == len(generators) and (masks is None or n == len(masks)),
        f"{n} targets, {len(generators)} generators: give as many of each, and of masks.",
    )
    k = most if config.tokens is None else config.tokens
    require(k <= most, f"tokens is {k}; a prompt has room for {most} between begin and end.")
    allowed = vocabulary(pipeline.tokenizer)
    first = torch.stack([allowed[torch.randint(len(allowed), (k,), generator=generator)] for generator in generators])

    def begin(part: Int[torch.Tensor, " b"]) -> _TokenSearch:
        return _TokenSearch(
            pipeline,
            latents[part].to(pipeline.device),
            _table(pipeline)[first[part].to(pipeline.device)],
            [generators[i] for i in part],
            config,
            None if masks is None else [masks[i] for i in part],
        )

    at_once = searches_at_once(pipeline, config.batch)
    return best_so_far(config, n, at_once, begin, lambda search: prompt(pipeline, search.nearest(search.best)).cpu())


def prompt(pipeline: StableDiffusionPipeline, free: Int[torch.Tensor, "n k"]) -> Int[torch.Tensor, "n length"]:
    """The ids around free tokens as `difflab.diffusion.tokens.tokens` would give them: begin, tokens, end, padding."""
    tokenizer = pipeline.tokenizer
    ids = torch.full((len(free), tokenizer.model_max_length), tokenizer.pad_token_id, device=free.device)
    ids[:, 0], ids[:, free.shape[1] + 1] = tokenizer.bos_token_id, tokenizer.eos_token_id
    ids[:, 1 : free.shape[1] + 1] = free
    return ids


def encoded(
    pipeline: StableDiffusionPipeline, points: Float[torch.Tensor, "n k width"]
) -> Float[torch.Tensor, "n length width"]:
    """The text encoder's last hidden states of a prompt whose free tokens have these input embeddings."""
    n, k = points.shape[:2]

    def fed(
        layer: torch.nn.Module, inputs: tuple[torch.Tensor, ...], out: Float[torch.Tensor, "n length width"]
    ) -> Float[torch.Tensor, "n length width"]:
        return torch.cat([out[:, :1], points.to(out.dtype), out[:, k + 1 :]], dim=1)

    anything = torch.zeros((n, k), dtype=torch.long, device=points.device)
    handle = pipeline.text_encoder.get_input_embeddings().register_forward_hook(fed)
    try:
        return pipeline.text_encoder(prompt(pipeline, anything))[0]
    finally:
        handle.remove()


class _TokenSearch(Search):
    """The start + scale * moved of `Search` is the continuous copy; what is reached lies in the vocabulary."""

    def nearest(self, points: Float[torch.Tensor, "n k width"]) -> Int[torch.Tensor, "n k"]:
        """Ids of the allowed tokens that lie nearest."""
        table = _table(self.pipeline)
        special = torch.ones(len(table), dtype=torch.bool, device=table.device)
        special[vocabulary(self.pipeline.tokenizer)] = False
        length = table.square().sum(dim=1).masked_fill(special, torch.inf)
        return (length - 2 * points.detach() @ table.T).argmin(dim=2)

    @property
    def reached(self) -> Float[torch.Tensor, "n k width"]:
        """The nearest vocabulary; its gradient is handed on to the continuous copy as it is."""
        free = super().reached
        return free + (_table(self.pipeline)[self.nearest(free)].to(free.dtype) - free).detach()

    def _loss(self, draws: Draws) -> Float[torch.Tensor, " n"]:
        return loss_at(self.pipeline, self.latents, encoded(self.pipeline, self.reached), draws, self.masks)


def _table(pipeline: StableDiffusionPipeline) -> Float[torch.Tensor, "all width"]:
    weight = pipeline.text_encoder.get_input_embeddings().weight.detach()
    return weight if weight.dtype == torch.float64 else weight.float()
