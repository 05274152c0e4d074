"""HTML page of an audit: each finding with its images. It needs no network and no other file."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import track

from visionkit.data.datamodule import VisionData
from visionkit.engine.audit.finding import SEVERITIES, Finding, ImageRef
from visionkit.engine.audit.run import AuditReport
from visionkit.errors import DataError
from visionkit.ops.palette import class_color
from visionkit.report.page_file import check_overwritten, css_colors, template, write_page
from visionkit.report.thumbnails import Thumbnail, make_thumbnail
from visionkit.structures import Color, Sample

GENERATOR = "visionkit data audit"
"""Name in the page, by which it is recognized and may be overwritten."""

SHOWN = 20
"""Largest number of findings of a kind that are shown with images. With more, the page would have tens of MB."""

IMAGES = 3
"""Largest number of images of a finding: those with the fault, then those for comparison."""

CONTEXT = 1.5
"""Side of an enlarged part of an image, as a multiple of the objects in it."""

SMALLEST_PART = 48
"""Smallest side of such a part in pixels."""


Names = dict[tuple[str, int], str]
"""Name of each image by its split and index."""


class ShownImage(NamedTuple):
    """An image of a finding.

    Attributes:
        thumbnail: the image, or a part of it.
        split: its split.
        caption: file name, or what the part is.
        marked: the objects that the finding is about: left, top, width and height as shares of the image.
    """

    thumbnail: Thumbnail
    split: str
    caption: str
    marked: list[tuple[float, float, float, float]]


class ShownFinding(NamedTuple):
    """A finding with its images."""

    finding: Finding
    splits: list[str]
    names: list[str]
    images: list[ShownImage]


class KindOfFinding(NamedTuple):
    """All findings of a kind, and how many of them are not shown."""

    name: str
    severity: str
    total: int
    shown: list[ShownFinding]
    more: int


def write_audit_page(report: AuditReport, data: VisionData, path: Path, title: str) -> None:
    """Write the page of an audit.

    Args:
        report: result of the audit.
        data: the dataset.
        path: HTML file to write. An earlier page is overwritten, other files are not.
        title: name of the dataset.

    Raises:
        ConfigError: `path` is a file of another kind.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import visionkit as vk
        >>> from visionkit.engine.audit.run import run_audit
        >>> from visionkit.engine.audit.subject import read_subject
        >>> from visionkit.report.audit_page import write_audit_page
        >>> data = vk.VisionData("shapes", splits={"train": {"count": 4, "size": 64}}, num_workers=0)
        >>> path = Path(tempfile.mkdtemp()) / "audit.html"
        >>> write_audit_page(run_audit(read_subject(data)), data, path, "shapes")
        >>> path.read_text().startswith("<!doctype html>")
        True
    """
    check_overwritten(path, GENERATOR)
    colors = data.class_colors or [class_color(label) for label in range(len(data.class_names))]
    page = template("audit.html").render(
        title=title,
        generator=GENERATOR,
        severities=SEVERITIES,
        counts={severity: report.count(severity) for severity in SEVERITIES},
        made=report.made,
        splits={name: len(dataset) for name, dataset in report.subject.datasets.items()},
        flagged=len(report.flagged_images()),
        images=len(report.subject.images),
        kinds=[*_kinds(report, colors)],
        names=data.class_names,
        colors=css_colors(colors),
    )
    write_page(path, page)


def _kinds(report: AuditReport, colors: list[Color]) -> Iterator[KindOfFinding]:
    kinds, names = report.by_kind, {(image.split, image.index): image.name for image in report.subject.images}
    for name in track(kinds, "page", transient=True, console=Console(stderr=True)):
        findings = kinds[name]
        shown = [_show(finding, report, names, colors) for finding in findings[:SHOWN]]
        yield KindOfFinding(name, findings[0].severity, len(findings), shown, len(findings) - len(shown))


def _show(finding: Finding, report: AuditReport, names: Names, colors: list[Color]) -> ShownFinding:
    refs = [*finding.images, *finding.related]
    if finding.images and finding.related:  # at least one for comparison
        refs = [*finding.images[: IMAGES - 1], *finding.related, *finding.images[IMAGES - 1 :]]
    images = [image for ref in refs[:IMAGES] for image in _shown_images(ref, report, names, colors)]
    splits = [*dict.fromkeys(ref.split for ref in refs)]
    return ShownFinding(finding, splits, [names[ref.split, ref.index] for ref in refs], images)


def _shown_images(ref: ImageRef, report: AuditReport, names: Names, colors: list[Color]) -> Iterator[ShownImage]:
    """Yield the image of a reference, and the part with its objects; nothing if it cannot be read."""
    try:
        sample = report.subject.datasets[ref.split][ref.index]
    except DataError:
        return
    name = names[ref.split, ref.index]
    yield ShownImage(make_thumbnail(sample, colors), ref.split, name, _marks(sample, ref.objects))
    if ref.objects:
        part = _part(sample, ref.objects)
        yield ShownImage(make_thumbnail(part, colors), ref.split, "enlarged", _marks(part, range(len(ref.objects))))


def _marks(sample: Sample, objects: Sequence[int]) -> list[tuple[float, float, float, float]]:
    """Return the boxes of objects as shares of the image: left, top, width and height."""
    height, width = sample.size
    boxes = sample.annotation.boxes[list(objects)] / np.array([width, height, width, height], np.float32)
    return [(float(x1), float(y1), float(x2 - x1), float(y2 - y1)) for x1, y1, x2, y2 in boxes]


def _part(sample: Sample, objects: Sequence[int]) -> Sample:
    """Return the part of an image around objects, with only these objects."""
    chosen = sample.annotation.boxes[list(objects)]
    corners = np.concatenate([chosen[:, :2].min(axis=0), chosen[:, 2:].max(axis=0)])
    side = max(CONTEXT * float((corners[2:] - corners[:2]).max()), SMALLEST_PART)
    middle = (corners[:2] + corners[2:]) / 2
    left, top = np.maximum(middle - side / 2, 0).astype(int).tolist()
    right, bottom = np.minimum(np.ceil(middle + side / 2), sample.size[::-1]).astype(int).tolist()
    offset = np.array([left, top, left, top], np.float32)
    limit = np.array([right - left, bottom - top] * 2, np.float32)
    boxes = np.clip(chosen - offset, 0, limit)
    annotation = dataclasses.replace(sample.annotation.select(objects), boxes=boxes, masks=None)
    image = np.ascontiguousarray(sample.image[top:bottom, left:right])
    return dataclasses.replace(sample, image=image, annotation=annotation, semantic=None)
