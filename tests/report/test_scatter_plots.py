import xml.etree.ElementTree as ET

import pytest

from visionkit.report.scatter_plots import HEIGHT, WIDTH, Axis, Plot, Point, write_plots

SVG = "{http://www.w3.org/2000/svg}"


def drawn(tmp_path, *plots):
    write_plots(tmp_path / "plot.svg", "a <title>", plots)
    return ET.parse(tmp_path / "plot.svg").getroot()


def circles(root):
    return [(float(dot.get("cx")), float(dot.get("cy"))) for dot in root.iter(f"{SVG}circle")]


def test_points_lie_in_proportion_and_inside(tmp_path):
    points = [Point(0, 0.1), Point(1, 0.3), Point(2, 0.2)]
    places = circles(drawn(tmp_path, Plot(Axis("trial"), Axis("AP"), points)))
    (x0, y0), (x1, y1), (x2, y2) = places
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y0 - y2 == pytest.approx(y2 - y1, abs=0.2)
    assert y1 < y2 < y0
    assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in places)


def test_equal_ratios_are_equal_distances_on_a_logarithmic_axis(tmp_path):
    points = [Point(lr, 1.0) for lr in (1e-4, 1e-3, 1e-2)]
    root = drawn(tmp_path, Plot(Axis("lr", logarithmic=True), Axis("loss"), points))
    xs = [x for x, _ in circles(root)]
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.2)
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"0.0001", "0.001", "0.01"} <= {*texts}


def test_names_are_ticks_and_text_is_escaped(tmp_path):
    plot = Plot(Axis("x", names=("a<b", "c")), Axis("y"), [Point(1, 2.0, text="c & d", best=True)])
    root = drawn(tmp_path, plot)
    assert {"a<b", "c", "a <title>"} <= {text.text for text in root.iter(f"{SVG}text")}
    assert [title.text for title in root.iter(f"{SVG}title")] == ["a <title>", "c & d"]


def test_points_above_the_highest_lie_on_the_edge(tmp_path):
    plot = Plot(Axis("x"), Axis("y"), [Point(0, 1.0), Point(1, 2.0), Point(2, 1e9)], highest=2.0)
    (_, low), (_, edge), (_, above) = circles(drawn(tmp_path, plot))
    assert above == edge < low


def test_a_single_point_has_a_place(tmp_path):
    assert len(circles(drawn(tmp_path, Plot(Axis("x"), Axis("y"), [Point(3, 0.0)])))) == 1


def mark_texts(tmp_path, **marks):
    """Return the side of its line on which the text of each mark is."""
    points = [Point(lr, 1.0) for lr in (1e-6, 10.0)]
    root = drawn(tmp_path, Plot(Axis("lr", logarithmic=True), Axis("loss"), points, marks=marks))
    return {text.text: text.get("text-anchor") for text in root.iter(f"{SVG}text") if text.text in marks}


@pytest.mark.parametrize("first", ["recipe", "suggested"])
def test_texts_of_two_marks_are_outside_of_the_two_lines(first, tmp_path):
    values = {"recipe": 1e-3, "suggested": 2e-3}
    marks = {name: values[name] for name in sorted(values, key=lambda name: name != first)}
    assert mark_texts(tmp_path, **marks) == {"recipe": "end", "suggested": "start"}


def test_texts_of_marks_stay_in_the_plot(tmp_path):
    assert mark_texts(tmp_path, low=2e-6) == {"low": "start"}
    assert mark_texts(tmp_path, high=8.0) == {"high": "end"}
    assert mark_texts(tmp_path, low=2e-6, high=8.0) == {"low": "start", "high": "end"}


def test_given_ticks_replace_round_ones(tmp_path):
    axis = Axis("data.batch_size", logarithmic=True, ticks=(3, 6, 12))
    root = drawn(tmp_path, Plot(axis, Axis("images/s"), [Point(size, 0.0) for size in (3, 6, 12)]))
    texts = {text.text for text in root.iter(f"{SVG}text")}
    assert {"3", "6", "12"} <= texts
    assert not {"5", "10"} & texts
