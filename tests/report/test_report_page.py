"""The page of a report: names with special characters, many classes, and colors that can be read."""

import dataclasses
import itertools
import re

import numpy as np
import pytest
import torch

from tests.helpers.html_page import parse
from visionkit.data.datasets.shapes import Shapes
from visionkit.metrics.coco import CocoAP
from visionkit.metrics.detection_columns import DetectionColumns
from visionkit.metrics.operating_point import find_operating_point
from visionkit.metrics.results import MetricResults
from visionkit.metrics.scored_detections import ScoredDetections
from visionkit.metrics.scored_labels import ScoredMultiLabels
from visionkit.report.page_file import template
from visionkit.report.report_images import detection_image, label_image
from visionkit.report.report_page import (
    MAX_ERROR_CLASSES,
    MAX_MATRIX_CLASSES,
    MAX_PLOTTED_CLASSES,
    PAGE_BYTES,
    HeadReport,
    Report,
    write_report,
)

STRANGE = ["grid", "recall", "a, b", "<b>&\"'", "{{ 7 }}"]
MIN_CONTRAST = 4.5
"""Of text, by the Web Content Accessibility Guidelines."""


def label_head(names):
    targets = torch.eye(len(names))
    scored = ScoredMultiLabels(
        dict(enumerate(zip(targets * 0.8 + 0.1, targets, strict=True))), names, [0.5] * len(names)
    )
    results = MetricResults({"mAP": 1.0}, extras=scored.analysis(), intervals=scored.intervals(10))
    image = label_image(scored, 0, Shapes(size=32)[0])
    colors = [(0, 0, 0)] * len(names)
    return HeadReport("", "classification", "mAP", results | scored.at_thresholds(), scored, names, colors, [image], [])


def box_head(names):
    boxes = {"boxes": [[0.0, 0, 9, 9]] * len(names), "labels": list(range(len(names)))}
    columns = DetectionColumns.of_images(
        [{**boxes, "scores": [0.9] * len(names)}], [{**boxes, "image_id": 0, "size": (32, 32)}]
    )
    point, metric = find_operating_point(columns, len(names)), CocoAP(names)
    scored = ScoredDetections(columns, {"": metric}, point.threshold)
    results = metric.score(columns) | point.results(names) | MetricResults(extras=scored.analysis())
    image = detection_image(scored, 0, Shapes(size=32)[0])
    return HeadReport("", "detection", "AP", results, scored, names, [(0, 0, 0)] * len(names), [image], [])


def page_of(head, path):
    write_report(Report("mine", [], [head], [], "", [], []), path)
    return parse(path.read_text())


@pytest.mark.parametrize("head", [label_head, box_head])
def test_names_of_classes_are_text_whatever_they_are(head, tmp_path):
    page = page_of(head(STRANGE), tmp_path / "report.html")
    (choice,) = page.find("select", data_filter="class")
    assert [option.texts() for option in choice.find("option")][1:] == STRANGE
    legend = page.find("ul", class_="legend")[0]
    assert [line.texts().rsplit(" ", 1)[0].strip() for line in legend.find("li")] == STRANGE


def test_the_whole_name_of_a_class_is_drawn(tmp_path):
    page = page_of(box_head(STRANGE), tmp_path / "report.html")
    drawn = {mark.find("text")[0].texts() for mark in page.find("g", class_="prediction correct")}
    assert drawn == {f"{name} 0.90" for name in STRANGE}


@pytest.mark.parametrize(("count", "left_out"), [(MAX_ERROR_CLASSES, False), (MAX_MATRIX_CLASSES + 1, True)])
def test_tables_of_too_many_classes_say_so(count, left_out, tmp_path):
    text = page_of(box_head([f"class {label}" for label in range(count)]), tmp_path / "report.html").texts()
    assert (f"first {MAX_ERROR_CLASSES} of {count} classes" in text) == left_out
    assert ("too many classes" in text) == left_out


@pytest.mark.parametrize("make", [label_head, box_head])
def test_a_thousand_classes_leave_room_for_the_images(make, tmp_path):
    """The plots have the classes that count most, and the table has all."""
    names = [f"class number {label}" for label in range(1000)]
    head, path = make(names), tmp_path / "report.html"
    head = dataclasses.replace(head, images=[])
    page = page_of(head, path)
    assert path.stat().st_size < 15_000_000 - PAGE_BYTES
    (table,) = page.find("table", class_="classes")
    assert [cell.texts() for cell in table.find("th", scope="row")] == names
    assert len(table.find("tr")[1].find("td")) == len(head.results.per_class)
    for plot in page.find("div", class_="plots")[0].find("figure"):
        assert len(plot.find("path")) <= MAX_PLOTTED_CLASSES
        assert len(plot.find("text", class_="row")) in (0, MAX_PLOTTED_CLASSES)
    assert "of the 30 largest of 1,000 classes" in page.texts()


def test_plots_have_the_largest_and_the_lowest_classes(tmp_path):
    count = MAX_PLOTTED_CLASSES + 2
    head = label_head([f"class {label}" for label in range(count)])
    targets = torch.eye(count)[torch.arange(2 * count) % count]
    targets[count:, 0] = 0  # class 0 has one image, and class 1 none
    targets[:, 1] = 0
    images = dict(enumerate(zip(targets * 0.8 + 0.1, targets, strict=True)))
    head = dataclasses.replace(head, scored=ScoredMultiLabels(images, head.class_names, [0.5] * count))
    head.results.per_class["AP"] = {name: label / count for label, name in enumerate(head.class_names)}
    head.results.extras["curves"] = head.scored.curves()
    lines = head.lines[0].lines
    assert [line.name for line in lines] == head.class_names[2:]
    rows = head.intervals[0].rows
    assert [row.name for row in rows] == head.class_names[:MAX_PLOTTED_CLASSES][::-1]


def luminance(color):
    """Relative luminance of sRGB (WCAG 2.1)."""
    values = np.array(color) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


def contrast(first, second):
    low, high = sorted([luminance(first), luminance(second)])
    return (high + 0.05) / (low + 0.05)


def variables_of(css):
    """Variables of the light colors and then of the dark ones: the first two blocks with --paper."""
    blocks = itertools.islice(re.finditer(r"\{([^{}]*--paper[^{}]*)\}", css), 2)
    return [dict(re.findall(r"--([\w-]+): (#\w+|\d+%)", block[1])) for block in blocks]


def rgb(color):
    digits = color[1:] if len(color) == 7 else "".join(2 * digit for digit in color[1:])
    return [int(digits[place : place + 2], 16) for place in (0, 2, 4)]


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_text_can_be_read(mode):
    css = template("report.css").render()
    found = variables_of(template("data.css").render())[mode]
    paper, ink, soft, accent = (np.array(rgb(found[name])) for name in ("paper", "ink", "soft", "accent"))
    right = re.findall(r"\.right \{ color: (#\w+)", css)[mode]
    assert contrast(rgb(right), paper) >= MIN_CONTRAST
    strongest = int(re.findall(r"--strongest: (\d+)%", css)[mode]) / 100
    for share in np.linspace(0, strongest, 20):
        assert contrast(ink, share * accent + (1 - share) * soft) >= MIN_CONTRAST
