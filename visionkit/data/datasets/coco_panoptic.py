"""The `coco_panoptic` format: semantic masks from COCO's panoptic segments, both things and stuff."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.base import formats
from visionkit.data.datasets.base_segmentation import BACKGROUND, SegmentationDataset
from visionkit.data.datasets.coco_json import CocoImageList, Json, read_json, select_categories
from visionkit.data.datasets.coco_semantic import UncoveredPixels, first_and_uncovered_class, without_background
from visionkit.data.io.masks import Mask, pack_colors, read_mask
from visionkit.data.io.paths import check_files_exist, check_unique, require_file, require_folder, resolve_inside
from visionkit.errors import DataError
from visionkit.ops.ignore import IGNORE
from visionkit.text import format_list


@formats.register("coco_panoptic")
class CocoPanoptic(SegmentationDataset):
    """Images with semantic masks from panoptic segments. Pixels of crowds are ignored.

    The color of a pixel in the PNG encodes the id of its segment; the JSON file has the category of each segment.

    Args:
        root: folder of the dataset.
        annotations: the JSON file of panoptic segments, relative to `root`.
        masks: folder of the PNG files, relative to `root`.
        images: folder of the image files, relative to `root`.
        uncovered: class of pixels in no segment, or in a segment of another class: `ignore` or `background`.
        classes: categories to keep, in label order, optionally with `background` first. None keeps all.

    Raises:
        DataError: files are missing or malformed, or ids repeat or are unknown.

    Example:
        >>> import json, tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from visionkit.data.datasets.coco_panoptic import CocoPanoptic
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (8, 6)).save(folder / "a.jpg")
        >>> Image.new("RGB", (8, 6), (5, 1, 0)).save(folder / "a.png")  # segment 5 + 256 * 1
        >>> segments = [{"id": 261, "category_id": 9}]
        >>> content = {
        ...     "images": [{"id": 1, "file_name": "a.jpg", "height": 6, "width": 8}],
        ...     "categories": [{"id": 7, "name": "cat"}, {"id": 9, "name": "sky"}],
        ...     "annotations": [{"image_id": 1, "file_name": "a.png", "segments_info": segments}],
        ... }
        >>> _ = (folder / "train.json").write_text(json.dumps(content))
        >>> dataset = CocoPanoptic(folder, "train.json", masks="")
        >>> dataset.class_names[dataset[0].semantic[0, 0]]
        'sky'
    """

    def __init__(
        self,
        root: Path | None,
        annotations: str,
        masks: str,
        images: str = "",
        uncovered: UncoveredPixels = "ignore",
        classes: list[str] | None = None,
    ) -> None:
        top = require_folder(root, "the coco_panoptic format")
        self.source, self.report = require_file(top / annotations), {}
        content = read_json(self.source, "panoptic", ("image_id", "file_name", "segments_info"))
        chosen = select_categories(content["categories"], without_background(classes, uncovered), self.source)
        first, self._uncovered = first_and_uncovered_class(uncovered)
        self.set_classes([BACKGROUND] * first + list(chosen), [0] * first + list(chosen.values()), None)
        self._images = CocoImageList(content["images"], top / images, self.source)
        annotations_of_images = self._by_image(content["annotations"])
        self._masks = resolve_inside(top / masks, (entry["file_name"] for entry in annotations_of_images), self.source)
        check_files_exist(self._masks, self.source)
        class_of = {category["id"]: self._uncovered for category in content["categories"]}
        class_of |= {chosen[name]: first + number for number, name in enumerate(chosen)}
        self._read_segments(annotations_of_images, class_of)

    def _by_image(self, annotations: Sequence[Json]) -> list[Json]:
        """Return the annotation of each image, in the order of the images."""
        check_unique([entry["image_id"] for entry in annotations], "image ids of annotations", self.source)
        by_id = {entry["image_id"]: entry for entry in annotations}
        missing = [str(image_id) for image_id in self._images.ids if image_id not in by_id]
        if missing:
            raise DataError(f"{self.source}: {len(missing)} images have no annotation: {format_list(missing)}")
        return [by_id[image_id] for image_id in self._images.ids]

    def _read_segments(self, annotations: Sequence[Json], class_of: Mapping[int, int]) -> None:
        """Store the ids and classes of all segments in flat arrays, sorted by id within each image."""
        segments = [sorted(entry["segments_info"], key=lambda segment: int(segment["id"])) for entry in annotations]
        flat = [segment for segments_of_image in segments for segment in segments_of_image]
        unknown = {segment["category_id"] for segment in flat} - class_of.keys()
        if unknown:
            raise DataError(
                f"{self.source}: segments have unknown categories: {format_list([*map(str, sorted(unknown))])}"
            )
        self._ends = np.cumsum([0, *map(len, segments)])
        self._ids = np.array([segment["id"] for segment in flat], np.int64)
        classes = [IGNORE if segment.get("iscrowd") else class_of[segment["category_id"]] for segment in flat]
        self._classes = np.array(classes, np.uint8)

    def __len__(self) -> int:
        return len(self._masks)

    def path(self, index: int) -> Path:
        """See `SegmentationDataset`."""
        return self._images.folder / self.name(index)

    def name(self, index: int) -> str:
        """See `SegmentationDataset`."""
        return self._images.file_names[index]

    def image_id(self, index: int) -> int | str:
        """Return COCO's id of the image."""
        return self._images.ids[index]

    def semantic(self, index: int) -> Mask:
        """See `VisionDataset`."""
        pixels = read_mask(self._masks[index])
        if pixels.ndim != 3:
            raise DataError(f"the mask {self._masks[index]} is not an RGB image, so it has no segment ids")
        rows = slice(int(self._ends[index]), int(self._ends[index + 1]))
        return self._classes_of_segments(pack_colors(pixels[..., ::-1]), rows, self._masks[index])

    def _classes_of_segments(self, segment_ids: NDArray[np.int32], rows: slice, path: Path) -> Mask:
        """Return the class of each pixel, given the id of its segment; 0 means no segment."""
        ids, classes = np.r_[0, self._ids[rows]], np.r_[np.uint8(self._uncovered), self._classes[rows]]
        position = np.searchsorted(ids, segment_ids).clip(max=len(ids) - 1)
        wrong = ids[position] != segment_ids
        if wrong.any():
            unknown = [str(value) for value in np.unique(segment_ids[wrong])]
            raise DataError(f"the mask {path} has segments that are not in {self.source.name}: {format_list(unknown)}")
        return np.asarray(classes[position], np.uint8)
