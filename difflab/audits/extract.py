"""What does a language model of yours continue word for word, and who can tell what it was trained on?

Texts that the model was trained on and, beside them, texts that it was not. Extraction: each text's first tokens are
given, and the greedy continuation is compared with the text (arXiv 2202.07646), exactly and up to a tenth of edits; one
pass says how many draws would give it, (n, p)-discoverable (arXiv 2410.19482). Membership: scores of token likelihoods
tell seen from unseen texts (arXiv 2402.07841); beside each stands a blind baseline that sees the texts and no model
(arXiv 2406.16201): a score that does no better has found how the two lists differ. Shadows, models like yours that were
trained on none of the texts, give LiRA (arXiv 2112.03570) and RMIA (arXiv 2312.03262), both offline. Greedy decoding
also guesses: what comes back of unseen texts is what guessing gives. Dataset inference asks of the whole list (arXiv
2406.06443): a linear model of all scores, a test on held-out texts, and the same test on unseen texts alone, where an
alarm is false.

`difflab.extract(model, texts=..., unseen=...)` in Python and `difflab extract MODEL --texts seen.jsonl --unseen
unseen.jsonl` run this, for a directory in transformers' format, a GGUF file or an object in memory. Texts are JSON
lines, plain files or a folder of them, Parquet, or the sources of an installed package (`package:json`). As an
experiment, without a model, it trains a small one on a planted language, and asks about items by how often they were
repeated, against their twins. Cost on two cores: about 10 minutes for 1,000 texts of 100 tokens and a model of 135
million parameters.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from matplotlib.figure import Figure
from transformers import PreTrainedTokenizerBase

from difflab import methods
from difflab.audits.blind import text_features
from difflab.audits.comparison_figures import areas_figure, inference_figure
from difflab.audits.comparisons import Asked, comparison_claims, comparison_rows, unresolved
from difflab.audits.dataset_inference import Samples, inference_rows
from difflab.audits.extraction_rows import extraction_rows, groups_of, silences
from difflab.audits.language_models import LoadedLanguageModel, named
from difflab.audits.pipelines import IN_MEMORY
from difflab.audits.shadowed_texts import LEAST, shadow_scores
from difflab.audits.text_items import planted_items
from difflab.audits.text_reading import Questions, answers, by_prefix, joined
from difflab.audits.text_worlds import MODEL, NATURAL, TextWorld, trained, with_weights
from difflab.audits.texts import UNSEEN, TextItems, blocks, of_lists
from difflab.autoregressive.generate import check_prompts
from difflab.autoregressive.model import LanguageModel, Tokens, check_texts
from difflab.autoregressive.panels.extraction import extraction_figure
from difflab.autoregressive.reading import check_reference
from difflab.datasets.texts import Texts, read_texts
from difflab.errors import at_least, require
from difflab.files import sha256
from difflab.runs.configs import from_keywords
from difflab.runs.execute import execute
from difflab.runs.parallel import kept
from difflab.runs.result import Result
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Note, Row, select

NAME = "text_extracted"
"""Of the experiment that this is."""
EXTRACTIONS = "exact,approximate,discoverable,memorization_accuracy,extraction_strength"
SCORES = "loss,zlib,min_k,min_k_plus_plus"
"""What one pass and one continuation give."""


def _planted_world() -> TextWorld:
    """Natural items alone, as long as a text must be that is asked about."""
    return TextWorld(kinds=(NATURAL,), timed=0, item=100, length=128, sequences=8000)


@dataclass(frozen=True)
class Config(LoadedLanguageModel):
    """The model, the texts that it was and was not trained on, and what it is asked."""

    texts: str = ""
    """Texts that it was trained on: JSON lines, a plain file, a folder of plain files, Parquet, or package:NAME."""
    unseen: str = ""
    """Texts that it was not trained on, drawn from where the others come from; empty: nothing is compared."""
    reference: str = ""
    """Another model with the same tokenizer that was not trained on the texts, for the score of that name."""
    shadows: tuple[str, ...] = ()
    """At least two models like this one, with its tokenizer, that were trained on none of the texts: for LiRA and
    RMIA."""
    extractions: str = EXTRACTIONS
    """What tries to get texts out: all, or names with commas between ('difflab list --methods')."""
    scores: str = SCORES
    """Membership scores: all, or names with commas between."""
    prefix: tuple[int, ...] = (10, 25, 50)
    """Tokens given before those that are compared."""
    suffix: int = 50
    """Tokens compared; they are the same whatever the prefix."""
    cut: int = 0
    """Read only so many first tokens of every text; 0: all."""
    items: int = 10_000
    """Most texts of each list to ask about; a random choice where there are more."""
    shots: int = 5
    """Unseen texts set aside for ReCaLL, where that score is asked for."""
    block: int = 256
    """Texts that are done, and kept, at once."""
    batch: int = 4096
    """Tokens of a batch, padding included."""
    workers: int = 1
    """Processes that share the blocks; each loads the model."""
    false_positives: tuple[float, ...] = (0.01, 0.001)
    """Shares of false positives at which true ones are counted."""
    samples: tuple[int, ...] = (10, 30, 100, 300)
    """Texts of each kind that dataset inference looks at; sizes that there are too few for are left out."""
    resamples: int = 100
    """Samples of each size."""
    null_sets: int = 1000
    """Pairs of samples of unseen texts, on which every alarm is false."""
    replicates: int = 500
    """Bootstrap resamples."""
    world: tyro.conf.Suppress[TextWorld] = field(default_factory=_planted_world)
    """Where no model is named: a planted language, on which one is trained."""
    contents: tyro.conf.Suppress[str] = field(init=False, default="")
    """Checksums of the model, of the reference, and of the texts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        methods.chosen("extractions", self.extractions)
        methods.chosen("scores", self.scores)
        at_least(self, 1, "suffix", "block", "batch", "workers", "resamples", "null_sets", "replicates")
        at_least(self, 0, "cut", "shots")
        at_least(self, 20, "items")
        require(min(self.prefix, default=0) >= 1, f"prefix is {self.prefix}; give numbers of tokens of at least 1.")
        require(
            len(self.false_positives) > 0 and all(0 < rate < 1 for rate in self.false_positives),
            f"false_positives is {self.false_positives}; give shares above 0 and below 1, as 0.01.",
        )
        require(min(self.samples, default=0) >= 5, f"samples is {self.samples}; give sizes of at least 5.")
        require(bool(self.texts) or not self.model, "name the texts that the model was trained on: --texts FILE.")
        require(bool(self.model) or not self.texts, "name the model that was trained on the texts.")
        require(bool(self.texts) or not self.unseen, "--unseen goes with --texts.")
        require(
            not self.shadows or (len(self.shadows) >= LEAST and bool(self.unseen)),
            f"shadows are {len(self.shadows)} models; give at least {LEAST}, and --unseen to compare with.",
        )
        require(
            self.workers == 1 or (bool(self.model) and not self.model.startswith(IN_MEMORY)),
            f"workers is {self.workers}, and a model in memory can't be handed to other processes; save it, or give 1.",
        )
        require(
            not self.model or self.world == _planted_world(),
            "a planted language is described, and a model is named, which was not trained on it; leave one.",
        )
        # Every text is looked at before anything is loaded.
        lists = [read_texts(given) for given in (self.texts, self.unseen) if given and not given.startswith(IN_MEMORY)]
        sums = [_checksum(found) for found in lists]
        object.__setattr__(
            self, "contents", " ".join(filter(None, [self.weights(self.reference, *self.shadows), *sums]))
        )


