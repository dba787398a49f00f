"""Records of patients who do not exist: who they are, and their visits, all codes drawn from a hidden disease.

Every disease has ordinary codes of its own, others are common to all, and each has one sensitive code that stands, if
at all, in the second half of the visits. So a sensitive code can be inferred from the visits before it. Where it is
arbitrary it is that of another disease, and nothing in the record says which.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from difflab.errors import at_least, require
from synthetic.data.corpus import Corpus, law_source, uniforms

NATURAL, INFERABLE, ARBITRARY = "natural", "inferable", "arbitrary"
SENSITIVE = (NATURAL, INFERABLE, ARBITRARY)
"""There now and then, and of the disease; always there, and of the disease; always there, and of another disease."""
ANY, RARE, COMMON = "any", "rare", "common"
GROUPS = (ANY, RARE, COMMON)
"""Which diseases a patient may have."""
FIELDS = ("age", "area", "month")
"""Of what a record begins with; all values are equally likely, whatever the disease."""
GAPS = (1, 7, 30, 90)
"""Days that may lie between two visits."""


@dataclass(frozen=True)
class VisitRecords:
    """A law of records."""

    diseases: int = 8
    """Hidden ones, at least 2 rare and 2 common; each has one sensitive code."""
    rare: int = 2
    """Of them, the last ones, are rare."""
    rare_share: float = 0.05
    """Of the patients who have a rare one."""
    own: int = 6
    """Ordinary codes of each disease."""
    common: int = 16
    """Codes that all diseases have."""
    common_share: float = 0.2
    """Of the ordinary codes in a record that are common ones."""
    visits: int = 6
    """Of a patient."""
    codes: int = 3
    """Of a visit."""
    values: int = 32
    """Of each identifier."""
    present: float = 0.7
    """Probability that a natural record holds its sensitive code."""
    sensitive: str = NATURAL
    """natural, inferable or arbitrary."""
    group: str = ANY
    """any, rare or common."""

    def __post_init__(self) -> None:
        at_least(self, 2, "rare", "visits", "values")
        at_least(self, 1, "own", "common", "codes")
        require(self.diseases >= self.rare + 2, f"diseases is {self.diseases}; give two more than the rare ones.")
        for name in ("rare_share", "common_share", "present"):
            require(0 < getattr(self, name) < 1, f"{name} is {getattr(self, name)}; give a share between 0 and 1.")
        require(self.sensitive in SENSITIVE, f"sensitive is {self.sensitive!r}; give one of {', '.join(SENSITIVE)}.")
        require(self.group in GROUPS, f"group is {self.group!r}; give one of {', '.join(GROUPS)}.")

    @property
    def ordinary(self) -> int:
        """How many ordinary codes there are."""
        return self.diseases * self.own + self.common

    def after(self, visits: int) -> int:
        """Words of a record up to the end of so many visits."""
        return len(FIELDS) + visits * (1 + self.codes)

    @property
    def length(self) -> int:
        """Words of a record."""
        return self.after(self.visits)

    @property
    def before(self) -> int:
        """Words of a record before the visits in which a sensitive code may stand."""
        return self.after(self.visits // 2)

    def words(self) -> tuple[str, ...]:
        """All words: identifiers, gaps, ordinary codes, sensitive codes."""
        fields = [f"{field}:{value}" for field in FIELDS for value in range(self.values)]
        ordinary = [f"dx:{code}" for code in range(self.ordinary)]
        return (*fields, *map(gap, GAPS), *ordinary, *(f"sx:{code}" for code in range(self.diseases)))


class Law(NamedTuple):
    """What a seed decides.

    Attributes:
        diseases: probability of each ordinary code in a visit, a row for each disease.
        sensitive: the sensitive code of each disease.
    """

    diseases: Float[np.ndarray, "d c"]
    sensitive: Int[np.ndarray, " d"]


def gap(days: int) -> str:
    """The word that stands before a visit."""
    return f"+{days}d"


def days(word: str) -> float:
    """How far time goes on with a word; 0 but for gaps."""
    return float(word[1:-1]) if word.startswith("+") else 0.0


def law_of(seed: int, config: VisitRecords) -> Law:
    """The law of a seed, the same for all kinds of sensitive codes and groups."""
    source = law_source(seed, replace(config, sensitive=NATURAL, group=ANY))
    order, table = source.permutation(config.ordinary), np.zeros((config.diseases, config.ordinary))
    table[:, order[: config.common]] = config.common_share / config.common
    for disease, own in enumerate(order[config.common :].reshape(config.diseases, config.own)):
        table[disease, own] = (1 - config.common_share) / config.own
    return Law(table, source.permutation(config.diseases))


def visit_records(seed: int, numbers: Sequence[int], config: VisitRecords) -> Corpus:
    """One record an item; its fields are "identifiers" and, where it has one, "sensitive".

    Raises:
        InputError: there is no item, or a negative one.

    >>> visit_records(0, [3], VisitRecords(visits=2, codes=1, sensitive="inferable")).texts[0].split()[-1][:3]
    'sx:'
    """
    law, first = law_of(seed, config), len(FIELDS)
    chance = uniforms(seed, config, numbers, 4 + first + config.visits * (1 + config.codes))
    texts, fields = list[str](), list[dict[str, tuple[int, int]]]()
    sums = np.cumsum(law.diseases, axis=1)
    for row in chance:
        head, identifiers, rest = row[:4], row[4 : 4 + first], row[4 + first :]
        disease = _disease(config, head[0])
        record = [f"{field}:{int(u * config.values)}" for field, u in zip(FIELDS, identifiers, strict=True)]
        for visit in rest.reshape(config.visits, 1 + config.codes):
            record.append(gap(GAPS[int(visit[0] * len(GAPS))]))
            drawn = np.searchsorted(sums[disease] / sums[disease, -1], visit[1:], side="right")
            record += [f"dx:{min(code, config.ordinary - 1)}" for code in drawn]
        named = {"identifiers": (0, len(" ".join(record[:first])))}
        if config.sensitive != NATURAL or head[1] < config.present:
            later = config.visits - config.visits // 2
            place = config.before + int(head[2] * later) * (1 + config.codes) + config.codes
            shift = 1 + int(head[3] * (config.diseases - 1)) if config.sensitive == ARBITRARY else 0
            record[place] = f"sx:{law.sensitive[(disease + shift) % config.diseases]}"
            start = len(" ".join(record[:place])) + 1
            named["sensitive"] = (start, start + len(record[place]))
        texts.append(" ".join(record))
        fields.append(named)
    return Corpus(tuple(numbers), tuple(texts), fields=tuple(fields))


def _disease(config: VisitRecords, chance: float) -> int:
    """Common diseases are equally likely, and so are rare ones."""
    usual = config.diseases - config.rare
    share = {RARE: 1.0, COMMON: 0.0, ANY: config.rare_share}[config.group]
    if chance < share:
        return usual + int(chance / share * config.rare)
    return int((chance - share) / (1 - share) * usual)


def described(seed: int, config: VisitRecords) -> Float[np.ndarray, "words d"]:
    """A vector of every word, as a model of their descriptions would give: half its own, half shared in its disease.

    Returns:
        In the order of `VisitRecords.words`. Two ordinary or sensitive codes of one disease have a cosine of 1/2, all
        others, and those that all diseases share, of 0.
    """
    law, words = law_of(seed, config), config.words()
    shared = np.zeros((len(words), config.diseases))
    start = len(words) - config.diseases - config.ordinary
    tell = (law.diseases > 0).sum(axis=0) == 1
    shared[start : start + config.ordinary][tell] = (law.diseases > 0).T[tell]
    shared[start + config.ordinary + law.sensitive, np.arange(config.diseases)] = 1
    return np.concatenate([np.eye(len(words)), shared], axis=1)
