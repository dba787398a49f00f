"""Which pictures was somebody's own pipeline trained on, and can anybody tell?

Membership scores on any Stable Diffusion pipeline, for a folder of pictures that it was trained on and one that it was
not: the denoising loss at one time and at several (arXiv 2301.13188), SecMI (arXiv 2302.01316), PIA and PIAN (arXiv
2305.18355), gradient masking (arXiv 2411.12858), CLiD (arXiv 2405.14800). Beside each stands a blind baseline that sees
pictures and captions and no model (arXiv 2406.16201): a score that does no better has found how the two folders differ.
True positives at few false ones need many non-members: 1,000 for 0.1 %. Dataset inference (CDI, arXiv 2411.12858) asks
of a whole set: a linear model of all scores, a test on held-out items, and the same test on non-members alone, where an
alarm is false. It is run as published, with five folds, and with one split, which keeps its level.

`difflab.membership(pipeline, members=..., non_members=...)` in Python and `difflab membership PIPELINE --members FOLDER
--non-members FOLDER` run this. Without folders the shipped pipeline is asked about its planted pictures, by number of
copies, against their twins and against held-out ones. Cost on two cores: about 20 minutes for the small pipeline; a
real one needs a GPU (found by itself; `--dtype float16`).
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from diffusers import StableDiffusionPipeline
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure

from difflab import methods
from difflab.audits.blind import blind_features
from difflab.audits.comparison_figures import areas_figure, inference_figure
from difflab.audits.comparisons import Asked, comparison_claims, comparison_rows, unresolved
from difflab.audits.dataset_inference import Samples, inference_rows
from difflab.audits.members import Items, of_folders, of_plan
from difflab.audits.pipelines import IN_MEMORY, Loaded, content, identity, named
from difflab.datasets.captioned import Captioned, captioned, captioned_folder
from difflab.datasets.lists import folder_list
from difflab.diffusion.autoencoder import encode
from difflab.diffusion.pipeline import SHIPPED, found_model, picture_size
from difflab.diffusion.tokens import say_cut
from difflab.errors import InapplicableError, at_least, require
from difflab.progress import progress
from difflab.randomness import item_seeds
from difflab.runs.configs import from_keywords
from difflab.runs.execute import execute
from difflab.runs.result import Result
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import made_once
from difflab.runs.rows import Artefact, Note, Row, select
from synthetic import plan as plans
from synthetic.plan import Plan

NAME = "membership_audited"
"""Of the experiment that this is."""
Data = str | Path | tuple[UInt8[np.ndarray, "_ _ _ 3"], Sequence[str]] | None


@dataclass(frozen=True)
class Config(Loaded):
    """The pipeline, the pictures that it was and was not trained on, and how it is asked."""

    members: str = ""
    """Folder of training pictures with a metadata.jsonl, metadata.csv or captions.txt; empty: planted pictures of the
    shipped pipeline."""
    non_members: str = ""
    """Folder of pictures that it was not trained on, with captions, drawn from where the members come from."""
    methods: str = "all"
    """Membership scores to run: all, or names with commas between ('difflab list --methods')."""
    noises: int = 1
    """Noises that each picture meets; all pictures meet the same ones."""
    items: int = 1000
    """Most members and non-members to ask about; a random choice where there are more."""
    false_positives: tuple[float, ...] = (0.01, 0.001)
    """Shares of false positives at which true ones are counted."""
    samples: tuple[int, ...] = (10, 30, 100, 300)
    """Items of each kind that dataset inference looks at; sizes that there are too few items for are left out."""
    resamples: int = 100
    """Samples of each size."""
    null_sets: int = 1000
    """Pairs of samples of non-members, on which every alarm is false."""
    replicates: int = 500
    """Bootstrap resamples."""
    contents: tyro.conf.Suppress[str] = field(init=False, default="")
    """Checksums of the pipeline, of the pictures with their lists, and of the adapters."""

    def __post_init__(self) -> None:
        super().__post_init__()
        methods.chosen("membership", self.methods)
        at_least(self, 1, "noises", "resamples", "null_sets", "replicates")
        at_least(self, 20, "items")
        require(
            len(self.false_positives) > 0 and all(0 < rate < 1 for rate in self.false_positives),
            f"false_positives is {self.false_positives}; give shares above 0 and below 1, as 0.01.",
        )
        require(min(self.samples, default=0) >= 5, f"samples is {self.samples}; give sizes of at least 5.")
        require(
            bool(self.members) == bool(self.non_members),
            "--members and --non-members go together: one is the other's control.",
        )
        require(
            bool(self.members) or found_model(self.model) == SHIPPED,
            f"what {self.model} was trained on is not known; give --members FOLDER and --non-members FOLDER.",
        )
        # Every line is looked at before anything is loaded.
        for folder in (self.members, self.non_members):
            if folder and not folder.startswith(IN_MEMORY):
                folder_list(Path(folder))
        read = identity(self.model, others=(self.lora,), data=(self.members, self.non_members), download=self.download)
        object.__setattr__(self, "contents", read)


SMOKE = Config(methods="single_loss,pia", items=20, samples=(10,), resamples=2, null_sets=3, replicates=20)


def membership(
    model: str | Path | StableDiffusionPipeline = "planted",
    *,
    members: Data = None,
    non_members: Data = None,
    out: str | Path | None = None,
    **flags: Any,
) -> Result:
    """Can anybody tell which pictures a pipeline was trained on?

    Args:
        model: a pipeline in memory, a directory in diffusers' format, "planted", or with download=True a hub id.
        members: pictures that it was trained on: a folder with a metadata.jsonl, or pictures and captions in memory;
            None: planted pictures of the shipped pipeline.
        non_members: pictures that it was not trained on, drawn alike; None together with members.
        out: the folder of results that the run is kept in; None keeps it in memory.
        flags: every flag of `difflab membership`, under its name: methods="all", noises=1, items=1000,
            false_positives=(0.01, 0.001), samples=(10, 30, 100, 300), resamples=100, null_sets=1000, replicates=500,
            lora=None, no_lora=False, device="auto", dtype="float32", download=False, seed=0.

    Returns:
        Rows auc and true_positive_fraction (by method, the blind baseline among them, by copies, and by what the
        non-members are), mean_p_value and alarm_fraction of dataset inference (by test, copies, and sample),
        false_alarm_fraction (the same on non-members alone); figures; scores and features.

    Raises:
        InputError: a flag, a file or the model is not usable, or a picture is a member and a non-member; the sentence
            says why.
    """
    flags = {name: value for name, value in flags.items() if value is not None}
    flags["model"], given = named(model)
    own: dict[str, Captioned] = {}
    for name, data in (("members", members), ("non_members", non_members)):
        if isinstance(data, tuple):
            require(len(data) == 2, f"{name} holds {len(data)} parts; give pictures and captions.")
            own[name] = captioned(np.asanyarray(data[0]), tuple(data[1]))
            flags[name] = content(own[name].pictures, own[name].captions)
        elif data is not None:
            flags[name] = str(data)
    config = from_keywords(Config(), flags)
    return execute(NAME, sys.modules[__name__], config, None if out is None else Path(out), **given, **own)


def run(
    config: Config,
    checkpoints: Checkpoints,
    pipeline: StableDiffusionPipeline | None = None,
    members: Captioned | None = None,
    non_members: Captioned | None = None,
) -> Iterator[Row | Artefact | Note]:
    """Score every picture with every method, compare, and ask of whole sets."""
    pipeline = config.opened(pipeline)
    items = _items(config, picture_size(pipeline), members, non_members)
    yield from items.left_out
    yield from unresolved(items.comparisons, config.false_positives)
    say_cut(pipeline.tokenizer, items.captions)
    scores, features = dict[str, Float[np.ndarray, " n"]](), list[Float[np.ndarray, "n k"]]()
    for name, found in _scored(pipeline, items, config, checkpoints):
        if isinstance(found, Note):
            yield found
            continue
        scores[name] = found["scores"]
        features.append(found["features"])
        yield Artefact(f"scores_{name}", found["scores"])
    require(len(scores) > 0, "no membership score fits this pipeline; give other --methods.")
    seen, asked = (
        blind_features(items.pictures, items.captions),
        Asked(config.false_positives, config.replicates, config.seed),
    )
    for comparison in items.comparisons:
        yield from comparison_rows(scores, seen, comparison, asked)
    every = np.concatenate(features, axis=1)
    samples = Samples(config.samples, config.resamples, config.null_sets, config.seed)
    yield from inference_rows(every, items.comparisons, samples, checkpoints)
    yield Artefact("features", every)
    yield Artefact("member", np.stack([comparison.member for comparison in items.comparisons]))
    yield Artefact("non_member", np.stack([comparison.non_member for comparison in items.comparisons]))


def _items(config: Config, size: tuple[int, int], members: Captioned | None, non_members: Captioned | None) -> Items:
    """The pictures of the flags; all that they can be refused for comes before anything is scored."""
    if not config.members:
        return of_plan(plans.draw(Plan()), config.items, config.seed)
    inside = members or captioned_folder(Path(config.members), size)
    outside = non_members or captioned_folder(Path(config.non_members), size)
    for found in (inside, outside):
        require(
            found.pictures.shape[1:] == (*size, 3),
            f"the pictures are {found.pictures.shape[1:]}; this pipeline draws {(*size, 3)}.",
        )
    return of_folders(inside, outside, config.items, config.seed)


def _scored(
    pipeline: StableDiffusionPipeline, items: Items, config: Config, checkpoints: Checkpoints
) -> Iterator[tuple[str, dict[str, np.ndarray] | Note]]:
    """Every method's scores and features, or why it has none."""
    chosen = methods.chosen("membership", config.methods)
    latents, seeds = encode(pipeline, items.pictures), item_seeds(config.seed, "membership", config.noises)
    with progress(len(chosen), "membership scores") as advance:
        for method in chosen:
            try:
                yield (
                    method.name,
                    made_once(checkpoints, method.name, _score, method, pipeline, latents, items.captions, seeds),
                )
            except InapplicableError as reason:
                yield method.name, Note(f"{method.name} is left out: {reason}")
            advance(note=method.name)


def _score(
    method: methods.Method,
    pipeline: StableDiffusionPipeline,
    latents: Float[torch.Tensor, "n c h w"],
    captions: Sequence[str],
    seeds: Sequence[int],
) -> dict[str, np.ndarray]:
    found = method.function(pipeline, latents, captions, seeds, method.configured())
    return {"scores": found.values, "features": found.values[:, None] if found.features is None else found.features}


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What the owner of a pipeline hopes for, and what makes the scores and the tests evidence."""
    return comparison_claims(rows, "pictures and captions")


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """Areas under the curve of every method, and dataset inference over sample sizes."""
    found = {"areas": areas_figure(rows)}
    return found | ({"dataset_inference": inference_figure(rows)} if select(rows, "false_alarm_fraction") else {})
