"""Random transforms by the names that recipes use: albumentations' own, and those it lacks."""

import inspect
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.base import VisionDataset
from visionkit.data.io.images import ImageArray
from visionkit.data.stats.color import rgb_principal_axes, sample_pixels
from visionkit.data.transforms.quiet_albumentations import albumentations
from visionkit.data.transforms.resize import resize_image
from visionkit.errors import ConfigError
from visionkit.ops.ignore import IGNORE
from visionkit.registry import Registry, suggest

logger = logging.getLogger("visionkit")

Schema = albumentations.BasicTransform.InitSchema

transforms: Registry[Any] = Registry("transform")
"""Our own transforms; each works like one of albumentations', and is seeded by the pipeline that it stands in."""

register_transform = transforms.register

RESIZING_MODULES = {albumentations.Resize.__module__, albumentations.RandomResizedCrop.__module__}
"""Where albumentations has its transforms that resize; those of other modules warp."""

IMAGENET_AXES = (
    [0.2175, 0.0188, 0.0045],
    [[-0.5675, -0.5808, -0.5836], [0.7192, -0.0045, -0.6948], [0.4009, -0.8140, 0.4203]],
)
"""Eigenvalues and axes of ImageNet's RGB values in 0..1, as fb.resnet.torch (datasets/imagenet.lua) publishes them."""


@runtime_checkable
class Measuring(Protocol):
    """A transform that wants to know the training images."""

    def measure(self, reader: VisionDataset) -> None:
        """Look at them; called once, before training."""
        ...


def make_transform(step: Mapping[str, Any]) -> Any:
    """The transform that a step of the recipe names.

    Args:
        step: `name` and the transform's arguments ({"name": "HorizontalFlip", "p": 0.5}).

    Raises:
        ConfigError: an unknown transform, or arguments it does not have or refuses.
    """
    arguments = dict(step)
    name = arguments.pop("name", None)
    known = _albumentations() | {own: transforms.get(own) for own in transforms}
    if name not in known:
        raise ConfigError(f"augment: unknown transform {name!r}{suggest(str(name), known)}")
    allowed = inspect.signature(known[name].__init__).parameters.keys() - {"self"}
    for key in arguments:
        if key not in allowed:
            raise ConfigError(f"augment: {name} has no argument {key!r}{suggest(key, allowed)}")
    try:
        return known[name](**{**_mask_defaults(known[name]), **arguments})
    except (TypeError, ValueError) as error:
        raise ConfigError(f"augment: {name} refuses its arguments {arguments}: {_reason(error)}") from error


def _mask_defaults(kind: Any) -> dict[str, Any]:
    """What a transform is to do with masks where the recipe does not say.

    What a rotation, shift or pad uncovers is of no class. A transform that drops parts of the image, and leaves
    masks alone by default, is left to do so. OpenCV's nearest neighbor lies up to half a pixel (of the larger of the
    two sizes) off its other ways of resizing, the exact kind does not; warps know no such kind and need none.
    """
    takes = inspect.signature(kind.__init__).parameters
    defaults: dict[str, Any] = {}
    if "fill_mask" in takes and takes["fill_mask"].default is not None:
        defaults["fill_mask"] = IGNORE
    if "mask_interpolation" in takes and any(base.__module__ in RESIZING_MODULES for base in kind.__mro__):
        defaults["mask_interpolation"] = cv2.INTER_NEAREST_EXACT
    return defaults


def _reason(error: Exception) -> str:
    """What is wrong, in a line; pydantic's first line only counts its errors."""
    first, *rest = str(error).splitlines()
    return ": ".join(line.strip() for line in rest[:2]) or first


def _albumentations() -> dict[str, Any]:
    found, base = vars(albumentations).items(), albumentations.BasicTransform
    return {name: kind for name, kind in found if inspect.isclass(kind) and issubclass(kind, base)}


@transforms.register("RandomResizedCrop")
class RandomResizedCrop(albumentations.RandomResizedCrop):
    """Albumentations' own, resizing as evaluation does unless the recipe asks for another way.

    Its arguments are those of albumentations; with `interpolation` or `area_for_downscale` OpenCV resizes.
    """

    def apply(self, img: ImageArray, crop_coords: tuple[int, int, int, int], **params: Any) -> ImageArray:
        """Crop uint8 [H, W, 3] to xyxy pixels, and resize."""
        if self.interpolation != cv2.INTER_LINEAR or self.area_for_downscale is not None:
            return super().apply(img, crop_coords, **params)
        x1, y1, x2, y2 = crop_coords
        return resize_image(img[y1:y2, x1:x2], *self.size)


