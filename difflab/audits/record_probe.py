"""T3 of records: which sensitive code a probe reads off the hidden state after a prompt."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from difflab.datasets.records import Record


class Probe(NamedTuple):
    """What a probe says of some records.

    Attributes:
        codes: sensitive codes that it knows.
        probabilities: of each, a row a record.
    """

    codes: tuple[str, ...]
    probabilities: Float[np.ndarray, "n c"]


def probed(
    known: tuple[Float[np.ndarray, "k d"], Sequence[str]], states: Float[np.ndarray, "n d"], least: int = 5
) -> Probe | None:
    """T3: a logistic regression of which sensitive code a record holds after the prompt, fitted on known patients.

    Args:
        known: hidden states of others, and the sensitive code of each, "" where it holds none.
        states: of the records asked about.
        least: known patients that a code must have to be told.

    Returns:
        None where fewer than two codes are to be told apart.

    Differs:
        The published probe is a perceptron chosen on a grid, and its AUROC is taken from hard predictions.
    """
    labels = np.array(known[1])
    codes, counts = np.unique(labels, return_counts=True)
    enough = codes[counts >= least]
    if len(enough) < 2:
        return None
    here = np.isin(labels, enough)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, C=0.1))
    model.fit(known[0][here], labels[here])
    return Probe(tuple(model.classes_.tolist()), model.predict_proba(states))


def later_sensitive(record: Record, codes: int) -> str:
    """The first sensitive code after so many first codes, "" where there is none."""
    return next((code for code in record.codes[codes:] if code in record.sensitive), "")


def pairs(probe: Probe, truth: Sequence[str]) -> tuple[Float[np.ndarray, " m"], Bool[np.ndarray, " m"]]:
    """What a probe says of records with a sensitive code and of every code but "", and whether it is that one."""
    columns = [i for i, code in enumerate(probe.codes) if code]
    rows = [i for i, code in enumerate(truth) if code and code in probe.codes]
    right = np.array([[probe.codes[j] == truth[i] for j in columns] for i in rows], bool)
    return probe.probabilities[np.ix_(rows, columns)].ravel(), right.ravel()
