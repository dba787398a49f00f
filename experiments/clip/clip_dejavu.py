"""Does a caption reveal objects of its training picture that it never names?

Pairs of small CLIP models are trained on disjoint collages. One model is asked about the other's and its own training
captions: which public pictures are nearest, and which objects do those hold (Déjà Vu Memorization in Vision-Language
Models, arXiv 2402.02103)? The gap is how much more the model that saw the pair recovers than the one that didn't.
Captions name two of five objects and the others are drawn independently, so that without memory no model can tell
them: the hidden AUC is 0.5 exactly, with no second model needed. Intervals are over pairs of models, both directions.

Controls: two models of which neither saw the pair; the same data with another seed; permuted query captions; captions
shuffled in training; a model that was never trained. Other key words around the same named objects say how much of the
caption is needed: the named pair alone is a key, too, if a worse one.
The paper trains on up to 50 million pairs and reports intervals over targets only; its figures have no published
numbers that we could print. Expect gaps far above every control in the hidden AUC. The population gaps (PPG, PRG) also
measure how good the two models are: they are far below 0 where the first was never trained, or on shuffled captions.
Targets chosen by outcome (the published orders) show a gap under a null, too; its size stands beside theirs.
Cost on two cores: about 13 minutes.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from difflab.audits.collage_models import (
    GAPS,
    SMALLEST,
    Public,
    Reading,
    Set,
    Study,
    Truth,
    by_level,
    compared,
    gallery,
    job,
    manifest,
    over_models,
    over_pairs,
    pictured,
    pooled,
    read,
    rows,
    seen_by,
    training_set,
    truth,
    unseen,
    usefulness,
)
from difflab.clip.gap import cumulative, hidden, judged, most_first, null_curve, reliability
from difflab.clip.inference import union
from difflab.clip.model import Clip, build
from difflab.clip.panels import gaps_figure, ordered_figure
from difflab.clip.train import Job, Training, train_all
from difflab.randomness import stream
from difflab.runs.answers import Answer
from difflab.runs.figures import picture_strips
from difflab.runs.numbers import Recorded
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row, select
from difflab.statistics.intervals import SHARE, mean
from difflab.statistics.ranking import auc
from synthetic.data import collages as drawn
from synthetic.data.collages import Collages

MEMBER = "member and non-member"
NULLS = (
    "two non-members",
    "same data, new seed",
    "permuted queries",
    "captions shuffled in training",
    "never trained",
)
KEYED = "other key words"
SHARES = np.array([0.001, 0.01, 0.1, 0.2, 0.5, 1.0])
_STRIPS = 5
_SHOWN = 3


@dataclass(frozen=True)
class Config(Study):
    """The study as it is."""


SMOKE = Config(**SMALLEST)
QUICK = Config(training=Training(steps=160, batch=40), pairs=2, n=80, public=500, held_out=100, replicates=200)


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Train all models, ask them, and compare pair by pair."""
    sets = {f"{side}{i}": training_set(config, 2 * i + k) for i in range(config.pairs) for k, side in enumerate("ab")}
    jobs = _jobs(config, sets)
    trained = {name: (clip, losses) for name, clip, losses in train_all(jobs, checkpoints, config.workers)}
    clips = {name: clip for name, (clip, _) in trained.items()}
    for i in range(config.pairs):
        job_of = jobs[f"shuffled{i}"]
        clips[f"never{i}"] = build(
            job_of.architecture, job_of.vocabulary, stream(job_of.training.seed, "never trained").integer
        )
    public = gallery(config)
    yield from manifest(
        {name: data.found for name, data in sets.items()} | {"public": public, "held out": unseen(config)}
    )
    seen = {name: seen_by(clip, public, config) for name, clip in clips.items()}
    members = [trained[name] for name in sets]
    yield from over_models(usefulness([clip for clip, _ in members], [losses for _, losses in members], config), {})
    asked = _asked(config, clips, seen, sets)
    member = [pooled([compared(*pair) for pair in asked[MEMBER][i]]) for i in range(config.pairs)]
    yield from rows(member, config, {"models": MEMBER})
    for null in (*NULLS, KEYED):
        control = [pooled([compared(*pair) for pair in asked[null][i]]) for i in range(config.pairs)]
        yield from rows(control, config, {"models": null})
    for kind in ("copies", "sharing"):
        for level, row in by_level(member, [sets["a0"], sets["b0"]], kind, config):
            if len(getattr(config, kind)) > 1:
                yield row._replace(setting=row.setting | {"models": MEMBER, kind: level})
    yield from _curves(asked[MEMBER], config)
    yield from _cross_checks(asked, config)
    target, reference, known = asked[MEMBER][0][0]
    shown = _most_revealed(target, reference, known)
    found, names = sets["a0"].found, drawn.names(config.world)
    for place, i in enumerate(shown):
        only = hidden(union(target.counts[i : i + 1]) & ~union(reference.counts[i : i + 1]), known.named[i : i + 1])
        told = [names[c] for c in np.flatnonzero(only[0] & known.held[i])]
        setting = {"place": place, "caption": found.captions[i], "objects": ", ".join(told)}
        yield Row("recovered_count", float(len(told)), None, None, 1, setting)
    strips = [found.pictures[shown, None], *(public.pictures[r.places[shown, :_SHOWN]] for r in (target, reference))]
    yield Artefact("panels", np.concatenate(strips, axis=1))


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What the paper says, and what controls must do."""

    def gap(models: str, of: str) -> Row:
        return select(rows, "gap_score", models=models, of=of)[0]

    said = {
        f"{of.replace('_', ' ')} gap of member and non-member: the interval over pairs lies above 0": gap(
            MEMBER, of
        ).interval.low
        > 0
        for of in GAPS
    }
    largest = gap(MEMBER, "hidden_auc").value
    for null in NULLS:
        found = gap(null, "hidden_auc").interval
        said[f"{null}: no hidden AUC gap (its interval holds 0, or it is below a tenth of the member's)"] = (
            found.low <= 0 <= found.high or abs(found.value) <= 0.1 * largest
        )
    said["with other key words most of the gap is gone: below half of the member's"] = (
        gap(KEYED, "hidden_auc").value < 0.5 * largest
    )
    reference = select(rows, "hidden_auc", models=MEMBER, of="reference")[0]
    said["a model that never saw the pair guesses: the interval of its hidden AUC holds 0.5"] = (
        reference.interval.low <= 0.5 <= reference.interval.high
    )
    return said


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """Gaps beside their controls, curves of the most memorized, and pictures."""
    models = {MEMBER: "memorizing"} | dict.fromkeys((*NULLS, KEYED), "control")
    orders = {"similarity": "trained", "correct": "partly_memorizing", "difference": "memorizing"}
    found = {"gaps": gaps_figure(rows, GAPS, models), "ordered": ordered_figure(rows, orders)}
    told = select(rows, "recovered_count")
    texts = [f"{row.setting['caption']}\nonly the member model: {row.setting['objects'] or 'none'}" for row in told]
    title = (
        f"Training picture, {_SHOWN} nearest to its caption for the member, {_SHOWN} for the other (chosen by outcome)"
    )
    found["pictures"] = picture_strips(artefacts["panels"], texts, title, a_line=1)
    return found


def answer(run: Recorded) -> Answer:
    """The hidden AUC of both models."""
    own, other = (run.number("hidden_auc", models=MEMBER, of=of) for of in ("target", "reference"))
    return Answer(
        f"Of objects that a caption hides, the model that saw the pair tells {own} (AUC; chance is 0.5), the other "
        f"{other}.",
        "",
        "gaps",
        "Does the gap of member and non-member stand out from every control?",
    )


Pair = tuple[Reading, Reading, Truth]


def _jobs(config: Config, sets: dict[str, Set]) -> dict[str, Job]:
    jobs: dict[str, Job] = {}
    for i in range(config.pairs):
        a, b = sets[f"a{i}"], sets[f"b{i}"]
        jobs |= {f"a{i}": job(config, a, 4 * i), f"b{i}": job(config, b, 4 * i + 1)}
        jobs[f"again{i}"] = job(config, a, 4 * i + 2)
        order = stream(config.seed, "shuffled captions", i).numpy().permutation(len(a.found.captions))
        jobs[f"shuffled{i}"] = job(config, a, 4 * i + 3, tuple(a.found.captions[j] for j in order))
    return jobs


def _asked(
    config: Config, clips: dict[str, Clip], seen: dict[str, Public], sets: dict[str, Set]
) -> dict[str, list[list[Pair]]]:
    """Both models' readings for every comparison: by name, pair, direction."""
    found: dict[str, list[list[Pair]]] = {name: [] for name in (MEMBER, *NULLS, KEYED)}
    for i in range(config.pairs):
        other = (i + 1) % config.pairs
        mine: dict[str, list[Pair]] = {name: [] for name in found}
        for own, alien in ((f"a{i}", f"b{i}"), (f"b{i}", f"a{i}")):
            targets = sets[own].found
            known = truth(targets, config)
            generator = stream(config.seed, "queries", own).numpy()
            permuted = tuple(targets.captions[j] for j in generator.permutation(len(targets.captions)))
            elsewhere = drawn.rekeyed(generator, targets, config.world)

            @functools.cache
            def images(model: str, of: Collages = targets) -> Float[np.ndarray, "q d"]:
                return pictured(clips[model], of)

            def ask(model: str, captions: tuple[str, ...] = targets.captions) -> Reading:
                return read(clips[model], seen[model], captions, images(model), config)

            member, stranger = ask(own), ask(alien)
            mine[MEMBER].append((member, stranger, known))
            mine["permuted queries"].append((ask(own, permuted), ask(alien, permuted), known))
            mine[KEYED].append((ask(own, elsewhere), ask(alien, elsewhere), known))
            if own.startswith("a"):
                mine["same data, new seed"].append((member, ask(f"again{i}"), known))
                mine["captions shuffled in training"].append((ask(f"shuffled{i}"), stranger, known))
                mine["never trained"].append((ask(f"never{i}"), stranger, known))
                # Models of no other comparison of strangers, lest good and bad ones cancel over the pairs.
                mine["two non-members"].append((stranger, ask(f"again{other}"), known))
        for name, pairs in mine.items():
            found[name].append(pairs)
    return found


