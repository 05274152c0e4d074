"""The `cifar` format: the original files of CIFAR-10 and CIFAR-100 (cs.toronto.edu/~kriz/cifar.html)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.base import formats
from visionkit.data.datasets.base_classification import ClassificationDataset
from visionkit.data.datasets.cifar_pickle import read_pickle
from visionkit.data.datasets.class_checks import check_labels, check_requested_classes
from visionkit.data.io.images import ImageArray
from visionkit.data.io.paths import require_file, require_folder
from visionkit.errors import DataError

SIDE = 32
VALUES_PER_IMAGE = 3 * SIDE * SIDE

Kind = Literal["fine", "coarse"]


@dataclass(frozen=True)
class Layout:
    """The file names and keys of CIFAR-10 or CIFAR-100.

    Attributes:
        splits: the batch files of each split.
        labels: for each kind of class, the key of the labels in a batch and the key of the names in the meta file.
    """

    splits: Mapping[str, list[str]]
    labels: Mapping[str, tuple[bytes, bytes]]


LAYOUTS = {
    "batches.meta": Layout(
        {"train": [f"data_batch_{number}" for number in range(1, 6)], "test": ["test_batch"]},
        {"fine": (b"labels", b"label_names")},
    ),
    "meta": Layout(
        {"train": ["train"], "test": ["test"]},
        {"fine": (b"fine_labels", b"fine_label_names"), "coarse": (b"coarse_labels", b"coarse_label_names")},
    ),
}
"""By the name of the file with the class names: CIFAR-10 and CIFAR-100."""


@formats.register("cifar")
class Cifar(ClassificationDataset):
    """The original Python batches of CIFAR-10 or CIFAR-100, 32 x 32 pixels, in their original order (Krizhevsky 2009).

    The batches are pickles. They are read without running any code that a pickle may name.

    Args:
        root: folder of the dataset.
        split: train (50,000 images) or test (10,000).
        folder: folder with the batches, relative to `root` ("cifar-10-batches-py").
        kind: which classes of CIFAR-100 to use: fine (100) or coarse (20). CIFAR-10 has only fine classes (10).
        classes: class names; None, or equal to the names in the files.

    Raises:
        DataError: batches are missing or broken, or are not CIFAR batches.

    Example:
        >>> import pickle, tempfile
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from visionkit.data.datasets.cifar import Cifar
        >>> folder = Path(tempfile.mkdtemp())
        >>> meta = {b"label_names": [b"cat", b"dog"]}
        >>> batch = {b"data": np.zeros((3, 3 * 32 * 32), np.uint8), b"labels": [0, 1, 1]}
        >>> for name, content in (("batches.meta", meta), ("test_batch", batch)):
        ...     _ = (folder / name).write_bytes(pickle.dumps(content, protocol=4))
        >>> dataset = Cifar(folder, "test")
        >>> dataset.labels, dataset[0].image.shape
        (array([0, 1, 1]), (32, 32, 3))
    """

    def __init__(
        self,
        root: Path | None,
        split: Literal["train", "test"],
        folder: str = "",
        kind: Kind = "fine",
        classes: list[str] | None = None,
    ) -> None:
        batches = require_folder(require_folder(root, "the cifar format") / folder, "the cifar format")
        meta, layout = _layout(batches)
        if kind not in layout.labels:
            raise DataError(f"{batches} has CIFAR-10, which has no {kind} classes; leave out kind")
        labels_key, names_key = layout.labels[kind]
        self.report: dict[str, int] = {}
        self._split = split
        self.set_class_names(check_requested_classes(_class_names(meta, names_key), classes, meta))
        parts = [_read_batch(batches / name, labels_key, self.class_names) for name in layout.splits[split]]
        self._images = np.concatenate([images for images, _ in parts])
        self.labels = np.concatenate([labels for _, labels in parts])

    def image(self, index: int) -> ImageArray:
        """See `ClassificationDataset`."""
        return np.ascontiguousarray(self._images[index].transpose(1, 2, 0))

    def name(self, index: int) -> str:
        """Return the split and the index of the image, such as "test/3"."""
        return f"{self._split}/{index}"


def _layout(folder: Path) -> tuple[Path, Layout]:
    for name, layout in LAYOUTS.items():
        if (folder / name).is_file():
            return folder / name, layout
    raise DataError(
        f"{folder} has neither batches.meta (CIFAR-10) nor meta (CIFAR-100)\n"
        "set data.root, or download the dataset: visionkit data download"
    )


def _class_names(meta: Path, key: bytes) -> list[str]:
    names = _entries(meta, key)[0]
    if not isinstance(names, list) or not all(isinstance(name, bytes) for name in names) or len(names) < 2:
        raise DataError(f"{meta}: {key.decode()} is not a list of names")
    return [name.decode("utf-8", "replace") for name in names]


def _read_batch(path: Path, labels_key: bytes, class_names: list[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the images, uint8 [N, 3, 32, 32], and labels, int64 [N], of one file."""
    data, labels = _entries(path, b"data", labels_key)
    if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[1] != VALUES_PER_IMAGE:
        raise DataError(f"{path}: data must be rows of {VALUES_PER_IMAGE} bytes, one per image")
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise DataError(f"{path}: {labels_key.decode()} is not a list of integers")
    label_array = np.array(labels, np.int64)
    check_labels(label_array, len(data), class_names, path)
    return data.reshape(-1, 3, SIDE, SIDE), label_array


def _entries(path: Path, *keys: bytes) -> list[Any]:
    """Return the values of several keys of a pickled dict."""
    content = read_pickle(require_file(path))
    if not isinstance(content, dict):
        raise DataError(f"{path} is not a CIFAR batch: it does not contain a dict")
    missing = [key.decode() for key in keys if key not in content]
    if missing:
        raise DataError(f"{path} is not a CIFAR batch: it has no {', '.join(missing)}")
    return [content[key] for key in keys]
