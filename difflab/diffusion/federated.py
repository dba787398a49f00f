"""A client whose U-Net is trained together with those of others: FedAvg, FedProx (`difflab.training.federated`)."""

from dataclasses import dataclass

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from jaxtyping import Float, Int

from difflab.diffusion.finetuning import weights_of, with_weights
from difflab.diffusion.train import Aim, Objective, Shown, Training, plain, train
from difflab.training.averaging import Weights
from difflab.training.federated import pull
from difflab.training.loop import Keeping


@dataclass(frozen=True, eq=False)
class PictureClient:
    """A client with pictures.

    Attributes:
        pipeline: with the text encoder, the autoencoder and the shape of the U-Net of all clients; left as it is.
        latents: its different pictures, encoded.
        tokens: of their captions.
        rows: its training set, places in latents, one for every copy.
        training: all of its training, over all rounds.
        rounds: among which the steps are shared out.
        proximal: weight mu of FedProx; 0 is FedAvg.
    """

    pipeline: StableDiffusionPipeline
    latents: Float[torch.Tensor, "pictures c h w"]
    tokens: Int[torch.Tensor, "pictures length"]
    rows: Int[np.ndarray, " rows"]
    training: Training
    rounds: int
    proximal: float = 0.0

    @property
    def size(self) -> int:
        """Its rows."""
        return len(self.rows)

    def learn(self, weights: Weights, done: int, keeping: Keeping) -> Weights:
        """The weights after its steps of one round."""
        mine = with_weights(self.pipeline, weights)
        until = self.training.steps * (done + 1) // self.rounds
        aim = Aim(objective=near(self.proximal) if self.proximal else plain)
        train(mine, self.latents, self.tokens, self.rows, self.training, keeping, until, aim)
        return weights_of(mine)


def near(proximal: float) -> Objective:
    """The plain loss and mu / 2 times the squared distance to the U-Net's weights at the first call."""
    away = pull(proximal)

    def objective(shown: Shown) -> Float[torch.Tensor, ""]:
        return plain(shown) + away(shown.unet)

    return objective
