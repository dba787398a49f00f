"""Attack: move the text embedding until the defended model draws the picture again."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float

from difflab.diffusion.batch_sizes import searches_at_once
from difflab.diffusion.defended import Defended
from difflab.diffusion.masks import TokenMask
from difflab.diffusion.search import Kept, extended, searched_from
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
        extra: token rows that are appended to the prompt and move as well; they begin at copies of its last row. A
            prompt of the small model has 0.75 free numbers for each number of the latents, one of SD 1.4 has 3.6.
        radius: greatest distance from the start, in units of the start's length; None for no bound.
        patience: steps between two looks at the loss on fixed draws; the best iterate so far is what is kept.
        looks: fixed draws of noise and time for those looks.
    """

    rows: int | None = None
    extra: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.rows is None or self.rows >= 1, f"rows is {self.rows}; give at least 1, or None.")
        require(self.extra >= 0, f"extra is {self.extra}; give a number of rows, or 0 for none.")

    @property
    def on_oracle(self) -> bool:
        """With more rows than a prompt has, a model that never saw the targets must meet the same search."""
        return self.extra > 0


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
        those looked at so far. Zero steps give the start itself. With extra rows they are longer than prompts.

    Raises:
        InputError: numbers of targets, starts, generators or masks differ, there are fewer rows than should move, rows
            are added where a defense hides tokens, or the loss is not finite.

    Reference:
        Finding Dori (arXiv 2507.16880), section 3: 50 steps, rate 0.1, batch 8, every row free.

    Differs:
        The rate is in units of the start's root mean square, which is about 1 for SD 1.4 and need not be elsewhere.
        The best iterate by a loss on fixed draws, for the last one. A model that predicts velocities (SD 2.x) is
        attacked with its own loss.
    """
    hidden = any(isinstance(mask, TokenMask) for mask in defended.masks)
    require(config.extra == 0 or not hidden, "the defense hides tokens of its prompts; attack it with extra = 0.")
    free = _free(defended.embeddings, config)
    if config.extra > 0:
        defended = replace(defended, embeddings=extended(defended.embeddings, config.extra))
    at_once = searches_at_once(defended.pipeline, config.batch)
    found = searched_from(defended, latents, generators, config, at_once, free)
    return [Trigger(steps, best) for steps, best in zip(config.keep, found, strict=True)]


def _free(start: Float[torch.Tensor, "n tokens width"], config: Dori) -> Bool[torch.Tensor, "more 1"]:
    n_rows = start.shape[1]
    free = torch.ones((n_rows + config.extra, 1), dtype=torch.bool)
    if config.rows is not None:
        require(config.rows < n_rows, f"rows is {config.rows}; the prompt has {n_rows - 1} after the begin token.")
        free[0], free[config.rows + 1 : n_rows] = False, False
    return free
