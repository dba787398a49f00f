"""Models that are filled with texts: what they hold, where they go over to a law, and what was predicted of that."""

import math
from dataclasses import replace

import numpy as np
import pytest

from difflab.audits.capacity_crossovers import FOUND, HALF_WAY, MEASURED, OTHERS, PEAK, crossover_rows, predictions
from difflab.audits.capacity_rows import capacity_rows, chance_rows, grouped, held_rows, longer_rows
from difflab.audits.filled_models import RANDOM, Cell, Filling, Held, corpus_of, filled
from difflab.errors import InputError
from difflab.runs.resuming import InMemory
from difflab.runs.rows import select
from experiments.language.text_capacity import SMOKE, run
from synthetic.capacity import most_bits
from synthetic.capacity_crossover import EXACT, RAW, half_way, learned, log_errors, of_the_others, peak, predicted
from synthetic.data.markov_text import MarkovText
from theory.sequence_crossover import filled as sequences_that_fill

FILLING = Filling(vocabulary=8, length=6, batch=8, rate=3e-2, warmup=5, unseen=5)


def test_a_small_set_is_held_wholly_and_what_was_never_seen_is_not():
    cell, never = Cell(8, RANDOM, 8, 300, 0), Cell(8, RANDOM, 8, 0, 0)
    found = filled(FILLING, [cell, never], InMemory(), 1)
    one = found[cell]
    np.testing.assert_array_equal(one.seen_code, np.full(8, 18.0))
    # At best each costs which of the eight it is.
    assert 8 * 18 - one.seen.sum() < 8 * (18 - 3) + 1e-3
    assert one.bits == pytest.approx(np.maximum(18 - one.seen, 0).sum(), abs=1e-4)
    assert one.bits > 0.8 * most_bits(one.seen_code)
    assert one.unseen_share == 0 and len(one.unseen) == 5
    assert found[never].bits < 0.05 * one.bits


def test_costs_are_those_of_a_loop_over_transformers_logits():
    cell = Cell(4, 2, 6, 0, 3)
    (one,) = filled(FILLING, [cell], InMemory(), 1).values()
    corpus, model = corpus_of(FILLING, cell), FILLING.model(4, 3)
    import torch

    for tokens, cost in zip(corpus.tokens, np.append(one.seen, one.unseen), strict=True):
        ids = torch.tensor([[FILLING.vocabulary, *tokens[:-1]]])
        logits = model.model(input_ids=ids).logits[0].double().log_softmax(-1)
        bits = -sum(float(logits[t, token]) for t, token in enumerate(tokens)) / math.log(2)
        assert cost == pytest.approx(bits, abs=1e-4)
    np.testing.assert_allclose(np.append(one.seen_code, one.unseen_code), corpus.bits)


def test_what_is_kept_is_not_trained_again_and_seeds_differ(monkeypatch):
    cells = [Cell(4, 2, 6, 2, seed) for seed in (0, 1)]
    memory = InMemory()
    first = filled(FILLING, cells, memory, 1)
    assert not np.array_equal(first[cells[0]].seen, first[cells[1]].seen)
    monkeypatch.setattr("difflab.audits.filled_models._held", lambda *given: pytest.fail("trained again"))
    again = filled(FILLING, cells, memory, 1)
    assert all(np.array_equal(first[cell].seen, again[cell].seen) for cell in cells)


def test_weights_are_counted_once_and_sets_hold_so_many_bits_for_each():
    # Embeddings of 9, two norms and a last one; attention 4 x 8 x 8, and three matrices of 8 x 32.
    assert FILLING.parameters(8) == 9 * 8 + 3 * 8 + 4 * 64 + 3 * 8 * 32
    assert FILLING.texts(8, 1.5) == round(1.5 * FILLING.parameters(8) / 18)
    with pytest.raises(InputError, match="even number"):
        FILLING.model(6)


def test_the_peak_is_that_of_a_parabola_in_the_logarithm():
    sizes, top = np.array([10, 30, 80, 400]), 55.0
    held = 7 - 2 * (np.log(sizes) - np.log(top)) ** 2
    assert peak(sizes, held) == pytest.approx(top)
    assert math.isnan(peak(sizes, np.array([3.0, 2.0, 1.0, 0.0]))) and math.isnan(peak(sizes, np.arange(4.0)))
    assert math.isnan(peak(sizes, np.ones(4)))


