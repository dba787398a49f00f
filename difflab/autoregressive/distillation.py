"""What a student learns from a teacher: its predictions, its last hidden states, or texts that it writes."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from difflab.autoregressive.generate import continued
from difflab.autoregressive.likelihood import OWN
from difflab.autoregressive.model import LanguageModel, Tokens
from difflab.autoregressive.train import Objective
from difflab.errors import require
from difflab.randomness import stream


def on_logits(teacher: LanguageModel) -> Objective:
    """KL(teacher || student) of every next token, in nats: what `train` lowers for every token but the first.

    Reference:
        Hinton et al. 2015, arXiv 1503.02531, at temperature 1 and without the loss on the texts themselves.
    """

    def objective(network: Any, rows: Int[torch.Tensor, "b t"]) -> Float[torch.Tensor, "b t-1"]:
        given = rows[:, :-1]
        with torch.no_grad():
            known = teacher.model(input_ids=given, use_cache=False).logits.log_softmax(-1)
        said = network(input_ids=given, use_cache=False).logits.log_softmax(-1)
        return torch.nn.functional.kl_div(said, known, reduction="none", log_target=True).sum(-1)

    return objective


def on_features(teacher: LanguageModel) -> Objective:
    """-ln p of every token, and beside it the mean squared difference of both models' last hidden states.

    The states are those after the last normalisation, which the head reads; student and teacher are equally wide.

    Reference:
        Feature alignment of Xu et al. 2024, LLAVADI, arXiv 2407.19409, which aligns the last layer, too.
    """

    def objective(network: Any, rows: Int[torch.Tensor, "b t"]) -> Float[torch.Tensor, "b t-1"]:
        given = rows[:, :-1]
        with torch.no_grad():
            known = teacher.model(input_ids=given, use_cache=False, output_hidden_states=True).hidden_states[-1]
        said = network(input_ids=given, use_cache=False, output_hidden_states=True)
        own = torch.nn.functional.cross_entropy(said.logits.flatten(0, 1), rows[:, 1:].flatten(), reduction="none")
        return own.view(given.shape) + (said.hidden_states[-1] - known).square().mean(-1)

    return objective


def written(teacher: LanguageModel, n: int, longest: int, seed: int) -> list[Tokens]:
    """Texts that a teacher writes when it is given nothing but the beginning of a text, drawn from its own law.

    Args:
        teacher: that has a `begin`.
        n: texts, of which empty ones are left out.
        longest: most tokens of one.
        seed: of the draws; one stream a text.

    Raises:
        InputError: the teacher writes nothing but empty texts.
    """
    generators = [stream(seed, "written", i).torch() for i in range(n)]
    nothing = [np.array([], np.int64)] * n
    found = continued(teacher, nothing, longest, OWN, generators, most=512)
    texts = [ids for ids in found if len(ids) > 0]
    require(len(texts) > 0, f"{teacher.name} writes nothing; train it before it teaches.")
    return texts
