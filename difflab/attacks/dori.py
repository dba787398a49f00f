"""Attack: move the text embedding until the defended model draws the picture again."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Bool, Float

from difflab.errors import require
from difflab.progress import progress
from difflab.sd.generate import fitting
from difflab.sd.masks import AnyMask
from difflab.sd.search import Descent, Search


@dataclass(frozen=True)
class Dori(Descent):
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

    keep: tuple[int, ...] = (50,)
    rows: int | None = None
    patience: int = 10
    looks: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            len(self.keep) > 0 and min(self.keep) >= 0 and list(self.keep) == sorted(set(self.keep)),
            f"keep is {self.keep}; give rising numbers of steps.",
        )
        require(min(self.patience, self.looks) >= 1, "patience and looks are at least 1.")
        require(self.rows is None or self.rows >= 1, f"rows is {self.rows}; give at least 1, or None.")


def dori(
    pipeline: StableDiffusionPipeline,
    latents: Float[torch.Tensor, "n c h w"],
    start: Float[torch.Tensor, "n tokens width"],
    generators: Sequence[torch.Generator],
    config: Dori = Dori(),
    masks: Sequence[AnyMask] | None = None,
) -> Float[torch.Tensor, "kept n tokens width"]:
    """Find embeddings under which the model denoises into the targets.

    Adam on y from the start, minimising E |eps - eps(alpha z + sigma eps, t, y)|^2 over noise eps ~ N(0, 1) and t
    uniform over all training times, both drawn anew in every step so that no single path can be fitted. All targets
    move in one batch and do not see each other: target i depends on its own rows and generator alone, up to rounding.

    Args:
        pipeline: the model under attack, without guidance here.
        latents: targets z, encoded.
        start: where the search begins: an embedded prompt, noise, or another picture's prompt.
        generators: one for each target, on the CPU.
        config: how.
        masks: one for each target: what is taken away while it is attacked.

    Returns:
        For each number in config.keep the iterate with the lowest loss on fixed draws, among the start and those
        looked at so far. Zero steps give the start itself.

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
    n = len(latents)
    require(
        n == len(start) == len(generators) and (masks is None or n == len(masks)),
        f"{n} targets, {len(start)} starts, {len(generators)} generators: give as many of each, and of masks.",
    )
    free = _free(start, config)
    found = torch.empty((len(config.keep), *start.shape), dtype=start.dtype)
    size = max(1, fitting(pipeline) // config.batch)
    with progress(-(-n // size) * config.keep[-1], "attacking") as advance:
        for part in torch.arange(n).split(size):
            search = Search(
                pipeline,
                latents[part].to(pipeline.device),
                start[part].to(pipeline.device).float(),
                [generators[i] for i in part],
                config,
                None if masks is None else [masks[i] for i in part],
                free.to(pipeline.device),
            )
            kept = 0
            for step in range(config.keep[-1] + 1):
                if step > 0:
                    search.move()
                    advance(1)
                if step == config.keep[kept] or step % config.patience == 0:
                    search.look()
                if step == config.keep[kept]:
                    found[kept, part] = search.best.cpu().to(start.dtype)
                    kept += 1
    return found.to(start.device)


def _free(start: Float[torch.Tensor, "n tokens width"], config: Dori) -> Bool[torch.Tensor, "tokens 1"]:
    n_rows = start.shape[1]
    free = torch.ones((n_rows, 1), dtype=torch.bool)
    if config.rows is not None:
        require(config.rows < n_rows, f"rows is {config.rows}; the prompt has {n_rows - 1} after the begin token.")
        free[0], free[config.rows + 1 :] = False, False
    return free
