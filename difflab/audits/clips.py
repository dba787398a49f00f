"""Whose CLIP models, pairs and gallery are tested: a user's files, or small models on collages as if they were."""

import hashlib
import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import tyro
from jaxtyping import Int, UInt8
from PIL import Image

from difflab import files
from difflab.audits.collage_models import Study, gallery, job, training_set
from difflab.audits.pipelines import IN_MEMORY, on_disk
from difflab.clip.model import WEIGHTS, Clip, load_clip
from difflab.clip.train import train_all
from difflab.datasets.labelled import Labelled, classes_of, files_of, labelled, looks, some_of
from difflab.datasets.near_copies import near_copies
from difflab.datasets.pixels import chosen, joined
from difflab.errors import require
from difflab.randomness import stream
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Note
from synthetic.data import collages as drawn
from synthetic.data.collages import Collages


@dataclass(frozen=True)
class OnClips:
    """Models, pairs and gallery."""

    model: str = ""
    """A folder in open_clip's format, a JSON model config, or a name of open_clip."""
    target: str = ""
    """Checkpoint of the model under test; may be left out where the folder brings its weights."""
    reference: str = ""
    """Checkpoint of a model of the same kind that never saw the pairs."""
    preprocess: str = ""
    """How both prepared pictures: "default", a tag of open_clip's, or a JSON file; a folder says so itself."""
    data: str = ""
    """Training pairs of the target: a folder or webdataset tars ({00000..00003}.tar); empty: two small models on
    collages."""
    objects: str = ""
    """JSON lines with the objects of those pictures."""
    reference_data: str = ""
    """Training pairs of the reference; with --one-model pairs that the target never saw."""
    reference_objects: str = ""
    """JSON lines with the objects of those."""
    public: str = ""
    """Gallery that neither model was trained on."""
    public_objects: str = ""
    """JSON lines with the gallery's objects."""
    classes: str = ""
    """Text file with every class, one a line; empty: the labels that occur."""
    one_model: bool = False
    """Leave the reference out and ask references that need no training."""
    overlap: bool = False
    """Go on although training pictures, or near-copies of them, lie in the gallery."""
    device: str = "auto"
    """Where the models and the search run; auto: an accelerator where there is one."""
    study: Study = field(default_factory=lambda: Study(pairs=2))
    """Of the small models, where there is no data."""
    contents: tyro.conf.Suppress[str] = field(init=False, default="")
    """Checksums of checkpoints, lists and pictures."""

    def __post_init__(self) -> None:
        require(
            not self.model.startswith(IN_MEMORY) or not any((*on_disk(self.target, self.reference), self.preprocess)),
            "model is in memory; give reference as a Clip, too, and leave target and preprocess out.",
        )
        # Training pairs, their objects, the gallery and its objects go together, and no other flag does without them.
        needed = {"model": self.model, "data": self.data, "objects": self.objects}
        needed |= {"public": self.public, "public-objects": self.public_objects}
        others = (
            self.target,
            self.reference,
            self.preprocess,
            self.reference_data,
            self.reference_objects,
            self.classes,
        )
        if any((*needed.values(), *others)):
            missing = [f"--{name}" for name, value in needed.items() if not value]
            require(not missing, f"a test of your own model also needs {', '.join(missing)}.")
            require(bool(self.reference_data) == bool(self.reference_objects), "--reference-data needs its objects.")
            require(self.one_model or bool(self.reference), "give a --reference checkpoint, or --one-model.")
            # Every line is looked at before anything is loaded.
            for source in filter(None, (self.data, self.reference_data, self.public)):
                files_of(Path(source))
            classes_of(*(Path(path) for path in (self.objects, self.public_objects, self.reference_objects) if path))
        object.__setattr__(self, "contents", " ".join(files.checksum(path)[:12] for path in self._contents()))

    def _contents(self) -> list[Path]:
        """Files that decide the numbers, every picture among them."""
        lists = [self.target, self.reference, self.objects, self.reference_objects, self.public_objects, self.classes]
        parts = [Path(source) for source in (self.model, self.preprocess) if source]
        # The configuration of a folder, its tokenizer, and its weights where no others are given.
        inside = sorted(Path(self.model).glob("*")) if self.model and Path(self.model).is_dir() else []
        parts += [path for path in inside if path.name != WEIGHTS or not self.target]
        pairs = filter(None, (self.data, self.reference_data, self.public))
        parts += [path for source in pairs for path in files_of(Path(source))]
        return [Path(path) for path in on_disk(*lists)] + [path for path in parts if path.is_file()]


