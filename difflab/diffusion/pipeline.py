"""A Stable Diffusion pipeline: a shipped one, or any SD 1.x / 2.x directory, loaded and saved."""

import contextlib
import copy
import hashlib
import json
import shutil
import warnings
from pathlib import Path
from uuid import uuid4

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from transformers.utils import logging as transformers_logging

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


def found_model(source: str | Path) -> str | Path:
    """A directory of this name if there is one, else the shipped pipeline of this name, else the name itself."""
    return source if Path(source, "model_index.json").is_file() else MODELS.get(str(source), source)


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
        source: a directory in diffusers' format (SD 1.x or 2.x, or one of ours); where there is none of that name,
            "planted" or "oracle", the small ones that come with difflab; with download a hub id; or a pipeline in
            memory, which is not copied: its networks are put into evaluation mode, its scheduler stays.
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
        pipeline = _read(found_model(source), kind, download).to(place)
    if lora is not None:
        _fuse(pipeline, Path(lora))
    pipeline.scheduler = DDIMScheduler.from_config(dict(pipeline.scheduler.config), clip_sample=False)
    return ready(pipeline)


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
    folder = Path(found_model(source))
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


def ready(pipeline: StableDiffusionPipeline) -> StableDiffusionPipeline:
    """In evaluation mode, without gradients and progress bars."""
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
