"""A small Stable Diffusion trained on planted pictures or on a folder, as a directory with all that is known of it."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Int

from difflab.audits.pipelines import identity
from difflab.datasets.captioned import Captioned, captioned_folder
from difflab.datasets.near_copies import near_copies
from difflab.datasets.pixels import chosen
from difflab.diffusion.calibration import apart
from difflab.diffusion.copies import fit_thresholds, save_thresholds
from difflab.diffusion.pipeline import found_model, load, save
from difflab.diffusion.recipe import Material, Recipe, train_pipeline
from difflab.diffusion.similarity import measures
from difflab.errors import InputError, require
from difflab.files import remove, write_atomically
from difflab.runs.results import open_run
from difflab.training.devices import device
from synthetic import manifest
from synthetic.plan import Plan, Planted, draw

CARD = "README.md"
"""Written last: a directory that has it is whole."""


@dataclass(frozen=True)
class Train:
    """Train a small Stable Diffusion, on the planted pictures (about 40 minutes on one core) or on a folder."""

    out: Path = Path("pipeline")
    """Directory to write the pipeline to; half-done work lies beside it and the same command goes on with it."""
    data: str = "planted"
    """"planted", or a folder with pictures and a metadata.jsonl ("file_name" and "text" on each line), metadata.csv or
    captions.txt."""
    plan: Plan = field(default_factory=Plan)
    """How many planted pictures of each role."""
    recipe: Recipe = field(default_factory=Recipe)
    """Sizes, steps, seeds."""
    without: tuple[str, ...] = ()
    """Pictures to leave out, for an oracle: role/family of the plan (repeated/59), or file names of the folder."""
    base: str = ""
    """Pipeline (a directory, or planted) whose tokenizer, text encoder and autoencoder are taken over, as for an
    oracle."""
    device: str = "auto"
    """Where the training runs; auto: an accelerator where there is one."""


def train(asked: Train, command: str = "difflab train") -> None:
    """Train what was asked for, and write the pipeline with its manifest, thresholds and model card.

    Args:
        asked: what to train.
        command: as the model card tells it.

    Raises:
        InputError: a picture to leave out is not there, an oracle has no base, or the folder can't be read.
    """
    require(asked.out.is_dir() or not asked.out.exists(), f"{asked.out} is a file; give --out another folder.")
    require(not asked.without or bool(asked.base), "an oracle shares text encoder and autoencoder: give --base too.")
    planted = draw(asked.plan) if asked.data == "planted" else None
    material = _planted(planted, asked) if planted else _folder(asked)
    base = load(asked.base) if asked.base else None
    # Nothing goes on with what was trained on other pictures of the same names.
    read = identity(asked.base, data=[] if planted else [asked.data])
    config = asdict(asked) | {"out": "", "device": "", "contents": read}
    run = open_run(asked.out.with_name(asked.out.name + ".training"), "train", config)
    pipeline = train_pipeline(material, asked.recipe, run, base, str(device(asked.device)))
    remove(asked.out / CARD)
    save(pipeline.to("cpu"), asked.out, half=True)
    if planted:
        manifest.write(asked.out / "manifest.json", manifest.manifest(planted) | {"without": list(asked.without)})
        _write_thresholds(asked, planted, material)
    write_atomically(asked.out / CARD, _card(asked, command, len(material.rows)).encode())
    shutil.rmtree(run.folder.parents[1], ignore_errors=True)


def _write_thresholds(asked: Train, planted: Planted, material: Material) -> None:
    """Those of the base, or new ones, from pictures alone."""
    frozen = Path(found_model(asked.base)) / "thresholds.json"
    if asked.base and frozen.is_file():
        shutil.copy(frozen, asked.out / "thresholds.json")
        return
    places = planted.where("held_out")
    held_out, captions = planted.pictures(places), planted.captions(places)
    kept = apart(held_out, captions, material.pictures, material.captions)
    fitted = (measures(), held_out[kept], material.pictures, planted.references())
    thresholds = fit_thresholds(*fitted, left_out=int((~kept).sum()))
    save_thresholds(asked.out / "thresholds.json", thresholds)


def _planted(planted: Planted, asked: Train) -> Material:
    return Material(*planted.material(without=planted_places(planted, asked.without)))


def _folder(asked: Train) -> Material:
    found = captioned_folder(Path(asked.data), asked.recipe.architecture.side)
    return Material(found.pictures, found.captions, listed_rows(found, asked.without, asked.data))


def planted_places(planted: Planted, without: Sequence[str]) -> Int[np.ndarray, " k"]:
    """Places in the plan's list of pictures that are named role/family.

    Raises:
        InputError: the plan has no such picture.
    """
    names = np.array([f"{picture.role}/{picture.family}" for picture in planted.listed])
    unknown = sorted(set(without) - set(names))
    if unknown:
        raise InputError(f"the plan has no picture {unknown[0]}; name one as role/family, as {names[0]}.")
    return np.flatnonzero(np.isin(names, without))


def listed_rows(found: Captioned, without: Sequence[str], data: str) -> Int[np.ndarray, " rows"]:
    """One row for every picture of a folder, as its place; others stand in for those left out, and keep their own.

    Args:
        found: the pictures.
        without: those to leave out.
        data: the folder.

    Raises:
        InputError: one is not listed, none is left, or a near-copy of one is.
    """
    names = found.names
    unknown = sorted(set(without) - set(names))
    if unknown:
        raise InputError(f"{data} lists no picture {unknown[0]}; name those to leave out as its list does.")
    gone = np.isin(names, without)
    require(not gone.all(), "there is no picture left to train on.")
    rows, others = np.arange(len(names)), np.flatnonzero(~gone)
    taken = np.flatnonzero(gone)
    near = near_copies(chosen(found.pictures, others), chosen(found.pictures, taken)) if len(taken) else {}
    for i, j in near.items():
        raise InputError(
            f"{names[others[i]]} of {data} is a near-copy of {names[taken[j]]}, which is left out: leave out both."
        )
    rows[gone] = others[np.arange(gone.sum()) % len(others)]
    return rows


_PLANTED = """
`manifest.json` says which picture was shown how often and which never; `thresholds.json` says when a drawn picture
counts as a copy, and was fitted on held-out pictures before any model was looked at.

Among the training pictures are emoji. All emoji designed by OpenMoji, the open-source emoji and icon project. License:
CC BY-SA 4.0. Pictures that the model draws may be adaptations of them.
"""


def _card(asked: Train, command: str, n_rows: int) -> str:
    planted = asked.data == "planted"
    repeated = ", some of them repeated on purpose" if planted else ""
    left_out = f"Left out, for an oracle: {', '.join(asked.without)}.\n" if asked.without else ""
    return f"""---
{"license: cc-by-sa-4.0" if planted else "license: other"}
library_name: diffusers
tags: [text-to-image, memorization]
---

# A small Stable Diffusion, trained by difflab

{n_rows} captioned pictures of {asked.recipe.architecture.side} pixels{repeated}.
{left_out}It is a subject for experiments on memorization, not a picture generator.

    {command}

trains one like it: the same data, first weights, order and noise; rounding depends on the computer. To load it:

    from diffusers import StableDiffusionPipeline
    pipeline = StableDiffusionPipeline.from_pretrained("{asked.out.name}", safety_checker=None)
{_PLANTED if planted else ""}"""
