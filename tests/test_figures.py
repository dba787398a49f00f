"""What lands on the page: colours that stay apart, bands where the intervals are, pictures unharmed."""

import io
import itertools
import sys

import matplotlib
import numpy as np
import pytest
from PIL import Image

from difflab.errors import InputError
from difflab.runs.figures import (
    COLOURS,
    description,
    figure_bytes,
    legend_below,
    line_with_band,
    log_axes,
    new_figure,
    picture_strips,
    rungs,
    style,
)
from difflab.statistics.intervals import Interval

# Machado, Oliveira, Fernandes 2009, severity 1, on linear RGB.
SIGHT = {
    "all cones": np.eye(3),
    "no long cones": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no middle cones": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "no short cones": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
XYZ = np.array([[0.41246, 0.35758, 0.18044], [0.21267, 0.71515, 0.07217], [0.01933, 0.11919, 0.95030]])


def _linear(colour):
    c = np.array(matplotlib.colors.to_rgb(colour))
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def _lab(linear):
    t = XYZ @ linear / XYZ.sum(axis=1)
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("sight", SIGHT)
def test_every_reader_tells_the_colours_apart(sight):
    seen = {name: _lab(np.clip(SIGHT[sight] @ _linear(hexa), 0, 1)) for name, hexa in COLOURS.items()}
    for a, b in itertools.combinations(seen, 2):
        assert np.linalg.norm(seen[a] - seen[b]) > 15, (a, b)


@pytest.mark.parametrize("name", COLOURS)
def test_every_colour_stands_out_from_white(name):
    assert 1.05 / (XYZ[1] @ _linear(COLOURS[name]) + 0.05) >= 3


def test_the_band_lies_between_low_and_high():
    figure, (ax,) = new_figure("Title", "size", "loss")
    line_with_band(ax, [3.0, 1.0, 2.0], [30.0, 10.0, 20.0], [29.0, 8.0, 17.0], [33.0, 11.0, 22.0], "net", "exact")
    (line,), (band,) = ax.lines, ax.collections
    assert line.get_xydata().tolist() == [[1, 10], [2, 20], [3, 30]]  # sorted: no line runs back
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices}
    assert corners == {(1, 8), (2, 17), (3, 29), (3, 33), (2, 22), (1, 11)}
    assert matplotlib.colors.to_hex(line.get_color()) == COLOURS["exact"].lower()
    assert description(figure) == "Title; loss against size"


def test_a_line_without_intervals_has_no_band():
    _, (ax,) = new_figure("Title", "x", "y")
    line_with_band(ax, [1.0], [1.0], None, None, "net", "#123456")
    assert not ax.collections
    with pytest.raises(InputError, match="as many"):
        line_with_band(ax, [1.0], [1.0], [0.0], None, "net", "exact")
    with pytest.raises(InputError, match="as many"):
        line_with_band(ax, [1.0, 2.0], [1.0], None, None, "net", "exact")


def test_the_legend_names_every_label_once_below_the_panels():
    figure, panels = new_figure("Title", "x", "y", 2)
    for ax in panels:
        line_with_band(ax, [1.0, 2.0], [1.0, 2.0], [0.0, 1.0], [2.0, 3.0], "net", "trained")
    line_with_band(panels[1], [1.0, 2.0], [2.0, 2.0], None, None, "law", "exact")
    legend_below(figure)
    figure.canvas.draw()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["net", "law"]
    assert legend.get_window_extent().y1 <= min(ax.get_window_extent().y0 for ax in panels)


