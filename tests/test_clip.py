"""Small CLIP models: built, saved, loaded here and by open_clip itself, and refused where something does not fit."""

import json
import pickle

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from difflab.clip.model import (
    CONFIG,
    WEIGHTS,
    Architecture,
    build,
    embed_images,
    embed_texts,
    load_clip,
    prepared,
    save_clip,
)
from difflab.errors import InputError

WORDS = ("red", "blue", "circle", "star", "oslo", "paris")
SMALL = Architecture(side=16, patch=8, width=32, layers=1, embedding=16, context=6)
CAPTIONS = ["oslo red circle", "Paris blue STAR", "red", "oslo paris red blue circle star", "a zebra"]


def _pictures(n=4, side=16, seed=0):
    return np.random.default_rng(seed).integers(0, 256, size=(n, side, side, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def clip():
    return build(SMALL, WORDS, seed=3)


@pytest.fixture
def folder(clip, tmp_path):
    save_clip(clip, tmp_path / "clip")
    return tmp_path / "clip"


def test_the_seed_decides_the_weights_and_nothing_else_changes(clip):
    torch.manual_seed(11)
    before = torch.get_rng_state()
    again, other = build(SMALL, WORDS, seed=3), build(SMALL, WORDS, seed=4)
    assert torch.equal(torch.get_rng_state(), before)
    own, same, new = (model.model.state_dict() for model in (clip, again, other))
    assert all(torch.equal(own[name], same[name]) for name in own)
    assert not torch.equal(own["token_embedding.weight"], new["token_embedding.weight"])


def test_a_word_is_a_token_and_the_end_has_the_largest_id(clip):
    ids = clip.tokenizer(CAPTIONS)
    assert ids.shape == (5, 6)
    # Padding, unknown, begin, the words in their order, end: CLIP reads the text where the largest id stands.
    assert ids[0].tolist() == [2, 7, 3, 5, 9, 0]
    assert ids[1].tolist() == [2, 8, 4, 6, 9, 0]
    assert ids[3].tolist() == [2, 7, 8, 3, 4, 9]
    assert ids[4].tolist() == [2, 1, 1, 9, 0, 0]
    assert clip.model.vocab_size == 10 and (ids.argmax(dim=1) == torch.tensor([4, 4, 2, 5, 3])).all()


def test_embeddings_have_length_one_and_do_not_depend_on_the_batch(clip):
    pixels = prepared(clip, _pictures(7))
    images, texts = embed_images(clip, pixels), embed_texts(clip, CAPTIONS)
    np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(images, embed_images(clip, pixels, batch=2), atol=1e-5)
    np.testing.assert_allclose(texts, embed_texts(clip, CAPTIONS, batch=1), atol=1e-5)


def test_pictures_in_memory_go_through_the_transform_of_the_checkpoint(clip):
    for side in (16, 24):
        pictures = _pictures(3, side)
        expected = torch.stack([clip.transform(Image.fromarray(picture)) for picture in pictures])
        torch.testing.assert_close(prepared(clip, pictures), expected)
    assert prepared(clip, _pictures(2, 24)).shape == (2, 3, 16, 16)


def test_a_saved_model_loads_here_and_in_open_clip(clip, folder):
    pixels = prepared(clip, _pictures())
    loaded = load_clip(str(folder))
    np.testing.assert_array_equal(embed_images(clip, pixels), embed_images(loaded, pixels))
    np.testing.assert_array_equal(embed_texts(clip, CAPTIONS), embed_texts(loaded, CAPTIONS))
    theirs, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    theirs.eval()
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(CAPTIONS)
    with torch.no_grad():
        found = theirs.encode_text(tokens, normalize=True).numpy()
    np.testing.assert_allclose(found, embed_texts(clip, CAPTIONS), atol=1e-6)
    picture = Image.fromarray(_pictures(1, 24)[0])
    torch.testing.assert_close(transform(picture), loaded.transform(picture))
    assert not [path for path in folder.rglob("*") if path.suffix in (".pkl", ".pt", ".bin")]


def test_a_folder_takes_other_weights(clip, folder, tmp_path):
    other = build(SMALL, WORDS, seed=9)
    path = tmp_path / "other.safetensors"
    save_file(other.model.state_dict(), path)
    np.testing.assert_array_equal(
        embed_texts(load_clip(str(folder), str(path)), CAPTIONS), embed_texts(other, CAPTIONS)
    )


@pytest.fixture
def named(tmp_path):
    """A model config of open_clip's, by JSON file, and weights for it; its tokenizer is open_clip's own."""
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 32, "patch_size": 16},
        "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 32, "heads": 1, "layers": 1},
    }
    path = tmp_path / "difflab-test-named.json"
    path.write_text(json.dumps(config))
    open_clip.add_model_config(path)
    torch.manual_seed(0)
    model = open_clip.create_model("difflab-test-named", load_weights=False)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    return path, tmp_path / "weights.pt", model.eval()


