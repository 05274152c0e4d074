"""The sliding window: each pixel is labeled from the patch around it (Cireşan et al. 2012)."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from visionkit.backbones.base import Backbone
from visionkit.backbones.initialization import initialize
from visionkit.backbones.patch_cnn import PatchCNN
from visionkit.errors import ConfigError
from visionkit.models.base import SegmentationModel
from visionkit.models.create import models
from visionkit.models.load_model import load_model_weights


@models.register("patch_classifier")
class PatchClassifier(SegmentationModel):
    """A classifier of patches, at every pixel of an image; past the border the image is mirrored (section 2.4).

    `naive` sends every patch through the network, as the paper does. `forward` gives the same logits and computes
    what neighboring patches share once (Giusti et al. 2013).

    Args:
        backbone: patch_cnn_33, patch_cnn_65 or patch_cnn_95.
        num_classes: K.
        hidden: units of the fully connected layer before the last (table 2: 200).
        weights: values for the whole network: the path of a checkpoint, or None. With other classes the last layer
            stays new.

    Attributes:
        spec: primitives from which `create_model` builds the same structure.

    Raises:
        ConfigError: the backbone is no whole `PatchCNN`.
        CheckpointError: `weights` cannot be had or does not fit.
    """

    backbone: PatchCNN

    def __init__(self, backbone: Backbone, num_classes: int, *, hidden: int = 200, weights: str | None = None) -> None:
        super().__init__()
        if not isinstance(backbone, PatchCNN) or backbone.full_network_keys() != set(backbone.state_dict()):
            raise ConfigError(
                f"model patch_classifier: {backbone.name} as it is built does not classify patches; "
                "use patch_cnn_33, patch_cnn_65 or patch_cnn_95 with all its stages"
            )
        self.backbone = backbone
        self.num_classes = num_classes
        self.patch = backbone.patch
        *_, deepest = backbone.stages.values()
        cells = (self.patch - deepest.margin) // deepest.stride
        self.hidden = nn.Conv2d(deepest.channels, hidden, cells)
        self.classifier = nn.Conv2d(hidden, num_classes, 1)
        for layer in (self.hidden, self.classifier):
            initialize(layer, "he")
        if weights is not None:
            load_model_weights(self, backbone, weights, ("classifier.",))

    def _logits(self, x: Tensor) -> Tensor:
        maps, gap = self.backbone.dense(self._with_border(x))
        hidden = functional.conv2d(maps, self.hidden.weight, self.hidden.bias, dilation=gap)
        return self.classifier(functional.relu(hidden))

    def naive(self, x: Tensor, patches_at_once: int = 1024) -> Tensor:
        """What `forward` gives, patch by patch.

        Args:
            x: as of `forward`.
            patches_at_once: of one image, in one batch.
        """
        images = [torch.cat(list(self._label_patches(image, patches_at_once))) for image in self._with_border(x)]
        height, width = x.shape[-2:]
        return torch.stack([logits.T.reshape(-1, height, width) for logits in images])

    def _label_patches(self, image: Tensor, at_once: int) -> Iterator[Tensor]:
        """Logits [n, K] of one patch after the other, row by row, of an image [3, h, w] with its border."""
        windows = image.unfold(1, self.patch, 1).unfold(2, self.patch, 1)  # [3, H, W, patch, patch], a view
        width = windows.shape[2]
        for places in torch.arange(windows.shape[1] * width, device=image.device).split(at_once):
            patches = windows[:, places // width, places % width].transpose(0, 1)
            *_, deepest = self.backbone(patches).values()
            yield self.classifier(functional.relu(self.hidden(deepest))).flatten(1)

    def _with_border(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] with half a patch on each side; mirrored again where the image is smaller than that."""
        border = self.patch // 2
        rows, columns = (_mirrored(extent, border, x.device) for extent in x.shape[-2:])
        return x[:, :, rows][:, :, :, columns]


def _mirrored(extent: int, border: int, device: torch.device) -> Tensor:
    """Indices of `extent` pixels and those behind mirrors on the first and the last of them."""
    if extent == 1:
        return torch.zeros(1 + 2 * border, dtype=torch.long, device=device)
    place = torch.arange(-border, extent + border, device=device).remainder(2 * extent - 2)
    return torch.minimum(place, 2 * extent - 2 - place)
