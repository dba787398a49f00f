"""Does somebody's own CLIP model reveal objects of its training pictures that their captions never name?

The two-model test of `clip_dejavu` (arXiv 2402.02103) on any OpenCLIP checkpoint: captions of training pairs are looked
up among public pictures, by the model that was trained on them and by a reference that was not. Without a reference
checkpoint, or with --one-model, references that need no training take its place (arXiv 2504.05651). The same search
with the captions permuted is one control. --reference-data is the other: of two models the other's own training pairs,
asked about in the other direction; of one model pairs that it never saw, on which it should reveal no more than words
do (any good model knows more than words, so that a gap to words alone is no proof of memory). A gallery that holds the
file of a training picture is refused; a picture saved anew is not recognised. There is one pair of models, so intervals
are over targets only, and say nothing of what another training would have given. What a caption names is found by
its words, or stated in the list of objects; a synonym counts as hidden.

`difflab dejavu --model NAME_OR_CONFIG --target CHECKPOINT --reference CHECKPOINT --data FOLDER --objects JSONL
--public FOLDER --public-objects JSONL` runs this and writes the page. Without data two small models are trained on
collages and tested as if we knew nothing of them. Cost on two cores: not timed yet.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Real
from matplotlib.figure import Figure
from PIL import Image

from difflab import files
from difflab.dejavu.clip import CONFIG, WEIGHTS, Clip, embed_images, embed_texts, load_clip
from difflab.dejavu.gap import by_target, hidden_auc
from difflab.dejavu.inference import Neighbours, nearest, union, votes
from difflab.dejavu.references import bag_of_words, naive_bayes, sentences
from difflab.dejavu.train import Training, train_all
from difflab.errors import require
from difflab.figures import COLOURS, new_figure, picture_strips, points_with_intervals
from difflab.intervals import bootstrap
from difflab.progress import progress
from difflab.results import Checkpoints
from difflab.rows import Artefact, Row, select
from experiments._clips import Study, gallery, job, training_set
from synthetic.data import collages as drawn
from synthetic.data.collages import Collages
from synthetic.data.labelled import Labelled, classes_of, labelled

SECOND, PERMUTED, NEVER = "second model", ", captions permuted", "never"
_OTHER = {"target": "reference", "reference": "target"}
_STRIPS, _SHOWN, _SIDE = 5, 6, 64
_KEPT = 20_000
"""Pictures in one checkpoint."""


@dataclass(frozen=True)
class Config:
    """The models, the pairs and how they are asked."""

    model: str = ""
    """A folder in open_clip's format, a JSON model config, or a name of open_clip."""
    target: str = ""
    """Checkpoint of the model under test; may be left out where the folder brings its weights."""
    reference: str = ""
    """Checkpoint of a model of the same kind that never saw the pairs."""
    preprocess: str = ""
    """How both prepared pictures: "default", a tag of open_clip's, or a JSON file; a folder says so itself."""
    data: str = ""
    """Training pairs of the target: a folder or a webdataset tar; empty: two small models on collages."""
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
    sentence_model: bool = False
    """Ask all-MiniLM-L6-v2 as well; it comes with difflab[sentences]."""
    overlap: bool = False
    """Go on although a training picture lies in the gallery."""
    targets: int = 10_000
    """Most training pairs that are asked about, drawn at random."""
    k: int = 10
    """Neighbours."""
    batch: int = 250
    """Pictures embedded at once."""
    search: str = "exact"
    """"exact", or "faiss" for the flat index of that package."""
    device: str = "cpu"
    """Where the models and the search run."""
    replicates: int = 1000
    """Bootstrap resamples."""
    study: Study = field(default_factory=lambda: Study(pairs=2))
    """Of the small models, where there is no data."""
    seed: int = 0
    """Of the targets chosen and the captions permuted."""
    contents: str = field(init=False, default="")
    """Checksums of checkpoints and lists."""

    def __post_init__(self) -> None:
        numbers = (self.k, self.batch, self.replicates)
        require(
            self.targets >= 2 and min(numbers) >= 1, "targets is at least 2; k, batch and replicates are at least 1."
        )
        require(self.seed >= 0, f"seed is {self.seed}; give 0 or more.")
        paths = (self.target, self.reference, self.objects, self.reference_data, self.reference_objects, self.public)
        if any((*paths, self.data, self.model, self.preprocess, self.public_objects, self.classes)):
            asked = {"model": self.model, "data": self.data, "objects": self.objects}
            asked |= {"public": self.public, "public-objects": self.public_objects}
            missing = [f"--{name}" for name, value in asked.items() if not value]
            require(not missing, f"a test of your own model also needs {', '.join(missing)}.")
            require(bool(self.reference_data) == bool(self.reference_objects), "--reference-data needs its objects.")
            require(self.one_model or bool(self.reference), "give a --reference checkpoint, or --one-model.")
        lists = [self.target, self.reference, self.objects, self.reference_objects, self.public_objects, self.classes]
        sums = [files.checksum(Path(path))[:12] for path in lists if path]
        # Whatever of these is a file, or lies in a folder under a known name.
        others = [
            Path(path) for path in (self.model, self.preprocess, self.data, self.reference_data, self.public) if path
        ]
        known = [CONFIG, "metadata.jsonl", "captions.txt", *(() if self.target else (WEIGHTS,))]
        found = [path for source in others for path in (source, *(source / name for name in known)) if path.is_file()]
        object.__setattr__(self, "contents", " ".join([*sums, *(files.checksum(path)[:12] for path in found)]))


