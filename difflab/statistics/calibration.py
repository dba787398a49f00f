"""Whether what is said with some confidence is right as often: the expected calibration error."""

import numpy as np
from jaxtyping import Bool, Float

from difflab.errors import require


def calibration_error(confidences: Float[np.ndarray, " n"], right: Bool[np.ndarray, " n"], bins: int = 10) -> float:
    """Expected calibration error over bins of equal width.

    sum over bins of (n_b / n) |mean of right - mean of confidence|; a confidence of 1 lies in the last bin.

    Args:
        confidences: in [0, 1].
        right: whether what was said was right.
        bins: how many.

    Raises:
        InputError: there are no confidences, not as many of both, one is outside [0, 1], or bins is less than 1.

    Reference:
        Guo et al. 2017, arXiv 1706.04599, section 2; Naeini et al. 2015.

    >>> calibration_error(np.array([0.75, 0.75, 0.75, 0.75]), np.array([True, True, True, False]))
    0.0
    """
    require(0 < len(confidences) == len(right), f"{len(confidences)} confidences of {len(right)}; give one each.")
    require(bins >= 1, f"bins is {bins}; give at least 1.")
    inside = bool(((confidences >= 0) & (confidences <= 1)).all())
    require(inside, "a confidence lies outside 0 to 1; give probabilities.")
    place = np.minimum((confidences * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(place, right.astype(np.float64) - confidences, minlength=bins)
    return float(np.abs(gaps).sum() / len(right))
