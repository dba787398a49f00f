"""What the commands share that audit a model of yours: the model among the words, the run, and the page."""

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, get_origin

from difflab.errors import require
from difflab.runs.configs import from_arguments
from difflab.runs.execute import execute
from experiments.commands.report import write


class Words(NamedTuple):
    """What the words of a command line are.

    Attributes:
        subjects: those that belong to no flag.
        out: the folder of the results.
        flags: all others, in their order.
    """

    subjects: list[str]
    out: Path
    flags: list[str]


def audited(arguments: Sequence[str], module: ModuleType, subject: str, missing: str) -> None:
    """Run one audit and print where its page is.

    Args:
        arguments: the words after the command.
        module: the audit: NAME, Config, and the parts of an experiment.
        subject: what its model is called in the help; empty where flags name it.
        missing: the sentence where no model is named.

    Raises:
        InputError: no model, several of them, or what the config refuses.
    """
    words = sorted_out(arguments, module.Config())
    program = f"difflab {module.__name__.rpartition('.')[2]}"
    if not {"-h", "--help"} & set(words.flags):
        require(bool(words.subjects) or not subject, missing)
        wanted = f"one {subject}" if subject else "flags only"
        require(
            len(words.subjects) <= bool(subject),
            f"{program} takes {wanted}, not {' and '.join(words.subjects)}; a flag with several values goes last.",
        )
    named = ["--model", words.subjects[0]] if words.subjects else []
    usage = " ".join(part for part in (program, subject, "[--out DIR]") if part)
    config = from_arguments(module.Config(), [*words.flags, *named], usage, module.__doc__)
    execute(module.NAME, module, config, words.out)
    print(write(words.out))


def sorted_out(arguments: Sequence[str], default: Any, results: str = "results") -> Words:
    """Flags with their values, as the fields of a config take them, and what belongs to none.

    Args:
        arguments: the words after the command.
        default: the config whose fields flags are.
        results: the folder where no --out names one.

    >>> from difflab.audits.extract import Config
    >>> sorted_out(["--seed", "3", "my_lm", "--prefix", "4", "10", "--out", "here"], Config())
    Words(subjects=['my_lm'], out=PosixPath('here'), flags=['--seed', '3', '--prefix', '4', '10'])
    """
    kinds = dict(_kinds(default))
    subjects, flags, out, left = list[str](), list[str](), results, list(arguments)
    while left:
        word = left.pop(0)
        if not word.startswith("-"):
            subjects.append(word)
            continue
        name, _, value = word.partition("=")
        field = name.lstrip("-").rpartition(".")[2].replace("-", "_")
        values = [] if "=" in word else _values(left, kinds.get(field, kinds.get(field.removeprefix("no_"), str)))
        del left[: len(values)]
        if field == "out":
            require(bool(values or value), "--out needs a folder.")
            out = (values or [value])[0]
        else:
            flags += [word, *values]
    return Words(subjects, Path(out), flags)


def _values(left: Sequence[str], kind: Any) -> list[str]:
    """Those of the next words that a flag of this type takes; several end where the next flag begins."""
    if kind is bool:
        return []
    following = next((i for i, word in enumerate(left) if word.startswith("--")), len(left))
    return list(left[: following if get_origin(kind) is tuple else min(1, following)])


def _kinds(config: Any) -> Iterator[tuple[str, Any]]:
    """Name and type of every field, of the inner configs, too."""
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            yield from _kinds(value)
        else:
            yield field.name, field.type
