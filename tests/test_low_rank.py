"""Personal fine-tunes: adapters that begin as nothing, train alone, and come back from a file as what they were."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from difflab.audits.personal import OnPersonal, copied, personal_judge, personal_worlds
from difflab.diffusion.architecture import Architecture, build
from difflab.diffusion.low_rank import PROJECTIONS, adapter_weights, adapters, fused, with_adapters
from difflab.diffusion.tokens import tokens
from difflab.diffusion.train import Aim, Training, train
from difflab.errors import InputError
from difflab.training.loop import Keeping
from synthetic.plan import Plan, draw

SIZES = Architecture(
    side=16, latent_channels=4, widths=(16, 32), heads=2, vae_widths=(16, 16, 16), length=8, embedding=24, text_layers=1
)
CAPTIONS = ["red cat", "blue dog on grass", "a green fish", "blue cat in a tree"]
LATENTS = torch.randn((4, 4, 4, 4), generator=torch.Generator().manual_seed(1))
CONSTANT = Training(steps=6, batch=2, rate=0.01, schedule="constant", ema=0.0, seed=3)


@pytest.fixture(scope="module")
def pipeline():
    return build(CAPTIONS, SIZES, 0)


def tuned(pipeline, until=None, checkpoints=None, config=CONSTANT):
    adapted = with_adapters(pipeline, 2, 5)
    ids = tokens(pipeline.tokenizer, CAPTIONS)
    keeping = Keeping(checkpoints, "training", config.checkpoint_steps)
    train(adapted, LATENTS, ids, np.arange(4), config, keeping, until, Aim(adapter_weights(adapted)))
    return adapted


def predicted(pipeline):
    y = pipeline.text_encoder(tokens(pipeline.tokenizer, CAPTIONS))[0]
    return pipeline.unet(LATENTS, torch.full((4,), 300), y).sample


def test_adapters_begin_as_nothing_beside_every_projection(pipeline):
    adapted = with_adapters(pipeline, 2, 5)
    assert torch.equal(predicted(adapted), predicted(pipeline))
    asked = [name for name, _ in pipeline.unet.named_modules() if name.endswith(PROJECTIONS)]
    assert len(adapter_weights(adapted)) == 2 * len(asked) > 0
    shapes = {tuple(weight.shape) for weight in adapter_weights(adapted)}
    assert all(2 in shape for shape in shapes)
    again, other = with_adapters(pipeline, 2, 5), with_adapters(pipeline, 2, 6)
    first, same, different = (adapter_weights(p)[0] for p in (adapted, again, other))
    assert torch.equal(first, same) and not torch.equal(first, different)
    with pytest.raises(InputError, match="rank is 0"):
        with_adapters(pipeline, 0, 5)


def test_training_moves_adapters_alone(pipeline):
    before = {name: value.clone() for name, value in pipeline.unet.state_dict().items()}
    adapted = tuned(pipeline)
    assert all(torch.equal(value, before[name]) for name, value in pipeline.unet.state_dict().items())
    inside = adapted.unet.state_dict()
    assert all(torch.equal(inside[name], value) for name, value in before.items() if name in inside)
    moved = [
        name for name, value in adapters(adapted).items() if name.endswith("lora_B.weight") and value.abs().sum() > 0
    ]
    assert len(moved) == len(adapter_weights(adapted)) // 2


def test_a_constant_rate_makes_an_early_look_a_shorter_training(pipeline):
    early, short = tuned(pipeline, until=3), tuned(pipeline, config=replace(CONSTANT, steps=3))
    assert all(torch.equal(a, b) for a, b in zip(adapter_weights(early), adapter_weights(short), strict=True))


def test_a_file_of_adapters_gives_the_same_predictions(pipeline):
    adapted = tuned(pipeline)
    weights = {name: value.numpy() for name, value in adapters(adapted).items()}
    assert all(name.startswith("unet.") and ".lora_" in name for name in weights)
    back = fused(pipeline, weights)
    assert not torch.allclose(predicted(back), predicted(pipeline), atol=1e-3)
    assert torch.allclose(predicted(back), predicted(adapted), atol=1e-5)


WORLD = OnPersonal(
    plan=Plan(unique=40, held_out=400, emoji=60), pictures=4, worlds=2, looks=(1,), training=Training(steps=1), unseen=6
)


def test_no_world_shares_a_picture():
    planted = draw(WORLD.plan)
    worlds = personal_worlds(planted, WORLD)
    captions = [c for world in worlds for part in (world.targets, world.others) for c in part.captions]
    captions += [caption for world in worlds for caption in world.unseen]
    assert len(captions) == len(set(captions)) == 2 * (4 + 4 + 6)
    assert set(captions) <= set(planted.captions(planted.where("held_out")))
    with pytest.raises(InputError, match="holds out"):
        personal_worlds(planted, OnPersonal(plan=WORLD.plan, worlds=50, looks=(1,), training=Training(steps=1)))


def test_copies_are_counted_over_all_worlds():
    planted = draw(WORLD.plan)
    worlds, judge = personal_worlds(planted, WORLD), personal_judge(planted, WORLD)
    targets = [world.targets for world in worlds]
    none = [np.repeat(world.others.pictures[:, None], 4, axis=1) for world in worlds]
    drawn = [some.copy() for some in none]
    # One picture in three of four seeds, another in one.
    drawn[0][0, :3], drawn[1][1, 0] = targets[0].pictures[0], targets[1].pictures[1]
    setting = {"model": "fine-tuned", "rank": 4, "steps": 1}
    by_seeds = {row.setting["seeds"]: row for row in copied(judge, drawn, targets, setting)}
    assert [by_seeds[seeds].value for seeds in ("median", "any")] == [1 / 8, 2 / 8]
    assert all(row.n == 8 for row in by_seeds.values())
    assert {row.value for row in copied(judge, none, targets, setting)} == {0.0}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"looks": (2, 1)}, "rising"),
        ({"looks": (1,)}, "last look"),
        ({"pictures": 3}, "even"),
        ({"worlds": 0}, "worlds is 0"),
        ({"unseen": 2}, "unseen is 2"),
        ({"seeds": 0}, "seeds is 0"),
        ({"steps": 0}, "steps is 0"),
        ({"ranks": (0,)}, "ranks"),
    ],
)
def test_what_can_be_known_is_checked_first(changed, said):
    with pytest.raises(InputError, match=said):
        OnPersonal(**changed)
