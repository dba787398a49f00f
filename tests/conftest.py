"""How the tests run: float64, nothing implicit in JAX, shapes and types checked at every call, no windows."""

import os
import shutil
import signal
from pathlib import Path

os.environ["MPLBACKEND"] = "Agg"
# Of processes that tests start; a run sets it by itself.
os.environ["JAX_ENABLE_X64"] = "1"
# Small models take longer to compile than to run, by XLA's newer emitters twice as long. Processes that tests start
# compile in the same way.
os.environ["XLA_FLAGS"] = " ".join(
    (
        os.environ.get("XLA_FLAGS", ""),
        "--xla_backend_optimization_level=0",
        "--xla_llvm_disable_expensive_passes=true",
        "--xla_cpu_use_fusion_emitters=false",
    )
)
# What one process has compiled the others take over.
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(Path(__file__).parents[1] / ".jax_cache")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores; more threads than cores would wait for each other.
    os.environ["OMP_NUM_THREADS"] = "1"

import hypothesis
import jax
import jaxtyping
import pytest
from filelock import FileLock

# A shell that starts the tests in the background has them ignore Ctrl-C, and with them all processes that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("difflab", deadline=None)
hypothesis.settings.load_profile("difflab")
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")

# JAX's checker cannot tell these from reuse: denoisers that are meant to meet the same noise (one key closed over by
# lax.map, one bootstrap key for every weight), and an array of keys of which a slice is taken twice.
COMMON_NOISE = {
    "test_border_keys",
    "test_command_line",
    "test_experiments",
    "test_front_door",
    "test_locate",
    "test_network_study",
    "test_probes",
    "test_study",
    "test_train",
}

pytest.register_assert_rewrite("conformance")
# Only what is imported after this line is checked. A float may be given as an int, as type checkers have it.
jaxtyping.install_import_hook(
    ["difflab", "synthetic", "theory"], "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    jax.config.update("jax_debug_key_reuse", item.path.stem not in COMMON_NOISE)


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """(name, make) -> a folder that make(folder) has filled, once for all workers; nobody may change what is in it."""
    place = tmp_path_factory.getbasetemp()
    place = place.parent if "PYTEST_XDIST_WORKER" in os.environ else place

    def folder(name, make):
        found, half = place / name, place / f"{name}.half"
        with FileLock(place / f"{name}.lock"):
            if not found.exists():
                # What a failed make left behind.
                shutil.rmtree(half, ignore_errors=True)
                half.mkdir()
                make(half)
                half.rename(found)
        return found

    return folder


def pytest_addoption(parser):
    parser.addoption("--run-slow", action="store_true", help="run the tests marked slow too")


LONGEST = ("test_experiments", "test_front_door", "test_command_line", "test_audit", "test_sweep")
"""Files that begin first, so that no worker is left alone with one of them in the end."""


def pytest_collection_modifyitems(config, items):
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))
    for item in items:
        if "slow" in item.keywords and not config.getoption("--run-slow"):
            item.add_marker(pytest.mark.skip(reason="slow: give --run-slow"))
        if "gpu" in item.keywords and jax.default_backend() == "cpu":
            item.add_marker(pytest.mark.skip(reason="gpu: no accelerator here"))
