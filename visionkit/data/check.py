"""What is in a data set and what is wrong with it, before a night of training."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from rich.progress import track

from visionkit.data.sample import VisionDataset
from visionkit.errors import DataError

MOST_NAMED = 10


@dataclass
class DataReport:
    """Figures of one split.

    Attributes:
        pictures: number of pictures.
        empty: how many of them have no object.
        objects: number of objects by class name.
        sides: square root of the box area in pixels at the 5, 25, 50, 75 and 95 % quantile; empty without objects.
        repaired: what the reader repaired or dropped, by reason.
        problems: pictures that cannot be used, a sentence each.
    """

    pictures: int
    empty: int
    objects: dict[str, int]
    sides: list[float]
    repaired: dict[str, int]
    problems: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The report in words, a line each."""
        return list(self._sentences())

    def _sentences(self) -> Iterator[str]:
        yield f"{self.pictures} pictures, {self.empty} of them without objects"
        counts = ", ".join(f"{name} {count}" for name, count in self.objects.items())
        yield f"{sum(self.objects.values())} objects: {counts}"
        absent = [name for name, count in self.objects.items() if not count]
        if absent:
            yield f"classes without a single object: {', '.join(absent)}"
        if self.sides:
            quantiles = ", ".join(f"{side:.0f}" for side in self.sides)
            yield f"side of the boxes at the 5, 25, 50, 75, 95 % quantile: {quantiles} px"
        for reason, count in self.repaired.items():
            yield f"{reason}: {count}"
        for problem in self.problems[:MOST_NAMED]:
            yield f"PROBLEM {problem}"
        if len(self.problems) > MOST_NAMED:
            yield f"PROBLEM ... and {len(self.problems) - MOST_NAMED} more pictures"


def check(dataset: VisionDataset) -> DataReport:
    """Read every picture of a split and count what is in it."""
    problems: list[str] = []
    for index in track(range(len(dataset)), description="check"):
        try:
            dataset[index]
        except DataError as error:
            problems.append(str(error).splitlines()[0])
    annotations = [dataset.annotation(index) for index in range(len(dataset))]
    counts = sum(
        (np.bincount(found.labels, minlength=len(dataset.class_names)) for found in annotations),
        start=np.zeros(len(dataset.class_names), np.int64),
    )
    boxes = np.concatenate([found.boxes for found in annotations]) if annotations else np.zeros((0, 4))
    sides = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
    return DataReport(
        pictures=len(dataset),
        empty=sum(not len(found) for found in annotations),
        objects={name: int(count) for name, count in zip(dataset.class_names, counts, strict=True)},
        sides=np.quantile(sides, [0.05, 0.25, 0.5, 0.75, 0.95]).tolist() if len(sides) else [],
        repaired=dict(dataset.report),
        problems=problems,
    )
