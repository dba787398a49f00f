"""One path for every caller: an experiment's module and a config become a result, on disk or in memory."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from matplotlib.figure import Figure

from difflab import siblings
from difflab.runs import papers, registry
from difflab.runs.figures import picture
from difflab.runs.locks import held
from difflab.runs.peak_memory import peak_memory
from difflab.runs.precision import double_precision
from difflab.runs.result import Result
from difflab.runs.results import Checkpoints, Run, open_run, read_run
from difflab.runs.rows import Artefact, Note, Row, verdicts

_PACKAGES = {
    "torch": "torch",
    "diffusers": "diffusers",
    "transformers": "transformers",
    "timm": "timm",
    "open_clip": "open-clip-torch",
    "jax": "jax",
    "flax": "flax",
    "optax": "optax",
    "numpy": "numpy",
    "scipy": "scipy",
    "PIL": "pillow",
}
"""Module -> distribution."""


@runtime_checkable
class Experiment(Protocol):
    """What a module that asks a question holds."""

    def run(self, config: Any, checkpoints: Checkpoints) -> Iterator[Row | Artefact | Note]:
        """Compute; half-done work goes to the checkpoints."""

    def claims(self, rows: Sequence[Row]) -> Mapping[str, bool]:
        """Judge the rows."""

    def figures(self, rows: Sequence[Row], artefacts: dict[str, Any]) -> Mapping[str, Figure]:
        """Draw them."""


def run(name: str, config: Any, out: Path | None) -> Result:
    """Run an experiment by name: see `execute`."""
    return execute(name, registry.load(name), config, out)


def execute(name: str, module: Experiment, config: Any, out: Path | None, **given: Any) -> Result:
    """Run an experiment with a config, unless its run is there already.

    Args:
        name: the experiment's.
        module: what `registry.load` returned, or a module of `difflab.audits`.
        config: a dataclass; it alone decides the numbers.
        out: the folder of all results; None keeps the result in memory, and half-done work nowhere.
        given: objects in memory that the config stands for, handed to module.run.

    Returns:
        The result.
    """
    with siblings.at_home(), double_precision():
        if out is not None:
            return _on_disk(name, module, config, out, given)
        with tempfile.TemporaryDirectory(prefix="difflab-") as folder:
            return _on_disk(name, module, config, Path(folder), given).in_memory()


def _on_disk(name: str, module: Experiment, config: Any, out: Path, given: Mapping[str, Any]) -> Result:
    opened = open_run(out, name, asdict(config))
    if not opened.finished:
        with held(opened.folder):
            # Perhaps by the process that held the folder until now.
            if not opened.finished:
                _compute(module, config, opened, given)
                return read_run(opened.folder)
    print(f"{name}: already done", file=sys.stderr)
    return read_run(opened.folder)


def _compute(module: Experiment, config: Any, opened: Run, given: Mapping[str, Any]) -> None:
    begin = time.monotonic()
    resumed = any(opened.folder.glob("checkpoints/*.safetensors"))
    print(f"{opened.experiment}: {opened.folder}{' (resumed from its checkpoint)' if resumed else ''}", file=sys.stderr)
    rows, artefacts, notes = list[Row](), list[Artefact](), list[str]()
    for item in module.run(config, opened, **given):
        if isinstance(item, Row):
            rows.append(item)
        elif isinstance(item, Note):
            notes.append(item.sentence)
            print(f"  {item.sentence}", file=sys.stderr)
        else:
            artefacts.append(item)
    claims = module.claims(rows)
    figures = module.figures(rows, {artefact.name: artefact.array for artefact in artefacts})
    meta = about(time.monotonic() - begin) | {"resumed": resumed, "papers": papers.named(module.__doc__ or "")}
    meta |= {"notes": notes} if notes else {}
    pictures = {name: picture(figure) for name, figure in figures.items()}
    opened.finish(rows, artefacts, pictures, claims, meta)
    for claim, so in verdicts(claims, rows):
        print(f"  {'held        ' if so else 'did not hold'}  {claim}", file=sys.stderr)


def about(seconds: float) -> dict[str, Any]:
    """What a run was made with."""
    here = str(Path(__file__).parent)
    # "-dirty" behind it where a file was changed since.
    words = ["git", "-C", here, "describe", "--always", "--dirty", "--exclude", "*"]
    commit = subprocess.run(words, capture_output=True, text=True)
    return {
        "code_version": "+".join([version("difflab"), *commit.stdout.split()]),
        "seconds": round(seconds, 1),
        "peak_memory_mib": peak_memory(),
        "device": _device(),
        "packages": {name: version(name) for module, name in _PACKAGES.items() if module in sys.modules},
    }


def _device() -> str:
    """What computed: an accelerator where there is one, else the processor."""
    torch, jax = sys.modules.get("torch"), sys.modules.get("jax")
    if jax is None and torch is not None and torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return str(jax.devices()[0].device_kind) if jax is not None else "cpu"
