import numpy as np
import pytest

from visionkit.report.charts import HEIGHT, WIDTH, heat_map, make_chart


def test_bars_have_the_shares_of_their_split():
    chart = make_chart("side", {"train": np.array([1, 2, 2, 2]), "val": np.array([3, 4])}, marks=(3, 99))
    assert chart.top == "75%"
    assert [panel.split for panel in chart.panels] == ["train", "val"]
    train, val = (panel.bars for panel in chart.panels)
    assert [bar.text for bar in train] == ["1: 1", "2: 3"]
    assert [bar.height for bar in train] == pytest.approx([HEIGHT / 3, HEIGHT], abs=0.1)
    assert [bar.height for bar in val] == pytest.approx([HEIGHT * 2 / 3] * 2, abs=0.1)
    assert all(bar.y + bar.height == pytest.approx(HEIGHT, abs=0.11) for bar in train + val)
    assert train[0].x < train[1].x < val[0].x < val[1].x + val[1].width <= WIDTH
    assert [mark.text for mark in chart.marks] == ["3"]
    assert "median 2" in chart.panels[0].summary


def test_logarithmic_axes_have_ticks_at_powers_of_two():
    chart = make_chart("side", {"train": np.array([5.0, 40.0, 300.0])}, per_octave=3, marks=(64,))
    at = {float(tick.text): tick.x for tick in chart.ticks}
    assert [*at] == [4, 16, 64, 256]
    assert np.diff([*at.values()]) == pytest.approx(at[16] - at[4], abs=0.2)
    assert chart.marks[0].x == at[64]


def test_equal_values_and_no_values():
    same = make_chart("width", {"train": np.array([640, 640]), "val": np.array([640])})
    assert (same.same, same.panels) == ("640", [])
    assert make_chart("width", {"train": np.zeros(0)}) is None
    partly = make_chart("width", {"train": np.array([1, 9]), "val": np.zeros(0)})
    assert (partly.panels[1].bars, partly.panels[1].summary) == ([], "no values")


def test_a_heat_map_has_the_cells_with_counts():
    counts = np.zeros((16, 16), int)
    counts[2, 5], counts[15, 0] = 4, 1
    assert [tuple(cell) for cell in heat_map(counts)] == [(5, 2, 1.0, "4"), (0, 15, 0.25, "1")]
    assert heat_map(np.zeros((16, 16), int)) == []