SMOKE = Config(
    study=Study(training=Training(steps=4, batch=20, warmup=1), pairs=2, n=40, public=60, held_out=20, workers=1),
    targets=30,
    replicates=20,
)


class Opened(NamedTuple):
    """Models and pairs, loaded."""

    target: Clip
    reference: Clip | None
    asked: Labelled
    other: Labelled | None
    public: Labelled
    classes: tuple[str, ...]


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Embed, search and compare; embeddings are kept, so that a killed run does not embed twice."""
    if config.sentence_model:
        sentences(["a word"])
    opened = _files(config) if config.data else _collages(config, checkpoints)
    n = len(opened.public.names)
    require(config.k <= n, f"k is {config.k} and the gallery holds {n} pictures; give a k from 1 to {n}.")
    _check_overlap(opened, config)
    yield Row("gallery_size", float(len(opened.public.names)), None, None, len(opened.public.names), {})
    directions = [("target", opened.target, opened.reference, opened.asked)]
    if opened.other is not None and opened.reference is not None:
        directions.append(("reference", opened.reference, opened.target, opened.other))
    elif opened.other is not None:
        directions.append((NEVER, opened.target, None, opened.other))
    for name, member, stranger, pairs in directions:
        chosen = _some(pairs, config)
        yield Row("targets_size", float(len(chosen.names)), None, None, len(chosen.names), {"trained": name})
        yield from _direction(name, member, stranger, chosen, opened, config, checkpoints)


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """The gap by every reference, and what its controls must do."""
    found = {}
    for row in select(rows, "gap_score", of="hidden_auc", trained="target"):
        reference, permuted = (
            row.setting["reference"].removesuffix(PERMUTED),
            row.setting["reference"].endswith(PERMUTED),
        )
        if permuted:
            said = f"{reference}: with permuted captions there is no gap, its interval holds 0"
            found[said] = row.interval.low <= 0 <= row.interval.high
        else:
            said = f"of objects that no word names the model reveals more than {reference}: interval above 0"
            found[said] = row.interval.low > 0
        for control in select(rows, "gap_score", of="hidden_auc", trained=NEVER, reference=reference):
            if not permuted:
                said = f"{reference}: on pairs that the model never saw the gap is smaller, the intervals lie apart"
                found[said] = control.interval.high < row.interval.low
    return found


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """Gaps by reference, and pictures."""
    gaps = select(rows, "gap_score", of="hidden_auc")
    figure, (ax,) = new_figure("What the model reveals beyond each reference", "hidden AUC gap", "")
    owners = {"target": "own pairs", "reference": "the other's pairs", NEVER: "pairs never seen"}
    names = [f"{row.setting['reference']}; {owners[row.setting['trained']]}" for row in gaps]
    for place, row in enumerate(gaps):
        control = row.setting["reference"].endswith(PERMUTED) or row.setting["trained"] == NEVER
        colour = "control" if control else "memorizing"
        points_with_intervals(ax, [place], [row.interval], "", colour, along_x=True)
    ax.axvline(0, color=COLOURS["exact"], linewidth=0.8)
    ax.set_yticks(range(len(names)), names, fontsize="small")
    ax.invert_yaxis()
    told = select(rows, "recovered_count")
    texts = [f"{row.setting['caption'][:60]}\nonly the model: {row.setting['objects'][:60] or 'none'}" for row in told]
    title = f"Training picture, and public ones nearest to its caption, at most {_SHOWN} (chosen by outcome)"
    return {"gaps": figure, "pictures": picture_strips(artefacts["panels"], texts, title, a_line=1)}


def _files(config: Config) -> Opened:
    lists = [Path(path) for path in (config.objects, config.public_objects, config.reference_objects) if path]
    listed = files.read_text(Path(config.classes)).split("\n") if config.classes else ()
    classes = tuple(line.strip() for line in listed if line.strip()) or classes_of(*lists)
    require(len(set(classes)) == len(classes) >= 2, "give at least two classes, each once.")
    reference = None
    if not config.one_model:
        reference = load_clip(config.model, config.reference, config.preprocess, config.device)
    return Opened(
        load_clip(config.model, config.target, config.preprocess, config.device),
        reference,
        labelled(Path(config.data), Path(config.objects), classes),
        labelled(Path(config.reference_data), Path(config.reference_objects), classes)
        if config.reference_data
        else None,
        labelled(Path(config.public), Path(config.public_objects), classes),
        classes,
    )


def _collages(config: Config, checkpoints: Checkpoints) -> Opened:
    """Two small models and their pairs, in the same form as a user's."""
    study = config.study
    sets = [training_set(study, number) for number in (0, 1)]
    jobs = {f"model{number}": job(study, data, number) for number, data in enumerate(sets)}
    target, reference = (clip for _, clip, _ in train_all(jobs, checkpoints, study.workers))
    asked, other, public = (_as_labelled(one, study) for one in (sets[0].found, sets[1].found, gallery(study)))
    return Opened(target, None if config.one_model else reference, asked, other, public, drawn.names(study.world))


