"""Every objective goes through one suite; then values and gradients against loops over numbers."""

import math
from dataclasses import is_dataclass, replace

import numpy as np
import pytest
import torch
from conformance import method, says_one_sentence

from difflab.autoregressive.objectives.code_eraser import CodeEraser, code_eraser
from difflab.autoregressive.objectives.compression import Compression, compression, matrix_entropy
from difflab.autoregressive.objectives.constraint_based import ConstraintBased, constraint_based
from difflab.autoregressive.objectives.focal import Focal, focal
from difflab.autoregressive.objectives.gradient_ascent import gradient_ascent
from difflab.autoregressive.objectives.gradient_difference import GradientDifference, gradient_difference
from difflab.autoregressive.objectives.information_bottleneck import InformationBottleneck, information_bottleneck
from difflab.autoregressive.objectives.label_smoothing import LabelSmoothing, label_smoothing
from difflab.autoregressive.objectives.npo import Npo, npo
from difflab.autoregressive.objectives.rmu import Rmu, direction, rmu
from difflab.autoregressive.objectives.sim_npo import SimNpo, sim_npo
from difflab.autoregressive.shown import DIVERGENCE, Branch, Said, Shown, needed
from difflab.methods import methods
from experiments import __main__ as command_line

NAMES = list(methods("objectives"))
OURS = {
    "code_eraser", "compression", "constraint_based", "focal", "gradient_ascent", "gradient_difference",
    "information_bottleneck", "label_smoothing", "npo", "rmu", "sim_npo",
}  # fmt: skip
FORGETTING = [name for name in NAMES if any(need.startswith("forget") for need in methods("objectives")[name].needs)]
VOCABULARY, WIDTH, SQUEEZED, PATCH = 7, 5, 4, 2


def _shown(seed, lengths=(6, 3, 4), given=1):
    """Random numbers in float64; the first `given` tokens of each text and the padding are not counted."""
    chance = np.random.default_rng(seed)
    shape = (len(lengths), max(lengths))
    places = np.arange(shape[1])[None]
    counted = (places < np.array(lengths)[:, None]) & (places >= given)
    span = counted & (chance.random(shape) < 0.6)

    def drawn(*size):
        return torch.tensor(chance.normal(size=(*shape, *size)))

    return Shown(
        torch.tensor(chance.integers(0, VOCABULARY, shape)),
        torch.tensor(counted),
        drawn(VOCABULARY).requires_grad_(True),
        torch.tensor(span),
        drawn(VOCABULARY).requires_grad_(True),
        drawn(WIDTH).requires_grad_(True),
        drawn(WIDTH).requires_grad_(True),
        Branch(*(drawn(n).requires_grad_(True) for n in (SQUEEZED, SQUEEZED, VOCABULARY))),
    )


def _said(seed=0):
    return Said(_shown(seed), _shown(seed + 1, (5, 5)))


def _config(name, **changes):
    config = method("objectives", name)[1]()
    return replace(config, **({"patch": PATCH} if name == "compression" else {}), **changes)


def _leaves(said):
    """What an objective may have gradients in, and what it may not."""
    moving, fixed = {}, {}
    for part in ("forget", "retain"):
        shown = getattr(said, part)
        if shown is None:
            continue
        moving |= {f"{part}.{name}": getattr(shown, name) for name in ("logits", "hidden")}
        moving |= {f"{part}.branch.{name}": value for name, value in shown.branch._asdict().items()}
        fixed |= {f"{part}.{name}": getattr(shown, name) for name in ("reference", "reference_hidden")}
    return moving, fixed


def _graded(function, said, config):
    """The value and its gradients."""
    moving, fixed = _leaves(said)
    value = function(said, config)
    grads = torch.autograd.grad(value, [*moving.values(), *fixed.values()], allow_unused=True)
    assert not any(grad is not None and grad.any() for grad in grads[len(moving) :])
    return value.detach(), {name: grad for name, grad in zip(moving, grads, strict=False) if grad is not None}


def test_the_folder_is_the_registry():
    assert set(NAMES) >= OURS


@pytest.mark.parametrize("name", NAMES)
def test_a_file_holds_a_frozen_config_and_a_function_of_its_name(name):
    function, config = method("objectives", name)
    assert callable(function) and is_dataclass(config) and config.__dataclass_params__.frozen
    assert all(part in function.__doc__ for part in ("Args:", "Returns:", "Raises:", "Reference:", "arXiv"))
    assert methods("objectives")[name].papers and methods("objectives")[name].summary.startswith("Objective: ")


