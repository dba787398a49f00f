"""Make a language model of yours forget some texts, and keep others: the model that is left, to save and to audit.

Texts to forget and, beside them, texts to keep; an objective of `difflab list --methods` is lowered on both, over all
weights or low-rank adapters. Where the objective is an ascent, which has no end of its own, it stops by the published
rule (arXiv 2210.01504, 2509.13755): when the texts are no better known than texts that the model never saw, which
`--unseen` names; otherwise after a fixed number of epochs, as the others do. A model that no longer says a text has not
forgotten it: fine-tuning on other texts, other prefixes or weights of 4 bits may bring it back (arXiv 2410.16454); ask
`difflab extract` before and after, and `difflab.autoregressive.changes`.

`difflab.unlearn(model, forget, retain, "npo")` in Python and `difflab unlearn MODEL --forget F --retain R --objective
NAME --out DIRECTORY` do this, for a directory in transformers' format, a GGUF file or an object in memory. A step
costs as much as one of training; where the objective compares with the model as it was and all weights move, a second
copy of it is kept. Where the rule is near, or with `--likelihood` at the end, EL is asked, too, which may cost more
than all steps: nearly every prefix is continued, about 50,000 for 100 texts of 512 tokens.
"""

import ast
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import tyro
from transformers import PreTrainedTokenizerBase

from difflab import methods
from difflab.audits.forgetting import Check, Known, Rule, check, forgotten, stopping, thresholds_of
from difflab.audits.language_models import LoadedLanguageModel, named
from difflab.audits.pipelines import IN_MEMORY
from difflab.audits.unlearned import Unlearned, check_free, half_done
from difflab.autoregressive.model import LanguageModel, Tokens, check_texts
from difflab.autoregressive.shown import needed
from difflab.autoregressive.spans import spans_of
from difflab.autoregressive.unlearning import (
    Material,
    Pace,
    Wanted,
    epoch_steps,
    layer_of,
    movable,
    settled,
    unlearned,
)
from difflab.datasets.texts import Texts, check_apart, read_texts
from difflab.errors import at_least, require
from difflab.files import sha256
from difflab.progress import progress
from difflab.runs.configs import from_keywords
from difflab.runs.results import Checkpoints, open_run
from difflab.training.loop import Keeping

EPOCHS, STOPPED_EPOCHS = 10, 100
"""Of objectives with a fixed length, and the most of those that are stopped."""
LISTS = ("forget", "retain", "unseen", "spans")


