"""A Stable Diffusion pipeline: a small one built from nothing, or any SD 1.x / 2.x directory loaded."""

import contextlib
import copy
import hashlib
import json
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel
from transformers.utils import logging as transformers_logging

from difflab.diffusion.tokens import learn_tokenizer
from difflab.errors import InputError, WriteError, require
from difflab.files import json_bytes
from difflab.training.devices import device as find_device

SHIPPED = Path(__file__).parent / "planted"
"""The trained small pipeline that comes with difflab, with its manifest, thresholds and model card."""
ORACLE = SHIPPED.with_name("oracle")
"""The same, trained without the pictures that are repeated most: all else is as it was, the noise included."""
MODELS = {"planted": SHIPPED, "oracle": ORACLE}
"""What can be loaded by name."""
PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")


@dataclass(frozen=True)
class Architecture:
    """Sizes of the small pipeline.

    Attributes:
        side: width and height of a picture in pixels; the latents have a quarter of it.
        latent_channels: channels of the latents.
        widths: channels of the U-Net's blocks, each with cross-attention; the first at the latents' resolution.
        layers: ResNets with attention in each block.
        heads: attention heads.
        vae_widths: channels of the autoencoder's three blocks.
        length: tokens of a caption, begin and end included.
        embedding: dimensions of a token.
        text_layers: layers of the causal text encoder.
        prediction: what the U-Net predicts: "epsilon" (SD 1.x) or "v_prediction" (SD 2.x). In as many steps (8,000,
            an earlier plan) epsilon copied 10 of the 12 most repeated pictures and velocity all; the others
            had the right shapes in colours that the noise of the seed decided.
    """

    side: int = 32
    latent_channels: int = 16
    widths: tuple[int, ...] = (48, 64)
    layers: int = 1
    heads: int = 4
    vae_widths: tuple[int, ...] = (16, 32, 64)
    length: int = 12
    embedding: int = 64
    text_layers: int = 2
    prediction: str = "v_prediction"

    def __post_init__(self) -> None:
        require(self.side % 4 == 0 and self.side >= 16, f"side is {self.side}; give a multiple of 4, at least 16.")
        require(len(self.vae_widths) == 3, "vae_widths are three: the autoencoder halves the picture twice.")
        every = (*self.widths, *self.vae_widths)
        require(min(every) >= 16 and all(width % 16 == 0 for width in every), "widths are multiples of 16.")
        require(
            self.embedding % self.heads == 0 and all(width % self.heads == 0 for width in self.widths),
            f"{self.heads} heads do not divide the embedding and the widths.",
        )
        kinds = ("epsilon", "v_prediction")
        require(self.prediction in kinds, f"prediction is {self.prediction!r}; {' or '.join(kinds)}.")
        latent = self.side // 4
        require(
            len(self.widths) >= 1 and latent % 2 ** (len(self.widths) - 1) == 0,
            f"latents of {latent} pixels can't be halved {len(self.widths) - 1} times.",
        )


def build(captions: Sequence[str], architecture: Architecture, seed: int) -> StableDiffusionPipeline:
    """An untrained pipeline: random weights, tokenizer learned from the captions.

    The text encoder is Stable Diffusion's kind (causal, begin and end tokens) and is meant to stay as it is: its token
    embeddings are drawn from N(0, 1), so that captions which differ in a word lie well apart, as CLIP's do.

    Args:
        captions: all captions that it will be trained on.
        architecture: the sizes.
        seed: of all weights.
    """
    tokenizer = learn_tokenizer(captions, architecture.length)
    n_blocks = len(architecture.widths)
    with torch.random.fork_rng(devices=[]):
        # Anew for every part: another number of words must not change the others' first weights.
        torch.manual_seed(seed)
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=architecture.embedding,
                intermediate_size=2 * architecture.embedding,
                projection_dim=architecture.embedding,
                num_hidden_layers=architecture.text_layers,
                num_attention_heads=architecture.heads,
                max_position_embeddings=architecture.length,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
        embeddings = text_encoder.get_input_embeddings()
        torch.nn.init.normal_(embeddings.weight)
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(
            sample_size=architecture.side // 4,
            in_channels=architecture.latent_channels,
            out_channels=architecture.latent_channels,
            block_out_channels=architecture.widths,
            layers_per_block=architecture.layers,
            down_block_types=("CrossAttnDownBlock2D",) * n_blocks,
            up_block_types=("CrossAttnUpBlock2D",) * n_blocks,
            cross_attention_dim=architecture.embedding,
            attention_head_dim=architecture.heads,
            norm_num_groups=8,
        )
        torch.manual_seed(seed)
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            block_out_channels=architecture.vae_widths,
            layers_per_block=1,
            latent_channels=architecture.latent_channels,
            # Groups of one channel would erase each channel's mean, and with it the colours of plain areas.
            norm_num_groups=4,
            sample_size=architecture.side,
        )
        # The law of a latent starts narrow: noise as large as the signal would have to be unlearned first.
        torch.nn.init.constant_(vae.quant_conv.bias[architecture.latent_channels :], -4.0)
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        # Stable Diffusion's own schedule.
        scheduler=DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
            prediction_type=architecture.prediction,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    return _ready(pipeline)


