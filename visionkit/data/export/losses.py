"""What a format cannot hold of a dataset."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

import numpy as np

from visionkit.data.datasets.base import VisionDataset
from visionkit.data.export.base import DatasetWriter, Feature
from visionkit.data.export.outlines import is_box, mask_box, outline
from visionkit.data.export.plan import SplitPlan
from visionkit.structures import Annotation

DESCRIPTIONS: Mapping[Feature, str] = {
    "objects": "objects (boxes and masks of objects) are not written",
    "masks": "masks of objects are not written, only their boxes",
    "holes": "masks have holes, which are filled",
    "parts": "masks have several parts, which are joined by lines into one polygon",
    "boxes beside masks": "boxes are not those around their masks (by more than 0.01 px), and become them",
    "thin boxes": "boxes have a width or height of at most 1 px; some readers drop them",
    "crowd": "crowd regions are not written",
    "difficult": "objects are marked as difficult, and become ordinary objects",
    "category ids": "classes have ids of their own, and are numbered anew",
    "image ids": "images have ids of their own, and are named by their files",
    "image classes": "images have a class of the whole image, which is not written",
    "semantic": "images have a semantic mask, which is not written",
}
"""What becomes of each, after a count."""

BOX_TOLERANCE = 0.01
"""Pixels by which a box may differ from the one around its mask to count as the same."""


def count_losses(plans: Iterable[SplitPlan], writer: type[DatasetWriter]) -> Counter[Feature]:
    """Return what a format cannot hold of the images of several splits, without decoding the images."""
    counts, plans = Counter[Feature](), list(plans)
    for plan in plans:
        for index in range(len(plan.dataset)):
            counts["image ids"] += _is_id_lost(plan, index, writer)
            counts.update(_features_of_image(plan.dataset, index, writer))
    own_ids = plans[0].dataset.category_ids if "category ids" not in writer.holds else []
    counts["category ids"] = sum(own != index for index, own in enumerate(own_ids, start=writer.first_id))
    return Counter({feature: counts[feature] for feature in DESCRIPTIONS if counts[feature]})


def _is_id_lost(plan: SplitPlan, index: int, writer: type[DatasetWriter]) -> bool:
    """Return whether the id of an image is neither its number in the result nor the name of its file."""
    own, name = plan.dataset.image_id(index), plan.names[index]
    is_number = "image ids" in writer.holds and own == plan.numbers[index]
    return not is_number and PurePosixPath(str(own)).name not in (name, PurePosixPath(name).stem)


def _features_of_image(dataset: VisionDataset, index: int, writer: type[DatasetWriter]) -> Counter[Feature]:
    """Return what an image has and the format does not hold."""
    found = dataset.annotation(index)
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    counts: Counter[Feature] = Counter(
        {
            "image classes": int(dataset.label(index) is not None),
            "semantic": int(dataset.has_semantic(index)),
            "objects": len(found),
            "thin boxes": int((sides <= 1).any(axis=1).sum()),
            "crowd": int(found.crowd.sum()),
            "difficult": int(found.difficult.sum()),
        }
    )
    if "objects" not in writer.holds:
        return Counter({feature: counts[feature] for feature in counts if feature in ("image classes", "objects")})
    for row in range(len(found)):
        if "crowd" in writer.holds or not found.crowd[row]:
            counts.update(_features_of_mask(found, row, writer))
    return Counter({feature: count for feature, count in counts.items() if feature not in writer.holds})


def _features_of_mask(found: Annotation, row: int, writer: type[DatasetWriter]) -> Counter[Feature]:
    if found.masks is None or is_box(found.masks[row], found.boxes[row]):
        return Counter()
    mask, counts = found.masks[row], Counter[Feature]({"masks": 1})
    if "masks" not in writer.holds:
        return counts
    if not {"holes", "parts"} <= writer.holds:
        parts, holes = outline(mask)
        counts.update({"holes": int(bool(holes)), "parts": int(len(parts) > 1)})
    counts["boxes beside masks"] = int(np.abs(mask_box(mask) - found.boxes[row]).max() > BOX_TOLERANCE)
    return counts
