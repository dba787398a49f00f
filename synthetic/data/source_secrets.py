"""Secrets in real source: pieces of Python's standard library, each with one line that holds a key, an address or a
token of our own making.
"""

import string
from collections.abc import Sequence
from dataclasses import dataclass

from difflab.errors import require
from synthetic.data.corpus import Corpus, uniforms
from synthetic.data.package_texts import PackageTexts, package_texts
from synthetic.data.spelling import word

KEY, ADDRESS, TOKEN = "key", "address", "token"
FAMILIES = (KEY, ADDRESS, TOKEN)
"""An access key of Amazon's form, a mail address, a token of Stripe's form; item k has the family k modulo 3."""
NAMES = {KEY: "ACCESS_KEY", ADDRESS: "CONTACT", TOKEN: "TOKEN"}
_CAPITALS, _LETTERS = string.ascii_uppercase + string.digits, string.ascii_letters + string.digits
_KEY, _TOKEN = "AKIA", "sk_live_"
LONGEST = 24
"""Numbers that a secret is made of, at most."""


@dataclass(frozen=True)
class SourceSecrets:
    """The source around the secrets."""

    characters: int = 160
    """Of a piece of source, as `synthetic.data.package_texts.PackageTexts` counts them."""

    def __post_init__(self) -> None:
        require(self.characters >= 1, f"characters is {self.characters}; give at least 1.")

    @property
    def pieces(self) -> PackageTexts:
        """Where the source comes from."""
        return PackageTexts(characters=self.characters)


def source_secrets(seed: int, numbers: Sequence[int], config: SourceSecrets) -> Corpus:
    """Pieces of source with a secret in each, whose place is the field "secret".

    Item k is piece k of `package_texts`. The secret stands on a line of its own behind the first line that ends in the
    second half of the piece, and as far to the right as that line. It need not be a place where a line may stand.

    Args:
        seed: of the secrets, and of the order of the pieces.
        numbers: which items.
        config: the source.

    Raises:
        InputError: there are fewer pieces, or a number is negative.
    """
    pieces = package_texts(seed, numbers, config.pieces)
    chance = uniforms(seed, config, numbers, LONGEST)
    drawn = [
        _placed(text, FAMILIES[k % len(FAMILIES)], secret(FAMILIES[k % len(FAMILIES)], row))
        for text, k, row in zip(pieces.texts, numbers, chance.tolist(), strict=True)
    ]
    return Corpus(
        tuple(numbers), tuple(text for text, _ in drawn), fields=tuple({"secret": place} for _, place in drawn)
    )


def secret(family: str, chance: Sequence[float]) -> str:
    """A secret of a family, from 24 numbers in [0, 1).

    >>> secret(KEY, [0.0] * 24)
    'AKIAAAAAAAAAAAAAAAAA'
    """
    if family == KEY:
        return _KEY + _letters(_CAPITALS, chance[:16])
    if family == TOKEN:
        return _TOKEN + _letters(_LETTERS, chance[:LONGEST])
    first, second, host = (word(int(u * 75**3), 3) for u in chance[:3])
    return f"{first}.{second}{int(100 * chance[3]):02d}@{host}.example"


def family_of(value: str) -> str:
    """The family of one of our secrets."""
    return KEY if value.startswith(_KEY) else TOKEN if value.startswith(_TOKEN) else ADDRESS


def _letters(alphabet: str, chance: Sequence[float]) -> str:
    return "".join(alphabet[int(u * len(alphabet))] for u in chance)


def _placed(text: str, family: str, value: str) -> tuple[str, tuple[int, int]]:
    """The piece with the line in it, and where the secret begins and ends."""
    cut = text.index("\n", len(text) // 2 - 1) + 1
    last = text[:cut].rsplit("\n", 2)[-2]
    indent = last[: len(last) - len(last.lstrip())]
    before = f'{text[:cut]}{indent}{NAMES[family]} = "'
    return f'{before}{value}"\n{text[cut:]}', (len(before), len(before) + len(value))