@pytest.mark.parametrize("name", NAMES)
def test_a_finite_number_the_same_again_that_draws_nothing_and_moves_only_the_model(name):
    function, said, before = method("objectives", name)[0], _said(), torch.get_rng_state()
    value, grads = _graded(function, said, _config(name))
    assert value.shape == () and torch.isfinite(value) and function(said, _config(name)) == value
    assert grads and all(torch.isfinite(grad).all() for grad in grads.values())
    assert torch.equal(torch.get_rng_state(), before)
    asked = {need.partition(".")[0] for need in needed(_config(name))}
    assert {grad.partition(".")[0] for grad in grads} == asked


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_counted_changes_nothing(name):
    function, said = method("objectives", name)[0], _said()
    value, grads = _graded(function, said, _config(name))
    for grad_name, grad in grads.items():
        shown = getattr(said, grad_name.partition(".")[0])
        assert not grad[~shown.counted].any(), grad_name

    def disturbed(shown):
        there = shown.counted
        noisy = {
            field: torch.where(there[..., None], getattr(shown, field), 3.0)
            for field in ("logits", "reference", "hidden", "reference_hidden")
        }
        return shown._replace(tokens=torch.where(there, shown.tokens, 0), **noisy)

    torch.testing.assert_close(function(Said(*map(disturbed, said)), _config(name)), value)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_texts_and_the_width_of_the_padding_do_not_matter(name):
    function, said = method("objectives", name)[0], _said()

    def turned(shown):
        def moved(value):
            return torch.cat([value.flip(0), value.flip(0)[:, : 2 * PATCH]], dim=1)

        found = Shown(*(moved(value) for value in shown[:-1]), Branch(*map(moved, shown.branch)))
        width = shown.counted.shape[1]
        counted, span = found.counted.clone(), found.span.clone()
        counted[:, width:], span[:, width:] = False, False
        return found._replace(counted=counted, span=span)

    torch.testing.assert_close(function(Said(*map(turned, said)), _config(name)), function(said, _config(name)))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_missing_is_said_in_one_sentence(name):
    function, said = method("objectives", name)[0], _said()
    for need in needed(_config(name)):
        part, _, field = need.partition(".")
        without = getattr(said, part)._replace(**{field: None}) if field else None
        sentence = says_one_sentence(lambda: function(said._replace(**{part: without}), _config(name)))  # noqa: B023
        assert part in sentence and field.replace("_", " ") in sentence
    parts = {need.partition(".")[0] for need in needed(_config(name))}
    bare = {part: getattr(said, part) if part in parts else None for part in ("forget", "retain")}
    assert torch.isfinite(function(Said(**bare), _config(name)))


@pytest.mark.parametrize("name", [name for name in FORGETTING if name != "rmu"])
def test_one_step_makes_forgotten_tokens_less_likely_and_kept_ones_no_less(name):
    """At the model as it was, all gradients on forgotten tokens are those of an ascent."""
    said = _said()
    same = [
        shown._replace(reference=shown.logits.detach().clone().requires_grad_(), span=shown.counted) for shown in said
    ]
    grads = _graded(method("objectives", name)[0], Said(*same), _config(name))[1]
    shown = said.forget
    true = grads["forget.logits"].gather(-1, shown.tokens[..., None])[..., 0]
    assert (true[shown.counted] > 0).all()
    if "retain.logits" in grads:
        kept = grads["retain.logits"].gather(-1, said.retain.tokens[..., None])[..., 0]
        assert (kept[said.retain.counted] <= 1e-12).all()


@pytest.mark.parametrize("kept_by", ["likelihood", "divergence"])
@pytest.mark.parametrize(
    "name", [name for name in FORGETTING if hasattr(method("objectives", name)[1], "retain_weight")]
)
def test_what_has_no_weight_is_not_needed(name, kept_by):
    function, said = method("objectives", name)[0], _said()
    config = _config(name, retain_weight=0.0)
    config = replace(config, kept_by=kept_by) if hasattr(config, "kept_by") else config
    assert {need.partition(".")[0] for need in needed(config)} == {"forget"}
    alone, grads = _graded(function, said._replace(retain=None), config)
    assert not any(grad.startswith("retain") for grad in grads)
    # It is what is left of the whole where the weight of what is kept falls to nothing.
    torch.testing.assert_close(alone, function(said, replace(config, retain_weight=1e-12)).detach())


