"""Groups of images that were found to be copies of one another, or to belong to one scene."""

from collections.abc import Iterable

from visionkit.engine.audit.finding import ImageRef
from visionkit.engine.audit.subject import AuditImage, AuditSubject

KEPT_FIRST = ("test", "val", "train")
"""Splits in the order in which a copy is kept: the evaluated images stay as they are, so that metrics do not change."""


def reference(image: AuditImage, objects: Iterable[int] = ()) -> ImageRef:
    """Return the reference to an image and some of its objects."""
    return ImageRef(image.split, image.index, tuple(objects))


def kept_split(images: Iterable[AuditImage]) -> str:
    """Return the split whose copies stay: the one that is evaluated."""
    splits = {image.split for image in images}
    return next(split for split in KEPT_FIRST if split in splits)


def describe_differences(images: list[AuditImage], subject: AuditSubject) -> str:
    """Return how the annotations of copies of one image differ, as the end of a message; empty if they do not."""
    labels = [classes_of(image) for image in images]
    if len({*labels}) > 1:
        names = [", ".join(subject.class_names[label] for label in found) or "no class" for found in labels]
        return f"; their classes differ: {' / '.join([*dict.fromkeys(names)][:3])}"
    counts = [len(image.annotation) for image in images]
    if len({*counts}) > 1:
        return f"; their numbers of objects differ: {', '.join(map(str, counts[:4]))}"
    return ""


def classes_of(image: AuditImage) -> tuple[int, ...]:
    """Return the classes of an image without objects: its label, else its tags; empty if it has objects."""
    if len(image.annotation):
        return ()
    if image.label is not None:
        return (image.label,)
    return () if image.tags is None else tuple(image.tags.tolist())
