"""Every extraction goes through one suite; then each against plain loops over a decoder of one token at a time."""

import math
from dataclasses import is_dataclass
from fractions import Fraction

import numpy as np
import pytest
from conformance import assert_same_state, changed, method, says_one_sentence
from memorizers import CONTEXT, VOCABULARY, memorizer, padded_log_probs, shared_parts, state, texts, untrained

from difflab.autoregressive import extracted as extracted_module
from difflab.autoregressive.extracted import Extracted, greedy
from difflab.autoregressive.extractions.approximate import Approximate, approximate
from difflab.autoregressive.extractions.approximate import from_continuations as approximately
from difflab.autoregressive.extractions.discoverable import Discoverable, discoverable
from difflab.autoregressive.extractions.exact import Exact, exact
from difflab.autoregressive.extractions.exact import from_continuations as exactly
from difflab.autoregressive.extractions.extraction_likelihood import ExtractionLikelihood, extraction_likelihood
from difflab.autoregressive.extractions.extraction_strength import ExtractionStrength, extraction_strength
from difflab.autoregressive.extractions.longest_run import LongestRun, longest_run
from difflab.autoregressive.extractions.memorization_accuracy import MemorizationAccuracy, memorization_accuracy
from difflab.autoregressive.reading import read
from difflab.methods import methods
from difflab.statistics.intervals import bootstrap
from difflab.statistics.ranking import auc

NAMES = list(methods("extractions"))
DRAWS_NOTHING = {"discoverable", "memorization_accuracy", "extraction_strength", "extraction_likelihood", "longest_run"}
LEARNED, TWINS = texts(0, 10), texts(1, 10)
FEW = {"prefix": 4, "suffix": 6, "n": 3, "prefixes": (2, 5), "new": 8, "least": 0.9, "draws": 1000}
MIXED = [one[:n] for one, n in zip(LEARNED + TWINS[:2], (20, 10, 11, 20, 13, 10, 17, 20, 12, 14, 20, 11), strict=True)]
"""Of unlike lengths, so that batches are padded; most of them known by heart."""


@pytest.fixture(scope="module")
def model():
    return memorizer(LEARNED)


def _extracted(name, model, some, **changes):
    function, config = method("extractions", name)
    wanted = FEW | ({"least": 7} if name == "longest_run" else {}) | changes
    return function(model, some, changed(config, wanted))


