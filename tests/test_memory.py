"""Memory from shapes: counted by hand, and beside what the tensors of a real step fill."""

import pytest
import torch

from difflab.diffusion.batch_sizes import fitting, with_gradients
from difflab.diffusion.memory import Memory, memory, most_alive
from difflab.diffusion.pipeline import latent_size, load


def test_the_most_that_is_alive_is_counted_by_hand():
    network = torch.nn.Linear(100, 50, bias=False)
    x = torch.zeros(10, 100)

    def three():
        first = network(x)  # 10 x 50 numbers of 4 bytes
        second = first + 1
        del first
        return second.sum()

    assert most_alive(three, network) == 2 * 10 * 50 * 4
    # A view is no new memory, and neither are the weights.
    assert most_alive(lambda: network.weight.T[:10].reshape(-1)[:3], network) == 10 * 50 * 4
    assert most_alive(lambda: x.view(1000)[5:]) == x.numel() * 4


@pytest.fixture(scope="module")
def pipeline():
    return load("planted", device="cpu")


@pytest.fixture(scope="module")
def found(pipeline):
    return memory(pipeline)


def test_shapes_say_what_a_real_step_fills(pipeline, found):
    unet = pipeline.unet
    shipped = sum(value.numel() for part in (unet, pipeline.vae, pipeline.text_encoder) for value in part.parameters())
    assert found.weights == 4 * shipped
    text, (height, width) = pipeline.text_encoder.config, latent_size(pipeline)

    def step(n, gradients):
        y = torch.zeros(n, text.max_position_embeddings, text.hidden_size, requires_grad=gradients)
        with torch.set_grad_enabled(gradients):
            out = unet(torch.zeros(n, unet.config.in_channels, height, width), torch.zeros(n), y).sample
            if gradients:
                out.square().sum().backward()

    n, held = 2 * fitting(pipeline), with_gradients(pipeline)
    assert found.search == pytest.approx(most_alive(lambda: step(held, True), unet), rel=0.1)
    assert found.drawing >= 0.9 * most_alive(lambda: step(n, False), unet)
    # Gradients hold what drawing lets go.
    assert found.search / held > 3 * found.drawing / n


def test_half_precision_takes_half(found):
    half = memory(load("planted", device="cpu", dtype="float16"))
    assert half.weights == found.weights / 2
    assert half.drawing == pytest.approx(found.drawing / 2, rel=0.1)


def test_it_is_told_in_one_sentence():
    assert "fill 1.6 GiB, drawing 0.5 GiB more" in Memory(int(1.6 * 2**30), 2**29, 2**30).told
