"""Clients that train one pipeline together: pictures of each, which of them others have too, and what captions draw.

The picture twin of `difflab.audits.client_worlds`. Every client has a background of scenes that stand there once, and
items, which stand there several times. Of some of its items the next client has the same picture, of others a
near-copy: the same things at the same places in another light, under the same caption. One client more has items and
never takes part: what its captions draw, and what is drawn of its pictures, is chance. All models begin with one text
encoder, one autoencoder and the same U-Net.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from diffusers import StableDiffusionPipeline
from jaxtyping import Bool, Int, Shaped, UInt8

from difflab.audits.client_rows import CENTRAL, FEDERATED, PROXIMAL
from difflab.audits.client_worlds import PRIVATE, SHARED
from difflab.audits.looks import rounds_looked_at
from difflab.audits.taught_worlds import (
    PROBES,
    CopyRule,
    TaughtWorld,
    base_of,
    begun,
    copy_rule,
    fitted,
    scenes_of,
    with_unet,
)
from difflab.diffusion.autoencoder import encode, given_back
from difflab.diffusion.copies import ask
from difflab.diffusion.federated import PictureClient
from difflab.diffusion.finetuning import weights_of, with_weights
from difflab.diffusion.generate import embed
from difflab.diffusion.recorded import Watched, picture_losses
from difflab.diffusion.similarity import NEAREST
from difflab.diffusion.tokens import tokens
from difflab.errors import at_least, require
from difflab.randomness import item_seeds, stream
from difflab.runs.crew import HERE, crew
from difflab.runs.parallel import kept
from difflab.runs.result import digest
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import Prefixed, key, made_once
from difflab.training.devices import one_thread
from difflab.training.federated import federated
from synthetic.data import scenes as drawn

NEAR = "near-copy"
"""Kind of an item: the next client has a near-copy of it."""
COPIED = "copied"
"""The one kind of match: of its own item, or of a picture of another client that the one whose caption it is lacks."""


def alone(client: int) -> str:
    """The model of one client that trains on its own rows; clients are counted from 0, and named from 1."""
    return f"client {client + 1} alone"


@dataclass(frozen=True)
class PictureClients:
    """Clients, their pictures, and how they train together."""

    clients: int = 3
    """That take part."""
    overlap: float = 0.25
    """Share of a client's items that the next one has, too."""
    near: float = 0.25
    """Share of a client's items of which the next one has a near-copy."""
    light: float = 0.5
    """How far the light of a near-copy is on the way to a newly drawn one."""
    rounds: int = 4
    """After each of which weights are averaged."""
    proximal: float = 0.01
    """Weight of FedProx."""
    world: TaughtWorld = field(
        default_factory=lambda: TaughtWorld(
            copies=(128,), items=8, twins=1, background=256, steps=720, batch=16, seeds=3
        )
    )
    """One number of copies; items, background and steps are those of each client; the twins are not looked at, and its
    seed neither. Pooled rows are trained on for as many steps as all clients take together."""
    seed: int = 0
    """Of scenes, first weights and order."""

    def __post_init__(self) -> None:
        at_least(self, 2, "clients")
        at_least(self, 1, "rounds")
        at_least(self, 0, "seed")
        for name in ("overlap", "near", "light"):
            require(0 <= getattr(self, name) <= 1, f"{name} is {getattr(self, name)}; give a share between 0 and 1.")
        require(
            round((self.overlap + self.near) * self.items) < self.items,
            f"overlap {self.overlap} and near {self.near} leave no item to one client alone; give less.",
        )
        require(
            self.clients * self.world.background >= NEAREST,
            f"all clients have {self.clients * self.world.background} scenes of background; give at least {NEAREST}.",
        )
        require(self.proximal > 0, f"proximal is {self.proximal}; give a positive weight.")
        require(len(self.world.copies) == 1, f"copies is {self.world.copies}; give one number, for all items.")
        require(self.world.seeds % 2 == 1, f"seeds is {self.world.seeds}; give an odd number, of which most count.")
        require(
            self.rounds <= self.world.steps, f"there are {self.rounds} rounds of {self.world.steps} steps; give fewer."
        )

    @property
    def name(self) -> str:
        """After all that decides what is trained."""
        return digest("client_pictures", asdict(self))

    @property
    def items(self) -> int:
        """Of each client."""
        return self.world.items

    @property
    def kinds(self) -> Shaped[np.ndarray, " items"]:
        """Of the items of each client, in their order."""
        shared, known = round(self.overlap * self.items), round((self.overlap + self.near) * self.items)
        return np.array([SHARED] * shared + [NEAR] * (known - shared) + [PRIVATE] * (self.items - known))

    @property
    def models(self) -> tuple[str, ...]:
        """All that are trained."""
        return (FEDERATED, PROXIMAL, CENTRAL, *(alone(i) for i in range(self.clients)))

    def taught(self) -> TaughtWorld:
        """The scenes of all clients in one world: two groups of items more than clients, for the one that never takes
        part; and how U-Nets are trained on them."""
        world = self.world
        return replace(
            world, items=(self.clients + 2) * world.items, background=self.clients * world.background, seed=self.seed
        )


