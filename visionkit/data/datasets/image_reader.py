"""Mixin of the datasets whose images are decoded from files."""

from pathlib import Path

from visionkit.data.io.image_files import MAX_FILE_BYTES
from visionkit.data.io.images import ImageArray, read_image
from visionkit.data.io.paths import read_bytes


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

    def encoded(self, index: int) -> bytes | None:
        """Return the content of the image file, also of one inside of another file; None if there is none.

        Raises:
            DataError: the file cannot be read.
        """
        path = self.path(index)
        return None if path is None else read_bytes(path, "image", MAX_FILE_BYTES)

    def read(self, path: Path) -> ImageArray:
        """Return an image file as an RGB array, uint8 [H, W, 3]; see `read_image`."""
        return read_image(path, self.bit_depth)
