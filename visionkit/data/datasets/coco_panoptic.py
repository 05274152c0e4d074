"""The `coco_panoptic` format: semantic masks from COCO's panoptic segments, both things and stuff."""

from collections.abc import Mapping
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.base import formats
from visionkit.data.datasets.base_segmentation import BACKGROUND, SegmentationDataset
from visionkit.data.datasets.coco_json import CocoCategories, CocoImageList, read_coco
from visionkit.data.datasets.coco_semantic import UncoveredPixels, first_and_uncovered_class, without_background
from visionkit.data.datasets.json_entries import JsonEntries
from visionkit.data.datasets.packed_sequence import PackedSequence
from visionkit.data.io.masks import Mask, pack_colors, read_mask
from visionkit.data.io.paths import check_files_exist, check_unique, require_file, require_folder, resolve_inside
from visionkit.errors import DataError
from visionkit.ops.ignore import IGNORE
from visionkit.text import format_list

LARGEST_SEGMENT_ID = 2**24 - 1
"""Largest id that a color can encode."""


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
        only: pattern of the file names of the images to keep, see `Coco`.

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
        only: str | None = None,
    ) -> None:
        top = require_folder(root, "the coco_panoptic format")
        self.source, self.report = require_file(top / annotations), {}
        content = read_coco(self.source, "panoptic", only)
        categories = CocoCategories(content["categories"], without_background(classes, uncovered))
        chosen = categories.chosen
        first, self._uncovered = first_and_uncovered_class(uncovered)
        self.set_classes([BACKGROUND] * first + list(chosen), [0] * first + list(chosen.values()), None)
        self._images = CocoImageList(content["images"], top / images)
        annotations_of_images = self._by_image(content["annotations"])
        names = annotations_of_images.texts("file_name")
        check_files_exist(resolve_inside(top / masks, names, self.source), self.source)
        self._mask_folder, self._mask_names = top / masks, PackedSequence(names)
        class_of = dict.fromkeys(categories.all_ids, self._uncovered)
        class_of |= {own_id: first + label for own_id, label in categories.labels.items()}
        self._read_segments(annotations_of_images, categories, class_of)

    def _by_image(self, annotations: JsonEntries) -> JsonEntries:
        """Return the annotation of each image, in the order of the images."""
        ids = annotations.ids("image_id")
        check_unique(ids, "image ids of annotations", self.source)
        by_id = {image_id: index for index, image_id in enumerate(ids)}
        missing = [str(image_id) for image_id in self._images.ids if image_id not in by_id]
        if missing:
            raise DataError(f"{self.source}: {len(missing)} images have no annotation: {format_list(missing)}")
        return annotations.select(np.array([by_id[image_id] for image_id in self._images.ids], np.int64))

    def _read_segments(self, annotations: JsonEntries, categories: CocoCategories, class_of: Mapping[int, int]) -> None:
        """Store the ids and classes of all segments in flat arrays, sorted by id within each image."""
        lists = annotations.column("segments_info", {list}, "a list of segments")
        segments = JsonEntries([*chain.from_iterable(lists)], "segments_info", "segment", self.source)
        ids = segments.integers("id", 0, LARGEST_SEGMENT_ID)
        classes = np.array([class_of[category] for category in categories.check_known(segments)], np.uint8)
        classes[segments.flags("iscrowd")] = IGNORE
        image_of_segment = np.repeat(np.arange(len(lists)), [len(segments_of_image) for segments_of_image in lists])
        order = np.lexsort((ids, image_of_segment))
        repeated = (np.diff(ids[order]) == 0) & (np.diff(image_of_segment[order]) == 0)
        if repeated.any():
            index = int(order[repeated.argmax()])
            image = self._images.file_names[int(image_of_segment[index])]
            raise DataError(f"{segments.describe(index)} occurs more than once in the image {image}")
        self._ends = np.r_[0, np.cumsum([len(segments_of_image) for segments_of_image in lists])]
        self._ids, self._classes = ids[order], classes[order]

    def __len__(self) -> int:
        return len(self._mask_names)

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
        path = self._mask_folder / self._mask_names[index]
        pixels = read_mask(path)
        if pixels.ndim != 3:
            raise DataError(f"the mask {path} is not an RGB image, so it has no segment ids")
        rows = slice(int(self._ends[index]), int(self._ends[index + 1]))
        return self._classes_of_segments(pack_colors(pixels[..., ::-1]), rows, path)

    def _classes_of_segments(self, segment_ids: NDArray[np.int32], rows: slice, path: Path) -> Mask:
        """Return the class of each pixel, given the id of its segment; 0 means no segment."""
        ids, classes = np.r_[0, self._ids[rows]], np.r_[np.uint8(self._uncovered), self._classes[rows]]
        position = np.searchsorted(ids, segment_ids).clip(max=len(ids) - 1)
        wrong = ids[position] != segment_ids
        if wrong.any():
            unknown = [str(value) for value in np.unique(segment_ids[wrong])]
            raise DataError(f"the mask {path} has segments that are not in {self.source.name}: {format_list(unknown)}")
        return np.asarray(classes[position], np.uint8)
