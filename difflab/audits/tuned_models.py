"""A language model fine-tuned in several ways on the same few texts: what it then betrays of them, epoch by epoch.

A model is trained on texts of several laws in equal parts and in a random order, so that it must find out from the
first words which law a text has. Then it is fine-tuned on some texts of one of these laws, the members. Their twins
have the same law and nobody is trained on them; other texts of that law tell how much was learned. What a method can
learn is which law it is, and what the model did not yet know of it; all else that it gains on members is memory.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from jaxtyping import Int

from difflab import methods
from difflab.audits.looks import Course, looked_at
from difflab.autoregressive.likelihood import predictions
from difflab.autoregressive.model import LanguageModel, Tokens
from difflab.autoregressive.reading import read
from difflab.autoregressive.recipe import SIZES, Recipe, architecture, build
from difflab.autoregressive.tokenizers import word_level
from difflab.autoregressive.train import train
from difflab.autoregressive.tuning import METHODS, Sizes, adapted, trained_size
from difflab.errors import at_least, require
from difflab.randomness import stream
from difflab.runs.parallel import kept
from difflab.runs.result import digest
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import Prefixed, key, made_once
from difflab.statistics.ranking import auc, true_positives
from difflab.training.devices import one_thread
from difflab.training.loop import Keeping
from synthetic.data.markov_text import MarkovText, markov_text
from synthetic.data.spelling import words

SCORES = ("loss", "reference", "zlib", "min_k")
"""Membership scores; the reference is the model before fine-tuning."""
RATES = {
    "full": 1e-3, "head": 1e-2, "LoRA on attention": 3e-3, "LoRA on projections": 1e-2, "LoRA on both": 1e-2,
    "prefix": 0.15, "prompt": 0.5, "P-tuning": 3e-2,
}  # fmt: skip
"""Learning rates of the methods: ours. Four were tried for each, about a factor of three apart, on two worlds of the
size tiny that no default uses (seeds 1000 and 1001). These come to the lowest mean validation loss, or within 0.003."""
ROLES = ("member", "twin", "validation", "earlier")


@dataclass(frozen=True)
class TuningWorld:
    """Laws, the texts of one of them, and the model that is fine-tuned on these."""

    members: int = 64
    """Texts that the model is fine-tuned on, and as many twins."""
    validation: int = 128
    """Other texts of their law."""
    laws: int = 4
    """Of the texts that the model is trained on before."""
    length: int = 32
    """Words of a text."""
    prefix: int = 8
    """Words given of it, where the others are to be continued word for word."""
    vocabulary: int = 64
    """Words."""
    branches: int = 4
    """Words that may follow a word."""
    size: str = "tiny"
    """Of the model, a Llama."""
    batch: int = 16
    """Texts a step."""
    pretraining: int = 600
    """Steps before fine-tuning; each text is seen once."""
    rate: float = 3e-3
    """Highest learning rate before fine-tuning."""
    steps: tuple[int, ...] = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96)
    """Of fine-tuning, after which the model is looked at: ascending, 0 and those of one epoch among them."""
    beside: Sizes = field(default_factory=Sizes)
    """How much is trained beside the model."""
    seed: int = 0
    """Of laws, texts and weights."""

    def __post_init__(self) -> None:
        at_least(self, 2, "members", "validation", "length", "vocabulary")
        at_least(self, 1, "laws", "prefix", "branches", "batch", "pretraining")
        at_least(self, 0, "seed")
        require(self.prefix < self.length, f"prefix is {self.prefix}; give fewer than the {self.length} words of one.")
        require(self.members % self.batch == 0, f"members is {self.members}; give a multiple of batch, {self.batch}.")
        require(
            list(self.steps) == sorted({0, self.an_epoch, *self.steps}) and self.steps[-1] > self.an_epoch,
            f"steps is {self.steps}; give 0, {self.an_epoch}, which are one epoch, and more, ascending.",
        )
        require(self.size in SIZES, f"size is {self.size!r}; give one of {', '.join(SIZES)}.")
        require(min(self.beside) >= 1, f"beside is {self.beside}; give at least 1 of each.")
        Recipe(self.pretraining, self.batch, self.rate)

    @property
    def an_epoch(self) -> int:
        """Steps in which every member is seen once."""
        return self.members // self.batch

    @property
    def name(self) -> str:
        """After all that decides what is trained."""
        return digest("tuning_world", asdict(self))

    def texts(self, role: str, count: int, first: int = 0, law: int = 0) -> list[str]:
        """Texts of one of `ROLES`, from this number on, of a law."""
        start = ROLES.index(role) * 10_000_000 + first
        config = MarkovText(self.vocabulary, self.length, self.branches, domain=law)
        return list(markov_text(self.seed, range(start, start + count), config).texts)


def blank(world: TuningWorld) -> LanguageModel:
    """The model before any step; head and embedding have weights of their own."""
    tokenizer = word_level([" ".join(words(world.vocabulary))])
    room = 1 + world.length + max(world.beside.before(method) for method in METHODS)
    config = architecture("llama", world.size, len(tokenizer), room, tokenizer.bos_token_id)
    config.tie_word_embeddings = False
    return build(config, world.seed, tokenizer, "before fine-tuning")


def tuned(
    worlds: Sequence[TuningWorld], tunings: Sequence[str], checkpoints: Checkpoints, workers: int
) -> dict[tuple[TuningWorld, str], dict[str, np.ndarray]]:
    """What each world's model betrays while it is fine-tuned in each way; nothing is done twice.

    Returns:
        For each world and method the numbers of `_Look`, one entry a look, the first before any step; and under "size"
        how many numbers are trained.
    """
    starts = {key(world.name, "before"): (world, checkpoints) for world in worlds}
    kept(_pretrained, starts, checkpoints, workers, "models before fine-tuning")
    pairs = [(world, tuning) for world in worlds for tuning in tunings]
    arguments = {key(world.name, tuning): (world, tuning, checkpoints) for world, tuning in pairs}
    found = kept(_tuned, arguments, checkpoints, workers, "models fine-tuned")
    return {(world, tuning): found[key(world.name, tuning)] for world, tuning in pairs}


def with_beginning(model: LanguageModel, texts: Sequence[str]) -> Int[np.ndarray, "n t"]:
    """As they are trained on: the beginning before each."""
    return np.insert(np.stack(model.encode(texts)), 0, model.tokenizer.bos_token_id, axis=1)


def _pretrained(world: TuningWorld, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    model = blank(world)
    each = -(-world.batch * world.pretraining // world.laws)
    texts = [text for law in range(world.laws) for text in world.texts("earlier", each, law=law)]
    order = stream(world.seed, "earlier").numpy().permutation(len(texts))
    rows = with_beginning(model, texts)[order]
    recipe = Recipe(world.pretraining, world.batch, world.rate, min(50, world.pretraining))
    keeping = Keeping(Prefixed(checkpoints, key(world.name, "before")), "training", 250)
    with one_thread():
        found = train(
            model, lambda step: rows[step * world.batch : (step + 1) * world.batch], recipe, world.seed, keeping
        )
    return {name: weight.detach().numpy() for name, weight in found.model.state_dict().items()}


def pretrained(world: TuningWorld, checkpoints: Checkpoints) -> LanguageModel:
    """The model before fine-tuning, trained where that is not done yet."""
    before = blank(world)
    weights = made_once(checkpoints, key(world.name, "before"), _pretrained, world, checkpoints)
    before.model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    return before


def _tuned(world: TuningWorld, tuning: str, checkpoints: Checkpoints) -> dict[str, np.ndarray]:
    before = pretrained(world, checkpoints)
    start = adapted(before, tuning, world.beside, stream(world.seed, tuning).integer)
    recipe = Recipe(world.steps[-1], world.batch, RATES[tuning], world.an_epoch, weight_decay=0.0)
    rows, look = with_beginning(before, world.texts("member", world.members)), _Look(world, before)
    with one_thread():
        found = looked_at(
            Course(start, rows, recipe, world.seed),
            world.steps,
            look.of,
            Prefixed(checkpoints, key(world.name, tuning)),
        )
    return found | {"size": np.array(trained_size(start))}


class _Look:
    """What is asked of a model on its way; what the model before fine-tuning says is read once."""

    def __init__(self, world: TuningWorld, before: LanguageModel) -> None:
        self._world = world
        asked = before.encode(world.texts("member", world.members) + world.texts("twin", world.members))
        self._asked: list[Tokens] = asked
        self._validation = before.encode(world.texts("validation", world.validation))
        self._reference = predictions(before, asked)
        self._member = np.arange(2 * world.members) < world.members

    def of(self, model: LanguageModel) -> dict[str, float]:
        """Nats a word on other texts; by score areas and true positives; shares continued word for word."""
        other = predictions(model, self._validation)
        found = {"loss": -float(np.mean([one.log_probs for one in other], dtype=np.float64))}
        reading = read(model, self._asked)._replace(reference=self._reference)
        for method in methods.chosen("scores", ",".join(SCORES)):
            shared = method.part("from_predictions")
            assert shared is not None
            values = shared(reading, method.configured()).values
            found[f"auc {method.name}"] = auc(values, self._member)
            found[f"tpr {method.name}"] = true_positives(values, self._member, 0.01)
        # Greedy decoding writes the truth where every likeliest word, given the true ones before it, is the true one.
        back = np.array([one.greedy[self._world.prefix :].all() for one in reading.predictions])
        return found | {
            "exact seen": float(back[self._member].mean()),
            "exact unseen": float(back[~self._member].mean()),
        }
