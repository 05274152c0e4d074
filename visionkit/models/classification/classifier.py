"""A backbone with a classifier head: one class, or any number of them, for an image."""

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
    """Classification network: a head on the backbone's deepest map.

    Args:
        backbone: any; only its deepest stage is used.
        num_classes: K.
        head: name of the head; auto takes the one that the backbone was published with.
        dropout: share of values that the head drops in training; None is the published one.
        initialization: how what no file fills starts: auto leaves the network's own published way; else fan_in,
            glorot, he, each normal or uniform, see `visionkit.backbones.initialization`.
        weights: values for the whole network: imagenet, the path of such a published state dict, the path of a
            visionkit checkpoint, {"from": path} to grow a VGG from a shallower one, or None. Head layers of another
            shape, as the last where the classes differ, stay new.
        multi_label: whether an image has any number of classes, see `ClassificationModel`.

    Attributes:
        spec: primitives from which `create_model` builds the same structure.

    Raises:
        ConfigError: unknown head or initialization, or arguments that contradict each other.
        CheckpointError: `weights` cannot be had or does not fit.
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
        """Classify.

        Args:
            x: [B, 3, H, W], normalized with the backbone's `mean` and `std`.

        Returns:
            Logits [B, K].
        """
        return self.head(_deepest(self.backbone(x)))

    def weighted_logits(self, x: Tensor) -> list[tuple[float, Tensor]]:
        """Logits of the main head and, in training, of auxiliary ones, each with the weight of its loss.

        Args:
            x: as of `forward`.

        Returns:
            Weight and logits [B, K] for each head, the main one with weight 1 first.
        """
        if not (self.training and self.backbone.inner_channels):
            return [(1.0, self(x))]
        maps, inner = self.backbone.forward_with_inner_maps(x)
        return [(1.0, self.head(_deepest(maps))), *self.head.auxiliary_logits(inner)]

    def classify_features(self, features: Tensor) -> Tensor:
        """Return logits [B, K] of what `Head.pool` made of the deepest map."""
        return self.head(features)

    def dense(self, x: Tensor) -> Tensor:
        """Classify at every place of larger images.

        Args:
            x: [B, 3, H, W], at least as large as the network's native size.

        Returns:
            Logits [B, K, h', w'], see `Head.dense`.
        """
        return self.head.dense(_deepest(self.backbone(x)))


def _deepest(maps: Mapping[str, Tensor]) -> Tensor:
    return list(maps.values())[-1]