def _as_labelled(found: Collages, study: Study) -> Labelled:
    return Labelled(
        tuple(f"{i}.png" for i in range(len(found.captions))),
        found.captions,
        drawn.held(found, study.world),
        drawn.named(found, study.world),
        lambda i: Image.fromarray(found.pictures[i]),
        tuple(files.sha256(picture.tobytes()) for picture in found.pictures),
    )


def _check_overlap(opened: Opened, config: Config) -> None:
    """Files that lie in two sets: none may, unless told otherwise."""
    sets = {"data": opened.asked, "reference-data": opened.other, "public": opened.public}
    there = [(name, pairs) for name, pairs in sets.items() if pairs is not None]
    for (one, first), (other, second) in itertools.combinations(there, 2):
        known = dict(zip(first.digests, first.names, strict=True))
        both = [known[digest] for digest in second.digests if digest in known]
        named = f"{len(both)} pictures of --{other} lie in --{one}, too ({both[0] if both else ''})"
        require(config.overlap or not both, f"{named}; take them out of one, or give --overlap.")
    if opened.reference is not None:
        same = zip(opened.target.model.state_dict().values(), opened.reference.model.state_dict().values(), strict=True)
        require(
            not all(torch.equal(a, b) for a, b in same), "target and reference have the same weights; give another one."
        )


def _some(pairs: Labelled, config: Config) -> Labelled:
    """Targets that hold an object beyond the caption's and do not hold all classes, at most as many as asked for."""
    rest = pairs.held & ~pairs.named
    able = np.flatnonzero(rest.any(axis=1) & ~(pairs.held | pairs.named).all(axis=1))
    require(len(able) >= 2, "fewer than two targets hold an object that their caption does not name.")
    chosen = np.sort(np.random.default_rng(config.seed).permutation(able)[: config.targets])
    return Labelled(
        tuple(pairs.names[i] for i in chosen),
        tuple(pairs.captions[i] for i in chosen),
        pairs.held[chosen],
        pairs.named[chosen],
        lambda i: pairs.picture(int(chosen[i])),
        tuple(pairs.digests[i] for i in chosen),
    )


def _direction(
    name: str,
    member: Clip,
    stranger: Clip | None,
    chosen: Labelled,
    opened: Opened,
    config: Config,
    checkpoints: Checkpoints,
) -> Iterator[Row | Artefact]:
    """One model's own pairs, against every reference."""
    public = opened.public
    seen = {
        who: _embedded(clip, public, f"{model}_gallery", config, checkpoints)
        for who, model, clip in (
            ("member", "target" if name == NEVER else name, member),
            ("stranger", _OTHER.get(name, ""), stranger),
        )
        if clip is not None
    }

    def counted(who: str, captions: Sequence[str]) -> Neighbours:
        clip = member if who == "member" or stranger is None else stranger
        return nearest(embed_texts(clip, captions), seen[who], config.k, config.device, config.search)

    def references(captions: Sequence[str]) -> dict[str, Real[np.ndarray, "q classes"]]:
        if stranger is None:
            return _without_training(captions, public, config)
        return {SECOND: votes(counted("stranger", captions).places, public.held)}

    by_caption = counted("member", chosen.captions)
    own = votes(by_caption.places, public.held)
    pictures = _embedded(member, chosen, f"{name}_targets", config, checkpoints)
    by_picture = nearest(pictures, seen["member"], config.k, config.device, config.search)
    yield from _auc_rows(votes(by_picture.places, public.held), chosen, "ceiling", name, config)
    yield from _auc_rows(own, chosen, "target", name, config)
    others = references(chosen.captions)
    for reference, scores in others.items():
        yield from _auc_rows(scores, chosen, reference, name, config)
        yield from _gap_rows(own, scores, chosen, reference, name, config)
    order = np.random.default_rng([config.seed, 1]).permutation(len(chosen.captions))
    permuted = [chosen.captions[i] for i in order]
    mixed = votes(counted("member", permuted).places, public.held)
    for reference, scores in references(permuted).items():
        yield from _gap_rows(mixed, scores, chosen, f"{reference}{PERMUTED}", name, config)
    if name == "target":
        counts = next(scores for scores in others.values() if np.issubdtype(scores.dtype, np.integer))
        yield from _panels(own, by_caption.places, counts, chosen, opened)