SMOKE = Config(
    prefix=(4,),
    suffix=8,
    samples=(10,),
    resamples=2,
    null_sets=3,
    replicates=20,
    world=TextWorld(
        kinds=(NATURAL,), copies=(0, 1, 16), items=(5, 10, 10), timed=0, item=20, length=42, sequences=320,
        vocabulary=64, size="nano", batch=16,
    ),
)  # fmt: skip


def extract(
    model: str | Path | torch.nn.Module | LanguageModel,
    texts: str | Path | Sequence[str],
    unseen: str | Path | Sequence[str] | None = None,
    *,
    tokenizer: str | Path | PreTrainedTokenizerBase | None = None,
    out: str | Path | None = None,
    **flags: Any,
) -> Result:
    """What does a language model continue word for word, and can anybody tell what it was trained on?

    Args:
        model: a directory, a GGUF file, "smollm2", with download=True a hub id; or a model in memory.
        texts: what it was trained on: a file, a folder, "package:NAME", or strings.
        unseen: what it was not trained on, drawn alike; None compares nothing.
        tokenizer: of a model in memory, or where none lies beside the weights.
        out: the folder of results that the run is kept in; None keeps it in memory.
        flags: every flag of `difflab extract`, under its name: prefix=(10, 25, 50) or one number, suffix=50, cut=0,
            extractions, scores, reference=None, shadows=(), lora=None, items=10_000, shots=5, block=256, batch=4096,
            workers=1, false_positives=(0.01, 0.001), samples=(10, 30, 100, 300), resamples=100, null_sets=1000,
            replicates=500, device="auto", dtype="float32", download=False, seed=0.

    Returns:
        Rows extracted_fraction (by method, seen or unseen, and prefix), truth_fraction (the mean of the method's value:
        the share of the truth that came; of discoverable the probability that some draw is the truth),
        auc and true_positive_fraction (by score, the blind baseline among them), mean_p_value, alarm_fraction and
        false_alarm_fraction of dataset inference; figures; scores, and the tokens that were written.

    Raises:
        InputError: a flag, a file or the model is not usable, or a text is seen and unseen; the sentence says why.
    """
    flags = {name: value for name, value in flags.items() if value is not None}
    if isinstance(flags.get("prefix"), Integral):
        flags["prefix"] = (int(flags["prefix"]),)
    own, given = named(model, tokenizer, flags.pop("lora", None))
    lists = dict[str, Texts]()
    for name, wanted in (("texts", texts), ("unseen", unseen)):
        if isinstance(wanted, str | Path):
            flags[name] = str(wanted)
        elif wanted is not None:
            lists[name] = read_texts(wanted)
            flags[name] = IN_MEMORY + _checksum(lists[name])
    config = from_keywords(Config(), {**flags, **own})
    return execute(NAME, sys.modules[__name__], config, None if out is None else Path(out), **given, **lists)


