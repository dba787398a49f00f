"""Does a picture show what its caption says? A linear map from picture features to the caption's words.

The papers take the cosine of CLIP embeddings. No CLIP comes with difflab, and one trained on photographs would say
little about pictures of 32 pixels, so the map is fitted on captioned pictures of the same kind; where it was fitted it
can also be judged, on held-out pictures with right and wrong captions.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from difflab.diffusion.similarity import Measure
from difflab.errors import require
from difflab.statistics.ranking import auc


class Alignment(NamedTuple):
    """A fitted map.

    Attributes:
        words: every word that two or more captions had.
        offset: mean features, and mean of each word's indicator.
        weights: features to words.
    """

    words: tuple[str, ...]
    offset: tuple[Float[np.ndarray, " width"], Float[np.ndarray, " words"]]
    weights: Float[np.ndarray, "width words"]


def word_features(measure: Measure, pictures: UInt8[np.ndarray, "n h w 3"]) -> Float[np.ndarray, "n width"]:
    """Features of pictures as alignments take them: those of the measure's first tile."""
    return measure.describe(pictures)[:, 0].double().numpy()


def fit_alignment(features: Float[np.ndarray, "n width"], captions: Sequence[str], ridge: float = 10.0) -> Alignment:
    """Ridge regression of word indicators on features.

    weights = (X'X / n + ridge s I)^-1 X'Y / n, X and Y centred, s the mean variance of a feature; each word's column
    of Y is divided by its standard deviation, so that rare words count as much as frequent ones.

    Args:
        features: of n pictures, as a measure of `similarity` describes them.
        captions: of the same pictures.
        ridge: strength of the penalty, positive; 10 told right from wrong captions best on held-out planted pictures.

    Raises:
        InputError: there is not one caption for each picture, or no word comes twice.
    """
    require(len(features) == len(captions), f"{len(features)} pictures have {len(captions)} captions; give one each.")
    counts: dict[str, int] = {}
    for caption in captions:
        for word in set(caption.lower().split()):
            counts[word] = counts.get(word, 0) + 1
    words = tuple(sorted(word for word, count in counts.items() if 2 <= count < len(captions)))
    require(len(words) > 0, "no word comes in two captions; an alignment can't be fitted.")
    indicators = _indicators(captions, words)
    centre, share = features.mean(axis=0), indicators.mean(axis=0)
    x, y = features - centre, (indicators - share) / indicators.std(axis=0)
    covariance = x.T @ x / len(x)
    penalty = ridge * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    return Alignment(words, (centre, share), np.linalg.solve(covariance + penalty, x.T @ y / len(x)))


def aligned(
    alignment: Alignment, features: Float[np.ndarray, "n width"], captions: Sequence[str]
) -> Float[np.ndarray, " n"]:
    """Cosine of the words that each picture seems to show and those that its caption has, in [-1, 1].

    Words that the fit did not know count for nothing; a caption of only such words gets 0.
    """
    centre, share = alignment.offset
    seen = (features - centre) @ alignment.weights
    said = (_indicators(captions, alignment.words) - share) / np.sqrt(share * (1 - share))
    known = np.array([bool(set(caption.lower().split()) & set(alignment.words)) for caption in captions])
    lengths = np.linalg.norm(seen, axis=1) * np.linalg.norm(said, axis=1)
    return np.where(known, (seen * said).sum(axis=1) / np.maximum(lengths, 1e-12), 0.0)


def tells_apart(alignment: Alignment, features: Float[np.ndarray, "n width"], captions: Sequence[str]) -> float:
    """Area under the curve with which it tells the captions of these pictures from those of their neighbours."""
    right, wrong = aligned(alignment, features, captions), aligned(alignment, features, [*captions[1:], captions[0]])
    return auc(np.concatenate([right, wrong]), np.arange(2 * len(right)) < len(right))


def _indicators(captions: Sequence[str], words: tuple[str, ...]) -> Float[np.ndarray, "n words"]:
    place = {word: i for i, word in enumerate(words)}
    found = np.zeros((len(captions), len(words)))
    for row, caption in enumerate(captions):
        for word in set(caption.lower().split()) & place.keys():
            found[row, place[word]] = 1
    return found
