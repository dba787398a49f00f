"""What is attacked and who judges it: the planted pictures and the shipped model, or a pipeline of the user's own."""

import copy
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Int, UInt8

from difflab import files
from difflab.audits.pipelines import Asked
from difflab.datasets.captioned import Captioned, captioned_folder, prompts
from difflab.diffusion.alignment import fit_alignment
from difflab.diffusion.copies import Threshold, fit_thresholds, read_thresholds
from difflab.diffusion.judge import ALIGNED_BY, Judge
from difflab.diffusion.pipeline import ORACLE, SHIPPED, checksum, picture_side
from difflab.diffusion.similarity import NEAREST, Measure
from difflab.errors import InputError, require
from difflab.randomness import item_seeds, stream
from synthetic import plan as plans
from synthetic.plan import Plan, Planted


@dataclass(frozen=True)
class Case(Asked):
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
    contents: str = field(init=False, default="")
    """Checksum of the models and of the lists of pictures."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.targets >= 2, f"targets is {self.targets}; give at least 2.")
        require(self.held_out >= 2 and self.draws >= 1, "give at least 2 held-out pictures and 1 draw.")
        require(self.retained >= 50, f"retained is {self.retained}; give at least 50.")
        require(bool(self.images) == bool(self.never), "--images and --never go together: one is the other's control.")
        sums = [checksum(folder) for folder in (self.model, self.oracle_folder) if folder]
        lists = [Path(folder) / "metadata.jsonl" for folder in (self.images, self.never) if folder]
        lists += [Path(self.prompts)] if self.prompts else []
        sums += [files.checksum(path)[:12] for path in lists]
        object.__setattr__(self, "contents", " ".join(sums))

    @property
    def oracle_folder(self) -> str:
        """The oracle's directory: the one asked for, or the shipped one where its own model and targets are meant."""
        ours = Path(self.model) == SHIPPED and not self.images and self.plan == Plan()
        return self.oracle or (str(ORACLE) if ours else "")


class Targets(NamedTuple):
    """Pictures and what they are called."""

    pictures: UInt8[np.ndarray, "n h w 3"]
    captions: tuple[str, ...]


class Opened(NamedTuple):
    """A case, loaded.

    Attributes:
        pipeline: the model.
        oracle: the model that never saw the targets, where there is one.
        groups: "repeated", the memorized pictures; "once" and "never", controls, where there are any.
        unseen: captions never trained on.
        held_out: pictures never trained on, by how near they are to the targets.
        retained: ordinary pictures, which a defense should leave the model able to draw: once-seen ones of the plan.
        judge: seeds, measures and thresholds.
    """

    pipeline: StableDiffusionPipeline
    oracle: StableDiffusionPipeline | None
    groups: dict[str, Targets]
    unseen: tuple[str, ...]
    held_out: dict[str, Targets]
    retained: Targets
    judge: Judge


def open_case(case: Case) -> Opened:
    """Load the model and draw or read the pictures.

    Raises:
        InputError: something is missing, or the oracle was trained on a target.
    """
    pipeline = case.load(case.model)
    oracle = case.load(case.oracle_folder) if case.oracle_folder else None
    return (_of_folders if case.images else _planted)(case, pipeline, oracle)


def generators(case: Case, n: int, purpose: str = "attack") -> list[torch.Generator]:
    """One for each target; every purpose has others."""
    return [stream(case.seed, purpose, i).torch() for i in range(n)]


def random_network(pipeline: StableDiffusionPipeline) -> StableDiffusionPipeline:
    """The same text encoder and autoencoder around a U-Net that was never trained."""
    other = copy.copy(pipeline)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(0, "random network").integer)
        unet = type(pipeline.unet).from_config(pipeline.unet.config)
    # Told the dtype that it has, diffusers warns.
    unet = unet if unet.dtype == pipeline.unet.dtype else unet.to(pipeline.unet.dtype)
    other.unet = unet.to(pipeline.device).requires_grad_(False).eval()
    return other


