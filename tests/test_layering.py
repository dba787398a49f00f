"""Who may import whom, read off the syntax trees; how files may be called, and how long things may be."""

import ast
import statistics
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("difflab", "theory", "synthetic", "experiments")
TORCH = {"torch", "torchvision", "diffusers", "transformers", "open_clip"}
JAX = {"jax", "jaxlib", "flax", "optax"}
METHODS = {
    f"difflab.{wing}.{kind}": f"difflab.{wing}"
    for wing, kinds in (
        ("diffusion", ("defenses", "attacks", "detectors", "membership")),
        ("autoregressive", ("extractions", "scores", "objectives")),
    )
    for kind in kinds
}
"""Folders of methods, and the wing of each."""
WINGS = ("difflab.diffusion", "difflab.clip", "difflab.autoregressive")
DOOR, TOP = "the front door", "difflab"
"""The front door is difflab/__init__.py alone; the top level are the other files beside it."""
KIT = {TOP, "difflab.statistics", "difflab.runs"}

# part -> the parts of the project that it may import, besides itself.
MAY_IMPORT = {
    "theory": set(),
    TOP: {"difflab.runs"},
    "difflab.statistics": {TOP},
    "difflab.runs": KIT,
    "difflab.datasets": {TOP},
    "synthetic": {"theory", *KIT},
    "difflab.training": KIT,
    **{wing: {*KIT, "difflab.datasets", "difflab.training"} for wing in WINGS},
    **{part: {*KIT, "difflab.training", wing} for part, wing in METHODS.items()},
}
MAY_IMPORT["difflab.audits"] = {part for part in MAY_IMPORT if part != "theory"}
MAY_IMPORT[DOOR] = {*MAY_IMPORT, "difflab.audits"} - {"theory", "synthetic"}
MAY_IMPORT["experiments"] = {*MAY_IMPORT} - {DOOR}
TORCH_PARTS = {"difflab.training", *WINGS, *METHODS, "difflab.audits", "experiments"}
EVERYTHING = {"difflab.randomness"}
"""Gives streams to torch and to jax, and imports neither until it is asked for one."""
THEORY_NEEDS = {"jax", "numpy", "scipy", "jaxtyping"}
UNSAFE = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
MOST_PARAMETERS, MEDIAN_OF_LINES = 8, 150
EMPTY_NAMES = {"utils", "util", "common", "helpers", "helper", "base", "manager", "managers", "core"}


def _is_under(name, package):
    return name == package or name.startswith(package + ".")


def _part(module):
    """The part of the project that holds this module, or None for other people's code."""
    if module in (TOP, "difflab.__main__"):
        return DOOR
    inside = [part for part in MAY_IMPORT if _is_under(module, part)]
    return max(inside, key=len, default=None)


def _exists(name):
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or path.is_dir()


def _imports(tree, module, is_package=False):
    """Absolute names of all imported modules: anywhere in the file, relative ones and constant dynamic ones too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")
                parents = parents[: len(parents) - node.level + is_package]
                base = ".".join([*parents, base] if base else parents)
            for alias in node.names:
                # `from package import name` names a module if there is one.
                whole = f"{base}.{alias.name}"
                is_module = _part(base) is not None and (_exists(whole) or _part(whole) != _part(base))
                yield whole if is_module else base
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.args[0].value


def _import_faults(tree, module, is_package=False):
    """What this module imports and must not."""
    own = _part(module)
    for name in _imports(tree, module, is_package):
        top, target = name.split(".")[0], _part(name)
        if target == "experiments":
            if not (_is_under(module, "experiments.commands") and _is_under(name, "experiments.commands")):
                yield f"{module} imports {name}: nobody imports experiments, but commands each other"
        elif target is not None and target != own and target not in MAY_IMPORT[own]:
            yield f"{module} imports {name}: {own} may import {sorted(MAY_IMPORT[own]) or 'nothing of ours'}"
        elif own in METHODS and target == own and name not in (own, module):
            yield f"{module} imports {name}: no method imports another"
        if module in EVERYTHING:
            continue
        if top in TORCH and own not in TORCH_PARTS:
            yield f"{module} imports {name}: no torch in {own}"
        if top in JAX and _is_under(module, "difflab"):
            yield f"{module} imports {name}: no jax in difflab"
        if own == "theory" and target is None and top not in THEORY_NEEDS | sys.stdlib_module_names:
            yield f"{module} imports {name}: theory needs {sorted(THEORY_NEEDS)} only"
        if top in UNSAFE:
            yield f"{module} imports {name}: loading it runs code"


def _loading_faults(tree, module):
    """torch.load without weights_only=True and numpy.load with allow_pickle, under whatever name they were imported."""
    torch_names, numpy_names, loaders = set(), set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names = {"torch": torch_names, "numpy": numpy_names}.get(alias.name, set())
                names.add(alias.asname or alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module == "torch":
            loaders |= {alias.asname or alias.name for alias in node.names if alias.name == "load"}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        function = ast.unparse(node.func)
        keywords = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
        if function in loaders | {f"{name}.load" for name in torch_names}:
            if keywords.get("weights_only") is not True:
                yield f"{module}:{node.lineno}: torch.load needs weights_only=True"
        elif function in {f"{name}.load" for name in numpy_names} and keywords.get("allow_pickle", False) is not False:
            yield f"{module}:{node.lineno}: numpy.load must not allow pickle"


def _parameter_faults(tree, module):
    """Functions with more parameters than anybody can tell apart; self and what *args and **flags gather are none."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            names = [one.arg for one in given if one.arg not in ("self", "cls")]
            if len(names) > MOST_PARAMETERS:
                yield f"{module}:{node.lineno}: {len(names)} parameters, at most {MOST_PARAMETERS}"


