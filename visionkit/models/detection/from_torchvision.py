"""Any of torchvision's detectors (FCOS and others that the kit has no model of) under `Detection`, from Python."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from visionkit.errors import ConfigError, VisionkitError
from visionkit.models.base import DetectionModel
from visionkit.models.detection.parts.batch import split_targets
from visionkit.structures import Prediction, Target


class NoTransform(GeneralizedRCNNTransform):
    """Puts images into a batch that the task has resized and normalized already.

    Args:
        size_divisible: the batch's sides are multiples of it, in pixels.
    """

    def __init__(self, size_divisible: int) -> None:
        super().__init__(1, 1, [0.0] * 3, [1.0] * 3, size_divisible)

    def normalize(self, image: Tensor) -> Tensor:
        """The image [3, H, W] as it is."""
        return image

    def resize(self, image: Tensor, target: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor] | None]:
        """Image and target as they are."""
        return image, target


class FromTorchvision(DetectionModel):
    """A detector of torchvision that gives boxes.

    It is built with K + 1 classes, of which torchvision keeps 0 for the background. What it does to images by itself
    is taken away: the task resizes them, and normalizes them as the network did unless `preprocess` says otherwise.
    Crowds are not known to it, and train as background. It gives losses in training mode only: validation has none.
    A checkpoint cannot rebuild it: whoever has built it loads the values.

    Args:
        network: such as `torchvision.models.detection.fcos_resnet50_fpn(num_classes=K + 1)`.
        num_classes: K; labels are 0..K-1.

    Raises:
        ConfigError: no detector of torchvision, or one of masks or keypoints.
    """

    def __init__(self, network: nn.Module, num_classes: int) -> None:
        super().__init__()
        own = getattr(network, "transform", None)
        if not isinstance(own, GeneralizedRCNNTransform):
            raise ConfigError(f"{type(network).__name__} is no detector of torchvision: it has no transform of theirs")
        heads = getattr(network, "roi_heads", None)
        if heads is not None and (heads.has_mask() or heads.has_keypoint()):
            raise ConfigError("of torchvision's detectors those of boxes are taken; mask_rcnn of the kit gives masks")
        self.network, self.num_classes = network, num_classes
        self._mean, self._std = tuple(own.image_mean), tuple(own.image_std)
        self.backbone = network.backbone  # type: ignore[assignment]  # torchvision's, for its own learning rate
        network.transform = NoTransform(own.size_divisible)

    @property
    def stage_modules(self) -> Mapping[str, Sequence[str]]:
        """Empty: torchvision does not name the stages of its backbones."""
        return {}

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean per channel that the network was made for."""
        return self._mean

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation per channel that the network was made for."""
        return self._std

    def forward(
        self,
        images: list[Tensor],
        targets: list[Target] | None = None,
        proposals: list[Tensor] | None = None,
    ) -> dict[str, Tensor] | list[Prediction]:
        """Learn from images, or detect in them; as of the kit's own detectors.

        Raises:
            DataError: targets that cannot be right; names the image.
            VisionkitError: no targets in training.
        """
        if not self.training:
            return [self._prediction(found) for found in self.network(images)]
        if targets is None:
            raise VisionkitError("a detector in training mode needs targets; call eval() to predict")
        objects = split_targets(targets, self.num_classes)
        wanted = [{"boxes": one.boxes, "labels": one.labels + 1} for one in objects]
        losses: dict[str, Tensor] = self.network(images, wanted)
        return losses

    def losses_and_predictions(
        self, images: list[Tensor], targets: list[Target]
    ) -> tuple[dict[str, Tensor], list[Prediction]]:
        """No losses, and what is found."""
        return {}, [self._prediction(found) for found in self.network(images)]

    @staticmethod
    def _prediction(found: dict[str, Any]) -> Prediction:
        # Networks that judge each class by itself have a score for the background, too, which nobody asked for.
        objects = torch.where(found["labels"] > 0)[0]
        order = objects[found["scores"][objects].argsort(descending=True, stable=True)]
        return {"boxes": found["boxes"][order], "scores": found["scores"][order], "labels": found["labels"][order] - 1}
