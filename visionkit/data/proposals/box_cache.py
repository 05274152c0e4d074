"""Boxes kept on disk, one file an image, found by what the image shows and how they were computed."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visionkit.data.io.atomic_write import atomic_write
from visionkit.data.io.images import ImageArray

VERSION = 1
"""Raised whenever the same parameters come to give other boxes: what was kept before is then computed anew."""


class BoxCache:
    """A folder of boxes.

    Args:
        folder: made when the first boxes are kept.
        method: name and parameters of what computes the boxes.
    """

    def __init__(self, folder: Path, method: str) -> None:
        self.folder, self.method = folder, method

    def path(self, image: ImageArray) -> Path:
        """Where the boxes of an image are kept."""
        digest = hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16)
        digest.update(f"{VERSION} {self.method} {image.shape}".encode())
        name = digest.hexdigest()
        return self.folder / name[:2] / f"{name}.npy"

    def get(self, image: ImageArray, compute: Callable[[], NDArray[np.float32]]) -> NDArray[np.float32]:
        """The boxes of an image, float32 [P, 4]; computed and kept where they are not yet there, or broken."""
        path = self.path(image)
        try:
            return np.load(path).astype(np.float32).reshape(-1, 4)
        except (OSError, ValueError, EOFError):
            boxes = compute()
        with atomic_write(path) as file:
            np.save(file, boxes)
        return boxes
