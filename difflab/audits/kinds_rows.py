"""Does a taxonomy predict what is memorized, and does attention tell guess, recall and none? Over worlds, in rows."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.figure import Figure

from difflab.audits.kinds_worlds import KINDS, RECOLLECT, KindsWorld, guess_or_recall, planted_kinds
from difflab.audits.map_readers import Reader, told_by_bags, told_by_maps
from difflab.randomness import stream
from difflab.runs.figures import COLOURS, legend_below, new_figure, points_with_intervals
from difflab.runs.rows import Row, select
from difflab.statistics.best_partition import LEAST as FEWEST
from difflab.statistics.best_partition import grouped_likelihood, partitioned_likelihood, pooled_likelihood
from difflab.statistics.confusion import f1_by_class
from difflab.statistics.intervals import SHARE, grouped_fraction, mean, paired_difference, pooled, wilson

ATTENTION, UNTRAINED, BAGS = "attention", "attention, never trained", "bag of tokens"
_OWN = ", own continuations"
OWN, OWN_UNTRAINED, OWN_BAGS = ATTENTION + _OWN, UNTRAINED + _OWN, BAGS + _OWN
READERS = (ATTENTION, UNTRAINED, BAGS, OWN, OWN_UNTRAINED, OWN_BAGS)
CONTROLS = {ATTENTION: (UNTRAINED, BAGS), OWN: (OWN_UNTRAINED, OWN_BAGS)}
"""What attention is held against, read off the same tokens."""
_MAPS = {ATTENTION: "maps", UNTRAINED: "untrained maps", OWN: "own maps", OWN_UNTRAINED: "untrained own maps"}
_TOKENS = {BAGS: "tokens", OWN_BAGS: "own"}
KINDS_OF_COPY = ("guess", "recall", "none")
WORST = "worst"
TAXONOMY, POOLED, PARTITION = "taxonomy", "one regression", "best partition"
MOST, LEAST = 80, 8
"""Items of each kind that are told apart, at most and at least."""
Told = Mapping[str, np.ndarray]


def read_kinds(told: dict[str, np.ndarray], reader: Reader, seed: int) -> dict[str, np.ndarray]:
    """Whether attention tells the kinds of one world's items apart, with its controls.

    Returns:
        F1 of every kind under the name of each reader, and of networks under "NAME|fitted" that on their own training
        items; "items", how many of each kind there are; and "layers", the share of each layer in what speaks for a
        kind, one row a kind; nothing where a kind has fewer than 8 items.
    """
    _, kinds = guess_or_recall(told)
    counts = np.bincount(kinds[kinds >= 0], minlength=3)
    n = min(MOST, int(counts.min()))
    if n < LEAST:
        return {}
    chance = stream(seed, "chosen").numpy()
    chosen = np.concatenate([chance.permutation(np.flatnonzero(kinds == kind))[:n] for kind in range(3)])
    own = kinds[chosen]
    found, layers = {"items": np.array(n)}, np.empty(0)
    for name, maps in _MAPS.items():
        said = told_by_maps(told[maps][chosen], own, reader, seed)
        found |= {name: f1_by_class(own, said.kinds, 3), f"{name}|fitted": said.fitted}
        if name == ATTENTION:
            layers = np.stack([said.layers[own == kind].sum(axis=0) for kind in range(3)])
    for name, tokens in _TOKENS.items():
        found[name] = f1_by_class(own, told_by_bags(told[tokens][chosen], own, seed), 3)
    # Where nothing speaks for a kind all layers speak alike.
    return found | {"layers": (layers + 1e-12) / (layers + 1e-12).sum(axis=1, keepdims=True)}


def likelihoods(told: Told, seed: int) -> dict[str, np.ndarray]:
    """Held-out log-likelihood of what is memorized, in nats an item, under each way to regress."""
    features, memorized, kinds = told["features"], told["memorized"], told["kind"]
    random = stream(seed, "folds")
    return {
        POOLED: np.array(pooled_likelihood(features, memorized, random.numpy()).mean()),
        TAXONOMY: np.array(grouped_likelihood(features, memorized, kinds, random.numpy()).mean()),
        PARTITION: np.array(partitioned_likelihood(features, memorized, random.numpy()).mean()),
    }


def taxonomy_rows(told: Sequence[Told], worlds: Sequence[KindsWorld]) -> Iterator[Row]:
    """Whether the rule finds the planted kinds, what of each is memorized, and whether kinds help to predict it,
    where two worlds have enough memorized items."""
    planted = [planted_kinds(world) for world in worlds]
    n = len(planted[0])
    named = [np.array(KINDS)[one["kind"]] for one in told]
    right = [int((a == b).sum()) for a, b in zip(named, planted, strict=True)]
    yield Row("recovered_fraction", *grouped_fraction(right, n), n * len(told), {})
    for kind in KINDS:
        here: list[Bool[np.ndarray, " n"]] = [one == kind for one in planted]
        counts = [int(one["memorized"][some].sum()) for one, some in zip(told, here, strict=True)]
        n_kind = int(here[0].sum())
        yield Row("memorized_fraction", *grouped_fraction(counts, n_kind), n_kind * len(told), {"kind": kind})
    parts = [
        wilson(int((one["memorized"] & (names == RECOLLECT)).sum()), max(1, int(one["memorized"].sum())))
        for one, names in zip(told, named, strict=True)
    ]
    share = pooled(parts, bounds=SHARE)
    yield Row("recollected_fraction", share.value, share.low, share.high, len(told), {}, share.sd)
    found = [
        likelihoods(one, world.seed)
        for one, world in zip(told, worlds, strict=True)
        if min(int(one["memorized"].sum()), int((~one["memorized"]).sum())) >= FEWEST
    ]
    if len(found) < 2:
        return
    for way in (POOLED, TAXONOMY, PARTITION):
        yield Row("held_out_loss", *mean([-float(one[way]) for one in found]), len(found), {"by": way})
    for other in (POOLED, PARTITION):
        kinds, rival = ([float(one[way]) for one in found] for way in (TAXONOMY, other))
        gap = paired_difference(kinds, rival)
        yield Row("likelihood_difference", *gap, len(found), {"by": TAXONOMY, "less": other})


def reader_rows(read: Sequence[Told]) -> Iterator[Row]:
    """F1 of every kind by reader, the worst one by world, attention against its controls, and where it is; how many
    items of each kind there are, and the worst F1 on the items that networks were trained on.

    Args:
        read: of every world, what `read_kinds` returned; worlds in which a kind has hardly an item say nothing.
    """
    telling = [one for one in read if one]
    n = len(telling)
    if n < 2:
        return
    worst: dict[str, list[float]] = {name: [float(one[name].min()) for one in telling] for name in READERS}
    for name in READERS:
        yield Row("f1_score", *mean(worst[name], bounds=SHARE), n, {"by": name, "kind": WORST})
        for place, kind in enumerate(KINDS_OF_COPY):
            values = [float(one[name][place]) for one in telling]
            yield Row("f1_score", *mean(values, bounds=SHARE), n, {"by": name, "kind": kind})
    for by, less in ((by, less) for by, controls in CONTROLS.items() for less in controls):
        yield Row("f1_difference", *paired_difference(worst[by], worst[less]), n, {"by": by, "less": less})
    yield Row("kind_items_count", *mean([float(one["items"]) for one in telling]), n, {})
    for name in _MAPS:
        fitted = [float(one[f"{name}|fitted"].min()) for one in telling]
        yield Row("fitted_f1_score", *mean(fitted, bounds=SHARE), n, {"by": name, "kind": WORST})
    layers: Float[np.ndarray, "worlds kinds layers"] = np.stack([one["layers"] for one in telling])
    for place, kind in enumerate(KINDS_OF_COPY):
        for layer in range(layers.shape[2]):
            values = layers[:, place, layer].tolist()
            setting = {"kind": kind, "layer": layer + 1}
            yield Row("attention_fraction", *mean(values, bounds=SHARE), n, setting)
    numbers: Int[np.ndarray, " layers"] = 1 + np.arange(layers.shape[2])
    guess, recall = (layers[:, place] @ numbers for place in (0, 1))
    yield Row("layer_difference", *paired_difference(recall, guess), n, {"of": "recall", "less": "guess"})


def readers_figure(rows: Sequence[Row]) -> Figure:
    """F1 of every kind, by what it is read off."""
    found = select(rows, "f1_score")
    names = list(dict.fromkeys(row.setting["kind"] for row in found))
    figure, (ax,) = new_figure("Guess, recall, or none?", "F1", "")
    colours = ("trained", "control", "generalizing", "memorizing", "exact", "predicted")
    for place, (name, colour) in enumerate(zip(READERS, colours, strict=True)):
        here = select(found, "f1_score", by=name)
        heights = [names.index(row.setting["kind"]) + 0.14 * (place - 2.5) for row in here]
        points_with_intervals(ax, heights, [row.interval for row in here], name, colour, True)
    # Whoever can set apart one kind alone, and tosses a coin for the others.
    ax.axvline(0.5, color=COLOURS["exact"], linewidth=0.8)
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    legend_below(figure)
    return figure


def likelihood_figure(rows: Sequence[Row]) -> Figure:
    """What each way to regress loses on texts that it was not fitted on."""
    found = select(rows, "held_out_loss")
    figure, (ax,) = new_figure("Is a text memorized? Regressions on others", "loss, nats a text", "")
    points_with_intervals(ax, range(len(found)), [row.interval for row in found], "mean over worlds", "trained", True)
    ax.set_yticks(range(len(found)), [row.setting["by"] for row in found])
    legend_below(figure)
    return figure
