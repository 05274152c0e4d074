"""Adapter for torchvision's detectors of boxes, such as FCOS, for use from Python."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FCOS, RetinaNet
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from visionkit.errors import ConfigError, VisionkitError
from visionkit.models.base import DetectionModel
from visionkit.models.detection.parts.batch import pad_targets
from visionkit.structures import Prediction, Target

TorchvisionDetector = GeneralizedRCNN | RetinaNet | SSD | FCOS


class BatchOnlyTransform(GeneralizedRCNNTransform):
    """torchvision's transform without resizing and normalization, which the pipeline does. It only makes batches.

    Args:
        size_divisible: height and width of the batch are multiples of it, in pixels.
    """

    def __init__(self, size_divisible: int) -> None:
        super().__init__(1, 1, [0.0] * 3, [1.0] * 3, size_divisible)

    def normalize(self, image: Tensor) -> Tensor:
        """Return the image [3, H, W] unchanged."""
        return image

    def resize(self, image: Tensor, target: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor] | None]:
        """Return image and target unchanged."""
        return image, target


class FromTorchvision(DetectionModel):
    """A detector of boxes of torchvision.

    It is built with K + 1 classes, since torchvision's class 0 is the background. Its own resizing and normalization
    are replaced: the pipeline resizes images, and normalizes them as the detector did unless `preprocess` says
    otherwise. Crowd regions are used as background. There are losses in training mode only, so that validation has
    none. A checkpoint cannot rebuild the model: build it again and load the weights.

    Args:
        network: torchvision's detector, such as `torchvision.models.detection.fcos_resnet50_fpn(num_classes=K + 1)`.
        num_classes: K; labels are 0..K-1.

    Raises:
        ConfigError: not a detector of torchvision, or one of masks or keypoints.

    Example:
        >>> import torch
        >>> from torchvision.models.detection import ssdlite320_mobilenet_v3_large
        >>> import visionkit as vk
        >>> network = ssdlite320_mobilenet_v3_large(num_classes=4, weights=None, weights_backbone=None)
        >>> model = vk.FromTorchvision(network, num_classes=3).eval()
        >>> (prediction,) = model([torch.randn(3, 320, 320)])
        >>> sorted(prediction)
        ['boxes', 'labels', 'scores']
    """

    def __init__(self, network: nn.Module, num_classes: int) -> None:
        super().__init__()
        if not isinstance(network, TorchvisionDetector):
            raise ConfigError(
                f"{type(network).__name__} is not a detector of torchvision: give a FasterRCNN, FCOS, RetinaNet or SSD "
                "of torchvision.models.detection"
            )
        if isinstance(network, GeneralizedRCNN) and (network.roi_heads.has_mask() or network.roi_heads.has_keypoint()):
            raise ConfigError(
                "torchvision's detectors of masks and keypoints are not supported, only those of boxes\n"
                "use visionkit's mask_rcnn for masks"
            )
        own_transform = network.transform
        self.network, self.num_classes = network, num_classes
        self._mean, self._std = tuple(own_transform.image_mean), tuple(own_transform.image_std)
        self.backbone = network.backbone  # not a Backbone; has a learning rate of its own
        network.transform = BatchOnlyTransform(own_transform.size_divisible)

    @property
    def stage_modules(self) -> Mapping[str, Sequence[str]]:
        """Empty: torchvision does not name the stages of its backbones."""
        return {}

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean per channel that the detector normalized images with."""
        return self._mean

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation per channel that the detector normalized images with."""
        return self._std

    def forward(
        self,
        images: list[Tensor],
        targets: list[Target] | None = None,
        proposals: list[Tensor] | None = None,
    ) -> dict[str, Tensor] | list[Prediction]:
        """Return the losses in training mode, the predictions in evaluation mode; see `DetectionModel.forward`.

        Raises:
            DataError: invalid targets; names the image.
            VisionkitError: no targets in training.
        """
        if not self.training:
            return self._predictions(images)
        if targets is None:
            raise VisionkitError("a detector in training mode needs targets; call eval() to predict")
        objects = pad_targets(targets, self.num_classes)
        per_image = map(objects.image, range(len(images)))
        torchvision_targets = [{"boxes": own.boxes, "labels": own.labels + 1} for own in per_image]
        losses: dict[str, Tensor] = self.network(images, torchvision_targets)
        return losses

    def losses_and_predictions(
        self, images: list[Tensor], targets: list[Target]
    ) -> tuple[dict[str, Tensor], list[Prediction]]:
        """Return no losses, and the predictions."""
        return {}, self._predictions(images)

    def _predictions(self, images: list[Tensor]) -> list[Prediction]:
        return [self._to_prediction(result) for result in self.network(images)]

    @staticmethod
    def _to_prediction(result: dict[str, Any]) -> Prediction:
        # Detectors with a sigmoid per class also score the background class.
        objects = torch.where(result["labels"] > 0)[0]
        order = objects[result["scores"][objects].argsort(descending=True, stable=True)]
        labels = result["labels"][order] - 1
        return {"boxes": result["boxes"][order], "scores": result["scores"][order], "labels": labels}
