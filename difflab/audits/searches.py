"""A defense attacked: what a search of so many steps brings back of memorized pictures and of controls."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from jaxtyping import UInt8

from difflab.audits.worlds import OnWorld, Targets, World, generators
from difflab.datasets.near_copies import near_copies
from difflab.datasets.pixels import chosen, joined
from difflab.diffusion.attacks.dori import Dori, dori
from difflab.diffusion.attacks.random_perturbation import RandomPerturbation, random_perturbation
from difflab.diffusion.autoencoder import encode
from difflab.diffusion.copies import compare_by
from difflab.diffusion.defended import Defended, undefended
from difflab.diffusion.finetuning import Known, Retained
from difflab.diffusion.generate import seeded
from difflab.diffusion.judge import Judge, held_out_losses, least_alike, loss_ratio
from difflab.diffusion.loss import denoising_loss
from difflab.diffusion.search import extended
from difflab.diffusion.trigger import Trigger
from difflab.errors import require
from difflab.randomness import resampling
from difflab.runs.rows import Row
from difflab.statistics.intervals import bootstrap, mean


def surrogates(judge: Judge, targets: Targets, *prunings: Defended) -> UInt8[np.ndarray, "n h w 3"]:
    """Of what the pruned model draws under each memorized caption the picture least like the memorized one.

    Args:
        judge: draws and compares.
        targets: the memorized pictures, in the order of the prunings' prompts.
        prunings: where a copy is left under the first, the next one draws instead.
    """
    limit = judge.thresholds["pixel"].value
    drawn, alike = np.empty_like(targets.pictures), np.full(len(targets.captions), np.inf)
    for pruning in prunings:
        some = least_alike(judge, judge.draw(pruning), targets.pictures)
        values = compare_by(judge.measures["pixel"], some[:, None], targets.pictures, judge.described["pixel"])[:, 0]
        better = (alike > limit) & (values < alike)
        drawn[better], alike[better] = some[better], values[better]
    return drawn


def check_retained(world: World) -> None:
    """Raises InputError where there are no ordinary pictures, which a fine-tuned defense needs."""
    require(len(world.retained.captions) > 0, "no ordinary picture is left to retain; give more pictures with --never.")


def known(world: World, instead: UInt8[np.ndarray, "n h w 3"]) -> Known:
    """What a fine-tuned defense may see: the memorized pictures, what to draw instead, and ordinary ones."""
    check_retained(world)
    pictures = (world.groups["repeated"].pictures, world.retained.pictures, instead)
    targets, retained, others = (encode(world.pipeline, part) for part in pictures)
    return Known(targets, retained, world.retained.captions, others)


def held_out_rows(config: OnWorld, world: World, defenses: Mapping[str, Defended]) -> Iterator[Row]:
    """What every defense costs pictures never trained on, by how near they are to the targets."""
    for kind, others in world.held_out.items():
        n = len(others.captions)
        plain = held_out_losses(undefended(world.pipeline, others.captions), others.pictures, config.draws)
        for name, defended in defenses.items():
            losses = held_out_losses(defended.of(others.captions), others.pictures, config.draws)
            setting = {"defense": name, "captions": kind}
            yield Row("held_out_loss", *mean(losses), n, setting)
            yield Row("held_out_ratio", *loss_ratio(losses, plain), n, setting)


def target_losses(defended: Defended, trigger: Trigger, targets: Targets, draws: int) -> np.ndarray:
    """Denoising loss of the targets under a trigger: over four times the draws of a held-out picture, being few."""
    met = trigger.on(defended)
    latents, random = encode(met.pipeline, targets.pictures), seeded(len(targets.captions), [77])
    return denoising_loss(met.pipeline, latents, met.embeddings, random, 4 * draws, masks=met.masks).numpy()


def attacked(
    config: OnWorld, judge: Judge, defended: Defended, targets: Targets, search: Dori
) -> dict[str, np.ndarray]:
    """Pictures drawn without an attack, after each number of Dori's steps, and after a random step of that length.

    Returns:
        drawn (attacks, n, seeds, h, w, 3); moved (n), the length of the last search in units of the start's; loss
        (1 + kept, n), of the targets before and after; found (kept, n, tokens, width), the embeddings.
    """
    met = defended.of(targets.captions)
    latents, n = encode(met.pipeline, targets.pictures), len(targets.captions)
    triggers = dori(met, latents, generators(config, n), search)
    moved = lengths(met, triggers[-1])
    length = RandomPerturbation(float(moved.median()))
    (step,) = random_perturbation(met, latents, generators(config, n, "random step"), length)
    # No steps are the start itself.
    looks = [Trigger(), *(trigger for trigger in triggers if trigger.steps > 0)]
    drawn, losses = (
        [what(trigger) for trigger in looks]
        for what in (lambda t: judge.draw(met, t), lambda t: target_losses(met, t, targets, config.draws))
    )
    places = [0, *(0 if trigger.steps == 0 else looks.index(trigger) for trigger in triggers)]
    return {
        "drawn": np.stack([*(drawn[i] for i in places), judge.draw(met, step)]),
        "moved": moved.cpu().numpy(),
        "loss": np.stack([losses[i] for i in places]),
        "found": torch.stack([_embeddings(trigger) for trigger in triggers]).float().cpu().numpy(),
    }


def lengths(defended: Defended, trigger: Trigger) -> torch.Tensor:
    """How far a trigger lies from the prompts, in units of their lengths."""
    extra = _embeddings(trigger).shape[1] - defended.embeddings.shape[1]
    start = extended(defended.embeddings, extra).float().flatten(1)
    return (_embeddings(trigger).float().flatten(1) - start).norm(dim=1) / start.norm(dim=1)


def ordinary(world: World) -> Retained:
    """The retained pictures without near-copies of those that are attacked: what an attack that relearns may see."""
    targets = joined(*(group.pictures for group in world.groups.values()))
    near = near_copies(world.retained.pictures, targets)
    rows = [i for i in range(len(world.retained.captions)) if i not in near]
    require(len(rows) > 0, "no ordinary picture is left to relearn from; give more pictures with --never.")
    captions = [world.retained.captions[i] for i in rows]
    return Retained(encode(world.pipeline, chosen(world.retained.pictures, np.array(rows))), captions)


def _embeddings(trigger: Trigger) -> torch.Tensor:
    assert trigger.embeddings is not None
    return trigger.embeddings


def rows(
    judge: Judge,
    found: Mapping[str, np.ndarray],
    targets: Targets,
    search: Dori,
    setting: Mapping[str, str | int | float],
) -> Iterator[Row]:
    """What `attacked` found, in rows."""
    n = len(targets.captions)
    yield Row("moved_ratio", *mean(found["moved"]), n, dict(setting))
    attacks = [("nothing", 0), *(("dori", k) for k in search.keep), ("random_perturbation", 0)]
    for (attack, steps), drawn in zip(attacks, found["drawn"], strict=True):
        here = {**setting, "attack": attack, "attack_steps": steps}
        yield from judge.rows(drawn, targets.pictures, targets.captions, here)
    for (attack, steps), loss in zip(attacks, found["loss"], strict=False):
        yield loss_row(loss, {**setting, "attack": attack, "attack_steps": steps})


def loss_row(losses: np.ndarray, setting: Mapping[str, str | int | float]) -> Row:
    """The median of `target_losses`."""
    middle = bootstrap(losses, np.median, resampling())
    return Row("target_loss", *middle, len(losses), dict(setting))
