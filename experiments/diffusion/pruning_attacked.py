"""Is a pruned picture gone from the weights, or only from its prompt?

Pruning stops a caption from drawing its training picture; Dori moves the text embedding until the picture comes back
(Finding Dori, arXiv 2507.16880, main table). The paper could not say whether the search finds a memory or writes one,
since for SD nobody knows what was never seen. Here the same search runs at the same budget against pictures shown
once, against twins never trained on, and against the repeated pictures on a network of random weights and on a model
retrained without them (the oracle; --oracle names another). Equal-size random neurons and largest weights stand
beside NeMo and Wanda, random steps of Dori's length beside Dori.

Published, SD 1.4, SSCD above 0.7: no defense 0.98, NeMo 0.20, NeMo + Dori 0.99, Wanda 0.00, Wanda + Dori 0.72,
pictures never seen + Dori 0.00 (0.02 in a figure). In the small model the memory runs through the value neurons of the
up blocks as well, so NeMo searches all blocks; as "nemo, published" its authors' code does, slips included. Quality is
the denoising loss of held-out pictures under the same masks, divided by that without: of neighbouring captions (twins:
another city) and of unrelated ones.
Cost on two cores: about 32 minutes on one of them; NeMo's searches take another minute when a killed run goes on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure

from difflab.audits.searches import attacked, held_out_rows
from difflab.audits.searches import rows as rows_of
from difflab.audits.worlds import OnWorld, World, open_world, random_network
from difflab.diffusion.attacks.dori import Dori
from difflab.diffusion.defended import Defended, undefended
from difflab.diffusion.defenses.attention_scaling import attention_scaling
from difflab.diffusion.defenses.magnitude import Magnitude, magnitude
from difflab.diffusion.defenses.nemo import Nemo, nemo
from difflab.diffusion.defenses.prompt_embedding import prompt_embedding
from difflab.diffusion.defenses.random_neurons import RandomNeurons, random_neurons
from difflab.diffusion.defenses.token_insertion import token_insertion
from difflab.diffusion.defenses.wanda import Wanda, wanda
from difflab.diffusion.panels.attacks import cost_figure, steps_figure
from difflab.diffusion.pruning import off_fraction, size
from difflab.errors import require
from difflab.randomness import stream
from difflab.runs.answers import Answer
from difflab.runs.figures import picture_strips
from difflab.runs.numbers import Recorded
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key, made_once
from difflab.runs.rows import Artefact, Note, Row, select
from difflab.statistics.intervals import POSITIVE, mean

CONTROLS = ("once", "never", "random network", "oracle")
COLOURS = {
    "repeated": "memorizing",
    "once": "trained",
    "never": "control",
    "oracle": "exact",
    "random network": "predicted",
}


@dataclass(frozen=True)
class Config(OnWorld):
    """The case, the defenses and the attack."""

    nemo: Nemo = field(default_factory=lambda: Nemo(blocks=("down", "mid", "up")))
    published: Nemo = field(default_factory=lambda: replace(Nemo.published(), blocks=("down", "mid", "up")))
    """As its authors' code searches, a defense of its own."""
    sparsities: tuple[float, ...] = (0.01, 0.1, 0.3)
    """Of Wanda."""
    prompt: bool = True
    """Defend prompts too: optimised embeddings, inserted tokens, scaled attention."""
    dori: Dori = field(default_factory=lambda: Dori(keep=(0, 1, 10, 25, 50)))

    def __post_init__(self) -> None:
        super().__post_init__()
        require(len(self.sparsities) > 0, "give at least one sparsity.")


