"""Images of a report with ground truth and predictions: boxes with their errors, masks, or classes."""

import itertools
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visionkit.metrics.detection_errors import ERROR_KINDS, IGNORED, NO_ERROR
from visionkit.metrics.scored_detections import ScoredDetections
from visionkit.metrics.scored_images import ScoredImages
from visionkit.metrics.scored_labels import ScoredLabels
from visionkit.ops.ignore import IGNORE
from visionkit.report.thumbnails import Layer, evenly_spaced, mask_layers, shrink
from visionkit.structures import Color, Sample

CORRECT, OBJECT, MISSED, IGNORED_KIND, WRONG = "correct", "object", "missed", "ignored", "wrong"
ERROR_COLOR: Color = (220, 38, 38)
MOST_CLASSES = 3
"""Number of the most probable classes that are listed under an image."""

MARK_BYTES = 300
"""Number of characters in the page of a box with its name, about."""


class Mark(NamedTuple):
    """A box on an image, in pixels of the thumbnail.

    Attributes:
        kind: kind of error, "correct", "ignored", or for ground truth "object" or "missed".
        is_truth: whether it is an object, and not a prediction.
        label: class index.
        x, y, width, height: the box.
        name: text that is drawn: the class, and the score of a prediction.
    """

    kind: str
    is_truth: bool
    label: int
    x: float
    y: float
    width: float
    height: float
    name: str

    @property
    def text(self) -> str:
        """Description: name and kind."""
        return f"{self.name}, {self.kind}"


@dataclass
class ReportImage:
    """An image with its predictions.

    Attributes:
        name: file name.
        score: how good the predictions are, 0..1; NaN if there is nothing to find.
        view: (height, width) of the thumbnail in pixels.
        uri: the thumbnail as a data URI.
        marks: boxes.
        layers: masks by name: "prediction", "truth" and "errors".
        lines: text under the image, each with whether it is right.
        kinds: kinds of errors that the image has, for the filter.
        classes: indices of its classes, for the filter.
    """

    name: str
    score: float
    view: tuple[int, int]
    uri: str
    marks: list[Mark] = field(default_factory=list)
    layers: dict[str, list[Layer]] = field(default_factory=dict)
    lines: list[tuple[str, bool]] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)
    classes: set[int] = field(default_factory=set)

    @property
    def bytes(self) -> int:
        """Number of characters in the page, about."""
        layers = itertools.chain.from_iterable(self.layers.values())
        return len(self.uri) + MARK_BYTES * len(self.marks) + sum(len(layer.uri) for layer in layers)


def choose_images(scored: ScoredImages, count: int) -> list[int]:
    """Return the rows of the images that are shown, the worst first.

    A third are the worst, a third the best, and the others are evenly spaced between them. Images without a score are
    not shown if there are others.
    """
    scores = scored.image_scores
    order = np.argsort(scores, kind="stable")
    order = order[~np.isnan(scores[order])] if not np.isnan(scores).all() else order
    if len(order) <= count:
        return order.tolist()
    ends = count // 3
    middle = order[ends : len(order) - ends]
    between = middle[evenly_spaced(len(middle), count - 2 * ends)]
    return [*order[:ends].tolist(), *between.tolist(), *order[len(order) - ends :].tolist()]


def detection_image(scored: ScoredDetections, row: int, sample: Sample) -> ReportImage:
    """Return an image with its objects and the predictions at the score thresholds."""
    image = _image(scored, row, sample)
    factor = image.view[1] / sample.size[1]
    predicted, true, errors = scored.drawn_columns.predicted, scored.columns.true, scored.drawn_errors
    for index in _rows(true.images, row):
        kind = MISSED if errors.undetected[index] else IGNORED_KIND if true.ignored[index] else OBJECT
        label = int(true.labels[index])
        image.marks.append(_mark(kind, True, label, true.boxes[index] * factor, scored.class_names[label]))
    for index in _rows(predicted.images, row):
        kind = _kind_name(int(errors.kinds[index]))
        label = int(predicted.labels[index])
        name = f"{scored.class_names[label]} {predicted.scores[index]:.2f}"
        image.marks.append(_mark(kind, False, label, predicted.boxes[index] * factor, name))
    image.kinds = {mark.kind for mark in image.marks} - {OBJECT}
    image.classes = {mark.label for mark in image.marks}
    return image


def mask_image(
    scored: ScoredImages, row: int, sample: Sample, labels: NDArray[np.uint8], colors: list[Color]
) -> ReportImage:
    """Return an image with its true and predicted mask, and their difference.

    Args:
        scored: the scored images.
        row: index of the image.
        sample: the image with its mask.
        labels: predicted class of each pixel, [H, W].
        colors: color of each class.
    """
    image, truth = _image(scored, row, sample), sample.semantic
    assert truth is not None
    wrong = np.where((truth != IGNORE) & (labels != truth), 0, IGNORE).astype(np.uint8)
    image.layers = {
        "prediction": mask_layers(labels, image.view, colors)[0],
        "truth": mask_layers(truth, image.view, colors)[0],
        "errors": mask_layers(wrong, image.view, [ERROR_COLOR])[0],
    }
    image.classes = {int(label) for label in np.unique(truth) if label != IGNORE}
    image.kinds = {WRONG if (wrong == 0).any() else CORRECT}
    return image


def label_image(scored: ScoredLabels, row: int, sample: Sample) -> ReportImage:
    """Return an image with its classes and the most probable ones."""
    image = _image(scored, row, sample)
    truth = {label for label in range(len(scored.class_names)) if scored.is_class(label)[row]}
    probabilities = scored.probabilities[row]
    best = np.argsort(-probabilities)[:MOST_CLASSES].tolist()
    image.lines = [(f"{scored.class_names[label]} {probabilities[label]:.2f}", label in truth) for label in best]
    image.lines.append(("truth: " + (", ".join(scored.class_names[label] for label in sorted(truth)) or "none"), True))
    image.kinds = {CORRECT if image.score == 1 else WRONG}
    image.classes = truth
    return image


def _image(scored: ScoredImages, row: int, sample: Sample) -> ReportImage:
    view, uri = shrink(sample.image)
    name = sample.file_name or str(scored.image_ids[row])
    return ReportImage(name, float(scored.image_scores[row]), view, uri)


def _rows(images: NDArray[np.int64], row: int) -> list[int]:
    return list(range(*np.searchsorted(images, [row, row + 1]).tolist()))


def _mark(kind: str, is_truth: bool, label: int, box: NDArray[np.float64], name: str) -> Mark:
    left, top, right, bottom = (round(value, 1) for value in box.tolist())
    return Mark(kind, is_truth, label, left, top, round(right - left, 1), round(bottom - top, 1), name)


def _kind_name(kind: int) -> str:
    return {NO_ERROR: CORRECT, IGNORED: IGNORED_KIND}.get(kind) or ERROR_KINDS[kind]
