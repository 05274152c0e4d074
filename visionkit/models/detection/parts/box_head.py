"""RoI pooling and box heads of Fast and Faster R-CNN (Girshick 2015; Ren et al. 2015)."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.ops import MultiScaleRoIAlign, roi_pool
from torchvision.ops._utils import convert_boxes_to_roi_format
from torchvision.ops.poolers import LevelMapper

from visionkit.models.detection.parts.roi_heads import RoIHeads, RoIOptions
from visionkit.models.detection.parts.rpn import SMOOTH_L1_BETA
from visionkit.ops.float32 import at_least_float32, full_precision
from visionkit.ops.linear import linear
from visionkit.ops.nms import NMSOptions
from visionkit.ops.roi_align import SAMPLES, multi_level_roi_align


class MultiLevelRoIAlign(MultiScaleRoIAlign):
    """RoIAlign (He et al. 2017) on the level that fits each region (Lin et al. 2016, equation 1).

    The scales are those of the backbone's strides. torchvision estimates them from the first batch, which fails if that
    batch is small or heavily padded.

    Args:
        strides: stride in pixels of each level by name, shallow to deep.
        size: cells of the pooled map in each direction.
    """

    def __init__(self, strides: dict[str, int], size: int) -> None:
        super().__init__(list(strides), output_size=size, sampling_ratio=SAMPLES)
        self.strides, self.size = strides, size
        self.scales = [1 / stride for stride in strides.values()]
        exponents = [stride.bit_length() - 1 for stride in strides.values()]
        self.level_mapper = self.map_levels = LevelMapper(exponents[0], exponents[-1])

    def forward(
        self,
        x: dict[str, Tensor],
        boxes: Tensor | list[Tensor],
        image_shapes: list[tuple[int, int]] | None = None,
    ) -> Tensor:
        """Pool regions.

        Args:
            x: feature maps [B, C, h, w] by level; other levels than those of `strides` are not used.
            boxes: per image [S, 4] in pixels, R in total, or all with the number of their image [R, 5].
            image_shapes: not used.

        Returns:
            [R, C, size, size].
        """
        exporting = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined]  # no stub
        if exporting and not isinstance(boxes, Tensor):
            pooled: Tensor = super().forward(x, boxes, image_shapes or [])
            return pooled
        rois = boxes if isinstance(boxes, Tensor) else convert_boxes_to_roi_format(boxes)
        maps, strides = [x[name] for name in self.strides], list(self.strides.values())
        return multi_level_roi_align(maps, strides, rois, self.level_mapper([rois[:, 1:]]), self.size)


class RoIMaxPool(nn.Module):
    """RoI max pooling on one map (Girshick 2015, section 2.1).

    Args:
        strides: stride in pixels of the one level by name.
        size: cells of the pooled map in each direction.
    """

    def __init__(self, strides: dict[str, int], size: int) -> None:
        super().__init__()
        ((self.level, self.stride),) = strides.items()
        self.size = size

    def forward(self, maps: dict[str, Tensor], regions: Tensor | list[Tensor]) -> Tensor:
        """Return [R, C, size, size] of maps [B, C, h, w] and regions, see `RoIHeads.forward`."""
        pooled: Tensor = roi_pool(maps[self.level], regions, self.size, 1 / self.stride)
        return pooled


class TwoLayerHead(nn.Module):
    """Two fully connected layers on a pooled map.

    Args:
        inputs: number of values of a pooled map.
        channels: channels of both layers.
        dropout: share of values dropped after each layer (VGG: 0.5).
    """

    def __init__(self, inputs: int, channels: int, dropout: float) -> None:
        super().__init__()
        self.fc6 = nn.Linear(inputs, channels)
        self.fc7 = nn.Linear(channels, channels)
        self.dropout: nn.Module = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return [R, channels] of pooled maps [R, C, h, w]."""
        x = self.dropout(functional.relu(linear(x.flatten(start_dim=1), self.fc6)))
        features: Tensor = self.dropout(functional.relu(linear(x, self.fc7)))
        return features


class StageHead(nn.Module):
    """The last stages of a backbone and global average pooling (He et al. 2015: conv5 as box head).

    Args:
        tail: result of `Backbone.split`.
    """

    def __init__(self, tail: nn.Module) -> None:
        super().__init__()
        self.tail = tail

    def forward(self, x: Tensor) -> Tensor:
        """Return [R, channels of the last stage] of pooled maps [R, C, h, w]."""
        features: Tensor = self.tail(x.contiguous(memory_format=torch.channels_last))
        return features.mean(dim=(2, 3))


class PooledRoIHeads(RoIHeads):
    """RoI heads that pool regions, then classify and refine them.

    Args:
        pool: from feature maps and regions to [R, C, size, size].
        head: from that to [R, channels].
        channels: channels of the head's output.
        num_classes: K.
        options: matching and sampling of proposals.
        nms: filter of overlapping detections.
        smooth_l1_beta: difference from which the smooth L1 loss of the boxes is linear.
        initial_std: standard deviations of the normal distributions that initialize the classification layer and the
            box regression layer, with biases of 0. None keeps PyTorch's initialization.
    """

    def __init__(
        self,
        pool: nn.Module,
        head: nn.Module,
        channels: int,
        num_classes: int,
        options: RoIOptions,
        nms: NMSOptions,
        smooth_l1_beta: float = SMOOTH_L1_BETA,
        initial_std: tuple[float, float] | None = None,
    ) -> None:
        super().__init__(options, nms, smooth_l1_beta)
        self.pool = pool
        self.box_head = head
        self.box_predictor = FastRCNNPredictor(channels, num_classes + 1)
        if initial_std is not None:
            layers = (self.box_predictor.cls_score, self.box_predictor.bbox_pred)
            for layer, std in zip(layers, initial_std, strict=True):
                nn.init.normal_(layer.weight, std=std)
                nn.init.zeros_(layer.bias)

    def score(self, maps: dict[str, Tensor], regions: Tensor | list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return logits and deltas; see `RoIHeads.score`."""
        dtype = next(iter(maps.values())).dtype
        with full_precision(next(iter(maps.values()))):
            pooled = self.pool({name: at_least_float32(level) for name, level in maps.items()}, regions)
        logits, deltas = self.box_predictor(self.box_head(pooled.to(dtype)))
        return at_least_float32(logits), at_least_float32(deltas).view(*logits.shape, 4)
