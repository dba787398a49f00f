"""Repeated pictures learned into sinks, or never trained on: the tiny Stable Diffusions of planted worlds.

Of every world four U-Nets are trained from the same first weights with the same noise: the standard one; one in which
every picture has sinks of its own; one with sinks that are drawn anew at every presentation; and one that never saw the
repeated pictures, in whose rows others stand in their place. All worlds have one autoencoder and one text encoder,
trained on the pictures of another world, whose scenes are its own; emoji are few, so that it has seen some of theirs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
from diffusers import StableDiffusionPipeline
from jaxtyping import Int

from difflab.diffusion.architecture import Architecture
from difflab.diffusion.attacks.dori import Dori
from difflab.diffusion.attacks.relearning import Relearning
from difflab.diffusion.defenses.nemo import Nemo
from difflab.diffusion.defenses.wanda import Wanda
from difflab.diffusion.finetuning import weights_of
from difflab.diffusion.recipe import Material, Recipe, train_pipeline
from difflab.diffusion.sinks import WithSinks
from difflab.diffusion.train import Objective, Training, plain
from difflab.errors import at_least, require
from difflab.randomness import stream
from difflab.runs.parallel import kept
from difflab.runs.result import digest
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import Prefixed, key, made_once
from difflab.training.devices import one_thread
from difflab.training.sinks import Sinks
from synthetic.plan import Plan, Planted, draw

STANDARD, RETRAINED, OWN, REDRAWN = "standard", "retrained without", "own sinks on", "sinks drawn anew, dropped"
TRAINED = (STANDARD, RETRAINED, OWN, REDRAWN)
"""After what becomes of them."""


@dataclass(frozen=True)
class IsolatedWorld:
    """What is planted, how units are shared out, and how the models are pruned, asked and attacked."""

    plan: Plan = field(
        default_factory=lambda: Plan(
            side=16, ladder=(1, 16, 128), per_rung=8, recaptioned=0, layouts=0, regions=0, unique=500, emoji=160,
            twins=1, held_out=600,
        )
    )  # fmt: skip
    """How many pictures of each role, one twin each; its seed is the world's."""
    training: Training = field(default_factory=lambda: Training(steps=2000, ema=0.99, checkpoint_steps=250))
    """Of every U-Net; its seed is the world's."""
    autoencoder_steps: int = 1000
    """Of the one autoencoder of all worlds."""
    sinks: Sinks = field(default_factory=Sinks)
    """How units are shared out; its seed is the world's."""
    held_out: int = 100
    """Scenes never trained on that tell how good a model is, and as many by which prunings are chosen."""
    draws: int = 8
    """Of noise and time, for the loss of a picture."""
    generals: int = 3
    """Draws of random general units."""
    seeds: int = 2
    """Pictures drawn for every caption."""
    sampler_steps: int = 20
    """DDIM steps of these."""
    guidance: float = 2.0
    """Weight of the prompt in these."""
    nemo: Nemo = field(default_factory=lambda: Nemo(blocks=("down", "mid", "up"), seeds=4, unseen=200, window=3))
    """How NeMo prunes the standard model at most, but for candidates that it lets go."""
    sparsities: tuple[float, ...] = (0.01, 0.03, 0.1, 0.2, 0.4)
    """Of Wanda, rising."""
    dearer: float = 0.02
    """By what share a pruning may raise the loss of held-out scenes, or by as much as the drop does if that is more."""
    dori: Dori = field(default_factory=Dori)
    """The search for embeddings."""
    relearning: Relearning = field(default_factory=lambda: Relearning((5, 25, 100), 32, 5e-4))
    """The training on half of the pictures with most copies."""
    seed: int = 0
    """Of pictures, first weights, order and chance."""

    def __post_init__(self) -> None:
        at_least(self, 0, "seed", "dearer")
        at_least(self, 1, "autoencoder_steps", "draws", "generals", "seeds", "sampler_steps")
        at_least(self, 2, "held_out")
        require(self.plan.twins == 1, f"plan.twins is {self.plan.twins}; give 1, one for each repeated picture.")
        scenes = self.plan.held_out - self.plan.held_out // 20
        require(
            scenes >= 2 * self.held_out,
            f"held_out is {self.held_out} of {scenes} held-out scenes; half of them choose, so give at most half.",
        )
        require(
            len(self.sparsities) > 0 and list(self.sparsities) == sorted(set(self.sparsities)),
            f"sparsities is {self.sparsities}; give rising ones.",
        )
        for sparsity in self.sparsities:
            Wanda(sparsity)

    @property
    def name(self) -> str:
        """After all that decides what is trained and asked."""
        return digest("isolated_pictures", asdict(self))

    @property
    def nemos(self) -> tuple[Nemo, ...]:
        """From the weakest to the strongest: in one part of the U-Net, in two, in all; then no candidate is let go."""
        parts = sorted(self.nemo.blocks, key=("mid", "down", "up").index)
        refined = [replace(self.nemo, blocks=tuple(parts[: k + 1])) for k in range(len(parts))]
        return *refined, replace(self.nemo, refine=False)

    def planted(self) -> Planted:
        """The pictures."""
        return draw(replace(self.plan, seed=self.seed))

    def recipe(self) -> Recipe:
        """The tiny pipeline, and its training."""
        sizes = Architecture(
            side=self.plan.side, latent_channels=8, widths=(16, 32), heads=2, vae_widths=(16, 16, 32), length=16,
            embedding=24, text_layers=1,
        )  # fmt: skip
        return Recipe(sizes, self.autoencoder_steps, replace(self.training, seed=self.seed), self.seed)

    def objective(self, variant: str) -> Objective:
        """What the U-Net of a variant lowers."""
        own = replace(self.sinks, seed=self.seed)
        return WithSinks(own, variant == REDRAWN) if variant in (OWN, REDRAWN) else plain


