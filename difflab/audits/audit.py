"""Does somebody's own pipeline draw copies of its training pictures?

The copy metric and the detectors of the planted experiments on any Stable Diffusion pipeline: every caption of a
folder is drawn with several seeds and compared with its own picture, captions of a CSV file with the nearest picture
of the folder. A copy is more like that picture than all but 0.1 % of the folder's different pictures are like their
own nearest neighbour of another caption; near-copies count as one, and a row says how many were left out. A folder of
50 different pictures or fewer is compared among pictures of --reference, too, or of an installed package. The copies
counted are those of the papers (arXiv 2507.16880): the median over seeds, and any seed. Every detector that difflab has
is run; they never see the pictures, but for the denoising loss.

`difflab.audit(pipeline, data)` in Python and `difflab audit PIPELINE --data FOLDER [--prompts CSV]` run this. Without
data the shipped pipeline is audited on some of its planted pictures. Cost on two cores: about 4 minutes for the small
pipeline; a real one needs a GPU (found by itself; `--dtype float16`).
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import tyro
from diffusers import StableDiffusionPipeline
from jaxtyping import Bool, Float, Int, UInt8
from matplotlib.figure import Figure

from difflab import methods
from difflab.audits.pipelines import OnPipeline, identity, named, on_disk
from difflab.audits.references import PACKAGED, reference_pictures
from difflab.audits.user_pictures import (
    Pictures,
    Prompts,
    check_size,
    named_pictures,
    named_prompts,
    read_pictures,
    read_prompts,
)
from difflab.datasets.captioned import Captioned, prompt_table
from difflab.datasets.lists import folder_list, pictures_in
from difflab.datasets.near_copies import different
from difflab.datasets.pixels import parts
from difflab.diffusion.autoencoder import encode
from difflab.diffusion.calibration import Calibration, calibration, enough
from difflab.diffusion.copies import ask, fit_threshold, memorized
from difflab.diffusion.pipeline import picture_size
from difflab.diffusion.sampled_once import sampled_once
from difflab.diffusion.similarity import (
    NEAREST,
    Described,
    Gallery,
    Measure,
    at_once_compared,
    at_places,
    described,
    gallery,
    leave_one_out,
    nearest_similarity,
    similarity,
)
from difflab.diffusion.tokens import say_cut
from difflab.errors import InapplicableError, at_least, require
from difflab.randomness import item_seeds, resampling
from difflab.runs.configs import from_keywords
from difflab.runs.execute import execute
from difflab.runs.figures import COLOURS, legend_below, new_figure, picture_strips
from difflab.runs.result import Result
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Note, Row, select
from difflab.statistics.intervals import bootstrap
from difflab.statistics.ranking import auc_interval
from difflab.statistics.scores import Scores
from synthetic import plan as plans
from synthetic.plan import Plan

NAME = "pipeline_audited"
"""Of the experiment that this is."""


@dataclass(frozen=True)
class Config(OnPipeline):
    """The pipeline, its training pictures, and how it is asked."""

    data: str = ""
    """Folder of training pictures with a metadata.jsonl, metadata.csv or captions.txt; empty: some planted pictures of
    the shipped pipeline."""
    prompts: str = ""
    """CSV file with a column named prompt: captions to ask for beside those of the folder."""
    reference: str = ""
    """Folder of pictures that the model never saw, to calibrate the copy threshold on beside the folder's own; empty:
    those of an installed package, where the folder holds too few."""
    captions: int = 200
    """Most captions of the folder to ask for, those of repeated pictures first."""
    detectors: str = "all"
    """Detectors to run: all, or names with commas between ('difflab list --methods')."""
    contents: tyro.conf.Suppress[str] = field(init=False, default="")
    """Checksums of the pipeline, of the pictures with their list, and of the files that flags name."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for detector in methods.chosen("detectors", self.detectors):
            detector.configured(steps=self.steps, guidance=self.guidance)
        at_least(self, 1, "captions")
        # Every line is looked at before anything is loaded.
        for folder in on_disk(self.data):
            folder_list(Path(folder))
        for table in on_disk(self.prompts):
            prompt_table(Path(table))
        references = [str(path) for path in pictures_in(Path(self.reference))] if self.reference else []
        others = (self.prompts, self.lora, self.sscd, *references)
        object.__setattr__(
            self, "contents", identity(self.model, others=others, data=(self.data,), download=self.download)
        )


