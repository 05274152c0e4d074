"""The `coco` format: an instances JSON (cocodataset.org/#format-data) with boxes, masks and crowds."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.annotation_table import AnnotationTable
from visionkit.data.datasets.base import formats
from visionkit.data.datasets.base_detection import DetectionDataset
from visionkit.data.datasets.coco_json import CocoCategories, CocoImageList, find_images, read_coco
from visionkit.data.datasets.coco_masks import CocoMasks
from visionkit.data.datasets.json_entries import JsonEntries
from visionkit.data.datasets.recognition import FolderListing, Recognized, best_match, files_with, split_of
from visionkit.data.datasets.repair_boxes import BadBoxPolicy, repair_boxes
from visionkit.data.io.paths import check_unique, require_file, require_folder
from visionkit.errors import DataError

KEYS = ("images", "annotations", "categories")
"""Keys of an instances file, of which one must stand in its head for the whole file to be read."""


def recognize_coco(listing: FolderListing) -> Recognized | None:
    """Return the instances files of a folder by split, with the folders of their images.

    Several files of a split are its parts if they have no image in common.
    """
    parts: dict[str, list[dict[str, str]]] = {}
    images: dict[str, set[str]] = {}
    notes: list[str] = []
    files = {name for key in KEYS for name in files_with(listing, ".json", f'"{key}"')}
    for name in sorted(files, key=lambda name: ("instances" not in name, name)):
        names = _images_of_instances(listing.folder / name)
        if names is None:
            continue
        split, folders = split_of(name) or "train", listing.folders_with(names[:3])
        folder = best_match(name, folders) if folders else None
        paths = {f"{folder}/{image}" for image in names}
        if folder is None:
            notes.append(f"{name} is not used: its images, such as {names[0]}, are not in the folder")
        elif paths & images.get(split, set()):
            notes.append(f"{name} is not used: it has images of {parts[split][0]['annotations']}")
        else:
            parts.setdefault(split, []).append({"annotations": name, "images": folder})
            images[split] = images.get(split, set()) | paths
    if not parts and not notes:
        return None
    return Recognized({split: found if len(found) > 1 else found[0] for split, found in parts.items()}, notes=notes)


def _images_of_instances(path: Path) -> list[str] | None:
    """Return the file names of a COCO instances file; None if the file is of another kind."""
    try:
        content = read_coco(path, "instances")
        if not any("bbox" in entry for entry in content["annotations"].entries[:1]):
            return None
        return content["images"].texts("file_name") or None
    except DataError:
        return None


@formats.register("coco", options_for={"masks": {"masks": True}}, recognize=recognize_coco)
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
        only: pattern of the file names of the images to keep ("train/*"), if the file has several splits. `*` matches
            any characters, also `/`. None keeps all images.
        on_bad_box: drop boxes without area, or raise; see `repair_boxes`.

    Raises:
        DataError: files are missing or malformed, ids repeat or are unknown, or no image or object remains.

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
        only: str | None = None,
        on_bad_box: BadBoxPolicy = "drop",
    ) -> None:
        folder = require_folder(root, "the coco format")
        self.source = require_file(folder / annotations)
        self.report: dict[str, int] = {}
        self.masks = masks
        content = read_coco(self.source, "instances", only)
        categories = CocoCategories(content["categories"], classes)
        self.class_names, self.category_ids = list(categories.chosen), list(categories.chosen.values())
        listed = CocoImageList(content["images"], folder / images)
        self.image_folder, self.image_ids, self.sizes = listed.folder, listed.ids, listed.sizes
        self.file_names = listed.file_names
        self._read_objects(content["annotations"], categories, on_bad_box)

    def _read_objects(self, entries: JsonEntries, categories: CocoCategories, on_bad_box: BadBoxPolicy) -> None:
        ids = entries.ids("id", optional=True)
        check_unique([own_id for own_id in ids if own_id is not None], "annotation ids", self.source)
        index_of_id = {image_id: index for index, image_id in enumerate(self.image_ids)}
        image_index = find_images(entries, index_of_id)
        known = categories.check_known(entries)
        labels = np.array([categories.labels.get(category, -1) for category in known], np.int64)
        kept = labels >= 0
        repeated = categories.labels.keys() - {*self.category_ids}
        if merged := sum(category in repeated for category in known) if repeated else 0:
            self.report["objects of categories with a repeated name, taken as one class"] = merged
        if not kept.all():
            self.report["objects of other classes skipped"] = int((~kept).sum())
        if not kept.any():
            raise DataError(f"{self.source} has no objects of the classes {', '.join(self.class_names[:8])}")
        entries, image_index, labels = entries.select(kept), image_index[kept], labels[kept]
        boxes, good = self._read_boxes(entries, image_index, on_bad_box)
        entries, image_index = entries.select(good), image_index[good]
        area = entries.numbers("area")
        sides = boxes[good, 2:] - boxes[good, :2]
        self.objects = AnnotationTable(
            image_index=image_index,
            num_images=len(self),
            boxes=boxes[good],
            labels=labels[good],
            crowd=entries.flags("iscrowd"),
            difficult=np.zeros(len(entries), bool),
            area=np.where(np.isnan(area), sides.prod(axis=1), area).astype(np.float32),
        )
        order = self.objects.order
        sizes = self.sizes[image_index[order]]
        self.object_masks = CocoMasks(entries.select(order), sizes, self.report) if self.masks else None

    def _read_boxes(
        self, entries: JsonEntries, image_index: NDArray[np.int64], on_bad_box: BadBoxPolicy
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the boxes, xyxy and clipped to their images, and which of them to keep."""
        boxes = entries.rows("bbox", 4, "a box of four numbers")
        boxes[:, 2:] += boxes[:, :2]
        self._check_box_format(boxes, image_index)
        names = [str(image_id) for image_id in entries.ids("image_id")]
        return repair_boxes(boxes.astype(np.float32), self.sizes[image_index], names, on_bad_box, self.report)

    def _check_box_format(self, boxes: NDArray[np.float64], image_index: NDArray[np.int64]) -> None:
        """Raise if many boxes end outside their images: then they are probably x1, y1, x2, y2 already."""
        bounds = self.sizes[image_index][:, ::-1]
        beyond = (boxes[:, 2:] > bounds + 2).any(axis=1)
        if len(boxes) >= 10 and beyond.mean() > 0.3:
            raise DataError(
                f"{self.source}: {100 * beyond.mean():.0f} % of the boxes end outside their images\n"
                "COCO boxes are [x, y, width, height]; these seem to be [x1, y1, x2, y2]"
            )
