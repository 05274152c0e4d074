"""COCO's instances JSON (cocodataset.org/#format-data): boxes, polygons, run-length masks, crowds."""

from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle

from visionkit.data.datasets.annotation_table import AnnotationTable, PackedSequence
from visionkit.data.datasets.base import formats
from visionkit.data.datasets.coco_json import CocoImages, Json, chosen_categories, read_json
from visionkit.data.datasets.detection import DetectionFiles
from visionkit.data.datasets.repair_boxes import BadBoxes, repair_boxes
from visionkit.data.io.paths import existing_file, existing_folder, refuse_duplicates
from visionkit.errors import DataError
from visionkit.structures import Annotation, Rle


@formats.register("coco")
class Coco(DetectionFiles):
    """Images with the objects that a COCO instances file lists; also those without any.

    Labels number the categories in rising order of their ids, which are kept in `category_ids`.

    Args:
        root: folder of the data set.
        annotations: the JSON file, relative to `root`.
        images: folder that the file names in it are relative to, relative to `root`.
        classes: names to keep, in label order; objects of other categories are left out and counted. None keeps all.
        masks: whether samples carry instance masks.
        on_bad_box: drop boxes that enclose nothing, or raise.

    Raises:
        DataError: files are missing or malformed, ids repeat or lead nowhere, or no object is left.
    """

    def __init__(
        self,
        root: Path | None,
        annotations: str,
        images: str = "",
        classes: list[str] | None = None,
        masks: bool = False,
        on_bad_box: BadBoxes = "drop",
    ) -> None:
        folder = existing_folder(root, "the coco format")
        self.source = existing_file(folder / annotations)
        self.report: dict[str, int] = {}
        self.masks = masks
        content = read_json(self.source, "instances", ("image_id", "category_id", "bbox"))
        chosen = chosen_categories(content["categories"], classes, self.source)
        self.class_names, self.category_ids = list(chosen), list(chosen.values())
        self._all_categories = {category["id"] for category in content["categories"]}
        listed = CocoImages(content["images"], folder / images, self.source)
        self.images, self.ids, self.names, self.sizes = (
            listed.folder,
            listed.ids,
            listed.names,
            listed.sizes,
        )
        self._read_objects(content["annotations"], on_bad_box)

    def annotation(self, index: int) -> Annotation:
        """See `VisionDataset`."""
        annotation = super().annotation(index)
        if self._segmentations is not None:
            rows = range(*self.columns.rows(index).indices(len(self.columns)))
            annotation.masks = [to_rle(self._segmentations[row], self.image_size(index)) for row in rows]
        return annotation

    def _read_objects(self, objects: list[Json], on_bad_box: BadBoxes) -> None:
        refuse_duplicates([found["id"] for found in objects if "id" in found], "annotation ids", self.source)
        place = {image_id: index for index, image_id in enumerate(self.ids)}
        self._check_known_names(objects, place)
        label = {category: index for index, category in enumerate(self.category_ids)}
        kept = [found for found in objects if found["category_id"] in label]
        if len(kept) < len(objects):
            self.report["objects of other classes left out"] = len(objects) - len(kept)
        if not kept:
            raise DataError(f"{self.source} has no object of the classes {', '.join(self.class_names[:8])}")
        owner = np.array([place[found["image_id"]] for found in kept], np.int64)
        for found in kept:
            if not isinstance(found["bbox"], list) or len(found["bbox"]) != 4:
                raise DataError(
                    f"{self.source}: annotation {found.get('id')} has the box {found['bbox']}, not four numbers"
                )
        boxes = np.array([found["bbox"] for found in kept], np.float64)
        boxes[:, 2:] += boxes[:, :2]
        self._refuse_corners(boxes, owner)
        names = [str(found["image_id"]) for found in kept]
        repaired, good = repair_boxes(boxes.astype(np.float32), self.sizes[owner], names, on_bad_box, self.report)
        kept = [found for found, keep in zip(kept, good, strict=True) if keep]
        sides = repaired[good, 2:] - repaired[good, :2]
        area = np.array([found.get("area", np.nan) for found in kept], np.float32)
        self.columns = AnnotationTable(
            owner=owner[good],
            images=len(self),
            boxes=repaired[good],
            labels=np.array([label[found["category_id"]] for found in kept], np.int64),
            crowd=np.array([bool(found.get("iscrowd", 0)) for found in kept]),
            difficult=np.zeros(len(kept), bool),
            area=np.where(np.isnan(area), sides.prod(axis=1), area).astype(np.float32),
        )
        ordered = (kept[index].get("segmentation") for index in self.columns.order)
        self._segmentations = PackedSequence(list(ordered)) if self.masks else None

    def _check_known_names(self, objects: list[Json], images: dict[int, int]) -> None:
        for found in objects:
            if found["image_id"] not in images:
                raise DataError(
                    f"{self.source}: annotation {found.get('id')} is for an unknown image {found['image_id']}"
                )
            if found["category_id"] not in self._all_categories:
                raise DataError(
                    f"{self.source}: annotation {found.get('id')} has an unknown category {found['category_id']}"
                )

    def _refuse_corners(self, boxes: np.ndarray, owner: np.ndarray) -> None:
        """Notice corners given as corner and size: then most boxes would reach out of their images."""
        bounds = self.sizes[owner][:, ::-1]
        beyond = (boxes[:, 2:] > bounds + 2).any(axis=1)
        if len(boxes) >= 10 and beyond.mean() > 0.3:
            raise DataError(
                f"{self.source}: {100 * beyond.mean():.0f} % of the boxes reach out of their images\n"
                "COCO boxes are [x, y, width, height]; these look like [x1, y1, x2, y2]"
            )


def to_rle(segmentation: Any, size: tuple[int, int]) -> Rle:
    """A COCO segmentation as compressed run-length code.

    Args:
        segmentation: polygons, uncompressed counts, or compressed counts.
        size: (height, width) of the image in pixels.

    Raises:
        DataError: it is none of these.
    """
    if isinstance(segmentation, list) and segmentation:
        return rle.merge(rle.frPyObjects(segmentation, *size))
    if isinstance(segmentation, dict) and isinstance(segmentation.get("counts"), list):
        return rle.frPyObjects(segmentation, *size)
    if isinstance(segmentation, dict) and "counts" in segmentation:
        counts = segmentation["counts"]
        return {"size": list(size), "counts": counts.encode() if isinstance(counts, str) else counts}
    raise DataError(f"an annotation has no usable segmentation: {str(segmentation)[:80]}")
