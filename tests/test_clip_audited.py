"""`difflab dejavu` on files of a user's own, against the same test written out; and its mistakes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conformance import says_one_sentence
from PIL import Image
from safetensors.torch import save_file

import difflab
from difflab.audits import dejavu as clip_audited
from difflab.audits.clips import in_memory
from difflab.audits.dejavu import NEVER, PERMUTED, SECOND
from difflab.clip.model import WEIGHTS, Architecture, build, embed_images, embed_texts, load_clip, save_clip
from difflab.errors import InputError
from difflab.runs.rows import select
from experiments import __main__ as command_line
from synthetic.data import collages as drawn
from synthetic.data.collages import World, collages

WORLD = World(classes=12, objects=4, named=1, keys=1, grid=2)
SMALL = Architecture(side=16, patch=8, width=32, layers=1, embedding=16, context=6)
N, K = 14, 3


def _write(folder, found, names):
    """Pictures with metadata, and a list of objects beside the folder."""
    folder.mkdir()
    entries, listed = [], []
    for i, picture in enumerate(found.pictures):
        Image.fromarray(picture).save(folder / f"{i}.png")
        entries.append({"file_name": f"{i}.png", "text": found.captions[i]})
        listed.append({"file_name": f"{i}.png", "objects": [names[c] for c in found.classes[i]]})
    for path, lines in ((folder / "metadata.jsonl", entries), (folder.with_suffix(".jsonl"), listed)):
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A user's folder: a model with its weights, other weights, training pairs of both and a gallery."""
    root = tmp_path_factory.mktemp("own")
    sets = {
        name: collages(np.random.default_rng(seed), n, WORLD)
        for seed, (name, n) in enumerate((("data", N), ("other", N), ("public", 40)))
    }
    for name, found in sets.items():
        _write(root / name, found, drawn.names(WORLD))
    clips = [build(SMALL, drawn.words(WORLD), seed) for seed in (1, 2)]
    save_clip(clips[0], root / "model")
    save_file(clips[1].model.state_dict(), root / "reference.safetensors")
    return root, sets, clips


def _flags(root, **changes):
    flags = {
        "model": root / "model",
        "reference": root / "reference.safetensors",
        "data": root / "data",
        "objects": root / "data.jsonl",
        "public": root / "public",
        "public-objects": root / "public.jsonl",
        "k": K,
        "replicates": 20,
    } | {name.replace("_", "-"): value for name, value in changes.items()}
    given = [(f"--{name}", str(value)) for name, value in flags.items() if value is not None]
    return [part for pair in given for part in pair]


def _run(root, out, *more, **changes):
    command_line.main(["dejavu", "--out", str(out), *_flags(root, **changes), *more])
    from difflab.runs.results import read_run

    (folder,) = (out / "clip_audited").iterdir()
    return read_run(folder)


def _plain_votes(clip, captions, public):
    pixels = torch.stack([clip.transform(Image.fromarray(picture)) for picture in public.pictures])
    products = embed_texts(clip, captions) @ embed_images(clip, pixels).T
    counts = np.zeros((len(captions), WORLD.classes), int)
    for row, product in zip(counts, products, strict=True):
        for place in sorted(range(len(product)), key=lambda g, p=product: (-p[g], g))[:K]:
            for c in public.classes[place]:
                row[c] += 1
    return counts


def _plain_auc(counts, found):
    areas = []
    for row, classes in zip(counts, found.classes, strict=True):
        there, absent = row[classes[1:]], np.delete(row, classes)
        areas.append(np.mean([(a > b) + (a == b) / 2 for a in there for b in absent]))
    return np.array(areas)


def test_two_models_on_files(own, tmp_path, capsys):
    root, sets, clips = own
    run = _run(root, tmp_path, reference_data=root / "other", reference_objects=root / "other.jsonl")
    assert "report.html" in capsys.readouterr().out and (tmp_path / "report.html").is_file()
    for trained, name, (member, stranger) in (("target", "data", clips), ("reference", "other", clips[::-1])):
        found = sets[name]
        a, b = (_plain_votes(clip, found.captions, sets["public"]) for clip in (member, stranger))
        areas = _plain_auc(a, found), _plain_auc(b, found)
        for of, area in zip(("target", SECOND), areas, strict=True):
            row = select(run.rows, "hidden_auc", of=of, trained=trained)[0]
            assert row.value == pytest.approx(area.mean()) and row.n == N
        gap = select(run.rows, "gap_score", of="hidden_auc", reference=SECOND, trained=trained)[0]
        assert gap.value == pytest.approx((areas[0] - areas[1]).mean())
        held = np.zeros((N, WORLD.classes), bool)
        np.put_along_axis(held, found.classes, True, axis=1)
        recalls = [((counts > 0) & held).sum(axis=1) / 4 for counts in (a, b)]
        prg = select(run.rows, "gap_score", of="prg", reference=SECOND, trained=trained)[0]
        assert prg.value == pytest.approx(np.sign(recalls[0] - recalls[1]).mean())
        assert select(run.rows, "gap_score", of="hidden_auc", reference=f"{SECOND}{PERMUTED}", trained=trained)
    assert set(run.figures) == {"gaps", "pictures"}