def test_they_are_listed(capsys):
    command_line.main(["list", "--methods"])
    listed = capsys.readouterr().out
    assert all(part in listed for part in ("objectives:", "code_eraser", "arXiv:2403.03218"))


# Loops over Python's numbers, from the formulas; gradients by hand where they are short, by central differences
# elsewhere.


def _laws(logits):
    """p of every token at every place."""
    found = []
    for row in logits.tolist():
        found.append([])
        for one in row:
            top = max(one)
            total = sum(math.exp(x - top) for x in one)
            found[-1].append([math.exp(x - top) / total for x in one])
    return found


def _losses(shown, logits=None):
    laws = _laws(shown.logits if logits is None else logits)
    return [
        [-math.log(law[token]) for law, token in zip(row, ids, strict=True)]
        for row, ids in zip(laws, shown.tokens.tolist(), strict=True)
    ]


def _where(mask):
    return [(i, t) for i, row in enumerate(mask.tolist()) for t, here in enumerate(row) if here]


def _mean(table, places):
    return sum(table[i][t] for i, t in places) / len(places)


def _texts(shown, logits=None):
    losses = _losses(shown, logits)
    return [sum(losses[i][t] for j, t in _where(shown.counted) if j == i) for i in range(len(losses))]


def _kl(shown, least=0.0):
    known, said = _laws(shown.reference), _laws(shown.logits)
    return [
        [
            sum((p + least) * math.log((p + least) / (q + least)) for p, q in zip(one, other, strict=True))
            for one, other in zip(row, beside, strict=True)
        ]
        for row, beside in zip(known, said, strict=True)
    ]


def _everywhere(shown):
    return _where(torch.ones_like(shown.counted))


def _log_sigmoid(x):
    return -math.log1p(math.exp(-x)) if x > 0 else x - math.log1p(math.exp(x))


def _loop_gradient_ascent(said, config):
    return -_mean(_losses(said.forget), _where(said.forget.counted))


def _loop_kept(shown, config):
    if config.kept_by != DIVERGENCE:
        return _mean(_losses(shown), _where(shown.counted))
    return _mean(_kl(shown), _everywhere(shown) if config.everywhere else _where(shown.counted))


def _loop_gradient_difference(said, config):
    lost = _mean(_losses(said.forget), _where(said.forget.counted))
    return config.retain_weight * _loop_kept(said.retain, config) - config.forget_weight * lost


def _loop_divergence(shown, config, places):
    table = _kl(shown, config.least)
    if config.by_text:
        return sum(map(sum, table)) / len(table)
    return _mean(table, places)


def _loop_constraint_based(said, config):
    away, near = (_loop_divergence(shown, config, _where(shown.counted)) for shown in said)
    lost = _mean(_losses(said.forget), _where(said.forget.counted))
    return -lost - config.weight * away + config.weight * config.retain_weight * near


def _loop_code_eraser(said, config):
    forget, losses = said.forget, _losses(said.forget)
    inside = _where(forget.span)
    around = [place for place in _where(forget.counted) if place not in inside]
    near = _loop_divergence(said.retain, config, _where(said.retain.counted))
    return (
        -_mean(losses, inside)
        + config.context_weight * _mean(losses, around)
        - config.weight * _mean(_kl(forget, config.least), inside)
        + config.weight * config.retain_weight * near
    )


def _loop_npo(said, config):
    shown, b = said.forget, config.beta
    if config.compared == "raw_logits":
        pairs = zip(shown.reference.flatten().tolist(), shown.logits.flatten().tolist(), strict=True)
        differences = [old - new for old, new in pairs]
    else:
        differences = [new - old for new, old in zip(_texts(shown), _texts(shown, shown.reference), strict=True)]
        if config.compared == "batch":
            differences = [sum(differences) / len(_where(shown.counted))]
    lost = sum(-2 / b * _log_sigmoid(b * one) for one in differences) / len(differences)
    return config.forget_weight * lost + config.retain_weight * _loop_kept(said.retain, config)


