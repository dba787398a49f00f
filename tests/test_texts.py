"""Texts that users bring, and the tokenizers that are trained on them."""

import json

import pytest

from difflab.autoregressive.tokenizers import byte_pairs, numbers, word_level
from difflab.datasets.texts import Texts, check_apart, read_texts
from difflab.datasets.words import signs_apart
from difflab.errors import InputError

GIVEN = ("one two", "drei\nvier", "pięć")


def _written(folder, name):
    path = folder / name
    if name == "objects.jsonl":
        path.write_text("\n".join(json.dumps({"id": i, "text": text}) for i, text in enumerate(GIVEN)) + "\n\n")
    elif name == "strings.jsonl":
        path.write_text("\n".join(json.dumps(text) for text in GIVEN))
    elif name == "list.json":
        path.write_text(json.dumps([GIVEN[0], {"text": GIVEN[1]}, GIVEN[2]]))
    elif name == "table.csv":
        path.write_text('Text;n\none two;1\n"drei\nvier";2\npięć;3\n', "utf-8")
    else:
        path.mkdir()
        (path / "sub").mkdir()
        for place, text in zip(("a.txt", "b.md", "sub/c.txt", ".hidden"), (*GIVEN, "no"), strict=True):
            (path / place).write_text(text, "utf-8")
    return path


@pytest.mark.parametrize("name", ["objects.jsonl", "strings.jsonl", "list.json", "table.csv", "folder"])
def test_texts_are_read_whole_and_in_order(tmp_path, name):
    found = read_texts(_written(tmp_path, name))
    assert found.texts == GIVEN
    assert len(set(found.names)) == 3


def test_texts_in_memory_and_a_plain_file(tmp_path):
    assert read_texts(list(GIVEN)) == Texts(GIVEN, ("text 0", "text 1", "text 2"))
    (tmp_path / "one.txt").write_text("a\nb\n")
    assert read_texts(tmp_path / "one.txt").texts == ("a\nb\n",)


def test_the_sources_of_a_package_and_of_a_module():
    found = read_texts("package:json")
    assert any(name.endswith("decoder.py") for name in found.names)
    assert any("class JSONDecoder" in text for text in found.texts)
    assert len(read_texts("package:textwrap").texts) == 1


def test_parquet_is_read_or_its_package_named(tmp_path):
    path = tmp_path / "texts.parquet"
    path.write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match=r"pyarrow, which is not installed|can't be read as Parquet"):
        read_texts(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds no texts"),
        ('{"text": 3}', 'line 1 is a number; give text, or objects with "text"'),
        ('"a"\n{"text": null}', "line 2 is null"),
        ('{"text": "  "}', "line 1 is empty; write it, or take it out"),
        ('{"body": "a", "id": 1}', r'line 1 has no field "text" \(its fields: body, id\)'),
        ('[["a"]]', "line 1, text 0 is a list"),
        ("no json", "line 1, is no JSON"),
        ('"\\ud800"', "line 1 ends in half a character"),
    ],
)
def test_mistakes_in_json_lines_are_one_sentence(tmp_path, content, said):
    (tmp_path / "texts.jsonl").write_text(content)
    with pytest.raises(InputError, match=said):
        read_texts(tmp_path / "texts.jsonl")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ([], "the list holds no texts"),
        (["a", 3], "text 1 is a number"),
        (["a", float("nan")], "text 1 is no number"),
        (["a", ""], "text 1 is empty"),
        ("nowhere", "there is no nowhere"),
        ("package:no_such_package", "there is no Python package no_such_package"),
        ("package:", "'' is no name of a Python package"),
        ("package:sys", "package:sys holds no texts"),
    ],
)
def test_mistakes_are_one_sentence(source, said):
    with pytest.raises(InputError, match=said):
        read_texts(source)


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="can't be read as UTF-8"):
        read_texts(tmp_path)


def test_a_json_file_that_is_no_list(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(InputError, match="holds an object; give a list of texts"):
        read_texts(tmp_path / "a.json")


def test_the_same_text_is_not_seen_and_unseen():
    check_apart(read_texts(["a", "b"]), read_texts(["c"]))
    with pytest.raises(InputError, match=r"text 1 is seen and stands as text 0 among the unseen \(and 1 more\)"):
        check_apart(read_texts(["a", "b"]), read_texts(["b\n", "c", "a"]))
    with pytest.raises(InputError, match=r"text 0 is bad and stands as text 0 among the good; take one out"):
        check_apart(read_texts(["a"]), read_texts(["a"]), ("bad", "good"))


def test_byte_pairs_write_any_text_and_are_the_same_in_any_order():
    texts = ["the cat sat on the mat", "the dog sat on the log"] * 3
    one, other = byte_pairs(texts, 300), byte_pairs(texts[::-1], 300)
    assert one.get_vocab() == other.get_vocab()
    assert one.backend_tokenizer.to_str() == other.backend_tokenizer.to_str()
    for text in (*texts, "  ünï\tcode\n\n\x00"):
        ids = one(text, add_special_tokens=False)["input_ids"]
        assert one.decode(ids, clean_up_tokenization_spaces=False) == text
    assert len(one("the cat", add_special_tokens=False)["input_ids"]) < len("the cat")
    assert one.bos_token_id == one.eos_token_id == 0 and len(one) <= 300


def test_words_by_frequency():
    found = word_level(["b a a", "c  a\nb"], 4)
    assert found.convert_ids_to_tokens([2, 3]) == ["a", "b"] and len(found) == 4
    assert found("a c b", add_special_tokens=False)["input_ids"] == [2, 1, 3]
    assert found.decode([2, 3]) == "a b"
    assert len(word_level(["b a a", "c a b"])) == 5


def test_words_of_scripts_without_spaces_are_their_signs():
    """Two captions that say red share the two signs of it, as two English ones share a word."""
    found = word_level(["红色圆形 in 北京", "红色方形 on 上海", "é ü", "สีแดง"])
    one, other = (found(text)["input_ids"] for text in ("红色圆形 北京", "红色方形 上海"))
    assert one[:2] == other[:2] and len(one) == len(other) == 6 and 1 not in one + other
    assert found("红色 in é")["input_ids"][:2] == one[:2] and found("绿 é")["input_ids"][0] == 1
    for text in ("红色 circle 圆", "カタカナ コーヒー", "빨간 원 at x", "สีแดง", "a b\tc é"):
        assert word_level([text]).tokenize(text) == signs_apart(text).split()
    assert len(found("สีแดง")["input_ids"]) == 5 and found.decode(one) == "红 色 圆 形 北 京"


def test_numbers_are_their_ids():
    found = numbers(12)
    assert found("3 10 0", add_special_tokens=False)["input_ids"] == [3, 10, 0]
    assert found.decode([3, 10, 0]) == "3 10 0" and found.bos_token_id == 11 and len(found) == 12


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: byte_pairs([]), "there are no texts"),
        (lambda: byte_pairs(["a"], 256), "size is 256"),
        (lambda: word_level(["a"], 2), "size is 2"),
        (lambda: numbers(1), "vocabulary is 1"),
    ],
)
def test_mistakes_of_tokenizers(make, said):
    with pytest.raises(InputError, match=said):
        make()
