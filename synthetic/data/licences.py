"""Licences that the installed packages carry: texts that stand in thousands of repositories, and what is like them."""

import re
from collections import Counter
from typing import NamedTuple

from difflab.randomness import stream
from synthetic.data.package_texts import licence_files, text_of

MARKS = {
    "MIT": ("permission is hereby granted free of charge to any person", "other dealings in the software"),
    "BSD": ("redistribution and use in source and binary forms", "possibility of such damage"),
    "Apache": ("apache license version 2.0 january 2004", "end of terms and conditions"),
    "Apache notice": ("licensed under the apache license version 2.0 the license", "limitations under the license"),
    "GPL 2": ("gnu general public license version 2 june 1991", "end of terms and conditions"),
    "GPL 3": ("gnu general public license version 3 29 june 2007", "end of terms and conditions"),
    "LGPL 2.1": ("gnu lesser general public license version 2.1 february 1999", "end of terms and conditions"),
    "LGPL 3": ("gnu lesser general public license version 3 29 june 2007", "choose that version for the library"),
    "MPL": ("mozilla public license version 2.0", "incompatible with secondary licenses as defined by"),
    "PSF": ("python software foundation license version 2", "agrees to be bound by the terms and conditions of this"),
}
"""Licence -> the first and the last words of its text, in lower case and without punctuation."""


class Licence(NamedTuple):
    """One licence.

    Attributes:
        name: a key of MARKS.
        text: from its first words to its last, as it stands in most files.
        files: of installed packages that hold a text of this name.
    """

    name: str
    text: str
    files: int


def licence_texts() -> list[Licence]:
    """Of each licence that is here the text that most files hold; whatever else stands in those files is left out."""
    return of_texts([text_of(path) for path in sorted(licence_files())])


def of_texts(texts: list[str]) -> list[Licence]:
    """The licences inside these texts, in the order of MARKS."""
    found = []
    for name, (first, last) in MARKS.items():
        # A text ends where its last words come next, and holds no other beginning of the same.
        pattern = re.compile(f"{_words(first)}(?:(?!{_words(first)}).)*?{_words(last)}", re.IGNORECASE | re.DOTALL)
        held = [match.group() for text in texts for match in pattern.finditer(text)]
        if held:
            counts = Counter(" ".join(text.lower().split()) for text in held)
            (most, _), *_ = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
            chosen = next(text for text in held if " ".join(text.lower().split()) == most)
            found.append(Licence(name, chosen, len(held)))
    return found


def shuffled(text: str, seed: int, number: int) -> str:
    """The same words in another order, with single spaces between."""
    words = text.split()
    return " ".join(words[i] for i in stream(seed, "shuffled words", number).numpy().permutation(len(words)))


def spans(length: int, prefix: int, suffix: int, most: int) -> list[int]:
    """Where passages of prefix + suffix tokens begin in a text, so that what is compared tiles it; evenly chosen.

    Args:
        length: tokens of the text.
        prefix: tokens given.
        suffix: tokens compared, which is the distance between passages.
        most: passages.
    """
    starts = list(range(0, length - prefix - suffix + 1, suffix))
    if len(starts) <= most:
        return starts
    return [starts[round(i * (len(starts) - 1) / max(most - 1, 1))] for i in range(most)]


def _words(plain: str) -> str:
    """A pattern of these words, whatever stands between them."""
    return r"\b" + r"\W+".join(map(re.escape, plain.split())) + r"\b"