def _loop_sim_npo(said, config):
    shown, b = said.forget, config.beta
    if config.raw_logits:
        values = [-z for z in shown.logits.flatten().tolist()]
    else:
        counts = [sum(row) + config.one_more for row in shown.counted.tolist()]
        values = [s / n for s, n in zip(_texts(shown), counts, strict=True)]
    lost = sum(-2 / b * _log_sigmoid(b * (one - config.margin)) for one in values) / len(values)
    return config.forget_weight * lost + config.retain_weight * _loop_kept(said.retain, config)


def _loop_rmu(said, config):
    u = direction(WIDTH, config.seed).tolist()

    def squares(shown, goal):
        return [
            [sum((x - y) ** 2 for x, y in zip(one, goal(i, t), strict=True)) / WIDTH for t, one in enumerate(row)]
            for i, row in enumerate(shown.hidden.tolist())
        ]

    def meaned(shown, table):
        if config.everywhere:
            return _mean(table, _everywhere(shown))
        places = _where(shown.counted)
        if not config.crossed:
            return _mean(table, places)
        n = len(table)
        sums = [sum(table[i][t] for j, t in places if j == i) for i in range(n)]
        lengths = [sum(j == i for j, _ in places) for i in range(n)]
        return sum(s / m for s in sums for m in lengths) / n**2

    old = said.retain.reference_hidden.tolist()
    away = squares(said.forget, lambda i, t: [config.size * x for x in u])
    near = squares(said.retain, lambda i, t: old[i][t])
    return meaned(said.forget, away) + config.retain_weight * meaned(said.retain, near)


def _loop_focal(said, config):
    table = [[(1 - math.exp(-x)) ** config.power * x for x in row] for row in _losses(said.retain)]
    return _mean(table, _where(said.retain.counted))


def _loop_label_smoothing(said, config):
    flat = [[-sum(map(math.log, law)) / VOCABULARY for law in row] for row in _laws(said.retain.logits)]
    e, places = config.share, _where(said.retain.counted)
    return (1 - e) * _mean(_losses(said.retain), places) + e * _mean(flat, places)


def _loop_information_bottleneck(said, config):
    shown = said.retain
    pairs = zip(shown.branch.mean.tolist(), shown.branch.log_variance.tolist(), strict=True)
    table = [
        [
            sum(-0.5 * (1 + s - m * m - math.exp(s)) for m, s in zip(a, b, strict=True)) / SQUEEZED
            for a, b in zip(means, logs, strict=True)
        ]
        for means, logs in pairs
    ]
    counted = _where(shown.counted)
    kl = _mean(table, _everywhere(shown) if config.everywhere else counted)
    own, branch = (_mean(_losses(shown, logits), counted) for logits in (shown.logits, shown.branch.logits))
    return own + config.weight * (kl + config.branch_weight * branch)


def _loop_compression(said, config):
    shown, values = said.retain, []
    counted = set(_where(shown.counted))
    for i, row in enumerate(shown.hidden.tolist()):
        for start in range(0, len(row) - config.patch + 1, config.patch):
            if {(i, t) for t in range(start, start + config.patch)} <= counted:
                z = row[start : start + config.patch]
                k = [[sum(x * y for x, y in zip(a, b, strict=True)) for b in z] for a in z]
                trace = sum(k[j][j] for j in range(len(z)))
                square = sum(x * x for line in k for x in line)
                values.append(max(0.0, 2 * math.log(trace + 1e-5) - math.log(square + 1e-5)))
    own = _mean(_losses(shown), _where(shown.counted))
    return own + config.weight * sum(values) / len(values)


