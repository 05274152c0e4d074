"""The `coco` format: an instances JSON (cocodataset.org/#format-data) with boxes, masks and crowds."""

from collections.abc import Container
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle

from visionkit.data.datasets.annotation_table import AnnotationTable
from visionkit.data.datasets.base import formats
from visionkit.data.datasets.base_detection import DetectionDataset
from visionkit.data.datasets.coco_json import CocoImageList, Json, read_json, select_categories
from visionkit.data.datasets.packed_sequence import PackedSequence
from visionkit.data.datasets.repair_boxes import BadBoxPolicy, repair_boxes
from visionkit.data.io.paths import check_unique, require_file, require_folder
from visionkit.errors import DataError
from visionkit.structures import Annotation, Rle


@formats.register("coco")
class Coco(DetectionDataset):
    """Images with the objects of a COCO instances file, including images without objects.

    Labels 0..K-1 number the categories in ascending order of their ids. The ids are kept in `category_ids`.

    Args:
        root: folder of the dataset.
        annotations: the JSON file, relative to `root`.
        images: folder of the image files, relative to `root`.
        classes: categories to keep, in label order; objects of other categories are skipped and counted. None keeps
            all categories.
        masks: whether samples have instance masks.
        on_bad_box: drop boxes without area, or raise; see `repair_boxes`.

    Raises:
        DataError: files are missing or malformed, ids repeat or are unknown, or no object remains.

    Example:
        >>> import json, tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from visionkit.data.datasets.coco import Coco
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (64, 48)).save(folder / "a.png")
        >>> content = {
        ...     "images": [{"id": 1, "file_name": "a.png", "height": 48, "width": 64}],
        ...     "categories": [{"id": 7, "name": "cat"}],
        ...     "annotations": [{"id": 1, "image_id": 1, "category_id": 7, "bbox": [8, 4, 20, 10]}],
        ... }
        >>> _ = (folder / "train.json").write_text(json.dumps(content))
        >>> Coco(folder, "train.json")[0].annotation.boxes
        array([[ 8.,  4., 28., 14.]], dtype=float32)
    """

    def __init__(
        self,
        root: Path | None,
        annotations: str,
        images: str = "",
        classes: list[str] | None = None,
        masks: bool = False,
        on_bad_box: BadBoxPolicy = "drop",
    ) -> None:
        folder = require_folder(root, "the coco format")
        self.source = require_file(folder / annotations)
        self.report: dict[str, int] = {}
        self.masks = masks
        content = read_json(self.source, "instances", ("image_id", "category_id", "bbox"))
        chosen = select_categories(content["categories"], classes, self.source)
        self.class_names, self.category_ids = list(chosen), list(chosen.values())
        self._all_categories = {category["id"] for category in content["categories"]}
        listed = CocoImageList(content["images"], folder / images, self.source)
        self.image_folder, self.image_ids, self.sizes = listed.folder, listed.ids, listed.sizes
        self.file_names = listed.file_names
        self._read_objects(content["annotations"], on_bad_box)

    def annotation(self, index: int) -> Annotation:
        """See `VisionDataset`."""
        annotation = super().annotation(index)
        if self._segmentations is not None:
            rows = range(*self.objects.rows(index).indices(len(self.objects)))
            annotation.masks = [to_rle(self._segmentations[row], self.image_size(index)) for row in rows]
        return annotation

    def _read_objects(self, objects: list[Json], on_bad_box: BadBoxPolicy) -> None:
        check_unique([entry["id"] for entry in objects if "id" in entry], "annotation ids", self.source)
        index_of_id = {image_id: index for index, image_id in enumerate(self.image_ids)}
        self._check_known_ids(objects, index_of_id)
        label = {category: index for index, category in enumerate(self.category_ids)}
        kept = [entry for entry in objects if entry["category_id"] in label]
        if len(kept) < len(objects):
            self.report["objects of other classes skipped"] = len(objects) - len(kept)
        if not kept:
            raise DataError(f"{self.source} has no objects of the classes {', '.join(self.class_names[:8])}")
        image_index = np.array([index_of_id[entry["image_id"]] for entry in kept], np.int64)
        for entry in kept:
            if not isinstance(entry["bbox"], list) or len(entry["bbox"]) != 4:
                name = f"{self.source}: annotation {entry.get('id')}"
                raise DataError(f"{name} has the box {entry['bbox']}; a box must be four numbers")
        boxes = np.array([entry["bbox"] for entry in kept], np.float64)
        boxes[:, 2:] += boxes[:, :2]
        self._check_box_format(boxes, image_index)
        names = [str(entry["image_id"]) for entry in kept]
        sizes = self.sizes[image_index]
        repaired, good = repair_boxes(boxes.astype(np.float32), sizes, names, on_bad_box, self.report)
        kept = [entry for entry, keep in zip(kept, good, strict=True) if keep]
        sides = repaired[good, 2:] - repaired[good, :2]
        area = np.array([entry.get("area", np.nan) for entry in kept], np.float32)
        self.objects = AnnotationTable(
            image_index=image_index[good],
            num_images=len(self),
            boxes=repaired[good],
            labels=np.array([label[entry["category_id"]] for entry in kept], np.int64),
            crowd=np.array([bool(entry.get("iscrowd", 0)) for entry in kept]),
            difficult=np.zeros(len(kept), bool),
            area=np.where(np.isnan(area), sides.prod(axis=1), area).astype(np.float32),
        )
        ordered = (kept[index].get("segmentation") for index in self.objects.order)
        self._segmentations = PackedSequence(list(ordered)) if self.masks else None

    def _check_known_ids(self, objects: list[Json], image_ids: Container[int | str]) -> None:
        for entry in objects:
            name = f"{self.source}: annotation {entry.get('id')}"
            if entry["image_id"] not in image_ids:
                raise DataError(f"{name} has an unknown image {entry['image_id']}")
            if entry["category_id"] not in self._all_categories:
                raise DataError(f"{name} has an unknown category {entry['category_id']}")

    def _check_box_format(self, boxes: NDArray[np.float64], image_index: NDArray[np.int64]) -> None:
        """Raise if many boxes end outside their images: then they are probably x1, y1, x2, y2 already."""
        bounds = self.sizes[image_index][:, ::-1]
        beyond = (boxes[:, 2:] > bounds + 2).any(axis=1)
        if len(boxes) >= 10 and beyond.mean() > 0.3:
            raise DataError(
                f"{self.source}: {100 * beyond.mean():.0f} % of the boxes end outside their images\n"
                "COCO boxes are [x, y, width, height]; these seem to be [x1, y1, x2, y2]"
            )


def to_rle(segmentation: Any, size: tuple[int, int]) -> Rle:
    """Return a COCO segmentation as compressed run-length code.

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