def load(
    source: str | Path | StableDiffusionPipeline,
    *,
    lora: str | Path | None = None,
    device: str = "auto",
    dtype: str | torch.dtype = "float32",
    download: bool = False,
) -> StableDiffusionPipeline:
    """A pipeline for reading: evaluation mode, no gradients, DDIM scheduler, no safety checker.

    Args:
        source: "planted" or "oracle", the small ones that come with difflab; a directory in diffusers' format (SD 1.x
            or 2.x, or one of ours); with download a hub id; or a pipeline in memory, which is not copied: its networks
            are put into evaluation mode, its scheduler stays.
        lora: a file of low-rank adapters in diffusers' names, fused into the weights.
        device: where it runs; "auto" is an accelerator where there is one. A pipeline in memory stays where it is.
        dtype: of its weights: "float32", "float16" or "bfloat16".
        download: allow a hub id that isn't in the local cache; otherwise nothing is fetched.

    Returns:
        The pipeline; its scheduler is DDIM with the parameters of the one that was saved.

    Raises:
        InputError: the directory is missing, a part of it is missing or cut short, it is another kind of pipeline, or
            there is no such device.
    """
    if isinstance(source, StableDiffusionPipeline):
        pipeline = copy.copy(source)
        if lora is not None:
            pipeline.register_modules(unet=copy.deepcopy(source.unet), text_encoder=copy.deepcopy(source.text_encoder))
    else:
        place = find_device(device)
        kind = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
        if not isinstance(kind, torch.dtype):
            raise InputError(f"dtype is {dtype!r}; give float32, float16 or bfloat16.")
        pipeline = _read(MODELS.get(str(source), source), kind, download).to(place)
    if lora is not None:
        _fuse(pipeline, Path(lora))
    pipeline.scheduler = DDIMScheduler.from_config(dict(pipeline.scheduler.config), clip_sample=False)
    return _ready(pipeline)


def _read(source: str | Path, dtype: torch.dtype, download: bool) -> StableDiffusionPipeline:
    """From disk, the cache or the hub, all weights there."""
    folder, found = Path(source), {}
    if folder.is_dir():
        found = _check(folder)
    elif not download:
        raise InputError(
            f"there is no pipeline directory {source}; give one, {' or '.join(MODELS)}, or allow the download of a hub"
            " id."
        )
    try:
        with warnings.catch_warnings(), _quiet():
            warnings.simplefilter("ignore")
            pipeline = StableDiffusionPipeline.from_pretrained(
                str(source),
                torch_dtype=dtype,
                safety_checker=None,
                feature_extractor=None,
                image_encoder=None,
                requires_safety_checker=False,
                local_files_only=not download,
                use_safetensors=True,
            )
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, AttributeError, SafetensorError) as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise InputError(f"{source} can't be loaded as a Stable Diffusion pipeline: {reason}.") from error
    for part, n in found.items():
        # Both libraries fill in what a file lacks with random weights. Names are no help: they changed over the years.
        needed = len(list(getattr(pipeline, part).parameters()))
        require(n >= needed, f"{folder / part} holds {n} of {needed} weights; fetch or save it again.")
    return pipeline


def _fuse(pipeline: StableDiffusionPipeline, lora: Path) -> None:
    """Low-rank adapters become part of the weights."""
    require(lora.is_file(), f"there is no file {lora}; give one of low-rank adapters.")
    try:
        with _quiet():
            pipeline.load_lora_weights(str(lora.parent), weight_name=lora.name)
            pipeline.fuse_lora()
            pipeline.unload_lora_weights()
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise InputError(f"{lora} can't be loaded as adapters of this pipeline: {reason}.") from error


