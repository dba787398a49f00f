"""One cell of a grid: what an attacker of these targets meets, and what a search of so many steps brings back."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes

from difflab.audits.worlds import Case, Opened, Targets, generators
from difflab.diffusion.attacks.dori import Dori, dori
from difflab.diffusion.attacks.random_perturbation import RandomPerturbation, random_perturbation
from difflab.diffusion.autoencoder import encode
from difflab.diffusion.copies import compare_by
from difflab.diffusion.finetuning import Known
from difflab.diffusion.generate import embed, seeded
from difflab.diffusion.judge import Defended, Judge, held_out_losses, least_alike, loss_ratio
from difflab.diffusion.loss import denoising_loss
from difflab.diffusion.masks import AnyMask
from difflab.errors import require
from difflab.runs.figures import rungs
from difflab.runs.rows import Row
from difflab.statistics.intervals import bootstrap, mean

Defense = Callable[[Targets], Defended]


def by_masks(pipeline: StableDiffusionPipeline, masks: Sequence[AnyMask]) -> Defense:
    """One mask for each repeated picture; others meet the mask of the one in whose place they stand."""

    def defend(targets: Targets) -> Defended:
        in_turn = [masks[i % len(masks)] for i in range(len(targets.captions))]
        return Defended(pipeline, embed(pipeline, targets.captions), in_turn)

    return defend


def by_token_masks(pipeline: StableDiffusionPipeline, mask: Callable[[Sequence[str]], Sequence[AnyMask]]) -> Defense:
    """A mask made of each prompt by itself."""
    return lambda targets: Defended(pipeline, embed(pipeline, targets.captions), mask(targets.captions))


def by_embeddings(
    pipeline: StableDiffusionPipeline, rewrite: Callable[[Sequence[str]], Float[torch.Tensor, "n tokens width"]]
) -> Defense:
    """Prompts that are no longer what was typed."""
    return lambda targets: Defended(pipeline, rewrite(targets.captions), [{}] * len(targets.captions))


def by_pipeline(tuned: StableDiffusionPipeline) -> Defense:
    """Other weights."""
    return lambda targets: Defended(tuned, embed(tuned, targets.captions), [{}] * len(targets.captions))


def surrogates(opened: Opened, *prunings: Sequence[AnyMask]) -> UInt8[np.ndarray, "n h w 3"]:
    """Of what the pruned model draws under each memorized caption the picture least like the memorized one.

    Args:
        opened: the case.
        prunings: masks, one for each caption; where a copy is left under the first, the next one draws instead.
    """
    targets, judge = opened.groups["repeated"], opened.judge
    limit, y = judge.thresholds["pixel"].value, embed(opened.pipeline, targets.captions)
    chosen, alike = np.empty_like(targets.pictures), np.full(len(y), np.inf)
    for masks in prunings:
        some = least_alike(judge, judge.draw(opened.pipeline, y, masks), targets.pictures)
        values = compare_by(judge.measures["pixel"], some[:, None], targets.pictures, judge.described["pixel"])[:, 0]
        better = (alike > limit) & (values < alike)
        chosen[better], alike[better] = some[better], values[better]
    return chosen


def known(opened: Opened, instead: UInt8[np.ndarray, "n h w 3"]) -> Known:
    """What a fine-tuned defense may see: the memorized pictures, what to draw instead, and ordinary ones."""
    require(
        len(opened.retained.captions) > 0, "no ordinary picture is left to retain; give more pictures with --never."
    )
    pictures = (opened.groups["repeated"].pictures, opened.retained.pictures, instead)
    targets, retained, others = (encode(opened.pipeline, part) for part in pictures)
    return Known(targets, retained, opened.retained.captions, others)


def held_out_rows(case: Case, opened: Opened, defenses: Mapping[str, Defense]) -> Iterator[Row]:
    """What every defense costs pictures never trained on, by how near they are to the targets."""
    for kind, others in opened.held_out.items():
        n = len(others.captions)
        plain = held_out_losses(by_pipeline(opened.pipeline)(others), others.pictures, case.draws)
        for name, defend in defenses.items():
            losses = held_out_losses(defend(others), others.pictures, case.draws)
            setting = {"defense": name, "captions": kind}
            yield Row("held_out_loss", *mean(losses), n, setting)
            yield Row("held_out_ratio", *loss_ratio(losses, plain), n, setting)


def attacked(case: Case, judge: Judge, defended: Defended, targets: Targets, config: Dori) -> dict[str, np.ndarray]:
    """Pictures drawn without an attack, after each number of Dori's steps, and after a random step of that length.

    Returns:
        drawn (attacks, n, seeds, h, w, 3); moved (n), the length of the last search in units of the start's; loss
        (1 + kept, n), of the targets before and after; found (kept, n, tokens, width), the embeddings.
    """
    start, latents = defended.embeddings, encode(defended.pipeline, targets.pictures)
    n, masks = len(start), defended.masks
    found = dori(defended.pipeline, latents, start, generators(case, n), config, masks)
    moved = (found[-1] - start).float().flatten(1).norm(dim=1) / start.float().flatten(1).norm(dim=1)
    length = RandomPerturbation(float(moved.median()))
    step = random_perturbation(defended.pipeline, latents, start, generators(case, n, "random step"), length)

    def look(y: Float[torch.Tensor, "n tokens width"]) -> tuple[np.ndarray, np.ndarray]:
        losses = denoising_loss(defended.pipeline, latents, y, seeded(n, [77]), 64, masks=masks)
        return judge.draw(defended.pipeline, y, masks), losses.numpy()

    first = look(start)
    # No steps are the start itself.
    looks = [first, *(first if k == 0 else look(y) for k, y in zip(config.keep, found, strict=True))]
    return {
        "drawn": np.stack([*(drawn for drawn, _ in looks), judge.draw(defended.pipeline, step[0], masks)]),
        "moved": moved.cpu().numpy(),
        "loss": np.stack([losses for _, losses in looks]),
        "found": found.float().cpu().numpy(),
    }


def rows(
    judge: Judge,
    found: Mapping[str, np.ndarray],
    targets: Targets,
    config: Dori,
    setting: Mapping[str, str | int | float],
) -> Iterator[Row]:
    """What `attacked` found, in rows."""
    n = len(targets.captions)
    yield Row("moved_ratio", *mean(found["moved"]), n, dict(setting))
    attacks = [("nothing", 0), *(("dori", k) for k in config.keep), ("random_perturbation", 0)]
    for (attack, steps), drawn in zip(attacks, found["drawn"], strict=True):
        here = {**setting, "attack": attack, "attack_steps": steps}
        yield from judge.rows(drawn, targets.pictures, targets.captions, here)
    for (attack, steps), loss in zip(attacks, found["loss"], strict=False):
        middle = bootstrap(loss, np.median, np.random.default_rng(0))
        yield Row("target_loss", *middle, n, {**setting, "attack": attack, "attack_steps": steps})


def over_steps(ax: Axes, rows: Sequence[Row], key: str, colours: Mapping[str, str]) -> None:
    """Draw numbers against the steps of the attack, a curve for every entry of the setting's key that has rows."""
    curves = {name: [row for row in rows if row.setting[key] == name] for name in colours}
    steps = dict.fromkeys(row.setting["attack_steps"] for row in rows)
    rungs(ax, list(steps), {name: [row.interval for row in curve] for name, curve in curves.items() if curve}, colours)
