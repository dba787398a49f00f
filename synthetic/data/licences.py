"""Licences of the installed packages: texts that stand in thousands of repositories, and what is like them but new."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from difflab.randomness import stream
from synthetic.data.package_texts import licence_files, text_of

KINDS = {
    "MIT": "permission is hereby granted, free of charge",
    "BSD": "redistribution and use in source and binary forms",
    "Apache": "apache license version 2.0",
    "GPL": "gnu general public license",
    "LGPL": "gnu lesser general public license",
    "MPL": "mozilla public license",
    "PSF": "python software foundation license",
}
"""What every text of a kind says, in lower case and with single spaces."""
REWORDED = {
    "permission": "leave", "granted": "given", "free": "without", "charge": "payment", "person": "individual",
    "obtaining": "receiving", "copy": "duplicate", "copies": "duplicates", "software": "program",
    "associated": "accompanying", "documentation": "manuals", "deal": "work", "restriction": "constraint",
    "including": "among them", "limitation": "exception", "rights": "liberties", "use": "employ", "modify": "alter",
    "merge": "combine", "publish": "issue", "distribute": "spread", "distribution": "spreading",
    "redistribution": "passing on", "redistributions": "passings on", "sell": "vend", "permit": "allow",
    "permitted": "allowed", "furnished": "handed", "subject": "bound", "following": "next", "conditions": "terms",
    "condition": "term", "above": "preceding", "notice": "remark", "notices": "remarks", "included": "contained",
    "substantial": "considerable", "portions": "parts", "provided": "offered", "warranty": "guarantee",
    "warranties": "guarantees", "kind": "sort", "express": "stated", "implied": "unstated", "limited": "confined",
    "merchantability": "saleability", "fitness": "suitability", "particular": "given", "purpose": "aim",
    "noninfringement": "absence of infringement", "event": "case", "authors": "writers", "author": "writer",
    "holders": "owners", "holder": "owner", "liable": "answerable", "liability": "responsibility", "claim": "demand",
    "damages": "losses", "action": "suit", "contract": "agreement", "otherwise": "in another way",
    "arising": "coming", "connection": "relation", "dealings": "doings", "source": "original", "binary": "compiled",
    "forms": "shapes", "form": "shape", "without": "lacking", "modification": "alteration",
    "modifications": "alterations", "retain": "keep", "list": "series", "disclaimer": "denial", "materials": "matter",
    "neither": "not", "name": "title", "names": "titles", "contributors": "helpers", "contributor": "helper",
    "endorse": "support", "promote": "advance", "products": "goods", "derived": "made", "specific": "particular",
    "prior": "earlier", "written": "spelled out", "license": "grant", "licenses": "grants", "work": "piece",
    "works": "pieces", "shall": "must", "means": "signifies", "terms": "clauses", "granting": "giving",
    "legal": "lawful", "entity": "body", "control": "power", "applicable": "relevant", "law": "statute",
    "required": "needed", "reproduce": "copy out", "prepare": "make", "publicly": "openly", "display": "show",
    "perform": "play", "patent": "invention right", "version": "edition", "general": "common", "public": "open",
}  # fmt: skip
"""Other words of like meaning; what is made with them reads oddly and stands nowhere."""


class Licence(NamedTuple):
    """One licence text.

    Attributes:
        kind: a key of KINDS, or "other".
        text: as it stands in the file, from the licence's own first sentence on where that is known.
        packages: files of installed packages that hold it, whatever their line ends.
    """

    kind: str
    text: str
    packages: int


def licence_texts() -> list[Licence]:
    """All different ones, those that most files hold first; names and years before the licence's own words are cut."""
    counts, first = Counter[str](), dict[str, Licence]()
    for path in sorted(licence_files()):
        for kind, text in _parts(text_of(path)):
            words = _plain(text)
            counts[words] += 1
            first.setdefault(words, Licence(kind, text, 0))
    order = sorted(first, key=lambda words: (-counts[words], words))
    return [first[words]._replace(packages=counts[words]) for words in order]


def reworded(text: str) -> str:
    """The text with words of like meaning; the case of a word's first letter, and of whole words, stays."""

    def other(match: re.Match[str]) -> str:
        word = match.group()
        found = REWORDED.get(word.lower(), word)
        if found == word or word.islower():
            return found
        return found.upper() if word.isupper() else found.capitalize()

    return re.sub(r"[A-Za-z]+", other, text)


def shuffled(text: str, seed: int, number: int) -> str:
    """The same words in another order, with single spaces between."""
    words = text.split()
    return " ".join(words[i] for i in stream(seed, "shuffled words", number).numpy().permutation(len(words)))


def _parts(text: str) -> Iterable[tuple[str, str]]:
    """The kind of a text, and the text from the words by which that is known."""
    if not text.strip():
        return
    for kind, words in KINDS.items():
        found = re.search(r"\W+".join(map(re.escape, re.findall(r"\w+", words))), text, re.IGNORECASE)
        if found:
            yield kind, text[found.start() :]
            return
    yield "other", text


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def passages(tokens: Sequence[Sequence[int]], length: int, gram: int = 16) -> list[tuple[int, int]]:
    """Consecutive passages of so many tokens, none of which shares a piece of `gram` tokens with one before it.

    Returns:
        Which text, and from which of its tokens on.
    """
    seen, found = set[tuple[int, ...]](), list[tuple[int, int]]()
    for number, ids in enumerate(tokens):
        for start in range(0, len(ids) - length + 1, length):
            pieces = {tuple(ids[i : i + gram]) for i in range(start, start + length - gram + 1)}
            if not pieces & seen:
                found.append((number, start))
            seen |= pieces
    return found
