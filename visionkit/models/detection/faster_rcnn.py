"""Faster R-CNN (Ren et al. 2015) in three variants."""

from typing import Literal

import torch
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

from visionkit.backbones.base import Backbone
from visionkit.errors import ConfigError
from visionkit.models.create import models
from visionkit.models.detection.parts.anchors import AnchorGenerator, AnchorOptions, check_anchor_levels
from visionkit.models.detection.parts.box_head import PooledRoIHeads
from visionkit.models.detection.parts.faster_rcnn_variants import VARIANTS, HeadSizes
from visionkit.models.detection.parts.roi_heads import RoIOptions
from visionkit.models.detection.parts.rpn import RegionProposalNetwork, RPNOptions
from visionkit.models.detection.parts.torchvision_weights import PYRAMID_RENAMED, PublishedDetector
from visionkit.models.detection.parts.two_stage import TwoStageDetector
from visionkit.ops.nms import NMSOptions
from visionkit.registry import suggest

PUBLISHED = PublishedDetector(
    url=FasterRCNN_ResNet50_FPN_Weights.COCO_V1.url,
    hash_without_epsilon="258fb6c6",
    renamed=(*PYRAMID_RENAMED, (r"^rpn\.head\.conv\.(weight|bias)$", r"rpn.head.conv.0.0.\1")),
    predictors={"roi_heads.box_predictor.cls_score.": 1, "roi_heads.box_predictor.bbox_pred.": 4},
)


@models.register("faster_rcnn")
class FasterRCNN(TwoStageDetector):
    """Faster R-CNN (Ren et al. 2015), a two-stage detector with a region proposal network.

    The defaults are those of torchvision's `fasterrcnn_resnet50_fpn` (COCO box AP 37.0 after 26 epochs). With the same
    weights the model returns torchvision's results. There are three variants:

    - "fpn": a feature pyramid on the stages of stride 4 to 32 (Lin et al. 2016).
    - "single": one map of stride 16. With VGG-16 this is conv5_3 with fc6 and fc7 of 4096 channels (Ren et al. 2015,
      which keeps 12000 / 6000 anchors before and 2000 / 300 proposals after NMS in training / testing). Anchors that
      cross the border of the image are ignored in the loss. The second stage is initialized and weighted as in Fast
      R-CNN.
    - "c4": proposals and RoIs on C4, with the fifth stage of a ResNet as box head (He et al. 2015, appendix A).

    Anchors are centered on the corner of their cell in all variants, as in torchvision. In the authors' code of
    "single" and "c4" they are centered half a stride further, and in the paper both stages are trained in turns.

    With `weights="coco"`, sizes and pixels of the input are exactly torchvision's with `preprocess.resize=torchvision`.

    Args:
        backbone: source of the feature maps, with a stage of stride 16 ("single", "c4") or stages of stride 4 to 32
            ("fpn").
        num_classes: K, without background; labels are 0..K-1.
        variant: "fpn", "single" or "c4".
        anchors: sizes and ratios of the anchors. By default the sizes are 8 times the stride of each level for "fpn"
            (32 to 512; Lin et al., section 4.1), 128, 256, 512 for "single" (Ren et al., section 3.3), and 32 to 512
            for "c4" (Lin et al., section 5.1).
        rpn: training of the region proposal network, and numbers of proposals.
        roi: which proposals the second stage is trained on.
        nms: how overlapping detections are filtered.
        fpn_channels: channels of every pyramid level (Lin et al., section 3), for "fpn".
        head_channels: channels of the two fully connected layers; None is 1024 for "fpn", 4096 for "single".
        head_dropout: dropout probability after each of them; None is 0 for "fpn", 0.5 for "single".
        roi_size: side of the map that RoIAlign returns for a region; None is 7, or 14 for "c4".
        weights: weights of the whole model: "coco" for torchvision's file with ResNet-50 FPN, the path of such a file,
            the path of a visionkit checkpoint, or None. Of torchvision's 90 category ids, 80 are classes of COCO. With
            another number of classes the predictor is randomly initialized.

    Attributes:
        spec: primitives from which `create_model` builds the same structure.

    Raises:
        ConfigError: options that contradict each other or the backbone.
        CheckpointError: `weights` cannot be loaded, or are for another model.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("resnet18", weights="none")
        >>> model = vk.FasterRCNN(backbone, num_classes=3, fpn_channels=32, head_channels=32)
        >>> target = {"boxes": torch.tensor([[8.0, 8.0, 40.0, 56.0]]), "labels": torch.tensor([2])}
        >>> sorted(model([torch.randn(3, 64, 64)], [target]))
        ['loss_box', 'loss_classifier', 'loss_rpn_box', 'loss_rpn_objectness']
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        variant: Literal["fpn", "single", "c4"] = "fpn",
        anchors: AnchorOptions = AnchorOptions(),
        rpn: RPNOptions = RPNOptions(),
        roi: RoIOptions = RoIOptions(),
        nms: NMSOptions = NMSOptions(score_threshold=0.05),
        fpn_channels: int = 256,
        head_channels: int | None = None,
        head_dropout: float | None = None,
        roi_size: int | None = None,
        weights: str | None = None,
    ) -> None:
        super().__init__(backbone, num_classes)
        if variant not in VARIANTS:
            raise ConfigError(f"variant={variant!r}{suggest(variant, VARIANTS)}")
        parts = VARIANTS[variant](backbone, HeadSizes(fpn_channels, head_channels, head_dropout, roi_size))
        sizes = check_anchor_levels(anchors.sizes or parts.anchor_sizes, parts.anchor_sizes)
        self.neck = parts.neck
        self.rpn = RegionProposalNetwork(
            parts.channels, AnchorGenerator(sizes, anchors.aspect_ratios), rpn, parts.inside_only
        )
        self.roi_heads = PooledRoIHeads(
            parts.pool,
            parts.head,
            parts.head_channels,
            num_classes,
            options=roi,
            nms=nms,
            smooth_l1_beta=parts.smooth_l1_beta,
            initial_std=parts.initial_std,
        )
        if weights is not None:
            PUBLISHED.load(self, backbone, weights)
        self.to(memory_format=torch.channels_last)
