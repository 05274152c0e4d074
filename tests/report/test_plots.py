"""Plots of a report: positions, ticks and what is left out."""

import math

import numpy as np
import pytest

from visionkit.metrics.results import Interval
from visionkit.report.plots import (
    HEIGHT,
    INTERVAL_WIDTH,
    MAX_POINTS,
    WIDTH,
    Series,
    confusion_matrix,
    find_ticks,
    interval_plot,
    line_plot,
)


def test_a_line_spans_the_plot_and_points_that_are_not_finite_are_left_out():
    plot = line_plot("Loss", {"train": Series([0, 1, 2], [4.0, math.nan, 2.0], "2")}, ("step", "loss"))
    assert plot.lines[0].path == f"M0.0,0.0L{WIDTH}.0,{HEIGHT}.0"
    assert [tick.text for tick in plot.x_ticks] == ["0", "0.5", "1", "1.5", "2"]
    assert plot.summary == "Loss: train 2"


def test_lines_without_points_keep_the_colors_of_the_others():
    plot = line_plot("Loss", {"train": Series([], []), "val": Series([1], [1.0])}, ("step", "loss"))
    assert [(line.name, line.color) for line in plot.lines] == [("val", 1)]
    assert line_plot("Loss", {"train": Series([], [])}, ("step", "loss")) is None


def test_long_lines_are_thinned():
    plot = line_plot("Loss", {"train": Series(np.arange(5000), np.arange(5000))}, ("step", "loss"))
    assert plot.lines[0].path.count("L") < MAX_POINTS


@pytest.mark.parametrize("limits", [(0, 1), (0.641, 0.648), (-3, 12_000), (1e-7, 2e-6)])
def test_ticks_are_round_and_within_the_limits(limits):
    ticks = find_ticks(*limits)
    assert 2 <= len(ticks) <= 6
    assert limits[0] <= ticks[0] < ticks[-1] <= limits[1]


def test_classes_are_sorted_and_undefined_ones_come_last():
    values = {"cat": 0.5, "dog": math.nan, "cow": 1.0}
    plot = interval_plot("AP", values, {"cat": Interval(0.25, 0.75)})
    assert [row.name for row in plot.rows] == ["cow", "cat", "dog"]
    assert plot.rows[1][1:4] == (INTERVAL_WIDTH / 2, INTERVAL_WIDTH / 4, INTERVAL_WIDTH * 3 / 4)
    assert plot.rows[2].text == "not defined"


def test_shares_of_a_confusion_matrix_are_those_of_the_rows():
    matrix = confusion_matrix("objects", [[3, 1, 0], [0, 0, 0], [1, 0, 0]], ["cat", "dog"])
    assert matrix.rows == ["cat", "dog", "background"]
    assert [cell.share for cell in matrix.cells[0]] == [0.75, 0.25, 0]
    assert [cell.share for cell in matrix.cells[1]] == [0, 0, 0]
