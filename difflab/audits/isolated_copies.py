"""What the models of a world copy of its repeated pictures: by prompt, after a search for embeddings, after relearning.

A model is what an attacker meets, a `Defended`: the standard one as it is or pruned; the one with sinks with some units
left out or counting differently. A picture is compared with its target as the autoencoder gives that back, and so are
the held-out pictures on which the threshold is fitted: so small an autoencoder blurs, whatever the U-Net has learned.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Bool, Float, Int, Shaped, UInt8

from difflab.audits.compared_defenses import strongest
from difflab.audits.isolated_pictures import OWN, REDRAWN, RETRAINED, STANDARD, IsolatedWorld, begun, items_of, trained
from difflab.audits.pruned_models import alike
from difflab.diffusion.attacks.dori import dori
from difflab.diffusion.attacks.relearning import relearning
from difflab.diffusion.autoencoder import decode, encode
from difflab.diffusion.copies import fit_thresholds
from difflab.diffusion.defended import Defended, pruned, undefended
from difflab.diffusion.defenses.nemo import Nemo, nemo
from difflab.diffusion.defenses.wanda import Wanda, wanda
from difflab.diffusion.finetuning import Known, Retained, with_weights
from difflab.diffusion.generate import seeded
from difflab.diffusion.judge import Judge
from difflab.diffusion.loss import denoising_loss
from difflab.diffusion.similarity import pixel
from difflab.diffusion.sinks import own_masks, units_off, weighed
from difflab.diffusion.trigger import Trigger
from difflab.randomness import item_seeds, stream
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import Prefixed, key, made_once
from difflab.training.devices import one_thread
from difflab.training.sinks import dropped, everything, expected_scale, published_scale, random_general
from synthetic.plan import Planted

OTHER, ALL = "sinks on that nobody had", "all sinks on"
DROPPED, EXPECTED, PUBLISHED = "sinks dropped", "sinks dropped, expected scale", "sinks dropped, published scale"
GENERAL, EXCISED = "general units dropped", "sinks cut out"
NEMO, WANDA = "NeMo", "Wanda"
MODELS = (STANDARD, RETRAINED, OWN, OTHER, ALL, DROPPED, EXPECTED, PUBLISHED, GENERAL, REDRAWN, NEMO, WANDA)
SEARCHED = (STANDARD, RETRAINED, DROPPED, NEMO, WANDA)
"""Models that are searched for embeddings."""
RELEARNED = (STANDARD, RETRAINED, DROPPED, EXCISED, NEMO, WANDA)
"""Models that are taught half of the pictures with most copies and asked for the other half."""


class Isolated(NamedTuple):
    """What the models of one world copy.

    Attributes:
        scene, copies: of every repeated picture, those with most copies first: whether it is a drawn scene and no
            emoji; how often it was shown.
        told: by name: "losses MODEL" and "copied MODEL", two rows, of the repeated pictures and of their twins;
            "validation MODEL"; "searched MODEL", whether a search brings them back, of those with most copies and
            their twins; "relearned losses MODEL", "relearned copied MODEL" (one entry a number of steps, then as
            before) and "relearned validation MODEL".
    """

    scene: Bool[np.ndarray, " n"]
    copies: Int[np.ndarray, " n"]
    told: Mapping[str, np.ndarray]


def isolated(worlds: Sequence[IsolatedWorld], checkpoints: Checkpoints, workers: int) -> list[Isolated]:
    """Train the models of every world, prune, ask and attack them; what a killed run has done is not done again."""
    weights = trained(worlds, checkpoints, workers)
    by_world = [{variant: own for (i, variant), own in weights.items() if i == place} for place in range(len(worlds))]
    given = {key(world.name, "told"): (world, own, checkpoints) for world, own in zip(worlds, by_world, strict=True)}
    found = kept(told, given, checkpoints, workers, "worlds asked and attacked")
    return [_isolated(world, found[key(world.name, "told")]) for world in worlds]


def _isolated(world: IsolatedWorld, arrays: Mapping[str, np.ndarray]) -> Isolated:
    planted = world.planted()
    listed = [planted.listed[i] for i in items_of(planted)[0]]
    return Isolated(
        np.array([one.source == "scene" for one in listed]), np.array([one.copies for one in listed]), arrays
    )


def told(
    world: IsolatedWorld, weights: Mapping[str, Mapping[str, np.ndarray]], checkpoints: Checkpoints
) -> dict[str, np.ndarray]:
    """The arrays of `Isolated`.

    Args:
        world: whose models they are.
        weights: of the U-Nets, by variant.
        checkpoints: where the autoencoder is, and where what was asked of a model is kept.
    """
    with one_thread():
        base = begun(world, checkpoints)
        pipelines = {who: with_weights(base, own) for who, own in weights.items()}
        asked = Asked(world, base)
        models, found = _models(asked, pipelines), dict[str, np.ndarray]()
        here = Prefixed(checkpoints, key(world.name, "asked"))
        for who in MODELS:
            found |= made_once(here, key(who), asked.of, who, models[who])
        # Held-out pictures have no sinks of their own, and meet some that nobody had.
        found[f"validation {OWN}"] = found[f"validation {OTHER}"]
        for who in SEARCHED:
            found |= made_once(here, key("searched", who), asked.searched, who, models[who][0])
        for who in RELEARNED:
            found |= made_once(here, key("relearned", who), asked.relearned, who, models[who][0])
    return found


class Asked:
    """What every model of a world is asked."""

    def __init__(self, world: IsolatedWorld, base: StableDiffusionPipeline) -> None:
        self.world = world
        self.planted = planted = world.planted()
        self.repeated, self.twins = items_of(planted)
        self.top = int((np.array([planted.listed[i].copies for i in self.repeated]) == max(world.plan.ladder)).sum())
        self.places = np.concatenate([self.repeated, self.twins])
        self.captions = planted.captions(self.places)
        self.targets, self.latents = _given_back(base, planted, self.places)
        scenes = planted.where("held_out", source="scene")
        self.choosing = _Group(base, planted, scenes[: world.held_out])
        self.telling = _Group(base, planted, scenes[world.held_out : 2 * world.held_out])
        self.unseen = planted.captions(scenes[2 * world.held_out :]) or self.choosing.captions
        ordinary = _Group(base, planted, planted.where("unique", source="scene"))
        self.known = Known(self.latents[: self.top], ordinary.latents, ordinary.captions)
        self.judge = _judge(world, base, planted)
        self.trained = np.unique(planted.training())

    def of(self, who: str, models: Sequence[Defended]) -> dict[str, np.ndarray]:
        """Losses and copies of all items, and the loss of held-out scenes: means over models, all of whom must copy.

        A model is met by all items, or by those with most copies and all others like them.
        """
        met = [self.met_by_all(model) for model in models]
        return {
            f"losses {who}": np.mean([self._losses(one) for one in met], axis=0).reshape(2, -1),
            f"copied {who}": np.all([self.copied(one) for one in met], axis=0).reshape(2, -1),
            f"validation {who}": np.mean([self.loss(one, self.telling) for one in models]),
        }

    def searched(self, who: str, model: Defended) -> dict[str, np.ndarray]:
        """`brought_back`, as `Isolated` calls it."""
        return {f"searched {who}": self.brought_back(model)}

    def brought_back(self, model: Defended) -> Bool[np.ndarray, "2 top"]:
        """Whether embeddings that a search found draw the pictures with most copies, and their twins."""
        n = len(self.repeated)
        places = np.r_[: self.top, n : n + self.top]
        met = model.of([self.captions[i] for i in places])
        random = [stream(self.world.seed, "dori", int(i)).torch() for i in places]
        trigger = dori(met, self.latents[places], random, self.world.dori)[-1]
        return self.copied(met, trigger, places).reshape(2, -1)

    def relearned(self, who: str, model: Defended) -> dict[str, np.ndarray]:
        """What `of` says before a training on half of the pictures with most copies, and of the others after it; of
        held-out scenes the mean over halves."""
        looks = [self.of("", [model.of(self.captions[: self.top])])]
        for both in self.taught(model):
            one, other = (self.of("", [half]) for half in both)
            merged = {name: self.of_the_untaught(one[name], other[name]) for name in one if name != "validation "}
            looks.append(merged | {"validation ": np.mean([one["validation "], other["validation "]])})
        return {f"relearned {name}{who}": np.stack([look[name] for look in looks]) for name in looks[0]}

    def taught(self, model: Defended) -> list[tuple[Defended, Defended]]:
        """Two models after each number of steps of training on pictures with most copies: the first one was taught
        every second of them, beginning with the second, the other one those between.

        So every picture can be asked of a model that was not taught it. Scenes and emoji are in both halves.
        """
        halves = [self._taught(model, asked=np.arange(half, self.top, 2)) for half in (0, 1)]
        return list(zip(*halves, strict=True))

    def _taught(self, model: Defended, asked: Int[np.ndarray, " k"]) -> list[Defended]:
        others = np.setdiff1d(np.arange(self.top), asked)
        shown = Retained(self.latents[others], [self.captions[i] for i in others])
        # Each picture meets what is taken away for it, and not what is for another in its place.
        whole = self.met_by_all(model)
        met = replace(whole, embeddings=whole.embeddings[asked], masks=[whole.masks[i] for i in asked])
        random = [stream(self.world.seed, "relearning", int(i)).torch() for i in asked]
        triggers = relearning(met, self.latents[asked], random, self.world.relearning, shown)
        return [trigger.on(whole) for trigger in triggers]

    def of_the_untaught(
        self, one: Shaped[np.ndarray, "*items"], other: Shaped[np.ndarray, "*items"]
    ) -> Shaped[np.ndarray, "*items"]:
        """Of what both models of `taught` say of all items, repeated pictures and then twins, that of the one that was
        not taught the picture, nor the picture of the twin."""
        first = np.arange(len(self.repeated)) % 2 == 0
        return np.where(first, one.reshape(2, -1), other.reshape(2, -1)).reshape(one.shape)

    def loss(self, model: Defended, group: "_Group") -> float:
        """Of held-out scenes, mean over them."""
        met, random = model.of(group.captions), seeded(len(group.captions), [0])
        drawn = self.world.draws
        return float(denoising_loss(met.pipeline, group.latents, met.embeddings, random, drawn, masks=met.masks).mean())

    def met_by_all(self, model: Defended) -> Defended:
        """The model as all items meet it; one that says of all of them what it takes away stays as it is."""
        return model if len(model.masks) == len(self.captions) else model.of(self.captions)

    def _losses(self, met: Defended) -> Float[np.ndarray, " items"]:
        random = [stream(self.world.seed, "loss", i).torch() for i in range(len(self.captions))]
        found = denoising_loss(met.pipeline, self.latents, met.embeddings, random, self.world.draws, masks=met.masks)
        return found.double().numpy()

    def copied(
        self, met: Defended, trigger: Trigger | None = None, places: Int[np.ndarray, " n"] | None = None
    ) -> Bool[np.ndarray, " n"]:
        """Whether the median over seeds is a copy."""
        targets = self.targets if places is None else self.targets[places]
        similar = alike(self.judge, self.judge.draw(met, trigger), targets)
        return np.median(similar, axis=1) > self.judge.thresholds["pixel"].value


class _Group:
    """Pictures and what they are called."""

    def __init__(self, base: StableDiffusionPipeline, planted: Planted, places: Int[np.ndarray, " n"]) -> None:
        self.captions = planted.captions(places)
        self.latents = encode(base, planted.pictures(places))


def _given_back(
    base: StableDiffusionPipeline, planted: Planted, places: Int[np.ndarray, " n"]
) -> tuple[UInt8[np.ndarray, "n h w 3"], Float[torch.Tensor, "n c h_latent w_latent"]]:
    """Pictures as the autoencoder gives them back, and their latents."""
    latents = encode(base, planted.pictures(places))
    return decode(base, latents), latents


def _judge(world: IsolatedWorld, base: StableDiffusionPipeline, planted: Planted) -> Judge:
    """The pixel measure between pictures as the autoencoder gives them back, and one threshold for scenes and emoji,
    from held-out ones of both."""
    measures = {"pixel": pixel()}
    back = {
        name: _given_back(base, planted, places)[0]
        for name, places in {
            "held out": planted.where("held_out"),
            "training": np.unique(planted.training()),
            "references": planted.where("unique"),
        }.items()
    }
    thresholds = fit_thresholds(measures, back["held out"], back["training"], back["references"])
    seeds = item_seeds(world.seed, "judge", world.seeds)
    return Judge(measures, thresholds, back["references"], seeds, world.sampler_steps, world.guidance)


def _models(asked: Asked, pipelines: Mapping[str, StableDiffusionPipeline]) -> dict[str, list[Defended]]:
    """What each is called, and what an attacker meets; several, where it is a mean over draws."""
    world, sunk = asked.world, pipelines[OWN]
    sinks, captions = replace(world.sinks, seed=world.seed), asked.captions
    drop = partial(dropped, sinks)
    scaled = {EXPECTED: expected_scale(sinks), PUBLISHED: published_scale(sinks)}
    n, place = len(asked.repeated), {picture: i for i, picture in enumerate(asked.trained.tolist())}
    # Numbers that no picture had while training stand for those of twins, and for sinks that nobody had.
    own = own_masks(sunk.unet, sinks, [place.get(i, -1 - i) for i in asked.places.tolist()])
    others = own_masks(sunk.unet, sinks, [-1 - len(place) - i for i in range(2 * n)])
    found = {
        STANDARD: [undefended(pipelines[STANDARD], captions)],
        RETRAINED: [undefended(pipelines[RETRAINED], captions)],
        OWN: [pruned(sunk, captions, own)],
        OTHER: [pruned(sunk, captions, others)],
        ALL: [undefended(weighed(sunk, partial(everything, sinks)), captions)],
        DROPPED: [undefended(weighed(sunk, drop), captions)],
        EXCISED: [pruned(sunk, captions, [units_off(sunk.unet, drop)] * len(captions))],
        REDRAWN: [undefended(weighed(pipelines[REDRAWN], drop), captions)],
        GENERAL: [
            undefended(weighed(sunk, partial(random_general, sinks, seed=draw)), captions)
            for draw in (stream(world.seed, "general", i).integer for i in range(world.generals))
        ],
    }
    for who, scale in scaled.items():
        found[who] = [undefended(weighed(sunk, partial(dropped, sinks, scale=scale)), captions)]
    loss = partial(asked.loss, group=asked.choosing)
    most = max(loss(found[DROPPED][0]), (1 + world.dearer) * loss(found[STANDARD][0]))
    for who, some in _prunings(asked, pipelines[STANDARD]).items():
        found[who] = [strongest(some, loss, most)]
    return found


def _prunings(asked: Asked, standard: StableDiffusionPipeline) -> dict[str, list[Defended]]:
    return {NEMO: by_nemo(asked, standard, asked.world.nemos), WANDA: by_wanda(asked, standard, asked.world.sparsities)}


def by_nemo(asked: Asked, standard: StableDiffusionPipeline, configs: Sequence[Nemo]) -> list[Defended]:
    """The model without what each NeMo finds of the pictures with most copies."""
    captions, seed = asked.captions[: asked.top], stream(asked.world.seed, "defense").integer
    return [nemo(standard, captions, asked.unseen, seed, one) for one in configs]


def by_wanda(asked: Asked, standard: StableDiffusionPipeline, sparsities: Sequence[float]) -> list[Defended]:
    """The model without what Wanda finds of the pictures with most copies, by sparsity."""
    captions, seed = asked.captions[: asked.top], stream(asked.world.seed, "defense").integer
    return [wanda(standard, captions, asked.unseen, seed, Wanda(sparsity)) for sparsity in sparsities]