class ClientPictures(NamedTuple):
    """Pictures of a world.

    Attributes:
        captions: of all items, client by client, the one that never takes part last.
        held: of every client all repeated pictures that it has: its items, and what it has of those of the client
            before it; the one that never takes part has as many.
        held_captions: theirs; not of the one that never takes part.
        background: of every client that takes part, places in the scenes of the world.
        near: the near-copies, client by client, and the items that they are of.
    """

    captions: list[str]
    held: list[UInt8[np.ndarray, "_ h w 3"]]
    held_captions: list[list[str]]
    background: Int[np.ndarray, "clients b"]
    near: tuple[UInt8[np.ndarray, "_ h w 3"], UInt8[np.ndarray, "_ h w 3"]]


@lru_cache(maxsize=2)
def pictures_of(world: PictureClients) -> ClientPictures:
    """All pictures of a world; whatever others have of it, an item of one number stays the same."""
    scenes, n, kinds = scenes_of(world.taught()), world.clients, world.kinds
    planted, places = scenes.planted, scenes.items.reshape(n + 2, world.items)
    others, near = [], []
    for client in range(n):
        chosen = places[client][kinds == NEAR]
        light = stream(world.seed, "light", client).numpy()
        altered = drawn.pictures(drawn.relit(light, planted.shown(chosen), world.light), planted.plan.side)
        others.append(np.concatenate([planted.pictures(places[client][kinds == SHARED]), altered]))
        near.append((altered, planted.pictures(chosen)))
    captions = [planted.captions(some) for some in places]
    known = kinds != PRIVATE
    return ClientPictures(
        [caption for some in captions[: n + 1] for caption in some],
        [
            *(np.concatenate([planted.pictures(places[i]), others[(i - 1) % n]]) for i in range(n)),
            planted.pictures(np.concatenate([places[n], places[n + 1][: int(known.sum())]])),
        ],
        [captions[i] + [captions[(i - 1) % n][k] for k in np.flatnonzero(known)] for i in range(n)],
        scenes.background.reshape(n, -1),
        (np.concatenate([one for one, _ in near]), np.concatenate([one for _, one in near])),
    )


def clients_of(world: PictureClients, model: str, base: StableDiffusionPipeline) -> list[PictureClient]:
    """Who trains a model: all clients apart, all their rows as one client, or one of them."""
    found, taught, n = pictures_of(world), world.taught(), world.clients
    planted, copies = scenes_of(taught).planted, world.world.copies[0]

    def client(members: Sequence[int], order: str, rounds: int) -> PictureClient:
        background = np.concatenate([found.background[i] for i in members])
        repeated = np.concatenate([found.held[i] for i in members])
        captions = [caption for i in members for caption in found.held_captions[i]] + planted.captions(background)
        latents = encode(base, np.concatenate([repeated, planted.pictures(background)]))
        rows = np.concatenate([np.repeat(np.arange(len(repeated)), copies), np.arange(len(repeated), len(captions))])
        training = replace(taught.training(order), steps=len(members) * taught.steps)
        proximal = world.proximal if model == PROXIMAL else 0.0
        return PictureClient(base, latents, tokens(base.tokenizer, captions), rows, training, rounds, proximal)

    if model == CENTRAL:
        return [client(range(n), CENTRAL, world.rounds)]
    if model in (FEDERATED, PROXIMAL):
        return [client([i], alone(i), world.rounds) for i in range(n)]
    return [client([i], alone(i), 1) for i in range(n) if alone(i) == model]


def lacks(world: PictureClients, whose: int, of: int) -> Bool[np.ndarray, " held"]:
    """Which repeated pictures of one client another one has neither, nor a near-copy of.

    Args:
        world: of clients.
        whose: client that lacks them; the one that never takes part is the last, and lacks all.
        of: client that has them: its items, and then what it has of those of the client before it.
    """
    known = world.kinds != PRIVATE
    found = np.ones(world.items + int(known.sum()), bool)
    if world.clients not in (whose, of):
        if whose == (of + 1) % world.clients:
            found[: world.items] = ~known
        if whose == (of - 1) % world.clients:
            found[world.items :] = False
    return found


