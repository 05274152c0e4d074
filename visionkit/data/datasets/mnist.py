"""The `mnist` format: idx files of MNIST, Fashion-MNIST and others (LeCun 1998, yann.lecun.com/exdb/mnist)."""

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.base import formats
from visionkit.data.datasets.base_classification import ClassificationDataset
from visionkit.data.datasets.class_checks import check_at_least_two_classes, check_labels
from visionkit.data.io.images import ImageArray
from visionkit.data.io.paths import require_file, require_folder
from visionkit.errors import DataError

UINT8_CODE = 8
"""Third byte of an idx file with uint8 values."""

CHUNK_BYTES = 1 << 24
"""Number of bytes that are read at a time."""

DIGITS = [str(digit) for digit in range(10)]


@formats.register("mnist")
class Mnist(ClassificationDataset):
    """Gray images of one size and their labels, from two idx files, plain or gzipped. The values are not inverted.

    Args:
        root: folder of the dataset.
        images: idx file of the images, relative to `root`; if it does not exist, `<images>.gz` is read.
        labels: idx file of the labels, likewise.
        classes: class names in label order, which idx files do not have; None takes the digits.

    Raises:
        DataError: a file is missing, its magic number or size is wrong, or the two files do not match.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from visionkit.data.datasets.mnist import Mnist
        >>> folder = Path(tempfile.mkdtemp())
        >>> header = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 28])  # uint8, 3 dimensions: 2, 28, 28
        >>> _ = (folder / "train-images-idx3-ubyte").write_bytes(header + bytes(2 * 28 * 28))
        >>> _ = (folder / "train-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 5, 0]))
        >>> dataset = Mnist(folder, "train-images-idx3-ubyte", "train-labels-idx1-ubyte")
        >>> dataset.labels, dataset[0].image.shape
        (array([5, 0]), (28, 28, 3))
    """

    def __init__(self, root: Path | None, images: str, labels: str, classes: list[str] | None = None) -> None:
        folder = require_folder(root, "the mnist format")
        source = _plain_or_gzipped(folder / images)
        self.report: dict[str, int] = {}
        self._images = read_idx(source, num_dims=3)
        self._stem = images
        self.labels = read_idx(_plain_or_gzipped(folder / labels), num_dims=1).astype(np.int64)
        self.set_class_names(DIGITS if classes is None else list(classes))
        check_at_least_two_classes(self.class_names, "data.classes")
        check_labels(self.labels, len(self._images), self.class_names, source)

    def image(self, index: int) -> ImageArray:
        """See `ClassificationDataset`; the three channels are equal."""
        return np.repeat(self._images[index][..., None], 3, axis=2)

    def name(self, index: int) -> str:
        """Return the file name and the index of the image, such as "train-images-idx3-ubyte/3"."""
        return f"{self._stem}/{index}"


def read_idx(path: Path, num_dims: int) -> NDArray[np.uint8]:
    """Return the array of an idx file.

    The header has two zero bytes, the type of the values, the number of dimensions, and the length of each as a
    big-endian 32-bit number. The values follow.

    Args:
        path: the file; it is decompressed if its name ends in `.gz`.
        num_dims: expected number of dimensions.

    Raises:
        DataError: the file has another type or number of dimensions, or its size does not match its header.
    """
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            shape = _shape(file.read(4 + 4 * num_dims), num_dims, path)
            # One extra byte shows that the file is too long; the rest of a far larger file is not decompressed.
            values = _read_at_most(file, math.prod(shape) + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} cannot be decompressed: {error}") from error
    expected = math.prod(shape)
    if len(values) != expected:
        size = "more" if len(values) > expected else f"{len(values)}"
        raise DataError(f"{path}: the header has the shape {shape}, which needs {expected} bytes, but there are {size}")
    return np.frombuffer(values, np.uint8).reshape(shape)


def _shape(header: bytes, num_dims: int, path: Path) -> list[int]:
    """Return the shape that is stored in the header of an idx file."""
    if header[:4] != bytes([0, 0, UINT8_CODE, num_dims]) or len(header) < 4 + 4 * num_dims:
        start = header[:4].hex(" ")
        raise DataError(f"{path} is not an idx file with {num_dims} dimensions: its first bytes are {start}")
    shape: list[int] = np.frombuffer(header[4:], ">u4").tolist()
    return shape


def _read_at_most(file: BinaryIO | gzip.GzipFile, size: int) -> bytes:
    """Return up to `size` bytes, read in chunks: a wrong header may state a size that does not fit in memory."""
    pieces = []
    while size and (piece := file.read(min(size, CHUNK_BYTES))):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _plain_or_gzipped(path: Path) -> Path:
    gzipped = path.with_name(path.name + ".gz")
    return gzipped if os.path.isfile(gzipped) and not os.path.isfile(path) else require_file(path)