def _without_training(
    captions: Sequence[str], public: Labelled, config: Config
) -> dict[str, Real[np.ndarray, "q classes"]]:
    asked = (captions, public.captions)
    found: dict[str, Real[np.ndarray, "q classes"]] = {
        "naive Bayes": naive_bayes(*asked, public.held),
        "nearest by words": votes(nearest(*bag_of_words(*asked), config.k).places, public.held),
    }
    if config.sentence_model:
        queries, others = (sentences(captions) for captions in asked)
        found["nearest by meaning"] = votes(nearest(queries, others, config.k).places, public.held)
    return found


def _embedded(
    clip: Clip, pairs: Labelled, key: str, config: Config, checkpoints: Checkpoints
) -> Float[np.ndarray, "n d"]:
    """Pictures opened, prepared and embedded batch by batch."""
    n, parts = len(pairs.names), []
    with progress(n, f"embedding {key.replace('_', ' ')}") as advance:
        for number, first in enumerate(range(0, n, _KEPT)):
            kept = checkpoints.load(f"{key}_{number}")
            if kept is None:
                found = []
                for start in range(first, min(first + _KEPT, n), config.batch):
                    some = range(start, min(start + config.batch, first + _KEPT, n))
                    pixels = torch.stack([clip.transform(pairs.picture(i)) for i in some])
                    found.append(embed_images(clip, pixels, config.batch))
                    advance(len(some))
                kept = {"embeddings": np.concatenate(found)}
                checkpoints.save(f"{key}_{number}", kept)
            else:
                advance(len(kept["embeddings"]))
            parts.append(kept["embeddings"])
    return np.concatenate(parts)


def _auc_rows(
    scores: Real[np.ndarray, "q classes"], chosen: Labelled, of: str, name: str, config: Config
) -> Iterator[Row]:
    area = hidden_auc(scores, chosen.held, chosen.named)
    found = bootstrap(area, np.mean, np.random.default_rng(config.seed), config.replicates)
    yield Row("hidden_auc", *found, len(area), {"of": of, "trained": name})


def _gap_rows(
    own: Real[np.ndarray, "q classes"],
    scores: Real[np.ndarray, "q classes"],
    chosen: Labelled,
    reference: str,
    name: str,
    config: Config,
) -> Iterator[Row]:
    """Hidden AUC for every reference; PPG, PRG and AUCG where neighbours predict objects."""
    held, named = chosen.held, chosen.named
    if np.issubdtype(scores.dtype, np.integer):
        values = by_target(own, scores, held, named)
    else:
        values = {"hidden_auc": hidden_auc(own, held, named) - hidden_auc(scores, held, named)}
    for of, numbers in values.items():
        found = bootstrap(numbers, np.mean, np.random.default_rng(config.seed), config.replicates)
        yield Row("gap_score", *found, len(numbers), {"of": of, "reference": reference, "trained": name})


def _panels(
    own: Real[np.ndarray, "q classes"],
    places: np.ndarray,
    scores: Real[np.ndarray, "q classes"],
    chosen: Labelled,
    opened: Opened,
) -> Iterator[Row | Artefact]:
    """Targets of whose hidden objects the model's neighbours hold most that the reference does not."""
    rest = chosen.held & ~chosen.named
    only = union(own) & ~union(scores) & rest
    shown = np.argsort(-only.sum(axis=1), kind="stable")[:_STRIPS]
    strips = []
    for place, i in enumerate(shown):
        told = ", ".join(opened.classes[c] for c in np.flatnonzero(only[i]))
        yield Row(
            "recovered_count",
            float(only[i].sum()),
            None,
            None,
            1,
            {"place": place, "caption": chosen.captions[i], "objects": told},
        )
        found = [chosen.picture(int(i)), *(opened.public.picture(int(g)) for g in places[i, :_SHOWN])]
        strips.append([np.asarray(picture.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)) for picture in found])
    yield Artefact("panels", np.array(strips))