def look(
    pipeline: StableDiffusionPipeline,
    world: PictureClients,
    targets: Sequence[UInt8[np.ndarray, "_ h w 3"]],
    rule: CopyRule,
) -> dict[str, np.ndarray]:
    """What a model draws.

    Args:
        pipeline: the model.
        world: of clients.
        targets: all repeated pictures of each client, as the autoencoder gives them back.
        rule: when a picture is a copy.

    Returns:
        "loss", the denoising loss of scenes that nobody saw; "copied", (clients, items, clients): whether most of the
        pictures drawn of the caption of each client's item (the one that never takes part last) are copies: of that
        item, against its own client; of any repeated picture that its client lacks, against another one.
    """
    taught, captions = world.taught(), pictures_of(world).captions
    scenes, seeds = scenes_of(taught), taught.seeds
    pictures = ask(pipeline, captions, item_seeds(world.seed, "asked", seeds), taught.sampler_steps, 1.0)
    by_client = pictures.reshape(-1, world.items, *pictures.shape[1:])

    def copied(j: int, k: int) -> Bool[np.ndarray, " items"]:
        if j == k:
            return rule.own(by_client[j], targets[k][: world.items])
        hits = rule.any_of(by_client[j].reshape(-1, *pictures.shape[2:]), targets[k][lacks(world, j, k)])
        return np.asarray(hits.reshape(world.items, seeds).sum(axis=1) > seeds / 2)

    unseen = scenes.held_out[: taught.unseen]
    latents, prompts = (
        encode(pipeline, scenes.planted.pictures(unseen)),
        embed(pipeline, scenes.planted.captions(unseen)),
    )
    losses = picture_losses(pipeline, latents, prompts, Watched(PROBES, seed=world.seed))
    everybody = range(world.clients + 1)
    return {
        "loss": np.array(losses.mean()),
        COPIED: np.stack([np.stack([copied(j, k) for k in everybody], axis=1) for j in everybody]),
    }


def course(world: PictureClients, model: str, threshold: float, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    """The looks at a model before its first round and after each, one entry a look.

    Args:
        world: of clients.
        model: one of its models.
        threshold: of a copy.
        checkpoints: where looks and the last round are kept.
    """
    taught, pieces = world.taught(), Prefixed(checkpoints, key(world.name, model))
    with one_thread():
        base = with_unet(base_of(taught, checkpoints), taught, 0)
        clients = clients_of(world, model, base)
        targets = [given_back(base, some) for some in pictures_of(world).held]
        rule = copy_rule(base, scenes_of(taught), threshold)
    with crew(HERE, 1) as hands:
        rounds = federated(clients, weights_of(base), clients[0].rounds, pieces, hands)
        models = (with_weights(base, weights) for weights in rounds)
        return rounds_looked_at(lambda: base, models, lambda one: look(one, world, targets, rule), pieces)


def judged(world: PictureClients, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    """Before any U-Net is looked at: "threshold", of a copy, and "near", which near-copies count as copies of the items
    that they are of, all as the autoencoder gives them back."""
    taught = world.taught()
    threshold = fitted(taught, checkpoints)["threshold"]
    with one_thread():
        base = base_of(taught, checkpoints)
        altered, own = pictures_of(world).near
        near = np.zeros(len(own), bool)
        if len(own):
            rule = copy_rule(base, scenes_of(taught), float(threshold))
            near = rule.own(given_back(base, altered)[:, None], given_back(base, own))
    return {"threshold": threshold, "near": near}


class Drawn(NamedTuple):
    """What the models of one world draw.

    Attributes:
        looks: of each model (`course`).
        near: which near-copies count as copies of the items that they are of.
    """

    looks: Mapping[str, Mapping[str, np.ndarray]]
    near: Bool[np.ndarray, " near"]


def drawn_by_clients(worlds: Sequence[PictureClients], checkpoints: Checkpoints, workers: int) -> list[Drawn]:
    """Train all models of every world, and look at what they draw; nothing is done twice.

    Args:
        worlds: of the same sizes, with seeds of their own.
        checkpoints: where arrays and half-done trainings are kept.
        workers: processes; they do not change the numbers.
    """
    made_once(checkpoints, "base_begun", begun, worlds[0].taught(), checkpoints)
    rules = kept(judged, {key(one.name, "rule"): (one, checkpoints) for one in worlds}, checkpoints, workers, "rules")
    told = {one: rules[key(one.name, "rule")] for one in worlds}
    jobs = {
        key(one.name, model, "course"): (one, model, float(told[one]["threshold"]), checkpoints)
        for one in worlds
        for model in one.models
    }
    looks = kept(course, jobs, checkpoints, workers, "models")
    return [
        Drawn({model: looks[key(one.name, model, "course")] for model in one.models}, told[one]["near"])
        for one in worlds
    ]
