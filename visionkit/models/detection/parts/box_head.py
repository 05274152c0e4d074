"""The second stage of Faster R-CNN (Girshick 2015; Ren et al. 2015): pool proposals, classify and refine them."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.ops import MultiScaleRoIAlign, roi_pool
from torchvision.ops.poolers import initLevelMapper

from visionkit.models.detection.parts.roi_heads import RoIHeads, RoIOptions
from visionkit.models.detection.parts.rpn import SMOOTH_L1_BETA
from visionkit.ops.nms import NMSOptions
from visionkit.ops.roi_align import SAMPLES, multi_level_roi_align


class MultiLevelRoIAlign(MultiScaleRoIAlign):
    """RoIAlign (He et al. 2017) on the level that fits each region (Lin et al. 2016, equation 1).

    The scales come from the backbone's strides; torchvision guesses them from the first batch, wrongly so where that
    is small or padded much.

    Args:
        strides: of the levels by name, in pixels, shallow to deep.
        size: cells of the pooled map in each direction.
    """

    def __init__(self, strides: dict[str, int], size: int) -> None:
        super().__init__(list(strides), output_size=size, sampling_ratio=SAMPLES)
        self.strides, self.size = strides, size
        self.scales = [1 / stride for stride in strides.values()]
        exponents = [stride.bit_length() - 1 for stride in strides.values()]
        self.map_levels = initLevelMapper(exponents[0], exponents[-1])

    def forward(
        self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]] | None = None
    ) -> Tensor:
        """Cut regions out of the maps.

        Args:
            x: feature maps [B, C, h, w] by level, of any levels besides those it knows.
            boxes: per image [S, 4] in pixels; R of them together.
            image_shapes: not needed.

        Returns:
            [R, C, size, size].
        """
        exporting = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined]
        if exporting or boxes[0].is_cuda or not any(map(len, boxes)):
            return super().forward(x, boxes, image_shapes or [])  # type: ignore[no-any-return]
        maps, strides = [x[name] for name in self.strides], list(self.strides.values())
        return multi_level_roi_align(maps, strides, boxes, self.map_levels(boxes), self.size)  # type: ignore[misc]


class RoIMaxPool(nn.Module):
    """RoI max pooling on one map (Girshick 2015, section 2.1).

    Args:
        strides: of the one level by name, in pixels.
        size: cells of the pooled map in each direction.
    """

    def __init__(self, strides: dict[str, int], size: int) -> None:
        super().__init__()
        ((self.level, self.stride),) = strides.items()
        self.size = size

    def forward(self, maps: dict[str, Tensor], regions: list[Tensor]) -> Tensor:
        """Cut regions [S, 4] of each image, R together, out of the maps [B, C, h, w]: [R, C, size, size]."""
        return roi_pool(maps[self.level], regions, self.size, 1 / self.stride)


class TwoLayerHead(TwoMLPHead):
    """Two fully connected layers on a pooled map.

    Args:
        inputs: values of one pooled map.
        channels: of both layers.
        dropout: share of values dropped after each (VGG: .5).
    """

    def __init__(self, inputs: int, channels: int, dropout: float) -> None:
        super().__init__(inputs, channels)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """From [R, C, h, w] to [R, channels]."""
        x = self.dropout(functional.relu(self.fc6(x.flatten(start_dim=1))))
        return self.dropout(functional.relu(self.fc7(x)))  # type: ignore[no-any-return]


class StageHead(nn.Module):
    """The last stages of a backbone and the mean over the map (He et al. 2015: conv5 as box head).

    Args:
        tail: what `Backbone.split` returned.
    """

    def __init__(self, tail: nn.Module) -> None:
        super().__init__()
        self.tail = tail

    def forward(self, x: Tensor) -> Tensor:
        """From [R, C, h, w] to [R, channels of the last stage]."""
        return self.tail(x.contiguous(memory_format=torch.channels_last)).mean(dim=(2, 3))  # type: ignore[no-any-return]


class PooledRoIHeads(RoIHeads):
    """RoI heads that pool each region, and classify and refine it with a head of its own.

    Args:
        pool: module from feature maps and regions to [R, C, size, size].
        head: module from that to [R, channels].
        channels: channels of the head's output.
        num_classes: K.
        options: which proposals are trained on.
        nms: how overlapping detections are filtered.
        smooth_l1_beta: where the box loss changes from quadratic to linear.
        initial_std: standard deviations of the normally distributed initial weights of the class and the box layer,
            with zero biases; None keeps PyTorch's initialization.
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

    def forward(self, maps: dict[str, Tensor], regions: list[Tensor]) -> tuple[Tensor, Tensor]:
        """See `RoIHeads.forward`."""
        dtype = next(iter(maps.values())).dtype
        with torch.autocast(regions[0].device.type, enabled=False):
            pooled = self.pool({name: level.float() for name, level in maps.items()}, regions)
        logits, deltas = self.box_predictor(self.box_head(pooled.to(dtype)))
        return logits.float(), deltas.float().view(*logits.shape, 4)
