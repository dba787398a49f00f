"""Does adversarial fine-tuning remove a picture from every route to it, or only from the routes that it was shown?

Finding Dori (arXiv 2507.16880) fine-tunes on embeddings found by its own attack and reports that the attack no longer
works. Reviewers asked what remains without the inner search, whether other attacks work still, and at what cost. Here
every fine-tuned defense sees the same memorized pictures and spends the same number of network rows with gradients,
searches included: adversarial fine-tuning; without the search (the prompts are trained to draw the surrogates); of low
rank only; on ordinary pictures alone; concept erasure (ESD) and data unlearning (SISS). Each meets the attack that it
may have been trained on, Dori for 50 steps, and ones that it was not: Dori slower and for longer, Dori from noise, a
prompt of real tokens, and a search of the initial noise. Twins that nobody trained on say what an attack writes by
itself. Wanda is swept over its sparsity beside them.

Published, SD 1.4, memorized rate after Dori: adversarial fine-tuning 0.02, ESD 0.98, SISS 0.39, Wanda 0.72, Wanda at
10 % 0.01 (with neighbouring captions wrecked); low rank "fails". Quality is the denoising loss of held-out pictures,
divided by that without a defense. Of the pictures that the pruned model draws the one least like the target is its
surrogate; NeMo leaves some copies, and there Wanda's model draws it. The surrogates' rate of copies is a row.
Cost on two cores: 65 minutes on one of them, beside other work.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import UInt8
from matplotlib.figure import Figure

from difflab.audits.searches import held_out_rows, known, surrogates
from difflab.audits.worlds import OnWorld, Targets, World, generators, open_world
from difflab.diffusion.attacks.discrete_tokens import DiscreteTokens, discrete_tokens
from difflab.diffusion.attacks.dori import Dori, dori
from difflab.diffusion.attacks.initial_noise import InitialNoise, initial_noise
from difflab.diffusion.autoencoder import encode
from difflab.diffusion.defended import Defended, undefended
from difflab.diffusion.defenses.adversarial_finetuning import AdversarialFinetuning, adversarial_finetuning
from difflab.diffusion.defenses.concept_erasure import ConceptErasure, concept_erasure
from difflab.diffusion.defenses.data_unlearning import DataUnlearning, data_unlearning
from difflab.diffusion.defenses.nemo import Nemo, nemo
from difflab.diffusion.defenses.wanda import Wanda, wanda
from difflab.diffusion.finetuning import Known, with_weights
from difflab.diffusion.panels.attacks import attacks_figure, cost_figure
from difflab.diffusion.trigger import Trigger
from difflab.randomness import stream
from difflab.runs.answers import Answer
from difflab.runs.figures import picture_strips
from difflab.runs.numbers import Recorded
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import key, made_once
from difflab.runs.rows import Artefact, Note, Row, select

CURE = "adversarial_finetuning"
PUBLISHED = {CURE: 0.02, "concept_erasure": 0.98, "data_unlearning": 0.39, "wanda 1 %": 0.72, "wanda 10 %": 0.01}
TRAINED_ON = "dori"
ATTACKS = ("nothing", TRAINED_ON, "dori, slower", "dori, from noise", "discrete_tokens", "initial_noise")


@dataclass(frozen=True)
class Config(OnWorld):
    """The case, the defenses, their common budget, and the attacks."""

    nemo: Nemo = field(default_factory=lambda: Nemo(blocks=("down", "mid", "up")))
    """Draws the surrogates; of pictures that it leaves memorized, Wanda at its largest sparsity."""
    adversarial: AdversarialFinetuning = field(default_factory=AdversarialFinetuning)
    erasure: ConceptErasure = field(default_factory=ConceptErasure)
    unlearning: DataUnlearning = field(default_factory=DataUnlearning)
    sparsities: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3)
    """Of Wanda."""
    attack_steps: int = 50
    """Of Dori; the longer search takes three times as many."""
    token_steps: int = 100
    """Of the search for real tokens."""
    noise_steps: int = 10
    """Of the search for initial noise; with many more it writes pictures that nobody trained on."""


SMOKE = Config(
    targets=2,
    nemo=Nemo(blocks=("up",), seeds=2, unseen=6, refine=False),
    adversarial=AdversarialFinetuning(steps=2, inner_steps=1, inner_batch=1, targets=1, batch=2, draws=1),
    erasure=ConceptErasure(batch=2, sampling_steps=2),
    unlearning=DataUnlearning(batch=2),
    sparsities=(0.1,),
    attack_steps=1,
    token_steps=1,
    noise_steps=1,
    seeds=2,
    steps=1,
    held_out=2,
    draws=1,
    retained=60,
)


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact | Note]:
    """Cure, attack, draw and compare; a killed run goes on with the next defense or attack."""
    world = open_world(config)
    yield from world.left_out
    repeated, seed = world.groups["repeated"], stream(config.seed, "defense").integer
    pruned = nemo(world.pipeline, repeated.captions, world.unseen, seed, config.nemo)
    most = wanda(world.pipeline, repeated.captions, world.unseen, seed, Wanda(max(config.sparsities)))
    instead = surrogates(world.judge, repeated, pruned, most)
    yield from world.judge.rows(instead[:, None], repeated.pictures, repeated.captions, {"defense": "surrogates"})
    defenses = {"nothing": undefended(world.pipeline, repeated.captions), "nemo": pruned}
    for sparsity in config.sparsities:
        off = wanda(world.pipeline, repeated.captions, world.unseen, seed, Wanda(sparsity))
        defenses[f"wanda {100 * sparsity:g} %"] = off
    seen, tuning = known(world, instead), stream(config.seed, "fine-tuning").integer
    for name, asked in _asked(config).items():
        weights = made_once(checkpoints, f"weights_{key(name)}", _weights, world, asked, seen, tuning)
        tensors = {part: torch.from_numpy(value) for part, value in weights.items()}
        defenses[name] = undefended(with_weights(world.pipeline, tensors), repeated.captions)
        yield Row("gradient_rows_count", float(asked.steps * asked.rows_a_step), None, None, 1, {"defense": name})
    yield from held_out_rows(config, world, defenses)
    for name, defended in defenses.items():
        for target in ("repeated", "never") if name in ("nothing", CURE) else ("repeated",):
            if target not in world.groups:
                continue
            targets = world.groups[target]
            for attack in ATTACKS:
                cell = (attack, defended, targets, world, config)
                found = made_once(checkpoints, key(name, target, attack), _drawn, *cell)
                setting = {"defense": name, "target": target, "attack": attack}
                yield from world.judge.rows(found["drawn"], targets.pictures, targets.captions, setting)
                if name in ("nothing", CURE) and target == "repeated":
                    yield Artefact(f"drawn_{key(name, attack)}", found["drawn"][:, 0])
    for name, value in PUBLISHED.items():
        yield Row("published_fraction", value, None, None, 0, {"defense": name, "attack": TRAINED_ON})
    yield Artefact("original", repeated.pictures)
    yield Artefact("surrogate", instead)


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What the paper says of its cure, and what its reviewers asked."""

    def rate(defense: str, attack: str) -> float:
        shown = {"defense": defense, "target": "repeated", "attack": attack, "measure": "pixel", "seeds": "median"}
        return select(rows, "memorized_fraction", **shown)[0].value

    surrogates = select(rows, "memorized_fraction", defense="surrogates", measure="pixel", seeds="median")[0]
    others = max(rate(CURE, attack) for attack in ATTACKS if attack != TRAINED_ON)
    cost = {row.setting["captions"]: row for row in select(rows, "held_out_ratio", defense=CURE)}
    return {
        "surrogates are no copies: at most 10 %": surrogates.value <= 0.1,
        "the cure holds against the attack it was trained on: at most 10 %": rate(CURE, TRAINED_ON) <= 0.1,
        "and against every other attack: at most 10 %": others <= 0.1,
        "without the inner search more comes back": rate("no inner search", TRAINED_ON) > rate(CURE, TRAINED_ON),
        "with low rank more comes back": rate("low rank", TRAINED_ON) > rate(CURE, TRAINED_ON),
        "ordinary pictures alone do not cure: over 50 % come back": rate("retained only", TRAINED_ON) > 0.5,
        "concept erasure does not: over 50 % come back": rate("concept_erasure", TRAINED_ON) > 0.5,
        "the cure costs unrelated captions less than 5 % of loss": cost["unrelated"].value < 1.05,
    }


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """Every defense under every attack, what it costs, and pictures."""
    names = ["original", "surrogate"] + [f"drawn_{key(CURE, attack)}" for attack in ATTACKS]
    shown = np.stack([artefacts[name] for name in names], axis=1)
    title = f"Picture, surrogate, then the cured model: {', '.join(ATTACKS)}"
    return {
        "attacks": attacks_figure(rows, ATTACKS),
        "cost": cost_figure(rows, "What a cure costs", TRAINED_ON, "memorized fraction after Dori", log=True),
        "cured": picture_strips(shown, [f"target {i}" for i in range(len(shown))], title, a_line=2),
    }


