"""RetinaNet (Lin et al. 2017): one stage with focal loss on a feature pyramid."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from torch import Tensor, nn
from torchvision.models.detection import RetinaNet_ResNet50_FPN_Weights
from torchvision.models.detection.retinanet import RetinaNetClassificationHead, RetinaNetRegressionHead
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from visionkit.backbones.base import Backbone, Stage
from visionkit.backbones.weights_file import StateDict
from visionkit.errors import ConfigError
from visionkit.models.create import models
from visionkit.models.detection.parts.anchors import AnchorGenerator, AnchorOptions, check_anchor_levels
from visionkit.models.detection.parts.one_stage import AnchorOutput, OneStageDetector, topk_per_level
from visionkit.models.detection.parts.torchvision_weights import PYRAMID_RENAMED, PublishedDetector
from visionkit.models.fpn import FPN, pyramid_stages
from visionkit.ops.box_coder import BoxCoder
from visionkit.ops.focal_loss import FocalLossOptions, focal_loss
from visionkit.ops.matching import LowQualityMatcher, PaddedObjects
from visionkit.ops.nms import NMSOptions

CLASS_LAYER, BOX_LAYER = "head.classification_head.cls_logits", "head.regression_head.bbox_reg"


class PublishedRetinaNet(PublishedDetector):
    """torchvision's published RetinaNet, whose class 0 no object has; here labels start at 0."""

    def translate(self, published: StateDict) -> StateDict:
        """Return the state with our keys, without class 0."""
        state = super().translate(published)
        if f"{CLASS_LAYER}.bias" in state and f"{BOX_LAYER}.bias" in state:
            anchors = len(state[f"{BOX_LAYER}.bias"]) // 4
            for key in (f"{CLASS_LAYER}.weight", f"{CLASS_LAYER}.bias"):
                rows = state[key]
                state[key] = rows.view(anchors, -1, *rows.shape[1:])[:, 1:].flatten(0, 1)
        return state


PUBLISHED = PublishedRetinaNet(
    url=RetinaNet_ResNet50_FPN_Weights.COCO_V1.url,
    hash_without_epsilon="eeacb38b",
    renamed=(
        *PYRAMID_RENAMED,
        # Files from before torchvision 0.13 count the convolutions of a head together with their ReLUs.
        *((rf"^(head\.\w+\.conv)\.{2 * index}\.(weight|bias)$", rf"\1.{index}.0.\2") for index in range(4)),
    ),
    predictors={f"{CLASS_LAYER}.": 1},
    background=0,
)


class RetinaNetHead(nn.Module):
    """The two subnets of figure 3c and d: four convolutions and a prediction layer each, shared by all levels.

    Args:
        channels: channels of the levels.
        anchors: number of anchors at each position.
        num_classes: K.
        prior_probability: initial score of every anchor and class (section 4.1).
    """

    def __init__(self, channels: int, anchors: int, num_classes: int, prior_probability: float) -> None:
        super().__init__()
        self.classification_head = RetinaNetClassificationHead(channels, anchors, num_classes, prior_probability)
        self.regression_head = RetinaNetRegressionHead(channels, anchors)

    def forward(self, levels: list[Tensor]) -> dict[str, Tensor]:
        """Return `cls_logits` [B, A, K] and `bbox_regression` [B, A, 4] of maps [B, channels, h, w]."""
        return {"cls_logits": self.classification_head(levels), "bbox_regression": self.regression_head(levels)}


