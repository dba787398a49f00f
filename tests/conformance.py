"""What every detector, defense and attack is held to: its name, all left as it was, mistakes in one sentence."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from difflab import methods
from difflab.errors import InputError


def method(kind, name):
    """The function of a method's file and its config."""
    found = methods.method(kind, name)
    return found.function, found.config


def changed(config, changes):
    """The default config, with those changes that it knows."""
    known = {field.name for field in fields(config)}
    return replace(config(), **{key: value for key, value in changes.items() if key in known})


def random(seed):
    return torch.Generator().manual_seed(seed)


def state(pipeline):
    """Everything that a method must leave as it found it."""
    models = (pipeline.unet, pipeline.vae, pipeline.text_encoder)
    return {
        "tensors": [value.clone() for model in models for value in model.state_dict().values()],
        "rng": [torch.get_rng_state(), torch.from_numpy(np.random.get_state()[1].astype(np.int64))],  # noqa: NPY002
        "parts": [id(model) for model in models],
        "kinds": [type(module) for model in models for module in model.modules()],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for model in models for m in model.modules()],
        "processors": dict(pipeline.unet.attn_processors),
        "modes": [module.training for model in models for module in model.modules()],
        "gradients": [value.requires_grad or value.grad is not None for m in models for value in m.parameters()],
        "scheduler": dict(pipeline.scheduler.config),
        "grad": torch.is_grad_enabled(),
    }


def assert_same_state(before, after):
    for tensors in ("tensors", "rng"):
        assert all(map(torch.equal, before[tensors], after[tensors]))
    plain = set(before) - {"tensors", "rng"}
    assert {part: after[part] for part in plain} == {part: before[part] for part in plain}


def says_one_sentence(call):
    """The sentence that a mistake is answered with."""
    with pytest.raises(InputError) as error:
        call()
    sentence = str(error.value)
    assert sentence.endswith(".") and "\n" not in sentence and ". " not in sentence
    return sentence
