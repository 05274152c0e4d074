"""MNIST's idx files (LeCun 1998, yann.lecun.com/exdb/mnist), in which Fashion-MNIST and others come too."""

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.base import formats
from visionkit.data.datasets.classification import ClassificationDataset, refuse_single_class, refuse_wrong_labels
from visionkit.data.io.images import ImageArray
from visionkit.data.io.paths import existing_file, existing_folder
from visionkit.errors import DataError

UNSIGNED_BYTES = 8
"""The third byte of an idx file: its values are uint8."""

CHUNK = 1 << 24
"""Bytes read at a time."""

DIGITS = [str(digit) for digit in range(10)]


@formats.register("mnist")
class Mnist(ClassificationDataset):
    """Gray images of one size, white on black as stored, and their labels; each file plain or with `.gz`.

    Args:
        root: folder of the data set.
        images: idx file of the images, relative to `root`; where it is not there, `<images>.gz` is read.
        labels: idx file of the labels, likewise.
        classes: class names in label order, which idx files do not hold; None: the digits.

    Raises:
        DataError: a file is missing, its magic number or size is wrong, or the two do not fit each other.
    """

    def __init__(self, root: Path | None, images: str, labels: str, classes: list[str] | None = None) -> None:
        folder = existing_folder(root, "the mnist format")
        source = _plain_or_packed(folder / images)
        self.report: dict[str, int] = {}
        self._images = read_idx(source, axes=3)
        self._stem = images
        self.labels = read_idx(_plain_or_packed(folder / labels), axes=1).astype(np.int64)
        self.name_classes(DIGITS if classes is None else list(classes))
        refuse_single_class(self.class_names, "data.classes")
        refuse_wrong_labels(self.labels, len(self._images), self.class_names, source)

    def image(self, index: int) -> ImageArray:
        """See `ClassificationDataset`; three equal channels."""
        return np.repeat(self._images[index][..., None], 3, axis=2)

    def name(self, index: int) -> str:
        """The images' file and the number in it."""
        return f"{self._stem}/{index}"


def read_idx(path: Path, axes: int) -> NDArray[np.uint8]:
    """Values of an idx file.

    The file begins with two zero bytes, the type of its values, the number of axes, and the length of each as a
    big-endian 32-bit number; the values follow.

    Args:
        path: the file; a name that ends in `.gz` is unpacked.
        axes: how many there must be.

    Raises:
        DataError: the file is none of unsigned bytes with so many axes, or its size is not what its head says.
    """
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            lengths = _lengths(file.read(4 + 4 * axes), axes, path)
            # One byte more would be too many; of a file that unpacks to far more, no more than that is unpacked.
            values = _at_most(file, math.prod(lengths) + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} cannot be unpacked: {error}") from error
    expected = math.prod(lengths)
    if len(values) != expected:
        size = "more" if len(values) > expected else f"{len(values)}"
        raise DataError(f"{path}: its head says {lengths}, which makes {expected} bytes, but there are {size}")
    return np.frombuffer(values, np.uint8).reshape(lengths)


def _lengths(head: bytes, axes: int, path: Path) -> list[int]:
    """Length of each axis as the head of an idx file says."""
    if head[:4] != bytes([0, 0, UNSIGNED_BYTES, axes]) or len(head) < 4 + 4 * axes:
        raise DataError(f"{path} is no idx file of {axes} axes: it begins with the bytes {head[:4].hex(' ')}")
    lengths: list[int] = np.frombuffer(head[4:], ">u4").tolist()
    return lengths


def _at_most(file: Any, size: int) -> bytes:
    """The next `size` bytes, or what there is; piece by piece, for a wrong head may promise more than memory holds."""
    pieces = []
    while size and (piece := file.read(min(size, CHUNK))):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _plain_or_packed(path: Path) -> Path:
    packed = path.with_name(path.name + ".gz")
    return packed if packed.is_file() and not path.is_file() else existing_file(path)
