"""R-FCN (Dai et al. 2016): all layers are shared by the whole image, and RoIs average position-sensitive score maps."""

from typing import Literal

import torch
from torch import Tensor

from visionkit.backbones.base import Backbone, Stage
from visionkit.errors import ConfigError
from visionkit.models.create import models
from visionkit.models.detection.parts.anchors import AnchorGenerator, AnchorOptions, check_anchor_levels
from visionkit.models.detection.parts.faster_rcnn_variants import SINGLE_STAGE, single_stage
from visionkit.models.detection.parts.position_sensitive import PROPOSALS, PositionSensitiveRoIHeads, ScoreMaps
from visionkit.models.detection.parts.roi_heads import RoIOptions
from visionkit.models.detection.parts.rpn import RegionProposalNetwork, RPNOptions
from visionkit.models.detection.parts.two_stage import TwoStageDetector
from visionkit.models.load_model import load_model_weights
from visionkit.ops.nms import NMSOptions

MAX_STRIDE = 16
"""Maximum stride of the score maps (section 2: 16 by dilation instead of 32 gains 2.6 points of mAP)."""

ANCHOR_SIZES = [[128, 256, 512]]
"""Ren et al. 2015, section 3.3."""


@models.register("rfcn")
class RFCN(TwoStageDetector):
    """R-FCN (Dai et al. 2016), a two-stage detector without layers per region (VOC07 mAP 79.5, ResNet-101 on 07+12).

    Proposals come from C4, as in Faster R-CNN. RoIs average score maps of C5, which dilation brings to the same stride
    of 16 (section 2): `model.backbone.output_stride=16` with a ResNet of 50 layers or more. With any other backbone
    both stages use its map of stride 16: `model.backbone.out_stages=[s16]`. Anchors that cross the border of the image
    are ignored in the loss (Ren et al. 2015, section 3.3).

    Unlike the paper, both stages are trained jointly, as in the authors' Python code. Unlike that code, anchors are
    centered on the corner of their cell, as in torchvision, not half a stride (8 pixels) further.

    Args:
        backbone: source of the feature maps, with the stage s16 and no map of a larger stride.
        num_classes: K, without background; labels are 0..K-1.
        cells: k; a RoI has k x k position-sensitive cells (authors' code: 7, section 2: 3).
        head_channels: channels of the 1x1 layer on C5 (section 2: 1024).
        pooling: how a cell is pooled: "average" of all positions that it touches, for regions rounded to pixels
            (authors' code), or "align" (He et al. 2017).
        ohem: train on the proposals with the highest losses (section 2, after Shrivastava et al. 2016) instead of a
            random sample.
        anchors: sizes, one list, and ratios of the anchors; by default 128, 256, 512.
        rpn: training of the region proposal network, and numbers of proposals (authors' code: 6000, and 300 after NMS).
        roi: which proposals the second stage is trained on (section 2: 128).
        nms: how overlapping detections are filtered (section 2: IoU 0.3).
        weights: path of a visionkit checkpoint of such a model, or None. With another number of classes the score maps
            are randomly initialized.

    Attributes:
        spec: primitives from which `create_model` builds the same structure.

    Raises:
        ConfigError: options that contradict each other or the backbone.
        CheckpointError: `weights` cannot be loaded, or are for another model.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("resnet18", weights="none", out_stages=["s16"])
        >>> model = vk.RFCN(backbone, num_classes=3, head_channels=32).eval()
        >>> sorted(model([torch.randn(3, 64, 64)])[0])
        ['boxes', 'labels', 'scores']
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        cells: int = 7,
        head_channels: int = 1024,
        pooling: Literal["average", "align"] = "average",
        ohem: bool = True,
        anchors: AnchorOptions = AnchorOptions(),
        rpn: RPNOptions = RPNOptions(
            pre_nms_top_n_train=6000, pre_nms_top_n_test=6000, post_nms_top_n_train=300, post_nms_top_n_test=300
        ),
        roi: RoIOptions = RoIOptions(batch_size_per_image=128),
        nms: NMSOptions = NMSOptions(iou=0.3, score_threshold=0.05),
        weights: str | None = None,
    ) -> None:
        super().__init__(backbone, num_classes)
        if min(cells, head_channels) < 1:
            raise ConfigError(f"cells={cells}, head_channels={head_channels}: each must be at least 1")
        name, deepest = _checked_deepest(backbone)
        sizes = check_anchor_levels(anchors.sizes or ANCHOR_SIZES, ANCHOR_SIZES)
        channels = single_stage(backbone).channels
        self.neck = ScoreMaps(SINGLE_STAGE, name, deepest.channels, head_channels, num_classes, cells)
        self.rpn = RegionProposalNetwork(channels, AnchorGenerator(sizes, anchors.aspect_ratios), rpn, inside_only=True)
        self.roi_heads = PositionSensitiveRoIHeads(pooling, cells, deepest.stride, num_classes, ohem, roi, nms)
        if weights is not None:
            load_model_weights(self, backbone, weights, ("neck.scores.",))
        self.to(memory_format=torch.channels_last)

    def _rpn_maps(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        return {PROPOSALS: maps[PROPOSALS]}


def _checked_deepest(backbone: Backbone) -> tuple[str, Stage]:
    """Return the stage of the score maps.

    Raises:
        ConfigError: its stride is too large.
    """
    single_stage(backbone)
    *_, (name, deepest) = backbone.stages.items()
    if deepest.stride > MAX_STRIDE:
        dilated = "model.backbone.output_stride=16, or " if "output_stride" in backbone.spec else ""
        raise ConfigError(
            f"rfcn needs a map of stride {MAX_STRIDE}; {name} of {backbone.name} has stride "
            f"{deepest.stride}\nset {dilated}model.backbone.out_stages=[{SINGLE_STAGE}]"
        )
    return name, deepest
