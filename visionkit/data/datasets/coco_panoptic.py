"""Masks of classes from COCO's panoptic segments, things and stuff: the id of a segment is the color of its pixels."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.base import formats
from visionkit.data.datasets.coco_json import CocoImages, Json, chosen_categories, read_json
from visionkit.data.datasets.coco_semantic import Uncovered, ground_of, without_background
from visionkit.data.datasets.segmentation import BACKGROUND, SegmentationDataset
from visionkit.data.io.masks import Mask, packed_colors, read_mask
from visionkit.data.io.paths import existing_file, existing_folder, inside, refuse_duplicates, refuse_missing
from visionkit.errors import DataError
from visionkit.ops.ignore import IGNORE
from visionkit.text import format_list


@formats.register("coco_panoptic")
class CocoPanoptic(SegmentationDataset):
    """Images with the class of the segment that each pixel belongs to; crowds are ignored.

    Args:
        root: folder of the data set.
        annotations: the JSON file of panoptic segments, relative to `root`.
        masks: folder of the PNGs that it names, relative to `root`.
        images: folder of the images, relative to `root`.
        uncovered: what pixels of no segment, or of one of another class, are: to be ignored, or `background`.
        classes: names to keep, in label order (`background` may stand first). None keeps all.

    Raises:
        DataError: files are missing or malformed, or ids repeat or lead nowhere.
    """

    def __init__(
        self,
        root: Path | None,
        annotations: str,
        masks: str,
        images: str = "",
        uncovered: Uncovered = "ignore",
        classes: list[str] | None = None,
    ) -> None:
        top = existing_folder(root, "the coco_panoptic format")
        self.source, self.report = existing_file(top / annotations), {}
        content = read_json(self.source, "panoptic", ("image_id", "file_name", "segments_info"))
        chosen = chosen_categories(content["categories"], without_background(classes, uncovered), self.source)
        first, self._ground = ground_of(uncovered)
        self.name_classes([BACKGROUND] * first + list(chosen), [0] * first + list(chosen.values()), None)
        self._listed = CocoImages(content["images"], top / images, self.source)
        described = self._by_image(content["annotations"])
        self._masks = inside(top / masks, (entry["file_name"] for entry in described), self.source)
        refuse_missing(self._masks, self.source)
        number = {category["id"]: self._ground for category in content["categories"]}
        self._read_segments(described, number | {chosen[name]: first + k for k, name in enumerate(chosen)})

    def _by_image(self, annotations: Sequence[Json]) -> list[Json]:
        """The annotation of each image."""
        refuse_duplicates([entry["image_id"] for entry in annotations], "annotations of one image", self.source)
        found = {entry["image_id"]: entry for entry in annotations}
        absent = [str(image_id) for image_id in self._listed.ids if image_id not in found]
        if absent:
            raise DataError(f"{self.source}: {len(absent)} images have no annotation: {format_list(absent)}")
        return [found[image_id] for image_id in self._listed.ids]

    def _read_segments(self, described: Sequence[Json], number: Mapping[int, int]) -> None:
        """Ids and classes of all images' segments in columns, sorted within each image."""
        segments = [sorted(entry["segments_info"], key=lambda segment: int(segment["id"])) for entry in described]
        flat = [segment for of_image in segments for segment in of_image]
        unknown = {segment["category_id"] for segment in flat} - number.keys()
        if unknown:
            raise DataError(
                f"{self.source}: segments have unknown categories: {format_list([*map(str, sorted(unknown))])}"
            )
        self._ends = np.cumsum([0, *map(len, segments)])
        self._ids = np.array([segment["id"] for segment in flat], np.int64)
        classes = [IGNORE if segment.get("iscrowd") else number[segment["category_id"]] for segment in flat]
        self._classes = np.array(classes, np.uint8)

    def __len__(self) -> int:
        return len(self._masks)

    def path(self, index: int) -> Path:
        """See `SegmentationDataset`."""
        return self._listed.folder / self.name(index)

    def name(self, index: int) -> str:
        """See `SegmentationDataset`."""
        return str(self._listed.names[index])

    def image_id(self, index: int) -> int | str:
        """COCO's id of the image."""
        image_id: int | str = self._listed.ids[index]
        return image_id

    def semantic(self, index: int) -> Mask:
        """See `VisionDataset`."""
        pixels = read_mask(self._masks[index])
        if pixels.ndim != 3:
            raise DataError(f"the mask {self._masks[index]} is in no colors, and so holds no ids of segments")
        rows = slice(int(self._ends[index]), int(self._ends[index + 1]))
        return self._looked_up(packed_colors(pixels[..., ::-1]), rows, self._masks[index])

    def _looked_up(self, pixels: NDArray[np.int32], rows: slice, path: Path) -> Mask:
        """The classes of segments whose ids are `pixels`; 0 is no segment."""
        ids, classes = np.r_[0, self._ids[rows]], np.r_[np.uint8(self._ground), self._classes[rows]]
        place = np.searchsorted(ids, pixels).clip(max=len(ids) - 1)
        wrong = ids[place] != pixels
        if wrong.any():
            strangers = [str(value) for value in np.unique(pixels[wrong])]
            raise DataError(
                f"the mask {path} has segments that {self.source.name} does not describe: {format_list(strangers)}"
            )
        return np.asarray(classes[place], np.uint8)