class OpenedClips(NamedTuple):
    """Models and pairs, loaded, and small pictures of every set of a user's, in which near-copies are looked for."""

    target: Clip
    reference: Clip | None
    asked: Labelled
    other: Labelled | None
    public: Labelled
    classes: tuple[str, ...]
    small: dict[str, UInt8[np.ndarray, "_ side side 3"]]


def open_clips(
    case: OnClips, checkpoints: Checkpoints, model: Clip | None = None, reference: Clip | None = None
) -> OpenedClips:
    """Load the models and read the pairs, or train and draw small ones.

    Args:
        case: what the flags say.
        checkpoints: where small models are kept.
        model, reference: those that are in memory.

    Raises:
        InputError: something is missing or does not fit, a file lies in two sets, or the two models are the same.
    """
    opened = _files(case, model, reference) if case.data else _collages(case, checkpoints)
    _check_models(opened)
    return opened._replace(small=_check_overlap(opened, case)) if case.data else opened


def without_near_copies(
    opened: OpenedClips, places: dict[str, Int[np.ndarray, " _"]]
) -> tuple[OpenedClips, dict[str, Int[np.ndarray, " _"]], list[Note]]:
    """Neither a target whose near-copy the other model was trained on, nor a near-copy of a target in the gallery.

    Args:
        opened: with small pictures of every set, or with none, which leaves all as it is.
        places: in "data" and perhaps "reference-data", of the targets.

    Returns:
        The same without them, and notes on how many there were.
    """
    small, notes = opened.small, list[Note]()
    if not small:
        return opened, places, notes
    for name, other in (("data", "reference-data"), ("reference-data", "data")):
        # One model alone was trained on nothing of the other set.
        if name in places and other in places and (name != "data" or opened.reference is not None):
            near = near_copies(chosen(small[name], places[name]), small[other])
            notes += _told(near, name, other)
            places = places | {name: np.delete(places[name], list(near))}
    near = near_copies(small["public"], joined(*(chosen(small[name], here) for name, here in places.items())))
    ends = np.cumsum([len(here) for here in places.values()])
    for number, name in enumerate(places):
        theirs = {i: j for i, j in near.items() if np.searchsorted(ends, j, "right") == number}
        notes += _told(theirs, "public", name)
    kept = np.setdiff1d(np.arange(len(opened.public.names)), list(near))
    return opened._replace(public=some_of(opened.public, kept)), places, notes


def _told(near: dict[int, int], one: str, other: str) -> list[Note]:
    told = f"{len(near)} pictures of --{one} are left out: they are near-copies of pictures of --{other}."
    return [Note(told)] if near else []


def named(**flags: str | Path | Clip | None) -> tuple[dict[str, str], dict[str, Clip]]:
    """How a config names models, and those in memory, which are handed to the run beside it.

    Raises:
        InputError: one of them is another object.
    """
    names, given = dict[str, str](), dict[str, Clip]()
    for flag, one in flags.items():
        if isinstance(one, Clip):
            names[flag], given[flag] = in_memory(one), one
        elif one is not None:
            require(isinstance(one, str | Path), f"{flag} is a {type(one).__name__}; give a Clip, or where it lies.")
            names[flag] = str(one)
    return names, given


