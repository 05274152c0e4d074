"""RetinaNet (Lin et al. 2017): focal loss on a feature pyramid, one stage."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from torch import Tensor, nn
from torchvision.models.detection import RetinaNet_ResNet50_FPN_Weights
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.retinanet import RetinaNetClassificationHead, RetinaNetRegressionHead
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from visionkit.backbones.base import Backbone, Stage
from visionkit.backbones.weights_file import StateDict
from visionkit.errors import ConfigError
from visionkit.models.create import models
from visionkit.models.detection.parts.anchors import Anchors
from visionkit.models.detection.parts.faster_rcnn_variants import checked_anchors
from visionkit.models.detection.parts.fpn import FPN
from visionkit.models.detection.parts.one_stage import DenseOutput, OneStageDetector, best_of_each_level
from visionkit.models.detection.parts.torchvision_weights import PYRAMID_RENAMED, PublishedDetector
from visionkit.ops.focal_loss import focal_loss
from visionkit.ops.matching import BestMatcher, Objects
from visionkit.ops.nms import NMSOptions

CLASS_LAYER, BOX_LAYER = "head.classification_head.cls_logits", "head.regression_head.bbox_reg"


class PublishedRetinaNet(PublishedDetector):
    """torchvision's network gives each anchor a class 0, which no object has; here labels start at 0."""

    def translate(self, published: StateDict) -> StateDict:
        """Rename torchvision's keys to ours, and leave class 0 out."""
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
        *((rf"^(head\.\w+\.conv)\.{2 * place}\.(weight|bias)$", rf"\1.{place}.0.\2") for place in range(4)),
    ),
    predictors={f"{CLASS_LAYER}.": 1},
    background=0,
)


class RetinaNetHead(nn.Module):
    """The two subnets of figure 3c and d: four convolutions and a predictor each, the same for every level.

    Args:
        channels: of the levels.
        anchors: at each place.
        num_classes: K.
        prior: score that everything has at the start (section 4.1).
    """

    def __init__(self, channels: int, anchors: int, num_classes: int, prior: float) -> None:
        super().__init__()
        self.classification_head = RetinaNetClassificationHead(channels, anchors, num_classes, prior)
        self.regression_head = RetinaNetRegressionHead(channels, anchors)

    def forward(self, levels: list[Tensor]) -> dict[str, Tensor]:
        """From maps [B, channels, h, w] to `cls_logits` [B, A, K] and `bbox_regression` [B, A, 4]."""
        return {"cls_logits": self.classification_head(levels), "bbox_regression": self.regression_head(levels)}


