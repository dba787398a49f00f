"""Mistakes in the input: the command line prints the one sentence and exits with 2."""

import re


class InputError(Exception):
    """A mistake in the input; its one sentence says what is wrong and what to do."""


class InapplicableError(InputError):
    """A method that a model has no place for; an audit leaves it out and says so."""


class WriteError(InputError):
    """A folder that cannot be written, or a disk that is full."""


def reason(error: Exception) -> str:
    """The first sentence of what a library says, without its end, to stand in one of ours."""
    return re.split(r"\.\s|\n", str(error).strip())[0].rstrip(".")


def require(condition: bool, sentence: str) -> None:
    """Raises InputError with this sentence unless the condition holds."""
    if not condition:
        raise InputError(sentence)


def at_least(config: object, least: int, *names: str) -> None:
    """Raises InputError unless each of these fields of a config is at least so much."""
    for name in names:
        value = getattr(config, name)
        require(value >= least, f"{name} is {value}; give at least {least}.")
