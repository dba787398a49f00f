"""A user's captioned pictures with objects: folders, shards, JSON lines, and one sentence for every mistake."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from difflab.datasets.labelled import classes_of, labelled
from difflab.errors import InputError

CLASSES = ("cat", "dog", "palm tree", "tree")
CAPTIONS = ("A cat under a palm tree", "my dog.", "concatenated")
OBJECTS = (["cat", "palm tree", "tree"], ["dog", "dog", "cat"], ["cat"])
NAMED = (["cat", "palm tree", "tree"], ["dog"], [])
COLOURS = ("red", "green", "blue")


def _png(colour):
    buffer = io.BytesIO()
    Image.new("RGB", (5, 4), colour).save(buffer, "PNG")
    return buffer.getvalue()


def _lines(path, entries):
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


@pytest.fixture
def folder(tmp_path):
    where = tmp_path / "data"
    where.mkdir()
    for i, colour in enumerate(COLOURS):
        (where / f"{i}.png").write_bytes(_png(colour))
    _lines(where / "metadata.jsonl", [{"file_name": f"{i}.png", "text": text} for i, text in enumerate(CAPTIONS)])
    return where


@pytest.fixture
def objects(tmp_path):
    # Not in the order of the pictures.
    entries = [{"file_name": f"{i}.png", "objects": OBJECTS[i]} for i in (2, 0, 1)]
    return _lines(tmp_path / "objects.jsonl", entries)


def _shard(path, members):
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def _members():
    for i, (colour, text) in enumerate(zip(COLOURS, CAPTIONS, strict=True)):
        yield f"{i}.png", _png(colour)
        yield (f"{i}.txt", text.encode()) if i else (f"{i}.json", json.dumps({"caption": text}).encode())


def _check(found):
    assert found.captions == CAPTIONS and found.held.shape == (3, 4)
    for i in range(3):
        assert {CLASSES[c] for c in np.flatnonzero(found.held[i])} == set(OBJECTS[i])
        assert {CLASSES[c] for c in np.flatnonzero(found.named[i])} == set(NAMED[i])
        picture = np.asarray(found.picture(i))
        assert picture.shape == (4, 5, 3)
        np.testing.assert_array_equal(picture[0, 0], np.asarray(Image.new("RGB", (1, 1), COLOURS[i]))[0, 0])
    assert len(set(found.digests)) == 3


def test_a_folder_with_metadata(folder, objects):
    _check(labelled(folder, objects, CLASSES))


def test_a_folder_with_lines_in_order(folder, tmp_path):
    (folder / "metadata.jsonl").unlink()
    (folder / "captions.txt").write_text("\n".join(CAPTIONS) + "\n")
    _check(labelled(folder, _lines(tmp_path / "in_order.jsonl", OBJECTS), CLASSES))


def test_a_webdataset_shard(objects, tmp_path):
    found = labelled(_shard(tmp_path / "00000.tar", _members()), objects, CLASSES)
    _check(found)
    assert found.names == ("0.png", "1.png", "2.png")


def test_equal_files_have_equal_digests(folder, objects, tmp_path):
    shard = labelled(_shard(tmp_path / "00000.tar", _members()), objects, CLASSES)
    assert labelled(folder, objects, CLASSES).digests == shard.digests


def test_lines_may_say_what_is_named(folder, tmp_path):
    entries = [{"file_name": f"{i}.png", "objects": OBJECTS[i], "named": OBJECTS[i][:1]} for i in range(3)]
    found = labelled(folder, _lines(tmp_path / "o.jsonl", entries), CLASSES)
    assert [CLASSES[np.flatnonzero(row)[0]] for row in found.named] == ["cat", "dog", "cat"]


def test_classes_are_the_labels_that_occur(objects, tmp_path):
    other = _lines(tmp_path / "other.jsonl", [["zebra"], []])
    assert classes_of(objects, other) == ("cat", "dog", "palm tree", "tree", "zebra")


def _spoil(what, folder, objects, tmp_path):
    """The data set with one mistake: source and objects."""
    if what == "no folder":
        return tmp_path / "nowhere", objects
    if what == "no captions":
        (folder / "metadata.jsonl").unlink()
    elif what == "no text":
        _lines(folder / "metadata.jsonl", [{"file_name": "0.png"}])
    elif what == "no JSON":
        (folder / "metadata.jsonl").write_text("{")
    elif what == "fewer captions than pictures":
        (folder / "metadata.jsonl").unlink()
        (folder / "captions.txt").write_text(CAPTIONS[0])
    elif what == "fewer objects than pictures":
        _lines(objects, OBJECTS[:2])
    elif what == "no objects of a picture":
        _lines(objects, [{"file_name": "0.png", "objects": []}])
    elif what == "no list":
        _lines(objects, [{"file_name": "0.png", "objects": "cat"}])
    elif what == "unknown label":
        _lines(objects, [["cat"], ["zebra"], []])
    elif what == "some without a name":
        _lines(objects, [{"file_name": "0.png", "objects": []}, ["cat"], []])
    elif what == "two lines for a picture":
        _lines(objects, [{"file_name": f"{i % 3}.png", "objects": ["cat"]} for i in range(4)])
    elif what == "named is no list":
        _lines(objects, [{"file_name": "0.png", "objects": [], "named": 3}])
    elif what == "picture listed twice":
        _lines(folder / "metadata.jsonl", [{"file_name": "0.png", "text": "a"}] * 2)
    elif what == "half a character":
        (folder / "metadata.jsonl").write_text('{"file_name": "0.png", "text": "\\ud83d"}')
    elif what == "picture gone":
        (folder / "1.png").unlink()
    elif what == "no tar":
        (tmp_path / "x.tar").write_bytes(b"no tar at all" * 100)
        return tmp_path / "x.tar", objects
    elif what == "shard without a caption":
        return _shard(tmp_path / "x.tar", [("0.png", _png("red"))]), objects
    elif what == "shard without pictures":
        return _shard(tmp_path / "x.tar", [("0.txt", b"hello")]), objects
    elif what == "shard with a broken caption":
        return _shard(tmp_path / "x.tar", [("0.png", _png("red")), ("0.json", b"{}")]), objects
    return folder, objects


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("no folder", "there is no folder"),
        ("no captions", "pictures without captions"),
        ("no text", '"file_name" and "text"'),
        ("no JSON", "line 1, is no JSON"),
        ("fewer captions than pictures", "has 1 lines and the folder 3 pictures"),
        ("fewer objects than pictures", "has 2 lines and there are 3 pictures"),
        ("no objects of a picture", r"no line for 1.png \(2 are missing\)"),
        ("no list", "line 1, holds no list of labels"),
        ("unknown label", "the label 'zebra', which is no known class"),
        ("some without a name", "give all or none"),
        ("two lines for a picture", "two lines for one picture"),
        ("named is no list", "line 1, holds no list of labels"),
        ("picture listed twice", "lists a picture twice"),
        ("half a character", "half a character"),
        ("picture gone", "there is no picture"),
        ("no tar", "can't be read as an uncompressed tar"),
        ("shard without a caption", "the picture 0 without a caption"),
        ("shard without pictures", "holds no picture"),
        ("shard with a broken caption", "0.json is no caption"),
    ],
)
def test_mistakes_are_one_sentence(what, said, folder, objects, tmp_path):
    source, listed = _spoil(what, folder, objects, tmp_path)
    with pytest.raises(InputError, match=said) as error:
        labelled(source, listed, CLASSES)
    assert "\n" not in str(error.value)


def test_a_damaged_picture_is_named_when_it_is_opened(folder, objects):
    (folder / "1.png").write_bytes(_png("red")[:40])
    found = labelled(folder, objects, CLASSES)
    with pytest.raises(InputError, match=r"1\.png of .* can't be read as a picture"):
        found.picture(1)


def test_captions_name_things_in_other_words_of_the_same_kind(folder, tmp_path):
    classes = ("traffic_light", "bus", "café", "cup", "dog")
    texts = ("two Traffic Lights and BUSES", "cafe\u0301 with cups", "a dog that is not there, cupcakes")
    _lines(folder / "metadata.jsonl", [{"file_name": f"{i}.png", "text": text} for i, text in enumerate(texts)])
    found = labelled(folder, _lines(tmp_path / "o.jsonl", [["bus"], ["cup"], ["cup"]]), classes)
    said = [[classes[c] for c in np.flatnonzero(row)] for row in found.named]
    # What is named counts as named whether the picture holds it or not.
    assert said == [["traffic_light", "bus"], ["café", "cup"], ["dog"]]


def test_captions_in_scripts_without_spaces_name_what_they_hold(folder, tmp_path):
    classes = ("狗", "熊猫", "เสือ", "ปู", "개", "हाथी", "dog")
    texts = ("草地上的狗和小熊,一只猫。", "ปีนี้มีเสือ 一只dog", "개가 हाथी के साथ, हथौड़ा")
    _lines(folder / "metadata.jsonl", [{"file_name": f"{i}.png", "text": text} for i, text in enumerate(texts)])
    found = labelled(folder, _lines(tmp_path / "o.jsonl", [["狗"], ["狗"], ["狗"]]), classes)
    said = [[classes[c] for c in np.flatnonzero(row)] for row in found.named]
    # Vowels count: "ปี" is no "ปู"; and 熊 far from 猫 is no 熊猫.
    assert said == [["狗"], ["เสือ", "dog"], ["개", "हाथी"]]