def run(
    config: Config,
    checkpoints: Checkpoints,
    model: LanguageModel | None = None,
    texts: Texts | None = None,
    unseen: Texts | None = None,
) -> Iterator[Row | Artefact | Note]:
    """Ask about every text, block by block, compare, and ask of whole sets."""
    if config.texts:
        found = _asked_about(config, texts, unseen)
    else:
        found, model = planted_items(config.world, config.shots), _of_world(config.world, checkpoints)
    yield from found.left_out
    yield from unresolved(found.comparisons, config.false_positives)
    opened = config.opened(model)
    ids, before = _encoded(opened, found.texts, config), tuple(_cut(opened, found.before, config))
    questions, notes = _questions(config, opened, ids, before)
    yield from notes
    yield from _alike(found, ids, questions)
    told = _answered(config, checkpoints, opened, ids, questions)
    # The baseline sees what the model saw.
    seen = [opened.decode(one) for one in ids] if config.cut else found.texts
    yield from report(found._replace(texts=seen), told, config, checkpoints)


def report(
    found: TextItems, told: Mapping[str, np.ndarray], config: Config, checkpoints: Checkpoints
) -> Iterator[Row | Artefact | Note]:
    """What the answers of all texts say, in rows."""
    yield from extraction_rows(told, groups_of(found))
    scores = {name.removeprefix("score "): values for name, values in told.items() if name.startswith("score ")}
    if "mean_log_probs" in told:
        unseen = np.any([one.non_member for one in found.comparisons], axis=0)
        scores |= shadow_scores(told["mean_log_probs"], unseen)
    asked = Asked(config.false_positives, config.replicates, config.seed)
    if found.comparisons and scores:
        seen = text_features(found.texts)
        for comparison in found.comparisons:
            yield from comparison_rows(scores, seen, comparison, asked)
        samples = Samples(config.samples, config.resamples, config.null_sets, config.seed)
        yield from inference_rows(np.stack(list(scores.values()), axis=1), found.comparisons, samples, checkpoints)
    yield Artefact("answers", {name.replace(" ", "_"): array for name, array in told.items()})
    yield from silences(told)