SMOKE = Config(captions=12, seeds=2, steps=4)


def audit(
    model: str | Path | StableDiffusionPipeline = "planted",
    data: Pictures | None = None,
    *,
    prompts: Prompts | None = None,
    out: str | Path | None = None,
    **flags: Any,
) -> Result:
    """Does a pipeline draw copies of its training pictures, and do detectors find them?

    Args:
        model: a pipeline in memory, a directory in diffusers' format, "planted", or with download=True a hub id.
        data: its training pictures: a folder with a metadata.jsonl, or pictures and captions in memory; None: some
            planted pictures of the shipped pipeline.
        prompts: captions to ask for beside those of the pictures: a list, or a CSV file with a column named prompt.
        out: the folder of results that the run is kept in; None keeps it in memory.
        flags: every flag of `difflab audit`, under its name: reference=None, lora=None, no_lora=False, captions=200,
            seeds=4, steps=20, guidance=3.0, detectors="all", sscd, device="auto", dtype="float32", download=False,
            seed=0.

    Returns:
        Rows memorized_fraction (by measure, group of captions, and median or any seed), threshold_similarity,
        calibration_left_out_count (how many pictures are near-copies of others, and what was calibrated on),
        median_score and auc (by detector); figures; what was drawn.

    Raises:
        InputError: a flag, a file or the model is not usable; the sentence says why.
    """
    flags = {name: value for name, value in flags.items() if value is not None}
    flags["model"], given = named(model)
    pictures, own = named_pictures(data=data)
    texts, asked = named_prompts(prompts)
    config = from_keywords(Config(), flags | pictures | texts)
    return execute(NAME, sys.modules[__name__], config, None if out is None else Path(out), **given, **own, **asked)


class _Groups(NamedTuple):
    """Captions asked for, and which of them belong together.

    Attributes:
        captions: those of the folder first.
        places: of the folder's, their pictures.
        members: by name.
    """

    captions: list[str]
    places: np.ndarray
    members: Mapping[str, Bool[np.ndarray, " n"]]


def run(
    config: Config,
    checkpoints: Checkpoints,
    pipeline: StableDiffusionPipeline | None = None,
    data: Captioned | None = None,
    prompts: tuple[str, ...] | None = None,
) -> Iterator[Row | Artefact | Note]:
    """Draw every caption, compare, score, and say which detector would have found the copies."""
    pipeline = config.opened(pipeline)
    size = picture_size(pipeline)
    own = read_pictures(config.data, data, size) if config.data else _planted()
    check_size(own, size)
    known, left_out = config.measures(size)
    yield from left_out
    extra = read_prompts(config.prompts, prompts)
    places = np.argsort(-own.copies, kind="stable")[: config.captions]
    captions = [*(own.captions[i] for i in places), *extra]
    asked = _Groups(captions, places, _groups(own, places, len(extra)))
    calibrated = _calibrated(own, config)
    yield Row(
        "calibration_left_out_count", float(calibrated.left_out), None, None, len(own.pictures), {"on": calibrated.on}
    )
    # All that a folder can be refused for comes before anything is drawn.
    galleries = {name: gallery(measure, calibrated.pictures) for name, measure in known.items()}
    thresholds = {
        name: fit_threshold(measure, leave_one_out(measure, galleries[name], calibrated.kinds))
        for name, measure in known.items()
    }
    say_cut(pipeline.tokenizer, captions)
    seeds = item_seeds(config.seed, "pictures", config.seeds)
    drawn = ask(pipeline, captions, seeds, config.steps, config.guidance, checkpoints)
    copied = np.zeros(len(captions), bool)
    for name, measure in known.items():
        same = calibrated.pictures is own.pictures
        whole = galleries[name] if same else gallery(measure, own.pictures)
        (alike, nearest), threshold = _compared(measure, drawn, asked, whole, galleries[name]), thresholds[name]
        yield Row("threshold_similarity", threshold.value, None, None, threshold.n, {"measure": name})
        for group, here in asked.members.items():
            for over in ("median", "any"):
                rate = memorized(alike[here], threshold.value, over)
                setting = {"measure": name, "captions": group, "seeds": over}
                yield Row("memorized_fraction", *rate, int(here.sum()), setting)
        yield Artefact(f"similarity_{name}", alike)
        if name == "pixel":
            copied = np.median(alike, axis=1) > threshold.value
            yield Artefact("nearest", own.pictures[nearest])
    for name, scores in _scored(pipeline, own, asked, config, checkpoints).items():
        if isinstance(scores, Note):
            yield scores
            continue
        yield from _detector_rows(name, scores.values, copied[: len(scores)], asked.members)
        yield Artefact(f"scores_{name}", scores.values)
    yield Artefact("drawn", drawn)
    yield Artefact("targets", own.pictures[places])
    yield Artefact("captions", np.array(captions))


