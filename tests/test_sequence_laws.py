"""Exact laws of sequences against enumeration of every sequence of tiny alphabets, and against plain loops."""

from collections import Counter
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theory.memorized_sequences import Memorized, PartlyMemorized, best_weight, losses, partly_memorizing
from theory.sequence_crossover import (
    capacity_bits,
    crossover_fraction,
    kept_bits,
    least_training_bits,
    memorizing_bits,
    switch,
)
from theory.sequences import HiddenMarkov, Markov, Templates, Uniform

V, T = 3, 5
EVERY = np.array(list(product(range(V), repeat=T)))


def _rows(rng, *shape, zeros=True):
    """Random laws, some with tokens that never come."""
    weights = rng.random(shape) ** 2 + 1e-3
    if zeros:
        weights *= rng.random(shape) < 0.7
        weights[..., 0] += weights.sum(axis=-1) == 0
    return weights / weights.sum(axis=-1, keepdims=True)


def _markov(rng):
    law = Markov(_rows(rng, V), _rows(rng, V, V))
    return law, lambda x: np.prod([law.initial[x[0]], *(law.transition[a, b] for a, b in pairwise(x))])


def _hidden_markov(rng):
    states = 2
    law = HiddenMarkov(_rows(rng, states), _rows(rng, states, states), _rows(rng, states, V))

    def probability(x):
        paths = product(range(states), repeat=len(x))
        moves = ((law.initial[p[0]], *(law.transition[a, b] for a, b in pairwise(p))) for p in paths)
        spoken = (
            tuple(law.emission[s, v] for s, v in zip(p, x, strict=True)) for p in product(range(2), repeat=len(x))
        )
        return sum(np.prod([*m, *e]) for m, e in zip(moves, spoken, strict=True))

    return law, probability


def _templates(rng):
    law = Templates(_rows(rng, 4), _rows(rng, 4, T, V))

    def probability(x):
        return sum(w * np.prod([slot[i, v] for i, v in enumerate(x)]) for w, slot in zip(*_parts(law), strict=True))

    return law, probability


def _parts(law):
    return law.weights, law.slots


def _memorized(rng):
    seen = rng.integers(V, size=(12, T))
    seen[3], seen[5] = seen[0], seen[0]
    return Memorized(seen, V), lambda x: np.mean([tuple(row) == tuple(x) for row in seen])


def _uniform(rng):
    return Uniform(V), lambda x: V ** -float(len(x))


def _partly_memorized(rng):
    (memorized, p), (law, q) = _memorized(rng), _hidden_markov(rng)
    weight = rng.choice([0.0, 0.3, 1.0])
    return PartlyMemorized(memorized, law, float(weight)), lambda x: weight * p(x) + (1 - weight) * q(x)


LAWS = {
    "uniform": _uniform,
    "markov": _markov,
    "hidden_markov": _hidden_markov,
    "templates": _templates,
    "memorized": _memorized,
    "partly_memorized": _partly_memorized,
}


@pytest.fixture(params=LAWS, scope="module")
def case(request):
    """A law, and the probability of each of all sequences by a plain loop."""
    draws = []
    for seed in range(3):
        law, probability = LAWS[request.param](np.random.default_rng(seed))
        draws.append((law, np.array([probability(tuple(x)) for x in EVERY.tolist()])))
    return draws


def test_code_lengths_are_those_of_enumeration_and_sum_to_one(case):
    for law, truth in case:
        np.testing.assert_allclose(truth.sum(), 1, atol=1e-12)
        np.testing.assert_allclose(np.exp2(-law.bits(EVERY)), truth, atol=1e-12)
        possible = truth > 0
        np.testing.assert_allclose(law.bits(EVERY)[possible], -np.log2(truth[possible]), atol=1e-10)
        assert np.all(np.isposinf(law.bits(EVERY)[~possible]))