@models.register("retinanet")
class RetinaNet(OneStageDetector):
    """One-stage detector with a feature pyramid from stride 8 and focal loss (COCO box AP 36.4).

    With torchvision's values for `retinanet_resnet50_fpn` it repeats torchvision's results.

    Args:
        backbone: with stages of stride 8 to 32; others are passed over.
        num_classes: K; labels are 0..K-1, and there is no background class.
        anchor_sizes: for each level the sides of its square anchors, in pixels of the network's input. None is the
            published choice: 4 times the level's stride times 1, 2^(1/3) and 2^(2/3) (32 to 813; section 4).
        anchor_ratios: height / width of the anchors (section 4).
        fpn_channels: of every level (section 4: 256).
        p6_from: map that the strided convolutions behind the pyramid start from: "p5" as in torchvision, "c5" as in the
            paper.
        focal_alpha: weight of objects (section 4.1: .25).
        focal_gamma: how strongly easy examples are passed over (the same: 2).
        prior: score that everything has at the start (the same: .01).
        fg_iou: IoU with an object from which an anchor counts as it (section 4: .5), besides each object's best anchor,
            as torchvision has it.
        bg_iou: IoU below which it counts as background (the same: .4).
        score_threshold: a detection scores more, in 0..1; for evaluation, not for display (section 4: .05).
        level_candidates: best detections of each level that go into NMS (the same: 1000).
        NMS: which of overlapping detections stay, by its name in `visionkit.ops.nms`: "per_class",
            "class_agnostic", "soft_linear" or "soft_gaussian".
        nms_iou: detections suffer from a better one that they overlap by more (the same: .5).
        soft_nms_sigma: how gently "soft_gaussian" lowers scores (Bodla et al. 2017: .5).
        detections: of an image at most (COCO: 100).
        weights: values for the whole network: "coco" (torchvision's file for ResNet-50), the path of such a file, the
            path of a visionkit checkpoint, or None. Of torchvision's 90 ids 80 classes are COCO's; with another number
            of classes the predictor stays new.

    Attributes:
        spec: primitives from which `create_model` builds the same structure.

    Raises:
        ConfigError: options that contradict each other or the backbone.
        CheckpointError: `weights` cannot be had or does not fit.
    """

    task: ClassVar[str] = "detection"

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        anchor_sizes: list[list[int]] | None = None,
        anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0),
        fpn_channels: int = 256,
        p6_from: Literal["p5", "c5"] = "p5",
        focal_alpha: float = 0.25,
        focal_gamma: float = 2.0,
        prior: float = 0.01,
        fg_iou: float = 0.5,
        bg_iou: float = 0.4,
        score_threshold: float = 0.05,
        level_candidates: int = 1000,
        nms_kind: str = "per_class",
        nms_iou: float = 0.5,
        soft_nms_sigma: float = 0.5,
        detections: int = 100,
        weights: str | None = None,
    ) -> None:
        if not 0 <= bg_iou <= fg_iou <= 1:
            raise ConfigError(f"bg_iou={bg_iou} and fg_iou={fg_iou}: they must rise within 0..1")
        if not (0 <= focal_alpha <= 1 and focal_gamma >= 0 and 0 < prior < 1):
            told = f"focal_alpha {focal_alpha} <= 1, focal_gamma {focal_gamma} >= 0 and 0 < prior {prior} < 1"
            raise ConfigError(f"0 <= {told} must hold")
        stages = _stages(backbone)
        published = published_anchor_sizes([stage.stride for stage in stages.values()])
        anchors = Anchors(checked_anchors(anchor_sizes or published, published), anchor_ratios)
        super().__init__(
            backbone,
            num_classes,
            neck=FPN(stages, fpn_channels, _levels_behind(stages, fpn_channels, p6_from)),
            head=RetinaNetHead(fpn_channels, anchors.num_anchors_per_location()[0], num_classes, prior),
            anchors=anchors,
            matcher=BestMatcher(fg_iou, bg_iou),
            box_coder=BoxCoder(weights=(1.0, 1.0, 1.0, 1.0)),
            nms=NMSOptions(nms_kind, nms_iou, detections, score_threshold, soft_nms_sigma),
        )
        self.alpha, self.gamma, self.level_candidates = focal_alpha, focal_gamma, level_candidates
        if weights is not None:
            PUBLISHED.load(self, backbone, weights)

    def losses(self, output: DenseOutput, objects: Sequence[Objects]) -> dict[str, Tensor]:
        """Focal loss of every anchor (section 3.2) and L1 of those that are objects, as torchvision has it.

        Returns:
            `loss_classifier` and `loss_box`, each divided by the image's number of anchors that are objects, and
            averaged over the images.
        """
        anchor_targets = self.anchor_targets(output.anchors, objects)
        number = (anchor_targets.classes > 0).sum(dim=1).clamp(min=1)
        classifier = focal_loss(output.logits, anchor_targets.classes, self.alpha, self.gamma) / number
        said, wanted = self.box_errors(output, anchor_targets)
        box = (said - wanted).abs().sum(dim=1) / number[anchor_targets.image]
        return {"loss_classifier": classifier.mean(), "loss_box": box.sum() / len(objects)}

    def scores(self, output: DenseOutput) -> Tensor:
        """See `OneStageDetector.scores`."""
        return output.logits.sigmoid()

    def choose(self, scores: Tensor, per_level: Sequence[int]) -> tuple[Tensor, Tensor]:
        """See `OneStageDetector.choose`."""
        return best_of_each_level(scores, per_level, self.nms.score_threshold, self.level_candidates)


def published_anchor_sizes(strides: Sequence[int]) -> list[list[int]]:
    """Sides in pixels of the three square anchors of each level, two levels being added to those of `strides`."""
    strides = [*strides, 2 * strides[-1], 4 * strides[-1]]
    return [[int(4 * stride * 2 ** (third / 3)) for third in range(3)] for stride in strides]


def _stages(backbone: Backbone) -> dict[str, Stage]:
    stages = {name: stage for name, stage in backbone.stages.items() if 8 <= stage.stride <= 32}
    if not stages:
        raise ConfigError(
            f"retinanet needs stages of stride 8 to 32; {backbone.name} gives {', '.join(backbone.stages)}"
        )
    return stages


def _levels_behind(stages: dict[str, Stage], channels: int, start: str) -> LastLevelP6P7:
    *_, deepest = stages.values()
    levels = LastLevelP6P7(channels if start == "p5" else deepest.channels, channels)
    levels.use_P5 = start == "p5"  # torchvision guesses it from the channels
    return levels
