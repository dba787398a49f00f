"""Attack: move the text embedding until the defended model draws the picture again."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int

from difflab.diffusion.batch_sizes import searches_at_once
from difflab.diffusion.defended import Defended
from difflab.diffusion.search import Kept, Search, best_so_far
from difflab.diffusion.trigger import Trigger
from difflab.errors import require


@dataclass(frozen=True)
class Dori(Kept):
    """How the embedding is searched.

    Attributes:
        keep: numbers of steps after which the embedding is kept, rising; the last one ends the search.
        rate: learning rate of Adam, in units of the start's root mean square.
        batch: draws of noise and time each step, all fresh.
        rows: token rows that may move, the first ones after the begin token; None for every row, begin included.
        radius: greatest distance from the start, in units of the start's length; None for no bound.
        patience: steps between two looks at the loss on fixed draws; the best iterate so far is what is kept.
        looks: fixed draws of noise and time for those looks.
    """

    rows: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.rows is None or self.rows >= 1, f"rows is {self.rows}; give at least 1, or None.")


def dori(
    defended: Defended,
    latents: Float[torch.Tensor, "n c h w"],
    generators: Sequence[torch.Generator],
    config: Dori = Dori(),
) -> list[Trigger]:
    """Find embeddings under which the model denoises into the targets.

    Adam on y from the start, minimising E |eps - eps(alpha z + sigma eps, t, y)|^2 over noise eps ~ N(0, 1) and t
    uniform over all training times, both drawn anew in every step so that no single path can be fitted. All targets
    move in one batch and do not see each other: target i depends on its own rows and generator alone, up to rounding.

    Args:
        defended: what is attacked, without guidance here. The search begins at its embeddings: embedded prompts,
            noise, or other pictures' prompts.
        latents: targets z, encoded.
        generators: one for each target, on the CPU.
        config: how.

    Returns:
        A trigger for each number in config.keep: the iterates with the lowest loss on fixed draws, among the start and
        those looked at so far. Zero steps give the start itself.

    Raises:
        InputError: numbers of targets, starts, generators or masks differ, there are fewer rows than should move, or
            the loss is not finite.

    Reference:
        Finding Dori (arXiv 2507.16880), section 3: 50 steps, rate 0.1, batch 8, every row free.

    Differs:
        The rate is in units of the start's root mean square, which is about 1 for SD 1.4 and need not be elsewhere.
        The best iterate by a loss on fixed draws, for the last one. A model that predicts velocities (SD 2.x) is
        attacked with its own loss.
    """
    pipeline, start, masks, n = defended.pipeline, defended.embeddings, defended.masks, len(latents)
    require(
        n == len(start) == len(generators) == len(masks),
        f"{n} targets, {len(start)} starts, {len(generators)} generators: give as many of each, and of masks.",
    )
    free = _free(start, config).to(pipeline.device)

    def begin(part: Int[torch.Tensor, " b"]) -> Search:
        return Search(
            pipeline,
            latents[part].to(pipeline.device),
            start[part].to(pipeline.device).float(),
            [generators[i] for i in part],
            config,
            [masks[i] for i in part],
            free,
        )

    at_once = searches_at_once(pipeline, config.batch)
    found = best_so_far(config, n, at_once, begin, lambda search: search.best.to(start))
    return [Trigger(steps, best) for steps, best in zip(config.keep, found, strict=True)]


def _free(start: Float[torch.Tensor, "n tokens width"], config: Dori) -> Bool[torch.Tensor, "tokens 1"]:
    n_rows = start.shape[1]
    free = torch.ones((n_rows, 1), dtype=torch.bool)
    if config.rows is not None:
        require(config.rows < n_rows, f"rows is {config.rows}; the prompt has {n_rows - 1} after the begin token.")
        free[0], free[config.rows + 1 :] = False, False
    return free
