"""FC-DenseNet (Jégou et al. 2016, "The One Hundred Layers Tiramisu")."""

import torch
from torch import Tensor, nn

from visionkit.backbones.base import Backbone
from visionkit.backbones.dense_block import DenseBlock
from visionkit.backbones.fc_densenet_encoder import FCDenseNetEncoder
from visionkit.backbones.initialization import initialize
from visionkit.errors import ConfigError
from visionkit.models.base import SegmentationModel
from visionkit.models.create import models
from visionkit.models.load_model import load_model_weights


@models.register("fc_densenet")
class FCDenseNet(SegmentationModel):
    """FC-DenseNet: dense blocks in encoder and decoder; a decoder block upsamples only its new maps (section 3.2).

    Args:
        backbone: fc_densenet56, fc_densenet67 or fc_densenet103, the encoder with the bottleneck.
        num_classes: K.
        dropout: dropout probability after each convolution of the decoder (section 4.1: 0.2).
        memory_efficient: see `DenseBlock`; for the decoder's blocks. The encoder has an option of the same name.
        weights: path of a checkpoint of the whole model, or None. With another number of classes the last layer stays
            randomly initialized.

    Attributes:
        spec: primitives from which `create_model` builds the same structure.

    Raises:
        ConfigError: the backbone is not an FC-DenseNet with all stages.
        CheckpointError: `weights` is not available or does not fit.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("fc_densenet56", weights="none")
        >>> model = vk.FCDenseNet(backbone, num_classes=11).eval()
        >>> with torch.inference_mode():
        ...     model(torch.zeros(1, 3, 50, 70)).shape
        torch.Size([1, 11, 50, 70])
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        dropout: float = 0.2,
        memory_efficient: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(backbone, FCDenseNetEncoder) or list(backbone.stages) != list(backbone.layers):
            raise ConfigError(
                f"model=fc_densenet: {backbone.name} as built is not its encoder; "
                "use fc_densenet56, fc_densenet67 or fc_densenet103 with all its stages"
            )
        self.backbone = backbone
        self.num_classes = num_classes
        *skips, bottleneck = backbone.stages
        self.stride = backbone.stages[bottleneck].stride
        new_channels = backbone.layers[bottleneck] * backbone.growth
        ups = []
        for stage in reversed(skips):
            channels = new_channels + backbone.stages[stage].channels
            block = DenseBlock(channels, backbone.growth, backbone.layers[stage], dropout, memory_efficient)
            ups.append(_Up(new_channels, block))
            new_channels = block.new_channels
        self.ups = nn.ModuleList(ups)
        self.classifier = nn.Conv2d(block.channels, num_classes, 1)
        for part in (self.ups, self.classifier):
            initialize(part, "he_uniform")
        if weights is not None:
            load_model_weights(self, backbone, weights, ("classifier.",))

    def _logits(self, x: Tensor) -> Tensor:
        *skips, x = self.backbone(x).values()
        for up, skip in zip(self.ups, reversed(skips), strict=True):
            x = up(x, skip)
        return self.classifier(x)


class _Up(nn.Module):
    """Decoder level: transition up and dense block.

    Args:
        new_channels: number of the last channels of the map below, those that its block has added.
        block: dense block on these channels, upsampled, and the skip connection.
    """

    def __init__(self, new_channels: int, block: DenseBlock) -> None:
        super().__init__()
        self.transition = nn.ConvTranspose2d(new_channels, new_channels, 3, stride=2)
        self.block = block

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        """Return [B, C', 2h, 2w] of the map below [B, c, h, w] and the skip connection [B, C, 2h, 2w]."""
        new = below[:, -self.transition.in_channels :]
        # The last row and column are cropped, as in the authors' code.
        upsampled = self.transition(new)[:, :, : skip.shape[2], : skip.shape[3]]
        return self.block(torch.cat([upsampled, skip], 1))
