"""Is a memorized picture in one place: of the embeddings, of the activations, of the weights?

Finding Dori (arXiv 2507.16880, locality): from any start the search finds a trigger of the picture; triggers lie as
far apart as their starts; they make layers say things as different as prompts of different pictures do; and NeMo and
Wanda select weights for them that agree about as well as for different pictures. So pruning, it is said, can't reach
what is not local. What that lacked stands beside it here:
- two Gaussian starts are far apart whatever the search does: starts moved as far in random directions, and the cosine
  of the moves, which would be 0 if nothing were shared;
- random embeddings with the triggers' norms, token by token, and the starts: Gaussian ones, and captions never trained
  on. Value layers are linear in the embedding and see nothing else, so there a distance is a distance of embeddings;
- agreement (intersection over union) of random sets as large. Pairs in which both sets are empty, which the paper
  counts as 1, do not count.

Published, SD 1.4, one picture against different ones: discrepancy in NeMo's layers 1.27 to 1.53 times as large, in
Wanda's 0.57 to 1.18 times; agreement of NeMo's first layer 0.57 against 0.58 (the others are mostly empty sets), of
Wanda's 0.26 to 0.80 against 0.07 to 0.69. Success from each start was not published. Layers are not the same ones.
Starts of one picture share its weights and pairs share members: intervals resample starts, not pictures.
Cost on two cores: 9.5 minutes on one of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure

from difflab.audits.worlds import OnWorld, generators, open_world
from difflab.diffusion import locality
from difflab.diffusion.attacks.dori import Dori, dori
from difflab.diffusion.autoencoder import encode
from difflab.diffusion.defended import Defended, undefended
from difflab.diffusion.defenses.nemo import Nemo, nemo
from difflab.diffusion.defenses.wanda import Wanda, wanda
from difflab.diffusion.generate import embed, initial_noise, seeded
from difflab.diffusion.judge import Judge
from difflab.diffusion.locality import DIFFERENT, ONE, OTHER_SEEDS, PARTS
from difflab.diffusion.panels.locality import by_layer_figure, distances_figure
from difflab.diffusion.pruning import Mask
from difflab.diffusion.trigger import Trigger
from difflab.errors import require
from difflab.randomness import stream
from difflab.runs.answers import Answer
from difflab.runs.figures import picture_strips
from difflab.runs.numbers import Recorded, mean, span
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import made_once
from difflab.runs.rows import Artefact, Note, Row, select

# By what stands there: different pictures, then one picture, layer by layer.
PUBLISHED = {
    ("discrepancy_distance", "value"): ((105, 72, 165, 129, 299, 303, 406), (153, 110, 224, 184, 397, 409, 517)),
    ("discrepancy_distance", "feedforward"): ((184, 259, 252, 202, 262, 263, 455), (217, 199, 217, 152, 176, 154, 260)),
    ("overlap_fraction", "value"): ((0.58, 1, 0.81, 0.92, 0.94, 0.98, 0.99), (0.57, 1, 0.78, 0.90, 0.98, 1, 1)),
    ("overlap_fraction", "feedforward"): (
        (0.43, 0.66, 0.42, 0.69, 0.38, 0.15, 0.07), (0.57, 0.80, 0.58, 0.74, 0.54, 0.34, 0.26)
    ),
}  # fmt: skip
SELECTED_FROM = (
    DIFFERENT,
    f"{ONE}, gaussian, nothing",
    f"{ONE}, captions, nothing",
    "random, gaussian",
    "starts, captions",
)


@dataclass(frozen=True)
class Config(OnWorld):
    """The case, the searches, and what is selected from what they find."""

    searched: int = 4
    """Targets that are searched for, evenly from the case's; the prompts of all are compared."""
    inits: int = 8
    """Gaussian starts for each, and as many from other captions."""
    dori: Dori = field(default_factory=Dori)
    nemo: Nemo = field(default_factory=lambda: Nemo(blocks=("down", "mid", "up")))
    wanda: Wanda = field(default_factory=Wanda)
    selected: int = 4
    """Triggers of each kind and target that NeMo and Wanda select from, and seeds of the same prompt."""
    time: int = 950
    """Training time at which activations are compared, all at one draw of pure noise."""

    def __post_init__(self) -> None:
        super().__post_init__()
        least = min(self.searched, self.inits, self.selected)
        require(least >= 2, "give at least 2 for searched, inits and selected.")
        require(0 <= self.time <= 999, f"time is {self.time}; give 0 to 999.")