def _curves(asked: list[list[Pair]], config: Config) -> Iterator[Row]:
    """Recall gaps of the most memorized, by a label-free order and by the published ones with their null bias."""
    curves: dict[tuple[str, bool], list[Float[np.ndarray, " s"]]] = {}
    for i, pair in enumerate(asked):
        for direction, (target, reference, known) in enumerate(pair):
            a, b = (judged(union(reading.counts), known.held).recall for reading in (target, reference))
            right = tuple((union(reading.counts) & known.held).sum(axis=1) for reading in (target, reference))
            orders = {
                "similarity": most_first(target.similarity),
                "correct": most_first(right[0]),
                "difference": most_first(right[0] - right[1]),
            }
            for name, order in orders.items():
                curves.setdefault((name, False), []).append(cumulative(a - b, order, SHARES))
                if name != "similarity":
                    generator = stream(config.seed, "null", i, direction).numpy()
                    null = null_curve(a, b, right, SHARES, generator, name == "difference")
                    curves.setdefault((name, True), []).append(null)
    for (name, is_null), found in curves.items():
        by_pair = np.array(found).reshape(len(asked), -1, len(SHARES)).mean(axis=1)
        for share, values in zip(SHARES, by_pair.T, strict=True):
            setting = {"order": name, "share": float(share), "exchangeable": is_null}
            yield Row("ordered_gap_score", *mean(values), len(values), setting)