def test_next_tokens_are_conditional_probabilities_by_enumeration(case):
    for law, truth in case:
        mass = Counter()
        for x, p in zip(EVERY.tolist(), truth, strict=True):
            mass.update({tuple(x[:t]): p for t in range(T + 1)})

        def conditional(prefix, v, mass=mass):
            return mass[(*prefix, v)] / mass[prefix] if mass[prefix] > 1e-15 else 0.0

        expected = [[[conditional(tuple(x[:t]), v) for v in range(V)] for t in range(T)] for x in EVERY.tolist()]
        np.testing.assert_allclose(law.next_tokens(EVERY), expected, atol=1e-10)


def test_token_log_probs_are_entries_of_the_next_tokens(case):
    for law, _ in case:
        taken = np.take_along_axis(law.next_tokens(EVERY), EVERY[..., None], axis=2)[..., 0]
        np.testing.assert_allclose(np.exp(law.log_probs(EVERY)), taken, atol=1e-12)


def test_losses_are_brute_force_sums(case):
    rng = np.random.default_rng(7)
    for law, truth in case:
        possible = np.flatnonzero(truth > 0)
        train, fresh = rng.choice(possible, 20), rng.choice(possible, 30)
        found = losses(law, EVERY[train], EVERY[fresh])
        np.testing.assert_allclose(found, [-np.log2(truth[train]).mean(), -np.log2(truth[fresh]).mean()], atol=1e-10)


def test_shorter_and_empty_sequences_are_prefixes(case):
    for law, _ in case:
        np.testing.assert_array_equal(law.log_probs(EVERY[:, :2]), law.log_probs(EVERY)[:, :2])
        np.testing.assert_array_equal(law.next_tokens(EVERY[:, :1]), law.next_tokens(EVERY)[:, :1])
        assert law.bits(EVERY[:4, :0]).tolist() == [0.0] * 4
        assert law.next_tokens(EVERY[:4, :0]).shape == (4, 0, V)
        assert law.next_tokens(EVERY[:0]).shape == (0, T, V)


def test_tokens_outside_the_vocabulary_are_refused(case):
    for bad in (np.array([[0, V]]), np.array([[-1, 0]])):
        for law, _ in case:
            with pytest.raises(ValueError, match="vocabulary has 3"):
                law.log_probs(bad)
            with pytest.raises(ValueError, match="vocabulary has 3"):
                law.next_tokens(bad)


def test_laws_that_end_refuse_longer_sequences():
    rng = np.random.default_rng(0)
    for law in (_templates(rng)[0], _memorized(rng)[0]):
        with pytest.raises(ValueError, match=r"6 tokens, but the law ends after 5"):
            law.bits(np.zeros((1, T + 1), int))


def test_entropy_of_a_chain_is_the_mean_code_length():
    law, probability = _markov(np.random.default_rng(4))
    truth = np.array([probability(x) for x in EVERY.tolist()])
    assert law.entropy(T) == pytest.approx(float(-truth[truth > 0] @ np.log2(truth[truth > 0])), abs=1e-10)
    assert law.entropy(0) == 0


def test_memorizing_costs_the_entropy_of_the_training_set():
    rng = np.random.default_rng(1)
    different = EVERY[rng.permutation(len(EVERY))[:64]]
    found = losses(Memorized(different, V), different, EVERY)
    assert found.training == pytest.approx(6, abs=1e-10)
    assert found.fresh == np.inf


def test_long_sequences_do_not_underflow():
    rng = np.random.default_rng(2)
    seen = rng.integers(4096, size=(8, 200))
    law = partly_memorizing(seen, 4, Uniform(4096))
    assert law.weight == pytest.approx(0.5)
    np.testing.assert_allclose(law.bits(seen), [3] * 4 + [2401] * 4, atol=1e-8)