def test_the_folder_is_the_registry():
    assert DRAWS_NOTHING | {"exact", "approximate"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_holds_a_frozen_config_and_a_function_of_its_name(name):
    function, config = method("extractions", name)
    assert callable(function) and is_dataclass(config) and config.__dataclass_params__.frozen
    told = ("value", "Args:", "Returns:", "success", "Raises:", "Reference:", "arXiv")
    assert all(part in function.__doc__ for part in told) and methods("extractions")[name].papers


@pytest.mark.parametrize("name", NAMES)
def test_one_value_for_each_text_the_same_again_and_nothing_left_changed(name, model):
    before = state(model)
    first, again = (_extracted(name, model, MIXED) for _ in range(2))
    assert_same_state(before, state(model))
    assert isinstance(first, Extracted) and len(first) == len(MIXED)
    assert first.items == tuple(model.decode(ids) for ids in MIXED)
    assert first.values.shape == first.success.shape == (len(MIXED),)
    assert first.values.dtype == np.float64 and first.success.dtype == np.bool_
    assert first.values.min() >= 0 and first.values.max() <= 1 and len(np.unique(first.values)) > 1
    assert first.rate == first.success.mean() and 0 < first.rate < 1
    assert first.values[first.success].min() > first.values[~first.success].max()
    written = [len(ids) for ids in first.continuations]
    assert max(written) == 0 if name in DRAWS_NOTHING else set(written) == {FEW["suffix"]}
    np.testing.assert_array_equal(again.values, first.values)


@pytest.mark.parametrize("name", NAMES)
def test_a_value_is_the_texts_own_whatever_stands_beside_it(name, model):
    whole = _extracted(name, model, MIXED)
    order = np.random.default_rng(0).permutation(len(MIXED))
    shuffled = _extracted(name, model, [MIXED[i] for i in order], most_tokens=50, most=3)
    np.testing.assert_allclose(shuffled.values, whole.values[order], rtol=1e-5, atol=1e-5)
    alone = [_extracted(name, model, [ids]) for ids in MIXED[-4:]]
    np.testing.assert_allclose([one.values[0] for one in alone], whole.values[-4:], rtol=1e-5, atol=1e-5)
    assert [one.success[0] for one in alone] == whole.success[-4:].tolist()
    assert (shuffled.success == whole.success[order]).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_side_on_which_a_tokenizer_pads_does_not_matter(name, model):
    tokenizer, found = model.tokenizer, []
    kept = tokenizer.padding_side, tokenizer.pad_token
    try:
        for tokenizer.padding_side in ("left", "right"):
            tokenizer.pad_token = "0"
            found.append(_extracted(name, model, MIXED[-6:]).values)
    finally:
        tokenizer.padding_side, tokenizer.pad_token = kept
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("name", NAMES)
def test_what_was_learned_by_heart_comes_back_and_its_twins_do_not(name, model):
    found = _extracted(name, model, LEARNED + TWINS)
    assert auc(found.values, np.arange(20) < 10) > 0.97
    assert found.success[:10].all() and not found.success[10:].any()


@pytest.mark.parametrize("name", NAMES)
def test_a_model_that_was_never_trained_gives_nothing_back(name):
    """Two sets of one law, and a model that saw neither: few tokens are asked of each, so that some come by chance."""
    few = {"prefix": 1, "suffix": 2, "n": 1, "prefixes": (1,), "new": 2, "least": 1.0, "draws": 50}
    function, config = method("extractions", name)
    wanted = few | ({"least": 1} if name == "longest_run" else {})
    found = function(untrained(seed=2, size=5), texts(4, 80, 3, size=5), changed(config, wanted))
    rows = np.stack([found.values, np.arange(80) % 2], axis=1)
    area = bootstrap(rows, lambda some: auc(some[:, 0], some[:, 1] > 0), np.random.default_rng(0), 300, 0.999)
    assert area.low < 0.5 < area.high and area.high - area.low < 0.5 and len(np.unique(found.values)) > 1


@pytest.mark.parametrize("name", NAMES)
def test_a_mistake_is_one_sentence_before_anything_is_computed(name, monkeypatch):
    broken = untrained()
    monkeypatch.setattr(broken.model, "forward", None)

    def said(some):
        return says_one_sentence(lambda: _extracted(name, broken, some))

    assert "no texts" in said([])
    assert f"token {VOCABULARY}" in said([*MIXED, np.append(MIXED[0], VOCABULARY)])
    assert f"reads {CONTEXT}" in said([np.zeros(CONTEXT + 1, np.int64)])
    least = {"memorization_accuracy": 5, "extraction_strength": 5, "extraction_likelihood": 4, "longest_run": 3}
    needed = least.get(name, 10)
    assert f"text 1 has {needed - 1} tokens, at least {needed}" in said([MIXED[0], MIXED[0][: needed - 1]])
    assert "text 0 has 0 tokens" in said([MIXED[0][:0]])


def test_one_decoding_serves_both_that_compare_it(model, monkeypatch):
    whole = greedy(model, MIXED, 4, 6)
    monkeypatch.setattr(extracted_module, "continued", None)
    found = exactly(whole, Exact(4, 6)), approximately(whole, Approximate(4, 6))
    monkeypatch.undo()
    own = exact(model, MIXED, Exact(4, 6)), approximate(model, MIXED, Approximate(4, 6))
    for one, other in zip(found, own, strict=True):
        np.testing.assert_array_equal(one.values, other.values)
        np.testing.assert_array_equal(one.success, other.success)


def test_one_reading_serves_all_that_decode_nothing(model):
    config = Discoverable(4, 6, top_k=3)
    whole = read(model, MIXED, config.scheme)
    shared = shared_parts("extractions")
    assert set(shared) == {"discoverable", "memorization_accuracy", "extraction_strength"}
    np.testing.assert_allclose(shared["discoverable"](whole, config).values, discoverable(model, MIXED, config).values)
    for name in ("memorization_accuracy", "extraction_strength"):
        np.testing.assert_array_equal(shared[name](whole).values, method("extractions", name)[0](model, MIXED).values)
    assert "under another" in says_one_sentence(lambda: shared["discoverable"](whole, Discoverable(4, 6)))
    for name, wanted in (("discoverable", Discoverable(4, 17, top_k=3)),
                         ("memorization_accuracy", MemorizationAccuracy(10)),
                         ("extraction_strength", ExtractionStrength(10))):  # fmt: skip
        assert "give longer texts" in says_one_sentence(lambda name=name, wanted=wanted: shared[name](whole, wanted))


# Plain loops: a decoder that reads all tokens anew for each one that it writes, over batches padded on either side.


class _Plain:
    """The next-token laws of one random model, kept by what stands before."""

    def __init__(self, begin):
        self.model = untrained(seed=5, begin=begin, size=6, width=16, layers=1, scale=6.0)
        self.model.model.double()
        self.known = {}

    def law(self, given):
        return self.known[given] if given in self.known else self.learn([given])[0]

    def learn(self, some):
        """Read many at once."""
        new = [one for one in dict.fromkeys(some) if one not in self.known]
        for side, half in (("left", new[::2]), ("right", new[1::2])):
            if half:
                # A token is added whose own law is not looked at.
                laws = padded_log_probs(self.model, [np.array([*one, 0]) for one in half], side)
                for one, (law, _) in zip(half, laws, strict=True):
                    self.known[one] = law[-1]
        return [self.known[one] for one in some]

    def next(self, given):
        law, best = self.law(given), 0
        for token in range(len(law)):
            if law[token] > law[best]:
                best = token
        return best

    def written(self, given, n):
        found = []
        for _ in range(n):
            found.append(self.next((*given, *found)))
        return found


@pytest.fixture(scope="module", params=[True, False], ids=["begin", "no begin"])
def plain(request):
    return _Plain(request.param)


@pytest.fixture(scope="module")
def cases(plain):
    """140 texts, of which some go on as the model would; with either kind of model, 280, some of them too short."""
    random, found = np.random.default_rng(8), []
    for _ in range(140):
        text = [int(random.integers(5))]
        while len(text) < random.integers(2, 9):
            text.append(plain.next(tuple(text)) if random.random() < 0.75 else int(random.integers(5)))
        found.append(np.array(text))
    contexts = [tuple(text[i:j].tolist()) for text in found for i in range(len(text)) for j in range(i + 1, len(text))]
    plain.learn(contexts)
    return found


def _longer(cases, least):
    return [text for text in cases if len(text) >= least]


def test_exact_and_approximate_are_those_of_plain_loops(plain, cases):
    for prefix, suffix in ((1, 1), (2, 3), (1, 5)):
        some = _longer(cases, prefix + suffix)
        found = exact(plain.model, some, Exact(prefix, suffix))
        near = approximate(plain.model, some, Approximate(prefix, suffix, tolerance=0.34))
        for i, text in enumerate(some):
            truth = text.tolist()[prefix : prefix + suffix]
            written = plain.written(tuple(text[:prefix].tolist()), suffix)
            same = 0
            while same < suffix and written[same] == truth[same]:
                same += 1
            assert found.continuations[i].tolist() == near.continuations[i].tolist() == written
            assert found.values[i] == pytest.approx(same / suffix, abs=1e-12)
            assert found.success[i] == (written == truth)
            edits = _distance(written, truth)
            assert near.values[i] == pytest.approx(1 - edits / suffix, abs=1e-12)
            assert near.success[i] == (Fraction(edits, suffix) <= Fraction("0.34"))
        assert 0 < found.rate < 1 and found.rate <= near.rate


def _distance(a, b):
    if not a or not b:
        return len(a) + len(b)
    return min(_distance(a[1:], b[1:]) + (a[0] != b[0]), _distance(a[1:], b) + 1, _distance(a, b[1:]) + 1)


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, None), (0.7, 2), (2.0, 4), (0.0, None), (1.0, 1)])
def test_discoverable_is_that_of_plain_loops(plain, cases, temperature, top_k):
    some = _longer(cases, 3)
    config = Discoverable(1, 2, draws=20, probability=0.6, temperature=temperature, top_k=top_k)
    found = discoverable(plain.model, some, config)
    for i, text in enumerate(some):
        given, log_p = text.tolist(), 0.0
        for t in (1, 2):
            law = plain.law(tuple(given[:t]))
            if temperature == 0:
                log_p += 0.0 if plain.next(tuple(given[:t])) == given[t] else -math.inf
                continue
            order = sorted(range(len(law)), key=lambda v, law=law: -law[v])[:top_k]
            weights = {v: math.exp(law[v] / temperature) for v in order}
            p = weights.get(given[t], 0.0) / sum(weights.values())
            log_p += math.log(p) if p else -math.inf
        p_z = math.exp(log_p)
        assert found.features[i, 0] == pytest.approx(log_p, abs=1e-6)
        assert found.values[i] == pytest.approx(1 - (1 - p_z) ** 20, abs=1e-5)
        assert found.success[i] == (found.values[i] >= 0.6)
        needed = math.inf if p_z == 0 else math.log(max(1.0, math.log(0.4) / math.log(1 - p_z) if p_z < 1 else 1.0))
        assert found.features[i, 1] == pytest.approx(needed, abs=1e-5)


