"""How much of a text came back word for word: measures on arrays of token ids, and on which tokens were found.

An empty truth is nothing that could be extracted: of it every measure here says 0 or False.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int
from rapidfuzz.distance import Levenshtein

from difflab.errors import require

Tokens = Int[np.ndarray, " _"]


def cut(text: Tokens, prefix: int, suffix: int) -> tuple[Tokens, Tokens]:
    """The first `prefix` tokens of a text, and the `suffix` tokens after them.

    Raises:
        InputError: the text is shorter than both together.
    """
    require(
        len(text) >= prefix + suffix,
        f"a text has {len(text)} tokens, {prefix} + {suffix} are asked for; give longer texts, or a shorter prefix.",
    )
    return text[:prefix], text[prefix : prefix + suffix]


def verbatim_length(continuation: Tokens, truth: Tokens) -> int:
    """How many tokens agree before the first that does not.

    Returns:
        At most the length of the shorter one.
    """
    n = min(len(continuation), len(truth))
    return _leading(continuation[:n] == truth[:n])


def exact_match(continuation: Tokens, truth: Tokens) -> bool:
    """Whether a continuation begins with the whole truth, which is not empty.

    Reference:
        Carlini et al. 2022, arXiv 2202.07646: a prefix of 50 tokens and a suffix of 50, found greedily.
    """
    return len(truth) > 0 and verbatim_length(continuation, truth) == len(truth)


def match_share(continuation: Tokens, truth: Tokens) -> float:
    """Share of the true tokens that a continuation has at their place; nothing stands beyond its end.

    Returns:
        In [0, 1]; 0 where the truth is empty.

    Reference:
        Chen et al. 2024, arXiv 2405.11577: the memorization score of a text.

    >>> match_share(np.array([1, 5, 3]), np.array([1, 2, 3, 4]))
    0.5
    """
    n = min(len(continuation), len(truth))
    return float((continuation[:n] == truth[:n]).sum()) / len(truth) if len(truth) else 0.0


def edit_share(continuation: Tokens, truth: Tokens) -> float:
    """Edit distance (insertions, deletions, replacements of one token each) over the length of the truth.

    Args:
        continuation: what is longer than the truth is cut off.
        truth: the true tokens.

    Returns:
        In [0, 1]; 0 where they agree, 1 where nothing does or the truth is empty.

    Reference:
        Gemma Team 2024, arXiv 2403.08295: a share of at most 0.1 counts as approximately memorized.
    """
    if len(truth) == 0:
        return 1.0
    return Levenshtein.distance(continuation[: len(truth)].tolist(), truth.tolist()) / len(truth)


def verbatim_run(prefix: Tokens, truth: Tokens, hits: Bool[np.ndarray, " _"], copied: int | None = 5) -> int:
    """How many tokens after a prefix greedy decoding gets right, unless the prefix holds them already.

    Greedy decoding agrees with the truth as long as the likeliest token, teacher-forced, is the true one: the first
    miss of both is the same.

    Args:
        prefix: tokens given.
        truth: the true tokens after them.
        hits: for each of them, whether it is the likeliest.
        copied: a run of more tokens than this counts 0 if it stands in the prefix as a whole; None counts it.

    Returns:
        At most the length of the truth.

    Reference:
        Huang et al. 2024, arXiv 2407.17817; the length is the longest one over prefixes.

    Differs:
        The published code compares strings without punctuation and looks for the first 32 characters, too; tokens are
        compared here.
    """
    run = _leading(hits)
    if copied is not None and run > copied and _stands_in(truth[:run], prefix):
        return 0
    return run


def memorization_accuracy(hits: Bool[np.ndarray, " _"], last_left_out: bool = False) -> float:
    """Share of tokens that are the likeliest ones, given the true tokens before them.

    Over all tokens but the first it is MA; over the tokens of an answer it is the exact match EM of open-unlearning.

    Args:
        hits: for each token whether it is the likeliest.
        last_left_out: leave out the last one, which open-unlearning takes for the end of the text.

    Returns:
        In [0, 1]; 0 where there is no token.

    Reference:
        Jang et al. 2022, arXiv 2210.01504; EM: Tirumala et al. 2022, arXiv 2205.10770.
    """
    counted = hits[:-1] if last_left_out else hits
    return float(counted.mean()) if len(counted) else 0.0


def extraction_strength(hits: Bool[np.ndarray, " _"], floor: bool = False) -> float:
    """1 - k / T, k being the shortest prefix from which every later token is the likeliest one.

    Args:
        hits: for each of T tokens whether it is the likeliest, given the true ones before it.
        floor: never less than 1 / T, as in the code of open-unlearning, whose loop ends at k = T - 1.

    Returns:
        In [0, 1]: the share of the text that comes back; 0 where the last token is missed, or there is none.

    Reference:
        Carlini et al. 2021, arXiv 2012.07805; Wang et al. 2024, arXiv 2406.09179.
    """
    if len(hits) == 0:
        return 0.0
    found = _leading(hits[::-1])
    return (max(found, 1) if floor else found) / len(hits)


def extraction_likelihood(
    text: Tokens, continuations: Sequence[Tokens], n: int = 10, duplicates: bool = False
) -> float:
    """EL_n: the share of n-grams that come back, meaned over all prefixes that leave room for one.

    EL_n = 1 / (T - n) sum over i = 1 ... T - n of |ngrams(continuation_i) in ngrams(x_i ...)| / |ngrams(x_i ...)|.

    Args:
        text: T tokens, more than n.
        continuations: T - n of them: what is decoded greedily after the first 1, 2, ..., T - n tokens, up to T tokens
            in all; one that ended early is shorter.
        n: tokens of an n-gram, at least 1.
        duplicates: count an n-gram each time that it comes, in what is decoded and in the text, as the published code
            does; one true n-gram decoded over and over then counts as if all were found.

    Returns:
        In [0, 1].

    Raises:
        InputError: the text has no more than n tokens, or there are not T - n continuations.

    Reference:
        Jang et al. 2022, arXiv 2210.01504.

    Differs:
        N-grams are counted once each unless `duplicates` is asked for, and the share is of the true n-grams, as in the
        published code; the paper divides by those decoded.
    """
    require(n >= 1, f"n is {n}; give at least 1.")
    room = len(text) - n
    require(room >= 1, f"a text has {len(text)} tokens, n is {n}; give longer texts, or a smaller n.")
    require(len(continuations) == room, f"there are {len(continuations)} continuations; give {room}, one a prefix.")
    return float(
        np.mean([
            ngram_share(continuation[: len(text) - i], text[i:], n, duplicates)
            for i, continuation in enumerate(continuations, start=1)
        ])
    )  # fmt: skip


def span_likelihood(span: Tokens, continuations: Sequence[Tokens], n: int = 10, duplicates: bool = False) -> float:
    """EL_n of a few sensitive tokens inside a text: the share of their n-grams that come back.

    Args:
        span: L tokens.
        continuations: what is decoded greedily after the text up to the span and 0, 1, ..., L - n tokens of it, up to
            the end of the span; one of them, after the text up to the span, where L < n.
        n, duplicates: as in `extraction_likelihood`.

    Returns:
        In [0, 1]; where the span is shorter than n tokens, 1 if all of it came and 0 if not.

    Raises:
        InputError: the span is empty, or there is another number of continuations.

    Reference:
        Chu et al. 2025, arXiv 2509.13755, with the special case of its code.
    """
    require(n >= 1 and len(span) >= 1, f"n is {n} and the span has {len(span)} tokens; give at least 1 of each.")
    wanted = max(len(span) - n + 1, 1)
    require(len(continuations) == wanted, f"there are {len(continuations)} continuations; give {wanted}.")
    if len(span) < n:
        return float(exact_match(continuations[0], span))
    return float(
        np.mean([
            ngram_share(continuation[: len(span) - i], span[i:], n, duplicates)
            for i, continuation in enumerate(continuations)
        ])
    )  # fmt: skip


def ngram_share(continuation: Tokens, truth: Tokens, n: int, duplicates: bool = False) -> float:
    """The share of the truth's n-grams that stand in a continuation; the truth has at least n tokens.

    Args:
        continuation, truth: token ids.
        n: tokens of an n-gram.
        duplicates: count an n-gram each time that it comes.
    """
    true, found = _ngrams(truth, n), _ngrams(continuation, n)
    known = set(true)
    came = sum(gram in known for gram in found) if duplicates else len(known & set(found))
    return came / len(true if duplicates else known)


def common_runs(tokens: Tokens, texts: Int[np.ndarray, "n t"]) -> Int[np.ndarray, " n"]:
    """The most tokens in a row that stand in one and in each of several texts of one length, wherever.

    >>> common_runs(np.array([1, 2, 3, 4]), np.array([[9, 2, 3, 9, 4], [5, 5, 5, 5, 5]])).tolist()
    [2, 0]
    """
    runs = np.zeros((len(texts), texts.shape[1] + 1), np.int64)
    longest = np.zeros(len(texts), np.int64)
    for token in tokens:
        # Each place goes on with the run that ends just before it.
        runs[:, 1:] = np.where(texts == token, runs[:, :-1] + 1, 0)
        longest = np.maximum(longest, runs.max(axis=1))
    return longest


def _leading(hits: Bool[np.ndarray, " _"]) -> int:
    return int(np.argmin(np.append(hits, False)))


def _ngrams(tokens: Tokens, n: int) -> list[tuple[int, ...]]:
    listed = tokens.tolist()
    return [tuple(listed[i : i + n]) for i in range(len(listed) - n + 1)]


def _stands_in(run: Tokens, tokens: Tokens) -> bool:
    return tuple(run.tolist()) in set(_ngrams(tokens, len(run)))


def longest_hits(found: Bool[np.ndarray, " t"]) -> int:
    """The most tokens in a row that were found.

    >>> longest_hits(np.array([True, False, True, True]))
    2
    """
    ends = np.flatnonzero(np.concatenate([[True], ~found, [True]]))
    return int(np.diff(ends).max()) - 1
