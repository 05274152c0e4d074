"""Classifier: a backbone with a classification head."""

from collections.abc import Mapping

from torch import Tensor

from visionkit.backbones.base import Backbone
from visionkit.backbones.initialization import initialize
from visionkit.errors import ConfigError
from visionkit.models.base import ClassificationModel
from visionkit.models.classification.heads import heads
from visionkit.models.classification.load_classifier import load_classifier
from visionkit.models.create import models


@models.register("classifier")
class Classifier(ClassificationModel):
    """Classifier: a head on the deepest map of a backbone.

    Args:
        backbone: any backbone; only its deepest stage is used.
        num_classes: K.
        head: name of the head; "auto" is the head that the backbone was published with.
        dropout: dropout probability of the head; None is the published one.
        initialization: how layers without pretrained weights are initialized. "auto" is the network's published way;
            for other names see `visionkit.backbones.initialization`.
        weights: weights of the whole model: "imagenet", the path of a published state dict or of a visionkit
            checkpoint, {"from": path} to initialize a VGG from a shallower one, or None. Head layers with another
            shape, such as the last for another number of classes, stay randomly initialized.
        multi_label: whether an image has any number of classes, see `ClassificationModel`.

    Attributes:
        spec: primitives from which `create_model` builds the same structure.

    Raises:
        ConfigError: unknown head or initialization, or arguments that contradict each other.
        CheckpointError: `weights` is not available or does not fit.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> model = vk.Classifier(vk.create_backbone("resnet18", weights="none"), num_classes=10).eval()
        >>> model(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 10])
        >>> model.fully_convolutional(torch.zeros(2, 3, 256, 288)).shape
        torch.Size([2, 10, 2, 3])
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        head: str = "auto",
        dropout: float | None = None,
        initialization: str = "auto",
        weights: str | dict[str, str] | None = None,
        multi_label: bool = False,
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise ConfigError(f"num_classes={num_classes}: a classifier needs at least one class")
        self.num_classes = num_classes
        self.multi_label = multi_label
        self.backbone = backbone
        self.head = heads.get(backbone.default_head if head == "auto" else head)(backbone, num_classes, dropout)
        if initialization != "auto":
            initialize(self.head, initialization)
            if backbone.is_randomly_initialized or weights is not None:
                initialize(backbone, initialization)
        if weights is not None:
            load_classifier(backbone, self.head, weights)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [B, K] of images [B, 3, H, W], normalized with the backbone's `mean` and `std`."""
        return self.head(_deepest(self.backbone(x)))

    def weighted_logits(self, x: Tensor) -> list[tuple[float, Tensor]]:
        """See `ClassificationModel.weighted_logits`; the head may have auxiliary heads."""
        if not (self.training and self.backbone.inner_channels):
            return [(1.0, self(x))]
        maps, inner = self.backbone.forward_with_inner_maps(x)
        return [(1.0, self.head(_deepest(maps))), *self.head.auxiliary_logits(inner)]

    def classify_features(self, features: Tensor) -> Tensor:
        """Return logits [B, K] of features that `Head.pool` has computed from the deepest map."""
        return self.head(features)

    def fully_convolutional(self, x: Tensor) -> Tensor:
        """Return logits [B, K, h', w'] at every position; see `Head.fully_convolutional`.

        The images must have at least the native size.
        """
        return self.head.fully_convolutional(_deepest(self.backbone(x)))


def _deepest(maps: Mapping[str, Tensor]) -> Tensor:
    return list(maps.values())[-1]
