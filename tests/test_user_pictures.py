"""Pictures, captions and prompts in memory: what is none of them is refused in a sentence."""

import inspect

import numpy as np
import pytest
from conformance import says_one_sentence

from difflab.audits.user_pictures import named_pictures, named_prompts

# Users have no checks of types, as tests have.
pictures_of, prompts_of = (inspect.unwrap(one) for one in (named_pictures, named_prompts))
PICTURES = np.zeros((2, 8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (PICTURES, "data is a ndarray; give a folder, or pictures and captions"),
        ((PICTURES, ["a"], 3), "data holds 3 parts"),
        ((PICTURES, None), "data is not pictures and captions"),
        (([PICTURES[0], PICTURES[0, :4]], ["a", "b"]), "give pictures of one size"),
        ((PICTURES, ["a"]), "caption"),
    ],
)
def test_pictures_that_are_none_are_refused(data, word):
    assert word in says_one_sentence(lambda: pictures_of(data=data))


@pytest.mark.parametrize(
    ("asked", "word"), [(5, "prompts is a int"), ([], "give a list of texts"), (["a", " "], "' '")]
)
def test_prompts_that_are_none_are_refused(asked, word):
    assert word in says_one_sentence(lambda: prompts_of(asked))


def test_the_same_pictures_and_prompts_have_the_same_name_and_others_another():
    names = [named_pictures(data=(pictures, ["a", "b"]))[0]["data"] for pictures in (PICTURES, PICTURES.copy())]
    assert names[0] == names[1] != named_pictures(data=(PICTURES + 1, ["a", "b"]))[0]["data"]
    assert names[0] != named_pictures(data=(PICTURES, ["a", "c"]))[0]["data"]
    assert named_prompts(["a"])[0] == named_prompts(("a",))[0] != named_prompts(["b"])[0]
