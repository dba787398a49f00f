"""A Stable Diffusion pipeline: a shipped one, or any SD 1.x / 2.x directory, loaded and saved."""

import contextlib
import copy
import functools
import hashlib
import json
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import diffusers
import torch
import transformers
from diffusers import StableDiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from transformers.utils import logging as transformers_logging

from difflab.diffusion.adapters import BESIDE, fuse
from difflab.diffusion.supported import check, ddim
from difflab.diffusion.weights import read_network, stem, weights_of
from difflab.errors import InputError, WriteError, reason, require
from difflab.files import json_bytes, stamp
from difflab.training.devices import device as find_device

SHIPPED = Path(__file__).parent / "planted"
"""The trained small pipeline that comes with difflab, with its manifest, thresholds and model card."""
ORACLE = SHIPPED.with_name("oracle")
"""The same, trained without the pictures that are repeated most: all else is as it was, the noise included."""
MODELS = {"planted": SHIPPED, "oracle": ORACLE}
"""What can be loaded by name."""
INDEX = "model_index.json"
NETWORKS = ("unet", "vae", "text_encoder")
PARTS = (*NETWORKS, "tokenizer", "scheduler")
_WEIGHTS = (".safetensors", ".bin", ".pt", ".ckpt")
_TRAINED = re.compile("lora|embed", re.IGNORECASE)
"""In the name of what is trained beside a pipeline: adapters, and embeddings of textual inversion."""
USUAL = {
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "scheduler": ["diffusers", "DDIMScheduler"],
}
"""Classes of the parts that the checksum takes for granted."""
DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def found_model(source: str | Path) -> str | Path:
    """A directory of this name if there is one, else the shipped pipeline of this name, else the name itself."""
    return source if Path(source, "model_index.json").is_file() else MODELS.get(str(source), source)


def load(
    source: str | Path | StableDiffusionPipeline,
    *,
    lora: str | Path | None = None,
    no_lora: bool = False,
    device: str = "auto",
    dtype: str | torch.dtype = "float32",
    download: bool = False,
) -> StableDiffusionPipeline:
    """A pipeline for reading: evaluation mode, no gradients, DDIM scheduler, no safety checker.

    Args:
        source: a directory in diffusers' format (SD 1.x or 2.x, or one of ours); where there is none of that name,
            "planted" or "oracle", the small ones that come with difflab; with download a hub id; or a pipeline in
            memory, which is not copied: its networks are put into evaluation mode, its scheduler stays.
        lora: a file of low-rank adapters in diffusers' or kohya's names, fused into the weights.
        no_lora: leave the adapters that lie beside the pipeline; without this or lora they are asked about.
        device: where it runs; "auto" is an accelerator where there is one. A pipeline in memory stays where it is.
        dtype: of its weights: "float32", "float16" or "bfloat16".
        download: allow a hub id that isn't in the local cache; otherwise nothing is fetched.

    Returns:
        The pipeline; its scheduler is DDIM with the parameters of the one that was saved.

    Raises:
        InputError: the directory is missing, a part of it is missing or cut short, a weight is missing, too many or not
            finite, it is another kind of pipeline, or there is no such device.
    """
    require(lora is None or not no_lora, "lora and no_lora are both given; adapters are fused or left.")
    if isinstance(source, StableDiffusionPipeline):
        pipeline, name = copy.copy(source), "the pipeline"
        if lora is not None:
            pipeline.register_modules(unet=copy.deepcopy(source.unet), text_encoder=copy.deepcopy(source.text_encoder))
    else:
        place, name = find_device(device), str(source)
        kind = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
        if kind not in DTYPES:
            raise InputError(f"dtype is {dtype!r}; give float32, float16 or bfloat16.")
        folder = located(source, download)
        if lora is None and not no_lora:
            _check_beside(folder)
        pipeline = _read(folder, kind).to(place)
    check(pipeline, name)
    if lora is not None:
        fuse(pipeline, Path(lora))
    pipeline.scheduler = ddim(pipeline.scheduler, name)
    return ready(pipeline)


def located(source: str | Path, download: bool = False) -> Path:
    """Where a pipeline lies on disk: a directory, a shipped one, or a hub id in the local cache.

    Args:
        source: as in `load`.
        download: fetch what the cache lacks of a hub id.

    Raises:
        InputError: there is no such directory, no such id in the cache, or it can't be fetched.
    """
    folder = Path(found_model(source))
    if folder.is_dir():
        return folder
    if download:
        with _reading(source):
            return Path(StableDiffusionPipeline.download(str(source), use_safetensors=True))
    with contextlib.suppress(HFValidationError):
        cached = try_to_load_from_cache(str(source), INDEX)
        if isinstance(cached, str):
            return Path(cached).parent
    raise InputError(
        f"there is no pipeline directory {source}; give one, {' or '.join(MODELS)}, or allow the download of a hub id."
    )


def _read(folder: Path, dtype: torch.dtype) -> StableDiffusionPipeline:
    """From disk, every weight there."""
    index = _check(folder)
    with _reading(folder):
        networks = {part: read_network(folder / part, _class(folder, index, part), dtype) for part in NETWORKS}
        return StableDiffusionPipeline.from_pretrained(
            str(folder),
            **networks,
            safety_checker=None,
            feature_extractor=None,
            image_encoder=None,
            requires_safety_checker=False,
            local_files_only=True,
        )