@dataclass(frozen=True)
class Config(LoadedLanguageModel):
    """The model, what it shall forget and keep, and how."""

    forget: str = ""
    """Texts that it shall forget: JSON lines, a plain file, a folder of plain files, Parquet, or package:NAME."""
    retain: str = ""
    """Texts that it shall keep, drawn from where the others come from."""
    unseen: str = ""
    """Texts that it never saw: an ascent stops where those to forget are no better known than these. Empty: it takes
    all its epochs. Objectives that take a fixed number are compared with these under --likelihood alone."""
    spans: str = ""
    """Words of the texts to forget that alone are sensitive, one a text; empty: all is to be forgotten."""
    objective: str = "npo"
    """What is lowered ('difflab list --methods')."""
    settings: tuple[str, ...] = ()
    """Of the objective, as beta=0.1."""
    epochs: int = 0
    """Times that every text to forget is shown; 0: 10, or up to 100 where the rule stops it."""
    batch: int = 4
    """Texts to forget a step, and as many to keep."""
    rate: float = 1e-5
    """Learning rate, the same at every step."""
    weight_decay: float = 0.0
    """Of AdamW."""
    rank: int = 0
    """Of low-rank adapters that move alone and are merged at the end; 0: weights move."""
    only: str = ""
    """A regular expression of the names of the weights that move; empty: all."""
    cut: int = 0
    """Read only so many first tokens of every text; 0: all."""
    likelihood: bool = False
    """Ask in the end how much of the texts to forget comes back from their prefixes (EL), though no rule needs it."""
    rule: Rule = field(default_factory=Rule)
    """When an ascent stops."""
    contents: tyro.conf.Suppress[str] = field(init=False, default="")
    """Checksums of the model and of the texts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        chosen(self)
        Pace(batch=self.batch, rate=self.rate, weight_decay=self.weight_decay)
        at_least(self, 0, "epochs", "rank", "cut")
        require(not (self.rank and self.only), "adapters move alone; give --rank, or --only with names of weights.")
        read = {name: read_texts(there) for name in LISTS if (there := _path(self, name))}
        sums = [f"{name} {_checksum(texts)}" for name, texts in read.items()]
        object.__setattr__(self, "contents", " ".join(filter(None, [self.weights(), *sums])))


class Chosen(NamedTuple):
    """An objective with its settings.

    Attributes:
        wanted: what is lowered, but for the layer.
        config: of the objective.
        stops: whether it is stopped by a rule.
    """

    wanted: Wanted
    config: Any
    stops: bool


def unlearn(
    model: str | Path | torch.nn.Module | LanguageModel,
    forget: str | Path | Sequence[str],
    retain: str | Path | Sequence[str] | None = None,
    objective: str = "npo",
    *,
    tokenizer: str | Path | PreTrainedTokenizerBase | None = None,
    out: str | Path | None = None,
    **flags: Any,
) -> Unlearned:
    """Make a language model forget texts.

    Args:
        model: a directory, a GGUF file, "smollm2", with download=True a hub id; or a model in memory, which stays as it
            is. Its weights must be float32.
        forget: what it shall forget: a file, a folder, "package:NAME", or strings.
        retain: what it shall keep; objectives that keep nothing need none.
        objective: "npo", "gradient_ascent" or another of `difflab list --methods`.
        tokenizer: of a model in memory, or where none lies beside the weights.
        out: a directory that the result is written to, new, empty, or with the result of the same call; half-done work
            lies beside it, and the same call goes on with it. None keeps all in memory.
        flags: every flag of `difflab unlearn`, under its name: unseen=None and spans=None, which may be strings, too,
            settings={"beta": 0.1}, epochs=0, batch=4, rate=1e-5, weight_decay=0.0, rank=0, only="", cut=0,
            likelihood=False, n=10, margin=0.1, patience=5, lora=None, device="auto", dtype="float32", download=False,
            seed=0.

    Returns:
        The model that is left, what it knew after every epoch, and why it stopped.

    Raises:
        InputError: a flag, a file or the model is not usable, or a text is to be forgotten and to be kept; the sentence
            says why.
    """
    flags = {name: value for name, value in flags.items() if value is not None}
    if isinstance(flags.get("settings"), Mapping):
        flags["settings"] = tuple(f"{name}={value}" for name, value in flags["settings"].items())
    own, given = named(model, tokenizer, flags.pop("lora", None))
    lists = dict[str, Texts]()
    for name, there in {**flags, "forget": forget, "retain": retain}.items():
        if name in LISTS and there is not None:
            if isinstance(there, str | Path):
                flags[name] = str(there)
            else:
                lists[name] = read_texts(there)
                flags[name] = IN_MEMORY + _checksum(lists[name])
    config = from_keywords(Config(), {**flags, **own, "objective": objective})
    return carried_out(config, None if out is None else Path(out), given.get("model"), lists)


def carried_out(
    config: Config, out: Path | None, model: LanguageModel | None = None, lists: Mapping[str, Texts] = {}
) -> Unlearned:
    """What a config asks for; all that it can be refused for comes before anything is computed.

    Args:
        config: what.
        out: the directory that the model is written to; None writes nothing.
        model: where it is in memory.
        lists: of texts, those that are in memory.
    """
    if out is not None:
        check_free(out, asdict(config), {"model": config.model, "tokenizer": config.tokenizer, "adapters": config.lora})
    texts = {name: lists.get(name) or read_texts(there) for name in LISTS if (there := getattr(config, name))}
    require("forget" in texts, "name the texts to forget: --forget FILE.")
    picked = chosen(config)
    _check(texts, picked)
    opened = config.opened(model)
    layers = int(getattr(opened.config, "num_hidden_layers", 0))
    wanted = picked.wanted._replace(layer=layer_of(picked.config, layers))
    ids = {name: _encoded(opened, texts[name].texts, config.cut) for name in texts if name != "spans"}
    _check_tokens(ids)
    spans = None
    if "spans" in texts:
        words = [text.strip() for text in texts["spans"].texts]
        spans = [
            span[: len(one)]
            for span, one in zip(spans_of(opened, texts["forget"].texts, words), ids["forget"], strict=True)
        ]
        require(all(one.any() for one in spans), "a span stands behind the --cut; give a longer one.")
        require(
            opened.begin is not None or all(one[1:].any() for one in spans),
            f"a span is the first token of its text alone, before which {opened.name} has nothing to read; leave that"
            " text out, or give a longer span.",
        )
    start = movable(opened, config.rank, config.only, config.seed)
    short, n = min(map(len, ids["forget"])), config.rule.n
    asked = config.likelihood or (picked.stops and "unseen" in ids)
    require(
        not asked or spans is not None or short > n,
        f"a text to forget has {short} tokens and --n is {n}; give a smaller --n, or leave that text out.",
    )
    limits = thresholds_of(opened, ids["unseen"], n) if asked and "unseen" in ids else None
    known = Known(ids["forget"], spans, ids.get("retain", ()), limits if picked.stops else None, config.rule)
    run = None if out is None else open_run(half_done(out), "unlearn", asdict(config))
    material = Material(ids["forget"], ids.get("retain", ()), spans)
    checks, done = _moved(start, material, wanted, config, known, run)
    if picked.stops and limits is None:
        done += ", for nothing stops an ascent without texts that were never seen (--unseen)"
    found = Unlearned(settled(start), checks, limits, done, asdict(config))
    if out is not None and run is not None:
        found.save(out)
        shutil.rmtree(run.folder.parents[1], ignore_errors=True)
    return found


def chosen(config: Config) -> Chosen:
    """The objective of a config.

    Raises:
        InputError: there is none of this name, it has no such setting, or it is one of training alone.
    """
    method = methods.method("objectives", config.objective)
    settings = dict[str, Any]()
    for word in config.settings:
        name, _, value = word.partition("=")
        require(bool(name and value), f"{word!r} is no setting; write it as beta=0.1.")
        try:
            settings[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            settings[name] = value
        finite = not isinstance(settings[name], float) or math.isfinite(settings[name])
        require(finite, f"{word!r} is no finite number; give one.")
    own = from_keywords(method.config(), settings)
    needs = needed(own)
    forgets = [name for name, one in methods.methods("objectives").items() if _forgets(one.needs)]
    require(_forgets(needs), f"{method.name} is an objective of training; to forget, give one of {', '.join(forgets)}.")
    return Chosen(Wanted(partial(method.function, config=own), needs), own, bool(getattr(own, "stops", False)))


def _forgets(needs: Sequence[str] | frozenset[str]) -> bool:
    return any(need.partition(".")[0] == "forget" for need in needs)


def _path(config: Config, name: str) -> str:
    """The source of a list of texts, where it is no list in memory."""
    there = getattr(config, name)
    return "" if there.startswith(IN_MEMORY) else there


def _checksum(texts: Texts) -> str:
    return sha256(repr(texts.texts).encode())[:12]


def _check(texts: Mapping[str, Texts], picked: Chosen) -> None:
    """What can be said of lists of texts before a model is there."""
    name = type(picked.config).__name__
    parts = {need.partition(".")[0] for need in picked.wanted.needs}
    require("retain" in texts or "retain" not in parts, f"{name} needs texts to keep: --retain FILE.")
    require(
        "spans" in texts or "forget.span" not in picked.wanted.needs,
        f"{name} forgets spans and keeps the text around them: --spans FILE.",
    )
    if "retain" in texts:
        check_apart(texts["forget"], texts["retain"], ("to be forgotten", "retained"))
    if "unseen" in texts:
        check_apart(texts["forget"], texts["unseen"], ("to be forgotten", "unseen"))


def _encoded(model: LanguageModel, texts: Sequence[str], cut: int) -> list[Tokens]:
    ids = [one[:cut] if cut else one for one in model.encode(texts)]
    least = 1 if model.begin is not None else 2
    short = [text for text, one in zip(texts, ids, strict=True) if len(one) < least]
    require(not short, f"the text {(short or [''])[0][:40]!r} has fewer than {least} tokens; leave it out.")
    longest = max(map(len, ids))
    require(
        longest <= model.context,
        f"a text has {longest} tokens and {model.name} reads {model.context}; give --cut {model.context}, or split it.",
    )
    check_texts(model, ids)
    return ids


def _check_tokens(ids: Mapping[str, Sequence[Tokens]]) -> None:
    """Raises InputError where a text is to be forgotten and to be kept as far as it is read."""
    forget = {one.tobytes() for one in ids["forget"]}
    both = sum(one.tobytes() in forget for one in ids.get("retain", ()))
    require(both == 0, f"{both} texts are to be forgotten and retained where they are read; give a longer --cut.")


def _moved(
    start: LanguageModel,
    material: Material,
    wanted: Wanted,
    config: Config,
    known: Known,
    checkpoints: Checkpoints | None,
) -> tuple[tuple[Check, ...], str]:
    """Move the weights; what was known on the way, and why it ended."""
    every = epoch_steps(len(material.forget), config.batch)
    epochs = config.epochs or (EPOCHS if known.thresholds is None else STOPPED_EPOCHS)
    pace = Pace(epochs * every, config.batch, config.rate, config.weight_decay)
    checks = dict[int, Check]()
    until = stopping(start, known, every, checkpoints, checks)
    keeping = Keeping(checkpoints, "weights", max(every, 50))
    with progress(pace.steps, f"{start.name} forgets") as advance:
        losses = unlearned(start, material, wanted, pace, config.seed, keeping, until, advance)
    last = max(checks)
    steps = last if known.thresholds is not None and until(last) else len(losses)
    final = check(start, steps, known, whole=config.likelihood)
    done = (*(checks[k] for k in sorted(checks) if k < steps), final)
    if known.thresholds is None:
        return done, f"all {steps} steps"
    if forgotten(done, known.thresholds, known.rule):
        return done, f"the texts are no better known than unseen ones after {steps} steps"
    return done, f"all {steps} steps, and the texts are still better known than unseen ones"