def test_drawing_finds_the_truth_as_often_as_one_pass_says(plain, cases):
    """Draws of the plain law, one token after another: the only check that the products are of what is drawn."""
    text = max(_longer(cases, 4), key=lambda one: discoverable(plain.model, [one], Discoverable(1, 2)).features[0, 0])
    config, random = Discoverable(1, 2, draws=1, temperature=1.5, top_k=3), np.random.default_rng(1)
    log_p, came = discoverable(plain.model, [text], config).features[0, 0], 0
    for _ in range(500):
        given = text[:1].tolist()
        for _ in range(2):
            law = plain.law(tuple(given)) / 1.5
            kept = np.argsort(-law)[:3]
            weights = np.exp(law[kept])
            given.append(int(random.choice(kept, p=weights / weights.sum())))
        came += given == text[:3].tolist()
    assert abs(came / 500 - math.exp(log_p)) < 4 * 0.5 / math.sqrt(500)


@pytest.mark.parametrize("prefix", [1, 3])
def test_accuracy_and_strength_are_those_of_plain_loops(plain, cases, prefix):
    some = _longer(cases, prefix + 2)
    accuracy = memorization_accuracy(plain.model, some, MemorizationAccuracy(prefix))
    inner = memorization_accuracy(plain.model, some, MemorizationAccuracy(prefix, last_left_out=True))
    strength = extraction_strength(plain.model, some, ExtractionStrength(prefix))
    floor = extraction_strength(plain.model, some, ExtractionStrength(prefix, floor=True))
    for i, text in enumerate(some):
        given = text.tolist()
        right = [plain.next(tuple(given[:t])) == given[t] for t in range(prefix, len(given))]
        assert accuracy.values[i] == pytest.approx(sum(right) / len(right), abs=1e-12)
        assert inner.values[i] == pytest.approx(sum(right[:-1]) / (len(right) - 1), abs=1e-12)
        # Decoding from ever longer prefixes, until all the rest comes.
        k = next(k for k in range(len(right) + 1) if plain.written(tuple(given[: prefix + k]), len(right) - k)
                 == given[prefix + k :])  # fmt: skip
        assert strength.values[i] == pytest.approx(1 - k / len(right), abs=1e-12)
        assert floor.values[i] == pytest.approx(max(1 - k / len(right), 1 / len(right)), abs=1e-12)


