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
    """Dense blocks down and up again; on the way up only what a block has added goes on (section 3.2).

    Args:
        backbone: fc_densenet56, fc_densenet67 or fc_densenet103, which is the way down with the bottleneck.
        num_classes: K.
        dropout: share of the values dropped after each convolution on the way up (section 4.1: .2).
        memory_efficient: of the blocks on the way up, see `DenseBlock`; that of the way down is the backbone's own.
        weights: values for the whole network: the path of a checkpoint, or None. With other classes the last layer
            stays new.

    Attributes:
        spec: primitives from which `create_model` builds the same structure.

    Raises:
        ConfigError: the backbone is no whole FC-DenseNet.
        CheckpointError: `weights` cannot be had or does not fit.
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
                f"model fc_densenet: {backbone.name} as it is built is not its way down; "
                "use fc_densenet56, fc_densenet67 or fc_densenet103 with all its stages"
            )
        self.backbone = backbone
        self.num_classes = num_classes
        *skips, bottleneck = backbone.stages
        self.stride = backbone.stages[bottleneck].stride
        added = backbone.layers[bottleneck] * backbone.growth
        ups = []
        for stage in reversed(skips):
            channels = added + backbone.stages[stage].channels
            block = DenseBlock(channels, backbone.growth, backbone.layers[stage], dropout, memory_efficient)
            ups.append(_Up(added, block))
            added = block.new_channels
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
    """Transition up and the dense block behind it.

    Args:
        added: channels at the end of the map below, those that its block has added.
        block: reads these, enlarged, and the skip's map.
    """

    def __init__(self, added: int, block: DenseBlock) -> None:
        super().__init__()
        self.transition = nn.ConvTranspose2d(added, added, 3, stride=2)
        self.block = block

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        """[B, c, h, w] and [B, C, 2h, 2w] to [B, C', 2h, 2w]."""
        added = below[:, -self.transition.in_channels :]
        # The last row and column have seen one tap each and are cut, as in the authors' code.
        enlarged = self.transition(added)[:, :, : skip.shape[2], : skip.shape[3]]
        return self.block(torch.cat([enlarged, skip], 1))