@transforms.register("ScaleJitter")
class ScaleJitter(albumentations.SmallestMaxSize):
    """Resize so that the short side has a length drawn evenly from a range (Simonyan 2014, section 3.1).

    A random crop is meant to follow.

    Args:
        min_side, max_side: least and greatest length in pixels.
        p: probability.
    """

    class InitSchema(Schema):  # type: ignore[misc, valid-type]
        """What albumentations holds the arguments to."""

        min_side: int
        max_side: int

    def __init__(self, min_side: int = 256, max_side: int = 512, p: float = 1.0) -> None:
        if not 1 <= min_side <= max_side:
            raise ValueError(f"1 <= min_side {min_side} <= max_side {max_side} must hold")
        super().__init__(max_size=max_side, mask_interpolation=cv2.INTER_NEAREST_EXACT, p=p)
        self.min_side, self.max_side = min_side, max_side

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw the short side's length."""
        return {"scale": self.py_random.randint(self.min_side, self.max_side) / min(params["shape"][:2])}

    def apply(self, img: ImageArray, scale: float, **params: Any) -> ImageArray:
        """Resize uint8 [H, W, 3]."""
        height, width = (max(1, round(side * scale)) for side in img.shape[:2])
        return resize_image(img, height, width)


@transforms.register("PcaColorShift")
class PcaColorShift(albumentations.ImageOnlyTransform):
    """Add one color to all pixels, drawn along the principal axes of the training set's colors.

    The color is the sum over the axes of axis x eigenvalue x a number drawn from N(0, sigma) (Krizhevsky 2012,
    section 4.1). Where nothing is said of the axes, they are measured on the training images.

    Args:
        sigma: standard deviation of the numbers drawn.
        statistics: `imagenet` takes the axes published for it.
        eigenvalues: three, of RGB values in 0..1.
        eigenvectors: the axis of each.
        p: probability.
    """

    class InitSchema(Schema):  # type: ignore[misc, valid-type]
        """What albumentations holds the arguments to."""

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
        given = (eigenvalues, eigenvectors) if statistics is None else IMAGENET_AXES
        if statistics is not None and (eigenvalues, eigenvectors) != (None, None):
            raise ValueError("give statistics, or eigenvalues and eigenvectors, but not both")
        self.sigma = sigma
        self.directions = None if given == (None, None) else _directions(*given)

    def measure(self, reader: VisionDataset) -> None:
        """Measure the axes on a sample of the training images, unless they are known."""
        if self.directions is not None:
            return
        eigenvalues, axes = rgb_principal_axes(sample_pixels(reader))
        logger.info(
            "PcaColorShift: eigenvalues %s, eigenvectors %s", eigenvalues.round(4).tolist(), axes.round(4).tolist()
        )
        self.directions = _directions(eigenvalues, axes)

    def get_params(self) -> dict[str, Any]:
        """Draw the color, RGB in 0..1."""
        if self.directions is None:
            raise ConfigError("PcaColorShift knows no axes: give statistics: imagenet, or call Augmentation.fit first")
        return {"color": self.random_generator.normal(0, self.sigma, 3) @ self.directions}

    def apply(self, img: ImageArray, color: NDArray[np.float64], **params: Any) -> ImageArray:
        """Add the color to uint8 [H, W, 3]; what would leave 0..255 is cut off."""
        levels = np.arange(256)[:, None] + 255 * color
        return cv2.LUT(img, levels.round().clip(0, 255).astype(np.uint8)[None])  # type: ignore[return-value]


def _directions(eigenvalues: Any, axes: Any) -> NDArray[np.float64]:
    """The axes as rows [3, 3], each as long as its eigenvalue."""
    values, rows = (np.asarray(() if given is None else given, np.float64) for given in (eigenvalues, axes))
    if values.shape != (3,) or rows.shape != (3, 3) or not (np.isfinite(rows).all() and (values >= 0).all()):
        raise ValueError("eigenvalues must be three numbers of at least 0, eigenvectors three lists of three numbers")
    return values[:, None] * rows