def _faults(source, module, is_package=False):
    tree = ast.parse(source)
    return [
        *_import_faults(tree, module, is_package),
        *_loading_faults(tree, module),
        *_parameter_faults(tree, module),
    ]


def _files():
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("path", _files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_what_it_may(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    is_package = parts[-1] == "__init__"
    module = ".".join(parts[:-1] if is_package else parts)
    assert _faults(path.read_text(encoding="utf-8"), module, is_package) == []


def test_every_package_was_found():
    assert {path.relative_to(ROOT).parts[0] for path in _files()} == set(PACKAGES)


def test_files_and_folders_say_what_they_hold():
    named = {part for path in _files() for part in path.relative_to(ROOT).with_suffix("").parts}
    assert named.isdisjoint(EMPTY_NAMES)


def test_experiments_are_short():
    """What they share, and rows and figures of one, stand in the library, in synthetic, and in theory."""
    paths = [path for path in (ROOT / "experiments").glob("*/*.py") if path.parent.name != "commands"]
    lines = [len(path.read_text(encoding="utf-8").splitlines()) for path in paths if path.stem != "__init__"]
    assert len(lines) >= 69 and statistics.median(lines) <= MEDIAN_OF_LINES


def test_tests_are_flat_and_no_package():
    # A tests/theory/__init__.py would shadow the package of that name.
    assert list((ROOT / "tests").rglob("__init__.py")) == []
    assert list((ROOT / "tests").glob("*/*.py")) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("theory.loss", "import difflab.statistics.intervals"),
        ("theory.loss", "from synthetic import train"),
        ("theory.loss", "import flax.linen as nn"),
        ("theory.loss", "def f():\n    import torch"),
        ("theory.loss", "import importlib\nimportlib.import_module('difflab.runs.results')"),
        ("theory.loss", "from ..difflab import results"),
        ("difflab.runs.results", "import theory"),
        ("difflab.runs.results", "from synthetic.data.digits import digits"),
        ("difflab.runs.results", "from difflab.diffusion import pipeline"),
        ("difflab.runs.results", "from difflab.audits import audit"),
        ("difflab.training.loop", "from difflab.diffusion import loss"),
        ("difflab.diffusion.train", "from synthetic.plan import Plan"),
        ("difflab.diffusion.train", "from difflab.audits.worlds import World"),
        ("difflab.methods", "from difflab.diffusion import generate"),
        ("difflab.audits.audit", "from theory import noise"),
        ("difflab.audits.audit", "from experiments.diffusion import prunable"),
        ("difflab.statistics.intervals", "from difflab.runs.rows import Row"),
        ("difflab.datasets.captioned", "from synthetic.plan import Plan"),
        ("difflab.runs.results", "from difflab.diffusion.pipeline import load"),
        ("difflab.runs.results", "from difflab import clip"),
        ("difflab.runs.results", "from ..diffusion import pipeline"),
        ("difflab.runs.results", "import torch.nn"),
        ("difflab.runs.results", "import jax"),
        ("difflab.diffusion.train", "import jax.numpy as jnp"),
        ("difflab.diffusion.train", "from optax import adam"),
        ("difflab.diffusion.train", "import theory.noise"),
        ("difflab.diffusion.train", "from difflab.diffusion.defenses import nemo"),
        ("difflab.diffusion.train", "from ..clip import gap"),
        ("difflab.clip.gap", "from difflab.diffusion.similarity import scores"),
        ("difflab.autoregressive.train", "from difflab.diffusion.tokens import tokens"),
        ("difflab.clip.gap", "from difflab.autoregressive.model import LanguageModel"),
        ("difflab.diffusion.defenses.nemo", "from difflab.diffusion.attacks.dori import dori"),
        ("difflab.diffusion.defenses.nemo", "from difflab.diffusion.defenses.wanda import wanda"),
        ("difflab.diffusion.defenses.nemo", "from .wanda import wanda"),
        ("difflab.diffusion.membership.pian", "from difflab.diffusion.membership.pia import pia"),
        ("difflab.diffusion.defenses.nemo", "from difflab.clip import model"),
        ("difflab.autoregressive.objectives.npo", "from difflab.autoregressive.objectives.rmu import rmu"),
        ("difflab.autoregressive.shown", "from difflab.autoregressive.objectives.npo import npo"),
        ("difflab.autoregressive.scores.loss", "from difflab.autoregressive.scores.zlib import zlib"),
        ("difflab.autoregressive.scores.loss", "from difflab.autoregressive.extractions.exact import exact"),
        ("difflab.autoregressive.scores.loss", "from difflab.diffusion.pipeline import load"),
        ("difflab.autoregressive.reading", "from difflab.autoregressive.scores.loss import loss"),
        ("difflab.statistics.verbatim", "from difflab.autoregressive.reading import read"),
        ("synthetic.train", "import torch"),
        ("synthetic.train", "from diffusers import DDPMScheduler"),
        ("synthetic.train", "from difflab.diffusion.train import train"),
        ("synthetic.train", "import experiments.edge.crossover_trained"),
        ("difflab.runs.results", "if TYPE_CHECKING:\n    from experiments import digits_trained"),
        ("experiments.edge.digits_trained", "from experiments.edge.crossover_trained import Config"),
        ("experiments.edge.digits_trained", "from . import crossover_trained"),
        ("experiments.edge.digits_trained", "from experiments.commands import run"),
        ("difflab.runs.results", "def f(a, b, c, d, /, e, f, *, g, h, i=0):\n    pass"),
        ("difflab.runs.results", "f = lambda a, b, c, d, e, f, g, h, i: a"),
        ("difflab.runs.results", "import pickle"),
        ("experiments.edge.digits_trained", "from pickle import loads"),
        ("difflab.diffusion.train", "import torch\ntorch.load('a')"),
        ("difflab.diffusion.train", "import torch as t\nt.load('a', weights_only=False)"),
        ("difflab.diffusion.train", "from torch import load\nload('a')"),
        ("difflab.runs.results", "import numpy as np\nnp.load('a', allow_pickle=True)"),
    ],
)
def test_a_forbidden_line_is_found(module, source):
    assert _faults(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("theory.loss", "from theory.noise import Noise\nimport jax, numpy, scipy.special\nfrom . import mixture"),
        ("difflab.runs.results", "from difflab.errors import InputError\nfrom . import files\nimport matplotlib"),
        ("difflab.runs.results", "import numpy as np, json\nnp.load('a', allow_pickle=False), json.load(file)"),
        (
            "synthetic.train",
            "import jax, optax\nfrom theory import noise\nfrom difflab.statistics.intervals import wilson",
        ),
        ("difflab.diffusion.train", "import torch\nfrom difflab import results\ntorch.load('a', weights_only=True)"),
        ("difflab.diffusion.attacks.dori", "from difflab.diffusion.pipeline import load\nimport diffusers"),
        ("difflab.autoregressive.scores.zlib", "from zlib import compress\nfrom difflab.autoregressive import reading"),
        ("difflab", "from difflab.audits.audit import audit\nfrom difflab.runs.result import Result"),
        ("difflab.audits.audit", "from synthetic.plan import Plan\nfrom difflab import methods\nimport torch"),
        ("difflab.randomness", "def f():\n    import torch, jax"),
        ("experiments.commands.audit", "from experiments.commands.report import write"),
        (
            "experiments.edge.digits_trained",
            "import torch, jax\nfrom difflab.diffusion import train\nimport synthetic.train",
        ),
        ("difflab.runs.results", "class A:\n    def f(self, a, b, c, d, e, f, g, h, *i, **j):\n        pass"),
        ("experiments.__main__", "import importlib\nimportlib.import_module(f'experiments.{name}')"),
    ],
)
def test_an_allowed_line_is_not(module, source):
    assert _faults(source, module) == []
