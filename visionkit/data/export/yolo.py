"""Writing the `yolo` format: a text file per image, and `data.yaml`."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from visionkit.data.export.base import DatasetWriter, ExportClasses, ExportImage, writers
from visionkit.data.export.outlines import join_parts, outline


@writers.register("yolo")
class YoloWriter(DatasetWriter):
    """Writes `labels/<split>/` and `data.yaml`. A line is a box, or a polygon if the object has a mask.

    With scores, each line ends with its score, as predictions of Ultralytics do.
    """

    format = "yolo"
    holds = frozenset({"objects", "masks", "thin boxes"})

    def __init__(self, folder: Path, classes: ExportClasses, with_scores: bool = False) -> None:
        super().__init__(folder, classes, with_scores)
        self._splits: list[str] = []

    def write(self, image: ExportImage) -> None:
        """See `DatasetWriter`."""
        labels = self.folder / "labels" / image.split
        if image.split not in self._splits:
            labels.mkdir(parents=True)
            self._splits.append(image.split)
        lines = [self._line(image, index) for index in self.kept(image.annotation)]
        (labels / f"{image.stem}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="ascii")

    def finish(self) -> None:
        """See `DatasetWriter`."""
        content = {**{split: self.image_folder(split) for split in self._splits}, "nc": len(self.classes.names)}
        content["names"] = dict(enumerate(self.classes.names))
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        (self.folder / "data.yaml").write_text(text, encoding="utf-8")

    def split_options(self, split: str) -> dict[str, Any]:
        """See `DatasetWriter`."""
        return {"split": split}

    def _line(self, image: ExportImage, index: int) -> str:
        numbers = [str(int(image.annotation.labels[index])), *_shares(image, index)]
        if self.with_scores and image.scores is not None:
            numbers.append(f"{image.scores[index]:.6f}")
        return " ".join(numbers)


def _shares(image: ExportImage, index: int) -> Iterable[str]:
    """Return the polygon of an object, or the center and sides of its box, as shares of the width and height."""
    height, width = image.size
    masks = image.annotation.masks
    parts = outline(masks[index]).parts if masks is not None and image.outlined(index) else []
    if parts:
        numbers = (join_parts(parts) / (width, height)).ravel().tolist()
    else:
        x1, y1, x2, y2 = image.annotation.boxes[index].tolist()
        numbers = [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]
    return (f"{number:.8f}".rstrip("0").rstrip(".") for number in numbers)