def test_partly_memorizing_takes_the_first_and_the_weight_that_no_other_beats():
    rng = np.random.default_rng(3)
    law = _markov(rng)[0]
    drawn = np.array([x for x, b in zip(EVERY, law.bits(EVERY), strict=True) if b < np.inf])
    seen = drawn[rng.integers(len(drawn), size=20)]
    for size in (1, 7, 20):
        partly = partly_memorizing(seen, size, law)
        np.testing.assert_array_equal(partly.memorized.sequences, seen[:size])
        best = losses(partly, seen, seen).training
        others = np.clip([0, 0.2, 0.4, 0.6, 0.8, partly.weight - 1e-3, partly.weight + 1e-3], 0, 1 - 1e-9)
        tried = [losses(PartlyMemorized(partly.memorized, law, float(w)), seen, seen).training for w in others]
        assert best <= min(tried) + 1e-12
    for size in (0, 21):
        with pytest.raises(ValueError, match="between 1 and the 20"):
            partly_memorizing(seen, size, law)


@settings(max_examples=50)
@given(n=st.integers(2, 30), share=st.floats(0.01, 1), bits=st.floats(6, 900))
def test_the_best_weight_has_the_closed_form_of_equal_code_lengths(n, share, bits):
    m = max(1, round(share * n))
    found = best_weight(np.array([np.log2(m)] * m + [np.inf] * (n - m)), np.full(n, bits))
    p = 2.0**-bits
    gain = 1 / m - p  # of a memorized sequence
    assert found == pytest.approx(np.clip((m * gain - (n - m) * p) / (n * gain), 0, 1), abs=1e-9)


def test_a_weight_is_refused_where_no_law_draws_a_sequence():
    for first, second in (([np.inf], [np.inf]), ([np.nan], [1.0]), ([1.0, 2.0], [3.0, np.nan])):
        with pytest.raises(ValueError, match="neither law can draw"):
            best_weight(np.array(first), np.array(second))
    assert best_weight(np.array([np.inf]), np.array([1.0])) == 0
    assert best_weight(np.array([1.0]), np.array([np.inf])) == 1


def test_bad_laws_are_refused():
    half = np.array([0.5, 0.5])
    for bad in (np.array([0.5, 0.6]), np.array([1.5, -0.5]), np.array([np.nan, 1.0])):
        with pytest.raises(ValueError, match="initial holds a row that is no law"):
            Markov(bad, np.stack([half, half]))
    with pytest.raises(ValueError, match="at least one"):
        Memorized(np.zeros((0, 3), int), 2)
    with pytest.raises(ValueError, match="one vocabulary"):
        PartlyMemorized(Memorized(np.array([[0, 1]]), 2), Uniform(3), 0.5)
    with pytest.raises(ValueError, match="between 0 and 1"):
        PartlyMemorized(Memorized(np.array([[0, 1]]), 2), Uniform(2), 1.5)


# The crossover.


def test_memorizing_bits_are_the_losses_of_the_partly_memorizing_law():
    rng = np.random.default_rng(5)
    seen, law = rng.integers(64, size=(32, 20)), Uniform(64)
    exact = [losses(partly_memorizing(seen, m, law), seen, seen).training for m in range(1, 33)]
    np.testing.assert_allclose(memorizing_bits(law.bits(seen))[1:], exact, atol=1e-9)
    assert memorizing_bits(law.bits(seen))[0] == pytest.approx(120)


def test_the_crossover_fraction_is_where_the_losses_of_the_two_cross():
    rng = np.random.default_rng(6)
    raw, code = np.full(50, 120.0), rng.uniform(20, 60, 50)
    m = crossover_fraction(raw, code) * 50
    curve = memorizing_bits(raw)
    assert np.interp(m, np.arange(51), curve) == pytest.approx(code.mean(), abs=1e-9)
    assert curve[int(m)] > code.mean() > curve[int(m) + 1]
    # As much as the law saves, but for log2 N and the weight.
    assert m / 50 == pytest.approx(1 - code.mean() / 120, abs=0.06)


def test_the_crossover_fraction_is_bounded():
    assert crossover_fraction(np.full(8, 20.0), np.full(8, 20.0)) < 0.3
    assert crossover_fraction(np.full(8, 20.0), np.full(8, 30.0)) == 0
    assert crossover_fraction(np.full(8, 20.0), np.full(8, 1.0)) == 1
    for bad in (np.array([]), np.array([np.nan]), np.array([np.inf]), np.array([-1.0])):
        with pytest.raises(ValueError, match="finite bits"):
            crossover_fraction(bad, bad)


