"""Does a defense of yours hold when its prompts are searched?

`difflab stress MODEL --defense FILE_OR_NAME` runs this and writes the page. The defense is a mask in safetensors (one
tensor of 0 and 1 for each weight, 1 where it is switched off), a second pipeline directory that claims to be cured, or
one of difflab's by name. Memorized pictures are those of the plan that the shipped model was trained on, or with
`--images FOLDER --never FOLDER` your own and pictures that the model never saw; `--targets` says how many. Each is
attacked by Dori (Finding Dori, arXiv 2507.16880) under the defense; pictures never trained on get the same search, and
so do the memorized ones without the defense. A defense is broken at the first budget at which most memorized pictures
come back while the controls stay away; where they come back together, the search proves nothing.
Cost on two cores: not timed by default, 5 minutes on one core with 6 targets and 2 seeds; a real pipeline needs a GPU.
"""

import importlib
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from matplotlib.figure import Figure

from difflab import files
from difflab.audits.searches import (
    Defense,
    attacked,
    by_embeddings,
    by_masks,
    by_pipeline,
    by_token_masks,
    held_out_rows,
    known,
    over_steps,
    surrogates,
)
from difflab.audits.searches import rows as rows_of
from difflab.audits.worlds import Case, Opened, open_case
from difflab.diffusion import defenses
from difflab.diffusion.attacks.dori import Dori
from difflab.diffusion.defenses.nemo import Nemo, nemo
from difflab.diffusion.defenses.wanda import Wanda, wanda
from difflab.diffusion.masks import TokenMask
from difflab.diffusion.pipeline import checksum
from difflab.diffusion.pruning import check, read_mask
from difflab.errors import require
from difflab.randomness import stream
from difflab.runs.figures import legend_below, new_figure, picture_strips
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Artefact, Row, select

NAMES = tuple(
    sorted(
        path.stem for path in Path(defenses.__path__[0]).glob("*.py") if path.stem not in ("__init__", "random_neurons")
    )
)
"""The defenses that difflab has, but for the one that must be told a number."""
CONTROLS = ("once", "never")
COLOURS = {"repeated": "memorizing", "once": "control", "never": "generalizing"}


@dataclass(frozen=True)
class Config(Case):
    """The case, the defense, and the search."""

    defense: str = "nemo"
    """A mask file, a pipeline directory, or the name of a file in difflab/diffusion/defenses."""
    nemo: Nemo = field(default_factory=lambda: Nemo(blocks=("down", "mid", "up")))
    """For the defense of that name, and for the surrogates of adversarial_finetuning."""
    dori: Dori = field(default_factory=lambda: Dori(keep=(0, 1, 10, 25, 50, 150)))

    def __post_init__(self) -> None:
        super().__post_init__()
        path = Path(self.defense)
        if path.is_dir():
            object.__setattr__(self, "contents", f"{self.contents} {checksum(path)}")
        elif path.suffix == ".safetensors":
            object.__setattr__(self, "contents", f"{self.contents} {files.checksum(path)[:12]}")
        else:
            known = ", ".join(NAMES)
            require(self.defense in NAMES, f"{self.defense!r} is no mask file, no directory and none of {known}.")


SMOKE = Config(
    targets=2,
    defense="magnitude",
    dori=Dori(keep=(0, 2), batch=2, looks=2),
    seeds=2,
    steps=2,
    held_out=4,
    draws=2,
    retained=60,
)