@pytest.mark.parametrize("duplicates", [False, True])
def test_extraction_likelihood_is_that_of_plain_loops(plain, cases, duplicates):
    some = _longer(cases[::2] if duplicates else cases[1::2], 3)
    found = extraction_likelihood(plain.model, some, ExtractionLikelihood(2, duplicates))
    for i, text in enumerate(some):
        given, shares = text.tolist(), []
        for t in range(1, len(given) - 1):
            pairs = [
                [(one[j], one[j + 1]) for j in range(len(one) - 1)]
                for one in (plain.written(tuple(given[:t]), len(given) - t), given[t:])
            ]
            written, true = pairs if duplicates else [list(dict.fromkeys(one)) for one in pairs]
            shares.append(sum(pair in true for pair in written) / len(true))
        assert found.values[i] == pytest.approx(sum(shares) / (len(given) - 2), abs=1e-12)


@pytest.mark.parametrize(("stride", "copied", "first"), [(1, None, 0), (1, 0, 1), (2, 1, 2)])
def test_the_longest_run_is_that_of_plain_loops(plain, cases, stride, copied, first):
    some = _longer(cases[first::3], 2)
    config = LongestRun((2, 1, 4), new=3, stride=stride, copied=copied, least=2)
    found = longest_run(plain.model, some, config)
    for i, text in enumerate(some):
        given, best = text.tolist(), 0
        for prefix in (1, 2, 4):
            for start in range(0, len(given), stride):
                window, truth = given[start : start + prefix], given[start + prefix : start + prefix + 3]
                if not truth:
                    continue
                run = 0
                for one, other in zip(plain.written(tuple(window), len(truth)), truth, strict=True):
                    if one != other:
                        break
                    run += 1
                copies = [window[j : j + run] for j in range(prefix)]
                best = max(best, 0 if copied is not None and run > copied and truth[:run] in copies else run)
        assert found.features[i, 0] == best and found.success[i] == (best >= 2)
        assert found.values[i] == pytest.approx(best / min(3, len(given) - 1), abs=1e-12)
        run, prefix, start = found.features[i].astype(int)
        shown = given[start : start + prefix]
        assert plain.written(tuple(shown), run) == given[start + prefix : start + prefix + run] or best == 0


# Adversarial models.