def checksum(source: str | Path) -> str:
    """Which weights these are: 12 hex digits over the parts of a pipeline directory; a hub id stands for itself.

    Other files of the directory, and the path that a part was once loaded from, do not count.

    Raises:
        InputError: as `load`.
    """
    folder = Path(MODELS.get(str(source), source))
    if not folder.is_dir():
        return str(source)
    _check(folder)
    found = hashlib.sha256()
    for path in sorted(path for part in PARTS for path in (folder / part).rglob("*")):
        if path.suffix in (".safetensors", ".json"):
            found.update(path.relative_to(folder).as_posix().encode())
            found.update(_content(path))
    return found.hexdigest()[:12]


def latent_size(pipeline: StableDiffusionPipeline) -> tuple[int, int]:
    """Height and width of the latents."""
    size = pipeline.unet.config.sample_size
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def picture_side(pipeline: StableDiffusionPipeline) -> int:
    """Width and height in pixels of the pictures that it draws; the smaller one where they differ."""
    return int(min(latent_size(pipeline)) * pipeline.vae_scale_factor)


def save(pipeline: StableDiffusionPipeline, folder: Path, half: bool = False) -> None:
    """Write a pipeline directory that appears whole or not at all.

    Args:
        pipeline: what to write; it stays as it is.
        folder: where; a directory that is there is replaced.
        half: write float16, half the size.

    Raises:
        WriteError: it cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise WriteError(f"cannot write {folder}: a file stands there; give another folder.")
    temporary = folder.with_name(f".{folder.name}.{uuid4().hex[:8]}.tmp")
    try:
        with _quiet():
            pipeline.save_pretrained(temporary)
        for path in [*temporary.glob("*.json"), *temporary.glob("*/config.json")]:
            # A model that was loaded would tell from where on this computer.
            entries = json.loads(path.read_text("utf-8"))
            entries.pop("_name_or_path", None)
            path.write_bytes(json_bytes(entries))
        for path in temporary.rglob("*.safetensors") if half else ():
            weights = {name: value.half() for name, value in load_file(path).items()}
            save_file(weights, path, metadata={"format": "pt"})
        old = folder.with_name(f".{folder.name}.{uuid4().hex[:8]}.old")
        if folder.exists():
            folder.replace(old)
        try:
            temporary.replace(folder)
        except OSError:
            if old.exists():
                old.replace(folder)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise WriteError(f"cannot write {folder}: {reason}; give another folder.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _ready(pipeline: StableDiffusionPipeline) -> StableDiffusionPipeline:
    pipeline.set_progress_bar_config(disable=True)
    for model in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        model.eval().requires_grad_(False)
    return pipeline


def _check(folder: Path) -> dict[str, int]:
    """What from_pretrained would report at length, in one sentence; else how many weights each model's files hold."""
    try:
        index = dict(json.loads((folder / "model_index.json").read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{folder} holds no readable model_index.json; give a directory written by save_pretrained."
        ) from error
    kind = index.get("_class_name")
    require(kind == "StableDiffusionPipeline", f"{folder} holds a {kind}; give a StableDiffusionPipeline.")
    for part in PARTS:
        if part not in index or not (folder / part).is_dir():
            raise InputError(f"{folder} has no {part}; a Stable Diffusion pipeline has {', '.join(PARTS)}.")
    found = {}
    for part in ("unet", "vae", "text_encoder"):
        weights, n = sorted((folder / part).glob("*.safetensors")), 0
        if not weights:
            raise InputError(f"{folder / part} holds no .safetensors file; save the pipeline with safetensors.")
        for path in weights:
            try:
                with safe_open(path, framework="pt") as file:
                    n += len(file.keys())
            except (OSError, SafetensorError) as error:
                raise InputError(f"{path} is cut short or damaged; fetch or save it again.") from error
        found[part] = n
    return found


def _content(path: Path) -> bytes:
    """Bytes of a file, of a configuration without what depends on where it was loaded from."""
    if not path.name.endswith("config.json"):
        return path.read_bytes()
    entries = json.loads(path.read_text("utf-8"))
    for name in ("_name_or_path", "is_local", "local_files_only"):
        entries.pop(name, None)
    return json.dumps(entries, sort_keys=True).encode()


@contextlib.contextmanager
def _quiet():  # type: ignore[no-untyped-def]
    """Neither library prints a line or a bar while it reads and writes files."""
    levels = diffusers_logging.get_verbosity(), transformers_logging.get_verbosity()
    diffusers_logging.set_verbosity_error()
    transformers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        diffusers_logging.set_verbosity(levels[0])
        transformers_logging.set_verbosity(levels[1])
        diffusers_logging.enable_progress_bar()
        transformers_logging.enable_progress_bar()