def _check_beside(folder: Path) -> None:
    """Nothing lies there that was trained, and that a pipeline does not load by itself."""
    require(
        not (folder / BESIDE).exists(),
        f"{folder} holds {BESIDE}, which a pipeline does not load by itself; give --lora {folder / BESIDE} to fuse"
        " these adapters, or --no-lora for the pipeline without them.",
    )
    there = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    # A whole checkpoint in one file is the same pipeline once more, and lies beside many.
    files = [path for path in there if path.suffix in _WEIGHTS and (_TRAINED.search(path.name) or _adapts(path))]
    folders = [
        path
        for path in there
        if path.name.startswith(tuple(f"{part}_" for part in NETWORKS))
        and path.is_dir()
        and any(file.suffix in _WEIGHTS for file in path.iterdir())
    ]
    for path in (*files, *folders):
        raise InputError(
            f"{folder} holds {path.name} beside the pipeline's parts, which a pipeline does not load by itself; fuse it"
            " with diffusers and save the pipeline, or give --no-lora for the pipeline without it."
        )


def _adapts(path: Path) -> bool:
    """Whether a file holds adapters, by the names in it."""
    if path.suffix != ".safetensors":
        return False
    try:
        with safe_open(path, framework="pt") as file:
            return any("lora" in name for name in file.keys())  # noqa: SIM118
    except (OSError, SafetensorError):
        return False


@contextlib.contextmanager
def _reading(source: str | Path) -> Iterator[None]:
    """What the libraries say while they read, in one sentence."""
    try:
        with warnings.catch_warnings(), _quiet():
            warnings.simplefilter("ignore")
            yield
    except (OSError, ValueError, TypeError, LookupError, RuntimeError, AttributeError, SafetensorError) as error:
        raise InputError(f"{source} can't be loaded as a Stable Diffusion pipeline: {reason(error)}.") from error


def _class(folder: Path, index: Mapping[str, Any], part: str) -> Any:
    """The class of a network that model_index.json names, from diffusers or transformers."""
    library, name = (*index[part], None, None)[:2] if isinstance(index[part], list) else (None, None)
    found = getattr({"diffusers": diffusers, "transformers": transformers}.get(str(library)), str(name), None)
    if not (isinstance(found, type) and issubclass(found, torch.nn.Module)):
        raise InputError(
            f"{folder / 'model_index.json'} names {index[part]} as {part}; give a pipeline of the networks of diffusers"
            " and transformers."
        )
    return found


def checksum(source: str | Path, download: bool = False) -> str:
    """Which weights these are: 12 hex digits over the parts of a pipeline, a directory or a hub id as in `located`.

    Other files of the directory, and the path that a part was once loaded from, do not count.

    Raises:
        InputError: as `load`.
    """
    folder = located(source, download)
    index = _check(folder)
    classes = {part: index[part] for part in PARTS}
    try:
        there = sorted(path for part in PARTS for path in (folder / part).rglob("*"))
        paths = [path for path in there if path.suffix in (".safetensors", ".json", ".txt", ".model")]
        stamps = tuple((path, stamp(path)) for path in paths if path.is_file())
        return _digest(folder, stamps, "" if classes == USUAL else json.dumps(classes, sort_keys=True))
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{folder} holds a file that can't be read: {error}.") from error


@functools.lru_cache
def _digest(folder: Path, stamps: tuple[tuple[Path, tuple[int, ...]], ...], classes: str) -> str:
    """Of files that have not changed since: a config is made several times before its run."""
    found = hashlib.sha256()
    for path, _ in stamps:
        found.update(path.relative_to(folder).as_posix().encode())
        for part in _content(path):
            found.update(part)
    found.update(classes.encode())
    return found.hexdigest()[:12]


def latent_size(pipeline: StableDiffusionPipeline) -> tuple[int, int]:
    """Height and width of the latents."""
    size = pipeline.unet.config.sample_size
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def picture_size(pipeline: StableDiffusionPipeline) -> tuple[int, int]:
    """Height and width in pixels of the pictures that it draws."""
    height, width = latent_size(pipeline)
    return height * pipeline.vae_scale_factor, width * pipeline.vae_scale_factor


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
        why = getattr(error, "strerror", None) or error
        raise WriteError(f"cannot write {folder}: {why}; give another folder.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def ready(pipeline: StableDiffusionPipeline) -> StableDiffusionPipeline:
    """In evaluation mode, without gradients and progress bars."""
    pipeline.set_progress_bar_config(disable=True)
    for model in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        model.eval().requires_grad_(False)
    return pipeline


def _check(folder: Path) -> dict[str, Any]:
    """model_index.json, after a look at what the directory holds: what from_pretrained would report at length."""
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
    for path in (*(folder / part / "config.json" for part in NETWORKS), folder / "scheduler/scheduler_config.json"):
        try:
            readable = isinstance(json.loads(path.read_text("utf-8")), dict)
        except (OSError, ValueError) as error:
            raise InputError(f"{path} can't be read as JSON; fetch or save it again.") from error
        require(readable, f"{path} holds no JSON object; fetch or save it again.")
    for part in NETWORKS:
        library = index[part][0] if isinstance(index[part], list) and index[part] else None
        weights_of(folder / part, stem(str(library)))
    return index


def _content(path: Path) -> Iterator[bytes]:
    """Bytes of a file, of a configuration without what depends on where it was loaded from."""
    if path.name.endswith("config.json"):
        entries = json.loads(path.read_text("utf-8"))
        for name in ("_name_or_path", "is_local", "local_files_only"):
            entries.pop(name, None)
        yield json.dumps(entries, sort_keys=True).encode()
        return
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            yield part


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
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