def items_of(planted: Planted) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """The repeated pictures, those with most copies first, and the twin of each in the same place."""
    repeated = planted.where("repeated")
    copies = np.array([planted.listed[i].copies for i in repeated])
    repeated = repeated[np.argsort(-copies, kind="stable")]
    by_family = {planted.listed[i].family: i for i in planted.where("twin")}
    return repeated, np.array([by_family[planted.listed[i].family] for i in repeated])


def begun(world: IsolatedWorld, checkpoints: Checkpoints) -> StableDiffusionPipeline:
    """Autoencoder and text encoder of all worlds like this one, whatever their seed, around an untrained U-Net."""
    planted = draw(replace(world.plan, seed=stream(0, "autoencoder").integer))
    material = Material(*planted.material(planted.where("repeated")))
    recipe = replace(world.recipe(), training=Training(steps=0), seed=0)
    return train_pipeline(material, recipe, Prefixed(checkpoints, "begun"))


def trained(
    worlds: Sequence[IsolatedWorld], checkpoints: Checkpoints, workers: int
) -> dict[tuple[int, str], Mapping[str, np.ndarray]]:
    """Weights of the U-Nets of every world, by its place and the variant; what a killed run has done is not done again.

    Args:
        worlds: one for each seed.
        checkpoints: where arrays and half-done trainings are kept.
        workers: processes; they do not change the numbers.
    """
    prepare(worlds[0], checkpoints)
    names = {(place, variant): key(world.name, variant) for place, world in enumerate(worlds) for variant in TRAINED}
    given = {name: (worlds[place], variant, checkpoints) for (place, variant), name in names.items()}
    found = kept(_trained, given, checkpoints, workers, "U-Nets")
    return {pair: found[name] for pair, name in names.items()}


def prepare(world: IsolatedWorld, checkpoints: Checkpoints) -> None:
    """Train the autoencoder of all worlds like this one, before they ask for it in several processes."""
    made_once(checkpoints, "autoencoder_begun", _begun, world, checkpoints)


def _begun(world: IsolatedWorld, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    with one_thread():
        begun(world, checkpoints)
    return {"begun": np.array(True)}


def _trained(world: IsolatedWorld, variant: str, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    planted = world.planted()
    material = Material(*planted.material(planted.where("repeated") if variant == RETRAINED else None))
    with one_thread():
        pipeline = train_pipeline(
            material,
            world.recipe(),
            Prefixed(checkpoints, key(world.name, variant, "half")),
            begun(world, checkpoints),
            objective=world.objective(variant),
        )
    return weights_of(pipeline)
