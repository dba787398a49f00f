"""What is attacked and who judges it: the planted pictures and the shipped model, or a pipeline of the user's own."""

import copy
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import tyro
from diffusers import StableDiffusionPipeline
from jaxtyping import Int, UInt8

from difflab.audits.controls import apart_from
from difflab.audits.pipelines import OnPipeline, identity, on_disk
from difflab.audits.user_pictures import read_pictures, read_prompts
from difflab.datasets.captioned import Captioned, prompt_table
from difflab.datasets.lists import folder_list
from difflab.datasets.near_copies import different
from difflab.datasets.pixels import chosen, joined
from difflab.diffusion.alignment import fit_alignment
from difflab.diffusion.calibration import of_other_captions
from difflab.diffusion.copies import Threshold, fit_thresholds, read_thresholds
from difflab.diffusion.judge import ALIGNED_BY, Judge
from difflab.diffusion.pipeline import ORACLE, SHIPPED, found_model, picture_size
from difflab.diffusion.similarity import NEAREST, Measure
from difflab.diffusion.tokens import say_cut
from difflab.errors import InputError, require
from difflab.randomness import begin_torch, item_seeds, stream
from difflab.runs.rows import Note
from synthetic import plan as plans
from synthetic.plan import Plan, Planted

_THRESHOLDS = "thresholds.json"


