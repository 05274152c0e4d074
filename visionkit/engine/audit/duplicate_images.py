"""Copies of an image within and across splits.

They may be exact, encoded again, resized, cropped, mirrored, rotated, or have another brightness and contrast.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import track

from visionkit.data.stats.connected import connect, larger_sets
from visionkit.data.stats.image_descriptors import ORIENTATIONS, describe, describe_windows, orient
from visionkit.data.stats.image_overlap import best_correlation, copy_threshold, keep_details
from visionkit.data.stats.similar_pairs import Pairs, similar_pairs
from visionkit.engine.audit.finding import CheckResult, Finding, Severity, checks
from visionkit.engine.audit.image_groups import describe_differences, kept_split, reference
from visionkit.engine.audit.subject import AuditImage, AuditSubject

CANDIDATE_COSINE = 0.6
"""Cosine of two descriptors from which two images are compared in detail."""

CANDIDATES = 5
"""Images that each image is compared with in detail."""

SURE_COPY = 0.97
"""Correlation from which no better alignment is looked for."""

MOST_WITH_WINDOWS = 20_000
"""Largest number of images whose windows are searched, too: their cost grows with the square of the number."""

FLIPPED = ORIENTATIONS // 2


class Copy(NamedTuple):
    """Two images of which one is a copy of the other."""

    first: int
    second: int
    correlation: float
    orientation: int


@checks.register("duplicate_images")
def duplicate_images(subject: AuditSubject) -> CheckResult:
    """Find exact and near-duplicates within and across splits."""
    images = subject.readable()
    exact = [*_exact_copies(images)]
    near = [*_near_copies(images)]
    of_pair = {(copy.first, copy.second): copy for copy in [*near, *exact]}
    findings = [
        _finding([images[member] for member in members], _how(members, of_pair), subject)
        for members in larger_sets(connect(np.array([*of_pair], np.int64).reshape(-1, 2), len(images)))
    ]
    return CheckResult(f"{len(images)} images compared: {len(exact)} exact and {len(near)} near pairs", findings)


def _exact_copies(images: list[AuditImage]) -> Iterator[Copy]:
    by_digest = defaultdict(list)
    for number, image in enumerate(images):
        by_digest[image.digest].append(number)
    for members in by_digest.values():
        for number in members[1:]:
            yield Copy(members[0], number, 1.0, 0)


def _near_copies(images: list[AuditImage]) -> Iterator[Copy]:
    """Yield the pairs of different images whose details agree."""
    if len(images) < 2:
        return
    thumbnails = np.stack([image.thumbnail for image in images if image.thumbnail is not None])
    pairs, orientations = _candidates(thumbnails)
    details = [keep_details(thumbnail) for thumbnail in thumbnails]
    seen = set()
    rows = zip(pairs.first.tolist(), pairs.second.tolist(), pairs.variant.tolist(), strict=True)
    for first, second, variant in track(
        rows, "comparing images", len(pairs.first), transient=True, console=Console(stderr=True)
    ):
        key = (min(first, second), max(first, second), orientations[variant])
        if key in seen or images[first].digest == images[second].digest:
            continue
        seen.add(key)
        turned = np.ascontiguousarray(orient(details[second], orientations[variant]))
        correlation = best_correlation(details[first], np.asarray(turned, np.float32), SURE_COPY)
        if correlation >= copy_threshold(min(*images[first].size, *images[second].size)):
            yield Copy(key[0], key[1], correlation, orientations[variant])


def _candidates(thumbnails: np.ndarray) -> tuple[Pairs, list[int]]:
    """Return pairs of images with similar descriptors, and the orientation of each variant in them."""
    variants, orientations = [], []
    for orientation in range(ORIENTATIONS):
        turned = orient(thumbnails, orientation)
        variants.append(describe(turned))
        orientations.append(orientation)
        if orientation in (0, FLIPPED) and len(thumbnails) <= MOST_WITH_WINDOWS:
            windows = describe_windows(turned)
            variants += windows
            orientations += [orientation] * len(windows)
    return similar_pairs(variants[0], variants, CANDIDATE_COSINE, CANDIDATES), orientations


def _how(members: list[int], of_pair: dict[tuple[int, int], Copy]) -> str:
    """Return how the images of a group are copies of each other."""
    copies = [of_pair[first, second] for first in members for second in members if (first, second) in of_pair]
    lowest = min(copy.correlation for copy in copies)
    if lowest == 1.0:
        return "the same pixels"
    turned = " mirrored or rotated," if any(copy.orientation for copy in copies) else ""
    return f"near-duplicates:{turned} correlation {lowest:.2f}"


def _finding(images: list[AuditImage], how: str, subject: AuditSubject) -> Finding:
    stays = kept_split(images)
    leaking = [image for image in images if image.split != stays]
    staying = [image for image in images if image.split == stays]
    difference = describe_differences(images, subject)
    if leaking:
        splits = " and ".join(dict.fromkeys(image.split for image in images))
        message = f"{len(images)} images in {splits}, {how}{difference}"
        refs = tuple(map(reference, leaking))
        kept = tuple(map(reference, staying))
        return Finding("duplicate images across splits", "error", message, refs, kept, excluded=refs)
    message = f"{len(images)} images of {stays}, {how}{difference}"
    severity: Severity = "error" if "classes" in difference else "warning"
    kind = "duplicate images with different classes" if severity == "error" else "duplicate images in a split"
    return Finding(kind, severity, message, (reference(images[1]),), tuple(map(reference, [images[0], *images[2:]])))
