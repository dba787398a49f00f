# # Write a defense and see it fail
#
# A defense is one file with one function. It takes a pipeline and captions, and returns what an attacker meets. Here we
# write one that everybody thinks of first: add noise to what the prompt says to the model, so that a memorized caption
# is no longer recognised.

import os
from pathlib import Path

# A folder of your own holds the file, in a folder named after its kind. The file, the function and the dataclass of its
# settings share a name.

defense = '''
"""Defense: noise on the embedding of every prompt."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import StableDiffusionPipeline

from difflab.diffusion.defended import Defended, rewritten
from difflab.diffusion.generate import embed


@dataclass(frozen=True)
class NoisyPrompt:
    """How much noise, in standard deviations of the embedding."""

    level: float = 1.0


def noisy_prompt(
    pipeline: StableDiffusionPipeline,
    captions: Sequence[str],
    unseen: Sequence[str] = (),
    seed: int = 0,
    config: NoisyPrompt = NoisyPrompt(),
) -> Defended:
    """The same embeddings, with noise."""

    def rewrite(prompts: Sequence[str]) -> torch.Tensor:
        plain = embed(pipeline, prompts)
        noise = torch.randn(plain.shape, generator=torch.Generator().manual_seed(seed))
        return plain + config.level * plain.std() * noise.to(plain)

    return rewritten(pipeline, captions, rewrite)
'''
Path("methods/defenses").mkdir(parents=True, exist_ok=True)
Path("methods/defenses/noisy_prompt.py").write_text(defense)

# `DIFFLAB_METHODS` names the folder. From now on the defense is found by its name, like those of difflab.

os.environ["DIFFLAB_METHODS"] = str(Path("methods").resolve())

import difflab

# `difflab.stress` takes pictures that the shipped pipeline memorized and asks: are they drawn without the defense? With
# it? And after a search (Dori) that moves the embedding until the picture comes back? The same search is given to
# pictures that the model never saw. If those come back too, the search writes pictures itself and proves nothing.

board = difflab.stress(
    "planted", defense="noisy_prompt", targets=2, seeds=2, steps=8, held_out=4, draws=1, **{"dori.keep": (0, 10)}
)
rates = board.table("memorized_fraction", measure="pixel", seeds="median", state="defended")
undefended = board.table("memorized_fraction", measure="pixel", seeds="median", state="undefended")


def share(table, target, attack, steps=None):
    """Of the pictures that are drawn."""
    found = table[(table.target == target) & (table.attack == attack)]
    return (found if steps is None else found[found.attack_steps == steps]).value.iloc[-1]


print(f"without the defense: {share(undefended, 'repeated', 'nothing'):.0%} of the memorized pictures are drawn")
print(f"with the defense: {share(rates, 'repeated', 'nothing'):.0%}")
print(f"after 10 steps of search: {share(rates, 'repeated', 'dori', 10):.0%}")
print(f"never seen, after 10 steps of search: {share(rates, 'never', 'dori', 10):.0%}")

# The prompt is disturbed, but the picture is still in the weights. Claims say so in words.

for claim, held in board.claims.items():
    print("held:" if held else "did not hold:", claim)
