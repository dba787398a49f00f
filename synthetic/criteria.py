"""When a model memorizes, judged without a ruler: two models of disjoint halves, whole distributions, largest N."""

from collections.abc import Iterator, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key
from scipy import stats

from difflab.randomness import stream
from difflab.runs.parallel import kept
from difflab.runs.results import Checkpoints
from difflab.runs.rows import Row
from difflab.statistics.intervals import SHARE, summary
from difflab.statistics.neighbours import nearest
from synthetic.cells import CELLS, cells_by_size, sizes_at
from synthetic.data.dataset import data_keys
from synthetic.data.gaussian_mixture import GaussianMixture, gaussian_mixture
from synthetic.models import LearnedMixture
from synthetic.probes import samples
from synthetic.problem import problem
from synthetic.study import Study, trained
from synthetic.transition import LEVELS, reached
from theory.mixture import Mixture, sample

COPIES, HALVES, WHOLE, LARGEST = "copies", "two halves", "whole distribution", "largest N"
TRAINED = "trained"
NEARER = "nearer_fraction"
"""By which share more samples than fresh points are copies, at the criterion at which it is largest."""
Labels = Mapping[str, str | int | float]


def halves_by_size(law: GaussianMixture, study: Study, seed: int, fractions: Sequence[float]) -> dict[str, np.ndarray]:
    """Models and cells denoisers of two disjoint training sets of one law, sampled from the same noise.

    Args:
        law: each half has its n points.
        study: data sets, training and samples.
        seed: of everything.
        fractions: M / N.

    Returns:
        `sizes`; for `trained` and `cells`, (data set, size): `NAME_copies`, samples of both halves that are copies by
        the study's criterion; `NAME_halves`, samples that are more like their nearest training point than like what
        the model of the other half makes of the same noise; `NAME_whole`, over all criteria the largest share by which
        more samples than fresh points are copies, mean of both halves; `NAME_likeness`, mean cosine of the samples of
        both halves.
    """
    n, sizes = law.n, sizes_at(fractions, law.n)
    keys = data_keys(seed, study.seeds, n, law.dim, law.components)
    datasets = [gaussian_mixture(key, GaussianMixture(2 * n, law.dim, law.components, law.variance)) for key in keys]
    points = [half for one in datasets for half in (one.points[:n], one.points[n:])]
    start_key, train_key = (stream(seed, name).jax() for name in ("start", "training"))
    whole = problem(jnp.stack(points), study.objective())
    laws = trained(study, (start_key, train_key), whole, LearnedMixture, sizes.tolist())
    found: dict[str, list[np.ndarray]] = {}
    for s, one in enumerate(datasets):
        assert one.law is not None
        pair = points[2 * s : 2 * s + 2]
        fresh = np.asarray(sample(stream(seed, "fresh", s).jax(), one.law, study.samples))
        both = {
            TRAINED: [jax.tree.map(lambda leaf, i=2 * s + h: leaf[i], laws) for h in range(2)],
            CELLS: [cells_by_size(half, sizes) for half in pair],
        }
        for name, stacked in both.items():
            key = stream(seed, "samples", s).jax()
            for kind, values in _of_pair(key, stacked, pair, fresh, study).items():
                found.setdefault(f"{name}_{kind}", []).append(values)
    return {"sizes": sizes} | {name: np.stack(values) for name, values in found.items()}


def _of_pair(
    key: Key[Array, ""],
    laws: Sequence[Mixture],
    points: Sequence[Float[Array, "n d"]],
    fresh: Float[np.ndarray, "samples d"],
    study: Study,
) -> dict[str, np.ndarray]:
    noise, times, _ = study.objective()
    drawn = [np.asarray(samples(key, law, noise, jnp.asarray(times), study.samples)) for law in laws]
    likeness = np.stack([cosines(a, b) for a, b in zip(*drawn, strict=True)])
    copies, like_points, largest = [], [], []
    for own, generated in zip(map(np.asarray, points), drawn, strict=True):
        control = _ratios(fresh, own)
        near = [nearest(one, own) for one in generated]
        ratios = [one.distance / one.second_distance for one in near]
        copies.append([int((one < study.factor).sum()) for one in ratios])
        to_point = [cosines(one, own[place.index]) for one, place in zip(generated, near, strict=True)]
        like_points.append([int((a > b).sum()) for a, b in zip(to_point, likeness, strict=True)])
        largest.append([nearer(one, control) for one in ratios])
    return {
        "copies": np.sum(copies, axis=0),
        "halves": np.sum(like_points, axis=0),
        "whole": np.mean(largest, axis=0),
        "likeness": likeness.mean(axis=1),
    }


def nearer(ratios: Float[np.ndarray, " m"], control: Float[np.ndarray, " k"]) -> float:
    """Over all criteria the largest share by which more of these than of the control are copies; 0 where never more."""
    return float(stats.ks_2samp(ratios, control, alternative="greater").statistic)


def cosines(a: Float[np.ndarray, "m d"], b: Float[np.ndarray, "m d"]) -> Float[np.ndarray, " m"]:
    """Cosine of every pair of rows; none of them is 0."""
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    products: Float[np.ndarray, " m"] = np.sum(a * b, axis=1) / lengths
    return products


