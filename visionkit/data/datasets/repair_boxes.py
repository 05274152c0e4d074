"""Clipping and dropping of invalid boxes, the same for every format."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from visionkit.errors import DataError

logger = logging.getLogger("visionkit")

BadBoxPolicy = Literal["drop", "raise"]
"""What to do with boxes without area: drop and count them, or raise DataError."""

Names = Sequence[str] | NDArray[np.str_]

ROUNDING_TOLERANCE = 2.0
"""Pixels by which a box may exceed the image because of rounding; boxes that exceed it by more cause a warning."""
LARGEST_COORDINATE = 1e18
"""Coordinates from here on count as infinite; the area of a smaller box is finite in float32."""

MIN_SIDE = 0.5
"""Minimum width and height of a box in pixels; a smaller box counts as one without area."""


class Repair(NamedTuple):
    """A box that was clipped or dropped.

    Attributes:
        image: name of its image in messages.
        box: xyxy in pixels, as in the annotation.
        reason: what was done, as in the reports of datasets.
    """

    image: str
    box: tuple[float, ...]
    reason: str


_recorded: ContextVar[list[Repair] | None] = ContextVar("repairs", default=None)


@contextmanager
def record_repairs() -> Iterator[list[Repair]]:
    """Collect the repairs of the datasets that are opened inside the `with` statement, except clipped rounding errors.

    Example:
        >>> import numpy as np
        >>> from visionkit.data.datasets.repair_boxes import record_repairs, repair_boxes
        >>> with record_repairs() as repairs:
        ...     _ = repair_boxes(np.float32([[9, 9, 2, 4]]), np.array([[48, 64]]), ["a.jpg"], "drop", {})
        >>> repairs[0].reason
        'boxes without area dropped'
    """
    repairs: list[Repair] = []
    token = _recorded.set(repairs)
    try:
        yield repairs
    finally:
        _recorded.reset(token)


def repair_boxes(
    boxes: NDArray[np.float32],
    sizes: NDArray[np.int64],
    names: Names,
    policy: BadBoxPolicy,
    report: dict[str, int],
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Clip boxes to their images, and return which boxes to keep.

    Args:
        boxes: float32 [N, 4], xyxy in pixels.
        sizes: [N, 2], (height, width) of each box's image.
        names: name of the image of each box, for messages.
        policy: what to do with boxes without area inside the image: drop and count them, or raise.
        report: counts by reason, which are added to.

    Returns:
        The clipped boxes, float32 [N, 4], and which boxes to keep, bool [N].

    Raises:
        DataError: a coordinate is NaN or infinite; or a box has no area inside the image and the policy is raise.
    """
    _raise_for(_any(~np.isfinite(boxes)), boxes, names, "has NaN or infinite coordinates")
    bounds = np.tile(sizes[:, ::-1], 2).astype(np.float32)
    empty = _any((boxes[:, 2:] - boxes[:, :2]) < MIN_SIDE)
    overshoot = np.maximum(np.maximum(-boxes, boxes - bounds), 0).max(axis=1, initial=0)
    clipped = np.clip(boxes, 0, bounds)
    outside = ~empty & _any((clipped[:, 2:] - clipped[:, :2]) < MIN_SIDE)
    bad = empty | outside
    if policy == "raise":
        _raise_for(bad, boxes, names, "has no area inside its image")
    rounding = ~bad & (overshoot > 0) & (overshoot <= ROUNDING_TOLERANCE)
    large = ~bad & (overshoot > ROUNDING_TOLERANCE)
    counts = {
        "boxes without area dropped": empty,
        "boxes outside their image dropped": outside,
        "boxes clipped by up to 2 px": rounding,
        "boxes clipped by more than 2 px": large,
    }
    for reason, which in counts.items():
        if which.any():
            report[reason] = report.get(reason, 0) + int(which.sum())
        if which is not rounding:
            _record(which, boxes, names, reason)
    _warn_of_large_overshoot(large | outside, boxes, names)
    return clipped, ~bad


def _record(which: NDArray[np.bool_], boxes: NDArray[np.float32], names: Names, reason: str) -> None:
    recorded = _recorded.get()
    if recorded is not None:
        recorded += [Repair(str(names[i]), tuple(boxes[i].tolist()), reason) for i in np.flatnonzero(which).tolist()]


def _any(flags: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return whether any flag of a row is set, [N, C] to [N]."""
    return np.asarray(flags.any(axis=1))


def _raise_for(which: NDArray[np.bool_], boxes: NDArray[np.float32], names: Names, problem: str) -> None:
    if which.any():
        index = int(which.argmax())
        more = f" ({int(which.sum())} such boxes)" if which.sum() > 1 else ""
        raise DataError(f"image {names[index]}: box {boxes[index].tolist()} {problem}{more}")


def _warn_of_large_overshoot(which: NDArray[np.bool_], boxes: NDArray[np.float32], names: Names) -> None:
    if which.any():
        index = int(which.argmax())
        share = 100 * which.mean()
        logger.warning(
            "%d boxes (%.1f %%) end more than %g px outside their image, first %s %s: is the box format right "
            "(two corners, or corner and size)?",
            which.sum(), share, ROUNDING_TOLERANCE, names[index], boxes[index].tolist(),
        )  # fmt: skip
