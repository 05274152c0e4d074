"""Base classes of all models: the contract of each task, with a default for every optional feature."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional

from visionkit.backbones.base import Backbone
from visionkit.errors import ConfigError
from visionkit.ops.nms import NMSOptions
from visionkit.structures import Prediction, Target


class Model(nn.Module):
    """Base of all models: a backbone, and layers that make predictions from its feature maps.

    Attributes:
        task: name of the task that trains the model.
        can_be_head: whether the model can be a head of a `MultiHead`. It then calls its backbone with whole images, and
            does not change it.
        backbone: computes the feature maps.
        num_classes: K, without background.

    Example:
        >>> import visionkit as vk
        >>> model = vk.RetinaNet(vk.create_backbone("resnet18", weights="none"), num_classes=2)
        >>> isinstance(model, vk.Model), model.task, model.spec["name"]
        (True, 'detection', 'retinanet')
    """

    task: ClassVar[str]
    can_be_head: ClassVar[bool] = True
    registered_name: ClassVar[str | None] = None
    backbone: Backbone
    num_classes: int

    @property
    def spec(self) -> dict[str, Any] | None:
        """Primitives from which `create_model` builds the same structure; None for a class without a registered name.

        `models.register` gives a class its name, and makes its instances keep their arguments. A subclass that is not
        registered itself has no `spec`, because the name would build its base class.
        """
        name = type(self).__dict__.get("registered_name")
        if name is None:
            return None
        return {"name": name, **self.__dict__["constructor_arguments"], "backbone": self.backbone.spec}

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean per channel, on images in 0..1, that inputs are normalized with."""
        return self.backbone.mean if isinstance(self.backbone, Backbone) else Backbone.mean

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation per channel, on images in 0..1, that inputs are normalized with."""
        return self.backbone.std if isinstance(self.backbone, Backbone) else Backbone.std

    @property
    def stage_modules(self) -> Mapping[str, Sequence[str]]:
        """Names of the backbone's modules by stage, shallow to deep; empty where the backbone has no stages."""
        return self.backbone.stage_modules if isinstance(self.backbone, Backbone) else {}


class DetectionModel(Model):
    """Base of detectors: boxes, scores and labels for each image, as in torchvision.

    Attributes:
        takes_proposals: whether the model needs external region proposals. In training the targets then have
            `proposals`, and in evaluation it is called as `model(images, proposals=...)`.
        predicts_masks: whether predictions have `mask_probabilities`.

    Example:
        >>> import visionkit as vk
        >>> import torch
        >>> model = vk.RetinaNet(vk.create_backbone("resnet18", weights="none"), num_classes=2).eval()
        >>> with torch.no_grad():
        ...     predictions = model([torch.zeros(3, 64, 64)])
        >>> sorted(predictions[0])
        ['boxes', 'labels', 'scores']
    """

    task: ClassVar[str] = "detection"
    takes_proposals: ClassVar[bool] = False
    predicts_masks: ClassVar[bool] = False

    def forward(
        self,
        images: list[Tensor],
        targets: list[Target] | None = None,
        proposals: list[Tensor] | None = None,
    ) -> dict[str, Tensor] | list[Prediction]:
        """Return the losses in training mode, the predictions in evaluation mode.

        Args:
            images: normalized float [3, H, W] each, of any size.
            targets: in training, per image `boxes` float32 [N, 4] xyxy in its pixels, `labels` int64 [N] in 0..K-1,
                and optionally `crowd` bool [N] and `image_id`. Their values, and those of images, are checked on a CPU;
                on a GPU each training step would wait for it.
            proposals: in evaluation of a model that `takes_proposals`, per image float32 [P, 4] in its pixels.

        Returns:
            A dict of scalar losses, or per image `boxes` float32 [M, 4] in its pixels, `scores` [M] in
            descending order, `labels` int64 [M] in 0..K-1.
        """
        raise NotImplementedError

    def losses_and_predictions(
        self, images: list[Tensor], targets: list[Target]
    ) -> tuple[dict[str, Tensor], list[Prediction]]:
        """Return both results of `forward` from one pass, in the present mode; the losses may be empty."""
        raise NotImplementedError

    @property
    def nms_options(self) -> NMSOptions | None:
        """Options of the NMS that filters predictions; None if the model declares none."""
        return None

    @property
    def fitted_layers(self) -> nn.ModuleDict:
        """Layers that are fitted after the last epoch, by the name of the stage that fits them; empty by default."""
        return nn.ModuleDict()

    def anchor_shapes(self, input_size: tuple[int, int] | None = None) -> Tensor | None:
        """Return width and height [A, 2] of all anchor shapes, in input pixels, on the CPU; None without anchors.

        Args:
            input_size: height and width of the model's input, on which the anchors of some models depend.
        """
        return None


