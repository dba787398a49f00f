"""How far a drawn sequence of codes with times is from the true one: the earth mover's distance over their codes."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from difflab.errors import require

Tokens = Int[np.ndarray, " _"]
Times = Float[np.ndarray, " _"]


def clock(texts: Sequence[Tokens], times: Sequence[Times], codes: int) -> Float[np.ndarray, " v"]:
    """How far time goes on with each code: the median of what it does in records whose times are known.

    Args:
        texts: codes of each record.
        times: of every code of it; empty where none are known. What stands before a first code is not known.
        codes: how many there are.

    Returns:
        Not negative; 0 of codes that stand in no record with times.
    """
    pairs = [(ids[1:], np.diff(at)) for ids, at in zip(texts, times, strict=True) if len(at)]
    found = np.zeros(codes)
    if not pairs:
        return found
    code, step = (np.concatenate([pair[i] for pair in pairs]) for i in range(2))
    order = np.argsort(code, kind="stable")
    starts = np.flatnonzero(np.diff(code[order], prepend=-1))
    for steps, start in zip(np.split(step[order], starts[1:]), starts, strict=True):
        found[code[order][start]] = np.median(steps)
    return found


def directions(vectors: Float[np.ndarray, "codes d"]) -> Float[np.ndarray, "codes d"]:
    """Vectors of length 1, by whose angles codes are alike; one of only zeros stays, and its code is like no other.

    Raises:
        InputError: a vector is not finite.
    """
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    require(len(bad) == 0, f"the vector of code {bad[:1].tolist()} is not finite; give each code finite numbers.")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)


def unlikeness(
    directions: Float[np.ndarray, "codes d"], first: Int[np.ndarray, " n"], second: Int[np.ndarray, " m"]
) -> Float[np.ndarray, "n m"]:
    """1 - cosine of every code of one trajectory and of the other, in [0, 2]; 0 of a code and itself."""
    found = np.clip(1 - directions[first] @ directions[second].T, 0, 2)
    return np.where(first[:, None] == second, 0.0, found)


def trajectory_distance(
    unlike: Float[np.ndarray, "n m"],
    s: Float[np.ndarray, " n"],
    t: Float[np.ndarray, " m"],
    timed_padding: bool = False,
) -> float:
    """Earth mover's distance of two trajectories; each code weighs the same.

    To move code a at time s to code b at time t costs their unlikeness times 1 + |s - t|, times in shares of the longer
    trajectory. The shorter one is padded to the length of the other; to move anything there costs 1. With equal weights
    the least cost is that of an assignment.

    Args:
        unlike: of every code of the one of n codes and of the other of m.
        s, t: times of both, from their common beginning, >= 0.
        timed_padding: padding stands at time 0, and what is moved there costs 1 + its time, as in the published code.

    Returns:
        At least 0; 0 where both are the same or there is nothing. At most 4, and 2 where no cosine is negative.

    Reference:
        Tonekaboni et al. 2025, arXiv 2510.12950, test 1.

    Differs:
        In the published code time goes on by fixed steps of .1 to 1.5, by token. Here a code takes the median of what
        it takes in known records (`clock`), and times are shares of the longer of the two trajectories. Padding has no
        time here, but with timed_padding.
    """
    n = max(unlike.shape)
    if n == 0:
        return 0.0
    longest = max(s.max(initial=0.0), t.max(initial=0.0)) or 1.0
    s, t = s / longest, t / longest
    cost = np.ones((n, n))
    cost[: len(s), : len(t)] = unlike * (1 + np.abs(s[:, None] - t))
    if timed_padding:
        cost[: len(s), len(t) :] += s[:, None]
        cost[len(s) :, : len(t)] += t
    return float(cost[linear_sum_assignment(cost)].mean())