def answer(run: Recorded) -> Answer:
    """The cure under the attack that it was trained on and under the worst other one, and what it costs."""
    here = {"defense": CURE, "target": "repeated", "measure": "pixel", "seeds": "median"}
    others = [row.value for row in run.rows("memorized_fraction", **here) if row.setting["attack"] != TRAINED_ON]
    cost = run.number("held_out_ratio", defense=CURE, captions="unrelated")
    return Answer(
        f"After the cure {run.count('memorized_fraction', attack=TRAINED_ON, **here)} pictures come back under Dori, "
        f"at most {max(others):.0%} under any other attack; unrelated captions lose {cost} times as much.",
        "0.02 under Dori (SD 1.4)",
        "attacks",
        "Which defenses stay low under every attack, and not only under Dori?",
    )


def _asked(config: Config) -> dict[str, AdversarialFinetuning | ConceptErasure | DataUnlearning]:
    """The fine-tuned defenses, all with the rows of adversarial fine-tuning as their budget."""
    full = config.adversarial
    found: dict[str, AdversarialFinetuning | ConceptErasure | DataUnlearning] = {
        CURE: full,
        "no inner search": replace(full, inner_steps=0),
        "low rank": replace(full, parameters="low_rank"),
        "retained only": replace(full, adversarial=False),
        "concept_erasure": config.erasure,
        "data_unlearning": config.unlearning,
    }
    budget = full.steps * full.rows_a_step
    return {name: replace(asked, steps=max(1, round(budget / asked.rows_a_step))) for name, asked in found.items()}


