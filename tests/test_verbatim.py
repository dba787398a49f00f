"""What came back of a text: every measure against plain loops over padded rows, on 200 random cases each."""

import math
from fractions import Fraction

import numpy as np
import pytest
from conformance import says_one_sentence

from difflab.statistics.discoverable import extraction_probability, log_draws_needed, sequence_log_probability
from difflab.statistics.verbatim import (
    cut,
    edit_share,
    exact_match,
    extraction_likelihood,
    extraction_strength,
    memorization_accuracy,
    verbatim_length,
    verbatim_run,
)

PAD = 99
CASES = range(200)


def ids(*tokens):
    return np.array(tokens, dtype=np.int64)


def padded(random, tokens):
    """The tokens with padding on one side, or on both."""
    left, right = random.integers(0, 4, size=2)
    return [PAD] * int(left) + [int(token) for token in tokens] + [PAD] * int(right)


def unpadded(row):
    return np.array([token for token in row if token != PAD], dtype=np.int64)


def pair(seed):
    """A truth and a continuation that agrees with it here and there: of few tokens, so that many are alike."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 3, size=random.choice([0, 1, 2, 7, 12]))
    kind = random.integers(4)
    written = [truth, truth[: random.integers(len(truth) + 1)], np.append(truth, 1), random.integers(0, 3, 9)][kind]
    if len(written) and random.random() < 0.5:
        written = np.delete(written, random.integers(len(written)))
    return padded(random, truth), padded(random, written)


def plain(row):
    found = []
    for token in row:
        if token != PAD:
            found.append(token)
    return found


def plain_common(a, b):
    n = 0
    while n < len(a) and n < len(b) and a[n] == b[n]:
        n += 1
    return n


def plain_distance(a, b):
    """The whole table of Wagner and Fischer."""
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i in range(len(a) + 1):
        for j in range(len(b) + 1):
            if i == 0 or j == 0:
                table[i][j] = i + j
            else:
                replaced = table[i - 1][j - 1] + (a[i - 1] != b[j - 1])
                table[i][j] = min(replaced, table[i - 1][j] + 1, table[i][j - 1] + 1)
    return table[-1][-1]


@pytest.mark.parametrize("seed", CASES)
def test_a_continuation_is_compared_with_the_truth(seed):
    truth_row, written_row = pair(seed)
    truth, written = plain(truth_row), plain(written_row)
    given = (unpadded(written_row), unpadded(truth_row))
    assert verbatim_length(*given) == plain_common(written, truth)
    assert exact_match(*given) == (len(truth) > 0 and written[: len(truth)] == truth)
    wanted = plain_distance(written[: len(truth)], truth) / len(truth) if truth else 1.0
    assert edit_share(*given) == pytest.approx(wanted, abs=1e-12)


def test_nothing_is_extracted_of_an_empty_truth():
    nothing = ids()
    assert not exact_match(nothing, nothing) and not exact_match(ids(1), nothing)
    assert edit_share(nothing, nothing) == edit_share(ids(1, 2), nothing) == 1.0
    assert verbatim_length(ids(1), nothing) == verbatim_run(ids(1), nothing, np.zeros(0, bool)) == 0
    assert memorization_accuracy(np.zeros(0, bool)) == extraction_strength(np.zeros(0, bool)) == 0.0
    assert memorization_accuracy(np.ones(1, bool), last_left_out=True) == 0.0
    assert extraction_strength(np.zeros(0, bool), floor=True) == 0.0


def test_five_edits_of_fifty_are_a_tenth():
    truth = np.arange(50)
    assert edit_share(np.where(truth < 5, 77, truth), truth) <= 0.1 < edit_share(np.where(truth < 6, 77, truth), truth)
    assert edit_share(truth[1:], truth) == edit_share(np.append(77, truth), truth) / 2 == 1 / 50


def _hits(seed):
    random = np.random.default_rng(seed)
    hits = random.random(random.choice([1, 2, 5, 20])) < random.choice([0.0, 0.3, 0.9, 1.0])
    return hits, [bool(hit) for hit in hits]


@pytest.mark.parametrize("seed", CASES)
def test_accuracy_and_strength_are_read_off_the_hits(seed):
    hits, listed = _hits(seed)
    for left_out in (False, True):
        counted = listed[: len(listed) - left_out]
        wanted = sum(counted) / len(counted) if counted else 0.0
        assert memorization_accuracy(hits, left_out) == pytest.approx(wanted, abs=1e-12)
    k = len(listed)
    while k > 0 and listed[k - 1]:
        k -= 1
    assert extraction_strength(hits) == pytest.approx(1 - k / len(listed), abs=1e-12)
    # The loop of the code that has a floor.
    for start in range(len(listed)):
        if all(listed[start:]):
            break
    assert extraction_strength(hits, floor=True) == pytest.approx(1 - start / len(listed), abs=1e-12)


@pytest.mark.parametrize("seed", CASES)
def test_a_run_is_the_hits_before_the_first_miss_unless_it_is_copied(seed):
    random = np.random.default_rng(seed)
    prefix, truth = random.integers(0, 2, 12), random.integers(0, 2, random.choice([0, 1, 6, 9]))
    hits = random.random(len(truth)) < 0.9
    copied = [None, 0, 2, 5][random.integers(4)]
    run = 0
    for hit in hits:
        if not hit:
            break
        run += 1
    if copied is not None and run > copied:
        for start in range(len(prefix) - run + 1):
            if all(prefix[start + j] == truth[j] for j in range(run)):
                run = 0
                break
    assert verbatim_run(prefix, truth, hits, copied) == run


@pytest.mark.parametrize("seed", CASES)
@pytest.mark.parametrize("duplicates", [False, True])
def test_el_counts_the_n_grams_of_every_prefix(seed, duplicates):
    random = np.random.default_rng(seed)
    n = int(random.integers(1, 5))
    row = padded(random, random.integers(0, 3, n + random.choice([1, 2, 9])))
    text = plain(row)
    rows = []
    for i in range(1, len(text) - n + 1):
        written = text[i:] if random.random() < 0.4 else random.integers(0, 3, len(text) - i).tolist()
        rows.append(padded(random, written[: random.integers(len(written) + 1)]))
    total = 0.0
    for i, one in enumerate(rows, start=1):
        written, true = plain(one), text[i:]
        known, grams, found = [], 0, 0
        for j in range(len(true) - n + 1):
            if duplicates or true[j : j + n] not in known:
                grams += 1
            known.append(true[j : j + n])
        seen = []
        for j in range(len(written) - n + 1):
            gram = written[j : j + n]
            if gram in known and (duplicates or gram not in seen):
                found += 1
            seen.append(gram)
        total += found / grams
    given = [unpadded(one) for one in rows]
    assert extraction_likelihood(unpadded(row), given, n, duplicates) == pytest.approx(total / len(rows), abs=1e-12)


def test_el_is_1_of_a_text_that_comes_back_and_a_stutter_counts_once():
    text = np.arange(12)
    whole = [text[i:] for i in range(1, 11)]
    assert extraction_likelihood(text, whole, 2) == extraction_likelihood(text, whole, 2, duplicates=True) == 1.0
    stutter = [np.full(12 - i, 7) for i in range(1, 12)]
    assert extraction_likelihood(text, stutter, 1, duplicates=True) > 0.5 > extraction_likelihood(text, stutter, 1)


def test_a_text_is_cut_where_it_is_long_enough():
    prefix, suffix = cut(np.arange(9), 4, 3)
    assert prefix.tolist() == [0, 1, 2, 3] and suffix.tolist() == [4, 5, 6]
    assert [len(part) for part in cut(np.arange(4), 4, 0)] == [4, 0]
    assert "6 tokens, 4 + 3" in says_one_sentence(lambda: cut(np.arange(6), 4, 3))
    assert "n is 0" in says_one_sentence(lambda: extraction_likelihood(np.arange(3), [], 0))
    assert "3 tokens, n is 3" in says_one_sentence(lambda: extraction_likelihood(np.arange(3), [], 3))
    assert "give 2" in says_one_sentence(lambda: extraction_likelihood(np.arange(3), [ids(1)], 1))


def _log_p(seed):
    """ln p_z of a suffix of few or many tokens, one of which may be impossible, or all certain."""
    random = np.random.default_rng(seed)
    tokens = np.log(random.random(random.choice([1, 3, 50, 400])))
    kind = random.integers(6)
    if kind == 0:
        tokens[random.integers(len(tokens))] = -np.inf
    if kind == 1:
        tokens[:] = 0.0
    return tokens * random.choice([1e-6, 0.01, 1.0])


@pytest.mark.parametrize("seed", CASES)
def test_draws_are_counted_as_exact_fractions_say(seed):
    tokens, random = _log_p(seed), np.random.default_rng(seed + 1000)
    log_p, draws, p = sequence_log_probability(tokens), int(random.integers(1, 1000)), float(random.uniform(0.01, 0.99))
    assert log_p == pytest.approx(math.fsum(tokens), abs=1e-9) or math.isinf(log_p)
    given = np.array([log_p])
    p_z = Fraction(math.exp(log_p))
    wanted = 1 - (1 - p_z) ** draws if p_z.denominator < 2**200 else Fraction(0)
    assert extraction_probability(given, draws)[0] == pytest.approx(float(wanted), rel=1e-6, abs=1e-12)
    told = log_draws_needed(given, p)[0]
    if p_z == 1:
        assert told == 0
    elif math.isinf(log_p):
        assert told == math.inf
    elif log_p < -30:
        assert told == pytest.approx(math.log(-math.log(1 - p)) - log_p, rel=1e-9)
    else:
        rate = -math.log1p(-math.exp(log_p)) if log_p < -1e-3 else -math.log(-math.expm1(log_p))
        assert told == pytest.approx(max(0.0, math.log(-math.log(1 - p)) - math.log(rate)), abs=1e-6)
        assert extraction_probability(given, math.exp(told))[0] >= p * (1 - 1e-9)


def test_p_z_may_be_0_or_1_or_too_small_for_a_float():
    log_p = np.array([0.0, -np.inf, -5000.0, -1e-12])
    assert extraction_probability(log_p, 10**6).tolist() == [1.0, 0.0, 0.0, 1.0]
    # 1 - (1 - p)^n itself is 0 here in floats.
    assert extraction_probability(np.array([-40.0]), 100)[0] == pytest.approx(100 * math.exp(-40), rel=1e-9)
    needed = log_draws_needed(log_p, 0.5)
    assert needed[0] == needed[3] == 0 and needed[1] == math.inf
    assert needed[2] == pytest.approx(5000 + math.log(math.log(2)), abs=1e-9)
    # Tossing a coin: as surely as 1/2 once, as 3/4 twice.
    coin = np.array([math.log(0.5)])
    assert np.exp(log_draws_needed(coin, 0.75))[0] == pytest.approx(2) and extraction_probability(coin, 2)[0] == 0.75
    # Where one form hands over to the other.
    np.testing.assert_allclose(np.diff(log_draws_needed(np.array([-29.999999, -30.000001]), 0.5)), 2e-6, rtol=1e-6)


def test_a_suffix_is_summed_in_float64():
    tokens = np.full(4000, -0.1, np.float32)
    assert sequence_log_probability(tokens) == pytest.approx(4000 * float(np.float32(-0.1)), abs=1e-9)
    assert sequence_log_probability(np.zeros(0)) == 0.0


def test_numbers_that_are_no_log_probabilities():
    some = np.array([-1.0])
    assert "above 0" in says_one_sentence(lambda: extraction_probability(-some, 3))
    assert "no number" in says_one_sentence(lambda: log_draws_needed(some * np.nan, 0.5))
    assert "draws is 0" in says_one_sentence(lambda: extraction_probability(some, 0))
    for p in (0.0, 1.0, math.nan):
        assert "probability is" in says_one_sentence(lambda p=p: log_draws_needed(some, p))
