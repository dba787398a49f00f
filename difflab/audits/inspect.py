"""What can be read off the inside of a model of yours without its training data?

Units: how much each says (entropy) and how much of it others say, too (mutual information, from bins and from nearest
neighbours), by which Bansal et al. (arXiv 2210.09404) rank models that memorized. Attention: how widely each head looks
around (entropy). Hidden states: in how many directions they spread (matrix entropy, and a dimension from neighbours).
Of a pipeline also the local dimension of its law at its own pictures (arXiv 2406.03537), which falls where a picture is
memorized (arXiv 2411.00113); it is cut at 0 and at the dimension of the space, which copies that were never trained
reach. Beside every number stand those of several copies of the same configuration that were
never trained, each with first weights of its own: what they show, too, is the architecture's, and how they differ is
chance.

The numbers alone accuse no model: they are for comparing models of one architecture, or checkpoints of one training.
`difflab.inspect(model)` in Python and `difflab inspect MODEL` run this, for a causal language model (a directory, a
GGUF file, an object in memory) or a Stable Diffusion pipeline. It looks at texts or prompts of yours, or else at what
the model writes or draws by itself. Cost on two cores: seconds for small language models, about 2 minutes for the
shipped pipeline; about 20 minutes, as is estimated, for a model of 135 million parameters and 256 texts.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import tyro
from diffusers import StableDiffusionPipeline
from matplotlib.figure import Figure
from transformers import PreTrainedTokenizerBase

from difflab.audits import pipelines
from difflab.audits.inspect_figures import FIGURES, heads_figure, layers_figure
from difflab.audits.inspected import (
    MODEL,
    UNTRAINED,
    Reading,
    parts,
    read_language_model,
    read_pipeline,
    untrained_copies,
)
from difflab.audits.language_models import LoadedLanguageModel, named
from difflab.audits.pipelines import IN_MEMORY, Loaded, identity
from difflab.autoregressive.model import LanguageModel
from difflab.datasets.texts import Texts, read_texts
from difflab.diffusion.inside import AT, Times
from difflab.diffusion.pipeline import INDEX, found_model
from difflab.errors import at_least, require
from difflab.files import sha256
from difflab.randomness import stream
from difflab.runs.configs import from_keywords
from difflab.runs.execute import execute
from difflab.runs.result import Result
from difflab.runs.results import Checkpoints
from difflab.runs.resuming import made_once
from difflab.runs.rows import Artefact, Note, Row, select
from difflab.statistics.intervals import POSITIVE, mean, one_more
from difflab.statistics.readings import GROUPS, Asked, Inside, layer_readings

NAME = "model_inspected"
"""Of the experiment that this is."""
READ = {
    "unit_entropy": "entropy of units",
    "unit_information": "information that units share",
    "attention_entropy": "entropy of attention",
    "matrix_entropy": "entropy of hidden states",
}
"""What claims are about."""
CHANCE = 0.05
"""How often a claim may hold of a model that was never trained."""


@dataclass(frozen=True)
class Config(LoadedLanguageModel):
    """The model, what it reads or draws, and how it is looked at."""

    model: str = "planted"
    """Directory of a causal language model or of a Stable Diffusion pipeline, a GGUF file, smollm2, planted, or with
    --download a hub id."""
    pipeline: bool = False
    """The hub id is that of a Stable Diffusion pipeline; a directory says so by itself."""
    texts: str = ""
    """Texts that a language model reads, or prompts that a pipeline draws: JSON lines, Parquet, a folder; empty: what
    it writes or draws by itself."""
    items: int = 256
    """Texts read, or pictures drawn, at most."""
    tokens: int = 64
    """First tokens of a text that are read; shorter texts are left out."""
    units: int = 64
    """Units of each layer, at most."""
    pairs: int = 50
    """Pairs of them whose mutual information is taken from nearest neighbours, at most."""
    bins: int = 10
    """Of activations."""
    neighbours: int = 10
    """Of hidden states, for their dimension."""
    steps: int = 20
    """DDIM steps of the pictures that a pipeline draws."""
    times: Times = AT
    """Where a pipeline's network is looked at."""
    copies: int = 8
    """Copies that were never trained, beside which it stands."""
    contents: tyro.conf.Suppress[str] = field(init=False, default="")
    """Checksums of the model and of the texts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "tokens", "pairs", "steps")
        at_least(self, 2, "units", "bins", "neighbours", "copies")
        at_least(self, 2 * GROUPS, "items")
        # Every text is looked at before anything is loaded.
        text = _checksum(read_texts(self.texts)) if self.texts and not self.texts.startswith(IN_MEMORY) else ""
        if self.draws:
            require(not self.tokenizer, "a pipeline has its own tokenizer; leave --tokenizer out.")
            weights = identity(self.model, others=(self.lora,), download=self.download)
        else:
            weights = self.weights()
        object.__setattr__(self, "contents", " ".join(filter(None, [weights, text])))

    @property
    def draws(self) -> bool:
        """Whether the model is a pipeline."""
        return self.pipeline or Path(found_model(self.model), INDEX).is_file()

    @property
    def loaded(self) -> Loaded:
        """The same as the config of a pipeline."""
        return Loaded(self.model, self.lora, False, self.device, self.dtype, self.download, self.seed)

    @property
    def reading(self) -> Reading:
        """What decides the arrays."""
        return Reading(self.items, self.tokens, self.steps, self.times, self.copies, self.seed)


SMOKE = Config(items=24, units=8, pairs=4, neighbours=3, steps=2, times=Times(probes=1), copies=3)


def inspect(
    model: str | Path | torch.nn.Module | LanguageModel | StableDiffusionPipeline,
    texts: str | Path | Sequence[str] | None = None,
    *,
    tokenizer: str | Path | PreTrainedTokenizerBase | None = None,
    out: str | Path | None = None,
    **flags: Any,
) -> Result:
    """What can be read off the inside of a model without its training data?

    Args:
        model: a causal language model (a directory, a GGUF file, "smollm2", an object in memory) or a Stable Diffusion
            pipeline (a directory, "planted", an object in memory); with download=True a hub id.
        texts: what a language model reads, or prompts that a pipeline draws: a file, a folder, or strings; None: what
            it writes or draws by itself.
        tokenizer: of a language model in memory, or where none lies beside the weights.
        out: the folder of results that the run is kept in; None keeps it in memory.
        flags: every flag of `difflab inspect`, under its name: pipeline=False, items=256, tokens=64, units=64,
            pairs=50, bins=10, neighbours=10, steps=20, copies=8, lora=None, device="auto", dtype="float32",
            download=False, seed=0.

    Returns:
        Rows by layer, of the model and of copies that were never trained: unit_entropy, unit_information (from bins),
            neighbour_information, attention_entropy, matrix_entropy, neighbour_dimension; of a pipeline
            local_dimension. Intervals of the model are over inputs; those of the copies say where one more of them
            would lie in all layers. Figures; states, and the entropy of every head.

    Raises:
        InputError: a flag, a file or the model is not usable; the sentence says why.
    """
    flags = {name: value for name, value in flags.items() if value is not None}
    given: dict[str, Any] = {}
    if isinstance(model, StableDiffusionPipeline):
        require(tokenizer is None, "the pipeline has a tokenizer; leave tokenizer= out.")
        flags["model"], drawn = pipelines.named(model)
        flags["pipeline"], given = True, ({"drawn": drawn["pipeline"]} if drawn else {})
    else:
        own, held = named(model, tokenizer, flags.pop("lora", None))
        flags |= own
        given.update(held)
    if isinstance(texts, str | Path):
        flags["texts"] = str(texts)
    elif texts is not None:
        given["texts"] = read_texts(texts)
        flags["texts"] = IN_MEMORY + _checksum(given["texts"])
    config = from_keywords(Config(), flags)
    return execute(NAME, sys.modules[__name__], config, None if out is None else Path(out), **given)


def run(
    config: Config,
    checkpoints: Checkpoints,
    model: LanguageModel | None = None,
    drawn: StableDiffusionPipeline | None = None,
    texts: Texts | None = None,
) -> Iterator[Row | Artefact | Note]:
    """Look inside the model and its untrained copies, and say it in rows."""
    some = texts or (read_texts(config.texts) if config.texts else None)
    if config.draws:
        arrays = made_once(checkpoints, "inside", read_pipeline, config.loaded.opened(drawn), some, config.reading)
    else:
        arrays = made_once(checkpoints, "inside", read_language_model, config.opened(model), some, config.reading)
    asked = Asked(config.units, config.pairs, config.bins, config.neighbours)
    yield from _rows(parts(arrays, MODEL), MODEL, asked, config.seed)
    copies = [_rows(parts(arrays, who), UNTRAINED, asked, config.seed) for who, _ in untrained_copies(config.reading)]
    yield from _untrained_rows(copies)
    yield Artefact("inside", {name.replace(" ", "_"): array for name, array in arrays.items()})


def _checksum(texts: Texts) -> str:
    return sha256(repr(texts.texts).encode())[:12]


def _rows(inside: Inside, who: str, asked: Asked, seed: int) -> Iterator[Row]:
    """Everything that is read off one model, layer by layer."""
    for place, (layer, states) in enumerate(inside.states.items()):
        setting = {"of": who, "layer": layer, "place": place}
        # The model and its copies are asked about the same units.
        random = stream(seed, "units", place).numpy()
        for metric, found in layer_readings(states, asked, random, with_interval=who == MODEL).items():
            yield Row(metric, *found, len(states), setting)
    for place, (layer, heads) in enumerate(inside.attention.items()):
        setting = {"of": who, "layer": layer, "place": place}
        yield Row("attention_entropy", *mean(heads.mean(axis=1), bounds=POSITIVE), len(heads), setting)
    if inside.dimensions is not None:
        found = mean(inside.dimensions, bounds=POSITIVE)
        yield Row("local_dimension", *found, len(inside.dimensions), {"of": who})


def _untrained_rows(copies: Sequence[Iterable[Row]]) -> Iterator[Row]:
    """Of every number that all copies have: their mean, and where one more copy would lie, in all layers together."""
    by_metric = dict[str, dict[str, list[Row]]]()
    for rows in copies:
        for row in rows:
            by_metric.setdefault(row.metric, {}).setdefault(row.setting.get("layer", ""), []).append(row)
    for metric, layers in by_metric.items():
        for same in layers.values():
            if len(same) == len(copies):
                found = one_more([row.value for row in same], 1 - CHANCE / len(layers))
                yield Row(metric, *found, len(same), same[0].setting)


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What training has done to the inside, as far as it is seen: beyond where one more untrained copy would lie.

    A model that was never trained passes a claim with a chance of at most 5 %, over all layers together, as far as
    numbers of such models are normal over first weights.
    """
    said = dict[str, bool]()
    for metric, words in READ.items():
        own, other = (
            {row.setting["layer"]: row.interval for row in select(rows, metric, of=who)} for who in (MODEL, UNTRAINED)
        )
        both = own.keys() & other.keys()
        if both:
            said[f"{words}: in some layer that of the model and those of copies never trained lie apart"] = any(
                own[layer].high < other[layer].low or own[layer].low > other[layer].high for layer in both
            )
    return said


def figures(rows: Sequence[Row], artefacts: dict[str, Any]) -> dict[str, Figure]:
    """Every reading by layer, beside the untrained copies', and the entropy of every head's attention."""
    found = {"units": layers_figure(rows, "units"), "spread": layers_figure(rows, "spread")}
    for name in ("shared", "dimension"):
        if any(select(rows, metric) for metric in FIGURES[name]):
            found[name] = layers_figure(rows, name)
    return found | ({"heads": heads_figure(artefacts["inside"])} if select(rows, "attention_entropy") else {})
