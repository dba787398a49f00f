"""Samplers by name: schedulers of diffusers, with the noise levels and the steps' times of the pipeline's own.

Euler's steps are DDIM's in other coordinates but for the last one, and with noise at every step they are DDPM's: nearly
the same pictures. The multistep samplers follow another path.
"""

import copy
from typing import Any, NamedTuple

from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
)

from difflab.errors import InputError, require


class _Sampler(NamedTuple):
    kind: Any
    settings: dict[str, Any]
    predictions: tuple[str, ...] = ("epsilon", "v_prediction", "sample")


_NO_LATENTS = ("epsilon", "v_prediction")
SAMPLERS = {
    "ddim": _Sampler(DDIMScheduler, {}),
    "ddpm": _Sampler(DDPMScheduler, {}),
    "dpm_solver": _Sampler(DPMSolverMultistepScheduler, {}),
    "euler": _Sampler(EulerDiscreteScheduler, {}, _NO_LATENTS),
    "euler_ancestral": _Sampler(EulerAncestralDiscreteScheduler, {}, _NO_LATENTS),
    # As SD 1.x is saved: without the Runge-Kutta steps before.
    "pndm": _Sampler(PNDMScheduler, {"skip_prk_steps": True}, _NO_LATENTS),
}
"""What each is, what is set beside the pipeline's own settings, and what a network that it draws from may predict."""
STOCHASTIC = (DDPMScheduler, EulerAncestralDiscreteScheduler)
"""They add noise at every step."""


def check_sampler(name: str) -> None:
    """Raises InputError where there is no sampler of this name."""
    require(name in SAMPLERS, f"there is no sampler {name!r}; they are {', '.join(SAMPLERS)}.")


def with_sampler(pipeline: StableDiffusionPipeline, name: str) -> StableDiffusionPipeline:
    """The same networks with another scheduler, for drawing alone: losses want the pipeline's own.

    Raises:
        InputError: there is no such sampler, or it is not for what the network predicts.
    """
    check_sampler(name)
    kind, settings, predictions = SAMPLERS[name]
    predicted = pipeline.scheduler.config.prediction_type
    if predicted not in predictions:
        raise InputError(f"{name} does not draw from a network that predicts {predicted!r}; leave this sampler out.")
    other, own = copy.copy(pipeline), pipeline.scheduler.config
    # Named, for diffusers lets every scheduler choose where nobody did, and their choices differ.
    times = {"timestep_spacing": own.timestep_spacing, "steps_offset": own.steps_offset}
    other.scheduler = kind.from_config(own, **times, **settings)
    return other