def test_panels_share_labels_and_spare_ones_are_gone():
    figure, panels = new_figure("Title", "x", "y", 3)
    assert len(panels) == len(figure.axes) == 3
    assert description(figure) == "Title; y against x"
    panels[0].set_xlim(0, 42)
    assert panels[2].get_xlim() == (0, 42)
    with pytest.raises(InputError):
        new_figure("Title", "x", "y", 0)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_strips_show_the_sample_left_and_the_point_right(dtype):
    pairs = np.zeros((5, 2, 4, 6, 3), dtype)
    pairs[:, 0, ..., 0] = 255 if dtype is np.uint8 else 1  # generated: red
    pairs[:, 1, ..., 2] = 255 if dtype is np.uint8 else 1  # training point: blue
    figure = picture_strips(pairs, [f"{i} away" for i in range(5)])
    shown = [ax for ax in figure.axes if ax.images]
    assert [ax.get_title() for ax in shown] == [f"{i} away" for i in range(5)]
    strip = shown[0].images[0].get_array()
    assert (strip[:, :6] == [1, 0, 0]).all()
    assert (strip[:, -6:] == [0, 0, 1]).all()
    assert (strip[:, 6:-6] == 1).all()


@pytest.mark.parametrize(
    ("pairs", "captions"),
    [
        (np.zeros((1, 2, 0, 4, 3)), ["a"]),
        (np.zeros((1, 2, 4, 4, 3)), []),
        (np.full((1, 2, 4, 4, 3), 2.0), ["a"]),
        (np.full((1, 2, 4, 4, 3), np.nan), ["a"]),
        (np.zeros((0, 2, 4, 4, 3)), []),
    ],
)
def test_strips_name_mistakes(pairs, captions):
    with pytest.raises(InputError):
        picture_strips(pairs, captions)


def test_files_are_equal_for_equal_figures_and_960_pixels_wide():
    def drawn():
        figure, (ax,) = new_figure("Title", "x", "y")
        line_with_band(ax, [1.0, 2.0], [1.0, 2.0], None, None, "net", "trained")
        ax.legend()
        return figure

    assert figure_bytes(drawn(), "svg") == figure_bytes(drawn(), "svg")
    both = drawn()
    assert [figure_bytes(both, kind) for kind in ("png", "svg")] == [
        figure_bytes(drawn(), kind) for kind in ("png", "svg")
    ]
    png = figure_bytes(drawn(), "png")
    assert png == figure_bytes(drawn(), "png")
    assert Image.open(io.BytesIO(png)).width == 960  # 6.4 inches at 150 dpi


def test_nothing_global_changes():
    before = dict(matplotlib.rcParams)
    with style():
        assert not matplotlib.rcParams["axes.spines.top"]
    new_figure("Title", "x", "y", 2)
    assert dict(matplotlib.rcParams) == before
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_captions_are_no_formulas():
    strips = np.zeros((1, 1, 4, 4, 3), np.uint8)
    figure = picture_strips(strips, ["$5 and 20% off $10"])
    (title,) = [panel.title for panel in figure.axes]
    assert title.get_text() == "$5 and 20% off $10" and not title.get_parse_math()
    # As a formula it could not even be drawn.
    assert figure_bytes(figure, "png").startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [
        (0.95, 1.9, ["1", "1.2", "1.5"]),
        (2_700, 75_000, ["5,000", "10,000", "20,000", "50,000"]),
        (0.002, 20, ["0.01", "0.1", "1", "10"]),
    ],
)
def test_numbers_of_a_logarithmic_axis_are_plain(low, high, says):
    figure, (ax,) = new_figure("t", "x", "y")
    ax.set_xlim(low, high)
    log_axes(ax, "x")
    figure.draw_without_rendering()
    labels = {place: text.get_text() for place, text in zip(ax.get_xticks(), ax.get_xticklabels(), strict=True)}
    assert [text for place, text in labels.items() if low <= place <= high] == says
    assert ax.get_xscale() == "log" and ax.get_yscale() == "linear"


def test_curves_that_agree_are_drawn_beside_each_other():
    figure, (ax,) = new_figure("t", "x", "y")
    same = [Interval(0.0, 0.0, 0.2)] * 3
    rungs(ax, [0, 10, "all"], {"a": same, "b": same}, {"a": "trained", "b": "exact"})
    drawn = [np.asarray(line.get_xdata(), float) for line in ax.lines if line.get_linestyle() == "-"]
    first, second = drawn
    assert (first < second).all() and (np.rint(first) == np.rint(second)).all()
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "10", "all"]
    figure_bytes(figure, "png")
