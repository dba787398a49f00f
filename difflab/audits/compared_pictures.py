"""Pictures that stand in a training set many times, and U-Nets of it behind every defense that pictures have.

All U-Nets of a world begin at the same first weights and meet as many rows with the same noise. The undefended one also
leaves what it was on the way, for averages. Where rows are left empty other pictures stand in. A picture is a copy as
in `difflab.audits.isolated_copies`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial

import numpy as np
from diffusers import StableDiffusionPipeline, UNet2DConditionModel

from difflab.audits.compared_defenses import (
    ADVERSARIAL,
    AVERAGED,
    DEDUPLICATED,
    FOCAL,
    NEMO,
    NOTHING,
    ORACLE,
    PICTURES,
    PREFERENCE,
    READS,
    REGIONAL,
    ROLES,
    SINKS,
    VALIDATION,
    WANDA,
    Arrays,
    Family,
    at_share,
    check_earlier,
    compared,
    left_at,
    strongest,
)
from difflab.audits.erasure_questions import PLAIN, relearning
from difflab.audits.isolated_copies import Asked, by_nemo, by_wanda
from difflab.audits.isolated_pictures import OWN, IsolatedWorld, begun, prepare
from difflab.audits.searches import surrogates
from difflab.audits.worlds import Targets
from difflab.diffusion.autoencoder import encode
from difflab.diffusion.defended import Defended, undefended
from difflab.diffusion.defenses.adversarial_finetuning import AdversarialFinetuning, adversarial_finetuning
from difflab.diffusion.defenses.negative_preference import NegativePreference, negative_preference
from difflab.diffusion.finetuning import weights_of, with_weights
from difflab.diffusion.focal import Focal
from difflab.diffusion.recipe import Material, Stops, train_pipeline
from difflab.diffusion.regions import in_latents
from difflab.diffusion.sinks import weighed
from difflab.diffusion.train import Objective, plain
from difflab.errors import require
from difflab.randomness import stream
from difflab.runs.result import digest
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import InMemory
from difflab.training.averaging import averaged
from difflab.training.devices import one_thread
from difflab.training.reads import reads_of
from difflab.training.sinks import dropped
from synthetic.foreground import foreground
from synthetic.plan import Plan

DEFENSES = (
    NOTHING, ORACLE, DEDUPLICATED, SINKS, FOCAL, AVERAGED, PREFERENCE, REGIONAL, NEMO, WANDA, ADVERSARIAL
)  # fmt: skip
SEARCH = "search for embeddings"


@dataclass(frozen=True)
class ComparedPictures:
    """What is planted, how strong defenses of it are, and how they are attacked."""

    models: IsolatedWorld = field(
        default_factory=lambda: IsolatedWorld(
            plan=Plan(
                side=16, ladder=(128,), per_rung=12, recaptioned=0, layouts=0, regions=0, unique=500, emoji=160,
                twins=1, held_out=600,
            )
        )
    )  # fmt: skip
    """Pictures, models, prunings and attacks; all repeated pictures have the same number of copies. General units are
    not dropped."""
    focal: Focal = field(default_factory=Focal)
    """How much less counts what is denoised well."""
    earlier: tuple[float, ...] = (0.9, 0.75, 0.5)
    """Shares of the training after which a checkpoint may be averaged with the last one, falling."""
    preferences: tuple[NegativePreference, ...] = tuple(NegativePreference(beta=beta) for beta in (20.0, 5.0, 2.0))
    """Unlearning of whole pictures, or of what they show on their ground, from the weakest to the strongest."""
    adversarial: AdversarialFinetuning = field(default_factory=AdversarialFinetuning)
    """The fine-tuning; its surrogates are drawn by the model that NeMo prunes, or, where that copies, Wanda."""

    def __post_init__(self) -> None:
        check_earlier(self.earlier)
        require(len(self.preferences) > 0, "preferences is empty; give at least one way to unlearn.")
        ladder = self.models.plan.ladder
        require(len(ladder) == 1 and ladder[0] > 1, f"models.plan.ladder is {ladder}; give one number above 1.")

    @property
    def name(self) -> str:
        """After all that decides what is trained and asked."""
        return digest("compared_pictures", asdict(self))

    @property
    def asked(self) -> int:
        """Pictures that a model is asked for, and as many twins."""
        return self.models.plan.per_rung

    @property
    def routes(self) -> tuple[str, ...]:
        """Names of the ways to a picture."""
        return PLAIN, SEARCH, *(relearning(steps) for steps in self.models.relearning.keep)

    def seeded(self, seed: int) -> "ComparedPictures":
        """The world of another seed."""
        return replace(self, models=replace(self.models, seed=seed))

    def objective(self, defense: str) -> Objective:
        """What the training of a defense lowers."""
        if defense == SINKS:
            return self.models.objective(OWN)
        return self.focal if defense == FOCAL else plain


def _trained(world: ComparedPictures, defense: str, checkpoints: Checkpoints) -> Arrays:
    """Trained in one go, so that its cost is counted whole: a killed run begins this piece anew."""
    planted, recipe = world.models.planted(), world.models.recipe()
    changed = planted.where("repeated") if defense in (ORACLE, DEDUPLICATED) else None
    material = Material(*planted.material(changed, once=defense == DEDUPLICATED))
    steps = {share: round(share * recipe.training.steps) for share in reversed(world.earlier)}
    found = Arrays()

    def reached(step: int, pipeline: StableDiffusionPipeline) -> None:
        for share in [one for one in steps if steps[one] == step]:
            found.update(at_share(weights_of(pipeline), share))

    stops = Stops(sorted(set(steps.values())), reached) if defense == NOTHING else None
    with one_thread():
        base = begun(world.models, checkpoints)
        with reads_of(UNet2DConditionModel) as reads:
            pipeline = train_pipeline(
                material, recipe, InMemory(), base, stops=stops, objective=world.objective(defense)
            )
    return found | at_share(weights_of(pipeline), 1.0) | {READS: np.array(reads.count)}


def _told(world: ComparedPictures, defense: str, left: Mapping[str, np.ndarray], checkpoints: Checkpoints) -> Arrays:
    """What a defended model draws of pictures and twins by every route, how good it is, and what it cost."""
    with one_thread():
        base = begun(world.models, checkpoints)
        asked = Asked(world.models, base)
        with reads_of(UNet2DConditionModel) as reads:
            model = _defended(world, defense, left, asked, base)
        routes = {PLAIN: asked.copied(asked.met_by_all(model)), SEARCH: asked.brought_back(model)}
        for steps, both in zip(world.models.relearning.keep, asked.taught(model), strict=True):
            routes[relearning(steps)] = asked.of_the_untaught(*(asked.copied(asked.met_by_all(one)) for one in both))
        validation = asked.loss(model, asked.telling)
    shares = {
        f"{role} {route}": back.mean()
        for route, copied in routes.items()
        for role, back in zip(ROLES, copied.reshape(2, -1), strict=True)
    }
    numbers = {**shares, VALIDATION: validation, READS: left[READS] + reads.count}
    return {name: np.array(value) for name, value in numbers.items()}


def _defended(
    world: ComparedPictures,
    defense: str,
    left: Mapping[str, np.ndarray],
    asked: Asked,
    base: StableDiffusionPipeline,
) -> Defended:
    last = with_weights(base, left_at(left, 1.0))
    standard = undefended(last, asked.captions)
    if defense == SINKS:
        return undefended(weighed(last, partial(dropped, world.models.sinks)), asked.captions)
    if defense == ADVERSARIAL:
        return _fine_tuned(world, last, asked)
    if defense not in (AVERAGED, PREFERENCE, REGIONAL, NEMO, WANDA):
        return standard
    loss = partial(asked.loss, group=asked.choosing)
    return strongest(_forms(world, defense, left, asked, last), loss, (1 + world.models.dearer) * loss(standard))


def _forms(
    world: ComparedPictures,
    defense: str,
    left: Mapping[str, np.ndarray],
    asked: Asked,
    last: StableDiffusionPipeline,
) -> Sequence[Defended]:
    """From the weakest to the strongest."""
    if defense == NEMO:
        return by_nemo(asked, last, asked.world.nemos)
    if defense == WANDA:
        return by_wanda(asked, last, asked.world.sparsities)
    if defense in (PREFERENCE, REGIONAL):
        return _unlearned(world, asked, last, defense == REGIONAL)
    both = [[left_at(left, share), left_at(left, 1.0)] for share in world.earlier]
    return [undefended(with_weights(last, averaged(some)), asked.captions) for some in both]


def _unlearned(world: ComparedPictures, asked: Asked, last: StableDiffusionPipeline, regional: bool) -> list[Defended]:
    """Whole pictures are forgotten, or only what they show: their ground is kept, as CodeEraser keeps what stands
    around a span."""
    shown = foreground(asked.planted, asked.places[: asked.top]) if regional else None
    known = asked.known._replace(regions=None if shown is None else in_latents(shown, *asked.latents.shape[2:]))
    captions, seed = asked.captions[: asked.top], stream(world.models.seed, "unlearning").integer
    return [negative_preference(last, captions, (), seed, one, known) for one in world.preferences]


def _fine_tuned(world: ComparedPictures, standard: StableDiffusionPipeline, asked: Asked) -> Defended:
    captions = asked.captions[: asked.top]
    targets = Targets(asked.targets[: asked.top], tuple(captions))
    prunings = by_nemo(asked, standard, [asked.world.nemo]) + by_wanda(asked, standard, asked.world.sparsities[-1:])
    instead = surrogates(asked.judge, targets, *prunings)
    known = asked.known._replace(surrogates=encode(standard, instead))
    seed = stream(world.models.seed, "fine-tuning").integer
    return adversarial_finetuning(standard, captions, asked.unseen, seed, world.adversarial, known)


FAMILY = Family(PICTURES, DEFENSES, _trained, _told)


def compared_pictures(
    worlds: Sequence[ComparedPictures], checkpoints: Checkpoints, workers: int
) -> list[dict[str, Arrays]]:
    """`compared`, after the one autoencoder of all worlds was trained."""
    prepare(worlds[0].models, checkpoints)
    return compared(FAMILY, worlds, checkpoints, workers)
