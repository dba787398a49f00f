"""Captioned pictures from a folder of one's own, and prompts from a file of one's own."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from difflab.datasets.captioned import captioned_folder, prompts
from difflab.errors import InputError


def _says(error, *parts):
    text = str(error.value)
    assert "\n" not in text
    assert text.endswith(".")
    for part in parts:
        assert part in text


def _png(path, rows, **options):
    Image.fromarray(np.asarray(rows, np.uint8)).save(path, **options)


def _list(folder, *entries, text=None):
    lines = [json.dumps({"file_name": name, "text": caption}, ensure_ascii=False) for name, caption in entries]
    (folder / "metadata.jsonl").write_bytes(("\n".join(lines) + "\n" if text is None else text).encode())


def test_pictures_come_in_the_order_of_the_list_with_their_captions(tmp_path):
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 256, (2, 8, 8, 3))
    (tmp_path / "deep").mkdir()
    _png(tmp_path / "deep" / "b.png", first)
    _png(tmp_path / "a.png", second)
    _png(tmp_path / "unlisted.png", second)
    _list(tmp_path, ("deep/b.png", "a fish, große"), ("a.png", "two\nlines \u2028 and \x85 more"))
    found = captioned_folder(tmp_path, 8)
    np.testing.assert_array_equal(found.pictures, [first, second])
    assert found.captions == ("a fish, große", "two\nlines \u2028 and \x85 more")
    assert found.names == ("deep/b.png", "a.png")
    assert found.copies.tolist() == [1, 1]


@pytest.mark.parametrize("turned", [False, True])
def test_pictures_are_cut_to_the_square_in_their_middle(tmp_path, turned):
    # Red, green, blue thirds: the middle one is green all over.
    wide = np.repeat(np.eye(3)[None] * 255, 12, axis=0).repeat(12, axis=1)
    _png(tmp_path / "a.png", wide.transpose(1, 0, 2) if turned else wide)
    _list(tmp_path, ("a.png", "stripes"))
    np.testing.assert_array_equal(captioned_folder(tmp_path, 12).pictures, np.full((1, 12, 12, 3), [0, 255, 0]))


def test_pictures_are_made_smaller_smoothly(tmp_path):
    ramp = np.tile(np.arange(32)[None, :, None] * 8, (32, 1, 3))
    _png(tmp_path / "a.png", ramp)
    _list(tmp_path, ("a.png", "a ramp"))
    picture = captioned_folder(tmp_path, 8).pictures[0].astype(float)
    np.testing.assert_allclose(picture[:, 1:-1, 0], np.tile(ramp[0, :, 0].reshape(8, 4).mean(1)[1:-1], (8, 1)), atol=1)


def test_a_camera_that_was_held_sideways(tmp_path):
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[:4] = 200
    exif = Image.Exif()
    exif[0x0112] = 6
    _png(tmp_path / "a.png", picture, exif=exif)
    _list(tmp_path, ("a.png", "half"))
    # Orientation 6: turn by a quarter clockwise, so the upper half comes to the right.
    np.testing.assert_array_equal(captioned_folder(tmp_path, 8).pictures[0], np.rot90(picture, -1))


@pytest.mark.parametrize("kind", ["grey", "grey16", "rgba", "palette", "one bit", "grey alpha"])
def test_pictures_of_every_kind_become_red_green_blue(tmp_path, kind):
    grey = (np.arange(64).reshape(8, 8) * 4).astype(np.uint8)
    colour = np.stack([grey, grey[::-1], grey.T], -1)
    opaque = np.full((8, 8, 1), 255, np.uint8)
    image, expected = {
        "grey": (Image.fromarray(grey), np.repeat(grey[..., None], 3, -1)),
        "grey16": (Image.fromarray(grey.astype(np.uint16) * 257), np.repeat(grey[..., None], 3, -1)),
        "rgba": (Image.fromarray(np.concatenate([colour, opaque], -1)), colour),
        "palette": (Image.fromarray(grey).convert("P"), np.repeat(grey[..., None], 3, -1)),
        "one bit": (Image.fromarray(grey > 100), np.repeat(((grey > 100) * 255)[..., None], 3, -1)),
        "grey alpha": (
            Image.fromarray(np.concatenate([grey[..., None], opaque], -1)),
            np.repeat(grey[..., None], 3, -1),
        ),
    }[kind]
    image.save(tmp_path / "a.png")
    _list(tmp_path, ("a.png", kind))
    np.testing.assert_array_equal(captioned_folder(tmp_path, 8).pictures[0], expected)


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
def test_greys_of_sixteen_bits_are_brought_to_eight_in_every_format(tmp_path, ending):
    grey = (np.arange(64).reshape(8, 8) * 4).astype(np.uint8)
    Image.fromarray(grey.astype(np.uint16) * 257 + 3).save(tmp_path / f"a.{ending}")
    _list(tmp_path, (f"a.{ending}", "deep"))
    np.testing.assert_array_equal(captioned_folder(tmp_path, 8).pictures[0], np.repeat(grey[..., None], 3, -1))


@pytest.mark.parametrize(("kind", "said"), [(np.float32, "floats"), (np.int32, "whole numbers of 32 bits")])
def test_pictures_of_which_nobody_says_what_is_white_are_refused(tmp_path, kind, said):
    Image.fromarray((np.arange(64).reshape(8, 8) / 63).astype(kind)).save(tmp_path / "a.tif")
    _list(tmp_path, ("a.tif", "deep"))
    with pytest.raises(InputError) as error:
        captioned_folder(tmp_path, 8)
    _says(error, "a.tif", said, "store it with 8 or 16 bits")


def test_a_list_from_another_editor(tmp_path):
    _png(tmp_path / "a.png", np.zeros((8, 8, 3)))
    line = '{"file_name": "a.png", "text": "dark", "more": [1]}'
    _list(tmp_path, text=f"\ufeff{line}\r\n\r\n   \n{line}")
    found = captioned_folder(tmp_path, 8)
    assert found.captions == ("dark", "dark")
    assert found.copies.tolist() == [2, 2]


def test_copies_have_the_same_pixels_and_the_same_caption(tmp_path):
    one, other = np.zeros((8, 8, 3)), np.full((8, 8, 3), 9)
    for name, picture in (("a", one), ("b", one), ("c", other), ("d", one)):
        _png(tmp_path / f"{name}.png", picture)
    entries = [("a.png", "x"), ("b.png", "x"), ("c.png", "x"), ("d.png", "y"), ("a.png", "x")]
    _list(tmp_path, *entries)
    found = captioned_folder(tmp_path, 8)
    assert found.copies.tolist() == [3, 3, 1, 1, 3]
    assert found.names == tuple(name for name, _ in entries)


def test_a_folder_or_its_list_that_is_missing_or_empty(tmp_path):
    for folder in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(InputError) as error:
            captioned_folder(folder, 8)
        _says(error, str(folder), "metadata.jsonl")
    for text in ("", "\n \n"):
        _list(tmp_path, text=text)
        with pytest.raises(InputError) as error:
            captioned_folder(tmp_path, 8)
        _says(error, "lists no pictures")


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[1]",
        "3",
        '"file_name"',
        "null",
        '{"file_name": "a.png"}',
        '{"text": "dark"}',
        '{"file_name": "a.png", "text": null}',
        '{"file_name": 3, "text": "dark"}',
        '{"file_name": "a.png", "text": "\\ud800"}',
        "[" * 100_000,
    ],
)
def test_a_line_that_makes_no_sense_is_named_by_its_number(tmp_path, line):
    _png(tmp_path / "a.png", np.zeros((8, 8, 3)))
    _list(tmp_path, text='{"file_name": "a.png", "text": "dark"}\n\n' + line + "\n")
    with pytest.raises(InputError) as error:
        captioned_folder(tmp_path, 8)
    _says(error, "metadata.jsonl", "line 3", "file_name", "text")


def test_a_list_that_is_no_text(tmp_path):
    (tmp_path / "metadata.jsonl").write_bytes(b"\xff\xfe{")
    with pytest.raises(InputError) as error:
        captioned_folder(tmp_path, 8)
    _says(error, "metadata.jsonl", "UTF-8")


@pytest.mark.parametrize("name", ["gone.png", "", "nul\0.png", "x" * 5000])
def test_a_listed_picture_that_is_missing(tmp_path, name):
    _list(tmp_path, (name, "nothing"))
    with pytest.raises(InputError) as error:
        captioned_folder(tmp_path, 8)
    _says(error, name)


def _damages(kind):
    """The same picture cut off, or with one byte turned over, at many places."""
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    rows = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    Image.fromarray(rows).save(buffer, format=kind, exif=exif)
    whole = buffer.getvalue()
    yield from (whole[:length] for length in range(0, len(whole) - 30, 11))
    yield from (whole[:i] + bytes([whole[i] ^ 255]) + whole[i + 1 :] for i in range(0, len(whole), 5))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["png", "jpeg", "tiff", "webp", "gif", "bmp"])
def test_a_damaged_picture_is_named_or_read(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    _list(tmp_path, (path.name, "broken"))
    named = 0
    for content in _damages(kind):
        path.write_bytes(content)
        try:
            assert captioned_folder(tmp_path, 8).pictures.shape == (1, 8, 8, 3)
        except InputError as error:
            assert path.name in str(error) and str(error).endswith(".")
            named += 1
    assert named > 20


def test_prompts_of_a_csv_file(tmp_path):
    path = tmp_path / "prompts.csv"
    path.write_bytes(
        '\ufeffid,prompt\r\n1,"a cat, asleep"\r\n2,\r\n3\r\n4,"two\nlines"\r\n5,  \r\n6,größe\r\n'.encode()
    )
    assert prompts(path) == ("a cat, asleep", "two\nlines", "größe")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"caption,seed\na,1\n", ("no column named prompt", "caption, seed")),
        (b"", ("no column named prompt", "none")),
        (b"prompt\n", ("no prompt",)),
        (b"prompt,seed\n,3\n", ("no prompt",)),
        (b"\xff\xfe\x00", ("UTF-8",)),
        (b'prompt\n"' + b"x" * 200_000 + b'"\n', ("line 2",)),
        (b'"' + b"x" * 200_000 + b'"\n', ("line 1",)),
    ],
)
def test_a_csv_file_without_prompts(tmp_path, content, says):
    path = tmp_path / "prompts.csv"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        prompts(path)
    _says(error, "prompts.csv", *says)


def test_a_csv_file_that_is_missing(tmp_path):
    for path in (tmp_path / "nowhere.csv", tmp_path):
        with pytest.raises(InputError) as error:
            prompts(path)
        _says(error, str(path), "prompt")


def test_an_empty_caption_is_the_empty_prompt_and_told(tmp_path, capsys):
    for i in range(3):
        _png(tmp_path / f"{i}.png", np.full((8, 8, 3), 80 * i))
    _list(tmp_path, ("0.png", "a cat"), ("1.png", ""), ("2.png", " \n"))
    assert captioned_folder(tmp_path, 8).captions == ("a cat", "", " \n")
    assert (
        "2 of 3 captions are empty (1.png): these pictures are asked for by the empty prompt" in capsys.readouterr().err
    )
    _list(tmp_path, ("0.png", "a cat"))
    captioned_folder(tmp_path, 8)
    assert capsys.readouterr().err == ""
