"""Mixin of the datasets whose images are decoded from files."""

from pathlib import Path

from visionkit.data.io.images import ImageArray, read_image


class ImageReader:
    """Mixin of datasets that decode images, of which gray ones may have 16 bits per value.

    Attributes:
        bit_depth: number of bits that these values use, see `read_image`. `VisionData` sets it for all its splits.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from PIL import Image
        >>> from visionkit.data.datasets.image_reader import ImageReader
        >>> path = Path(tempfile.mkdtemp()) / "a.png"
        >>> Image.fromarray(np.full((6, 8), 4095, np.uint16)).save(path)
        >>> reader = ImageReader()
        >>> reader.bit_depth = 12
        >>> reader.read(path).max()
        np.uint8(255)
    """

    bit_depth: int | None = None

    def path(self, index: int) -> Path | None:
        """Return the path of the image file; None if the image has no file of its own."""
        return None

    def read(self, path: Path) -> ImageArray:
        """Return an image file as an RGB array, uint8 [H, W, 3]; see `read_image`."""
        return read_image(path, self.bit_depth)