def _checksum(texts: Texts) -> str:
    return sha256(repr(texts.texts).encode())[:12]


def _of_world(world: TextWorld, checkpoints: Checkpoints) -> LanguageModel:
    """The model that is trained on a planted language."""
    (weights,) = trained([(world, MODEL)], checkpoints)
    return with_weights(world, weights, "the model of a planted language")


def _asked_about(config: Config, texts: Texts | None, unseen: Texts | None) -> TextItems:
    """The texts of the flags; all that they can be refused for comes before anything is read by a model."""
    seen = texts or read_texts(config.texts)
    others = (unseen or read_texts(config.unseen)) if config.unseen else None
    recall = any("non_members" in one.needs for one in methods.chosen("scores", config.scores))
    return of_lists(seen, others, config.items, config.shots if recall else 0, config.seed)


def _cut(model: LanguageModel, texts: Sequence[str], config: Config) -> list[Tokens]:
    """Token ids of texts, as many as are read of each."""
    return [one[: config.cut] if config.cut else one for one in model.encode(texts)]


def _encoded(model: LanguageModel, texts: Sequence[str], config: Config) -> list[Tokens]:
    ids = _cut(model, texts, config)
    short = [i for i, one in enumerate(ids) if len(one) < 2]
    require(
        not short,
        f"{len(short)} texts have fewer than two tokens, the first is {texts[short[0]] if short else ''!r}; leave them"
        " out.",
    )
    longest = max(map(len, ids))
    require(
        longest <= model.context,
        f"a text has {longest} tokens and {model.name} reads {model.context}; give --cut {model.context}, or split it.",
    )
    check_texts(model, ids)
    return ids


def _alike(found: TextItems, ids: Sequence[Tokens], questions: Questions) -> Iterator[Note]:
    """Texts that differ as a whole and are the same where they are read or continued.

    Raises:
        InputError: a seen and an unseen text have the same tokens.
    """
    whole = [one.tobytes() for one in ids]
    begun = [one[: questions.length].tobytes() for one in ids]
    for one in found.comparisons:
        members, others = np.flatnonzero(one.member), np.flatnonzero(one.non_member)
        both = {whole[i] for i in members} & {whole[i] for i in others}
        require(
            not both,
            f"{len(both)} texts are seen and unseen where they are read; give a longer --cut, or take them out of one.",
        )
        known = {begun[i] for i in members}
        alike = sum(begun[i] in known for i in others)
        if alike:
            yield Note(
                f"{alike} texts ({one.against}) begin as one of the others ({one.copies}) does, as far as they are"
                " continued: that they come back says nothing of guessing."
            )


