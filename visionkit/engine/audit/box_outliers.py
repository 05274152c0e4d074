"""Boxes of a few pixels, and boxes whose size or shape is unusual for their class."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visionkit.data.stats.robust_outliers import robust_scores
from visionkit.engine.audit.box_masks import overlap_with_masks
from visionkit.engine.audit.finding import CheckResult, Finding, checks
from visionkit.engine.audit.image_groups import reference
from visionkit.engine.audit.subject import AuditImage, AuditSubject

TINY_SIDE = 6.0
"""Longer side in pixels below which a box is too small to recognize an object in it."""

TINY_SHARE = 0.5
"""Longer side, as a share of the 1 % quantile of all boxes, below which a box is too small for the dataset."""

UNUSUAL = 5.0
"""Robust standard deviations of the logarithms of area and aspect ratio from which a box is unusual. The tails of real
classes are longer than those of a normal distribution: 3 would report 5 % of the images of VOC and BCCD."""

SMALLEST_SPREAD = 0.3
"""Smallest standard deviation of these logarithms: annotators place corners with errors of some percent."""


class Boxes(NamedTuple):
    """All boxes of a dataset, crowds left out.

    Attributes:
        owners: the image of each box.
        objects: int64 [N], index of the box in its image.
        labels: int64 [N].
        sides: float32 [N, 2], width and height in pixels.
        shares: float64 [N], area as a share of the image.
        is_confirmed: bool [N], whether the box fits the mask of its object, so that its size is no fault.
    """

    owners: list[AuditImage]
    objects: NDArray[np.int64]
    labels: NDArray[np.int64]
    sides: NDArray[np.float32]
    shares: NDArray[np.float64]
    is_confirmed: NDArray[np.bool_]


@checks.register("box_outliers")
def box_outliers(subject: AuditSubject) -> CheckResult | None:
    """Find tiny boxes, and boxes much larger, smaller, wider or narrower than others of their class.

    Boxes that fit the mask of their object are unusual objects rather than faults.
    """
    if not subject.has_objects:
        return None
    boxes = gather_boxes(subject.readable())
    smallest = max(TINY_SIDE, TINY_SHARE * float(np.quantile(boxes.sides.max(axis=1), 0.01)))
    is_tiny = boxes.sides.max(axis=1) < smallest
    size = robust_scores(np.log(boxes.shares), boxes.labels, SMALLEST_SPREAD)
    shape = robust_scores(np.log(boxes.sides[:, 0] / boxes.sides[:, 1]), boxes.labels, SMALLEST_SPREAD)
    is_open = ~is_tiny & ~boxes.is_confirmed
    kinds = {
        "tiny boxes": is_tiny,
        "unusually large boxes": is_open & (size > UNUSUAL),
        "unusually small boxes": is_open & (size < -UNUSUAL),
        "boxes of unusual shape": is_open & (np.abs(size) <= UNUSUAL) & (np.abs(shape) > UNUSUAL),
    }
    scores = {"boxes of unusual shape": shape}
    findings = [
        _finding(kind, boxes, number, scores.get(kind, size)[number], subject.class_names)
        for kind, which in kinds.items()
        for number in np.flatnonzero(which).tolist()
    ]
    at_border = np.mean(
        [_touches_border(image, index) for image, index in zip(boxes.owners, boxes.objects, strict=True)]
    )
    measured = f"{len(boxes.labels)} boxes; tiny below {smallest:.1f} px; {100 * at_border:.0f} % touch the border"
    return CheckResult(measured, findings)


def gather_boxes(images: list[AuditImage]) -> Boxes:
    """Return the boxes of images that can be read, crowds left out."""
    owners: list[AuditImage] = []
    objects, labels = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    sides, shares, confirmed = [np.zeros((0, 2), np.float32)], [np.zeros(0)], [np.zeros(0, bool)]
    for image in images:
        kept = np.flatnonzero(~image.annotation.crowd)
        corners = image.annotation.boxes[kept]
        owners += [image] * len(kept)
        objects.append(kept)
        labels.append(image.annotation.labels[kept])
        sides.append(corners[:, 2:] - corners[:, :2])
        confirmed.append(overlap_with_masks(image.annotation)[1][kept])
        shares.append(sides[-1].prod(axis=1) / (image.size[0] * image.size[1]))
    return Boxes(owners, *(np.concatenate(parts) for parts in (objects, labels, sides, shares, confirmed)))


def _finding(kind: str, boxes: Boxes, number: int, score: float, names: list[str]) -> Finding:
    image, (width, height) = boxes.owners[number], boxes.sides[number].tolist()
    text = f"{names[boxes.labels[number]]} of {width:.0f} x {height:.0f} px in {image.size[1]} x {image.size[0]}"
    distance = f", {abs(score):.1f} robust standard deviations from its class" if kind != "tiny boxes" else ""
    return Finding(kind, "warning", text + distance, (reference(image, (int(boxes.objects[number]),)),))


def _touches_border(image: AuditImage, index: int) -> bool:
    left, top, right, bottom = image.annotation.boxes[index].tolist()
    return left <= 0 or top <= 0 or right >= image.size[1] or bottom >= image.size[0]