@dataclass(frozen=True)
class OnWorld(OnPipeline):
    """The model, the pictures that it may have memorized, controls, and how pictures are asked for."""

    oracle: str = ""
    """Directory of a pipeline retrained without the targets (difflab train --base MODEL --without ...); empty: beside
    the shipped model the one that comes with it, and none beside others."""
    images: str = ""
    """Folder of memorized training pictures with a metadata.jsonl; empty: the most repeated pictures of the plan."""
    never: str = ""
    """Folder of pictures that the model never saw, with captions: the first ones are the control beside --images, half
    of the others say what a defense costs, and the rest are what fine-tuned defenses retain."""
    prompts: str = ""
    """CSV file with a column named prompt: captions never trained on; empty: those of --never."""
    plan: Plan = field(default_factory=Plan)
    """The planted pictures that the model was trained on, where there is no folder."""
    targets: int = 12
    """Pictures that are defended and attacked, and as many of each control."""
    held_out: int = 240
    """Pictures never trained on whose loss says what a defense costs, of each kind; at most those there are."""
    draws: int = 16
    """Draws of noise and time for that loss."""
    retained: int = 2000
    """Ordinary training pictures at hand: the first 1000 say which words go with which features."""
    contents: tyro.conf.Suppress[str] = field(init=False, default="")
    """Checksums of the models, of the pictures with their lists, and of the files that flags name."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.targets >= 2, f"targets is {self.targets}; give at least 2.")
        require(self.held_out >= 2 and self.draws >= 1, "give at least 2 held-out pictures and 1 draw.")
        require(self.retained >= 50, f"retained is {self.retained}; give at least 50.")
        require(bool(self.images) == bool(self.never), "--images and --never go together: one is the other's control.")
        # Every line is looked at before anything is loaded.
        for folder in on_disk(self.images, self.never):
            folder_list(Path(folder))
        for table in on_disk(self.prompts):
            prompt_table(Path(table))
        frozen = _folder(self.model) / _THRESHOLDS
        others = (self.prompts, self.lora, self.sscd, str(frozen) if frozen.is_file() else "")
        read = identity(
            self.model, self.oracle_model, others=others, data=(self.images, self.never), download=self.download
        )
        object.__setattr__(self, "contents", read)

    @property
    def oracle_model(self) -> str:
        """The oracle: the one asked for, or the shipped one where its own model and targets are meant."""
        ours = found_model(self.model) == SHIPPED and not (self.images or self.lora) and self.plan == Plan()
        return self.oracle or (str(ORACLE) if ours else "")


class Given(NamedTuple):
    """What is in memory; the config names each by its content.

    Attributes:
        pipeline: the model.
        images, never: pictures with captions.
        prompts: captions never trained on.
    """

    pipeline: StableDiffusionPipeline | None = None
    images: Captioned | None = None
    never: Captioned | None = None
    prompts: tuple[str, ...] | None = None


ALL_NAMED = Given()
"""Nothing is."""


class Targets(NamedTuple):
    """Pictures and what they are called."""

    pictures: UInt8[np.ndarray, "n h w 3"]
    captions: tuple[str, ...]


class World(NamedTuple):
    """A model, its oracle and its pictures.

    Attributes:
        pipeline: the model.
        oracle: the model that never saw the targets, where there is one.
        groups: "repeated", the memorized pictures; "once" and "never", controls, where there are any.
        unseen: captions never trained on.
        held_out: pictures never trained on, by how near they are to the targets.
        retained: ordinary pictures, which a defense should leave the model able to draw: once-seen ones of the plan.
        judge: seeds, measures and thresholds.
        left_out: why measures, or pictures that are near-copies of targets, take no part.
    """

    pipeline: StableDiffusionPipeline
    oracle: StableDiffusionPipeline | None
    groups: dict[str, Targets]
    unseen: tuple[str, ...]
    held_out: dict[str, Targets]
    retained: Targets
    judge: Judge
    left_out: tuple[Note, ...] = ()


def open_world(config: OnWorld, given: Given = ALL_NAMED) -> World:
    """Load the models and draw or read the pictures.

    Args:
        config: what the flags say.
        given: what of it is in memory.

    Raises:
        InputError: something is missing, or the oracle was trained on a target.
    """
    pipeline = config.opened(given.pipeline)
    oracle = config.load(config.oracle_model) if config.oracle_model else None
    if config.images:
        return _of_folders(config, pipeline, oracle, given)
    return _planted(config, pipeline, oracle)


def generators(config: OnWorld, n: int, purpose: str = "attack") -> list[torch.Generator]:
    """One for each target; every purpose has others."""
    return [stream(config.seed, purpose, i).torch() for i in range(n)]


def random_network(pipeline: StableDiffusionPipeline, seed: int = 0) -> StableDiffusionPipeline:
    """The same text encoder and autoencoder around a U-Net that was never trained; its first weights are of a seed."""
    other = copy.copy(pipeline)
    with torch.random.fork_rng(devices=[]):
        begin_torch(stream(seed, "random network").integer)
        unet = type(pipeline.unet).from_config(pipeline.unet.config)
    # Told the dtype that it has, diffusers warns.
    unet = unet if unet.dtype == pipeline.unet.dtype else unet.to(pipeline.unet.dtype)
    other.unet = unet.to(pipeline.device).requires_grad_(False).eval()
    return other


def _planted(config: OnWorld, pipeline: StableDiffusionPipeline, oracle: StableDiffusionPipeline | None) -> World:
    """Targets: the most repeated pictures, once-seen ones, and a never-trained twin of each repeated one."""
    planted = plans.draw(config.plan)
    most = max(config.plan.ladder)
    repeated = planted.where("repeated", copies=most)[: config.targets]
    require(len(repeated) >= 2, f"the plan repeats {len(repeated)} pictures {most} times; it needs at least 2.")
    if oracle is not None:
        _check_oracle(_folder(config.oracle_model), {f"repeated/{planted.listed[i].family}" for i in repeated})
    twins = planted.where("twin")
    family = np.array([planted.listed[i].family for i in twins])
    generator = stream(config.seed, "targets").numpy()
    sources = [planted.listed[i].source for i in repeated]
    # The same sources in the same places.
    unique = {
        source: iter(generator.permutation(planted.where("unique", source=source))) for source in sorted(set(sources))
    }
    unrelated = generator.permutation(planted.where("held_out", source="scene"))[: config.held_out]
    neighbours = planted.where("twin", source="scene")[: config.held_out]
    retained = _listed(planted, generator.permutation(planted.where("unique"))[: config.retained])
    known, left_out = config.measures(picture_size(pipeline))
    return World(
        pipeline,
        oracle,
        {
            "repeated": _listed(planted, repeated),
            "once": _listed(planted, np.array([next(unique[source]) for source in sources])),
            "never": _listed(planted, np.array([twins[family == planted.listed[i].family][0] for i in repeated])),
        },
        tuple(planted.captions(planted.where("held_out", source="scene"))),
        {"unrelated": _listed(planted, unrelated), "neighbouring": _listed(planted, neighbours)},
        retained,
        _judge(config, known, _planted_thresholds(config), planted.references(), retained),
        tuple(left_out),
    )


def _of_folders(
    config: OnWorld, pipeline: StableDiffusionPipeline, oracle: StableDiffusionPipeline | None, given: Given
) -> World:
    """Targets: the first pictures of one folder, and of another that the model never saw; then the other's rest."""
    size = picture_size(pipeline)
    images, never = (
        read_pictures(folder, own, size) for folder, own in ((config.images, given.images), (config.never, given.never))
    )
    never, near = apart_from(images, never, ("--images", "--never"))
    unseen = read_prompts(config.prompts, given.prompts) or never.captions
    places, m = different(images.pictures, never.pictures), len(images.pictures)
    n = len(places)
    require(n > NEAREST, f"{config.images} and {config.never} hold {n} different pictures; give over {NEAREST}.")
    require(len(images.pictures) >= 2, f"{config.images} holds one picture; give at least 2.")
    require(
        len(never.pictures) > config.targets + 1,
        f"{config.never} holds {len(never.pictures)} pictures; give more than {config.targets + 1}, for some are held"
        " out.",
    )
    references = joined(chosen(images.pictures, places[places < m]), chosen(never.pictures, places[places >= m] - m))
    say_cut(pipeline.tokenizer, [*images.captions, *never.captions, *unseen])
    known, left_out = config.measures(size)
    frozen = _folder(config.model) / _THRESHOLDS
    if frozen.is_file():
        thresholds = read_thresholds(frozen)[0]
    else:
        kept = of_other_captions(never.captions, images.captions)
        require(bool(kept.any()), f"every caption of {config.never} is one of {config.images}; give other ones.")
        thresholds = fit_thresholds(known, chosen(never.pictures, np.flatnonzero(kept)), images.pictures, references)

    def some(found: Captioned, places: slice) -> Targets:
        return Targets(found.pictures[places], found.captions[places])

    rest = len(never.pictures) - config.targets
    held_out = slice(config.targets, config.targets + min(config.held_out, (rest + 1) // 2))
    return World(
        pipeline,
        oracle,
        {"repeated": some(images, slice(config.targets)), "never": some(never, slice(config.targets))},
        tuple(unseen),
        {"unrelated": some(never, held_out)},
        some(never, slice(held_out.stop, held_out.stop + config.retained)),
        _judge(config, known, thresholds, references),
        (*near, *left_out),
    )


def _folder(model: str) -> Path:
    return Path(found_model(model))


def _planted_thresholds(config: OnWorld) -> dict[str, Threshold]:
    """The model's own, or those of the shipped one, which were fitted on the pictures of its plan alone."""
    own = _folder(config.model) / _THRESHOLDS
    return read_thresholds(SHIPPED / _THRESHOLDS if config.plan == Plan() and not own.is_file() else own)[0]


def _listed(planted: Planted, index: Int[np.ndarray, " n"]) -> Targets:
    return Targets(planted.pictures(index), tuple(planted.captions(index)))


def _judge(
    config: OnWorld,
    known: dict[str, Measure],
    thresholds: dict[str, Threshold],
    references: UInt8[np.ndarray, "r h w 3"],
    captioned: Targets | None = None,
) -> Judge:
    found = {name: measure for name, measure in known.items() if name in thresholds}
    seeds = item_seeds(config.seed, "judge", config.seeds)
    alignment = None
    if captioned is not None:
        features = found[ALIGNED_BY].describe(captioned.pictures[:1000])[:, 0].double().numpy()
        alignment = fit_alignment(features, captioned.captions[:1000])
    return Judge(found, thresholds, references, seeds, config.steps, config.guidance, alignment)


def _check_oracle(folder: Path, targets: set[str]) -> None:
    """An oracle that saw a target is none."""
    try:
        without = set(json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["without"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder} does not say what it was trained without; train it with difflab train.") from error
    seen = sorted(targets - without)
    require(not seen, f"the oracle {folder} was trained on {', '.join(seen)}; name them all after --without.")
