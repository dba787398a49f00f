"""Does somebody's own CLIP model reveal objects of its training pictures that their captions never name?

The two-model test of `clip_dejavu` (arXiv 2402.02103) on any OpenCLIP checkpoint: captions of training pairs are looked
up among public pictures, by the model that was trained on them and by a reference that was not. Without a reference
checkpoint, or with --one-model, references that need no training take its place (arXiv 2504.05651). The same search
with the captions permuted is one control. --reference-data is the other: of two models the other's own training pairs,
asked about in the other direction; of one model pairs that it never saw, on which it should reveal no more than words
do (any good model knows more than words, so that a gap to words alone is no proof of memory). A gallery that holds a
training picture is refused, and near-copies of targets are left out of it. There is one pair of models, so intervals
are over targets only, and say nothing of what another training would have given. What a caption names is found by
its words, or stated in the list of objects; a synonym counts as hidden.

`difflab.dejavu(...)` in Python and `difflab dejavu --model NAME_OR_CONFIG --target CHECKPOINT --reference CHECKPOINT
--data FOLDER --objects JSONL --public FOLDER --public-objects JSONL` run this. Without data two small models are
trained on collages and tested as if we knew nothing of them. Cost on two cores: about
1.5 minutes.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Real
from matplotlib.figure import Figure
from PIL import Image

from difflab.audits.clips import OnClips, OpenedClips, named, open_clips, without_near_copies
from difflab.audits.collage_models import SMALLEST, Study
from difflab.clip.gap import by_target, hidden_auc
from difflab.clip.inference import SEARCHES, Neighbours, nearest, union, votes
from difflab.clip.model import Clip, embed_images, embed_texts
from difflab.clip.panels import lines_of_gaps
from difflab.clip.references import sentences, without_training
from difflab.datasets.labelled import Labelled, some_of
from difflab.errors import require
from difflab.progress import progress
from difflab.randomness import stream
from difflab.runs.configs import from_keywords
from difflab.runs.execute import execute
from difflab.runs.figures import new_figure, picture_strips
from difflab.runs.result import Result
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Note, Row, select
from difflab.statistics.intervals import bootstrap

NAME = "clip_audited"
"""Of the experiment that this is."""
SECOND, PERMUTED, NEVER = "second model", ", captions permuted", "never"
_OTHER = {"target": "reference", "reference": "target"}
_STRIPS, _SHOWN, _SIDE = 5, 6, 64
_KEPT = 20_000
"""Pictures in one checkpoint."""


@dataclass(frozen=True)
class Config(OnClips):
    """The models, the pairs and how they are asked."""

    sentence_model: bool = False
    """Ask all-MiniLM-L6-v2 as well; it comes with difflab[sentences]."""
    targets: int = 10_000
    """Most training pairs that are asked about, drawn at random."""
    k: int = 10
    """Neighbours."""
    batch: int = 250
    """Pictures embedded at once."""
    search: str = "exact"
    """"exact", or "faiss" for the flat index of that package."""
    replicates: int = 1000
    """Bootstrap resamples."""
    seed: int = 0
    """Of the targets chosen and the captions permuted."""

    def __post_init__(self) -> None:
        super().__post_init__()
        numbers = (self.k, self.batch, self.replicates)
        require(
            self.targets >= 2 and min(numbers) >= 1, "targets is at least 2; k, batch and replicates are at least 1."
        )
        require(self.search in SEARCHES, f"search is {self.search!r}; give one of {', '.join(SEARCHES)}.")
        require(self.seed >= 0, f"seed is {self.seed}; give 0 or more.")


SMOKE = Config(study=Study(**SMALLEST), targets=30, replicates=20)


def dejavu(
    *,
    model: str | Path | Clip | None = None,
    reference: str | Path | Clip | None = None,
    out: str | Path | None = None,
    **flags: Any,
) -> Result:
    """Does a CLIP model reveal objects of its training pictures that their captions never name?

    Args:
        model: the model under test: a `difflab.clip.model.Clip` in memory (its parts are open_clip's), a folder in
            open_clip's format, a JSON model config, or a name of open_clip. One in memory is left in evaluation mode.
        reference: one that never saw the pairs: a Clip in memory, or a checkpoint of a model of the same kind.
        out: the folder of results that the run is kept in; None keeps it in memory.
        flags: every flag of `difflab dejavu`, under its name: target, preprocess, data, objects, reference_data,
            reference_objects, public, public_objects, classes, one_model=False, targets=10000, k=10, search="exact",
            device="auto", seed=0 and others. Pairs, objects and galleries are files, for they may be larger than
            memory. No model and no data: two small models on collages.

    Returns:
        Rows hidden_auc and gap_score (by reference), gallery_size, targets_size; figures; pictures.

    Raises:
        InputError: a flag, a file or a model is not usable; the sentence says why.
    """
    names, given = named(model=model, reference=reference)
    config = from_keywords(Config(), {name: value for name, value in flags.items() if value is not None} | names)
    return execute(NAME, sys.modules[__name__], config, None if out is None else Path(out), **given)


def run(
    config: Config, checkpoints: Checkpoints, model: Clip | None = None, reference: Clip | None = None
) -> Iterator[Row | Artefact | Note]:
    """Embed, search and compare; embeddings are kept, so that a killed run does not embed twice."""
    if config.sentence_model:
        sentences(["a word"])
    opened = open_clips(config, checkpoints, model, reference)
    sets = {"data": opened.asked} | ({} if opened.other is None else {"reference-data": opened.other})
    places = {name: _targets(pairs, config) for name, pairs in sets.items()}
    opened, places, left_out = without_near_copies(opened, places)
    yield from left_out
    n = len(opened.public.names)
    require(config.k <= n, f"k is {config.k} and the gallery holds {n} pictures; give a k from 1 to {n}.")
    require(min(map(len, places.values())) >= 2, "fewer than two targets are left; give --reference-data of its own.")
    asked = [some_of(pairs, places[name]) for name, pairs in sets.items()]
    directions = [("target", opened.target, opened.reference, asked[0])]
    if opened.other is not None and opened.reference is not None:
        directions.append(("reference", opened.reference, opened.target, asked[1]))
    elif opened.other is not None:
        directions.append((NEVER, opened.target, None, asked[1]))
    yield Row("gallery_size", float(len(opened.public.names)), None, None, len(opened.public.names), {})
    for name, member, stranger, chosen in directions:
        yield Row("targets_size", float(len(chosen.names)), None, None, len(chosen.names), {"trained": name})
        yield from _direction(name, member, stranger, chosen, opened, config, checkpoints)


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """The gap by every reference, and what its controls must do."""
    found = {}
    for row in select(rows, "gap_score", of="hidden_auc", trained="target"):
        reference = row.setting["reference"].removesuffix(PERMUTED)
        if row.setting["reference"].endswith(PERMUTED):
            said = f"{reference}: with permuted captions there is no gap, its interval holds 0"
            found[said] = row.interval.low <= 0 <= row.interval.high
            continue
        said = f"of objects that no word names the model reveals more than {reference}: interval above 0"
        found[said] = row.interval.low > 0
        for control in select(rows, "gap_score", of="hidden_auc", trained=NEVER, reference=reference):
            said = f"{reference}: on pairs that the model never saw the gap is smaller, the intervals lie apart"
            found[said] = control.interval.high < row.interval.low
    return found


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """Gaps by reference, and pictures."""
    gaps = select(rows, "gap_score", of="hidden_auc")
    figure, (ax,) = new_figure("Beyond each reference", "hidden AUC gap", "")
    owners = {"target": "own pairs", "reference": "the other's pairs", NEVER: "pairs never seen"}
    lines = []
    for row in gaps:
        control = row.setting["reference"].endswith(PERMUTED) or row.setting["trained"] == NEVER
        name = f"{row.setting['reference']}; {owners[row.setting['trained']]}"
        lines.append((name, row.interval, "control" if control else "memorizing"))
    lines_of_gaps(ax, lines)
    ax.invert_yaxis()
    told = select(rows, "recovered_count")
    texts = [f"{row.setting['caption'][:60]}\nonly the model: {row.setting['objects'][:60] or 'none'}" for row in told]
    title = f"Training picture, and public ones nearest to its caption, at most {_SHOWN} (chosen by outcome)"
    return {"gaps": figure, "pictures": picture_strips(artefacts["panels"], texts, title, a_line=1)}


def _targets(pairs: Labelled, config: Config) -> Int[np.ndarray, " m"]:
    """Pairs that hold an object beyond the caption's and do not hold all classes, at most as many as asked for."""
    rest = pairs.held & ~pairs.named
    able = np.flatnonzero(rest.any(axis=1) & ~(pairs.held | pairs.named).all(axis=1))
    require(len(able) >= 2, "fewer than two targets hold an object that their caption does not name.")
    return np.sort(stream(config.seed, "targets").numpy().permutation(able)[: config.targets])


def _direction(
    name: str,
    member: Clip,
    stranger: Clip | None,
    chosen: Labelled,
    opened: OpenedClips,
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
            meanings = sentences(public.captions) if config.sentence_model else None
            return without_training(captions, public.captions, public.held, config.k, meanings)
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
    order = stream(config.seed, "permuted captions").numpy().permutation(len(chosen.captions))
    permuted = [chosen.captions[i] for i in order]
    mixed = votes(counted("member", permuted).places, public.held)
    for reference, scores in references(permuted).items():
        yield from _gap_rows(mixed, scores, chosen, f"{reference}{PERMUTED}", name, config)
    if name == "target":
        counts = next(scores for scores in others.values() if np.issubdtype(scores.dtype, np.integer))
        yield from _panels(own, by_caption.places, counts, chosen, opened)


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
    found = bootstrap(area, np.mean, stream(config.seed, "bootstrap").numpy(), config.replicates)
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
        found = bootstrap(numbers, np.mean, stream(config.seed, "bootstrap").numpy(), config.replicates)
        yield Row("gap_score", *found, len(numbers), {"of": of, "reference": reference, "trained": name})


def _panels(
    own: Real[np.ndarray, "q classes"],
    places: np.ndarray,
    scores: Real[np.ndarray, "q classes"],
    chosen: Labelled,
    opened: OpenedClips,
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
