"""Patch classifier: each pixel is classified from the patch around it (Cireşan et al. 2012)."""

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
    """Patch classifier, applied at every pixel; the image is mirrored at its borders (section 2.4).

    `naive` runs the network on every patch, as the paper does. `forward` returns the same logits, but computes what
    neighboring patches share only once (Giusti et al. 2013).

    Args:
        backbone: patch_cnn_33, patch_cnn_65 or patch_cnn_95.
        num_classes: K.
        hidden: number of units of the fully connected layer before the last (table 2: 200).
        weights: path of a checkpoint of the whole model, or None. With another number of classes the last layer stays
            randomly initialized.

    Attributes:
        spec: primitives from which `create_model` builds the same structure.

    Raises:
        ConfigError: the backbone is not a `PatchCNN` with all stages.
        CheckpointError: `weights` is not available or does not fit.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("patch_cnn_33", weights="none")
        >>> model = vk.PatchClassifier(backbone, num_classes=2).eval()
        >>> with torch.inference_mode():
        ...     model(torch.zeros(1, 3, 20, 30)).shape
        torch.Size([1, 2, 20, 30])
    """

    backbone: PatchCNN

    def __init__(self, backbone: Backbone, num_classes: int, *, hidden: int = 200, weights: str | None = None) -> None:
        super().__init__()
        if not isinstance(backbone, PatchCNN) or backbone.full_network_keys() != set(backbone.state_dict()):
            raise ConfigError(
                f"model=patch_classifier: {backbone.name} as built does not classify patches; "
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
        maps, dilation = self.backbone.dense(self._with_border(x))
        hidden = functional.conv2d(maps, self.hidden.weight, self.hidden.bias, dilation=dilation)
        return self.classifier(functional.relu(hidden))

    def naive(self, x: Tensor, patches_at_once: int = 1024) -> Tensor:
        """Return the same as `forward`, computed patch by patch.

        Args:
            x: normalized images [B, 3, H, W].
            patches_at_once: number of patches in a batch.
        """
        images = [torch.cat(list(self._patch_logits(image, patches_at_once))) for image in self._with_border(x)]
        height, width = x.shape[-2:]
        return torch.stack([logits.T.reshape(-1, height, width) for logits in images])

    def _patch_logits(self, image: Tensor, at_once: int) -> Iterator[Tensor]:
        """Yield logits [n, K] of batches of patches, row by row, of an image [3, h, w] with its border."""
        windows = image.unfold(1, self.patch, 1).unfold(2, self.patch, 1)  # [3, H, W, patch, patch], a view
        width = windows.shape[2]
        for indices in torch.arange(windows.shape[1] * width, device=image.device).split(at_once):
            patches = windows[:, indices // width, indices % width].transpose(0, 1)
            *_, deepest = self.backbone(patches).values()
            yield self.classifier(functional.relu(self.hidden(deepest))).flatten(1)

    def _with_border(self, x: Tensor) -> Tensor:
        """Return [B, 3, H, W] with a mirrored border of half a patch; small images are mirrored repeatedly."""
        border = self.patch // 2
        rows, columns = (_mirrored(extent, border, x.device) for extent in x.shape[-2:])
        return x[:, :, rows][:, :, :, columns]


def _mirrored(extent: int, border: int, device: torch.device) -> Tensor:
    """Return the indices of `extent` pixels with mirrored borders, without repeating the first and last pixel."""
    if extent == 1:
        return torch.zeros(1 + 2 * border, dtype=torch.long, device=device)
    position = torch.arange(-border, extent + border, device=device).remainder(2 * extent - 2)
    return torch.minimum(position, 2 * extent - 2 - position)
