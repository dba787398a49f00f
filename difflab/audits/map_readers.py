"""Which kind is it? Read off attention maps by a small convolutional network, or off the bag of a text's tokens."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import StratifiedKFold

from difflab.randomness import begin_torch, numbered, stream
from difflab.statistics.confusion import f1_by_class
from difflab.training.loop import Plan, optimize
from difflab.training.schedules import constant

FOLDS = 5
_TREES = 100


class Reader(NamedTuple):
    """The small network, and how it is trained.

    Attributes:
        maps: channels of both convolutions.
        kernel: side of their kernels.
        hidden: units of the layer after them.
        epochs: of the training.
        batch: items a step.
        rate: of AdamW.
    """

    maps: int = 10
    kernel: int = 6
    hidden: int = 64
    epochs: int = 30
    batch: int = 16
    rate: float = 1e-3


class ToldByMaps(NamedTuple):
    """What was told of items by networks that had not seen them.

    Attributes:
        kinds: of each.
        layers: how much each layer speaks for the item's own kind, at least 0.
        fitted: F1 of each kind on the items that networks were trained on, over all folds.
    """

    kinds: Int[np.ndarray, " n"]
    layers: Float[np.ndarray, "n layers"]
    fitted: Float[np.ndarray, " kinds"]


def told_by_maps(
    maps: Float32[np.ndarray, "n layers t t"], kinds: Int[np.ndarray, " n"], reader: Reader, seed: int
) -> ToldByMaps:
    """The kind of every item, by a network trained on the four fifths that do not hold it.

    Two convolutions, each with ReLU, dropout of a half and the largest of every 2 x 2, a hidden layer, and logits. Maps
    are centred place by place, and each layer divided by the root of its mean square, both as on the four fifths that
    are trained on: maps that hardly differ between items, as those of a model before its first step, are as large as
    others, and nothing but what they say decides. How much a layer speaks for an item's own kind: gradient of its logit
    less the mean of the others', where it is above 0, times attention.

    Args:
        maps: attention of n items.
        kinds: 0, 1, ..., each at least 5 times.
        reader: the network.
        seed: of folds, weights, order and dropout.

    Reference:
        Dentan et al. 2025, arXiv 2508.02573.

    Differs:
        The published networks see attention as it is, train for 3 epochs on 12,000 maps of 64 x 64, and are eight; the
        guided gradients of their code act on modules that are not used, so that theirs are plain ones, too, which they
        divide by the largest one.
    """
    classes = int(kinds.max()) + 1
    told, layers = np.empty(len(kinds), np.int64), np.empty(maps.shape[:2])
    truths, given_back = list[np.ndarray](), list[np.ndarray]()
    for fold, (seen, unseen) in enumerate(_folds(kinds, seed)):
        away, size = _centred(maps, seen)
        scaled = torch.from_numpy(away)
        network = _trained(
            scaled[seen], torch.from_numpy(kinds[seen]), classes, reader, stream(seed, "reader", fold).integer
        )
        given = scaled[unseen].clone().requires_grad_(True)
        with torch.enable_grad():
            logits = network(given)
            own = torch.nn.functional.one_hot(torch.from_numpy(kinds[unseen]), classes).bool()
            others = logits.masked_fill(own, 0).sum(1) / (classes - 1)
            (slope,) = torch.autograd.grad((logits[own] - others).sum(), given)
        told[unseen] = logits.detach().argmax(1).numpy()
        layers[unseen] = (slope.clamp(min=0).numpy() / size * maps[unseen]).sum(axis=(2, 3), dtype=np.float64)
        with torch.no_grad():
            given_back.append(network(scaled[seen]).argmax(1).numpy())
        truths.append(kinds[seen])
    return ToldByMaps(told, layers, f1_by_class(np.concatenate(truths), np.concatenate(given_back), classes))


def _centred(
    maps: Float32[np.ndarray, "n layers t t"], seen: Int[np.ndarray, " m"]
) -> tuple[Float32[np.ndarray, "n layers t t"], Float32[np.ndarray, "layers 1 1"]]:
    """Maps less the mean of those seen, each layer divided by the root of their mean square, and that root."""
    middle = maps[seen].mean(axis=0, dtype=np.float64)
    away = maps - middle
    size = np.sqrt(np.mean(away[seen] ** 2, axis=(0, 2, 3)))[:, None, None]
    # Maps that are all the same say nothing.
    size = np.where(size > 1e-12, size, 1.0)
    return (away / size).astype(np.float32), size.astype(np.float32)


def told_by_bags(tokens: Int[np.ndarray, "n t"], kinds: Int[np.ndarray, " n"], seed: int) -> Int[np.ndarray, " n"]:
    """The same by a forest, from how often each token stands in the text, how many different ones do, and how often the
    most frequent one.

    Args:
        tokens: ids, from 0 on.
        kinds: as in `told_by_maps`.
        seed: the same one gives the same folds.
    """
    counts = np.stack([np.bincount(row, minlength=tokens.max() + 1) for row in tokens]).astype(np.float64)
    features = np.column_stack([counts, (counts > 0).sum(axis=1), counts.max(axis=1)])
    told = np.empty(len(kinds), np.int64)
    for seen, unseen in _folds(kinds, seed):
        model = RandomForestClassifier(_TREES, random_state=stream(seed, "forest").integer)
        told[unseen] = model.fit(features[seen], kinds[seen]).predict(features[unseen])
    return told


def _folds(kinds: Int[np.ndarray, " n"], seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=stream(seed, "folds").integer)
    return list(folds.split(np.zeros(len(kinds)), kinds))


def _trained(
    maps: Float[torch.Tensor, "n layers t t"], kinds: Int[torch.Tensor, " n"], classes: int, reader: Reader, seed: int
) -> Callable[..., torch.Tensor]:
    with torch.random.fork_rng(devices=[]):
        begin_torch(seed)
        network = torch.nn.Sequential(
            torch.nn.Conv2d(maps.shape[1], reader.maps, reader.kernel), torch.nn.ReLU(), torch.nn.Dropout(),
            torch.nn.MaxPool2d(2),
            torch.nn.Conv2d(reader.maps, reader.maps, reader.kernel), torch.nn.ReLU(), torch.nn.Dropout(),
            torch.nn.MaxPool2d(2),
            torch.nn.Flatten(), torch.nn.LazyLinear(reader.hidden), torch.nn.ReLU(),
            torch.nn.Linear(reader.hidden, classes),
        )  # fmt: skip
        with torch.no_grad():
            network(maps[:1])
        optimizer = torch.optim.AdamW(network.parameters(), reader.rate, weight_decay=0.1)
        steps = max(1, reader.epochs * len(maps) // reader.batch)

        def loss(step: int) -> Float[torch.Tensor, ""]:
            begin_torch(numbered(seed, step))
            rows = torch.randint(len(maps), (min(reader.batch, len(maps)),))
            return torch.nn.functional.cross_entropy(network(maps[rows]), kinds[rows])

        optimize(loss, optimizer, Plan(steps, lambda step: constant(step, steps, reader.rate), clip=None))
    return network.eval()