def _ratios(drawn: Float[np.ndarray, "m d"], points: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " m"]:
    found = nearest(drawn, points)
    return found.distance / found.second_distance


def criterion_rows(law: GaussianMixture, arrays: Mapping[str, np.ndarray], samples: int) -> Iterator[Row]:
    """Curves along M / N, and transition_fraction of each criterion: where it reaches one half.

    Args:
        law: of the data.
        arrays: from :func:`halves_by_size`.
        samples: of one model.
    """
    fractions = arrays["sizes"] / law.n
    for name in (TRAINED, CELLS):
        curves = {
            COPIES: ("memorized_fraction", arrays[f"{name}_copies"] / (2 * samples)),
            HALVES: ("memorized_fraction", arrays[f"{name}_halves"] / (2 * samples)),
            WHOLE: (NEARER, arrays[f"{name}_whole"]),
        }
        for criterion, (metric, shares) in curves.items():
            here = {"denoiser": name, "criterion": criterion}
            for i, size in enumerate(arrays["sizes"].tolist()):
                there = {**here, "size": size, "size_over_n": size / law.n}
                yield Row(metric, *summary(shares[:, i], SHARE), len(shares), there)
            where = reached(fractions, shares, 1, LEVELS["middle"])
            if np.isfinite(where).all():
                yield Row("transition_fraction", *summary(where), len(where), {**here, "point": "middle"})
        likeness = arrays[f"{name}_likeness"]
        for i, size in enumerate(arrays["sizes"].tolist()):
            there = {"denoiser": name, "size": size, "size_over_n": size / law.n}
            yield Row("halves_similarity", *summary(likeness[:, i]), len(likeness), there)


def rows_of_halves(
    law: GaussianMixture, study: Study, seed: int, fractions: Sequence[float], checkpoints: Checkpoints
) -> Iterator[Row]:
    """The rows of :func:`criterion_rows`; the arrays of :func:`halves_by_size` are kept."""
    given = {"halves": (law, study, seed, fractions)}
    (arrays,) = kept(halves_by_size, given, checkpoints, 1, "models of halves").values()
    yield from criterion_rows(law, arrays, study.samples)


def copies_of_size(law: GaussianMixture, size: int, study: Study, seed: int) -> dict[str, np.ndarray]:
    """Copies of models of one size trained on law.n points, (data set,), and of cells denoisers of the same."""
    keys = data_keys(seed, study.seeds, law.n, law.dim, law.components)
    points = [gaussian_mixture(key, law).points for key in keys]
    start_key, train_key = (stream(seed, name, law.n).jax() for name in ("start", "training"))
    laws = trained(study, (start_key, train_key), problem(jnp.stack(points), study.objective()), LearnedMixture, [size])
    noise, times, _ = study.objective()
    found: dict[str, list[int]] = {TRAINED: [], CELLS: []}
    for s, own in enumerate(points):
        key = stream(seed, "samples", s).jax()
        both = {
            TRAINED: jax.tree.map(lambda leaf, s=s: leaf[s], laws),
            CELLS: cells_by_size(own, np.array([size])),
        }
        for name, stacked in both.items():
            drawn = np.asarray(samples(key, stacked, noise, jnp.asarray(times), study.samples))[0]
            found[name].append(int((_ratios(drawn, np.asarray(own)) < study.factor).sum()))
    return {name: np.array(counts) for name, counts in found.items()}


def largest_rows(
    size: int, n: Sequence[int], copies: Mapping[str, Int[np.ndarray, "s k"]], samples: int
) -> Iterator[Row]:
    """transition_fraction of the largest N whose points a model of this size still copies: size over that N.

    Effective model memorization: nine tenths of samples are copies. The row of one half is the other transition, seen
    from a fixed size.

    Args:
        size: M.
        n: growing numbers of training points.
        copies: by denoiser, of every data set and n.
        samples: of one model.

    Reference:
        Gu et al. 2023, arXiv 2310.02664; 1 - epsilon = 0.9 there, too.
    """
    fractions = (size / np.array(n))[::-1]
    for name, counts in copies.items():
        for point in ("middle", "end"):
            where = reached(fractions, counts[:, ::-1], samples, LEVELS[point])
            if np.isfinite(where).all():
                here = {"denoiser": name, "criterion": LARGEST, "point": point}
                yield Row("transition_fraction", *summary(where), len(where), here)


def rows_of_size(
    size: int, laws: Sequence[GaussianMixture], study: Study, seed: int, checkpoints: Checkpoints, workers: int
) -> Iterator[Row]:
    """The rows of :func:`largest_rows`; what :func:`copies_of_size` says of each law is kept.

    Args:
        size: M.
        laws: which differ in their growing numbers of points.
        study: data sets, training and samples.
        seed: of everything.
        checkpoints: where copies are kept.
        workers: processes.
    """
    given = {f"n{law.n}": (law, size, study, seed) for law in laws}
    by_n = list(kept(copies_of_size, given, checkpoints, workers, "numbers of points").values())
    copies = {name: np.stack([one[name] for one in by_n], axis=1) for name in (TRAINED, CELLS)}
    yield from largest_rows(size, [law.n for law in laws], copies, study.samples)
