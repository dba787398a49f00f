"""Cross-checks on embeddings alone: does the model bring a training caption and its picture closer together?

No gallery and no labels; a caption's picture is needed. Scores say that a pair was trained on, not what the caption
reveals of the picture, so they stand beside déjà vu and not in its place.
"""

import numpy as np
from jaxtyping import Float

from difflab.errors import require


def similarity(images: Float[np.ndarray, "q d"], texts: Float[np.ndarray, "q d"]) -> Float[np.ndarray, " q"]:
    """Cosine of each caption with its own picture, both of length 1."""
    require(images.shape == texts.shape, f"{len(images)} pictures and {len(texts)} captions are no pairs.")
    return np.einsum("qd,qd->q", images, texts)


def alignment(images: Float[np.ndarray, "q d"], texts: Float[np.ndarray, "q d"]) -> Float[np.ndarray, " q"]:
    """Cosine with the own picture less the mean cosine with the other pictures and captions of the set.

    (x_i . y_i) - (mean over j != i of x_j . y_i + mean over j != i of x_i . y_j) / 2: comparable between models whose
    cosines spread differently. The difference between a model trained on the pair and one that was not is CLIPMem's
    score (Wang et al. 2025, arXiv 2502.07830).

    Differs:
        CLIPMem averages over augmented views of the picture and paraphrases of the caption; here there is one of each.
    """
    own, n = similarity(images, texts), len(images)
    require(n >= 2, "alignment needs at least two pairs.")
    from_text = (texts @ images.sum(axis=0) - own) / (n - 1)
    from_image = (images @ texts.sum(axis=0) - own) / (n - 1)
    return own - (from_text + from_image) / 2
