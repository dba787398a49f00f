"""difflab train: a small Stable Diffusion on planted pictures or on a folder, as a directory to load."""

from collections.abc import Sequence

from difflab.audits.pipeline_training import Train, train
from difflab.diffusion.architecture import Architecture
from difflab.diffusion.recipe import Recipe
from difflab.diffusion.train import Training
from synthetic.plan import Plan

SMOKE = Train(
    plan=Plan(
        ladder=(1, 16),
        per_rung=2,
        recaptioned=1,
        rewordings=4,
        layouts=1,
        regions=2,
        family_copies=4,
        unique=60,
        emoji=40,
        held_out=60,
    ),
    recipe=Recipe(Architecture(widths=(16, 32)), autoencoder_steps=20, training=Training(steps=20, batch=8)),
)


def main(arguments: Sequence[str]) -> None:
    """Train and write; prints the directory."""
    import tyro

    smoke = "--smoke" in arguments
    asked = tyro.cli(
        Train,
        args=[word for word in arguments if word != "--smoke"],
        default=SMOKE if smoke else Train(),
        prog="difflab train [--smoke]",
    )
    train(asked, " ".join(["difflab train", *arguments]))
    print(asked.out)
