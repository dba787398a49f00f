"""How well pictures, captions or texts alone tell members from non-members: what a membership score must beat.

Members and non-members that are not drawn alike can be told apart without any model, and a score that finds the same
difference has found no membership (Das et al. 2024, arXiv 2406.16201; Duan et al. 2024, arXiv 2402.07841).
"""

import string
from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn.functional import adaptive_avg_pool2d

from difflab.datasets.pixels import parts
from difflab.datasets.words import words
from difflab.diffusion.autoencoder import as_pixels
from difflab.diffusion.similarity import at_once
from difflab.errors import require
from difflab.randomness import Stream
from difflab.statistics.code_lengths import zlib_bytes

_WORDS = 200
"""The most frequent words that are looked at."""
_FOLDS = 5
_CHARACTERS = (str.isdigit, str.isupper, lambda one: one in string.punctuation, str.isspace)


def blind_features(pictures: UInt8[np.ndarray, "n h w 3"], captions: Sequence[str]) -> Float[np.ndarray, "n k"]:
    """What is seen without a model: colours of 4 x 4 parts, their spread, the number of words, and which words.

    Args:
        pictures: any.
        captions: one for each.

    Returns:
        48 mean colours and 3 standard deviations of each picture in [-1, 1]; the number of words of its caption; and
            of the most frequent words that stand in two captions or more, whether they stand in this one.
    """
    seen = []
    for _, some in parts(pictures, min(256, at_once(pictures))):
        pixels = as_pixels(some)
        spread = pixels.std(dim=(2, 3))
        seen.append(np.concatenate([adaptive_avg_pool2d(pixels, 4).flatten(1).numpy(), spread.numpy()], axis=1))
    lengths = [[len(frozenset(words(caption.lower())))] for caption in captions]
    return np.concatenate([np.concatenate(seen), lengths, _which_words(captions)], axis=1).astype(np.float64)


def text_features(texts: Sequence[str]) -> Float[np.ndarray, "n k"]:
    """What is seen of texts without a model: length, compressed length, kinds of characters, and which words.

    Returns:
        Characters, words, bytes that zlib makes of a character; shares of digits, capitals, punctuation and spaces;
            and of the most frequent words that stand in two texts or more, whether they stand in this one.
    """
    shape = np.array([
        [
            len(text),
            len(words(text)),
            zlib_bytes(text) / max(len(text), 1),
            *(sum(map(kind, text)) / max(len(text), 1) for kind in _CHARACTERS),
        ]
        for text in texts
    ])  # fmt: skip
    return np.concatenate([shape, _which_words(texts)], axis=1).astype(np.float64)


def blind_scores(
    features: Float[np.ndarray, "n k"],
    member: Bool[np.ndarray, " n"],
    random: Stream,
    families: Int[np.ndarray, " n"] | None = None,
) -> Float[np.ndarray, " n"]:
    """How likely each item is a member, by a logistic regression fitted on four fifths that do not hold it.

    Args:
        features: what `blind_features` returned, or any.
        member: which are; at least 5 are and at least 5 are not.
        random: shuffles the folds.
        families: of each item, where members have non-members that are made alike, as twins are: a family is held out
            as a whole. Else a member is taken for what its twins are, and the area under the curve is below one half.

    Returns:
        Log odds, higher = more likely a member.

    Raises:
        InputError: there are fewer than 5 members or non-members.
    """
    fewest = int(min(member.sum(), (~member).sum()))
    require(fewest >= _FOLDS, f"there are {fewest} members or non-members; give at least {_FOLDS} of each.")
    linear = LogisticRegression(C=0.1, class_weight="balanced", solver="newton-cholesky")
    kind = StratifiedKFold if families is None else StratifiedGroupKFold
    folds = kind(_FOLDS, shuffle=True, random_state=random.integer)
    model = make_pipeline(StandardScaler(), linear)
    return cross_val_predict(model, features, member, groups=families, cv=folds, method="decision_function")


def _which_words(texts: Sequence[str]) -> Float[np.ndarray, "n k"]:
    """Of the most frequent words that stand in two texts or more, whether they stand in each."""
    found = [frozenset(words(text.lower())) for text in texts]
    counts = Counter(word for one in found for word in sorted(one))
    usual = [word for word, n in counts.most_common(_WORDS) if n > 1]
    return np.array([[word in one for word in usual] for one in found], np.float64).reshape(len(texts), len(usual))
