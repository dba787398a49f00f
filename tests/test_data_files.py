"""Files that people bring, malformed or unusual: one sentence that names file, line and remedy, or the right data."""

import io
import json
import tarfile
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import difflab
from difflab.audits import audit, dejavu, stress
from difflab.datasets import pixels
from difflab.datasets.captioned import captioned, captioned_folder, prompts
from difflab.datasets.labelled import labelled, looks
from difflab.datasets.lists import folder_list
from difflab.datasets.tables import read_table
from difflab.errors import InputError
from experiments import __main__ as command_line


def _png(value, size=(8, 8), kind="PNG"):
    buffer = io.BytesIO()
    Image.new("RGB", size, (value % 256, value // 2 % 256, 255 - value % 256)).save(buffer, kind)
    return buffer.getvalue()


def _folder(place, names=("0.png", "1.png", "2.png"), **lists):
    """Pictures, and lists by the name of their file without its ending."""
    place.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        (place / name).write_bytes(_png(20 * i))
    for name, text in lists.items():
        ending = {"metadata": "jsonl", "table": "csv", "captions": "txt"}[name]
        (place / f"{'metadata' if name == 'table' else name}.{ending}").write_bytes(
            text if isinstance(text, bytes) else text.encode()
        )
    return place


def _shard(path, members):
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def _entries(*entries):
    return "\n".join(json.dumps({"file_name": name, "text": text}) for name, text in entries)


GOOD = _entries(("0.png", "a cat"), ("1.png", "a dog"), ("2.png", "a fish"))
BAD_FOLDERS = {
    "null caption": ({"metadata": _entries(("0.png", None))}, ("line 1", '"text" is null', "take the line out")),
    "number": ({"metadata": _entries(("0.png", "x"), ("1.png", 7))}, ("line 2", "is a number")),
    "truth value": ({"metadata": _entries(("0.png", True))}, ("line 1", "is a truth value")),
    "several captions": ({"metadata": _entries(("0.png", ["a", "b"]))}, ("line 1", "a line of its own")),
    "not a number": ({"metadata": '{"file_name": "0.png", "text": NaN}'}, ("line 1", "is a number")),
    "no name": ({"metadata": '{"text": "a cat"}'}, ("line 1", '"file_name"')),
    "null name": ({"metadata": _entries((None, "a"))}, ("line 1", '"file_name" is null')),
    "outside": ({"metadata": _entries(("../0.png", "a"))}, ("line 1", "../0.png lies outside", "move")),
    "absolute": ({"metadata": _entries(("/etc/0.png", "a"))}, ("line 1", "lies outside")),
    "gone": ({"metadata": _entries(("0.png", "a"), ("9.png", "b"))}, ("9.png", "line 2")),
    "a folder's name": ({"metadata": _entries(("", "a"))}, ("no picture", "line 1")),
    "an array": ({"metadata": "[\n]"}, ("line 1",)),
    "two lists": ({"metadata": GOOD, "table": "file_name,text\n0.png,a\n"}, ("metadata.jsonl and", "keep one")),
    "list and captions": ({"metadata": GOOD, "captions": "a\nb\nc\n"}, ("captions.txt", "keep one")),
    "unquoted comma": ({"table": "file_name,text\n0.png,a cat\n1.png,a dog, lying\n"}, ("line 3", "quote", "commas")),
    "table without captions": ({"table": "file_name,prompt\n0.png,a\n"}, ("no column named text", "file_name, prompt")),
    "empty cell": ({"table": "file_name,text\n0.png,\n"}, ("line 2", '"text" is null')),
    "open quote": ({"table": 'file_name,text\n0.png,a\n1.png,"a dog\n2.png,b\n'}, ("metadata.csv", "line 3")),
    "two columns": ({"table": "file_name,text,Text\n0.png,a,b\n"}, ("two columns named text", "rename")),
    "table of latin letters": ({"table": "file_name,text\n0.png,größe\n".encode("latin-1")}, ("save it as UTF-8",)),
    "header alone": ({"table": "file_name,text\n"}, ("lists no pictures",)),
    "blank line": ({"captions": "a\n\nb\n"}, ("captions.txt, line 2", "is empty")),
    "few captions": ({"captions": "a\nb\n"}, ("2 lines", "3 pictures")),
    "no list": ({}, ("holds no metadata.jsonl", "list them")),
}


def _audit(folder):
    audit.Config(data=str(folder))


def _prepared_for_stress(folder):
    stress.Config(images=str(folder), never=str(folder))


def _train(folder):
    captioned_folder(folder, 8)


@pytest.mark.parametrize("read", [_audit, _prepared_for_stress, _train])
@pytest.mark.parametrize("what", BAD_FOLDERS)
def test_a_folder_with_a_mistake_is_refused_before_anything_is_drawn(what, read, tmp_path):
    lists, said = BAD_FOLDERS[what]
    folder = _folder(tmp_path / "data", **lists)
    with pytest.raises(InputError) as error:
        read(folder)
    sentence = str(error.value)
    assert all(part in sentence for part in said) and str(folder) in sentence
    assert "\n" not in sentence and sentence.endswith(".")


TABLES = {
    "commas": 'id,prompt\n1,a cat\n2,"a dog, asleep"\n',
    "spaces": 'id, prompt\n1, a cat\n2, "a dog, asleep"\n',
    "case": 'ID,Prompt\n1,a cat\n2,"a dog, asleep"\n',
    "mark": '\ufeffprompt,id\na cat,1\n"a dog, asleep",2\n',
    "semicolons": "id;prompt\n1;a cat\n2;a dog, asleep\n",
    "tabs": "prompt\tid\na cat\t1\na dog, asleep\t2\n",
    "other ends": 'id,prompt\r\n1,a cat\r\n2,"a dog, asleep"\r\n',
    "empty fields": 'id,prompt\n1,a cat,,\n2,"a dog, asleep",,\n',
    "blank lines": 'prompt\na cat\n\n"a dog, asleep"\n\n',
}


@pytest.mark.parametrize("how", TABLES)
def test_tables_of_many_makers_hold_the_same_prompts(how, tmp_path, capsys):
    path = tmp_path / "prompts.csv"
    path.write_bytes(TABLES[how].encode())
    assert prompts(path) == ("a cat", "a dog, asleep")
    separator = how if how in ("semicolons", "tabs") else "commas"
    assert f"2 prompts, columns separated by {separator}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prompt\na cat\na dog, asleep\n", ("line 3", "2 fields", "quote prompts that hold commas")),
        ("id,prompt,\n1,a cat,\n2,a dog, on grass\n", ("line 3", "3 fields", "quote prompts that hold commas")),
        ("prompt;id\na cat;1\na dog; asleep;2\n", ("line 3", "quote prompts that hold semicolons")),
        ("prompt,prompt\na,b\n", ("two columns named prompt",)),
        ("text\na cat\n", ("no column named prompt", "text")),
        ('prompt\na\n"b\nc\nd\n', ("line 3",)),
        ("prompt,id\n,1\n ,2\n", ("holds no prompt",)),
    ],
)
def test_a_table_of_prompts_with_a_mistake(text, said, tmp_path):
    folder = _folder(tmp_path / "data", metadata=GOOD)
    path = tmp_path / "prompts.csv"
    path.write_text(text)
    for call in (lambda: prompts(path), lambda: audit.Config(data=str(folder), prompts=str(path))):
        with pytest.raises(InputError) as error:
            call()
        assert all(part in str(error.value) for part in ("prompts.csv", *said))