def test_every_bit_of_capacity_takes_one_bit_off_the_loss_until_all_is_memorized():
    bits = np.array([30.0, 40.0, 2.0, 50.0])
    np.testing.assert_array_equal(kept_bits(bits), [28, 38, 0, 48])
    for capacity in (0.0, 10.0, 114.0):
        assert least_training_bits(bits, capacity) == pytest.approx(bits.mean() - capacity / 4)
    assert least_training_bits(bits, 1e9) == pytest.approx(2)
    for bad, capacity in ((np.array([]), 1.0), (np.array([-1.0]), 1.0), (np.array([1.0]), np.nan)):
        with pytest.raises(ValueError, match="bits"):
            least_training_bits(bad, capacity)


@pytest.mark.parametrize(("capacity", "law_bits"), [(3000.0, 0.0), (3000.0, 500.0), (3000.0, 2900.0), (200.0, 190.0)])
def test_the_switch_is_where_the_cheaper_of_two_learners_changes(capacity, law_bits):
    raw, code = 96.0, 60.0

    def lead(n):
        """How much less the learner of the law pays on n sequences."""
        return least_training_bits(np.full(n, raw), capacity) - least_training_bits(
            np.full(n, code), capacity - law_bits
        )

    found = switch(capacity, raw, code, law_bits)
    leads = np.array([lead(n) for n in range(1, 200)])
    first = np.flatnonzero(leads > 1e-9)[0] + 1
    assert first - 1 <= found.size < first + 1e-9
    assert np.all(leads[: first - 1] <= 1e-9)
    assert np.all(leads[first - 1 :] > 0)


def test_the_partly_memorizing_law_reaches_the_least_loss_but_for_the_weight():
    rng = np.random.default_rng(8)
    domain = Markov(np.full(16, 1 / 16), _rows(rng, 16, 16))
    chains = rng.integers(16, size=(64, 1))
    for _ in range(29):
        following = [rng.choice(16, p=domain.transition[last]) for last in chains[:, -1]]
        chains = np.concatenate([chains, np.array(following)[:, None]], axis=1)
    for law in (domain, Uniform(16)):
        bits = law.bits(chains)
        for size in (1, 20, 45, 64):
            least = least_training_bits(bits, kept_bits(bits)[:size].sum())
            weight = -(1 - size / 64) * np.log2(1 - size / 64) if size < 64 else 0
            exact = losses(partly_memorizing(chains, size, law), chains, chains).training
            assert exact == pytest.approx(least + weight, abs=1e-6)


def test_the_switch_grows_with_the_capacity_and_with_the_cost_of_the_law():
    sizes = [switch(c, 384.0, 130.0).size for c in capacity_bits(np.array([1e3, 1e4, 1e5])).tolist()]
    assert sizes == sorted(sizes)
    assert sizes[2] / sizes[1] == pytest.approx(10, rel=0.05)
    full = switch(36000.0, 384.0, 130.0).full
    assert full * (384 - np.log2(full)) == pytest.approx(36000)
    assert switch(36000.0, 384.0, 130.0, 36000.0).paid == pytest.approx(36000 / 254)
    assert switch(1e9, 10.0, 3.0).full == np.inf


@pytest.mark.parametrize(
    "bad", [(10.0, 5.0, 5.0, 0.0), (10.0, 5.0, 6.0, 0.0), (10.0, np.nan, 1.0, 0.0), (10.0, 5.0, 1.0, 11.0)]
)
def test_a_switch_that_never_comes_is_refused(bad):
    with pytest.raises(ValueError, match="law"):
        switch(*bad)


def test_a_capacity_is_never_negative():
    for bad in (-1.0, np.nan):
        with pytest.raises(ValueError, match="never negative"):
            capacity_bits(bad)