def _calibrated(own: Captioned, config: Config) -> Calibration:
    """The folder's different pictures, and where they are few or the user says so, references beside them."""
    distinct = different(own.pictures)
    few = not enough([own.captions[i] for i in distinct])
    references = None
    if few or config.reference:
        references = reference_pictures(config.reference, *own.pictures.shape[1:3])
    found = calibration(own.pictures, own.captions, distinct, references, config.reference or PACKAGED)
    require(
        len(found.pictures) > NEAREST,
        f"{len(distinct)} different pictures and those of {config.reference} are {len(found.pictures)}; give over"
        f" {NEAREST} of both.",
    )
    print(f"calibrated on {found.on}: {len(found.pictures)} different pictures", file=sys.stderr)
    return found


def _compared(
    measure: Measure,
    drawn: UInt8[np.ndarray, "n seeds h w 3"],
    asked: _Groups,
    whole: Float[torch.Tensor, "m tiles width"] | Gallery,
    references: Float[torch.Tensor, "r tiles width"] | Gallery,
) -> tuple[Float[np.ndarray, "n seeds"], Int[np.ndarray, " n"]]:
    """Similarity to each caption's own picture, or to the nearest one; and which that is, of the first seed."""
    n, k = drawn.shape[:2]
    mine, alike, which = np.repeat(asked.places, k), np.empty(n * k), np.empty(n * k, np.int64)
    flat = drawn.reshape(-1, *drawn.shape[2:])
    for start, some in parts(flat, at_once_compared(flat)):
        here = slice(start, start + len(some))
        looked = described(measure, some, references)
        alike[here], which[here] = nearest_similarity(measure, looked, whole)
        places = torch.from_numpy(mine[here])
        if len(places):
            first = Described(looked.features[: len(places)], looked.scale[: len(places)])
            alike[start : start + len(places)] = similarity(measure, first, at_places(whole, places))
    return alike.reshape(n, k), which.reshape(n, k)[:, 0]


