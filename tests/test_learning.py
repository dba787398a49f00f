"""Training on an objective: the plain one is the plain training, a bottleneck is trained and taken out again."""

import numpy as np
import pytest
import torch
from conformance import says_one_sentence
from language_models import gpt2, llama, texts_of

from difflab.autoregressive.learning import learning, with_bottleneck, without_bottleneck
from difflab.autoregressive.objectives.compression import Compression, compression, matrix_entropy
from difflab.autoregressive.objectives.focal import Focal, focal
from difflab.autoregressive.objectives.information_bottleneck import InformationBottleneck, information_bottleneck
from difflab.autoregressive.objectives.npo import Npo, npo
from difflab.autoregressive.recipe import Recipe
from difflab.autoregressive.shown import needed
from difflab.autoregressive.train import Weighted, train
from difflab.autoregressive.unlearning import Wanted

ROWS = np.stack(texts_of([12] * 4))
SHORT = Recipe(steps=3, batch=4, rate=3e-3, warmup=0)


def _wanted(function, config, layer=0):
    return Wanted(lambda said: function(said, config), needed(config), layer)


def test_without_a_weight_it_is_the_plain_training():
    plain = train(gpt2(), ROWS, SHORT, 0)
    found = train(gpt2(), ROWS, SHORT, 0, objective=learning(_wanted(focal, Focal(0.0))))
    for one, other in zip(found.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    weighted = train(gpt2(), ROWS, SHORT, 0, objective=learning(_wanted(focal, Focal(2.0))))
    assert any(
        (one - other).abs().max() > 1e-4
        for one, other in zip(weighted.model.parameters(), plain.model.parameters(), strict=True)
    )


@pytest.mark.parametrize("make", [gpt2, llama])
def test_compression_lowers_the_entropy_of_its_layer(make):
    recipe = Recipe(steps=25, batch=4, rate=3e-3, warmup=0, weight_decay=0.0)

    def entropy(weight):
        config = Compression(weight, patch=4)
        found = train(make(), ROWS, recipe, 0, objective=learning(_wanted(compression, config, 1)))
        told = found.model(input_ids=torch.from_numpy(ROWS[:, :-1]), output_hidden_states=True)
        return float(matrix_entropy(told.hidden_states[1][:, :8].reshape(-1, 4, 32)).mean())

    assert entropy(3.0) < 0.8 * entropy(0.0)


def test_a_bottleneck_is_trained_with_the_model_and_leaves_it_whole():
    start = gpt2()
    carried = with_bottleneck(start, 6, 0)
    config = InformationBottleneck(0.5, 0.5, 6)
    found = train(carried, ROWS, SHORT, 0, objective=learning(_wanted(information_bottleneck, config, 1)))
    first = carried.model.bottleneck.state_dict()
    assert all(not torch.equal(value, first[name]) for name, value in found.model.bottleneck.state_dict().items())
    left = without_bottleneck(found)
    assert list(left.model.state_dict()) == list(start.model.state_dict()) and hasattr(found.model, "bottleneck")
    again = with_bottleneck(start, 6, 0).model.bottleneck.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    other = with_bottleneck(start, 6, 1).model.bottleneck.state_dict()
    assert not torch.equal(first["up.weight"], other["up.weight"])


def test_mistakes_are_one_sentence():
    assert "forget.reference" in says_one_sentence(lambda: learning(_wanted(npo, Npo())))
    plain, weighted = learning(_wanted(focal, Focal())), Weighted(ROWS, np.ones(len(ROWS)))
    assert "one number for all" in says_one_sentence(lambda: train(gpt2(), weighted, SHORT, 0, objective=plain))
    bare = learning(_wanted(information_bottleneck, InformationBottleneck(), 1))
    assert "no bottleneck" in says_one_sentence(lambda: bare(gpt2().model, torch.from_numpy(ROWS)))