def test_a_named_model_wants_to_know_how_pictures_were_prepared(named, tmp_path):
    config, weights, model = named
    for name in (str(config), "difflab-test-named"):
        with pytest.raises(InputError, match="does not say how its pictures were prepared; give --preprocess"):
            load_clip(name, str(weights))
        found = load_clip(name, str(weights), "default")
        with torch.no_grad():
            expected = model.encode_text(open_clip.get_tokenizer("difflab-test-named")(CAPTIONS), normalize=True)
        np.testing.assert_allclose(embed_texts(found, CAPTIONS), expected.numpy(), atol=1e-6)
    stated = tmp_path / "preprocess.json"
    stated.write_text(json.dumps({"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bilinear"}))
    found = load_clip("difflab-test-named", str(weights), str(stated))
    white = found.transform(Image.new("RGB", (50, 40), "white"))
    assert white.shape == (3, 32, 32) and torch.allclose(white, torch.ones(()))
    default = load_clip("difflab-test-named", str(weights), "default").transform(Image.new("RGB", (50, 40), "white"))
    assert default.max() > 1.9  # (1 - mean) / std of OpenAI's


def test_a_tag_brings_its_own_preprocessing():
    from difflab.clip.model import _named_config, _preprocess

    _, config = _named_config("ViT-B-16-plus-240")
    tag = open_clip.list_pretrained_tags_by_model("ViT-B-16-plus-240")[0]
    assert _preprocess("ViT-B-16-plus-240", config, tag)["size"] == 240
    _, config = _named_config("ViT-B-32")
    with pytest.raises(InputError, match="ViT-B-32-quickgelu"):
        _preprocess("ViT-B-32", config, "openai")
    _, quick = _named_config("ViT-B-32-quickgelu")
    assert _preprocess("ViT-B-32-quickgelu", quick, "openai")["mean"] == open_clip.OPENAI_DATASET_MEAN


def _break(folder, what):
    weights = load_file(folder / WEIGHTS)
    if what == "config gone":
        (folder / CONFIG).unlink()
    elif what == "no preprocessing":
        config = json.loads((folder / CONFIG).read_text())
        del config["preprocess_cfg"]
        (folder / CONFIG).write_text(json.dumps(config))
    elif what == "weights gone":
        (folder / WEIGHTS).unlink()
    elif what == "weights cut short":
        (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:2000])
    elif what == "weights of NaN":
        weights["visual.proj"][0, 0] = float("nan")
        save_file(weights, folder / WEIGHTS)
    elif what == "another width":
        save_file(build(Architecture(16, 8, 64, 1, 16, 6), WORDS, 0).model.state_dict(), folder / WEIGHTS)
    elif what == "another context":
        save_file(build(Architecture(16, 8, 32, 1, 16, 8), WORDS, 0).model.state_dict(), folder / WEIGHTS)
    elif what == "another model":
        save_file({"layer.weight": torch.zeros(3)}, folder / WEIGHTS)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("config gone", CONFIG),
        ("no preprocessing", "how its pictures are prepared"),
        ("weights gone", "no file of weights"),
        ("weights cut short", "can't be loaded"),
        ("weights of NaN", "NaN or infinite weights in visual.proj"),
        ("another width", "can't be loaded"),
        ("another context", r"positional_embedding has shape \(8, 32\) there and \(6, 32\) here"),
        ("another model", "can't be loaded"),
    ],
)
def test_a_damaged_folder_is_one_sentence(folder, what, said):
    _break(folder, what)
    with pytest.raises(InputError, match=said) as error:
        load_clip(str(folder))
    assert "\n" not in str(error.value)


class _Trap:
    def __reduce__(self):
        return (pytest.fail, ("the pickle ran",))


def test_weights_that_are_code_do_not_run(folder, tmp_path):
    path = tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps(_Trap(), protocol=2))
    with pytest.raises(InputError, match="can't be loaded"):
        load_clip(str(folder), str(path))


def test_other_mistakes(folder, named):
    _, weights, _ = named
    for asked, said in (
        (("no-such-model", str(weights)), "neither|no folder"),
        (("no-such-config.json", str(weights)), "no model config"),
        (("ViT-B-32",), "checkpoint"),
        (("difflab-test-named", str(weights), "openai"), "no preprocessing openai"),
        ((str(folder), "", "default"), "says itself"),
        (("hf-hub:somebody/something", str(weights), "default"), "no folder"),
        (("local-dir:nowhere", str(weights), "default"), "no folder"),
        (("difflab-test-named", str(weights), "default", "warp:9"), "there is no device 'warp:9'"),
        (("ViT-B-16-SigLIP", str(weights), "default"), "parts from a hub"),
    ):
        with pytest.raises(InputError, match=said):
            load_clip(*asked)
    with pytest.raises(InputError, match="twice"):
        build(SMALL, ("red", "red"), 0)
    # By the name of a model of open_clip's, which must not be loaded instead.
    for broken in (folder / "broken.json", folder / "ViT-B-32.json"):
        for content in ("{", "3", "[1]", '{"embed_dim": 8}', "[" * 100_000):
            broken.write_text(content)
            with pytest.raises(InputError, match="no folder"):
                load_clip(str(broken), str(weights), "default")
    assert build(SMALL, ("red",), 0), "one broken file spoils the next model"
    odd = folder / "odd.json"
    odd.write_text(json.dumps({"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "magic"}))
    with pytest.raises(InputError, match="can't be loaded"):
        load_clip("difflab-test-named", str(weights), str(odd))
    for wrong in ({"side": 20}, {"width": 40}, {"layers": 0}):
        with pytest.raises(InputError):
            Architecture(**({"patch": 8} | wrong))
