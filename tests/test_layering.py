"""Who may import whom, read off the syntax trees; and how files may be called."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("difflab", "theory", "synthetic", "experiments")
TORCH = {"torch", "torchvision", "diffusers", "transformers", "open_clip"}
JAX = {"jax", "jaxlib", "flax", "optax"}
# Parts of difflab that may hold torch; everything else there is the top level.
TORCH_PARTS = ("difflab.sd", "difflab.defenses", "difflab.attacks", "difflab.detectors", "difflab.dejavu")
METHODS = ("difflab.defenses", "difflab.attacks", "difflab.detectors")
TOP = "difflab"

# part -> the parts of the project that it may import, besides itself.
MAY_IMPORT = {
    "theory": set(),
    TOP: set(),
    "synthetic": {"theory", TOP},
    "difflab.sd": {TOP},
    "difflab.dejavu": {TOP},
    **{part: {TOP, "difflab.sd"} for part in METHODS},
    "experiments": {"theory", "synthetic", TOP, *TORCH_PARTS},
}
THEORY_NEEDS = {"jax", "numpy", "scipy", "jaxtyping"}
UNSAFE = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
EMPTY_NAMES = {"utils", "util", "common", "helpers", "helper", "base", "manager", "managers", "core"}


def _is_under(name, package):
    return name == package or name.startswith(package + ".")


def _part(module):
    """The part of the project that holds this module, or None for other people's code."""
    for part in TORCH_PARTS:
        if _is_under(module, part):
            return part
    top = module.split(".")[0]
    return top if top in PACKAGES else None


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
            if own != "experiments" or not name.startswith("experiments._"):
                yield f"{module} imports {name}: nobody imports experiments, but experiments what they share"
        elif target is not None and target != own and target not in MAY_IMPORT[own]:
            yield f"{module} imports {name}: {own} may import {sorted(MAY_IMPORT[own]) or 'nothing of ours'}"
        elif own in METHODS and target == own and name not in (own, module):
            yield f"{module} imports {name}: no method imports another"
        if top in TORCH and own not in (*TORCH_PARTS, "experiments"):
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


def _faults(source, module, is_package=False):
    tree = ast.parse(source)
    return [*_import_faults(tree, module, is_package), *_loading_faults(tree, module)]


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


def test_tests_are_flat_and_no_package():
    # A tests/theory/__init__.py would shadow the package of that name.
    assert list((ROOT / "tests").rglob("__init__.py")) == []
    assert list((ROOT / "tests").glob("*/*.py")) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("theory.loss", "import difflab.intervals"),
        ("theory.loss", "from synthetic import train"),
        ("theory.loss", "import flax.linen as nn"),
        ("theory.loss", "def f():\n    import torch"),
        ("theory.loss", "import importlib\nimportlib.import_module('difflab.results')"),
        ("theory.loss", "from ..difflab import results"),
        ("difflab.results", "import theory"),
        ("difflab.results", "from synthetic.data.digits import digits"),
        ("difflab.results", "from difflab.sd import pipeline"),
        ("difflab.results", "from difflab.sd.pipeline import load"),
        ("difflab.results", "from difflab import dejavu"),
        ("difflab.results", "from .sd import pipeline"),
        ("difflab.results", "import torch.nn"),
        ("difflab.results", "import jax"),
        ("difflab.sd.train", "import jax.numpy as jnp"),
        ("difflab.sd.train", "from optax import adam"),
        ("difflab.sd.train", "import theory.noise"),
        ("difflab.sd.train", "from difflab.defenses import nemo"),
        ("difflab.sd.train", "from ..dejavu import gap"),
        ("difflab.dejavu.gap", "from difflab.sd.similarity import scores"),
        ("difflab.defenses.nemo", "from difflab.attacks.dori import dori"),
        ("difflab.defenses.nemo", "from difflab.defenses.wanda import wanda"),
        ("difflab.defenses.nemo", "from .wanda import wanda"),
        ("difflab.defenses.nemo", "from difflab.dejavu import clip"),
        ("synthetic.train", "import torch"),
        ("synthetic.train", "from diffusers import DDPMScheduler"),
        ("synthetic.train", "from difflab.sd.train import train"),
        ("synthetic.train", "import experiments.crossover_trained"),
        ("difflab.results", "if TYPE_CHECKING:\n    from experiments import digits_trained"),
        ("experiments.digits_trained", "from experiments.crossover_trained import Config"),
        ("experiments.digits_trained", "from . import crossover_trained"),
        ("difflab.results", "import pickle"),
        ("experiments.digits_trained", "from pickle import loads"),
        ("difflab.sd.train", "import torch\ntorch.load('a')"),
        ("difflab.sd.train", "import torch as t\nt.load('a', weights_only=False)"),
        ("difflab.sd.train", "from torch import load\nload('a')"),
        ("difflab.results", "import numpy as np\nnp.load('a', allow_pickle=True)"),
    ],
)
def test_a_forbidden_line_is_found(module, source):
    assert _faults(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("theory.loss", "from theory.noise import Noise\nimport jax, numpy, scipy.special\nfrom . import mixture"),
        ("difflab.results", "from difflab.errors import InputError\nfrom . import files\nimport matplotlib"),
        ("difflab.results", "import numpy as np, json\nnp.load('a', allow_pickle=False), json.load(file)"),
        ("synthetic.train", "import jax, optax\nfrom theory import noise\nfrom difflab.intervals import wilson"),
        ("difflab.sd.train", "import torch\nfrom difflab import results\ntorch.load('a', weights_only=True)"),
        ("difflab.attacks.dori", "from difflab.sd.pipeline import load\nimport diffusers"),
        ("experiments.digits_trained", "import torch, jax\nfrom difflab.sd import train\nimport synthetic.train"),
        ("experiments.__main__", "import importlib\nimportlib.import_module(f'experiments.{name}')"),
    ],
)
def test_an_allowed_line_is_not(module, source):
    assert _faults(source, module) == []
