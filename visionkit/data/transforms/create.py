"""Random transforms by name: those of albumentations, and the registry of additional ones."""

import inspect
from collections.abc import Mapping
from typing import Any, TypeAlias

import cv2

from visionkit.data.datasets.base import VisionDataset
from visionkit.data.transforms.import_albumentations import albumentations
from visionkit.errors import ConfigError
from visionkit.ops.ignore import IGNORE
from visionkit.registry import Registry, suggest

BaseSchema: TypeAlias = albumentations.BasicTransform.InitSchema

transforms: Registry[Any] = Registry("transform", "visionkit.data.transforms")
"""Transforms that albumentations lacks. Each is a subclass of one of albumentations' transform classes."""

register_transform = transforms.register

RESIZING_MODULES = {albumentations.Resize.__module__, albumentations.RandomResizedCrop.__module__}
"""Modules of albumentations' resizing transforms; the geometric transforms of other modules warp."""


class FittedTransform:
    """Base class of transforms that are fitted to the training images before training."""

    def fit(self, dataset: VisionDataset) -> None:
        """Fit the transform to the images of the training split."""
        raise NotImplementedError


def create_transform(step: Mapping[str, Any]) -> Any:
    """Return the transform that a step of a recipe describes.

    Args:
        step: `name`, a transform of albumentations or of the registry, and the transform's arguments.

    Raises:
        ConfigError: the transform is unknown, or its arguments are unknown or invalid.

    Example:
        >>> from visionkit.data.transforms.create import create_transform
        >>> create_transform({"name": "HorizontalFlip", "p": 0.25}).p
        0.25
    """
    arguments = dict(step)
    name = arguments.pop("name", None)
    available = _albumentations_transforms() | {own: transforms.get(own) for own in transforms}
    if name not in available:
        raise ConfigError(f"augment: unknown transform {name!r}{suggest(str(name), available)}")
    transform_class = available[name]
    allowed = inspect.signature(transform_class.__init__).parameters.keys() - {"self"}
    for key in arguments:
        if key not in allowed:
            raise ConfigError(f"augment: {name} has no argument {key!r}{suggest(key, allowed)}")
    try:
        return transform_class(**{**_mask_defaults(transform_class), **arguments})
    except (TypeError, ValueError) as error:
        raise ConfigError(f"augment: {name} does not accept the arguments {arguments}: {_reason(error)}") from error


def _mask_defaults(transform_class: Any) -> dict[str, Any]:
    """Return default arguments for the treatment of masks.

    Pixels that a rotation, shift or pad adds are ignored in the masks. Transforms that drop parts of the image and do
    not change masks by default are left unchanged. When resizing, OpenCV's INTER_NEAREST is shifted by up to half a
    pixel against its other interpolations; INTER_NEAREST_EXACT is not. Warps do not support it and do not need it.
    """
    parameters = inspect.signature(transform_class.__init__).parameters
    defaults: dict[str, Any] = {}
    if "fill_mask" in parameters and parameters["fill_mask"].default is not None:
        defaults["fill_mask"] = IGNORE
    if "mask_interpolation" in parameters and any(
        base.__module__ in RESIZING_MODULES for base in transform_class.__mro__
    ):
        defaults["mask_interpolation"] = cv2.INTER_NEAREST_EXACT
    return defaults


def _reason(error: Exception) -> str:
    """Return the error's message in one line; the first line of pydantic's messages only counts the errors."""
    first, *rest = str(error).splitlines()
    return ": ".join(line.strip() for line in rest[:2]) or first


def _albumentations_transforms() -> dict[str, Any]:
    members, base = vars(albumentations).items(), albumentations.BasicTransform
    return {name: member for name, member in members if inspect.isclass(member) and issubclass(member, base)}
