"""Writing the `masks` format: a palette PNG of the semantic mask of each image."""

from typing import Any

import numpy as np
from PIL import Image

from visionkit.data.export.base import DatasetWriter, ExportImage, writers
from visionkit.errors import DataError
from visionkit.ops.ignore import IGNORE
from visionkit.ops.palette import class_color
from visionkit.structures import Color

IGNORE_COLOR = (224, 224, 192)
"""Color of ignored pixels, as in Pascal VOC."""


@writers.register("masks")
class MaskWriter(DatasetWriter):
    """Writes `masks/<split>/<name>.png`, whose values are the labels of the classes, and 255 for ignored pixels."""

    format = "masks"
    holds = frozenset({"semantic"})
    first_id = 0

    def write(self, image: ExportImage) -> None:
        """See `DatasetWriter`."""
        if image.semantic is None:
            raise DataError(f"the image {image.name} has no semantic mask")
        indexed = Image.fromarray(image.semantic).convert("L")
        indexed.putpalette(np.array(self._palette(), np.uint8).tobytes())
        path = self.folder / "masks" / image.split / f"{image.stem}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        indexed.save(path)

    def split_options(self, split: str) -> dict[str, Any]:
        """See `DatasetWriter`."""
        values = {**dict(enumerate(self.classes.names)), IGNORE: "ignore"}
        return {"images": self.image_folder(split), "masks": f"masks/{split}", "values": values}

    def _palette(self) -> list[Color]:
        """Return the colors of all 256 values."""
        colors = self.classes.colors or [class_color(label) for label in range(len(self.classes.names))]
        return [*colors, *[(0, 0, 0)] * (IGNORE - len(colors)), IGNORE_COLOR]
