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
    """The convolutions of a VGG and their mirror image, which unpools by the encoder's indices (section 3).

    Two readings are in use, which differ in one layer of 64 channels at full size, the mirror image of conv1_2. The
    paper's words ("the decoder network has 13 layers") and the authors' CamVid network have it before the convolution
    to the classes: 13 + 13 convolutions, with 11 classes 29,449,355 parameters. The count that is usually quoted,
    29,412,299, is that of 13 + 12, without it, and of nothing else: no choice of biases, of learned norms, of the last
    kernel or of where a stage narrows gives that number with 26 convolutions (all biases, scales and shifts together
    are fewer than the 37,056 between the two).

    Args:
        backbone: vgg16_bn in the paper, or another VGG; the way up has norms in any case.
        num_classes: K.
        mirror_conv1_2: whether the mirror image has that layer: 26 convolutions instead of 25.
        weights: values for the whole network: the path of a checkpoint, or None. With other classes the last layer
            stays new.

    Attributes:
        spec: primitives from which `create_model` builds the same structure.

    Raises:
        ConfigError: the backbone is no whole VGG.
        CheckpointError: `weights` cannot be had or does not fit.
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
