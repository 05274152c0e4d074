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
"""As in torchvision's training script."""

_PREFIX = "deeplabv3_"
_FILE = "COCO_WITH_VOC_LABELS_V1"


@models.register("deeplabv3")
class DeepLabV3(SegmentationModel):
    """Convolutions with gaps of several sizes on a dilated network's deepest map, enlarged bilinearly.

    State-dict keys are those of torchvision's `deeplabv3_resnet50`, whose results it repeats with a backbone of
    `output_stride` 8.

    Args:
        backbone: with two stages at least, the deepest of stride 8 or 16: a ResNet from 50 layers on with
            `output_stride`.
        num_classes: K.
        atrous_rates: gaps of the parallel 3x3 convolutions (section 3.3: (12, 24, 36) for stride 8, half for 16).
        auxiliary: whether a second head on the stage before the deepest learns along.
        weights: values for the whole network: "coco_voc" (torchvision's file for ResNet-50 or -101: COCO's images,
            the 21 classes of VOC), the path of such a file or of a visionkit checkpoint, or None. With other classes
            the last layers stay new.

    Attributes:
        spec: primitives from which `create_model` builds the same structure.

    Raises:
        ConfigError: the backbone has one stage only, or no file is published for it.
        CheckpointError: `weights` cannot be had or does not fit.
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
            raise ConfigError(f"model deeplabv3 needs two stages, {backbone.name} is built with one")
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
        return _enlarged(self.classifier(deepest), x)

    def weighted_logits(self, x: Tensor) -> list[tuple[float, Tensor]]:
        """Logits of the main head and, in training, of the auxiliary one, each with the weight of its loss.

        Args:
            x: as of `forward`.

        Returns:
            Weight and logits [B, K, H, W] for each head, the main one with weight 1 first.
        """
        if not self.training or self.aux_classifier is None:
            return [(1.0, self(x))]
        *_, inner, deepest = self.backbone(x).values()
        return [
            (1.0, _enlarged(self.classifier(deepest), x)),
            (AUXILIARY_WEIGHT, _enlarged(self.aux_classifier(inner), x)),
        ]

    def _translate(self, published: StateDict) -> StateDict:
        """The keys are torchvision's already; its files hold the auxiliary head, wanted or not."""
        return {key: value for key, value in published.items() if self.aux_classifier or not key.startswith("aux_")}


def _enlarged(logits: Tensor, x: Tensor) -> Tensor:
    return functional.interpolate(logits, x.shape[-2:], mode="bilinear", align_corners=False)


def _path_of(backbone: Backbone, weights: str) -> Path:
    if weights != "coco_voc":
        return Path(weights)
    name = _PREFIX + backbone.name
    published = [known for known in torchvision.models.list_models(torchvision.models.segmentation) if known == name]
    if not published:
        raise ConfigError(
            f"model.weights=coco_voc: no file is published for {backbone.name}, but for resnet50, resnet101"
        )
    url = torchvision.models.get_model_weights(name)[_FILE].url
    return PublishedWeights(url, (url.rsplit("/", 1)[-1],)).obtain()
