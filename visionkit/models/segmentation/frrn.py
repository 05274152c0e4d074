"""Full-resolution residual networks (Pohlen et al. 2016)."""

from torch import Tensor, nn

from visionkit.backbones.base import Backbone
from visionkit.backbones.frrn_backbone import FRRNBackbone
from visionkit.backbones.initialization import initialize
from visionkit.errors import ConfigError
from visionkit.models.base import SegmentationModel
from visionkit.models.create import models
from visionkit.models.load_model import load_model_weights


@models.register("frrn")
class FRRN(SegmentationModel):
    """A 1x1 convolution on the trunk of two streams (table 1); with 19 classes 17.7 M parameters (A), 24.8 M (B).

    Args:
        backbone: frrn_a or frrn_b.
        num_classes: K.
        weights: values for the whole network: the path of a checkpoint, or None. With other classes the last layer
            stays new.

    Attributes:
        spec: primitives from which `create_model` builds the same structure.

    Raises:
        ConfigError: the backbone is another network.
        CheckpointError: `weights` cannot be had or does not fit.
    """

    def __init__(self, backbone: Backbone, num_classes: int, *, weights: str | None = None) -> None:
        super().__init__()
        if not isinstance(backbone, FRRNBackbone):
            raise ConfigError(f"model frrn: {backbone.name} is not its trunk; use frrn_a or frrn_b")
        self.backbone = backbone
        self.num_classes = num_classes
        self.stride = backbone.deepest_stride
        self.classifier = nn.Conv2d(backbone.stages["s1"].channels, num_classes, 1)
        initialize(self.classifier, "he")
        if weights is not None:
            load_model_weights(self, backbone, weights, ("classifier.",))

    def _logits(self, x: Tensor) -> Tensor:
        return self.classifier(self.backbone(x)["s1"])
