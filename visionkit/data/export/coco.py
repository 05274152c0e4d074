"""Writing the `coco` format: an instances JSON file per split."""

import json
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from pycocotools import mask as rle

from visionkit.data.export.base import DatasetWriter, ExportClasses, ExportImage, writers
from visionkit.data.export.outlines import outline
from visionkit.structures import Rle


@writers.register("coco")
class CocoWriter(DatasetWriter):
    """Writes `annotations/instances_<split>.json`.

    Masks are polygons if these give exactly the same mask, and run-length codes otherwise and for crowds. Scores are
    always written.
    """

    format = "coco"
    holds = frozenset(
        {"objects", "masks", "holes", "parts", "boxes beside masks", "thin boxes", "crowd", "category ids", "image ids"}
    )

    def __init__(self, folder: Path, classes: ExportClasses, with_scores: bool = False) -> None:
        super().__init__(folder, classes, with_scores)
        self._files: dict[str, TextIO] = {}
        self._images: dict[str, list[dict[str, Any]]] = {}
        self._count = 0

    def write(self, image: ExportImage) -> None:
        """See `DatasetWriter`. The objects are written at once, because all of a large dataset take much memory."""
        height, width = image.size
        entry = {"id": image.number, "file_name": image.name, "height": height, "width": width}
        file = self._file(image.split)
        self._images[image.split].append(entry)
        for index in range(len(image.annotation)):
            self._count += 1
            separator = "" if file.tell() == len(HEAD) else ","
            file.write(f"{separator}\n{json.dumps(self._object(image, index))}")

    def finish(self) -> None:
        """See `DatasetWriter`."""
        pairs = zip(self.classes.ids, self.classes.names, strict=True)
        categories = [{"id": own_id, "name": name, "supercategory": ""} for own_id, name in pairs]
        for split, file in self._files.items():
            images = ",\n".join(map(json.dumps, self._images[split]))
            file.write(f'\n],\n"images": [\n{images}\n],\n"categories": {json.dumps(categories)}\n}}\n')

    def close(self) -> None:
        """See `DatasetWriter`."""
        for file in self._files.values():
            file.close()

    def split_options(self, split: str) -> dict[str, Any]:
        """See `DatasetWriter`."""
        return {"annotations": f"annotations/instances_{split}.json", "images": self.image_folder(split)}

    def _file(self, split: str) -> TextIO:
        if split not in self._files:
            path = self.folder / "annotations" / f"instances_{split}.json"
            path.parent.mkdir(exist_ok=True)
            self._files[split] = path.open("w", encoding="ascii")
            self._files[split].write(HEAD)
            self._images[split] = []
        return self._files[split]

    def _object(self, image: ExportImage, index: int) -> dict[str, Any]:
        found = image.annotation
        x1, y1, x2, y2 = found.boxes[index].astype(np.float64).round(DECIMALS).tolist()
        entry = {
            "id": self._count,
            "image_id": image.number,
            "category_id": self.classes.ids[int(found.labels[index])],
            "bbox": [x1, y1, round(x2 - x1, DECIMALS), round(y2 - y1, DECIMALS)],
            "area": round(float(found.area[index]), DECIMALS),
            "iscrowd": int(found.crowd[index]),
        }
        if found.masks is not None:
            entry["segmentation"] = _segmentation(found.masks[index], bool(found.crowd[index]))
        if image.scores is not None:
            entry["score"] = round(float(image.scores[index]), 6)
        return entry


HEAD = '{"annotations": ['

DECIMALS = 4
"""Decimals of pixels."""


def _segmentation(mask: Rle, is_crowd: bool) -> list[list[int]] | dict[str, Any]:
    """Return a mask as polygons if these are exact, and as run-length code otherwise and for a crowd."""
    if not is_crowd:
        polygons = [points.ravel().tolist() for points in outline(mask).parts]
        if polygons and rle.merge(rle.frPyObjects(polygons, *mask["size"]))["counts"] == _bytes(mask):
            return polygons
    return {"size": list(mask["size"]), "counts": _bytes(mask).decode()}


def _bytes(mask: Rle) -> bytes:
    counts = mask["counts"]
    return counts.encode() if isinstance(counts, str) else bytes(counts)