def in_memory(clip: Clip) -> str:
    """How a config names this model: by its weights, and by what it sees of a picture and of a caption."""
    picture = stream(0, "fingerprint").numpy().integers(0, 256, (256, 256, 3), np.uint8)
    inputs = {"picture": clip.transform(Image.fromarray(picture)), "caption": clip.tokenizer(["a photo of a dog"])}
    found = hashlib.sha256()
    for name, value in (clip.model.state_dict() | inputs).items():
        found.update(name.encode() + value.detach().cpu().float().numpy().tobytes())
    return IN_MEMORY + found.hexdigest()[:12]


def _files(case: OnClips, model: Clip | None, reference: Clip | None) -> OpenedClips:
    lists = [Path(path) for path in (case.objects, case.public_objects, case.reference_objects) if path]
    listed = files.read_text(Path(case.classes)).split("\n") if case.classes else ()
    classes = tuple(line.strip() for line in listed if line.strip()) or classes_of(*lists)
    require(len(set(classes)) == len(classes) >= 2, "give at least two classes, each once.")
    asked, public = (
        labelled(Path(source), Path(objects), classes)
        for source, objects in ((case.data, case.objects), (case.public, case.public_objects))
    )
    other = labelled(Path(case.reference_data), Path(case.reference_objects), classes) if case.reference_data else None
    for one in (model, reference):
        if one is not None:
            one.model.eval()
    target = model or load_clip(case.model, case.target, case.preprocess, case.device)
    stranger = None
    if not case.one_model:
        stranger = reference or load_clip(case.model, case.reference, case.preprocess, case.device)
    return OpenedClips(target, stranger, asked, other, public, classes, {})


def _collages(case: OnClips, checkpoints: Checkpoints) -> OpenedClips:
    """Two small models and their pairs, in the same form as a user's."""
    study = case.study
    sets = [training_set(study, number) for number in (0, 1)]
    jobs = {f"model{number}": job(study, data, number) for number, data in enumerate(sets)}
    target, reference = (clip for _, clip, _ in train_all(jobs, checkpoints, study.workers))
    asked, other, public = (_as_labelled(one, study) for one in (sets[0].found, sets[1].found, gallery(study)))
    return OpenedClips(
        target, None if case.one_model else reference, asked, other, public, drawn.names(study.world), {}
    )


def _as_labelled(found: Collages, study: Study) -> Labelled:
    return Labelled(
        tuple(f"{i}.png" for i in range(len(found.captions))),
        found.captions,
        drawn.held(found, study.world),
        drawn.named(found, study.world),
        lambda i: Image.fromarray(found.pictures[i]),
        tuple(files.sha256(picture.tobytes()) for picture in found.pictures),
    )


def _check_overlap(opened: OpenedClips, case: OnClips) -> dict[str, UInt8[np.ndarray, "_ side side 3"]]:
    """Pictures that lie in two sets, in whatever files: none may, unless told otherwise.

    Returns:
        Small pictures of every set, to look for near-copies; none, where overlap is allowed.
    """
    sets = {"data": opened.asked, "reference-data": opened.other, "public": opened.public}
    there = {name: pairs for name, pairs in sets.items() if pairs is not None}
    if case.overlap:
        return {}
    seen = {name: looks(pairs, f"pictures of {name}") for name, pairs in there.items()}
    for one, other in itertools.combinations(there, 2):
        known = dict(zip(seen[one].digests, there[one].names, strict=True))
        both = [known[digest] for digest in seen[other].digests if digest in known]
        named = f"{len(both)} pictures of --{other} lie in --{one}, too ({both[0] if both else ''})"
        require(not both, f"{named}; take them out of one, or give --overlap.")
    return {name: found.small for name, found in seen.items()}


def _check_models(opened: OpenedClips) -> None:
    if opened.reference is not None:
        same = zip(opened.target.model.state_dict().values(), opened.reference.model.state_dict().values(), strict=True)
        require(
            not all(torch.equal(a.cpu(), b.cpu()) for a, b in same),
            "target and reference have the same weights; give another one.",
        )
