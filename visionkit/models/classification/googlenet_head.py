"""Head of GoogLeNet, with two auxiliary heads in training."""

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn
from torchvision.models.googlenet import InceptionAux

from visionkit.backbones.base import Backbone
from visionkit.errors import ConfigError
from visionkit.models.classification.heads import AverageHead, heads

AUXILIARY_WEIGHT = 0.3
"""Weight of the auxiliary losses (Szegedy et al. 2014, section 5)."""


@heads.register("googlenet")
class GoogLeNetHead(AverageHead):
    """Average pooling and one linear layer, with two auxiliary heads in training (Szegedy et al. 2014, section 5).

    Args:
        backbone: a GoogLeNet.
        num_classes: K.
        dropout: dropout probability of the pooled map; None is 0.2 as in torchvision (the paper: 0.4). The auxiliary
            heads have 0.7.

    Raises:
        ConfigError: the backbone has no maps for auxiliary heads.
    """

    published_layers: ClassVar[Mapping[str, str]] = {"fc.": "fc.", "aux1.": "aux1.", "aux2.": "aux2."}

    def __init__(self, backbone: Backbone, num_classes: int, dropout: float | None = None) -> None:
        super().__init__(backbone, num_classes, 0.2 if dropout is None else dropout)
        if len(backbone.inner_channels) != 2:
            raise ConfigError(
                f"head=googlenet needs two inner maps, which {backbone.name} as built does not have: use head=average"
            )
        self.inner_maps = list(backbone.inner_channels)
        self.aux1, self.aux2 = (InceptionAux(channels, num_classes) for channels in backbone.inner_channels.values())
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                nn.init.trunc_normal_(layer.weight, std=0.01, a=-2, b=2)

    def auxiliary_logits(self, inner: Mapping[str, Tensor]) -> list[tuple[float, Tensor]]:
        """See `Head.auxiliary_logits`; that of the shallower map comes first."""
        return [
            (AUXILIARY_WEIGHT, auxiliary(inner[name]))
            for name, auxiliary in zip(self.inner_maps, (self.aux1, self.aux2), strict=True)
        ]
