"""Membership of texts by shadows: models like the one in question that were trained on none of the texts."""

import numpy as np
from jaxtyping import Bool, Float

from difflab.errors import require
from difflab.statistics.shadow import lira_offline, rmia
from difflab.statistics.text_shadows import confidence_logit, token_probability

LEAST = 2
"""Shadows: a spread is needed of what they say."""


def shadow_scores(
    mean_log_probs: Float[np.ndarray, "n models"], unseen: Bool[np.ndarray, " n"]
) -> dict[str, Float[np.ndarray, " n"]]:
    """The offline attacks of the literature, by name.

    Args:
        mean_log_probs: of each text, in nats a token: by the model in question, then by at least two shadows.
        unseen: texts that the model in question was not trained on, either; at least two.

    Returns:
        "lira" and "rmia", in [0, 1], higher = more likely a member. RMIA's population are the unseen texts; one of them
        is held against the others only.

    Raises:
        InputError: there are fewer shadows or unseen texts.

    Reference:
        Carlini et al. 2022, arXiv 2112.03570; Zarifzadeh et al. 2024, arXiv 2312.03262.
    """
    own, shadows, n = mean_log_probs[:, 0], mean_log_probs[:, 1:].T, int(unseen.sum())
    require(len(shadows) >= LEAST, f"there are {len(shadows)} shadows; give at least {LEAST}.")
    require(n > 1, f"there are {n} unseen texts; give at least 2.")
    inside = np.zeros(shadows.shape, bool)
    chance, others = token_probability(own), token_probability(shadows)
    robust = rmia(chance, others, inside, chance[unseen], others[:, unseen])
    robust[unseen] *= n / (n - 1)
    return {"lira": lira_offline(confidence_logit(own), confidence_logit(shadows), inside), "rmia": robust}
