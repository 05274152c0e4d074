"""What happens to boxes that cannot be right, the same for every format: repaired or dropped, and counted."""

import logging
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from visionkit.errors import DataError

logger = logging.getLogger("visionkit")

BadBoxes = Literal["drop", "raise"]

ROUNDING = 2.0
"""Pixels beyond the border that are taken for rounding; more is reported loudly."""
SMALLEST_SIDE = 0.5
"""Pixels: a box that is thinner encloses nothing."""


def repair_boxes(
    boxes: NDArray[np.float32],
    sizes: NDArray[np.int64],
    names: list[str] | NDArray[np.str_],
    policy: BadBoxes,
    report: dict[str, int],
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Clip boxes to their images and say which can be kept.

    Args:
        boxes: float32 [N, 4], xyxy in pixels.
        sizes: [N, 2], (height, width) of each box's image.
        names: the image's name for each box, for messages.
        policy: what to do with boxes that enclose nothing: drop (and count) or raise.
        report: counts by reason, added to.

    Returns:
        The clipped boxes [N, 4] and which to keep, bool [N].

    Raises:
        DataError: a coordinate is NaN or infinite; or a box encloses nothing and the policy is raise.
    """
    _refuse(_any(~np.isfinite(boxes)), boxes, names, "has NaN or infinite coordinates")
    bounds = np.tile(sizes[:, ::-1], 2).astype(np.float32)
    empty = _any((boxes[:, 2:] - boxes[:, :2]) < SMALLEST_SIDE)
    overshoot = np.maximum(np.maximum(-boxes, boxes - bounds), 0).max(axis=1, initial=0)
    clipped = np.clip(boxes, 0, bounds)
    outside = ~empty & _any((clipped[:, 2:] - clipped[:, :2]) < SMALLEST_SIDE)
    bad = empty | outside
    if policy == "raise":
        _refuse(bad, boxes, names, "encloses no pixel of its image")
    slight, gross = ~bad & (overshoot > 0) & (overshoot <= ROUNDING), ~bad & (overshoot > ROUNDING)
    counts = {
        "boxes without area dropped": empty,
        "boxes outside their image dropped": outside,
        "boxes clipped by up to 2 px": slight,
        "boxes clipped by more than 2 px": gross,
    }
    for reason, which in counts.items():
        if which.any():
            report[reason] = report.get(reason, 0) + int(which.sum())
    _warn_of_gross(gross | outside, boxes, names)
    return clipped, ~bad


def _any(flags: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether any flag of a row is set, [N] of [N, C]."""
    return np.asarray(flags.any(axis=1))


def _refuse(which: NDArray[np.bool_], boxes: NDArray[np.float32], names: object, problem: str) -> None:
    if which.any():
        index = int(which.argmax())
        more = f" ({int(which.sum())} such boxes)" if which.sum() > 1 else ""
        raise DataError(f"image {names[index]}: box {boxes[index].tolist()} {problem}{more}")  # type: ignore[index]


def _warn_of_gross(which: NDArray[np.bool_], boxes: NDArray[np.float32], names: object) -> None:
    if which.any():
        index = int(which.argmax())
        share = 100 * which.mean()
        logger.warning(
            "%d boxes (%.1f %%) reach more than %g px out of their image, first %s %s: is the box format right "
            "(corners or corner and size)?",
            which.sum(), share, ROUNDING, names[index], boxes[index].tolist(),  # type: ignore[index]
        )  # fmt: skip
