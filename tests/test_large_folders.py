"""Pictures that do not fit into memory stay on disk while they are compared, chosen, encoded and judged."""

import json
import tracemalloc
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from difflab.audits import pipelines
from difflab.audits.blind import blind_features
from difflab.audits.members import of_folders
from difflab.audits.searches import ordinary
from difflab.audits.worlds import OnWorld, open_world
from difflab.datasets import near_copies, pixels
from difflab.datasets.captioned import captioned_folder
from difflab.diffusion import similarity
from difflab.diffusion.architecture import Architecture, build
from difflab.diffusion.pipeline import save

SIDE, N = 256, 60
BYTES = N * SIDE**2 * 3
"""Of one folder."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root, random = tmp_path_factory.mktemp("large"), np.random.default_rng(0)
    for name in ("seen", "unseen"):
        (root / name).mkdir()
        lines = []
        for i in range(N):
            blocks = random.integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(blocks).resize((SIDE, SIDE), Image.Resampling.NEAREST).save(root / name / f"{i}.png")
            lines.append(json.dumps({"file_name": f"{i}.png", "text": f"{name} {i}"}))
        (root / name / "metadata.jsonl").write_text("\n".join(lines))
    return root


@pytest.fixture
def small_memory(monkeypatch):
    """All pictures but a few are too many."""
    monkeypatch.setattr(pixels, "IN_MEMORY", 2**16)
    monkeypatch.setattr(pixels, "AT_ONCE", 2**19)
    monkeypatch.setattr(near_copies, "_ROWS", 16)
    monkeypatch.setattr(similarity, "AT_ONCE", 2**22)
    monkeypatch.setattr(similarity, "ASKED", 6)


@contextmanager
def less_than(size):
    """Numpy's arrays never take so many bytes at one time; maps of files do not count."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < size, f"{peak / 1e6:.1f} MB of {size / 1e6:.1f}"


def test_membership_keeps_no_folder_in_memory(folders, small_memory):
    with less_than(BYTES):
        seen, unseen = (captioned_folder(folders / name, SIDE) for name in ("seen", "unseen"))
        items = of_folders(seen, unseen, 1000, 0)
        features = blind_features(items.pictures, items.captions)
    assert len(items.pictures) == len(features) == 2 * N
    place = items.captions.index("unseen 7")
    np.testing.assert_array_equal(items.pictures[place], unseen.pictures[7])


def test_stress_keeps_no_folder_in_memory(folders, small_memory, tmp_path, monkeypatch):
    pixel = similarity.measures()["pixel"]
    monkeypatch.setattr(pipelines, "measures", lambda _: {"pixel": pixel})
    save(build(["seen unseen 1 2"], Architecture(side=SIDE, widths=(16, 16), vae_widths=(16, 16, 16)), 0), tmp_path)
    images, never = str(folders / "seen"), str(folders / "unseen")
    config = OnWorld(str(tmp_path), images=images, never=never, targets=2, held_out=4, seeds=2, device="cpu")
    with less_than(BYTES):
        world = open_world(config)
        described = world.judge.described
        retained = ordinary(world)
    assert isinstance(described["pixel"], similarity.Gallery) and len(world.judge.references) == 2 * N
    assert len(retained.captions) == N - 2 - 4 and world.judge.thresholds["pixel"].n == 6