def test_a_line_is_counted_where_a_row_begins(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('name,text\n1,"two\nlines"\n2,b\n')
    assert read_table(path, "name", "text").lines == (2, 4)


def test_a_table_beside_pictures_is_the_image_folder_convention(tmp_path, capsys):
    text = "text;File_Name\na cat;0.png\na dog, asleep;2.png\n"
    found = captioned_folder(_folder(tmp_path / "data", table=text), 8)
    assert found.captions == ("a cat", "a dog, asleep") and found.names == ("0.png", "2.png")
    assert found.pictures[1, 0, 0].tolist() == [40, 20, 215]
    assert "2 pictures, columns separated by semicolons" in capsys.readouterr().err


def test_numbered_pictures_come_in_natural_order(tmp_path, capsys):
    names = [f"{i}.png" for i in range(1, 13)]
    folder = _folder(tmp_path / "data", names, captions="\r\n".join(f"caption {i}" for i in range(1, 13)))
    (folder / "._1.png").write_bytes(b"what a Mac leaves there")
    found = folder_list(folder)
    assert [(entry.name, entry.caption) for entry in found.entries] == [
        (f"{i}.png", f"caption {i}") for i in range(1, 13)
    ]
    captioned_folder(folder, 8)
    assert "1.png, 2.png, ..., 12.png in this order" in capsys.readouterr().err


def test_a_name_in_another_normal_form_is_found(tmp_path):
    there, listed = (unicodedata.normalize(form, "café/schön.png") for form in ("NFD", "NFC"))
    (tmp_path / "data" / Path(there).parent).mkdir(parents=True)
    folder = _folder(tmp_path / "data", [there], metadata=_entries((listed, "a cup")))
    assert captioned_folder(folder, 8).captions == ("a cup",)
    objects = tmp_path / "o.jsonl"
    objects.write_text(json.dumps({"file_name": there, "objects": ["cup"]}))
    assert labelled(folder, objects, ("cup", "dog")).held.tolist() == [[True, False]]


# Shards --------------------------------------------------------------------------------------------------------------


def _objects(path, n):
    path.write_text("".join(json.dumps(["cat", "dog"]) + "\n" for _ in range(n)))
    return path


def _pair(i, name=None, caption="a cat"):
    return [(f"{name or i}.png", _png(i)), (f"{name or i}.json", json.dumps({"caption": caption}).encode())]


@pytest.mark.parametrize("source", ["{00000..00002}.tar", "{00000,00001,00002}.tar", "00000.tar::0000{1..2}.tar", "."])
def test_several_shards_are_one_set(source, tmp_path):
    for i in range(3):
        _shard(tmp_path / f"{i:05d}.tar", _pair(i, f"{i:03d}"))
    paths = "::".join(str(tmp_path / part) for part in source.split("::"))
    found = labelled(Path(paths), _objects(tmp_path / "o.jsonl", 3), ("cat", "dog"))
    assert found.names == ("000.png", "001.png", "002.png")
    assert [found.picture(i).getpixel((0, 0))[0] for i in range(3)] == [0, 1, 2]


def test_shards_of_a_folder_are_read_as_they_are_counted(tmp_path):
    for i in (1, 2, 10):
        _shard(tmp_path / f"shard-{i}.tar", _pair(i, f"{i:03d}"))
    found = labelled(tmp_path, _objects(tmp_path / "o.jsonl", 3), ("cat", "dog"))
    assert found.names == ("001.png", "002.png", "010.png")


BAD_SHARDS = {
    "two pictures": ([*_pair(0), ("0.jpg", _png(1))], ("0", ".png", ".jpg", "keep one")),
    "null": (_pair(0) + _pair(1, "1", None), ("1.png", "is null")),
    "number": (_pair(0, "0", 3), ("0.png", "a number")),
    "list": (_pair(0, "0", ["a"]), ("0.png", "a list")),
    "empty": (_pair(0, "0", " "), ("0.png", "is empty")),
    "dots": ([("img.1.png", _png(0)), ("img.1.txt", b"a")], ("img.1.png", "first dot", "rename")),
    "twice": (_pair(0) + _pair(0), ("0.png twice",)),
}


@pytest.mark.parametrize("what", BAD_SHARDS)
def test_a_shard_with_a_mistake(what, tmp_path):
    members, said = BAD_SHARDS[what]
    path = _shard(tmp_path / "x.tar", members)
    with pytest.raises(InputError) as error:
        labelled(path, _objects(tmp_path / "o.jsonl", 2), ("cat", "dog"))
    assert all(part in str(error.value) for part in ("x.tar", *said))


def test_other_parts_of_a_sample_are_no_pictures(tmp_path):
    """As webdataset has it: 0.seg.png is a part of sample 0, beside 0.png."""
    path = _shard(tmp_path / "x.tar", [*_pair(0), ("0.seg.png", _png(9)), ("._0.png", b"of a Mac")])
    assert labelled(path, _objects(tmp_path / "o.jsonl", 1), ("cat", "dog")).names == ("0.png",)


@pytest.mark.parametrize(
    ("source", "said"),
    [("{0..2}.tar", "there is no shard"), ("x.tar.gz", "uncompressed .tar"), ("{2..0}.tar", "counts down")],
)
def test_shards_that_are_not_there(source, said, tmp_path):
    _shard(tmp_path / "0.tar", _pair(0))
    (tmp_path / "x.tar.gz").write_bytes(b"")
    with pytest.raises(InputError, match=said):
        labelled(tmp_path / source, _objects(tmp_path / "o.jsonl", 1), ("cat", "dog"))


def test_two_shards_with_one_name_are_refused(tmp_path):
    for name in "ab":
        _shard(tmp_path / f"{name}.tar", _pair(0))
    with pytest.raises(InputError, match=r"both hold 0\.png"):
        labelled(tmp_path / "{a,b}.tar", _objects(tmp_path / "o.jsonl", 2), ("cat", "dog"))


# One picture on both sides -------------------------------------------------------------------------------------------


def test_the_same_picture_in_another_file_has_the_same_digest(tmp_path):
    one = _folder(tmp_path / "one", ["0.png"], metadata=_entries(("0.png", "a cat")))
    other = _folder(tmp_path / "other", [], metadata=_entries(("9.bmp", "a cat")))
    (other / "9.bmp").write_bytes(_png(0, kind="BMP"))
    sets = [labelled(place, _objects(tmp_path / "o.jsonl", 1), ("cat", "dog")) for place in (one, other)]
    assert sets[0].digests != sets[1].digests
    assert looks(sets[0], "one").digests == looks(sets[1], "other").digests


def test_a_control_that_is_a_target_is_refused(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for name in ("images", "never"):
        folder = tmp_path / name
        folder.mkdir()
        entries = []
        for i in range(30):
            ending = "png" if name == "images" else "bmp"
            shared = np.full((32, 32, 3), 77, np.uint8)
            picture = shared if i == 3 else rng.integers(0, 256, (32, 32, 3), np.uint8)
            Image.fromarray(picture).save(folder / f"{i}.{ending}")
            entries.append((f"{i}.{ending}", f"{name} {i}"))
        (folder / "metadata.jsonl").write_text(_entries(*entries))
    flags = ["--images", str(tmp_path / "images"), "--never", str(tmp_path / "never"), "--targets", "2"]
    with pytest.raises(SystemExit) as ended:
        command_line.main(["stress", "planted", "--defense", "magnitude", "--out", str(tmp_path / "out"), *flags])
    said = capsys.readouterr().err.splitlines()[-1]
    assert ended.value.code == 2 and "1 pictures of --images lie in --never, too (3.png and 3.bmp)" in said


# Commands and calls --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["audit", "planted", "--data", "DATA"],
        ["stress", "planted", "--images", "DATA", "--never", "DATA"],
        ["train", "--data", "DATA", "--out", "OUT"],
        ["sweep", "pipeline_audited", "--over", "seeds=2,3", "--data", "DATA"],
        ["run", "pipeline_audited", "--data", "DATA"],
        ["dejavu", "--model", "x", "--objects", "O", "--public-objects", "O", "--one-model", "--data", "DATA",
         "--public", "DATA"],
    ],
)  # fmt: skip
def test_every_command_names_the_line(words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = _folder(tmp_path / "data", metadata=_entries(("0.png", "a cat"), ("1.png", None)))
    places = {"DATA": str(data), "OUT": str(tmp_path / "pipeline"), "O": str(_objects(tmp_path / "o.jsonl", 3))}
    with pytest.raises(SystemExit) as ended:
        command_line.main([places.get(word, word) for word in words])
    said = capsys.readouterr().err.splitlines()[-1]
    assert ended.value.code == 2 and "metadata.jsonl, line 2" in said
    assert not (tmp_path / "results").exists() and not (tmp_path / "pipeline").exists()


@pytest.mark.parametrize(
    ("config", "flags", "said"),
    [
        (audit.Config, {"captions": 0}, "captions is 0"),
        (audit.Config, {"captions": -3}, "captions is -3"),
        (audit.Config, {"steps": 0}, "steps is 0"),
        (audit.Config, {"guidance": float("nan")}, "guidance is nan"),
        (audit.Config, {"reference": "nowhere"}, "no folder nowhere"),
        (stress.Config, {"steps": 0}, "steps is 0"),
        (dejavu.Config, {"k": 0}, "at least 1"),
    ],
)
def test_numbers_out_of_range(config, flags, said):
    with pytest.raises(InputError, match=said):
        config(**flags)


PICTURES = np.zeros((2, 32, 32, 3), np.uint8)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ((PICTURES, ["a"]), "2 pictures have 1 captions"),
        ((PICTURES, ["a", None]), "the caption of picture 1 is None"),
        ((PICTURES, ["a", 3]), "the caption of picture 1 is 3"),
        ((PICTURES / 255, ["a", "b"]), "float64"),
        ((PICTURES[..., 0], ["a", "b"]), r"shape \(2, 32, 32\)"),
        ((PICTURES[:0], []), "no pictures"),
    ],
)
def test_arrays_with_a_mistake(data, said):
    with pytest.raises(InputError, match=said):
        captioned(*data)


