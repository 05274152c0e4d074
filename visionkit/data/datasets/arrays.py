"""The `arrays` format: the encoded files of many small images in one NumPy archive."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.base import formats
from visionkit.data.datasets.base_classification import ClassificationDataset
from visionkit.data.datasets.class_checks import check_at_least_two_classes, check_labels, check_requested_classes
from visionkit.data.datasets.image_reader import ImageReader
from visionkit.data.io.images import ImageArray, decode_image
from visionkit.data.io.npz import read_npz
from visionkit.data.io.paths import require_file, require_folder
from visionkit.errors import DataError

KEYS = ("jpeg", "offsets", "labels", "class_names")


@formats.register("arrays")
class ArrayDataset(ImageReader, ClassificationDataset):
    """Images of an .npz file. They stay encoded in memory and are decoded when they are asked for.

    The file has the arrays `jpeg`, uint8, all JPEG or PNG files one after the other; `offsets`, int64 [N + 1], where
    image i is `jpeg[offsets[i]:offsets[i + 1]]`; `labels`, [N] in 0..K-1; and `class_names`, [K].

    Args:
        root: folder of the dataset.
        file: the .npz file, relative to `root`.
        classes: class names; None, or equal to the names in the file.

    Raises:
        DataError: the file is missing, broken or inconsistent.

    Example:
        >>> import io, tempfile
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from PIL import Image
        >>> from visionkit.data.datasets.arrays import ArrayDataset
        >>> folder, encoded = Path(tempfile.mkdtemp()), io.BytesIO()
        >>> Image.new("RGB", (8, 6)).save(encoded, "PNG")
        >>> jpeg = np.frombuffer(encoded.getvalue(), np.uint8)
        >>> arrays = {"offsets": np.array([0, len(jpeg)]), "labels": np.array([1]), "class_names": ["cat", "dog"]}
        >>> np.savez(folder / "two.npz", jpeg=jpeg, **arrays)
        >>> ArrayDataset(folder, "two.npz")[0].size
        (6, 8)
    """

    def __init__(self, root: Path | None, file: str, classes: list[str] | None = None) -> None:
        source = require_file(require_folder(root, "the arrays format") / file)
        arrays = _read(source)
        self.report: dict[str, int] = {}
        self._stem, self._files, self._offsets = source.stem, arrays["jpeg"], arrays["offsets"].astype(np.int64)
        self.labels = arrays["labels"].astype(np.int64)
        self.set_class_names(check_requested_classes(arrays["class_names"].astype(str).tolist(), classes, source))
        _check_offsets(self._offsets, len(self._files), source)
        check_labels(self.labels, len(self._offsets) - 1, self.class_names, source)
        check_at_least_two_classes(self.class_names, source)

    def image(self, index: int) -> ImageArray:
        """See `ClassificationDataset`."""
        return decode_image(self.encoded(index), self.name(index), self.bit_depth)

    def encoded(self, index: int) -> bytes:
        """See `ImageReader`."""
        start, end = self._offsets[index], self._offsets[index + 1]
        return self._files[start:end].tobytes()

    def name(self, index: int) -> str:
        """Return the stem of the file and the index of the image, such as "train/3"."""
        return f"{self._stem}/{index}"


def _read(source: Path) -> dict[str, NDArray[Any]]:
    arrays = read_npz(source, "archive", KEYS)
    kinds = {"jpeg": "u", "offsets": "iu", "labels": "iu", "class_names": "US"}
    for key, array in arrays.items():
        if array.ndim != 1 or array.dtype.kind not in kinds[key] or (key == "jpeg" and array.dtype != np.uint8):
            raise DataError(f"{source}: the array {key} is {array.dtype} {list(array.shape)}; see `ArrayDataset`")
    return arrays


def _check_offsets(offsets: NDArray[np.int64], length: int, source: Path) -> None:
    if len(offsets) < 2 or offsets[0] != 0 or offsets[-1] != length or (np.diff(offsets) < 0).any():
        raise DataError(f"{source}: offsets must increase from 0 to {length}, the length of jpeg")
