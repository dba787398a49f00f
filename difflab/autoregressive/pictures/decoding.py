"""Pictures drawn from captions: group after group of tokens, with the transformer's cache and guidance."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from transformers import DynamicCache

from difflab.autoregressive.codecs.grid import check_tokens
from difflab.autoregressive.generate import next_tokens
from difflab.autoregressive.likelihood import GREEDY, Scheme, check_scheme
from difflab.autoregressive.pictures.model import Network, PictureModel
from difflab.errors import InputError, require


class Told:
    """A network that has read captions, and is told the tokens of pictures one group after the other.

    Attributes:
        logits: (rows, places of the next group, codes), of the tokens of that group.

    Args:
        network: that reads.
        captions: ids of words.
    """

    def __init__(self, network: Network, captions: Int[torch.Tensor, "n words"]) -> None:
        self._network, self._cache = network, DynamicCache(config=network.config)
        self._tokens = captions.new_empty((len(captions), 0))
        self._groups = iter(network.codec.groups)
        self._read(network.read_words(captions), network.words)

    def tell(self, tokens: Int[torch.Tensor, "n places"]) -> bool:
        """The tokens of the next group; whether another group follows."""
        self._tokens = torch.cat([self._tokens, tokens], dim=1)
        if self._tokens.shape[1] == self._network.codec.length:
            return False
        self._read(None, 0)
        return True

    def _read(self, words: Float[torch.Tensor, "n words width"] | None, n_words: int) -> None:
        network, begin = self._network, self._tokens.shape[1]
        places = network.read_places(self._tokens, begin, begin + next(self._groups))
        read = places if words is None else torch.cat([words, places], dim=1)
        first = network.words + begin - n_words
        states = network.states(read, first, self._cache)[:, n_words:]
        self.logits = network.logits(states, begin)


@torch.inference_mode()
def drawn(
    model: PictureModel,
    captions: Sequence[str],
    scheme: Scheme = GREEDY,
    generators: Sequence[torch.Generator] | None = None,
    guidance: float = 1.0,
    given: tuple[Int[np.ndarray, "n length"], int] | None = None,
    most: int = 128,
) -> Int[np.ndarray, "n length"]:
    """Tokens of one picture for each caption.

    With guidance g the logits are u + g (c - u), c being log-probabilities with the caption and u those without; 1 is
    the caption alone.

    Args:
        model: that draws.
        captions: "" for none.
        scheme: how a token is drawn; greedy, unless told otherwise.
        generators: one for each picture, on the CPU, where the scheme is not greedy. Each is asked for as many numbers
            as a picture has tokens, so that a picture does not depend on the others of its batch.
        guidance: weight of the caption, at least 0.
        given: tokens of pictures, and how many groups of them are told before the model goes on: tokens in raster
            order, grids in next-scale order.
        most: pictures of a batch.

    Raises:
        InputError: generators are missing, guidance is negative, or the given tokens are not those of so many pictures.

    Reference:
        Ho and Salimans 2022, arXiv 2207.12598 (guidance). Differs: the same weight for all tokens, where VAR and RAR
        let it grow from the first to the last; nothing is said of the likeliest tokens alone.
    """
    check_scheme(scheme)
    require(guidance >= 0, f"guidance is {guidance}; give at least 0.")
    tokens, groups = (np.zeros((len(captions), model.codec.length), np.int64), 0) if given is None else given
    check_tokens(model.codec, tokens)
    require(
        len(tokens) == len(captions) and 0 <= groups <= len(model.codec.groups),
        f"{groups} groups of {len(tokens)} pictures are given for {len(captions)} captions; give 0 to"
        f" {len(model.codec.groups)} groups, and one picture for each caption.",
    )
    chance = _chance(model, len(captions), scheme, generators)
    words, found = torch.from_numpy(model.words(captions)), [torch.empty((0, model.codec.length), dtype=torch.int64)]
    for rows in torch.arange(len(captions)).split(most) if len(captions) else ():
        begun = torch.from_numpy(tokens)[rows], groups
        found.append(_drawn(model, words[rows], scheme, None if chance is None else chance[rows], guidance, begun))
    return torch.cat(found).cpu().numpy()


def _chance(
    model: PictureModel, n: int, scheme: Scheme, generators: Sequence[torch.Generator] | None
) -> Float64[torch.Tensor, "n length"] | None:
    if scheme.temperature == 0:
        return None
    if generators is None or len(generators) != n:
        there = 0 if generators is None else len(generators)
        raise InputError(f"{n} captions have {there} generators; give one each, or temperature 0.")
    length = model.codec.length
    drawn_ones = [torch.rand(length, generator=generator, dtype=torch.float64) for generator in generators]
    return torch.stack(drawn_ones) if n else torch.empty((0, length), dtype=torch.float64)


def _drawn(
    model: PictureModel,
    words: Int[torch.Tensor, "n words"],
    scheme: Scheme,
    chance: Float64[torch.Tensor, "n length"] | None,
    guidance: float,
    begun: tuple[Int[torch.Tensor, "n length"], int],
) -> Int[torch.Tensor, "n length"]:
    """One batch, with captions and without side by side where both are asked."""
    network, n = model.network, len(words)
    device = network.places.weight.device
    both = [words] if guidance == 1 else [words, torch.full_like(words, model.tokenizer.bos_token_id)]
    told, tokens = Told(network, torch.cat(both).to(device)), torch.zeros_like(begun[0]).to(device)
    start = 0
    for k, size in enumerate(network.codec.groups):
        here = slice(start, start + size)
        if k < begun[1]:
            tokens[:, here] = begun[0][:, here].to(device)
        else:
            logits = guided(told.logits, guidance).flatten(0, 1)
            uniform = None if chance is None else chance[:, here].flatten().to(device)
            tokens[:, here] = next_tokens(logits, scheme, uniform).view(n, size)
        told.tell(tokens[:, here].repeat(len(both), 1))
        start += size
    return tokens


def guided(logits: Float[torch.Tensor, "rows places codes"], guidance: float) -> Float[torch.Tensor, "n places codes"]:
    """u + g (c - u) of the log-probabilities c of the first half of the rows and u of the second; all rows at g = 1."""
    if guidance == 1:
        return logits
    conditional, unconditional = logits.log_softmax(-1).chunk(2)
    return unconditional + guidance * (conditional - unconditional)