def run(config: Config, checkpoints: Checkpoints) -> Iterator[Row | Artefact]:
    """Defend, search and draw; a killed run goes on with the next group of pictures."""
    opened = open_case(config)
    plain, defend = by_pipeline(opened.pipeline), _defense(opened, config)
    yield from held_out_rows(config, opened, {"yours": defend})
    cells = [("defended", target, defend, group) for target, group in opened.groups.items()]
    cells += [("undefended", target, plain, group) for target, group in opened.groups.items() if target != "once"]
    for state, target, defended, group in cells:
        found = checkpoints.load(f"{state}_{target}")
        if found is None:
            found = attacked(config, opened.judge, defended(group), group, config.dori)
            checkpoints.save(f"{state}_{target}", found)
        yield from rows_of(opened.judge, found, group, config.dori, {"state": state, "target": target})
        if target == "repeated":
            shown = [group.pictures, *found["drawn"][:-1, :, 0]] if state == "defended" else [found["drawn"][0, :, 0]]
            yield Artefact(f"drawn_{state}", np.stack(shown, axis=1))


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What a defender hopes for, and what makes the search evidence."""

    def curve(target: str, state: str, attack: str = "dori") -> dict[int, float]:
        shown = {"state": state, "target": target, "attack": attack, "measure": "pixel", "seeds": "median"}
        return {row.setting["attack_steps"]: row.value for row in select(rows, "memorized_fraction", **shown)}

    prompt, searched = curve("repeated", "defended", "nothing")[0], curve("repeated", "defended")
    controls = [curve(target, "defended") for target in CONTROLS]
    worst = {k: max((one[k] for one in controls if one), default=0.0) for k in searched}
    fair = [k for k in searched if k > 0 and worst[k] <= 0.1]
    broken = [k for k in fair if searched[k] > 0.5]
    at = f" (broken at {broken[0]} steps)" if broken else ""
    cost = select(rows, "held_out_ratio", captions="unrelated")[0]
    return {
        "without the defense the pictures are memorized: over 50 %": curve("repeated", "undefended", "nothing")[0]
        > 0.5,
        "the defense stops the prompts: under 40 % come back": prompt < 0.4,
        f"it holds at every budget at which the controls stay away: at most 50 % come back{at}": bool(fair)
        and not broken,
        "it costs unrelated captions less than 5 % of loss": cost.value < 1.05,
    }


def figures(rows: Sequence[Row], artefacts: dict[str, np.ndarray]) -> dict[str, Figure]:
    """Curves over the steps of the search, and the pictures on the way."""
    figure, panels = new_figure("Pictures that come back", "steps of the search", "memorized fraction", 2)
    for ax, state in zip(panels, ("defended", "undefended"), strict=True):
        shown = {"state": state, "attack": "dori", "measure": "pixel", "seeds": "median"}
        over_steps(ax, select(rows, "memorized_fraction", **shown), "target", COLOURS)
        ax.set_ylim(-0.03, 1.03)
        ax.set_title(state)
    legend_below(figure)
    kept = dict.fromkeys(row.setting["attack_steps"] for row in select(rows, "target_loss", attack="dori"))
    defended = artefacts["drawn_defended"]
    strips = np.concatenate([defended[:, :1], artefacts["drawn_undefended"], defended[:, 1:]], axis=1)
    title = f"Picture, no defense, defended, then searched: {', '.join(map(str, kept))} steps"
    return {
        "steps": figure,
        "pictures": picture_strips(strips, [f"target {i}" for i in range(len(strips))], title, a_line=2),
    }


def _defense(opened: Opened, config: Config) -> Defense:
    """What the name, file or directory stands for."""
    path, pipeline, repeated = Path(config.defense), opened.pipeline, opened.groups["repeated"]
    if path.is_dir():
        other = config.load(str(path))
        same = other.unet.config.cross_attention_dim == pipeline.unet.config.cross_attention_dim
        require(same, f"{path} reads embeddings of another width than {config.model}.")
        return by_pipeline(other)
    if path.suffix == ".safetensors":
        mask = read_mask(path)
        check(pipeline.unet, mask)
        return by_masks(pipeline, [mask])
    function = getattr(importlib.import_module(f"difflab.diffusion.defenses.{config.defense}"), config.defense)
    seed, more = stream(config.seed, "defense").integer, dict[str, Any]()
    if config.defense == "nemo":
        more["config"] = config.nemo
    if "known" in inspect.signature(function).parameters:
        masks = nemo(pipeline, repeated.captions, opened.unseen, seed, config.nemo)
        most = wanda(pipeline, repeated.captions, opened.unseen, seed, Wanda(0.3))
        more["known"] = known(opened, surrogates(opened, masks, most))

    def made(captions: Sequence[str]) -> Any:
        return function(pipeline, captions, opened.unseen, seed, **more)

    found = made(repeated.captions)
    if isinstance(found, StableDiffusionPipeline):
        return by_pipeline(found)
    if isinstance(found, torch.Tensor):
        return by_embeddings(pipeline, made)
    if any(isinstance(mask, TokenMask) for mask in found):
        return by_token_masks(pipeline, made)
    return by_masks(pipeline, found)