CASES = [
    (gradient_ascent, _loop_gradient_ascent, None),
    (gradient_difference, _loop_gradient_difference, GradientDifference(0.7, 1.3)),
    (gradient_difference, _loop_gradient_difference, GradientDifference(kept_by=DIVERGENCE)),
    (gradient_difference, _loop_gradient_difference, GradientDifference(kept_by=DIVERGENCE, everywhere=True)),
    (constraint_based, _loop_constraint_based, ConstraintBased(0.3, 1.7)),
    (constraint_based, _loop_constraint_based, ConstraintBased(0.3, by_text=True, least=1e-2)),
    (code_eraser, _loop_code_eraser, CodeEraser(0.5, 0.3, 1.7)),
    (code_eraser, _loop_code_eraser, CodeEraser(0.1, 0.3, by_text=True, least=1e-2)),
    (npo, _loop_npo, Npo(0.4, 0.7, 1.3)),
    (npo, _loop_npo, Npo(2.5, compared="batch", kept_by=DIVERGENCE)),
    (npo, _loop_npo, Npo(0.7, compared="raw_logits", kept_by=DIVERGENCE, everywhere=True)),
    (sim_npo, _loop_sim_npo, SimNpo()),
    (sim_npo, _loop_sim_npo, SimNpo(2.5, 0.4, 0.5, one_more=True)),
    (sim_npo, _loop_sim_npo, SimNpo(0.7, 0.1, raw_logits=True, kept_by=DIVERGENCE)),
    (rmu, _loop_rmu, Rmu(2.0, 1.5, seed=3)),
    (rmu, _loop_rmu, Rmu(2.0, 1.5, everywhere=True)),
    (rmu, _loop_rmu, Rmu(2.0, 1.5, crossed=True)),
    (focal, _loop_focal, Focal()),
    (focal, _loop_focal, Focal(2.5)),
    (label_smoothing, _loop_label_smoothing, LabelSmoothing(0.2)),
    (information_bottleneck, _loop_information_bottleneck, InformationBottleneck()),
    (information_bottleneck, _loop_information_bottleneck, InformationBottleneck(1.5, 0.7, everywhere=True)),
    (compression, _loop_compression, Compression(1.5, PATCH)),
]


@pytest.mark.parametrize(("function", "loop", "config"), CASES)
def test_values_and_gradients_are_those_of_a_loop_over_numbers(function, loop, config):
    said = _said(11)
    config = config or method("objectives", function.__name__)[1]()
    value, grads = _graded(function, said, config)
    assert float(value) == pytest.approx(loop(said, config), rel=1e-9, abs=1e-9)
    chance, step, moving = np.random.default_rng(1), 1e-5, _leaves(said)[0]
    for name, grad in grads.items():
        # Along a few directions at random, and along single numbers.
        leaf = moving[name].data
        kept = leaf.clone()
        for k in range(3):
            along = torch.tensor(chance.normal(size=leaf.shape)) if k < 2 else torch.zeros_like(leaf)
            if k == 2:
                along.flatten()[chance.integers(leaf.numel())] = 1.0
            sides = []
            for sign in (1, -1):
                leaf.copy_(kept + sign * step * along)
                sides.append(loop(said, config))
            leaf.copy_(kept)
            assert float((grad * along).sum()) == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=1e-6, abs=1e-6)


def _ascent(shown):
    """By hand: the gradient of each text's summed loss in its logits is p - 1 at the true token."""
    found = torch.tensor(_laws(shown.logits), dtype=torch.float64)
    for i, row in enumerate(shown.tokens.tolist()):
        for t, token in enumerate(row):
            found[i, t, token] -= 1
    return found * shown.counted[..., None]


def test_npos_gradient_is_an_ascent_weighted_by_how_far_each_text_is():
    said, b = _said(5), 0.3
    grad = _graded(npo, said, Npo(b, retain_weight=0.0))[1]["forget.logits"]
    shown, n = said.forget, len(said.forget.tokens)
    now, old = _texts(shown), _texts(shown, shown.reference)
    weights = [
        2 * math.exp(-b * s) / (math.exp(-b * s) + math.exp(-b * first)) for s, first in zip(now, old, strict=True)
    ]
    wanted = -torch.tensor(weights, dtype=torch.float64)[:, None, None] * _ascent(shown) / n
    torch.testing.assert_close(grad, wanted, rtol=1e-9, atol=1e-9)


def test_npos_first_step_is_gradient_ascents():
    said = _said(6)
    shown = said.forget._replace(reference=said.forget.logits.detach().requires_grad_())
    first = _graded(npo, Said(shown, said.retain), Npo(0.1, retain_weight=0.0))[1]["forget.logits"]
    ascent = _graded(gradient_ascent, said, _config("gradient_ascent"))[1]["forget.logits"]
    tokens, texts = int(shown.counted.sum()), len(shown.tokens)
    torch.testing.assert_close(first * texts, ascent * tokens)


def test_raw_logits_fall_where_nothing_is_said_differently():
    said = _said(7)
    moved = said._replace(forget=said.forget._replace(logits=said.forget.logits + 2.0))
    for function, config, quirk in (
        (npo, Npo(), Npo(compared="raw_logits")), (sim_npo, SimNpo(), SimNpo(raw_logits=True)),
    ):  # fmt: skip
        torch.testing.assert_close(function(moved, config), function(said, config))
        assert abs(function(moved, quirk) - function(said, quirk)) > 0.1


