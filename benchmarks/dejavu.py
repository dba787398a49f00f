"""What déjà vu metrics cost beside a per-sample implementation of the same definitions, and how far the search goes.

    python benchmarks/dejavu.py             # 10,000 targets, 50,000 gallery items: time, ratio, peak memory
    python benchmarks/dejavu.py --large     # 10,000 queries, 1,000,000 gallery items of 512 dimensions, from a file

The plain implementation is a loop of the same definitions, one target after the other: distances to the whole gallery,
Python sets of the neighbours' objects, and scores of those sets. It is timed on a part of the targets and scaled up.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from difflab.clip.gap import gap, hidden_auc, judged
from difflab.clip.inference import nearest, union, votes
from difflab.runs.peak_memory import peak_memory


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=10_000)
    parser.add_argument("--gallery", type=int, default=50_000)
    parser.add_argument("--dimensions", type=int, default=64)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--plain", type=int, default=100, help="targets that the plain implementation is timed on")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--large", action="store_true", help="only the large search")
    asked = parser.parse_args()
    if asked.large:
        large(asked.device)
        return
    rng = np.random.default_rng(0)
    queries, others, gallery = (_unit(rng, n, asked.dimensions) for n in (asked.targets, asked.targets, asked.gallery))
    objects, held = _objects(rng, asked.gallery), _objects(rng, asked.targets)
    lists = [np.flatnonzero(row).tolist() for row in objects]
    named = held & (rng.random(held.shape) < 0.4)
    begin = time.process_time()
    ours = fast(queries, others, gallery, objects, held, named, asked.k, asked.device)
    fast_seconds = time.process_time() - begin
    part = slice(asked.plain)
    begin = time.process_time()
    theirs = plain(queries[part], others[part], gallery, lists, held[part], named[part], asked.k)
    plain_seconds = (time.process_time() - begin) * asked.targets / asked.plain
    again = fast(queries[part], others[part], gallery, objects, held[part], named[part], asked.k, asked.device)
    assert np.allclose(again, theirs), f"the two disagree: {again} and {theirs}"
    print(f"PPG, PRG, AUCG, hidden AUCs: {', '.join(f'{value:.4f}' for value in ours)}")
    print(f"{asked.targets:,} targets, {asked.gallery:,} gallery items, two models, CPU seconds: {fast_seconds:.1f}")
    print(f"per sample: {plain_seconds:.0f} (from {asked.plain}); ratio {plain_seconds / fast_seconds:.0f}")
    print(f"peak memory {_peak():.2f} GiB")


def large(device: str) -> None:
    """10,000 queries against a million embeddings that lie in a file."""
    rng, n = np.random.default_rng(0), 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gallery.npy"
        written = np.lib.format.open_memmap(path, "w+", np.float32, (n, 512))
        for start in range(0, n, 50_000):
            written[start : start + 50_000] = _unit(rng, 50_000, 512)
        del written
        gallery = np.load(path, mmap_mode="r")
        queries = np.array(gallery[:: n // 10_000])
        begin, cpu = time.monotonic(), time.process_time()
        found = nearest(queries, gallery, 10, device)
        seconds, cpu = time.monotonic() - begin, time.process_time() - cpu
    assert (found.places[:, 0] == np.arange(0, n, n // 10_000)).all(), "a vector is not its own nearest one"
    print(f"10,000 of 1,000,000 x 512: {seconds:.0f} s, {cpu:.0f} CPU seconds, peak memory {_peak():.2f} GiB")


def fast(queries, others, gallery, objects, held, named, k, device):
    """PPG, PRG, AUCG and both models' hidden AUC, as the package computes them."""
    counts = [votes(nearest(asked, gallery, k, device).places, objects) for asked in (queries, others)]
    found = gap(*(judged(union(count), held) for count in counts))
    return [*np.mean(found, axis=1), *(float(np.nanmean(hidden_auc(count, held, named))) for count in counts)]


def plain(queries, others, gallery, lists, held, named, k):
    """The same numbers, one target at a time."""
    signs, signs_of_recall, recalls, areas = [], [], [], ([], [])
    for i in range(len(queries)):
        truth, told, scores = set(np.flatnonzero(held[i])), set(np.flatnonzero(named[i])), []
        for model, asked in enumerate((queries, others)):
            distances = ((gallery - asked[i]) ** 2).sum(axis=1)
            counts = {}
            for place in np.argsort(distances, kind="stable")[:k]:
                for label in lists[place]:
                    counts[label] = counts.get(label, 0) + 1
            predicted = set(counts)
            scores.append((len(predicted & truth) / max(1, len(predicted)), len(predicted & truth) / len(truth)))
            rest = [c for c in range(held.shape[1]) if c not in told]
            there = [counts.get(c, 0) for c in rest if c in truth]
            absent = [counts.get(c, 0) for c in rest if c not in truth]
            if there and absent:
                areas[model].append(np.mean([(a > b) + (a == b) / 2 for a in there for b in absent]))
        signs.append(np.sign(scores[0][0] - scores[1][0]))
        signs_of_recall.append(np.sign(scores[0][1] - scores[1][1]))
        recalls.append(scores[0][1] - scores[1][1])
    return [np.mean(signs), np.mean(signs_of_recall), np.mean(recalls), np.mean(areas[0]), np.mean(areas[1])]


def _unit(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    drawn = rng.standard_normal((n, d), np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def _objects(rng: np.random.Generator, n: int) -> np.ndarray:
    """Five of 64 classes each."""
    found = np.zeros((n, 64), bool)
    np.put_along_axis(found, np.argsort(rng.random((n, 64)), axis=1)[:, :5], True, axis=1)
    return found


def _peak() -> float:
    return peak_memory()["process"] / 1024


if __name__ == "__main__":
    main()