def _scored(
    pipeline: StableDiffusionPipeline, own: Captioned, asked: _Groups, config: Config, checkpoints: Checkpoints
) -> dict[str, Scores | Note]:
    """Every detector's scores, or why it has none; one that needs pictures scores the folder's captions alone."""
    latents, seeds = encode(pipeline, own.pictures[asked.places]), item_seeds(config.seed, "detectors", config.seeds)
    found = dict[str, Scores | Note]()
    with sampled_once():
        for detector in methods.chosen("detectors", config.detectors):
            pictured = "latents" in detector.needs
            captions = asked.captions[: len(asked.places)] if pictured else asked.captions
            kept = checkpoints.load(detector.name)
            if kept is None:
                settings = detector.configured(steps=config.steps, guidance=config.guidance)
                try:
                    scores = detector.function(pipeline, captions, seeds, settings, latents if pictured else None)
                except InapplicableError as reason:
                    found[detector.name] = Note(f"{detector.name} is left out: {reason}")
                    continue
                kept = {"scores": scores.values}
                checkpoints.save(detector.name, kept)
            found[detector.name] = Scores(tuple(captions), kept["scores"])
    return found


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What the owner of a pipeline hopes for."""
    rates = [row.value for row in select(rows, "memorized_fraction", measure="pixel", seeds="any")]
    return {"no caption draws a copy with any seed": max(rates) == 0}


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """The captions most like their pictures, and all similarities with the threshold."""
    alike, targets = artefacts["similarity_pixel"], artefacts["targets"]
    own = np.concatenate([targets, artefacts["nearest"][len(targets) :]])
    worst = np.argsort(-np.median(alike, axis=1), kind="stable")[:16]
    strips = np.stack([np.concatenate([own[i][None], artefacts["drawn"][i][:4]]) for i in worst])
    labels = [_shortened(str(artefacts["captions"][i])) for i in worst]
    title = "Most alike. Left: training picture. Right: what its caption draws."
    most_alike = picture_strips(strips, labels, title, a_line=2)
    return {"most_alike": most_alike, "similarity": _similarity_figure(rows, artefacts)}


def _similarity_figure(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> Figure:
    thresholds = select(rows, "threshold_similarity")
    (left_out,) = select(rows, "calibration_left_out_count")
    title = f"How alike. Threshold from {left_out.setting['on']}, without {left_out.value:.0f} near-copies"
    figure, panels = new_figure(title, "median similarity over seeds", "share of captions above", len(thresholds))
    for ax, row in zip(panels, thresholds, strict=True):
        name = row.setting["measure"]
        ordered = np.sort(np.median(artefacts[f"similarity_{name}"], axis=1))
        above = 1 - np.arange(len(ordered)) / len(ordered)
        ax.step(ordered, above, label="captions", color=COLOURS["trained"], where="pre")
        ax.axvline(row.value, color=COLOURS["predicted"], label="threshold")
        ax.set_title(name)
    legend_below(figure)
    return figure


def _planted() -> Captioned:
    """Repeated pictures, twins (no copies), and once-seen ones of the shipped pipeline."""
    planted = plans.draw(Plan())
    index = np.concatenate([planted.where("repeated"), planted.where("unique")[:940:2]])
    listed = [planted.listed[i] for i in index]
    copies = np.array([picture.copies for picture in listed])
    return Captioned(planted.pictures(index), tuple(p.caption for p in listed), copies, tuple(p.role for p in listed))


def _groups(own: Captioned, asked: np.ndarray, n_extra: int) -> dict[str, Bool[np.ndarray, " n"]]:
    """Captions by how often their picture stands in the folder, and those of the CSV file."""
    copies = np.concatenate([own.copies[asked], np.zeros(n_extra, int)])
    bounds = {"once": (1, 1), "2 to 15 copies": (2, 15), "16 to 63 copies": (16, 63), "64 and more": (64, np.inf)}
    found = {name: (copies >= low) & (copies <= high) for name, (low, high) in bounds.items()}
    found["prompts"] = copies == 0
    return {name: here for name, here in found.items() if here.any()}


def _detector_rows(
    name: str,
    scores: Float[np.ndarray, " n"],
    copied: Bool[np.ndarray, " n"],
    groups: Mapping[str, Bool[np.ndarray, " all"]],
) -> Iterator[Row]:
    """Mean score of every group, and whether the score would have found the copies."""
    for group, whole in groups.items():
        here = whole[: len(scores)]
        if here.sum() > 1:
            middle = bootstrap(scores[here], np.median, resampling())
            yield Row("median_score", *middle, int(here.sum()), {"detector": name, "captions": group})
    if copied.any() and not copied.all():
        found = auc_interval(scores, copied, resampling(), 1000)
        yield Row("auc", *found, len(scores), {"detector": name, "finds": "copies by the pixel measure"})


def _shortened(caption: str) -> str:
    return caption if len(caption) <= 38 else caption[:37] + "…"
