"""Time of predictions."""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

WARM_UP = 1
"""Number of first batches that are left out, in which memory is allocated and kernels are chosen."""


class Latency:
    """Time per image from decoded images to scored predictions, without loading.

    Predictions are scored on the CPU, so the time includes the end of the work of a GPU.

    Example:
        >>> from visionkit.tasks.latency import Latency
        >>> latency = Latency()
        >>> for _ in range(3):
        ...     with latency.measure(images=2):
        ...         pass
        >>> latency.to_dict()["images"]
        4
    """

    def __init__(self) -> None:
        self._batches: list[tuple[int, float]] = []

    @contextmanager
    def measure(self, images: int) -> Iterator[None]:
        """Measure the time of a batch."""
        start = time.perf_counter()
        yield
        self._batches.append((images, time.perf_counter() - start))

    def to_dict(self) -> dict[str, Any]:
        """Return the median milliseconds per image over the batches, and the number of images they had."""
        batches = self._batches[WARM_UP:] or self._batches
        per_image = [1000 * seconds / images for images, seconds in batches]
        median = round(statistics.median(per_image), 3) if per_image else None
        return {"median_ms_per_image": median, "images": sum(images for images, _ in batches)}