def test_half_way_is_linear_in_the_logarithm_and_is_only_told_between_sizes():
    assert half_way(np.array([10, 40, 160]), np.array([0.0, 0.25, 0.75])) == pytest.approx(80)
    assert math.isnan(half_way(np.array([10, 40]), np.array([0.5, 0.7])))
    assert math.isnan(half_way(np.array([10, 40]), np.array([0.1, 0.49])))
    assert learned(80.0, 80.0, 20.0) == 0 == learned(200.0, 80.0, 20.0)
    assert learned(50.0, 80.0, 20.0) == 0.5 and learned(19.0, 80.0, 20.0) == 1


def test_predictions_solve_what_they_say():
    domain = MarkovText(32, 16, 4)
    found = predicted(7000.0, domain)
    assert found[RAW] * (80 - math.log2(found[RAW])) == pytest.approx(7000)
    left = 7000 - domain.table_bits
    assert found[EXACT] * (35 - math.log2(found[EXACT])) == pytest.approx(left)
    assert all(math.isnan(one) for one in predicted(domain.table_bits - 1, domain).values())
    assert sequences_that_fill(0.0, 35.0) == 0
    for bad in ((-1.0, 5.0), (5.0, -1.0), (math.nan, 5.0)):
        with pytest.raises(ValueError, match="neither is negative"):
            sequences_that_fill(*bad)


def test_errors_are_logarithms_and_the_others_know_nothing_of_a_setting():
    found = np.array([[10.0, 20.0, 40.0]])
    assert log_errors(found, 2 * found) == pytest.approx([math.log(2)])
    assert log_errors(found, np.array([[10.0, 10.0, 40.0]])) == pytest.approx([math.log(2) / 3])
    np.testing.assert_allclose(of_the_others(found, np.full(3, 7)), [[math.sqrt(800), 20, math.sqrt(200)]])
    # What grows with the parameters alone is said without an error.
    np.testing.assert_allclose(of_the_others(found, np.array([1, 2, 4])), found)


def _held(seen, code, unseen, unseen_code=None):
    n = len(seen)
    wide = np.full(4, float(unseen))
    return Held(np.array(seen, float), np.full(n, float(code)), wide, np.full(4, float(unseen_code or code)))


def _random():
    """Of widths 4 and 8, two seeds each: sets of 2 and 4 strings of 18 bits."""
    cells = {}
    for width, kept in ((4, 6.0), (8, 12.0)):
        for seed in range(2):
            cells[Cell(width, RANDOM, 2, 9, seed)] = _held([18 - kept - seed] * 2, 18, 18)
            cells[Cell(width, RANDOM, 4, 9, seed)] = _held([18 - kept / 2] * 4, 18, 17)
    return cells


def test_rows_of_capacity_are_means_over_seeds():
    cells = _random()
    groups = grouped(cells | {Cell(4, RANDOM, 2, 18, seed): _held([9.0] * 2, 18, 18) for seed in range(2)}, 9)
    rows = list(capacity_rows(FILLING, groups)) + list(held_rows(FILLING, groups))
    rows += list(chance_rows(groups, "trained"))
    weights = FILLING.parameters(4)
    # Seed 0 holds 12 of both sets, seed 1 holds 14 of the smaller one.
    assert select(rows, "capacity_ratio", width=4)[0].value == pytest.approx(13 / weights)
    assert select(rows, "larger_ratio", width=4)[0].value == pytest.approx((1 + 12 / 14) / 2)
    assert select(rows, "kept_fraction", width=4, texts=2)[0].value == pytest.approx(13 / (2 * 17))
    assert select(rows, "held_ratio", width=8, texts=4)[0].value == pytest.approx(24 / FILLING.parameters(8))
    assert select(rows, "chance_fraction", width=4, texts=2)[0].value == 0
    assert select(rows, "chance_fraction", width=4, texts=4)[0].value == pytest.approx(1 / 18)
    assert select(rows, "text_loss", width=4, texts=4, of="unseen")[0].value == 17
    assert not select(rows, "learned_fraction")
    longer = {(4, RANDOM, 2): [_held([9.0] * 2, 18, 18)] * 2}
    (row,) = longer_rows(groups, longer)
    assert row.value == pytest.approx((18 / 12 + 18 / 14) / 2)
    nothing = {(4, RANDOM, 2): [_held([18.0] * 2, 18, 18)] * 2}
    assert not list(longer_rows(nothing, longer))


