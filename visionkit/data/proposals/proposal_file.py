"""Proposal files: .npz or .json with the boxes of each image under its id."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.base import VisionDataset
from visionkit.data.datasets.repair_boxes import MIN_SIDE, ROUNDING_TOLERANCE
from visionkit.data.io.json_files import read_json
from visionkit.data.io.npz import read_npz
from visionkit.errors import DataError
from visionkit.text import format_list


class ProposalFile:
    """File with the proposals of many images.

    Images are identified by their ids, so their order in the file does not matter. A file without ids is rejected,
    because an error in its order could not be detected.

    Args:
        path: .npz with an array [P, 4] for each id, or .json `{"id": [[x1, y1, x2, y2], ...]}`; coordinates are pixel
            edges.

    Raises:
        DataError: the file is missing or is not a proposal file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._by_id = _read(path)

    def check(self, dataset: VisionDataset, split: str) -> None:
        """Check that the file fits the ids and sizes of all images of a split, without decoding an image.

        Raises:
            DataError: images are missing in the file, or proposals lie outside of their image.
        """
        ids = [dataset.image_id(index) for index in range(len(dataset))]
        missing = [image_id for image_id in ids if str(image_id) not in self._by_id]
        if missing:
            raise DataError(
                f"{self.path} has no proposals for {len(missing)} of {len(ids)} images of {split}: "
                f"{format_list([repr(image_id) for image_id in missing], most=3)}\n{self._what_it_has()}"
            )
        for index, image_id in enumerate(ids):
            self.boxes(image_id, *dataset.image_size(index))

    def boxes(self, image_id: int | str, height: int, width: int) -> NDArray[np.float32]:
        """Return the proposals of an image, clipped to it.

        Args:
            image_id: id of the image in the dataset.
            height: height of the image in pixels.
            width: width of the image in pixels.

        Returns:
            float32 [P, 4], xyxy; P may be 0.

        Raises:
            DataError: the file does not contain the image, its boxes are invalid, or they lie outside of the image.
        """
        if str(image_id) not in self._by_id:
            raise DataError(f"{self.path} has no proposals for the image {image_id!r}\n{self._what_it_has()}")
        boxes = self._checked(image_id, self._by_id[str(image_id)])
        bound = np.array([width, height, width, height], np.float32)
        outside = (boxes < -ROUNDING_TOLERANCE) | (boxes > bound + ROUNDING_TOLERANCE)
        if outside.any():
            wrong = boxes[outside.any(axis=1)][0].tolist()
            raise DataError(
                f"{self.path}: the proposal {wrong} lies outside of the image {image_id!r}, {width} pixels wide and "
                f"{height} high\nis the order of its coordinates x1 y1 x2 y2, and is it for these images?"
            )
        clipped = np.clip(boxes, 0, bound)
        return clipped[((clipped[:, 2:] - clipped[:, :2]) >= MIN_SIDE).all(axis=1)]

    def _what_it_has(self) -> str:
        return (
            f"it has those of {format_list(list(self._by_id), most=5) or 'no image'}; is it for another dataset?\n"
            "images without proposals must stand in it with an empty list"
        )

    def _checked(self, image_id: int | str, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        if not boxes.size:
            return np.zeros((0, 4), np.float32)
        if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.isfinite(boxes).all():
            raise DataError(f"{self.path}: the proposals of the image {image_id!r} are no numbers [P, 4]")
        if (boxes[:, 2:] < boxes[:, :2]).any():
            raise DataError(
                f"{self.path}: proposals of the image {image_id!r} end before they begin\n"
                "the coordinates must be x1 y1 x2 y2, not a corner and a size"
            )
        return boxes


def _read(path: Path) -> Mapping[str, NDArray[np.float32]]:
    """Return the boxes of each image by id.

    Boxes are arrays, because the worker processes of a loader share the memory of arrays, but copy lists.
    """
    if path.suffix == ".npz":
        return {name: _as_array(values) for name, values in read_npz(path, "proposals").items()}
    content = read_json(path, "proposals")
    if not isinstance(content, dict):
        raise DataError(f'{path} must hold the proposals of each image under its id: {{"id": [[x1, y1, x2, y2], ...]}}')
    return {name: _as_array(values) for name, values in content.items()}


def _as_array(values: Any) -> NDArray[np.float32]:
    """Return the values as a float32 array; invalid values give NaN, which raises an error when the image is read."""
    try:
        with np.errstate(over="ignore"):  # numbers beyond float32 become infinite, which is invalid, too
            return np.asarray(values, np.float32)
    except (TypeError, ValueError, OverflowError):
        return np.full((1, 1), np.nan, np.float32)
