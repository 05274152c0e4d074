"""Cache of boxes on disk: one file per image, with the image's content and the method as key."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visionkit.data.io.atomic_write import atomic_write
from visionkit.data.io.images import ImageArray

VERSION = 1
"""Version of the boxes, increased whenever the same parameters give other boxes, so that cached ones are recomputed."""


class BoxCache:
    """Folder of cached boxes.

    Args:
        folder: path of the folder, which is created when the first boxes are saved.
        method: name and parameters of the method that computes the boxes.
    """

    def __init__(self, folder: Path, method: str) -> None:
        self.folder, self.method = folder, method

    def path(self, image: ImageArray) -> Path:
        """Return the path of the file with the boxes of an image."""
        digest = hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16)
        digest.update(f"{VERSION} {self.method} {image.shape}".encode())
        name = digest.hexdigest()
        return self.folder / name[:2] / f"{name}.npy"

    def get(self, image: ImageArray, compute: Callable[[], NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return the boxes of an image, float32 [P, 4]; compute and save them if their file is missing or damaged."""
        path = self.path(image)
        try:
            return np.load(path).astype(np.float32).reshape(-1, 4)
        except (OSError, ValueError, EOFError):
            boxes = compute()
        with atomic_write(path) as file:
            np.save(file, boxes)
        return boxes
