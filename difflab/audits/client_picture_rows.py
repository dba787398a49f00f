"""Who draws whose pictures, over worlds, in rows: of models that clients train together, of pooled rows, of each alone.

The numbers are those of `difflab.audits.client_rows`, with one kind of match: the picture drawn of a caption is a copy
of its own item, or of a picture of another client that the one whose caption it is lacks.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Bool

from difflab.audits.client_pictures import COPIED, NEAR, Drawn, PictureClients, alone
from difflab.audits.client_rows import (
    ALL,
    CENTRAL,
    FEDERATED,
    INTER,
    INTRA,
    PROXIMAL,
    UNSEEN,
    Looks,
    cell_rows,
    chosen_of,
    level_rows,
    rate_rows,
    shares_of,
    twofold_row,
)
from difflab.audits.client_worlds import PRIVATE, SHARED
from difflab.runs.rows import Row, gap_row
from difflab.statistics.intervals import grouped_fraction

ALONE = "alone"
"""Every client's own model: what it draws of the captions of its client."""


def alone_together(looks: Mapping[str, Looks], clients: int) -> dict[str, np.ndarray]:
    """The looks at the models of all clients, each alone, as one.

    Captions of a client are asked of its own model; those of the client that never took part of the model of the client
    whose pictures they are held against, and, against its own, of all in turn. The loss is the mean.
    """
    every = [looks[alone(i)] for i in range(clients)]
    copied = np.array(every[0][COPIED])
    for i, one in enumerate(every):
        copied[:, i] = one[COPIED][:, i]
        copied[:, clients, :, i] = one[COPIED][:, clients, :, i]
        copied[:, clients, i::clients, clients] = one[COPIED][:, clients, i::clients, clients]
    return {"loss": np.mean([one["loss"] for one in every], axis=0), COPIED: copied}


def never_seen(looks: Mapping[str, Looks], world: PictureClients) -> Bool[np.ndarray, " asked"]:
    """Of captions of each client's private items, asked of the other clients' own models, which draw the item: no such
    model ever saw it."""
    private, n = chosen_of(world, PRIVATE), world.clients
    pairs = [(j, k) for j in range(n) for k in range(n) if j != k]
    found = [looks[alone(k)][COPIED][-1][j, private, j] for j, k in pairs]
    return np.concatenate(found).astype(bool)


def client_picture_rows(told: Sequence[Drawn], world: PictureClients) -> Iterator[Row]:
    """All rows of the experiment.

    Args:
        told: of every world what its models draw.
        world: of all; its seed is not looked at.
    """
    found: dict[str, list[Looks]] = {
        model: [one.looks[model] for one in told] for model in (FEDERATED, PROXIMAL, CENTRAL)
    }
    found[ALONE] = [alone_together(one.looks, world.clients) for one in told]
    yield from rate_rows(found, dict.fromkeys(found, world), [COPIED], (PRIVATE, SHARED, NEAR, ALL))
    for condition, some in found.items():
        yield from cell_rows(some, world, condition, COPIED)
        yield from _difference_rows(some, world, condition)
    yield from level_rows(found, [COPIED], ((FEDERATED, CENTRAL), (PROXIMAL, FEDERATED)))
    counts = [never_seen(one.looks, world) for one in told]
    if len(counts[0]):
        shares = grouped_fraction([int(one.sum()) for one in counts], len(counts[0]))
        yield Row("never_seen_fraction", *shares, len(told) * len(counts[0]), {"condition": ALONE, "items": PRIVATE})
    if len(told[0].near):
        shares = grouped_fraction([int(one.near.sum()) for one in told], len(told[0].near))
        yield Row("near_fraction", *shares, len(told) * len(told[0].near), {"items": NEAR})


def _difference_rows(some: Sequence[Looks], world: PictureClients, condition: str) -> Iterator[Row]:
    """What is compared within a condition, world by world: owners, others and chance; kinds of items."""
    here = {"condition": condition}
    own, other, chance = (shares_of(some, world, COPIED, of, PRIVATE) for of in (INTRA, INTER, UNSEEN))
    yield gap_row("own_difference", own, chance, here)
    if condition != ALONE:  # Whose model has never seen what others have.
        yield gap_row("excess_difference", other, chance, here)
    yield twofold_row(own, other, here)
    for kind in (SHARED, NEAR):
        if chosen_of(world, kind).any():
            there = shares_of(some, world, COPIED, INTRA, kind)
            yield gap_row("kind_difference", there, own, {**here, "items": kind, "less": PRIVATE})