SMOKE = Config(
    targets=2,
    searched=2,
    inits=2,
    dori=Dori(keep=(2,), batch=2, looks=2),
    nemo=Nemo(blocks=("up",), seeds=2, unseen=20, lower_by=4.0, refine=False),
    wanda=Wanda(steps=5),
    selected=2,
    seeds=2,
    steps=2,
    held_out=2,
    draws=1,
    retained=60,
)


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact | Note]:
    """Search from every start, with and without NeMo; then compare embeddings, activations and selections."""
    world = open_world(config)
    yield from world.left_out
    pipeline, judge, repeated = world.pipeline, world.judge, world.groups["repeated"]
    most, n = len(repeated.captions), config.searched * config.inits
    require(len(set(repeated.captions)) > 1, "the memorized pictures share one caption; give some with others.")
    require(most >= config.searched, f"there are {most} memorized pictures; ask for no more to be searched.")
    require(
        len(world.unseen) >= n + 2, f"there are {len(world.unseen)} unseen captions; {n} starts need {n + 2} of them."
    )
    targets, owner = np.arange(most)[:: most // config.searched][: config.searched], np.arange(n) // config.inits
    prompts = embed(pipeline, repeated.captions)
    own, unseen = prompts[targets], world.unseen[:-n]
    random, seed = stream(config.seed, "starts").torch(), stream(config.seed, "defense").integer
    scale = own[torch.from_numpy(owner)].square().mean(dim=(1, 2), keepdim=True).sqrt()
    starts = {
        "gaussian": scale * torch.randn((n, *own.shape[1:]), generator=random).to(own),
        "captions": embed(pipeline, world.unseen[-n:]),
    }
    groups = {DIFFERENT: (prompts, np.zeros(len(prompts), int))}
    groups |= {f"starts, {kind}": (start, owner) for kind, start in starts.items()}
    yield from locality.pair_rows("pairwise_distance", locality.distances(prompts), {"group": DIFFERENT})
    defenses = {"nothing": undefended(pipeline, own), "nemo": nemo(pipeline, own, unseen, seed, config.nemo)}
    pictures, captions = repeated.pictures[targets[owner]], [repeated.captions[i] for i in targets[owner]]
    for (defense, defended), (kind, start) in ((a, b) for a in defenses.items() for b in starts.items()):
        met = Defended(pipeline, start, [defended.masks[int(i)] for i in owner])
        found = made_once(checkpoints, f"{defense}_{kind}", _searched, config, judge, met, pictures)
        end, setting = torch.from_numpy(found["end"]).to(start), {"defense": defense, "starts": kind}
        for embedding, drawn in zip(("starts", "triggers"), found["drawn"], strict=True):
            yield from judge.rows(drawn, pictures, captions, setting | {"embedding": embedding})
        yield from locality.distance_rows(start, end, owner, random, setting)
        yield Artefact(f"drawn_{defense}_{kind}", np.stack([pictures, *found["drawn"][:, :, 0]], axis=1))
        groups[f"{ONE}, {kind}, {defense}"] = end, owner
        if defense == "nothing":
            groups[f"random, {kind}"] = locality.random_like(end, random), owner
    noise = initial_noise(pipeline, seeded(1, [seed]))
    yield from locality.discrepancy_rows(pipeline, groups, noise, config.time)
    yield from _overlap_rows(pipeline, groups, own, unseen, seed, config, checkpoints)
    for (metric, part), (different, one) in PUBLISHED.items():
        for group, values in ((DIFFERENT, different), (ONE, one)):
            for place, value in enumerate(values, start=1):
                where = {"part": part, "layer": f"SD 1.4 L{place}", "place": place}
                yield Row(metric, float(value), None, None, 4950, where | {"group": group, "source": "published"})


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What the paper says, and what its nulls say."""

    def rates(defense: str) -> list[float]:
        shown = {"defense": defense, "embedding": "triggers", "measure": "pixel", "seeds": "median"}
        return [row.value for row in select(rows, "memorized_fraction", **shown)]

    def apart(group: str) -> Float[np.ndarray, " kinds"]:
        return np.array([row.value for row in select(rows, "pairwise_distance", group=group, defense="nothing")])

    def by_layer(metric: str, part: str, group: str) -> dict[int, Row]:
        found = select(rows, metric, part=part, group=group, source="measured")
        return {int(row.setting["place"]): row for row in found}

    def ratios(part: str, over: str) -> list[float]:
        one, other = (by_layer("discrepancy_distance", part, group) for group in (ours, over))
        return [one[place].value / other[place].value for place in other]

    def above_chance(part: str) -> bool:
        chance = by_layer("chance_overlap_fraction", part, DIFFERENT)
        found = by_layer("overlap_fraction", part, DIFFERENT)
        return bool(found) and all(row.interval.low > chance[place].value for place, row in found.items())

    def agreement(group: str) -> float:
        return float(np.mean([row.value for row in by_layer("overlap_fraction", "feedforward", group).values()]))

    ours, triggers = f"{ONE}, gaussian, nothing", apart("triggers")
    prompts = select(rows, "pairwise_distance", group=DIFFERENT)[0].value
    both = [value for part in PARTS for value in ratios(part, DIFFERENT)]
    moves = [row.interval for row in select(rows, "move_similarity", pictures="one", defense="nothing")]
    return {
        "practically any start leads to a trigger: at least 90 % of each kind": min(rates("nothing")) >= 0.9,
        "under NeMo as well: at least 90 % of each kind": min(rates("nemo")) >= 0.9,
        "triggers of one picture are no closer together than starts": bool((triggers >= apart("starts")).all()),
        "nor than prompts of different pictures": bool((triggers >= prompts).all()),
        "nor, by more than 5 %, than starts moved at random": bool((triggers >= 0.95 * apart("random moves")).all()),
        "every trigger is nearest to its own start": (
            min(row.value for row in select(rows, "own_start_nearest_fraction")) == 1
        ),
        "moves to one picture share no direction: 0 lies in the interval of their cosine": all(
            cosine.low <= 0 <= cosine.high for cosine in moves
        ),
        "activations of one picture's triggers are as different as of different pictures' prompts: half to twice": (
            min(both) >= 0.5 and max(both) <= 2
        ),
        "and, in feed-forward layers, at least as different as of random embeddings": (
            min(ratios("feedforward", "random, gaussian")) >= 1
        ),
        "NeMo's choices for different pictures agree above chance in every layer": above_chance("value"),
        "Wanda's do": above_chance("feedforward"),
        "Wanda's choices for one picture's triggers agree no better than for random embeddings": (
            agreement(ours) <= agreement("random, gaussian")
        ),
    }


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """Distances; discrepancy and agreement layer by layer; a target and what its start and its trigger draw."""
    shown = artefacts["drawn_nothing_gaussian"]
    shown = shown[np.linspace(0, len(shown) - 1, min(12, len(shown))).astype(int)]
    title = "Training picture, drawn from a Gaussian start, from its trigger"
    return {
        "distances": distances_figure(rows),
        "discrepancy": by_layer_figure(rows, "discrepancy_distance", "Activations: distance of pairs"),
        "overlap": by_layer_figure(rows, "overlap_fraction", "Selected weights: agreement of pairs"),
        "pictures": picture_strips(shown, [f"start {i}" for i in range(len(shown))], title, a_line=3),
    }


def answer(run: Recorded) -> Answer:
    """How often starts lead to triggers, and how far apart these lie."""
    found = run.rows("memorized_fraction", defense="nothing", embedding="triggers", measure="pixel", seeds="median")
    triggers, starts = (run.rows("pairwise_distance", defense="nothing", group=name) for name in ("triggers", "starts"))
    return Answer(
        f"A share of {span(found, 2)} of all starts leads to a trigger; triggers of one picture lie "
        f"{mean(triggers, 1)} apart, their starts {mean(starts, 1)}.",
        "",
        "distances",
        "Are triggers of one picture nearer to each other than starts, or than starts moved at random?",
    )


def _searched(
    config: Config, judge: Judge, met: Defended, pictures: UInt8[np.ndarray, "n h w 3"]
) -> dict[str, np.ndarray]:
    """Where the search ends from every start, and what starts and ends draw."""
    last = dori(met, encode(met.pipeline, pictures), generators(config, len(pictures)), config.dori)[-1]
    drawn = np.stack([judge.draw(met, trigger) for trigger in (Trigger(), last)])
    return {"end": last.arrays()["embeddings"], "drawn": drawn}


def _overlap_rows(
    pipeline: StableDiffusionPipeline,
    groups: locality.Groups,
    own: Float[torch.Tensor, "targets tokens width"],
    unseen: Sequence[str],
    seed: int,
    config: Config,
    checkpoints: Checkpoints,
) -> Iterator[Row]:
    """How well the sets agree that NeMo and Wanda select for embeddings of one owner."""
    few = np.arange(config.searched * config.inits) % config.inits < config.selected
    asked = {group: y if group == DIFFERENT else y[few] for group, (y, _) in groups.items() if group in SELECTED_FROM}
    owners = {group: groups[group][1] if group == DIFFERENT else groups[group][1][few] for group in asked}
    owners[OTHER_SEEDS] = np.tile(np.arange(len(own)), config.selected)

    def chosen(part: str, y: Float[torch.Tensor, "k tokens width"], seed: int) -> list[Mask]:
        if part == "value":
            return nemo(pipeline, y, unseen, seed, config.nemo).switched_off
        return [wanda(pipeline, one[None], (), seed, config.wanda).switched_off[0] for one in y]

    def selected(part: str, names: Sequence[str]) -> dict[str, np.ndarray]:
        masks = chosen(part, torch.cat(list(asked.values())), seed)
        for k in range(config.selected):
            masks += chosen(part, own, stream(seed, "other seeds", k).integer)
        shapes = {name: tuple(pipeline.unet.get_parameter(name).shape) for name in names}
        return locality.selections(masks, shapes, neurons=part == "value")

    for part in PARTS:
        layers = [(setting, name) for setting, name in locality.settings(pipeline) if setting["part"] == part]
        sets = made_once(checkpoints, f"selected_{part}", selected, part, [name for _, name in layers])
        ends = np.cumsum([len(owner) for owner in owners.values()])
        for (group, owner), end in zip(owners.items(), ends, strict=True):
            for setting, name in layers:
                yield from locality.overlap_rows(sets[name][end - len(owner) : end], owner, setting | {"group": group})