def test_one_model_needs_no_reference(own, tmp_path):
    root, _, _ = own
    run = _run(root, tmp_path, "--one-model", reference=None)
    references = {row.setting["reference"] for row in select(run.rows, "gap_score", of="hidden_auc")}
    plain = {"naive Bayes", "nearest by words"}
    assert references == plain | {f"{name}{PERMUTED}" for name in plain}
    assert not select(run.rows, "gap_score", trained=NEVER)


def test_models_in_memory_are_asked_as_those_in_files(own, tmp_path):
    root, _, (target, reference) = own
    files = {name: root / place for name, place in (("data", "data"), ("objects", "data.jsonl"))}
    files |= {name: root / place for name, place in (("public", "public"), ("public_objects", "public.jsonl"))}
    found = difflab.dejavu(model=target, reference=reference, **files, k=K, replicates=20)
    named = difflab.dejavu(model=root / "model", reference=root / "reference.safetensors", **files, k=K, replicates=20)
    assert found.rows == named.rows and found.config["model"].startswith("memory:")
    assert found.config["model"] == in_memory(load_clip(str(root / "model"))) != found.config["reference"]
    assert in_memory(target._replace(transform=lambda picture: target.transform(picture) / 2)) != in_memory(target)
    for wrong, said in (
        ({"model": target, "reference": root / "reference.safetensors"}, "give reference as a Clip, too"),
        ({"model": target, "reference": target}, "have the same weights"),
    ):
        with pytest.raises(InputError, match=said):
            difflab.dejavu(**wrong, **files)


def _stored_again(root, picture, *places):
    """Other files of this picture, larger, one in each folder, in the place of its fourth."""
    large = Image.fromarray(picture).resize((64, 64), Image.Resampling.BICUBIC)
    for quality, place in enumerate(places, start=80):
        path = next((root / place).glob("3.*"))
        large.save(path.with_suffix(".jpg"), quality=quality)
        for listed in (root / place / "metadata.jsonl", root / f"{place}.jsonl"):
            listed.write_text(listed.read_text().replace('"3.png"', '"3.jpg"'))


@pytest.mark.parametrize("overlap", [False, True])
def test_near_copies_of_targets_are_no_controls(own, tmp_path, overlap):
    root, sets, _ = own
    shutil.copytree(root, tmp_path / "own")
    _stored_again(tmp_path / "own", sets["data"].pictures[5], "public", "other")
    data = {"reference_data": tmp_path / "own/other", "reference_objects": tmp_path / "own/other.jsonl"}
    run = _run(tmp_path / "own", tmp_path / "out", *(["--overlap"] if overlap else []), **data)
    sizes = {row.setting["trained"]: row.value for row in select(run.rows, "targets_size")}
    gone = 0 if overlap else 1
    # What both models were trained on is no target of either; what is left has no near-copy in the gallery.
    assert sizes == {"target": N - gone, "reference": N - gone}
    notes = [] if overlap else [
        "1 pictures of --data are left out: they are near-copies of pictures of --reference-data.",
        "1 pictures of --reference-data are left out: they are near-copies of pictures of --data.",
    ]  # fmt: skip
    assert run.meta.get("notes", []) == notes
    assert select(run.rows, "gallery_size")[0].value == 40


def test_near_copies_of_targets_leave_the_gallery(own, tmp_path):
    root, sets, _ = own
    shutil.copytree(root, tmp_path / "own")
    _stored_again(tmp_path / "own", sets["data"].pictures[5], "public")
    run = _run(tmp_path / "own", tmp_path / "out", "--one-model", reference=None)
    assert select(run.rows, "gallery_size")[0].value == 39 and select(run.rows, "targets_size")[0].value == N
    assert "1 pictures of --public are left out" in run.meta["notes"][0]


def test_one_model_is_asked_about_pairs_that_it_never_saw(own, tmp_path):
    root, sets, clips = own
    data = {"reference_data": root / "other", "reference_objects": root / "other.jsonl"}
    run = _run(root, tmp_path, "--one-model", "--search", "faiss", reference=None, **data)
    counts = _plain_votes(clips[0], sets["other"].captions, sets["public"])
    row = select(run.rows, "hidden_auc", of="target", trained=NEVER)[0]
    assert row.value == pytest.approx(_plain_auc(counts, sets["other"]).mean(), abs=1e-3)
    assert any("never saw" in claim for claim in run.claims)


