"""Writing the `labelme` format: a JSON file beside each image."""

import json
from typing import Any

from visionkit.data.export.base import DatasetWriter, ExportImage, writers
from visionkit.data.export.outlines import outline

VERSION = "5.5.0"
"""Version of LabelMe whose files these are."""


@writers.register("labelme")
class LabelmeWriter(DatasetWriter):
    """Writes a folder per split with the images and a JSON file for each, and `labels.txt`.

    Boxes are rectangles, masks are polygons. Polygons of one object have the same `group_id`. A score is the
    description of its shape.
    """

    format = "labelme"
    holds = frozenset({"objects", "masks", "parts", "thin boxes"})

    def image_folder(self, split: str) -> str:
        """See `DatasetWriter`; JSON files and images are in one folder."""
        return split

    def write(self, image: ExportImage) -> None:
        """See `DatasetWriter`."""
        shapes = [shape for index in self.kept(image.annotation) for shape in self._shapes(image, index)]
        content: dict[str, Any] = {
            "version": VERSION,
            "flags": {},
            "shapes": shapes,
            "imagePath": image.name,
            "imageData": None,
            "imageHeight": image.size[0],
            "imageWidth": image.size[1],
        }
        path = self.folder / image.split / f"{image.stem}.json"
        # without indentation, which would write each coordinate on a line of its own
        path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")

    def finish(self) -> None:
        """See `DatasetWriter`."""
        (self.folder / "labels.txt").write_text("".join(f"{name}\n" for name in self.classes.names), encoding="utf-8")

    def split_options(self, split: str) -> dict[str, Any]:
        """See `DatasetWriter`."""
        return {"annotations": split}

    def _shapes(self, image: ExportImage, index: int) -> list[dict[str, Any]]:
        """Return the shapes of an object: a rectangle, or a polygon for each part of its mask."""
        masks = image.annotation.masks
        parts = outline(masks[index]).parts if masks is not None and image.outlined(index) else []
        shape: dict[str, Any] = {
            "label": self.classes.names[int(image.annotation.labels[index])],
            "group_id": index if len(parts) > 1 else None,
            "description": "" if image.scores is None else f"score {image.scores[index]:.4f}",
            "flags": {},
            "mask": None,
        }
        if parts:
            return [{**shape, "points": part.astype(float).tolist(), "shape_type": "polygon"} for part in parts]
        corners = image.annotation.boxes[index].astype(float).round(4).reshape(2, 2).tolist()
        return [{**shape, "points": corners, "shape_type": "rectangle"}]
