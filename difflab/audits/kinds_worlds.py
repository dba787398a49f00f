"""A language in which memorized texts are of three kinds by construction, and what a small model makes of each.

Recited are random strings with many copies, reconstructed are patterns that anybody can continue, recollected would be
random strings with few copies. The background holds patterns, too, so that the model learns to go on with them.
"""

from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from difflab.audits.planted_language import (
    PlantedLanguage,
    documents_for,
    planted_language,
    trained_model,
    untrained_model,
)
from difflab.autoregressive.attention import attention_maps
from difflab.autoregressive.generate import continued
from difflab.autoregressive.likelihood import predictions
from difflab.autoregressive.model import LanguageModel
from difflab.autoregressive.recipe import SIZES, Recipe
from difflab.errors import at_least, require
from difflab.runs.result import digest
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import Prefixed, key
from difflab.statistics.code_lengths import huffman_bits
from difflab.statistics.redundancy import compressed_share, repeated_share
from difflab.training.devices import one_thread
from difflab.training.loop import Keeping
from synthetic.data.markov_text import MarkovText, markov_text
from synthetic.data.patterns import Patterns, goes_on, patterns
from synthetic.data.random_strings import RandomStrings, random_strings
from synthetic.decontamination import occurrences
from synthetic.ledger import Ladder, planted

RECITE, RECONSTRUCT, RECOLLECT = "recite", "reconstruct", "recollect"
KINDS = (RECITE, RECONSTRUCT, RECOLLECT)
MANY = 5
"""A text with more copies is recited, if it comes back."""
_STRINGS, _PATTERNS = "random string", "pattern"


@dataclass(frozen=True)
class KindsWorld:
    """What is planted, and the model that is trained on it."""

    copies: tuple[int, ...] = (1, 2, 4, 128, 192, 256)
    """Of random strings."""
    strings: int = 20
    """Random strings with so many copies; as many of each are twins that nobody is trained on."""
    patterns: int = 80
    """Patterns with one copy each; as many are twins."""
    shown: float = 0.3
    """Share of the background's documents that are patterns."""
    item: int = 32
    """Tokens of an item, and of a document."""
    prefix: int = 16
    """Of them that are given; the others are compared."""
    length: int = 96
    """Tokens of a training sequence."""
    sequences: int = 24_000
    """Training sequences; each is seen once."""
    vocabulary: int = 128
    """Words."""
    size: str = "slim"
    """Of the Llama."""
    batch: int = 16
    """Sequences a step."""
    rate: float = 3e-3
    """Highest learning rate."""
    warmup: int = 50
    """Steps until it is reached."""
    seed: int = 0
    """Of items, places, background and first weights."""

    def __post_init__(self) -> None:
        at_least(self, 1, "strings", "patterns", "batch", "prefix")
        at_least(self, 0, "seed", "warmup")
        many = [copies for copies in self.copies if copies > MANY]
        require(0 < len(many) < len(self.copies), f"copies is {self.copies}; give some up to {MANY} and some above.")
        require(0 < self.shown < 1, f"shown is {self.shown}; give a share between 0 and 1.")
        require(self.prefix < self.item < self.length, "prefix, item and length must rise.")
        require(self.size in SIZES, f"size is {self.size!r}; give one of {', '.join(SIZES)}.")
        inserted = self.strings * sum(self.copies) + self.patterns
        require(inserted <= self.sequences, f"{inserted} copies need as many training sequences; give more, or less.")
        Ladder(self.copies)
        self.family()

    @property
    def name(self) -> str:
        """After all that decides what is trained."""
        return digest("kinds_world", asdict(self))

    def family(self) -> Patterns:
        """Of the patterns."""
        return Patterns(self.vocabulary, self.item)


def language_of(world: KindsWorld) -> PlantedLanguage:
    """The texts of a world."""
    ladder, few = Ladder(world.copies, world.strings, 1), Ladder((1,), world.patterns, 1)
    strings = random_strings(world.seed, range(ladder.items), RandomStrings(world.vocabulary, world.item))
    continuing = patterns(world.seed, range(few.items), world.family())
    ledger = (*planted(_STRINGS, strings, ladder), *planted(_PATTERNS, continuing, few))
    n = documents_for(world.sequences, world.length, world.item)
    shown = int(n * world.shown)
    background = [
        markov_text(world.seed, range(n - shown), MarkovText(world.vocabulary, world.item, 4)).tokens,
        patterns(world.seed, range(few.items, few.items + shown), world.family()).tokens,
    ]
    documents = [part for part in background if part is not None]
    return planted_language(ledger, documents, world.sequences, world.length, world.vocabulary, world.seed)