@models.register("retinanet")
class RetinaNet(OneStageDetector):
    """RetinaNet (Lin et al. 2017), a one-stage detector with a feature pyramid from stride 8 and focal loss.

    Published COCO box AP is 36.4. With torchvision's weights of `retinanet_resnet50_fpn` the model returns
    torchvision's results.

    Args:
        backbone: source of the feature maps, with stages of stride 8 to 32; other stages are not used.
        num_classes: K; labels are 0..K-1, and there is no background class.
        anchors: anchors of the levels. By default their sides are 4 times the stride of the level times 1, 2^(1/3) and
            2^(2/3), which gives 32 to 813 pixels (section 4).
        fpn_channels: channels of every level (section 4).
        p6_from: map that the strided convolutions behind the pyramid start from: "p5" as in torchvision, "c5" as in
            the paper.
        focal_loss: focal loss of the classes.
        prior_probability: initial score of every anchor and class (section 4.1).
        fg_iou: an anchor with at least this IoU matches an object (section 4), besides the best anchor of each object,
            as in torchvision.
        bg_iou: an anchor with less than this IoU is background (section 4).
        topk_candidates: maximum number of detections of each level that enter NMS (section 4).
        nms: filter of overlapping detections (section 4).
        weights: weights of the whole model: "coco" for torchvision's file with ResNet-50, the path of such a file, the
            path of a visionkit checkpoint, or None. Of torchvision's 90 category ids, 80 are classes of COCO. With
            another number of classes the prediction layer is randomly initialized.

    Attributes:
        spec: primitives from which `create_model` builds the same structure.

    Raises:
        ConfigError: options that contradict each other or the backbone.
        CheckpointError: `weights` cannot be loaded, or are for another model.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("resnet18", weights="none", out_stages=["s8", "s16"])
        >>> model = vk.RetinaNet(backbone, num_classes=3, fpn_channels=32)
        >>> target = {"boxes": torch.tensor([[8.0, 8.0, 40.0, 56.0]]), "labels": torch.tensor([2])}
        >>> sorted(model([torch.randn(3, 64, 64)], [target]))
        ['loss_box', 'loss_classifier']
    """

    task: ClassVar[str] = "detection"

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        anchors: AnchorOptions = AnchorOptions(),
        fpn_channels: int = 256,
        p6_from: Literal["p5", "c5"] = "p5",
        focal_loss: FocalLossOptions = FocalLossOptions(),
        prior_probability: float = 0.01,
        fg_iou: float = 0.5,
        bg_iou: float = 0.4,
        topk_candidates: int = 1000,
        nms: NMSOptions = NMSOptions(iou=0.5, max_detections=100, score_threshold=0.05),
        weights: str | None = None,
    ) -> None:
        if not 0 < prior_probability < 1:
            raise ConfigError(f"prior_probability={prior_probability} must be between 0 and 1")
        matcher = LowQualityMatcher(fg_iou, bg_iou)
        stages = pyramid_stages(backbone, "retinanet", finest=8)
        published = published_anchor_sizes([stage.stride for stage in stages.values()])
        generator = AnchorGenerator(check_anchor_levels(anchors.sizes or published, published), anchors.aspect_ratios)
        anchors_per_position = generator.num_anchors_per_location()[0]
        super().__init__(
            backbone,
            num_classes,
            neck=FPN(stages, fpn_channels, _extra_levels(stages, fpn_channels, p6_from)),
            head=RetinaNetHead(fpn_channels, anchors_per_position, num_classes, prior_probability),
            anchors=generator,
            matcher=matcher,
            box_coder=BoxCoder(),
            nms=nms,
        )
        self.focal_loss, self.topk_candidates = focal_loss, topk_candidates
        if weights is not None:
            PUBLISHED.load(self, backbone, weights)

    def losses(self, output: AnchorOutput, objects: PaddedObjects) -> dict[str, Tensor]:
        """Return focal loss of all anchors (section 3.2) and L1 loss of matched anchors, as in torchvision.

        Returns:
            `loss_classifier` and `loss_box`, each divided by the image's number of matched anchors, and averaged over
            the images.
        """
        targets = self.anchor_targets(output.anchors, objects)
        matched = (targets.classes > 0).sum(dim=1).clamp(min=1)
        per_image = focal_loss(output.logits, targets.classes, self.focal_loss.alpha, self.focal_loss.gamma)
        predicted, wanted = self.matched_deltas(output, targets)
        of_image = targets.select(matched[:, None].expand_as(targets.classes))
        box = targets.sum((predicted - wanted).abs() / of_image[:, None]) / len(matched)
        return {"loss_classifier": (per_image / matched).mean(), "loss_box": box}

    def scores(self, output: AnchorOutput) -> Tensor:
        """Return the sigmoid scores; see `OneStageDetector.scores`."""
        return output.logits.sigmoid()

    def select_candidates(self, scores: Tensor, anchors_per_level: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Select the best detections of each level; see `OneStageDetector.select_candidates`."""
        return topk_per_level(scores, anchors_per_level, self.nms.score_threshold, self.topk_candidates)


def published_anchor_sizes(strides: Sequence[int]) -> list[list[int]]:
    """Return the sides in pixels of the anchors of each level: the levels of `strides`, and two behind them."""
    strides = [*strides, 2 * strides[-1], 4 * strides[-1]]
    return [[int(4 * stride * 2 ** (third / 3)) for third in range(3)] for stride in strides]


def _extra_levels(stages: dict[str, Stage], channels: int, p6_from: str) -> LastLevelP6P7:
    *_, deepest = stages.values()
    levels = LastLevelP6P7(channels if p6_from == "p5" else deepest.channels, channels)
    levels.use_P5 = p6_from == "p5"  # torchvision derives it from the channels, which can be equal
    return levels