def _questions(
    config: Config, model: LanguageModel, ids: Sequence[Tokens], before: tuple[Tokens, ...]
) -> tuple[Questions, list[Note]]:
    """What is asked, and what is left out and why."""
    notes = list[Note]()
    reference, shadows = _beside(config)
    for other in filter(None, (reference, *shadows)):
        check_reference(model, other)
        check_texts(other, ids)
    room = model.context - max(map(len, ids))
    while before and sum(map(len, before)) > room:
        before = before[:-1]
    given = {"reference": reference, "non_members": before}
    missing = {"reference": "give --reference MODEL", "non_members": "give more --unseen texts that fit the context"}
    scores = list[methods.Method]()
    for one in methods.chosen("scores", config.scores):
        lacks = [need for need in one.needs if not given[need]]
        if lacks:
            notes.append(Note(f"{one.name} is left out: {missing[lacks[0]]}."))
        else:
            scores.append(one)
    questions = Questions(
        tuple(scores),
        tuple(methods.chosen("extractions", config.extractions)),
        tuple(sorted(set(config.prefix))),
        config.suffix,
        config.batch,
        config.seed,
        reference,
        before,
        shadows,
    )
    long = sum(len(one) >= questions.length for one in ids)
    if any(map(by_prefix, questions.extractions)):
        check_prompts(model)
        require(
            long > 0,
            f"no text has {questions.length} tokens, the longest --prefix and the --suffix; give longer texts or fewer"
            " tokens.",
        )
        if long < len(ids):
            notes.append(
                Note(f"{len(ids) - long} texts have fewer than {questions.length} tokens and are not continued.")
            )
    return questions, notes


def _answered(
    config: Config, checkpoints: Checkpoints, model: LanguageModel, ids: Sequence[Tokens], questions: Questions
) -> dict[str, np.ndarray]:
    """The answers of all texts, block by block, in processes where there are several."""
    parts = [[ids[i] for i in some] for some in blocks(len(ids), config.block)]
    work = partial(answers, model, questions=questions) if config.workers == 1 else _elsewhere
    sent = questions._replace(reference=None, shadows=())
    arguments = {f"block_{i}": (part,) if config.workers == 1 else (config, part, sent) for i, part in enumerate(parts)}
    found = kept(work, arguments, checkpoints, config.workers, "texts")
    return joined([found[name] for name in arguments], [len(part) for part in parts])


def _elsewhere(config: Config, ids: Sequence[Tokens], questions: Questions) -> dict[str, np.ndarray]:
    """The answers of one block, in a process that loads the models once."""
    model, reference, shadows = _loaded(config)
    return answers(model, ids, questions._replace(reference=reference, shadows=shadows))


@lru_cache
def _loaded(config: Config) -> tuple[LanguageModel, LanguageModel | None, tuple[LanguageModel, ...]]:
    return config.opened(), *_beside(config)


def _beside(config: Config) -> tuple[LanguageModel | None, tuple[LanguageModel, ...]]:
    """The reference, if there is one, and the shadows."""
    reference, *shadows = [
        config.load(name, config.tokenizer) if name else None for name in (config.reference, *config.shadows)
    ]
    return reference, tuple(filter(None, shadows))


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What the owner of a model hopes for, and what makes the scores and the tests evidence."""
    said = dict[str, bool]()
    exact = select(rows, "extracted_fraction", method="exact")
    never = {UNSEEN, *(row.setting["against"] for row in select(rows, "auc"))}
    seen = [row for row in exact if row.setting["texts"] not in never]
    if seen:
        said["no seen text is continued word for word"] = all(row.value == 0 for row in seen)
    return said | (comparison_claims(rows, "texts") if select(rows, "auc") else {})


def figures(rows: Sequence[Row], artefacts: dict[str, Any]) -> dict[str, Figure]:
    """What comes out after how many tokens; areas under the curve of every score; dataset inference."""
    found = {"extraction": extraction_figure(rows)} if select(rows, "extracted_fraction") else {}
    found |= {"areas": areas_figure(rows)} if select(rows, "auc") else {}
    return found | ({"dataset_inference": inference_figure(rows)} if select(rows, "false_alarm_fraction") else {})