def ruled(tokens: Int[np.ndarray, "n t"], copies: Int[np.ndarray, " n"]) -> Shaped[np.ndarray, " n"]:
    """The kind of each text by the rule of Prashanth et al.: copies first, then whether it goes on as it began.

    Args:
        tokens: of each.
        copies: of each in the training set, counted.

    Reference:
        Prashanth et al. 2025, arXiv 2406.17746.

    Differs:
        A pattern repeats; theirs may count, too.
    """
    going_on = np.array([goes_on(one) for one in tokens])
    return np.where(copies > MANY, RECITE, np.where(going_on, RECONSTRUCT, RECOLLECT))


def planted_kinds(world: KindsWorld) -> Shaped[np.ndarray, " n"]:
    """The same by construction."""
    ladder = Ladder(world.copies, world.strings, 1)
    strings = np.array([RECITE if copies > MANY else RECOLLECT for copies in np.repeat(ladder.rungs, ladder.per_rung)])
    return np.concatenate([strings, [RECOLLECT] * len(strings), [RECONSTRUCT] * 2 * world.patterns])


def asked_of(world: KindsWorld, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    """Train the model of a world, and ask it about its items.

    Returns:
        Of every item: "copies", counted in the training set; "kind" by the rule, its place in `KINDS`; "memorized",
        whether it comes back word for word; "features"; "tokens"; "own", the tokens with the model's own continuation;
        "maps" of attention, "own maps" of the latter, and both of the untrained model.
    """
    texts, keeping = language_of(world), Keeping(Prefixed(checkpoints, key(world.name)), "training", 250)
    recipe = Recipe(world.sequences // world.batch, world.batch, world.rate, world.warmup)
    with one_thread():
        model = trained_model(texts, world.size, recipe, world.seed, keeping)
        first = untrained_model(texts, world.size, world.seed)
        written = continued(model, list(texts.tokens[:, : world.prefix]), world.item - world.prefix)
        own = texts.tokens.copy()
        # A text that the model ends is over.
        own[:, world.prefix :] = model.begin
        for row, ids in enumerate(written):
            own[row, world.prefix : world.prefix + len(ids)] = ids
        found = occurrences(list(texts.rows), list(texts.tokens))
        copies = np.bincount(found.probe, minlength=len(texts.tokens))
        kinds = ruled(texts.tokens, copies)
        return {
            "copies": copies,
            "kind": np.array([KINDS.index(kind) for kind in kinds]),
            "memorized": (own == texts.tokens).all(axis=1),
            "features": _features(world, texts, model, copies),
            "tokens": texts.tokens,
            "own": own,
            "maps": attention_maps(model, texts.tokens),
            "own maps": attention_maps(model, own),
            "untrained maps": attention_maps(first, texts.tokens),
            "untrained own maps": attention_maps(first, own),
        }


def _features(
    world: KindsWorld, texts: PlantedLanguage, model: LanguageModel, copies: Int[np.ndarray, " n"]
) -> Float[np.ndarray, "n k"]:
    """Logarithm of copies, loss of the prefix, bits of its Huffman code, what zlib saves, what repeats, and the mean
    logarithm of how often its tokens stand in the training set; of the whole text but for the loss."""
    counts = np.bincount(texts.rows.ravel(), minlength=int(texts.tokens.max()) + 1)
    losses = [-float(one.log_probs[: world.prefix].mean()) for one in predictions(model, list(texts.tokens))]
    return np.array(
        [
            [np.log1p(n), loss, huffman_bits(one), compressed_share(entry.text), repeated_share(one),
             float(np.log(counts[one]).mean())]
            for n, loss, one, entry in zip(copies, losses, texts.tokens, texts.ledger, strict=True)
        ]
    )  # fmt: skip


def guess_or_recall(told: dict[str, np.ndarray]) -> tuple[Bool[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Which items are of a kind that attention should tell, and which: 0 guess, 1 recall, 2 none.

    Guess are patterns and recall strings with many copies, which come back; none are strings with few or no copies,
    which do not.
    """
    recited, continuing, other = (told["kind"] == place for place in range(3))
    memorized = told["memorized"]
    kinds = np.select([continuing & memorized, recited & memorized, other & ~memorized], [0, 1, 2], -1)
    return kinds >= 0, kinds