def test_a_model_that_finds_all_tokens_alike_says_the_first_and_knows_nothing():
    """Every token ties with every other: greedy decoding writes token 0, and that is all that counts as found."""
    flat = untrained()
    for weight in flat.model.parameters():
        weight.zero_()
    some = [np.array([3, 0, 0, 7, 0, 2, 9, 9]), np.array([1, 2, 3, 4, 5, 6, 7, 8])]
    accuracy = memorization_accuracy(flat, some)
    assert accuracy.values.tolist() == [3 / 7, 0.0] and not accuracy.success.any()
    assert extraction_strength(flat, some).values.tolist() == [0.0, 0.0]
    assert exact(flat, some, Exact(1, 2)).success.tolist() == [True, False]
    assert longest_run(flat, some, LongestRun((1,), new=4, least=2)).features[:, 0].tolist() == [2.0, 0.0]
    likely = extraction_likelihood(flat, some, ExtractionLikelihood(1))
    true = [{0, 2, 7, 9}, {0, 2, 7, 9}, {0, 2, 7, 9}, {0, 2, 9}, {2, 9}, {9}, {9}]
    assert likely.values[0] == pytest.approx(sum(1 / len(one) for one in true if 0 in one) / 7)
    assert likely.values[1] == 0


def test_decoding_stops_where_a_text_ends_even_if_the_truth_goes_on():
    """What ends a text is never written: a truth that holds it is found up to there by all that decode."""
    ending = untrained(seed=5, size=6, width=16, layers=1, scale=6.0)
    chain = _Plain(True).written((1,), 8)
    end = chain[3]
    ending.tokenizer.eos_token = str(end)
    text = np.array([1, *chain])
    until = chain.index(end)
    found = exact(ending, [text], Exact(1, 8))
    assert found.continuations[0].tolist() == chain[:until] and not found.success[0]
    assert found.values[0] == pytest.approx(until / 8)
    run = longest_run(ending, [text], LongestRun((1,), new=8, stride=9, copied=None))
    assert run.features[0, 0] == until
    assert memorization_accuracy(ending, [text]).values[0] == 1.0
    likely = extraction_likelihood(ending, [text], ExtractionLikelihood(1))
    shares = []
    for t in range(1, 9):
        rest = text.tolist()[t:]
        before = rest[: rest.index(end)] if end in rest else rest
        shares.append(len(set(before)) / len(set(rest)))
    assert likely.values[0] == pytest.approx(sum(shares) / 8)


def test_a_memorized_text_costs_one_continuation(model, monkeypatch):
    """Where the true token is written first, what follows is known already."""
    rows = []
    hook = model.model.register_forward_pre_hook(
        lambda _, __, given: rows.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    try:
        found = extraction_likelihood(model, LEARNED[:1], ExtractionLikelihood(3))
    finally:
        hook.remove()
    assert found.values[0] == 1.0
    # One reading, one prefix, and one token after another, except first tokens that nothing told.
    assert sum(n * t for n, t in rows) < 20 + 2 * 20


@pytest.mark.parametrize(
    ("config", "word"),
    [
        (lambda: Exact(suffix=0), "suffix"),
        (lambda: Exact(prefix=-1), "prefix"),
        (lambda: Approximate(tolerance=1.0), "tolerance"),
        (lambda: Approximate(tolerance=math.nan), "tolerance"),
        (lambda: Discoverable(draws=0), "draws"),
        (lambda: Discoverable(probability=1.0), "probability"),
        (lambda: Discoverable(temperature=-1.0), "temperature"),
        (lambda: Discoverable(top_k=0), "top_k"),
        (lambda: MemorizationAccuracy(prefix=0), "prefix"),
        (lambda: ExtractionStrength(least=1.1), "least"),
        (lambda: ExtractionLikelihood(n=0), "n is 0"),
        (lambda: LongestRun(prefixes=()), "prefixes"),
        (lambda: LongestRun(prefixes=(8, 0)), "prefixes"),
        (lambda: LongestRun(stride=0), "stride"),
        (lambda: LongestRun(copied=-1), "copied"),
    ],
)
def test_a_config_that_makes_no_sense(config, word):
    assert word in says_one_sentence(config)


def test_numbers_that_do_not_go_together_are_one_sentence():
    nothing = np.zeros(0, np.int64)
    says_one_sentence(lambda: Extracted(("a",), 1, (nothing,), np.zeros(2), np.zeros(2, bool)))


def test_an_empty_prefix_needs_a_first_token():
    some = texts(0, 2, 3, size=5)
    assert exact(untrained(size=6), some, Exact(0, 3)).values.shape == (2,)
    assert "no first token" in says_one_sentence(lambda: exact(untrained(size=6, begin=False), some, Exact(0, 3)))