def _cross_checks(asked: dict[str, list[list[Pair]]], config: Config) -> Iterator[Row]:
    """Membership from cosines alone, CLIPMem's score, and whether rankings of targets replicate."""
    member, halves = asked[MEMBER], []
    for score in ("own", "aligned"):
        areas, gaps = [], []
        for (a_on_a, b_on_a, _), (b_on_b, a_on_b, _) in member:
            for inside, outside in ((a_on_a, a_on_b), (b_on_b, b_on_a)):
                values = np.concatenate([getattr(inside, score), getattr(outside, score)])
                areas.append(auc(values, np.arange(len(values)) < len(getattr(inside, score))))
            both = ((a_on_a, b_on_a), (b_on_b, a_on_b))
            gaps.append(np.concatenate([getattr(own, score) - getattr(other, score) for own, other in both]))
        by_pair = np.array(areas).reshape(len(member), 2).mean(axis=1)
        yield Row("membership_auc", *mean(by_pair, bounds=SHARE), len(member), {"score": score})
        found = over_pairs(np.stack(gaps), config)
        yield Row("cosine_gap_similarity", *found, 2 * config.n * len(member), {"score": score})
    for i, pair in enumerate(member):
        first = compared(*pair[0])["hidden_auc"]
        # Independent of the first half: another seed on the same data, another reference.
        _, again, known = asked["same data, new seed"][i][0]
        second = compared(again, asked["two non-members"][i][0][1], known)["hidden_auc"]
        halves.append(reliability(first, second))
    yield Row("reliability_similarity", *mean(halves), len(halves), {})


def _most_revealed(target: Reading, reference: Reading, known: Truth) -> Int[np.ndarray, " s"]:
    """Targets of whose hidden objects the member recovers most that the other doesn't, by votes."""
    there = hidden(known.held, known.named)
    ahead = ((target.counts - reference.counts) * there).sum(axis=1)
    return most_first(ahead)[:_STRIPS]
