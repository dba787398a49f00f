"""What a model has no place for is left out with a sentence, and the rest is done; SSCD in whatever form it comes."""

import numpy as np
import pytest
import torch
from conformance import says_one_sentence
from diffusers import UNet2DConditionModel

from difflab.audits import audit
from difflab.audits.pipelines import OnPipeline
from difflab.diffusion.architecture import Architecture, build
from difflab.diffusion.similarity import measures
from difflab.errors import InapplicableError
from difflab.methods import method, methods
from difflab.runs.report import build as page
from difflab.runs.rows import select

SIZES = Architecture(
    side=16, latent_channels=4, widths=(16, 32), heads=2, vae_widths=(16, 16, 16), length=8, embedding=24, text_layers=1
)
WORDS = ("red", "blue", "green", "cat", "dog", "tree")
PICTURES = np.random.default_rng(0).integers(0, 256, (56, 16, 16, 3), np.uint8)
CAPTIONS = [f"{WORDS[i % 6]} {WORDS[i // 6 % 6]}" for i in range(56)]


def blind_at_first(**changes):
    """A U-Net whose first down block has no cross-attention, as some have at high resolutions."""
    pipeline = build([" ".join(WORDS)], SIZES, 0)
    kinds = {"down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
             "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D")}  # fmt: skip
    # What was left at its default would stay there.
    config = {**pipeline.unet.config, **kinds, **changes, "_use_default_values": []}
    torch.manual_seed(0)
    pipeline.unet = UNet2DConditionModel.from_config(config).eval().requires_grad_(False)
    return pipeline


def test_a_detector_that_does_not_apply_is_a_sentence_on_the_page(tmp_path):
    found = audit.audit(blind_at_first(), (PICTURES, CAPTIONS), captions=4, seeds=2, steps=2, out=tmp_path)
    blind, narrow = found.meta["notes"]
    assert blind.startswith("bright_ending is left out: the U-Net's first down block has no cross-attention")
    assert narrow.startswith("seed_similarity is left out: window is 5 and the latents' side 4")
    scored = {row.setting["detector"] for row in select(found.rows, "median_score")}
    assert scored == set(methods("detectors")) - {"bright_ending", "seed_similarity"}
    text = page(tmp_path, {})
    assert "bright_ending is left out" in text.read_text() and "left out" in (tmp_path / "report.md").read_text()
    assert "left out" in found._repr_html_()
    again = audit.audit(blind_at_first(), (PICTURES, CAPTIONS), captions=4, seeds=2, steps=2, out=tmp_path)
    assert again.meta["notes"] == [blind, narrow]


def test_a_prompt_that_no_layer_reads_draws_no_attention():
    deaf = blind_at_first(
        down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2, mid_block_type="UNetMidBlock2D"
    )
    for name in ("bright_ending", "attention_entropy"):
        with pytest.raises(InapplicableError):
            method("detectors", name).function(deaf, ["red cat"], [0])


@pytest.mark.parametrize(
    ("size", "names"), [((32, 32), {"pixel", "patch", "efficientnet"}), ((6, 8), {"pixel", "efficientnet"})]
)
def test_a_measure_that_cannot_cut_pictures_is_left_out(size, names):
    known, notes = OnPipeline().measures(size)
    assert set(known) == names
    assert [note.sentence for note in notes] == [
        f"patch is left out: pictures of {size[0]} x {size[1]} can't be cut in 4 along each side."
        for _ in range("patch" not in names)
    ]


class Colours(torch.nn.Module):
    """Mean colours of the four quarters: twelve numbers."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        return x.reshape(n, c, 2, h // 2, 2, w // 2).mean(dim=(3, 5)).flatten(1)


class Half(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(12, 12, bias=False)
        torch.nn.init.eye_(self.layer.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, h, w = x.shape
        return self.layer(x.reshape(n, c, 2, h // 2, 2, w // 2).mean(dim=(3, 5)).flatten(1))


class Several(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        n, c, h, w = x.shape
        return x.reshape(n, c, 2, h // 2, 2, w // 2).mean(dim=(3, 5)).flatten(1)[:, :, None, None], x


class Fixed(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n = x.shape[0]
        return x.reshape(n, 3, 2, 112, 2, 112).mean(dim=(3, 5)).flatten(1)


class Picture(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


class Whole(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(2, 3)).mean(dim=0)


class One(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(1, 2, 3))


class Same(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.ones(x.shape[0], 8)


class Infinite(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(2, 3)) / 0.0


def scripted(module, path):
    torch.jit.script(module).save(str(path))
    return path


@pytest.mark.parametrize("made", [Half().half(), Half().bfloat16(), Several(), Fixed()], ids=repr)
def test_sscd_of_another_form_says_the_same(made, tmp_path):
    plain, other = (measures(scripted(m, tmp_path / f"{i}.pt"))["sscd"] for i, m in enumerate((Colours(), made)))
    one, two = plain.describe(PICTURES[:5]), other.describe(PICTURES[:5])
    assert two.shape == one.shape == (5, 1, 12) and two.dtype == torch.float32
    torch.testing.assert_close(two, one, atol=0.03, rtol=0.03)


@pytest.mark.parametrize(
    ("made", "word"),
    [
        (Picture(), "(2, 3, 320, 320) of 2 pictures"),
        (Whole(), "(3,) of 2 pictures"),
        (One(), "(2,) of 2 pictures"),
        (Same(), "says the same of every picture"),
        (Infinite(), "not finite"),
        (torch.nn.Linear(7, 7), "no vector"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_gives_no_vector_is_one_sentence_before_anything_is_drawn(made, word, tmp_path):
    path = scripted(made, tmp_path / "sscd.pt")
    said = says_one_sentence(lambda: measures(path))
    assert str(path) in said and word in said, said
