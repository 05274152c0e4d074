"""DeepLabV3 (Chen et al. 2017) with torchvision's head."""

from pathlib import Path

import torchvision
from torch import Tensor
from torch.nn import functional
from torchvision.models.segmentation.deeplabv3 import DeepLabHead
from torchvision.models.segmentation.fcn import FCNHead

from visionkit.backbones.base import Backbone
from visionkit.backbones.published_weights import PublishedWeights
from visionkit.backbones.weights_file import StateDict
from visionkit.errors import ConfigError
from visionkit.models.base import SegmentationModel
from visionkit.models.create import models
from visionkit.models.load_model import load_model_weights

AUXILIARY_WEIGHT = 0.5
"""Weight of the auxiliary loss, as in torchvision's training script."""

_PREFIX = "deeplabv3_"
_FILE = "COCO_WITH_VOC_LABELS_V1"


@models.register("deeplabv3")
class DeepLabV3(SegmentationModel):
    """DeepLabV3: atrous spatial pyramid pooling on the deepest map of a dilated backbone, upsampled bilinearly.

    State-dict keys are those of torchvision's `deeplabv3_resnet50`, and so are the logits with a backbone of
    `output_stride` 8.

    Args:
        backbone: backbone with at least two stages, the deepest of stride 8 or 16: resnet50 or a deeper ResNet with
            `output_stride`.
        num_classes: K.
        atrous_rates: dilations of the parallel 3x3 convolutions (section 3.3: (12, 24, 36) for stride 8, half for 16).
        auxiliary: whether there is an auxiliary head, on the stage before the deepest.
        weights: weights of the whole model: "coco_voc" (torchvision's file for ResNet-50 or -101, trained on COCO with
            the 21 classes of VOC), the path of such a file or of a visionkit checkpoint, or None. With another number
            of classes the last layers stay randomly initialized.

    Attributes:
        spec: primitives from which `create_model` builds the same structure.

    Raises:
        ConfigError: the backbone has fewer than two stages, or no file is published for it.
        CheckpointError: `weights` is not available or does not fit.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("resnet50", weights="none", output_stride=16)
        >>> model = vk.DeepLabV3(backbone, num_classes=21).eval()
        >>> with torch.inference_mode():
        ...     model(torch.zeros(1, 3, 33, 40)).shape
        torch.Size([1, 21, 33, 40])
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        atrous_rates: tuple[int, ...] = (12, 24, 36),
        auxiliary: bool = True,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if len(backbone.stages) < 2:
            raise ConfigError(f"model=deeplabv3 needs a backbone with two stages, {backbone.name} is built with one")
        *_, inner, deepest = backbone.stages.values()
        self.backbone = backbone
        self.num_classes = num_classes
        self.classifier = DeepLabHead(deepest.channels, num_classes, atrous_rates)
        self.aux_classifier = FCNHead(inner.channels, num_classes) if auxiliary else None
        if weights is not None:
            load_model_weights(
                self, backbone, _path_of(backbone, weights), ("classifier.4.", "aux_classifier.4."), self._translate
            )

    def _logits(self, x: Tensor) -> Tensor:
        *_, deepest = self.backbone(x).values()
        return _upsample(self.classifier(deepest), x)

    def weighted_logits(self, x: Tensor) -> list[tuple[float, Tensor]]:
        """See `SegmentationModel.weighted_logits`."""
        if not self.training or self.aux_classifier is None:
            return [(1.0, self(x))]
        *_, inner, deepest = self.backbone(x).values()
        return [
            (1.0, _upsample(self.classifier(deepest), x)),
            (AUXILIARY_WEIGHT, _upsample(self.aux_classifier(inner), x)),
        ]

    def _translate(self, published: StateDict) -> StateDict:
        """Drop the auxiliary head of torchvision's files where there is none here; the keys are the same."""
        return {key: value for key, value in published.items() if self.aux_classifier or not key.startswith("aux_")}


def _upsample(logits: Tensor, x: Tensor) -> Tensor:
    return functional.interpolate(logits, x.shape[-2:], mode="bilinear", align_corners=False)


def _path_of(backbone: Backbone, weights: str) -> Path:
    if weights != "coco_voc":
        return Path(weights)
    name = _PREFIX + backbone.name
    if name not in torchvision.models.list_models(torchvision.models.segmentation):
        raise ConfigError(
            f"model.weights=coco_voc: no file is published for {backbone.name}, only for resnet50 and resnet101"
        )
    url = torchvision.models.get_model_weights(name)[_FILE].url
    return PublishedWeights(url, (url.rsplit("/", 1)[-1],)).obtain()
