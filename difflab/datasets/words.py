"""Words of captions and texts in any script: parted at spaces, or sign by sign where a script has none."""

import functools
import itertools
import unicodedata

_UNSPACED = {
    "CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HANGUL", "THAI", "LAO", "KHMER", "MYANMAR",
}  # fmt: skip
"""How Unicode names the signs of scripts that part no words, and of Korean, whose words take endings."""
_LONGEST = 3


def signs_apart(text: str) -> str:
    """A text with a space on both sides of every sign of a script without spaces; any other text as it is."""
    return text if text.isascii() else "".join(f" {sign} " if unspaced(sign) else sign for sign in text)


def words(text: str) -> list[str]:
    """What spaces part, and of a script without spaces all runs of one, two and three signs, in which words show."""
    if text.isascii():
        return text.split()
    found = list[str]()
    for alone, group in itertools.groupby(signs_apart(text).split(), _alone):
        pieces = list(group)
        for length in range(1, _LONGEST + 1) if alone else (1,):
            found += ("".join(pieces[i : i + length]) for i in range(len(pieces) - length + 1))
    return found


@functools.cache
def is_letter(sign: str) -> bool:
    """Whether a sign is part of a word: a letter, a digit, or a mark that belongs to one, as vowels do in Hindi."""
    mark = unicodedata.category(sign) in ("Mn", "Mc") and not unicodedata.name(sign, "").startswith("VARIATION")
    return sign.isalnum() or mark


@functools.cache
def unspaced(sign: str) -> bool:
    """Whether a sign is a letter or a mark of a script without spaces."""
    return unicodedata.name(sign, "").split(" ")[0] in _UNSPACED and is_letter(sign)


def _alone(piece: str) -> bool:
    return len(piece) == 1 and unspaced(piece)