SMOKE = Config(
    targets=2,
    nemo=Nemo(blocks=("up",), seeds=2, unseen=6, refine=False),
    published=replace(Nemo.published(), blocks=("up",), seeds=2, unseen=6, refine=False),
    sparsities=(0.1,),
    dori=Dori(keep=(0, 1), batch=1, looks=1),
    seeds=2,
    steps=1,
    held_out=2,
    draws=1,
    retained=60,
)


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact | Note]:
    """Defend, attack, draw and compare, cell by cell; a killed run goes on with the next cell."""
    world = open_world(config)
    yield from world.left_out
    defenses = _pruned(world, config)
    for defense, defended in defenses.items():
        sizes = [size(mask) for mask in defended.switched_off]
        yield Row("switched_off_count", *mean(sizes, bounds=POSITIVE), len(sizes), {"defense": defense})
    defenses |= _prompts(world, config)
    yield from held_out_rows(config, world, defenses)
    cells = [
        (defense, target, defended, group)
        for defense, defended in defenses.items()
        for target, group in world.groups.items()
    ]
    repeated = world.groups["repeated"]
    cells.append(("nothing", "random network", undefended(random_network(world.pipeline), repeated.captions), repeated))
    if world.oracle is not None:
        cells.append(("nothing", "oracle", undefended(world.oracle, repeated.captions), repeated))
    for defense, target, defended, group in cells:
        cell = (config, world.judge, defended, group, config.dori)
        found = made_once(checkpoints, key(defense, target), attacked, *cell)
        yield from rows_of(world.judge, found, group, config.dori, {"defense": defense, "target": target})
        for name, shown in _shown(defense, target, found["drawn"], group.pictures).items():
            yield Artefact(name, shown)


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What the paper says, and what its critics say."""

    def rate(defense: str, target: str, attack: str) -> float:
        shown = {"defense": defense, "target": target, "attack": attack, "measure": "pixel", "seeds": "median"}
        return select(rows, "memorized_fraction", **shown)[-1].value

    def dori_on(target: str) -> list[float]:
        defenses = {row.setting["defense"] for row in select(rows, "memorized_fraction", target=target)}
        return [rate(defense, target, "dori") for defense in defenses]

    controls = [value for target in CONTROLS for value in dori_on(target)]
    undefended, pruned = rate("nothing", "repeated", "nothing"), rate("nemo", "repeated", "nothing")
    cost = select(rows, "held_out_ratio", defense="nemo", captions="unrelated")[0]
    loss, plain = (select(rows, "held_out_loss", defense=d, captions="unrelated")[0] for d in ("nemo", "nothing"))
    return {
        "without a defense the most repeated pictures are memorized: at least 90 %": undefended >= 0.9,
        "NeMo stops most of them: under 40 %": pruned < 0.4,
        "as many random neurons do not: at least 40 %": rate("random_neurons", "repeated", "nothing") >= 0.4,
        "under NeMo the loss of unrelated captions lies within its interval without a defense": (
            plain.interval.low <= loss.value <= plain.interval.high
        ),
        "and picture by picture it costs them nothing: the interval of the loss ratio begins below 1": cost.interval.low
        <= 1,
        "Dori brings most of what NeMo stopped back: above 50 %": rate("nemo", "repeated", "dori") > 0.5,
        "a random step of the same length does not: under 50 %": rate("nemo", "repeated", "random_perturbation") < 0.5,
        "no control comes back under Dori: at most 10 % in each": max(controls) <= 0.1,
    }


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """Curves over the steps of the attack, copying against quality, and the pictures."""
    curves = select(rows, "memorized_fraction", attack="dori", measure="pixel", seeds="median")
    panels = {row.setting["defense"]: row.setting["defense"] for row in curves}
    title, label = "Pictures that come back", "steps of the attack"
    found = {
        "steps": steps_figure(curves, title, label, ("defense", panels), ("target", COLOURS)),
        "quality": cost_figure(rows, "What stopping copies costs", "nothing", "memorized fraction"),
    }
    titles = {
        "original": "training picture",
        "nothing": "no defense",
        "nemo": "pruned",
        "nemo_dori": "attacked",
        "oracle_dori": "oracle attacked",
        "never_original": "twin",
        "never_dori": "twin attacked",
    }
    names = [name for name in titles if name in artefacts]
    title = ", ".join(titles[name] for name in names)
    shown = np.stack([artefacts[name] for name in names], axis=1)
    found["pictures"] = picture_strips(shown, [f"target {i}" for i in range(len(shown))], title, a_line=3)
    return found


def answer(run: Recorded) -> Answer:
    """NeMo's pictures before and after the search, and the twins'."""

    def drawn(defense: str, target: str, attack: str) -> str:
        here = {"defense": defense, "target": target, "attack": attack, "measure": "pixel", "seeds": "median"}
        steps = max(row.setting["attack_steps"] for row in run.rows("memorized_fraction", **here))
        return run.count("memorized_fraction", attack_steps=steps, **here)

    return Answer(
        f"Without a defense {drawn('nothing', 'repeated', 'nothing')} pictures are drawn, under NeMo "
        f"{drawn('nemo', 'repeated', 'nothing')}, and after Dori {drawn('nemo', 'repeated', 'dori')}; "
        f"of twins {drawn('nemo', 'never', 'dori')}.",
        "0.98, 0.20, 0.99 and 0.00 (SD 1.4)",
        "steps",
        "How soon do the pruned pictures come back, and do the controls stay at 0?",
    )


def _pruned(world: World, config: Config) -> dict[str, Defended]:
    """Every defense that prunes, and none."""
    pipeline, unseen, seed = world.pipeline, world.unseen, stream(config.seed, "defense").integer
    captions = world.groups["repeated"].captions
    found = {"nothing": undefended(pipeline, captions)}
    found["nemo"] = nemo(pipeline, captions, unseen, seed, config.nemo)
    found["nemo, published"] = nemo(pipeline, captions, unseen, seed, config.published)
    as_many = RandomNeurons.as_many(found["nemo"], config.nemo.blocks)
    found["random_neurons"] = random_neurons(pipeline, captions, unseen, seed, as_many)
    for sparsity in config.sparsities:
        found[f"wanda {100 * sparsity:g} %"] = wanda(pipeline, captions, unseen, seed, Wanda(sparsity))
    share = off_fraction(found[f"wanda {100 * config.sparsities[-1]:g} %"].switched_off[0])
    found["magnitude"] = magnitude(pipeline, captions, unseen, seed, Magnitude(share))
    return found


def _prompts(world: World, config: Config) -> dict[str, Defended]:
    """Defenses that leave the weights alone."""
    if not config.prompt:
        return {}
    captions, seed = world.groups["repeated"].captions, stream(config.seed, "defense").integer
    methods = (prompt_embedding, token_insertion, attention_scaling)
    return {method.__name__: method(world.pipeline, captions, world.unseen, seed) for method in methods}


def _shown(
    defense: str, target: str, drawn: UInt8[np.ndarray, "attacks n seeds h w 3"], pictures: UInt8[np.ndarray, "n h w 3"]
) -> dict[str, UInt8[np.ndarray, "n h w 3"]]:
    """The pictures of the strips, one seed each."""
    if (defense, target) == ("nothing", "repeated"):
        return {"original": pictures, "nothing": drawn[0, :, 0]}
    if (defense, target) == ("nemo", "repeated"):
        return {"nemo": drawn[0, :, 0], "nemo_dori": drawn[-2, :, 0]}
    if (defense, target) == ("nemo", "never"):
        return {"never_original": pictures, "never_dori": drawn[-2, :, 0]}
    if target == "oracle":
        return {"oracle_dori": drawn[-2, :, 0]}
    return {}
