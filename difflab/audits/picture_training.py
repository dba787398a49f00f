"""A model of picture tokens trained on planted pictures or on a folder, as a folder with all that is known of it."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from difflab.audits.picture_worlds import RASTER, TOKENS
from difflab.audits.pipeline_training import CARD, listed_rows, planted_places
from difflab.audits.pipelines import identity
from difflab.autoregressive.codecs.grid import Codec, encode, error, fit
from difflab.autoregressive.pictures.files import load_picture_model, save_picture_model
from difflab.autoregressive.pictures.model import PictureModel, build_picture_model
from difflab.autoregressive.pictures.train import Material, PictureRecipe, train_pictures
from difflab.autoregressive.recipe import FAMILIES, SIZES
from difflab.autoregressive.tokenizers import word_level
from difflab.datasets.captioned import captioned_folder
from difflab.errors import at_least, require
from difflab.files import remove, write_atomically
from difflab.progress import progress
from difflab.runs.results import open_run
from difflab.training.devices import device
from difflab.training.loop import Keeping
from synthetic import manifest
from synthetic.plan import Plan, draw


@dataclass(frozen=True)
class TrainTokens:
    """Train a model of picture tokens, on planted pictures (about two minutes on one core) or on a folder."""

    out: Path = Path("picture_tokens")
    """Folder to write the model to; half-done work lies beside it and the same command goes on with it."""
    data: str = "planted"
    """"planted", or a folder with pictures and a metadata.jsonl ("file_name" and "text" on each line), metadata.csv or
    captions.txt."""
    plan: Plan = field(
        default_factory=lambda: Plan(
            side=16, ladder=(1, 4, 16, 64), per_rung=20, recaptioned=0, layouts=0, regions=0, unique=2700, emoji=300,
            twins=2, held_out=1000,
        )
    )  # fmt: skip
    """How many planted pictures of each role."""
    side: int = 16
    """Pixels that the pictures of a folder are brought to."""
    order: str = RASTER
    """Of the tokens: raster, or next-scale."""
    patch: int = 2
    """Side of a patch in pixels; it goes into the side of a picture without a rest."""
    codes: int = 256
    """Of every grid of the codec."""
    family: str = "llama"
    """Of the transformer: gpt2 or llama."""
    size: str = "slim"
    """Of the transformer: nano, tiny, slim, small, medium or large."""
    words: int = 9
    """Of a caption that are read."""
    recipe: PictureRecipe = field(default_factory=PictureRecipe)
    """Steps, rates, and how many captions are left out."""
    without: tuple[str, ...] = ()
    """Pictures to leave out, for an oracle: role/family of the plan (repeated/59), or file names of the folder."""
    base: str = ""
    """Folder of a model whose codec and tokenizer are taken over, as for an oracle; order, patch and codes are its."""
    seed: int = 0
    """Of first weights, codec and order; the plan has its own."""
    device: str = "auto"
    """Where the training runs; auto: an accelerator where there is one."""

    def __post_init__(self) -> None:
        at_least(self, 1, "words", "patch")
        at_least(self, 0, "seed")
        require(self.order in TOKENS, f"order is {self.order!r}; give {' or '.join(TOKENS)}.")
        require(self.family in FAMILIES, f"family is {self.family!r}; give {' or '.join(FAMILIES)}.")
        require(self.size in SIZES, f"size is {self.size!r}; give one of {', '.join(SIZES)}.")
        side = self.plan.side if self.data == "planted" else self.side
        require(side % self.patch == 0, f"patches of {self.patch} pixels do not fill pictures of {side}.")

    def grids(self, side: int) -> tuple[int, ...]:
        """Sides of the codec's grids, each next one at least twice as fine."""
        fine = side // self.patch
        halved = [fine]
        while self.order != RASTER and halved[-1] > 1:
            halved.append(halved[-1] // 2)
        return tuple(halved[::-1])


class Shown(NamedTuple):
    """What is trained on.

    Attributes:
        pictures: every different one, those left out of a folder among them.
        captions: one for each.
        rows: places in these, one for every copy.
    """

    pictures: UInt8[np.ndarray, "n side side 3"]
    captions: Sequence[str]
    rows: Int[np.ndarray, " rows"]


def train_tokens(asked: TrainTokens, command: str = "difflab train --tokens") -> PictureModel:
    """Train what was asked for, and write codec and model; `load_picture_model` reads them.

    Args:
        asked: what to train.
        command: as the model card tells it.

    Returns:
        The model, on the CPU.

    Raises:
        InputError: a picture to leave out is not there, none is left, an oracle has no base, or the folder or the base
            can't be read.
    """
    require(asked.out.is_dir() or not asked.out.exists(), f"{asked.out} is a file; give --out another folder.")
    require(not asked.without or bool(asked.base), "an oracle shares the codec: give --base too.")
    base = load_picture_model(asked.base, "cpu") if asked.base else None
    shown = _planted(asked) if asked.data == "planted" else _folder(asked)
    # Nothing goes on with what was trained on other pictures of the same names.
    parts = [path for path in sorted(Path(asked.base).iterdir()) if path.is_file()] if asked.base else []
    read = identity(others=[str(path) for path in parts], data=[] if asked.data == "planted" else [asked.data])
    config = asdict(asked) | {"out": "", "device": "", "contents": read}
    run = open_run(asked.out.with_name(asked.out.name + ".training"), "train", config)
    model = _begun(asked, shown, base)
    model.network.to(device(asked.device))
    material = Material(shown.captions, encode(model.codec, shown.pictures), shown.rows)
    with progress(asked.recipe.steps, "training") as advance:
        found = train_pictures(model, material, asked.recipe, asked.seed, Keeping(run), advance)
    found.network.to("cpu")
    remove(asked.out / CARD)
    save_picture_model(found, asked.out)
    if asked.data == "planted":
        listed = manifest.manifest(draw(asked.plan)) | {"without": list(asked.without)}
        manifest.write(asked.out / "manifest.json", listed)
    write_atomically(asked.out / CARD, _card(asked, command, shown, model.codec).encode())
    shutil.rmtree(run.folder.parents[1], ignore_errors=True)
    return found


def _begun(asked: TrainTokens, shown: Shown, base: PictureModel | None) -> PictureModel:
    """The model before its first step, with a codec of its own or the base's."""
    if base is None:
        seen = shown.pictures[np.unique(shown.rows)]
        codec = fit(seen, asked.patch, asked.grids(seen.shape[1]), asked.codes, asked.seed)
        words = word_level([caption or " " for caption in shown.captions])
    else:
        codec, words = base.codec, base.tokenizer
        side = shown.pictures.shape[1]
        require(codec.side == side, f"{asked.base} draws pictures of {codec.side} pixels, these have {side}.")
    return build_picture_model(codec, words, asked.family, asked.size, asked.words, asked.seed, asked.out.name)


def _planted(asked: TrainTokens) -> Shown:
    planted = draw(asked.plan)
    rows = planted.training(planted_places(planted, asked.without))
    index, places = np.unique(rows, return_inverse=True)
    return Shown(planted.pictures(index), planted.captions(index), places)


def _folder(asked: TrainTokens) -> Shown:
    found = captioned_folder(Path(asked.data), asked.side)
    return Shown(found.pictures, found.captions, listed_rows(found, asked.without, asked.data))


def _card(asked: TrainTokens, command: str, shown: Shown, codec: Codec) -> str:
    planted, apart = asked.data == "planted", error(codec, shown.pictures[np.unique(shown.rows)])
    left_out = f"Left out, for an oracle: {', '.join(asked.without)}.\n" if asked.without else ""
    emoji = (
        "\n`manifest.json` says which picture was shown how often and which never.\n\nAmong the training pictures are"
        " emoji. All emoji designed by OpenMoji, the open-source emoji and icon\nproject. License: CC BY-SA 4.0."
        " Pictures that the model draws may be adaptations of them.\n"
    )
    return f"""---
{"license: cc-by-sa-4.0" if planted else "license: other"}
tags: [text-to-image, memorization]
---

# A small model of picture tokens, trained by difflab

{len(shown.rows)} captioned pictures of {shown.pictures.shape[1]} pixels as tokens in {codec.order} order. What comes
back from the codec differs from them by {apart:.3f} of the whole range, root mean square.
{left_out}It is a subject for experiments on memorization, not a picture generator.

    {command}

trains one like it. To load it and draw:

    from difflab.autoregressive.codecs.grid import decode
    from difflab.autoregressive.pictures.decoding import drawn
    from difflab.autoregressive.pictures.files import load_picture_model
    model = load_picture_model("{asked.out.name}")
    pictures = decode(model.codec, drawn(model, ["red circle and blue star on green in oslo"]))
{emoji if planted else ""}"""
