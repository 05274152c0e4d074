"""Splits whose images, objects or classes differ more than by chance: validation then measures another task."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from visionkit.engine.audit.class_balance import count_classes
from visionkit.engine.audit.finding import CheckResult, Finding, checks
from visionkit.engine.audit.subject import AuditImage, AuditSubject

LARGE_DISTANCE = 0.2
"""Distance of two distributions from which they differ by much, from 0 to 1."""

CHANCE = 0.001
"""Probability of at least this distance in a random split, below which it is not by chance."""

PERMUTATIONS = 2000

Values = Callable[[AuditImage], list[float]]

MEASURES: dict[str, Values] = {
    "image size": lambda image: [float(np.sqrt(image.size[0] * image.size[1]))],
    "aspect ratio of the images": lambda image: [image.size[1] / image.size[0]],
    "brightness": lambda image: [] if image.thumbnail is None else [float(image.thumbnail.mean())],
    "contrast": lambda image: [] if image.thumbnail is None else [float(image.thumbnail.std())],
    "objects per image": lambda image: [float(len(image.annotation))],
    "size of the objects": lambda image: [float(np.sqrt(area)) for area in image.annotation.area],
}
"""Values of an image by what they measure."""


@checks.register("split_shift")
def split_shift(subject: AuditSubject) -> CheckResult:
    """Compare the other splits with the training split."""
    first, *others = sorted(subject.datasets, key=lambda split: split != "train")
    if not others:
        return CheckResult("only one split", was_made=False)
    images = {split: [image for image in subject.of_split(split) if not image.problem] for split in (first, *others)}
    findings = [
        finding
        for split in others
        for finding in [
            *(_compare_values(what, values, first, split, images) for what, values in MEASURES.items()),
            _compare_classes(first, split, images, len(subject.class_names)),
        ]
        if finding is not None
    ]
    return CheckResult(f"{len(MEASURES) + 1} distributions of {', '.join(others)} compared with {first}", findings)


def _compare_values(
    what: str, values: Values, first: str, split: str, images: dict[str, list[AuditImage]]
) -> Finding | None:
    """Compare with the statistic of Kolmogorov and Smirnov; objects of one image are permuted together."""
    of_image = {name: [values(image) for image in images[name]] for name in (first, split)}
    joined = of_image[first] + of_image[split]
    flat = np.array([value for row in joined for value in row])
    owner = np.repeat(np.arange(len(joined)), [len(row) for row in joined])
    if len(flat) < 2 or not np.ptp(flat):
        return None
    order = np.argsort(flat, kind="stable")
    last_of_value = np.append(np.diff(flat[order]) > 0, True)

    def distance(is_first: NDArray[np.bool_]) -> float:
        inside = is_first[owner[order]]
        if inside.all() or not inside.any():
            return 0.0
        difference = np.cumsum(inside) / inside.sum() - np.cumsum(~inside) / (~inside).sum()
        return float(np.abs(difference[last_of_value]).max())

    return _finding(what, distance, len(of_image[first]), len(joined), first, split)


def _compare_classes(first: str, split: str, images: dict[str, list[AuditImage]], classes: int) -> Finding | None:
    """Compare the shares of the classes with the total variation distance."""
    joined = images[first] + images[split]
    counts = np.stack([count_classes([image], classes) for image in joined]) if joined else np.zeros((0, classes))

    def distance(is_first: NDArray[np.bool_]) -> float:
        inside, outside = counts[is_first].sum(axis=0), counts[~is_first].sum(axis=0)
        if not inside.sum() or not outside.sum():
            return 0.0
        return float(np.abs(inside / inside.sum() - outside / outside.sum()).sum() / 2)

    return _finding("shares of the classes", distance, len(images[first]), len(joined), first, split)


def _finding(
    what: str, distance: Callable[[NDArray[np.bool_]], float], of_first: int, count: int, first: str, split: str
) -> Finding | None:
    """Return a finding if the distance is large, and larger than in nearly all random splits."""
    is_first = np.arange(count) < of_first
    measured = distance(is_first)
    if measured < LARGE_DISTANCE:
        return None
    random = np.random.default_rng(0)
    larger = 0
    for number in range(1, PERMUTATIONS + 1):
        larger += distance(random.permutation(is_first)) >= measured
        if larger > CHANCE * PERMUTATIONS:
            return None
        if number * len(is_first) > 20_000_000:  # enough for large datasets, where chance makes no large distance
            break
    text = f"{what}: {split} differs from {first} by {measured:.2f} (0 the same, 1 disjoint), and not by chance"
    return Finding("split shift", "warning", text)