def _weights(
    world: World, asked: AdversarialFinetuning | ConceptErasure | DataUnlearning, seen: Known, seed: int
) -> dict[str, np.ndarray]:
    """Those of the fine-tuned U-Net."""
    captions = world.groups["repeated"].captions
    if isinstance(asked, ConceptErasure):
        found = concept_erasure(world.pipeline, captions, world.unseen, seed, asked, seen)
    elif isinstance(asked, DataUnlearning):
        found = data_unlearning(world.pipeline, captions, world.unseen, seed, asked, seen)
    else:
        found = adversarial_finetuning(world.pipeline, captions, world.unseen, seed, asked, seen)
    return {part: value.cpu().numpy() for part, value in found.pipeline.unet.state_dict().items()}


def _drawn(
    attack: str, defended: Defended, targets: Targets, world: World, config: Config
) -> dict[str, UInt8[np.ndarray, "n seeds h w 3"]]:
    """What an attack makes the defended model draw."""
    met = defended.of(targets.captions)
    latents, random = encode(met.pipeline, targets.pictures), generators(config, len(targets.captions))
    steps, found = config.attack_steps, [Trigger()]
    if attack == TRAINED_ON:
        found = dori(met, latents, random, Dori(keep=(steps,)))
    elif attack == "dori, slower":
        found = dori(met, latents, random, Dori(keep=(3 * steps,), rate=0.03))
    elif attack == "dori, from noise":
        found = dori(_from_noise(met, config), latents, random, Dori(keep=(steps,)))
    elif attack == "discrete_tokens":
        found = discrete_tokens(met, latents, random, DiscreteTokens(keep=(config.token_steps,)))
    elif attack == "initial_noise":
        searched = InitialNoise(keep=(config.noise_steps,), guidance=config.guidance)
        found = initial_noise(met, latents, random, searched)
    return {"drawn": world.judge.draw(met, found[-1])}


def _from_noise(met: Defended, config: Config) -> Defended:
    """With Gaussian starts, as large as the prompts."""
    y = met.embeddings
    drawn = torch.stack([torch.randn(y.shape[1:], generator=g) for g in generators(config, len(y), "start")])
    scale = y.float().square().mean(dim=(1, 2), keepdim=True).sqrt().to(y.dtype)
    return replace(met, embeddings=drawn.to(y) * scale)
