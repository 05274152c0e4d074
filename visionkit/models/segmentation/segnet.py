"""SegNet (Badrinarayanan et al. 2015)."""

from torch import Tensor, nn

from visionkit.backbones.base import Backbone
from visionkit.backbones.initialization import initialize
from visionkit.backbones.sequential import named_sequential
from visionkit.backbones.vgg import VGG
from visionkit.models.base import SegmentationModel
from visionkit.models.create import models
from visionkit.models.load_model import load_model_weights
from visionkit.models.segmentation.mirrored_decoder import MirroredDecoder, check_full_vgg


@models.register("segnet")
class SegNet(SegmentationModel):
    """SegNet: a VGG and a mirrored decoder, which unpools with the encoder's indices (section 3).

    Two forms are in use. They differ in the mirror image of conv1_2, a layer of 64 channels at full size. With it
    there are 13 + 13 convolutions and 29,449,355 parameters for 11 classes, as the paper's text ("the decoder network
    has 13 layers") and the authors' CamVid network have it. Without it there are 13 + 12 convolutions and 29,412,299
    parameters, the number that is usually quoted.

    Args:
        backbone: vgg16_bn in the paper, or another VGG. The decoder always has norms.
        num_classes: K.
        mirror_conv1_2: whether the decoder mirrors conv1_2, for 26 convolutions instead of 25.
        weights: path of a checkpoint of the whole model, or None. With another number of classes the last layer stays
            randomly initialized.

    Attributes:
        spec: primitives from which `create_model` builds the same structure.

    Raises:
        ConfigError: the backbone is not a VGG with all stages.
        CheckpointError: `weights` is not available or does not fit.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("vgg11_bn", weights="none")
        >>> model = vk.SegNet(backbone, num_classes=11).eval()
        >>> with torch.inference_mode():
        ...     model(torch.zeros(1, 3, 50, 70)).shape
        torch.Size([1, 11, 50, 70])
    """

    backbone: VGG
    stride = 32

    def __init__(
        self, backbone: Backbone, num_classes: int, *, mirror_conv1_2: bool = False, weights: str | None = None
    ) -> None:
        super().__init__()
        self.backbone = check_full_vgg(backbone, "segnet")
        self.num_classes = num_classes
        self.decoder = MirroredDecoder(self.backbone, _layer, at_full_size=mirror_conv1_2)
        self.classifier = nn.Conv2d(self.decoder.channels, num_classes, 3, padding=1)
        for part in (self.decoder, self.classifier):
            initialize(part, "he")
        if weights is not None:
            load_model_weights(self, backbone, weights, ("classifier.",))

    def _logits(self, x: Tensor) -> Tensor:
        maps, indices = self.backbone.forward_with_indices(x)
        *_, deepest = maps.values()
        return self.classifier(self.decoder(deepest, indices))


def _layer(inputs: int, outputs: int) -> nn.Sequential:
    return named_sequential(
        conv=nn.Conv2d(inputs, outputs, 3, padding=1), norm=nn.BatchNorm2d(outputs), relu=nn.ReLU(inplace=True)
    )
