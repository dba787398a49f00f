"""Defense: search the embeddings that bring a memorized picture back, and train them to draw another one instead."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float, Int

from difflab.diffusion.defended import Defended, undefended
from difflab.diffusion.finetuning import Finetuning, Known, finetune, fitting_known, picked
from difflab.diffusion.generate import embed
from difflab.diffusion.loss import draw, loss_at
from difflab.diffusion.search import Descent, Search
from difflab.errors import require

STARTS = ("prompt", "gaussian", "other")


@dataclass(frozen=True)
class AdversarialFinetuning(Finetuning):
    """How embeddings are searched, and how the model is trained on them.

    A step asks `targets` * `inner_batch` * `inner_steps` / `refresh` network rows for gradients in the search, and in
    the training `targets` * `draws` for the embeddings found, as many for the prompts, and `batch` for ordinary
    pictures.

    Attributes:
        steps: optimizer steps.
        batch: ordinary pictures a step.
        rate: highest learning rate of AdamW.
        parameters: "full" is the paper's; "low_rank" its ablation, "cross" moves cross-attention only.
        rank: of "low_rank".
        adversarial: False trains on ordinary pictures alone.
        targets: memorized pictures searched together, at most as many as there are.
        inner_steps: steps of the search; 0 searches nothing and trains the prompts alone to draw the surrogates.
        inner_batch: draws of noise and time for each target in each of them.
        inner_rate: learning rate of the search, in units of the start's root mean square.
        starts: where searches begin, each as likely: "prompt", "gaussian" noise of the prompt's root mean square,
            "other" the caption of an ordinary picture.
        refresh: steps that embeddings found are trained on before others are searched; the paper's is 1.
        prompt: also train the prompts themselves to draw the surrogates.
        draws: of noise and time for each embedding in the training.
        dropout: fraction of the ordinary pictures' captions replaced by the empty one.
    """

    steps: int = 150
    batch: int = 64
    rate: float = 1e-3
    adversarial: bool = True
    targets: int = 6
    inner_steps: int = 20
    inner_batch: int = 4
    inner_rate: float = 0.1
    starts: tuple[str, ...] = STARTS
    refresh: int = 3
    prompt: bool = True
    draws: int = 4
    dropout: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        counts = (self.targets, self.inner_batch, self.refresh, self.draws)
        require(min(counts) >= 1, "targets, inner_batch, refresh and draws are at least 1.")
        require(self.inner_steps >= 0, f"inner_steps is {self.inner_steps}; give 0 or more.")
        require(self.inner_rate > 0, f"inner_rate is {self.inner_rate}; give a positive one.")
        known = set(self.starts) <= set(STARTS) and len(self.starts) > 0
        require(known, f"starts is {self.starts}; give any of {', '.join(STARTS)}.")
        require(0 <= self.dropout <= 1, f"dropout is {self.dropout}; give a fraction in [0, 1].")

    @property
    def rows_a_step(self) -> float:
        """Of the search, its share, and of the three terms of the loss."""
        if not self.adversarial:
            return float(self.batch)
        searched = self.targets * self.inner_batch * self.inner_steps / self.refresh
        terms = int(self.inner_steps > 0) + int(self.prompt or self.inner_steps == 0)
        return searched + terms * self.targets * self.draws + self.batch


def adversarial_finetuning(
    pipeline: StableDiffusionPipeline,
    captions: Sequence[str],
    unseen: Sequence[str] = (),
    seed: int = 0,
    config: AdversarialFinetuning = AdversarialFinetuning(),
    known: Known | None = None,
) -> Defended:
    """Fine-tune until no embedding in reach draws the memorized pictures.

    Of some memorized pictures x, anew every config.refresh steps, embeddings y' are searched by Adam on the weights as
    they are now: y' lowers the denoising loss L(x, y'). Then one step of the weights lowers

        L(surrogate of x, y') + L(surrogate of x, caption of x) + L(ordinary pictures, their captions),

    each the mean over its pictures and over fresh noise and time, uniform over all training times.

    Args:
        pipeline: the model.
        captions: n prompts to defend, in the order of known.targets.
        unseen: not used.
        seed: of the targets' order, the starts, the noises and the times.
        config: how.
        known: the memorized pictures, their surrogates, and ordinary pictures.

    Returns:
        A pipeline with a U-Net of its own, and nothing taken away.

    Raises:
        InputError: known or its surrogates are missing or do not agree with the captions, or a loss is not finite.

    Reference:
        Finding Dori (arXiv 2507.16880), section 4: 50 steps of search, surrogates drawn by the pruned model, unit
        weights, all weights of the U-Net.

    Differs:
        Fewer steps of search and draws in it, from a mixture of starts whose shares the paper does not give, and what
        is found serves several steps (the defaults were tried on the small pipeline only). The
        second term, which the paper does not have: config.prompt = False leaves it out. The search's rate is in units
        of the start's root mean square. A model that predicts velocities (SD 2.x) has its own loss.
    """
    known = fitting_known(known, captions, surrogates=config.adversarial)
    tuned = finetune(pipeline, _Adversary(pipeline, captions, config, known), config, seed, "adversarial fine-tuning")
    return undefended(tuned, captions)


class _Adversary:
    """The loss of every step, and the embeddings found last."""

    def __init__(
        self, pipeline: StableDiffusionPipeline, captions: Sequence[str], config: AdversarialFinetuning, known: Known
    ) -> None:
        device, dtype = pipeline.device, pipeline.unet.dtype
        self.config, self.known = config, known
        self.prompts = embed(pipeline, captions)
        self.others, self.empty = embed(pipeline, known.retained_captions), embed(pipeline, [""])
        self.targets, self.retained = known.targets.to(device, dtype), known.retained.to(device, dtype)
        self.surrogates = None if known.surrogates is None else known.surrogates.to(device, dtype)
        self.at_once = min(config.targets, len(captions))
        self.queue: list[int] = []
        self.rows, self.found = torch.empty(0, dtype=torch.long), self.prompts[:0]

    def __call__(
        self, step: int, tuned: StableDiffusionPipeline, generator: torch.Generator
    ) -> Float[torch.Tensor, ""]:
        config, value = self.config, self._ordinary(tuned, generator)
        if not config.adversarial:
            return value
        assert self.surrogates is not None
        if step % config.refresh == 0:
            self.rows = self._next(generator)
            if config.inner_steps > 0:
                start = self.starts(self.rows, generator)
                self.found = searched(tuned, self.targets[self.rows], start, config, generator)
        embeddings = [self.found] if config.inner_steps > 0 else []
        embeddings += [self.prompts[self.rows]] if config.prompt or config.inner_steps == 0 else []
        z = self.surrogates[self.rows].repeat(len(embeddings), 1, 1, 1)
        draws = draw(tuned, z, [generator] * len(z), config.draws)
        losses = loss_at(tuned, z, torch.cat(embeddings), draws)
        return value + losses.view(len(embeddings), -1).mean(dim=1).sum()

    def starts(
        self, rows: Int[torch.Tensor, " b"], generator: torch.Generator
    ) -> Float[torch.Tensor, "b tokens width"]:
        """Where the searches for these targets begin."""
        found = []
        for prompt in self.prompts[rows]:
            kind = self.config.starts[int(torch.randint(len(self.config.starts), (), generator=generator))]
            if kind == "gaussian":
                noise = torch.randn(prompt.shape, generator=generator).to(prompt)
                found.append(noise * prompt.square().mean().sqrt())
            elif kind == "other":
                found.append(self.others[int(torch.randint(len(self.others), (), generator=generator))])
            else:
                found.append(prompt)
        return torch.stack(found)

    def _next(self, generator: torch.Generator) -> Int[torch.Tensor, " b"]:
        """The next targets; none comes again before all others had their turn."""
        while len(self.queue) < self.at_once:
            again = picked(len(self.prompts), len(self.prompts), generator).tolist()
            # In one batch each target stands once.
            self.queue += sorted(again, key=lambda i: i in self.queue)
        rows, self.queue = self.queue[: self.at_once], self.queue[self.at_once :]
        return torch.tensor(rows)

    def _ordinary(self, tuned: StableDiffusionPipeline, generator: torch.Generator) -> Float[torch.Tensor, ""]:
        rows = picked(len(self.retained), self.config.batch, generator)
        dropped = torch.rand(len(rows), generator=generator) < self.config.dropout
        y = torch.where(dropped.to(self.others.device)[:, None, None], self.empty, self.others[rows])
        z = self.retained[rows]
        return loss_at(tuned, z, y, draw(tuned, z, [generator] * len(z), 1)).mean()


def searched(
    tuned: StableDiffusionPipeline,
    targets: Float[torch.Tensor, "b c h w"],
    start: Float[torch.Tensor, "b tokens width"],
    config: AdversarialFinetuning,
    generator: torch.Generator,
) -> Float[torch.Tensor, "b tokens width"]:
    """Embeddings under which the model as it is now denoises into the targets: the last iterates of the search."""
    descent = Descent(config.inner_rate, config.inner_batch)
    search = Search(tuned, targets, start.float(), [generator] * len(targets), descent)
    for _ in range(config.inner_steps):
        search.move()
    return search.reached.detach().to(start.dtype)
