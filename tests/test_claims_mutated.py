"""The rows made by hand notice every small mistake in a claim: comparisons, connectives and thresholds are changed one
at a time, and some case must then come out differently."""

import ast
import copy
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import test_claims_clip
import test_claims_diffusion
import test_claims_edge
import test_claims_language
import test_claims_tokens
from handmade import Experiment, agrees, claims_of

import experiments
from difflab.runs.rows import Row

WINGS = {
    "edge": test_claims_edge.EXPERIMENTS,
    "diffusion": test_claims_diffusion.EXPERIMENTS,
    "clip": test_claims_clip.EXPERIMENTS,
    "language": test_claims_language.EXPERIMENTS,
    "tokens": test_claims_tokens.EXPERIMENTS,
}
ALL = [(wing, name) for wing, found in WINGS.items() for name in found]
Claims = Callable[[list[Row]], Mapping[str, bool]]

FLIPPED = {
    ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Eq: ast.NotEq, ast.In: ast.NotIn, ast.Is: ast.IsNot,
    ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.NotEq: ast.Eq, ast.NotIn: ast.In, ast.IsNot: ast.Is,
}  # fmt: skip
STRICTER = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
SWAPPED = {"min": "max", "max": "min", "any": "all", "all": "any"}


Changes = Iterator[dict[str, Any]]
"""Fields of a node of the syntax tree, one mistake each."""


def operators(node: ast.AST, exchanged: Mapping[type, type]) -> Changes:
    """One operator of a comparison exchanged."""
    for place, operator in enumerate(node.ops):
        if type(operator) in exchanged:
            yield {"ops": [*node.ops[:place], exchanged[type(operator)](), *node.ops[place + 1 :]]}


def flips(node: ast.AST) -> Changes:
    if isinstance(node, ast.Compare):
        yield from operators(node, FLIPPED)


def strictness(node: ast.AST) -> Changes:
    """Only where nothing is computed: sums and ratios seldom meet a threshold exactly."""
    if isinstance(node, ast.Compare) and not any(isinstance(part, ast.BinOp) for part in ast.walk(node)):
        yield from operators(node, STRICTER)


def connectives(node: ast.AST) -> Changes:
    if isinstance(node, ast.BoolOp):
        yield {"op": ast.Or() if isinstance(node.op, ast.And) else ast.And()}
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield {"operand": ast.UnaryOp(ast.Not(), node.operand)}


def extremes(node: ast.AST) -> Changes:
    if isinstance(node, ast.Name) and node.id in SWAPPED:
        yield {"id": SWAPPED[node.id]}


def thresholds(node: ast.AST) -> Changes:
    """Numbers that are compared or computed with: a tenth more and less, whole ones by one; not slack for rounding."""
    for name, part in ast.iter_fields(node) if isinstance(node, ast.Compare | ast.BinOp) else ():
        parts = part if isinstance(part, list) else [part]
        for place, number in enumerate(parts):
            kind = type(number.value) if isinstance(number, ast.Constant) else None
            if kind is int or (kind is float and number.value > 1e-6):
                step = 1 if kind is int else 0.1 * number.value
                for other in (number.value - step, number.value + step):
                    new = [*parts[:place], ast.Constant(other), *parts[place + 1 :]]
                    yield {name: new if isinstance(part, list) else new[0]}


def functions(claims: Claims) -> ast.Module:
    """The function and those of its module that it calls, where they are written."""
    tree = ast.parse(inspect.getsource(sys.modules[claims.__module__]))
    defined = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    found = [claims.__name__]
    for name in found:
        called = {node.id for node in ast.walk(defined[name]) if isinstance(node, ast.Name)}
        found += sorted((called & set(defined)) - set(found))
    return ast.Module(body=[defined[name] for name in found], type_ignores=[])


def mutants(tree: ast.Module, kind: Callable[[ast.AST], Changes]) -> Iterator[tuple[str, ast.Module]]:
    """Trees with one mistake, and what it is."""
    for place, node in enumerate(ast.walk(tree)):
        for fields in kind(node):
            mutant = copy.deepcopy(tree)
            there = list(ast.walk(mutant))[place]
            for name, value in fields.items():
                setattr(there, name, value)
            yield f"line {node.lineno}: {ast.unparse(node)} -> {ast.unparse(there)}", ast.fix_missing_locations(mutant)


def compiled(claims: Claims, tree: ast.Module) -> Claims:
    """The function of this tree, among the names of the module that it comes from."""
    names = dict(vars(sys.modules[claims.__module__]))
    exec(compile(tree, "mutant", "exec", dont_inherit=True), names)
    return names[claims.__name__]


def noticed(claims: Claims, experiment: Experiment, rows: Sequence[list[Row]]) -> bool:
    """Whether a case comes out differently, or not at all."""
    try:
        return not all(agrees(experiment, *both) for both in zip(experiment.cases, map(claims, rows), strict=True))
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return True


@cache
def rows_of(wing: str, name: str) -> list[list[Row]]:
    """Those of every case, built once: claims only read them."""
    return [WINGS[wing][name].build(**one.changes) for one in WINGS[wing][name].cases]


@pytest.mark.parametrize("wing", WINGS)
def test_no_experiment_is_left_out(wing):
    assert set(WINGS[wing]) == {path.stem for path in (Path(experiments.__file__).parent / wing).glob("[a-z]*.py")}


@pytest.mark.parametrize(("wing", "name"), ALL)
def test_every_claim_can_hold_and_can_fail(wing, name):
    first, *others = WINGS[wing][name].cases
    assert not first.fails and first.says is None
    parts = {part for one in others for part in one.fails}
    said = claims_of(wing, name)(WINGS[wing][name].build(**first.changes))
    assert all(said.values()) and all(any(part in sentence for part in parts) for sentence in said)


@pytest.mark.parametrize("kind", [flips, strictness, connectives, extremes, thresholds])
@pytest.mark.parametrize(("wing", "name"), ALL)
def test_a_changed_claim_is_noticed(wing, name, kind):
    claims, experiment = claims_of(wing, name), WINGS[wing][name]
    tree, rows = functions(claims), rows_of(wing, name)
    assert not noticed(compiled(claims, tree), experiment, rows)
    survivors = [
        what for what, mutant in mutants(tree, kind) if not noticed(compiled(claims, mutant), experiment, rows)
    ]
    assert survivors == []
