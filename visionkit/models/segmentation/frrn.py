"""Full-resolution residual networks (Pohlen et al. 2016)."""

from torch import Tensor, nn

from visionkit.backbones.base import Backbone
from visionkit.backbones.frrn import FRRNBackbone
from visionkit.backbones.initialization import initialize
from visionkit.errors import ConfigError
from visionkit.models.base import SegmentationModel
from visionkit.models.create import models
from visionkit.models.load_model import load_model_weights


@models.register("frrn")
class FRRN(SegmentationModel):
    """FRRN: a 1x1 convolution on a two-stream backbone (table 1); 17.7 M (A) or 24.8 M (B) parameters for 19 classes.

    Args:
        backbone: frrn_a or frrn_b.
        num_classes: K.
        weights: path of a checkpoint of the whole model, or None. With another number of classes the last layer stays
            randomly initialized.

    Attributes:
        spec: primitives from which `create_model` builds the same structure.

    Raises:
        ConfigError: the backbone is not that of an FRRN.
        CheckpointError: `weights` is not available or does not fit.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("frrn_a", weights="none")
        >>> model = vk.FRRN(backbone, num_classes=19).eval()
        >>> with torch.inference_mode():
        ...     model(torch.zeros(1, 3, 33, 40)).shape
        torch.Size([1, 19, 33, 40])
    """

    def __init__(self, backbone: Backbone, num_classes: int, *, weights: str | None = None) -> None:
        super().__init__()
        if not isinstance(backbone, FRRNBackbone):
            raise ConfigError(f"model=frrn: {backbone.name} is not its backbone; use frrn_a or frrn_b")
        self.backbone = backbone
        self.num_classes = num_classes
        self.stride = backbone.deepest_stride
        self.classifier = nn.Conv2d(backbone.stages["s1"].channels, num_classes, 1)
        initialize(self.classifier, "he")
        if weights is not None:
            load_model_weights(self, backbone, weights, ("classifier.",))

    def _logits(self, x: Tensor) -> Tensor:
        return self.classifier(self.backbone(x)["s1"])