def test_focal_weights_have_a_gradient_unless_they_are_detached():
    said = _said(8)
    shown, n = said.retain, len(_where(said.retain.counted))
    power = 1.5
    p = torch.exp(-torch.tensor(_losses(shown), dtype=torch.float64))[..., None]
    plain = _ascent(shown) / n
    own = power * (1 - p) ** (power - 1) * p * -p.log() + (1 - p) ** power
    for detached, factor in ((False, own), (True, (1 - p) ** power)):
        value, grads = _graded(focal, said, Focal(power, detached))
        torch.testing.assert_close(grads["retain.logits"], factor * plain, rtol=1e-9, atol=1e-9)
        assert float(value) == pytest.approx(_loop_focal(said, Focal(power)))


def test_powers_and_shares_of_zero_are_the_plain_loss():
    said = _said(9)
    plain = -gradient_ascent(Said(forget=said.retain))
    for function, config in ((focal, Focal(0.0)), (label_smoothing, LabelSmoothing(0.0))):
        torch.testing.assert_close(function(said, config), plain)


def test_matrix_entropy_counts_directions():
    one = torch.tensor([[1.0, 2.0, -1.0]]).repeat(4, 1) * torch.tensor([[1.0], [2.0], [3.0], [-1.0]])
    found = matrix_entropy(torch.stack([one, torch.cat([torch.eye(3), torch.zeros(1, 3)])]).double())
    np.testing.assert_allclose(found, [0.0, math.log(3)], atol=1e-4)
    assert matrix_entropy(torch.zeros(1, 4, 3)).item() == 0


def test_rmus_direction_is_positive_and_of_length_one():
    u = direction(100, 0)
    assert (u > 0).all() and np.linalg.norm(u) == pytest.approx(1) and (direction(100, 1) != u).all()


def test_crossed_lengths_are_right_where_texts_have_one_length():
    said = Said(_shown(1, (4, 4)), _shown(2, (5, 5)))
    torch.testing.assert_close(rmu(said, Rmu(crossed=True)), rmu(said, Rmu()))
    assert not torch.isclose(rmu(_said(), Rmu(crossed=True)), rmu(_said(), Rmu()))


def test_a_text_that_is_all_span_has_no_context():
    said = _said()
    whole = said._replace(forget=said.forget._replace(span=said.forget.counted))
    changed = code_eraser(whole, CodeEraser(context_weight=9.0))
    torch.testing.assert_close(changed, code_eraser(whole, CodeEraser(context_weight=0.0)))


def test_half_precision_is_widened():
    said = _said()
    half = [
        shown._replace(**{f: getattr(shown, f).detach().to(torch.bfloat16)
                          for f in ("logits", "reference", "hidden", "reference_hidden")})
        for shown in said
    ]  # fmt: skip
    for name in set(NAMES) - {"information_bottleneck"}:
        value = method("objectives", name)[0](Said(*half), _config(name))
        assert value.dtype == torch.float32
        assert float(value) == pytest.approx(float(method("objectives", name)[0](said, _config(name))), rel=0.05)


@pytest.mark.parametrize(
    ("config", "word"),
    [
        (lambda: GradientDifference(forget_weight=-1.0), "forget_weight"),
        (lambda: GradientDifference(kept_by="love"), "kept_by"),
        (lambda: ConstraintBased(weight=-1.0), "weight"),
        (lambda: CodeEraser(context_weight=-1.0), "context_weight"),
        (lambda: Npo(beta=0.0), "beta"),
        (lambda: Npo(compared="words"), "compared"),
        (lambda: SimNpo(beta=-1.0), "beta"),
        (lambda: Rmu(layer=-1), "layer"),
        (lambda: Focal(power=-0.5), "power"),
        (lambda: LabelSmoothing(1.0), "share"),
        (lambda: InformationBottleneck(width=0), "width"),
        (lambda: Compression(patch=0), "patch"),
        (lambda: compression(_said(), Compression(patch=6)), "6 tokens"),
    ],
)
def test_a_config_that_makes_no_sense(config, word):
    assert word in says_one_sentence(config)
