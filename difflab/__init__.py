"""A laboratory for memorization in generative models: when do they copy their training data, and what makes them stop?

    import difflab
    pipeline = difflab.load("planted")                        # or a directory, or with download=True a hub id
    audit = difflab.audit(pipeline, data="pictures/")         # does it draw copies of its training pictures?
    held = difflab.stress(pipeline, defense="nemo")           # does a defense hold when its prompts are searched?
    board = difflab.board(add="my_defense.py")                # is it a cure, under every attack on several worlds?
    clip = difflab.dejavu(model=..., data=..., objects=...)   # does a CLIP reveal what its captions never name?
    text = difflab.extract("my_lm/", texts="seen.jsonl", unseen="unseen.jsonl")   # what does it continue word for word?
    chart = difflab.cartography("losses.npy")                 # which items does the course of a training make suspect?
    told = difflab.membership(pipeline, members=..., non_members=...)   # can anybody tell what it was trained on?
    codes = difflab.records("my_ehr_lm/", "seen.jsonl", "unseen.jsonl")   # are patients' codes inferred or remembered?
    left = difflab.unlearn("my_lm/", "forget.jsonl", "retain.jsonl", "npo")   # the model without some texts
    seen = difflab.inspect("my_lm/")                          # what does its inside show, without the training data?
    run = difflab.run("crossover_trained", n=200)             # the run folder that the command line would make
    same = difflab.open_run(run.folder)

Each returns a `Result`: rows, table(), claims, figures, artefacts, save(), cite(); `unlearn` returns a model with what
it knew on the way: model, checks, table(), save(). Everything is imported when it is first asked for, so that `import
difflab` takes no time.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from difflab.audits.audit import audit
    from difflab.audits.board import board
    from difflab.audits.cartography import cartography
    from difflab.audits.dejavu import dejavu
    from difflab.audits.extract import extract
    from difflab.audits.inspect import inspect
    from difflab.audits.membership import membership
    from difflab.audits.records import records
    from difflab.audits.run import open_run, run
    from difflab.audits.stress import stress
    from difflab.audits.unlearn import unlearn
    from difflab.diffusion.pipeline import load
    from difflab.errors import InputError
    from difflab.runs.result import Result

__all__ = [
    "InputError",
    "Result",
    "audit",
    "board",
    "cartography",
    "dejavu",
    "extract",
    "inspect",
    "load",
    "membership",
    "open_run",
    "records",
    "run",
    "stress",
    "unlearn",
]

_HOMES = {
    "InputError": "difflab.errors",
    "Result": "difflab.runs.result",
    "audit": "difflab.audits.audit",
    "board": "difflab.audits.board",
    "cartography": "difflab.audits.cartography",
    "dejavu": "difflab.audits.dejavu",
    "extract": "difflab.audits.extract",
    "inspect": "difflab.audits.inspect",
    "load": "difflab.diffusion.pipeline",
    "membership": "difflab.audits.membership",
    "open_run": "difflab.audits.run",
    "records": "difflab.audits.records",
    "run": "difflab.audits.run",
    "stress": "difflab.audits.stress",
    "unlearn": "difflab.audits.unlearn",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'difflab' has no attribute {name!r}")
    from difflab import siblings

    return getattr(siblings.load(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