def _planted(case: Case, pipeline: StableDiffusionPipeline, oracle: StableDiffusionPipeline | None) -> Opened:
    """Targets: the most repeated pictures, once-seen ones, and a never-trained twin of each repeated one."""
    planted = plans.draw(case.plan)
    most = max(case.plan.ladder)
    repeated = planted.where("repeated", copies=most)[: case.targets]
    require(len(repeated) >= 2, f"the plan repeats {len(repeated)} pictures {most} times; it needs at least 2.")
    if oracle is not None:
        _check_oracle(Path(case.oracle_folder), {f"repeated/{planted.listed[i].family}" for i in repeated})
    twins = planted.where("twin")
    family = np.array([planted.listed[i].family for i in twins])
    generator = stream(case.seed, "targets").numpy()
    sources = [planted.listed[i].source for i in repeated]
    # The same sources in the same places.
    unique = {
        source: iter(generator.permutation(planted.where("unique", source=source))) for source in sorted(set(sources))
    }
    unrelated = generator.permutation(planted.where("held_out", source="scene"))[: case.held_out]
    neighbours = planted.where("twin", source="scene")[: case.held_out]
    retained = _listed(planted, generator.permutation(planted.where("unique"))[: case.retained])
    known = case.measures()
    return Opened(
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
        _judge(case, known, read_thresholds(Path(case.model) / "thresholds.json")[0], planted.references(), retained),
    )


def _of_folders(case: Case, pipeline: StableDiffusionPipeline, oracle: StableDiffusionPipeline | None) -> Opened:
    """Targets: the first pictures of one folder, and of another that the model never saw; then the other's rest."""
    side = picture_side(pipeline)
    images, never = (captioned_folder(Path(folder), side) for folder in (case.images, case.never))
    unseen = prompts(Path(case.prompts)) if case.prompts else never.captions
    references = np.concatenate([images.pictures, never.pictures])
    n = len(references)
    require(n > NEAREST, f"{case.images} and {case.never} hold {n} pictures; give over {NEAREST}.")
    require(
        len(never.pictures) > case.targets + 1,
        f"{case.never} holds {len(never.pictures)} pictures; give more than {case.targets + 1}, for some are held out.",
    )
    known = case.measures()
    frozen = Path(case.model) / "thresholds.json"
    if frozen.is_file():
        thresholds = read_thresholds(frozen)[0]
    else:
        thresholds = fit_thresholds(known, never.pictures, images.pictures, references)

    def some(found: Captioned, places: slice) -> Targets:
        return Targets(found.pictures[places], found.captions[places])

    rest = len(never.pictures) - case.targets
    held_out = slice(case.targets, case.targets + min(case.held_out, (rest + 1) // 2))
    return Opened(
        pipeline,
        oracle,
        {"repeated": some(images, slice(case.targets)), "never": some(never, slice(case.targets))},
        tuple(unseen),
        {"unrelated": some(never, held_out)},
        some(never, slice(held_out.stop, held_out.stop + case.retained)),
        _judge(case, known, thresholds, references),
    )


def _listed(planted: Planted, index: Int[np.ndarray, " n"]) -> Targets:

    return Targets(planted.pictures(index), tuple(planted.captions(index)))


def _judge(
    case: Case,
    known: dict[str, Measure],
    thresholds: dict[str, Threshold],
    references: UInt8[np.ndarray, "r h w 3"],
    captioned: Targets | None = None,
) -> Judge:
    found = {name: measure for name, measure in known.items() if name in thresholds}
    seeds = item_seeds(case.seed, "judge", case.seeds)
    alignment = None
    if captioned is not None:
        features = found[ALIGNED_BY].describe(captioned.pictures[:1000])[:, 0].double().numpy()
        alignment = fit_alignment(features, captioned.captions[:1000])
    return Judge(found, thresholds, references, seeds, case.steps, case.guidance, alignment)


def _check_oracle(folder: Path, targets: set[str]) -> None:
    """An oracle that saw a target is none."""
    try:
        without = set(json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["without"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder} does not say what it was trained without; train it with difflab train.") from error
    seen = sorted(targets - without)
    require(not seen, f"the oracle {folder} was trained on {', '.join(seen)}; name them all after --without.")
