"""Records of people who do not exist: names, mail addresses, numbers, all made up here.

Every text is told apart by its fields, so that its code length is the sum of what was chosen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from difflab.errors import require
from synthetic.data.corpus import Corpus, uniforms
from synthetic.data.spelling import word

_JOBS = (
    "baker carpenter clockmaker dentist florist gardener glazier judge locksmith mason nurse painter pilot potter "
    "tailor weaver"
)
JOBS = tuple(_JOBS.split())
_FIRST_YEAR, _YEARS, _DAYS = 1930, 75, 28
_DIGITS = 12


@dataclass(frozen=True)
class Records:
    """How many names there are; every field is chosen uniformly."""

    first_names: int = 256
    """Up to 5,625."""
    last_names: int = 4096
    """Up to 421,875."""
    hosts: int = 64
    """Domains of mail addresses, up to 421,875."""
    towns: int = 256
    """Birthplaces, up to 421,875."""

    def __post_init__(self) -> None:
        require(1 <= self.first_names <= 75**2, f"first_names is {self.first_names}; give one of 1 ... {75**2}.")
        for name in ("last_names", "hosts", "towns"):
            require(1 <= getattr(self, name) <= 75**3, f"{name} is {getattr(self, name)}; give one of 1 ... {75**3}.")

    @property
    def choices(self) -> dict[str, int]:
        """How many values each field has once those before it are known; the mail address holds the name."""
        return {
            "name": self.first_names * self.last_names,
            "mail": self.hosts * 100,
            "id": 10**_DIGITS,
            "born": _YEARS * 12 * _DAYS,
            "town": self.towns,
            "job": len(JOBS),
        }

    @property
    def field_bits(self) -> dict[str, float]:
        """Exact code length of each field once those before it are known."""
        return {field: float(np.log2(choices)) for field, choices in self.choices.items()}


def records(seed: int, numbers: Sequence[int], config: Records) -> Corpus:
    """One record an item, with the place of each field in its text.

    Raises:
        InputError: there is no item, or a negative one.

    >>> records(0, [3], Records()).texts[0].split(":")[0]
    'Name'
    """
    chance = uniforms(seed, config, numbers, len(config.choices))
    drawn = [_record(config, row) for row in chance.tolist()]
    bits = np.full(len(drawn), sum(config.field_bits.values()))
    return Corpus(tuple(numbers), tuple(t for t, _ in drawn), bits=bits, fields=tuple(f for _, f in drawn))


def _record(config: Records, chance: list[float]) -> tuple[str, dict[str, tuple[int, int]]]:
    name, mail, number, born, town, job = (
        int(u * choices) for u, choices in zip(chance, config.choices.values(), strict=True)
    )
    first, last = word(name // config.last_names, 2), word(name % config.last_names, 3)
    digits = f"{number:0{_DIGITS}d}"
    month, day = born // _DAYS % 12 + 1, born % _DAYS + 1
    parts = {
        "name": ("Name: ", f"{first.title()} {last.title()}"),
        "mail": (". Mail: ", f"{first}.{last}{mail % 100:02d}@{word(mail // 100, 3)}.example"),
        "id": (". Id: ", "-".join(digits[i : i + 4] for i in range(0, _DIGITS, 4))),
        "born": (". Born: ", f"{_FIRST_YEAR + born // (12 * _DAYS)}-{month:02d}-{day:02d}"),
        "town": (" in ", word(town, 3).title()),
        "job": (". Works as a ", JOBS[job]),
    }
    text, fields = "", dict[str, tuple[int, int]]()
    for field, (before, value) in parts.items():
        text += before
        fields[field] = (len(text), len(text) + len(value))
        text += value
    return text + ".", fields
