"""How much memory a pipeline needs, from the shapes of its tensors alone: nothing is computed, nothing allocated."""

import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from difflab.diffusion.autoencoder import decoded_at_once
from difflab.diffusion.batch_sizes import fitting, with_gradients
from difflab.diffusion.pipeline import NETWORKS, latent_size


class Memory(NamedTuple):
    """Bytes that tensors fill; what a device's libraries take, and what lies unused between tensors, is not in them.

    Attributes:
        weights: of U-Net, autoencoder and text encoder.
        drawing: beside them at the most, while a batch of `fitting` pictures is drawn and decoded.
        search: beside them at the most, in a step of a search of embeddings, with as many predictions held as
            `with_gradients` says.
    """

    weights: int
    drawing: int
    search: int

    @property
    def told(self) -> str:
        """In one sentence, GiB."""
        weights, drawing, search = (f"{size / 2**30:.2g} GiB" for size in self)
        return f"weights fill {weights}, drawing {drawing} more, a search of embeddings {search} more"


def memory(pipeline: StableDiffusionPipeline) -> Memory:
    """What drawing and searching take, in the pipeline's own float type.

    Networks of the same configs are made of tensors that have a shape and no content, and run once. Attention is one
    kernel that keeps no matrix of positions, as on a GPU.

    Args:
        pipeline: on any device; it is not run.

    Returns:
        Numbers of bytes. Of drawing, guidance makes each picture two predictions.
    """
    dtype, (height, width) = pipeline.unet.dtype, latent_size(pipeline)
    weights = sum(_bytes(value) for part in NETWORKS for value in getattr(pipeline, part).parameters())
    text = pipeline.text_encoder.config
    n, held = fitting(pipeline), with_gradients(pipeline)
    decoded = min(n, decoded_at_once(height, width))
    with FakeTensorMode():
        unet = _shapes(UNet2DConditionModel, pipeline.unet, dtype)
        vae = _shapes(AutoencoderKL, pipeline.vae, dtype)

        def predicted(pictures: int, gradients: bool) -> None:
            z = torch.empty((pictures, unet.config.in_channels, height, width), dtype=dtype)
            y = torch.empty((pictures, text.max_position_embeddings, text.hidden_size), dtype=dtype)
            found = unet(z, torch.zeros(pictures), y.requires_grad_(gradients)).sample
            if gradients:
                found.float().square().sum().backward()

        def pixels() -> None:
            vae.decode(torch.empty((decoded, vae.config.latent_channels, height, width), dtype=dtype))

        with torch.no_grad():
            drawing = max(most_alive(lambda: predicted(2 * n, False), unet), most_alive(pixels, vae))
        with torch.enable_grad():
            search = most_alive(lambda: predicted(held, True), unet)
    return Memory(weights, drawing, search)


def most_alive(compute: Callable[[], Any], network: torch.nn.Module | None = None) -> int:
    """Most bytes of new tensors that are alive at once while something is computed.

    Args:
        compute: what; it is called once.
        network: its weights, and what only looks at them, do not count.
    """
    live = _Live(() if network is None else network.parameters())
    with live:
        compute()
    return live.most


class _Live(TorchDispatchMode):
    """Counts the storages that operations make, until they are gone."""

    def __init__(self, there: Any) -> None:
        super().__init__()
        self.now = self.most = 0
        self.known = {tensor.untyped_storage()._cdata for tensor in there}

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = operation(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self.known:
            return
        self.known.add(key)
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


def _shapes(kind: Any, network: torch.nn.Module, dtype: torch.dtype) -> Any:
    """A network of the same config, whose weights have shapes alone."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        return kind.from_config(network.config).requires_grad_(False).eval()
    finally:
        torch.set_default_dtype(before)


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()
