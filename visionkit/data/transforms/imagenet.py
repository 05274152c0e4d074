"""Transforms that ImageNet classifiers are trained with: random crops, scale jitter, and shifts of the color."""

import logging
from collections.abc import Sequence
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from visionkit.data.datasets.base import VisionDataset
from visionkit.data.io.images import ImageArray
from visionkit.data.stats.color_statistics import rgb_principal_axes, sample_pixels
from visionkit.data.transforms.create import BaseSchema, FittedTransform, transforms
from visionkit.data.transforms.import_albumentations import albumentations
from visionkit.data.transforms.resize import resize_image
from visionkit.errors import ConfigError

logger = logging.getLogger("visionkit")

IMAGENET_EIGENVALUES = [0.2175, 0.0188, 0.0045]
IMAGENET_EIGENVECTORS = [[-0.5675, -0.5808, -0.5836], [0.7192, -0.0045, -0.6948], [0.4009, -0.8140, 0.4203]]
"""Principal components of ImageNet's RGB values in 0..1 (fb.resnet.torch, datasets/imagenet.lua)."""


@transforms.register("RandomResizedCrop")
class RandomResizedCrop(albumentations.RandomResizedCrop):
    """Albumentations' RandomResizedCrop, with the same antialiased resizing as in evaluation.

    The arguments are those of albumentations. With `interpolation` or `area_for_downscale`, OpenCV resizes.

    Example:
        >>> from visionkit.data.transforms.augmentation import Augmentation
        >>> from visionkit.data.datasets.shapes import Shapes
        >>> augmentation = Augmentation([{"name": "RandomResizedCrop", "size": [32, 32]}])
        >>> augmentation(Shapes(size=64)[0]).size
        (32, 32)
    """

    def apply(self, img: ImageArray, crop_coords: tuple[int, int, int, int], **params: Any) -> ImageArray:
        """Crop uint8 [H, W, 3] to xyxy pixels, and resize the crop."""
        if self.interpolation != cv2.INTER_LINEAR or self.area_for_downscale is not None:
            return np.asarray(super().apply(img, crop_coords, **params))
        x1, y1, x2, y2 = crop_coords
        return resize_image(img[y1:y2, x1:x2], *self.size)


@transforms.register("ScaleJitter")
class ScaleJitter(albumentations.SmallestMaxSize):
    """Resize the image so that its short side has a random length (Simonyan & Zisserman 2014, section 3.1).

    Usually a random crop follows.

    Args:
        min_side, max_side: range of the short side in pixels, uniform.
        p: probability.

    Example:
        >>> from visionkit.data.transforms.augmentation import Augmentation
        >>> from visionkit.data.datasets.shapes import Shapes
        >>> augmentation = Augmentation([{"name": "ScaleJitter", "min_side": 32, "max_side": 48}])
        >>> 32 <= augmentation(Shapes(size=64)[0]).size[0] <= 48
        True
    """

    class InitSchema(BaseSchema):
        """Types of the arguments, which albumentations checks."""

        min_side: int
        max_side: int

    def __init__(self, min_side: int = 256, max_side: int = 512, p: float = 1.0) -> None:
        if not 1 <= min_side <= max_side:
            raise ValueError(f"min_side={min_side} must be at least 1 and at most max_side={max_side}")
        super().__init__(max_size=max_side, mask_interpolation=cv2.INTER_NEAREST_EXACT, p=p)
        self.min_side, self.max_side = min_side, max_side

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw the length of the short side."""
        return {"scale": self.py_random.randint(self.min_side, self.max_side) / min(params["shape"][:2])}

    def apply(self, img: ImageArray, scale: float, **params: Any) -> ImageArray:
        """Resize uint8 [H, W, 3]."""
        height, width = (max(1, round(side * scale)) for side in img.shape[:2])
        return resize_image(img, height, width)


@transforms.register("PcaColorShift")
class PcaColorShift(albumentations.ImageOnlyTransform, FittedTransform):
    """Add one random color to all pixels, along the principal components of the training images' colors.

    The color is the sum over the components of eigenvector x eigenvalue x a number from N(0, sigma) (Krizhevsky et
    al. 2012, section 4.1). Components that are not given are computed from the training images.

    Args:
        sigma: standard deviation of the random numbers.
        statistics: `imagenet` takes the published components of ImageNet.
        eigenvalues: three eigenvalues, for RGB values in 0..1.
        eigenvectors: the eigenvector of each eigenvalue.
        p: probability.

    Example:
        >>> from visionkit.data.transforms.augmentation import Augmentation
        >>> from visionkit.data.datasets.shapes import Shapes
        >>> augmentation = Augmentation([{"name": "PcaColorShift", "statistics": "imagenet"}])
        >>> augmentation(Shapes(size=64)[0]).size
        (64, 64)
    """

    class InitSchema(BaseSchema):
        """Types of the arguments, which albumentations checks."""

        sigma: float
        statistics: Literal["imagenet"] | None
        eigenvalues: Sequence[float] | None
        eigenvectors: Sequence[Sequence[float]] | None

    def __init__(
        self,
        sigma: float = 0.1,
        statistics: Literal["imagenet"] | None = None,
        eigenvalues: Sequence[float] | None = None,
        eigenvectors: Sequence[Sequence[float]] | None = None,
        p: float = 1.0,
    ) -> None:
        super().__init__(p=p)
        if statistics is not None:
            if eigenvalues is not None or eigenvectors is not None:
                raise ValueError("give either statistics, or eigenvalues and eigenvectors")
            eigenvalues, eigenvectors = IMAGENET_EIGENVALUES, IMAGENET_EIGENVECTORS
        self.sigma = sigma
        self.directions: NDArray[np.float64] | None = None
        if eigenvalues is not None or eigenvectors is not None:
            self.directions = _directions(eigenvalues or (), eigenvectors or ())

    def fit(self, dataset: VisionDataset) -> None:
        """Compute the principal components from a sample of the training images, unless they are given."""
        if self.directions is not None:
            return
        eigenvalues, axes = rgb_principal_axes(sample_pixels(dataset))
        logger.info(
            "PcaColorShift: eigenvalues %s, eigenvectors %s", eigenvalues.round(4).tolist(), axes.round(4).tolist()
        )
        self.directions = _directions(eigenvalues, axes)

    def get_params(self) -> dict[str, Any]:
        """Draw the color, RGB in 0..1."""
        if self.directions is None:
            raise ConfigError(
                "PcaColorShift has no principal components: set statistics: imagenet, or call Augmentation.fit first"
            )
        return {"color": self.random_generator.normal(0, self.sigma, 3) @ self.directions}

    def apply(self, img: ImageArray, color: NDArray[np.float64], **params: Any) -> ImageArray:
        """Add the color to uint8 [H, W, 3], and clip to 0..255."""
        levels = np.arange(256)[:, None] + 255 * color
        return np.asarray(cv2.LUT(img, levels.round().clip(0, 255).astype(np.uint8)[None]), np.uint8)


def _directions(eigenvalues: ArrayLike, eigenvectors: ArrayLike) -> NDArray[np.float64]:
    """Return the eigenvectors as rows [3, 3], each multiplied by its eigenvalue."""
    values, vectors = np.asarray(eigenvalues, np.float64), np.asarray(eigenvectors, np.float64)
    if values.shape != (3,) or vectors.shape != (3, 3) or not (np.isfinite(vectors).all() and (values >= 0).all()):
        raise ValueError("eigenvalues must be three numbers of at least 0, eigenvectors three lists of three numbers")
    return values[:, None] * vectors
