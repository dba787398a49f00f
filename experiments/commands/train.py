"""difflab train: a small Stable Diffusion, or with --tokens a model of picture tokens, as a folder to load."""

from collections.abc import Sequence

from difflab.audits.picture_training import TrainTokens, train_tokens
from difflab.audits.pipeline_training import Train, train
from difflab.autoregressive.pictures.train import PictureRecipe
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
SMOKE_TOKENS = TrainTokens(
    plan=Plan(
        side=16, ladder=(1, 16), per_rung=2, recaptioned=0, layouts=0, regions=0, unique=60, emoji=40, held_out=60
    ),
    codes=32,
    size="nano",
    recipe=PictureRecipe(steps=20, batch=8, warmup=5),
)


def main(arguments: Sequence[str]) -> None:
    """Train and write; prints the directory."""
    import tyro

    own = [word for word in arguments if word not in ("--smoke", "--tokens")]
    command, smoke = " ".join(["difflab train", *arguments]), "--smoke" in arguments
    if "--tokens" in arguments:
        tokens = tyro.cli(
            TrainTokens,
            args=own,
            default=SMOKE_TOKENS if smoke else TrainTokens(),
            prog="difflab train --tokens [--smoke]",
        )
        train_tokens(tokens, command)
        print(tokens.out)
        return
    asked = tyro.cli(
        Train,
        args=own,
        default=SMOKE if smoke else Train(),
        description=f"{Train.__doc__} With --tokens: a model of picture tokens (difflab train --tokens --help).",
        prog="difflab train [--tokens] [--smoke]",
    )
    train(asked, command)
    print(asked.out)