def test_a_changed_caption_picture_or_weight_is_another_run(own, tmp_path):
    root, _, _ = own
    config = clip_audited.Config
    paths = {"model": root / "model", "reference": root / "reference.safetensors", "data": root / "data"}
    paths |= {"objects": root / "data.jsonl", "public": root / "public", "public_objects": root / "public.jsonl"}
    asked = {name: str(path) for name, path in paths.items()}
    before = config(**asked).contents
    assert config(**asked).contents == before
    pictures = [next((root / folder).glob("*.png")) for folder in ("data", "public")]
    for path in (
        root / "data" / "metadata.jsonl", root / "public" / "metadata.jsonl", root / "model" / WEIGHTS, *pictures,
        root / "model" / "tokenizer.json",
    ):  # fmt: skip
        was = path.read_bytes()
        path.write_bytes(was + b"\n")
        assert config(**asked).contents != before
        path.write_bytes(was)


def test_a_tokenizer_that_cannot_be_asked_is_one_sentence(own, tmp_path):
    root, _, _ = own
    folder = tmp_path / "model"
    shutil.copytree(root / "model", folder)
    (folder / "tokenizer_config.json").write_text("{}")
    assert "pad" in says_one_sentence(lambda: load_clip(str(folder)))


def test_targets_are_at_most_as_many_as_asked_for(own, tmp_path):
    root, _, _ = own
    assert select(_run(root, tmp_path, targets=5).rows, "targets_size")[0].value == 5


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"public": "data", "public_objects": "data.jsonl"}, "pictures of --public lie in --data, too"),
        ({"reference_data": "data", "reference_objects": "data.jsonl"}, "pictures of --reference-data lie in --data"),
        ({"reference": "model/open_clip_model.safetensors"}, "have the same weights"),
        ({"model": None, "data": None, "objects": None}, "also needs --model, --data, --objects"),
        ({"device": "warp:9"}, "no device 'warp:9' here"),
        ({"seed": "-1"}, "seed is -1"),
        ({"search": "annoy"}, "search is 'annoy'"),
        ({"reference": "nowhere.safetensors"}, "no readable file"),
        ({"reference": None}, "--reference checkpoint, or --one-model"),
        ({"objects": None}, "also needs --objects"),
        ({"model": "no-model-of-this-name"}, "no model of open_clip"),
        ({"classes": "classes.txt"}, "is no known class"),
        ({"objects": "public.jsonl", "data": "empty"}, "without captions"),
        ({"k": 41}, "k is 41 and the gallery holds 40"),
        ({"reference": "wide.safetensors"}, "can't be loaded"),
        ({"reference": "nan.safetensors"}, "NaN or infinite weights"),
        ({"preprocess": "default"}, "leave --preprocess out"),
    ],
)
def test_mistakes_end_with_one_sentence_and_code_two(changes, said, own, tmp_path, capsys):
    root, _, clips = own
    (root / "classes.txt").write_text("zebra\nhorse\n")
    (root / "empty").mkdir(exist_ok=True)
    save_file(
        build(Architecture(16, 8, 64, 1, 16, 6), drawn.words(WORLD), 0).model.state_dict(), root / "wide.safetensors"
    )
    state = {name: value.clone() for name, value in clips[1].model.state_dict().items()}
    state["text_projection"][0, 0] = float("nan")
    save_file(state, root / "nan.safetensors")
    paths = {
        name: value
        if name in ("k", "preprocess", "device", "seed", "search") or value is None or value.startswith("no-")
        else root / value
        for name, value in changes.items()
    }
    with pytest.raises(SystemExit) as stopped:
        command_line.main(["dejavu", "--out", str(tmp_path), *_flags(root, **paths)])
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and "Traceback" not in error
    (sentence,) = [line for line in error.splitlines() if line.startswith("difflab: ")]
    assert said in sentence


def test_a_gallery_with_training_pictures_is_taken_when_told(own, tmp_path):
    root, _, _ = own
    run = _run(root, tmp_path, "--overlap", public=root / "data", public_objects=root / "data.jsonl")
    assert select(run.rows, "gallery_size")[0].value == N


def test_nothing_is_embedded_twice(own, tmp_path, monkeypatch):
    root, _, _ = own
    from difflab.audits import dejavu as module

    real = module.hidden_auc

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "hidden_auc", stop)
    with pytest.raises(SystemExit):
        command_line.main(["dejavu", "--out", str(tmp_path), *_flags(root)])
    monkeypatch.setattr(module, "hidden_auc", real)
    monkeypatch.setattr(module, "embed_images", stop)
    assert Path(_run(root, tmp_path).folder).is_dir()