def test_rows_of_crossovers_compare_what_is_found_with_what_was_said():
    filling = replace(FILLING, vocabulary=32, length=16)
    random = grouped({
        Cell(width, RANDOM, n, 9, seed): _held([40.0] * n, 80, 80)
        for width in (8, 16) for n in (20 * width, 10 * width) for seed in range(2)
    }, 9)  # fmt: skip
    settings = [(8, 4), (16, 4), (16, 8)]
    said = predictions(filling, settings, random)
    np.testing.assert_allclose(said[(8, 4), RAW, MEASURED], predicted(6400.0, filling.domain(4))[RAW])
    lawful = {}
    for (width, branches), top in zip(settings, (200, 400, 200), strict=True):
        for n, share in ((top // 2, 0.25), (top, 0.5), (2 * top, 0.125)):
            code = filling.domain(branches).entropy
            unseen = {0.25: 80.0, 0.5: 80 - 0.4 * (80 - code), 0.125: 80 - 0.6 * (80 - code)}[share]
            lawful[width, branches, n] = [_held([code * (1 - share)] * n, code, unseen)] * 2
    rows = list(crossover_rows(filling, settings, lawful, said))
    tops = [row.value for row in select(rows, "crossover_size", by=FOUND, point=PEAK)]
    assert len(tops) == 3 and tops[0] == pytest.approx(tops[2]) and tops[1] == pytest.approx(2 * tops[0])
    halves = [row.value for row in select(rows, "crossover_size", by=FOUND, point=HALF_WAY)]
    np.testing.assert_allclose(halves, [200 * 2**0.5, 400 * 2**0.5, 200 * 2**0.5])
    (row,) = select(rows, "log_error_distance", point=PEAK, prediction=EXACT, capacity=MEASURED)
    expected = np.mean(
        [abs(math.log(said[at, EXACT, MEASURED][0] / top)) for at, top in zip(settings, tops, strict=True)]
    )
    assert row.value == pytest.approx(expected)
    (nothing,) = select(rows, "log_error_distance", point=PEAK, prediction=OTHERS)
    each = [top / filling.parameters(width) for (width, _), top in zip(settings, tops, strict=True)]
    rest = [math.sqrt(each[1] * each[2]), math.sqrt(each[0] * each[2]), math.sqrt(each[0] * each[1])]
    by_hand = np.mean([abs(math.log(one / other)) for one, other in zip(each, rest, strict=True)])
    assert nothing.value == pytest.approx(by_hand) and by_hand > 0.1
    (better,) = select(rows, "better_difference", point=PEAK, prediction=EXACT, capacity=MEASURED)
    assert better.value == pytest.approx(expected - nothing.value)
    (moved,) = select(rows, "log_size_difference")
    assert moved.value == pytest.approx(-math.log(2)) and moved.setting["branches"] == 8
    # One set without a top: no number of that setting, and no mean error.
    lawful[8, 4, 400] = [_held([1.0] * 400, 35, 40)] * 2
    fewer = list(crossover_rows(filling, settings, lawful, said))
    assert len(select(fewer, "crossover_size", point=PEAK)) == 2
    assert not select(fewer, "log_error_distance", point=PEAK) and select(fewer, "log_error_distance", point=HALF_WAY)


def test_loads_that_are_the_same_number_of_texts_are_refused_before_anything_is_trained(monkeypatch):
    monkeypatch.setattr("difflab.audits.filled_models._held", lambda *given: pytest.fail("trained"))
    for loads in ({"random_loads": (0.5, 0.5001)}, {"law_loads": (0.5, 0.5001, 2.0)}):
        with pytest.raises(InputError, match="give loads further apart"):
            next(run(replace(SMOKE, **loads), InMemory()))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"widths": (8,)}, "at least 2, increasing"),
        ({"widths": (8, 10)}, "each a multiple of 4"),
        ({"random_loads": (1.0,)}, "random_loads is"),
        ({"law_loads": (1.0, 2.0, 2.0)}, "law_loads is"),
        ({"branches": 4}, "give different ones"),
        ({"other_branches": (8,)}, "less than 8"),
        ({"seeds": 1}, "seeds"),
        ({"filling": SMOKE.filling}, None),
    ],
)
def test_configs_that_make_no_sense_are_refused(change, said):
    if said is None:
        assert replace(SMOKE, **change) == SMOKE
        return
    with pytest.raises(InputError, match=said):
        replace(SMOKE, **change)
    with pytest.raises(InputError, match="rate is"):
        Filling(rate=0.0)