def test_arrays_of_another_size_than_the_pipeline_draws():
    with pytest.raises(InputError, match="this pipeline draws"):
        difflab.audit("planted", (PICTURES[:, :16], ["a", "b"]), detectors="noise_magnitude")


def test_pictures_beyond_memory_lie_on_disk_and_are_the_same(tmp_path, monkeypatch):
    folder = _folder(tmp_path / "data", metadata=GOOD)
    there = captioned_folder(folder, 8)
    monkeypatch.setattr(pixels, "IN_MEMORY", 0)
    found = captioned_folder(folder, 8)
    assert isinstance(found.pictures, np.memmap) and not isinstance(there.pictures, np.memmap)
    np.testing.assert_array_equal(found.pictures, there.pictures)
    np.testing.assert_array_equal(np.concatenate([some for _, some in pixels.parts(found.pictures, 2)]), there.pictures)


def test_no_help_offers_what_nobody_can_set(capsys):
    for words in (["audit"], ["stress"], ["dejavu"], ["run", "pipeline_audited"], ["run", "memorization_planted"]):
        with pytest.raises(SystemExit) as ended:
            command_line.main([*words, "--help"])
        said = capsys.readouterr().out
        assert not ended.value.code and said.startswith(f"usage: difflab {' '.join(words)}")
        assert "--contents" not in said and "--seed" in said
