"""HTML page about a scored checkpoint. It needs no network and no other file."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from visionkit.metrics.detection_errors import ERROR_KINDS
from visionkit.metrics.results import MetricResults
from visionkit.metrics.scored_detections import ScoredDetections
from visionkit.metrics.scored_images import ScoredImages
from visionkit.metrics.scored_labels import ScoredLabels
from visionkit.report.page_file import check_overwritten, css_colors, template, write_page
from visionkit.report.plots import (
    HEIGHT,
    INTERVAL_WIDTH,
    WIDTH,
    IntervalPlot,
    LinePlot,
    Matrix,
    Series,
    confusion_matrix,
    interval_plot,
    line_plot,
)
from visionkit.report.report_images import ReportImage
from visionkit.report.tables import interval_text, number
from visionkit.structures import Color

GENERATOR = "visionkit report"
"""Name in the page, by which it is recognized and may be overwritten."""

PAGE_BYTES = 14_000_000
"""Largest size of all images of a page, about. The rest takes less than 1 MB, also with a thousand classes."""

MAX_MATRIX_CLASSES = 60
"""Largest number of classes of a confusion matrix; that of more classes cannot be read."""

MAX_ERROR_CLASSES = 20
"""Largest number of classes in the table of errors."""

MAX_PLOTTED_CLASSES = 30
"""Largest number of classes of a plot with a line or row for each class."""

MAX_OPEN_CLASSES = 30
"""Largest number of classes of a table of all classes that is unfolded at first."""

MAX_LEGEND = 12
"""Largest number of lines of a legend."""

CROWDED = 15
"""Number of boxes of an image above which their names are hidden at first."""

PLOTTED_METRICS = ("AP", "IoU", "AP50", "recall", "F1")
"""Metrics per class that are plotted with their intervals, if there are any, the first two of them."""

KIND_COLORS: dict[str, str] = {
    "correct": "#1a9850",
    "classification": "#e6550d",
    "localization": "#d9a400",
    "both": "#a63603",
    "duplicate": "#8c6bb1",
    "background": "#d6336c",
    "missed": "#1c7ed6",
    "object": "#868e96",
    "ignored": "#adb5bd",
}
"""CSS color of the boxes of each kind."""


class Fact(NamedTuple):
    """A row of the summary: name and value."""

    name: str
    value: str


class MetricRow(NamedTuple):
    """A metric over all classes, with its interval as text."""

    name: str
    value: str
    interval: str


class ClassRow(NamedTuple):
    """A class: name, and its metrics as texts."""

    name: str
    values: list[str]


class ErrorRow(NamedTuple):
    """Errors of a kind: number, AP that they cost, and number per class with its share of the largest one."""

    kind: str
    number: int
    lost_ap: str
    classes: list[tuple[int, float]]


@dataclass(frozen=True)
class HeadReport:
    """What the page says about a task, or a head of several.

    Attributes:
        name: name of the head; empty for a single task.
        kind: name of the task.
        main: name of the main metric.
        results: the metrics.
        scored: the scored images.
        class_names: K names.
        colors: color of each class.
        images: images with predictions, the worst first.
        data: facts about the scored split.
    """

    name: str
    kind: str
    main: str
    results: MetricResults
    scored: ScoredImages
    class_names: list[str]
    colors: list[Color]
    images: list[ReportImage]
    data: list[Fact]

    @property
    def headline(self) -> MetricRow:
        """The main metric."""
        return next(row for row in self.metrics if row.name == self.main)

    @property
    def metrics(self) -> list[MetricRow]:
        """All metrics over all classes."""
        found = self.results.intervals.overall
        return [
            MetricRow(name, number(value), interval_text(found.get(name)))
            for name, value in self.results.overall.items()
        ]

    @property
    def intervals(self) -> list[IntervalPlot]:
        """Plots of the most important metrics per class, of the lowest classes if there are many."""
        names = [name for name in PLOTTED_METRICS if name in self.results.per_class][:2]
        intervals = self.results.intervals.per_class
        return [
            interval_plot(f"{name} of the {self._which('lowest')}", _lowest(values), intervals.get(name, {}))
            for name in names
            for values in [self.results.per_class[name]]
        ]

    @property
    def class_rows(self) -> list[ClassRow]:
        """All metrics of all classes."""
        columns = self.results.per_class
        return [
            ClassRow(
                of,
                [f"{values[of]:,.0f}" if name == "pixels" else number(values[of]) for name, values in columns.items()],
            )
            for of in (self.class_names if columns else [])
        ]

    @property
    def lines(self) -> list[LinePlot]:
        """Curves and reliability diagram."""
        plots = [*self._curves(), self._reliability()]
        return [plot for plot in plots if plot is not None]

    @property
    def matrix(self) -> Matrix | None:
        """Confusion matrix; None if there is none or it has too many classes."""
        counts = self.results.extras.get("confusion")
        if counts is None or self.has_large_matrix:
            return None
        unit = {"classification": "images", "segmentation": "pixels"}.get(self.kind, "objects and detections")
        return confusion_matrix(unit, counts, self.class_names)

    @property
    def has_large_matrix(self) -> bool:
        """Whether there is a confusion matrix that has too many classes."""
        return len(self.results.extras.get("confusion", [])) > MAX_MATRIX_CLASSES

    @property
    def errors(self) -> list[ErrorRow]:
        """Errors of a detector at the score thresholds, by kind."""
        found = self.results.extras.get("errors")
        if found is None:
            return []
        per_class = found["at_thresholds_per_class"]
        largest = max((count for of_class in per_class.values() for count in of_class.values()), default=0)
        return [
            ErrorRow(
                kind,
                found["at_thresholds"][kind],
                f"{found['lost_AP'][kind]:.3f}" if kind in found["lost_AP"] else "",
                [(per_class[name][kind], per_class[name][kind] / max(largest, 1)) for name in self.class_names],
            )
            for kind in ERROR_KINDS
        ]

    @property
    def kinds(self) -> list[str]:
        """Kinds that the filter of the images offers."""
        found = {kind for image in self.images for kind in image.kinds}
        return [kind for kind in (*ERROR_KINDS, "wrong", "correct", "ignored") if kind in found]

    @property
    def is_crowded(self) -> bool:
        """Whether the names of the boxes would cover the images."""
        return sum(len(image.marks) for image in self.images) > CROWDED * len(self.images)

    @property
    def is_detection(self) -> bool:
        """Whether boxes are drawn."""
        return isinstance(self.scored, ScoredDetections)

    def _curves(self) -> list[LinePlot | None]:
        curves = self.results.extras.get("curves")
        if not curves:
            return []
        of = self._which("largest")
        if self.is_detection:
            precision, grid = curves["precision"], curves["recall"]
            by_class = {
                name: Series(grid, precision[name]["all"], f"{np.mean(precision[name]['all']):.3f}")
                for name in self._largest(precision)
                if precision[name]
            }
            sizes = {}
            for size in ("small", "medium", "large"):
                found = [of_class[size] for of_class in precision.values() if size in of_class]
                if found:
                    mean = np.mean(found, axis=0)
                    sizes[size] = Series(grid, mean, f"{mean.mean():.3f}")
            axes = ("recall", "precision")
            title = f"Precision and recall of the {of}, IoU {curves['iou_threshold']:g}"
            return [_unit_plot(title, by_class, axes), _unit_plot("Mean over the classes, by object size", sizes, axes)]
        grid = curves["grid"]
        classes = {name: curves["classes"][name] for name in self._largest(curves["classes"])}
        roc = {name: Series(grid, row["true_positive_rate"], f"{row['AUC']:.3f}") for name, row in classes.items()}
        pr = {name: Series(grid, row["precision"], f"{row['AP']:.3f}") for name, row in classes.items()}
        axes = ("false positive rate", "true positive rate")
        return [
            _unit_plot(f"Precision and recall of the {of}", pr, ("recall", "precision")),
            _unit_plot(f"Receiver operating characteristic of the {of}", roc, axes, diagonal=True),
        ]

    def _which(self, word: str) -> str:
        """Return which classes a plot shows."""
        total = len(self.class_names)
        return "classes" if total <= MAX_PLOTTED_CLASSES else f"{MAX_PLOTTED_CLASSES} {word} of {total:,} classes"

    def _largest(self, names: Collection[str]) -> list[str]:
        """Return those classes among `names` that have the most objects or images, in label order."""
        if isinstance(self.scored, ScoredDetections):
            sizes = np.bincount(self.scored.columns.true.labels, minlength=len(self.class_names)).tolist()
        else:
            assert isinstance(self.scored, ScoredLabels)
            sizes = [np.count_nonzero(self.scored.is_class(label)) for label in range(len(self.class_names))]
        found = [name for name in self.class_names if name in names]
        size_of = dict(zip(self.class_names, sizes, strict=True))
        kept = set(sorted(found, key=lambda name: -size_of[name])[:MAX_PLOTTED_CLASSES])
        return [name for name in found if name in kept]

    def _reliability(self) -> LinePlot | None:
        found = self.results.extras.get("calibration")
        if not found or not found["bins"]:
            return None
        x, y = ([row[key] for row in found["bins"]] for key in ("confidence", "accuracy"))
        series = {"calibration error": Series(x, y, f"{found['error']:.3f}")}
        return _unit_plot("Reliability", series, ("mean confidence", "share of correct ones"), diagonal=True)


@dataclass(frozen=True)
class Report:
    """Content of a page.

    Attributes:
        title: name of the model and its backbone.
        facts: rows of the summary.
        heads: the task, or the heads of several.
        training: curves of the training.
        recipe: the recipe as YAML.
        environment: versions and device.
        commands: commands that reproduce the results.
    """

    title: str
    facts: list[Fact]
    heads: list[HeadReport]
    training: list[LinePlot]
    recipe: str
    environment: list[tuple[str, str, str]]
    commands: list[str]


def write_report(report: Report, path: Path) -> None:
    """Write the page of a report.

    Args:
        report: its content.
        path: HTML file to write. An earlier report is overwritten, other files are not.

    Raises:
        ConfigError: `path` is another file.
    """
    check_overwritten(path, GENERATOR)
    page = template("report.html").render(
        report=report,
        generator=GENERATOR,
        colors={head.name: css_colors(head.colors) for head in report.heads},
        kind_colors=KIND_COLORS,
        plot={"width": WIDTH, "height": HEIGHT, "intervals": INTERVAL_WIDTH},
        max_legend=MAX_LEGEND,
        max_error_classes=MAX_ERROR_CLASSES,
        max_open_classes=MAX_OPEN_CLASSES,
        number=number,
    )
    write_page(path, page)


def within_budget(images: Sequence[ReportImage], budget: float) -> list[ReportImage]:
    """Return the images, without some of the middle if all of them need more than `budget` bytes."""
    kept = list(images)
    while len(kept) > 1 and sum(image.bytes for image in kept) > budget:
        del kept[len(kept) // 2]
    return kept


def _lowest(values: Mapping[str, float]) -> dict[str, float]:
    """Return the lowest values of the classes, and undefined ones only if there is room for all."""
    if len(values) <= MAX_PLOTTED_CLASSES:
        return dict(values)
    defined = {name: value for name, value in values.items() if not np.isnan(value)}
    return {name: defined[name] for name in sorted(defined, key=defined.__getitem__)[:MAX_PLOTTED_CLASSES]}


def _unit_plot(
    title: str, series: dict[str, Series], labels: tuple[str, str], diagonal: bool = False
) -> LinePlot | None:
    return line_plot(title, series, labels, (0.0, 1.0), (0.0, 1.0), diagonal)


def environment_rows(before: dict[str, Any], now: dict[str, str]) -> list[tuple[str, str, str]]:
    """Return the name of each package with its version in training and now."""
    return [(name, str(before.get(name, "")), now.get(name, "")) for name in dict.fromkeys([*before, *now])]