class ClassificationModel(Model):
    """Base of classifiers: logits [B, K] of images [B, 3, H, W].

    Attributes:
        multi_label: whether an image has any number of classes. Each logit then goes through a sigmoid of its own, and
            the loss is binary cross-entropy; otherwise a softmax goes over all of them.

    Example:
        >>> import visionkit as vk
        >>> import torch
        >>> from torch import nn
        >>> class Linear(vk.ClassificationModel):
        ...     def __init__(self, backbone, num_classes):
        ...         super().__init__()
        ...         self.backbone, self.num_classes = backbone, num_classes
        ...         *_, deepest = backbone.stages.values()
        ...         self.head = nn.Linear(deepest.channels, num_classes)
        ...
        ...     def forward(self, x):
        ...         *_, deepest = self.backbone(x).values()
        ...         return self.head(deepest.mean(dim=(2, 3)))
        >>> model = Linear(vk.create_backbone("resnet18", weights="none"), num_classes=2)
        >>> model(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 2])
    """

    task: ClassVar[str] = "classification"
    multi_label: bool = False

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [B, K] of normalized images [B, 3, H, W]."""
        raise NotImplementedError

    def weighted_logits(self, x: Tensor) -> list[tuple[float, Tensor]]:
        """Return loss weight and logits [B, K] of every head; the main head comes first, with weight 1.

        Auxiliary heads are included in training mode only.
        """
        return [(1.0, self(x))]

    def classify_features(self, features: Tensor) -> Tensor:
        """Return logits [B, K] of cached features, see `visionkit.engine.feature_cache`.

        Raises:
            ConfigError: the model has no head that takes features alone.
        """
        raise ConfigError(f"{type(self).__name__} cannot classify cached features")

    def fully_convolutional(self, x: Tensor) -> Tensor:
        """Return logits [B, K, h, w] at every position of larger images [B, 3, H, W], fully convolutionally.

        Raises:
            ConfigError: the model has no fully convolutional form.
        """
        raise ConfigError(f"{type(self).__name__} has no dense form; use other views, for example grid")


class SegmentationModel(Model):
    """Base of segmentation models: logits [B, K, H, W] of images [B, 3, H, W] of any size.

    `forward` pads images at the right and at the bottom with zeros, the mean color after normalization, so that height
    and width are multiples of `stride`. The logits of the padding are cropped.

    Attributes:
        stride: divisor of the padded height and width, as a rule the greatest stride of the model; 1 for no padding.
        min_size: smallest padded height and width in pixels, a multiple of `stride`.

    Example:
        >>> import visionkit as vk
        >>> import torch
        >>> model = vk.UNet(vk.create_backbone("resnet18", weights="none"), num_classes=2)
        >>> model(torch.zeros(2, 3, 50, 70)).shape
        torch.Size([2, 2, 50, 70])
    """

    task: ClassVar[str] = "segmentation"
    stride: int = 1
    min_size: int = 0

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [B, K, H, W] of normalized images [B, 3, H, W]."""
        height, width = x.shape[-2:]
        bottom, right = (max(-side % self.stride, self.min_size - side) for side in (height, width))
        if not (bottom or right):
            return self._logits(x)
        return self._logits(functional.pad(x, (0, right, 0, bottom)))[..., :height, :width]

    def weighted_logits(self, x: Tensor) -> list[tuple[float, Tensor]]:
        """Return loss weight and logits [B, K, H, W] of every head; the main head comes first, with weight 1.

        Auxiliary heads are included in training mode only.
        """
        return [(1.0, self(x))]

    def _logits(self, x: Tensor) -> Tensor:
        """Return logits [B, K, h, w] of [B, 3, h, w], with h and w multiples of `stride`."""
        raise NotImplementedError
