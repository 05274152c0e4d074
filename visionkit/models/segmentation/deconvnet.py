"""DeconvNet (Noh et al. 2015, table 2)."""

from torch import Tensor, nn

from visionkit.backbones.base import Backbone
from visionkit.backbones.initialization import initialize
from visionkit.backbones.sequential import named_sequential
from visionkit.backbones.vgg import VGG
from visionkit.errors import ConfigError
from visionkit.models.base import SegmentationModel
from visionkit.models.create import models
from visionkit.models.fully_connected_weights import copy_fully_connected
from visionkit.models.load_model import load_model_weights
from visionkit.models.segmentation.mirrored_decoder import MirroredDecoder, check_full_vgg


@models.register("deconvnet")
class DeconvNet(SegmentationModel):
    """DeconvNet: a VGG with fc6 and fc7, and its mirror image of transposed convolutions and unpooling, all with norms.

    fc6 and fc7 are convolutions. They are initialized with those of the classifier that the backbone's weights come
    from, if its file is on disk. fc6 is not padded: for the paper's images of 224 pixels its map is one cell, and
    smaller images are padded to that size.

    The paper trains in two stages, first on crops around single objects, and predicts on object proposals (sections 4.2
    and 5.2). Here both use whole images or random crops.

    Args:
        backbone: vgg16_bn in the paper, or another VGG with norms.
        num_classes: K.
        head_channels: number of output channels of fc6 and fc7 (VGG: 4096).
        head_size: height and width of fc6's kernel (VGG: 7). Images are padded to 32 times this size.
        weights: path of a checkpoint of the whole model, or None. With another number of classes the last layer stays
            randomly initialized.

    Attributes:
        spec: primitives from which `create_model` builds the same structure.

    Raises:
        ConfigError: the backbone is not a VGG with all stages, or a number is below 1.
        CheckpointError: `weights` is not available or does not fit.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("vgg11_bn", weights="none")
        >>> model = vk.DeconvNet(backbone, num_classes=21, head_channels=8, head_size=1).eval()
        >>> with torch.inference_mode():
        ...     model(torch.zeros(1, 3, 50, 70)).shape
        torch.Size([1, 21, 50, 70])
    """

    backbone: VGG
    stride = 32

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        head_channels: int = 4096,
        head_size: int = 7,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if min(head_channels, head_size) < 1:
            raise ConfigError(f"head_channels={head_channels}, head_size={head_size}: both must be at least 1")
        self.backbone = check_full_vgg(backbone, "deconvnet")
        self.num_classes = num_classes
        self.min_size = 32 * head_size
        *_, deepest = self.backbone.computed.values()
        self.head = _head(deepest.channels, head_channels, head_size)
        self.decoder = MirroredDecoder(self.backbone, _deconvolution)
        self.last = _deconvolution(self.decoder.channels, self.decoder.channels)
        self.classifier = nn.Conv2d(self.decoder.channels, num_classes, 1)
        for part in (self.head, self.decoder, self.last, self.classifier):
            initialize(part, "he")
        copy_fully_connected(self.head, backbone)
        if weights is not None:
            load_model_weights(self, backbone, weights, ("classifier.",))

    def _logits(self, x: Tensor) -> Tensor:
        maps, indices = self.backbone.forward_with_indices(x)
        *_, deepest = maps.values()
        return self.classifier(self.last(self.decoder(self.head(deepest), indices)))


def _head(inputs: int, width: int, size: int) -> nn.Sequential:
    """Return fc6, fc7 and the transposed convolution that mirrors fc6, each with a norm."""
    layers: dict[str, nn.Module] = {
        "fc6": nn.Conv2d(inputs, width, size),
        "fc7": nn.Conv2d(width, width, 1),
        "deconv_fc6": nn.ConvTranspose2d(width, inputs, size),
    }
    head = nn.Sequential()
    for name, layer in layers.items():
        head.add_module(name, layer)
        head.add_module(f"{name}_norm", nn.BatchNorm2d(inputs if name == "deconv_fc6" else width))
        head.add_module(f"{name}_relu", nn.ReLU(inplace=True))
    return head


def _deconvolution(inputs: int, outputs: int) -> nn.Sequential:
    return named_sequential(
        conv=nn.ConvTranspose2d(inputs, outputs, 3, padding=1), norm=nn.BatchNorm2d(outputs), relu=nn.ReLU(inplace=True)
    )
