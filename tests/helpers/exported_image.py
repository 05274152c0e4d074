"""One image with an object, as a writer gets it, and what a writer makes of it."""

import numpy as np

from visionkit.data.export.base import ExportClasses, ExportImage, writers
from visionkit.structures import Annotation

SIZE = (48, 64)


def exported(boxes, labels=None, split="train", **options):
    """Return an image with boxes, xyxy, and further fields of its annotation."""
    fields = {name: options.pop(name) for name in ("masks", "crowd", "difficult") if name in options}
    count = len(boxes)
    annotation = Annotation(
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        labels=np.array(labels or [0] * count, np.int64),
        crowd=np.array(fields.get("crowd", [False] * count), bool),
        difficult=np.array(fields.get("difficult", [False] * count), bool),
        area=np.full(count, 7, np.float32),
        masks=fields.get("masks"),
    )
    return ExportImage(split, **{"number": 1, "name": "a.jpg", **options}, size=SIZE, annotation=annotation)


def write_images(name, folder, *images, names=("cat", "dog"), ids=(5, 9), with_scores=False):
    """Write the annotations of images, without image files."""
    with writers.get(name)(folder, ExportClasses(list(names), list(ids)), with_scores) as writer:
        for image in images:
            (folder / writer.image_folder(image.split)).mkdir(parents=True, exist_ok=True)
            writer.write(image)
