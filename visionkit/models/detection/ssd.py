"""SSD (Liu et al. 2015): default boxes on maps of several strides, softmax loss with hard negatives."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from torch import Tensor
from torch.nn import functional
from torchvision.models.detection import SSD300_VGG16_Weights
from torchvision.models.detection.ssd import SSDHead

from visionkit.backbones.base import Backbone
from visionkit.backbones.weights_file import Normalization
from visionkit.errors import ConfigError, DataError
from visionkit.models.create import models
from visionkit.models.detection.parts.batch import ImageBatch
from visionkit.models.detection.parts.one_stage import AnchorOutput, OneStageDetector, topk_per_class
from visionkit.models.detection.parts.ssd_variants import VARIANTS
from visionkit.models.detection.parts.torchvision_weights import PublishedDetector
from visionkit.ops.box_coder import BoxCoder
from visionkit.ops.hard_negative_sampler import topk_mask
from visionkit.ops.matching import PaddedObjects, SSDMatcher
from visionkit.ops.nms import NMSOptions
from visionkit.registry import suggest

PUBLISHED = PublishedDetector(
    url=SSD300_VGG16_Weights.COCO_V1.url,
    hash_without_epsilon=None,
    renamed=(
        (r"^backbone\.scale_weight$", "neck.scale.s8"),
        (r"^backbone\.extra\.0\.7\.1\.", "backbone.fc6."),
        (r"^backbone\.extra\.0\.7\.3\.", "backbone.fc7."),
        *((rf"^backbone\.extra\.0\.{index}\.", f"backbone.features.{23 + index}.") for index in (1, 3, 5)),
        *((rf"^backbone\.extra\.{block}\.", f"neck.extra.{block - 1}.") for block in range(1, 6)),
    ),
    predictors={"head.classification_head.module_list.": 1},
    normalization=Normalization(mean=(0.48235, 0.45882, 0.40784), std=(1 / 255, 1 / 255, 1 / 255)),
)


@models.register("ssd")
class SSD(OneStageDetector):
    """SSD (Liu et al. 2015), a one-stage detector for images of one size.

    Published VOC07 mAP is 77.2 with 300 pixels and 79.8 with 512, trained on 07+12. With torchvision's weights of
    `ssd300_vgg16` the model returns torchvision's results. There are three variants:

    - "ssd300": on vgg16_atrous, for `preprocess.size` [300, 300]; 8,732 default boxes.
    - "ssd512": on vgg16_atrous, for `preprocess.size` [512, 512]; 24,564 default boxes.
    - "any": on the stages of stride 8 to 32 of any backbone and a few extra levels, for any size.

    Args:
        backbone: source of the feature maps; which one depends on `variant`.
        num_classes: K, without background; labels are 0..K-1.
        variant: "ssd300", "ssd512" or "any".
        extra_channels: channels of the levels behind the backbone, each of half the size of the one before; only with
            variant "any", where None uses 512, 256, 256.
        scales: side of the default boxes of the first and of the last level, as shares of the image's side (equation
            4); only with variant "any", where None uses 0.2 and 0.9.
        clip_boxes: whether the sides of default boxes are limited to those of the input: as in torchvision, whose
            weights need it, but not in the authors' code. 2 of SSD300's 8,732 boxes and 42 of SSD512's 24,564 are
            longer than the input.
        fg_iou: a default box with at least this IoU matches an object, besides the best box of each object (section
            2.2).
        neg_to_pos_ratio: number of hardest background boxes in the loss per matched box (section 2.2).
        topk_candidates: maximum number of detections of each class that enter NMS, as in torchvision.
        nms: filter of overlapping detections (section 2.3).
        weights: weights of the whole model: "coco" for torchvision's file of SSD300, the path of such a file, the path
            of a visionkit checkpoint, or None. Of torchvision's 90 category ids, 80 are classes of COCO. With another
            number of classes the prediction layers are randomly initialized.

    Attributes:
        spec: primitives from which `create_model` builds the same structure.

    Raises:
        ConfigError: options that contradict each other or the backbone.
        CheckpointError: `weights` cannot be loaded, or are for another model.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("resnet18", weights="none", out_stages=["s8", "s16"])
        >>> model = vk.SSD(backbone, num_classes=3, extra_channels=(64,)).eval()
        >>> (prediction,) = model([torch.randn(3, 64, 64)])
        >>> sorted(prediction)
        ['boxes', 'labels', 'scores']
    """

    task: ClassVar[str] = "detection"
    size_multiple = 1

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        variant: Literal["ssd300", "ssd512", "any"] = "any",
        extra_channels: tuple[int, ...] | None = None,
        scales: tuple[float, float] | None = None,
        clip_boxes: bool = True,
        fg_iou: float = 0.5,
        neg_to_pos_ratio: float = 3.0,
        topk_candidates: int = 400,
        nms: NMSOptions = NMSOptions(iou=0.45, max_detections=200, score_threshold=0.01),
        weights: str | None = None,
    ) -> None:
        if variant not in VARIANTS:
            raise ConfigError(f"variant={variant!r}{suggest(variant, VARIANTS)}")
        if weights == "coco" and not clip_boxes:
            raise ConfigError("weights=coco: torchvision trained them with clipped boxes\nset model.clip_boxes=true")
        levels = VARIANTS[variant](backbone, extra_channels, scales)
        levels.default_boxes.clip = clip_boxes
        super().__init__(
            backbone,
            num_classes,
            neck=levels.neck,
            head=SSDHead(levels.channels, levels.default_boxes.num_anchors_per_location(), num_classes + 1),
            anchors=levels.default_boxes,
            matcher=SSDMatcher(fg_iou),
            box_coder=BoxCoder(weights=(10.0, 5.0)),
            nms=nms,
        )
        self.neg_to_pos_ratio, self.topk_candidates = neg_to_pos_ratio, topk_candidates
        if weights is not None:
            PUBLISHED.load(self, backbone, weights)

    def losses(self, output: AnchorOutput, objects: PaddedObjects) -> dict[str, Tensor]:
        """Return softmax loss of classes and background, and smooth L1 loss of matched boxes (equations 1 and 2).

        Of the background, only the boxes with the highest loss count: `neg_to_pos_ratio` times the number of matched
        boxes of the image.

        Returns:
            `loss_classifier` and `loss_box`, each summed over the batch and divided by its number of matched boxes; 0
            without any.
        """
        targets = self.anchor_targets(output.anchors, objects)
        positive = targets.classes > 0
        matched = positive.sum().clamp(min=1)
        entropy = functional.cross_entropy(output.logits.mT, targets.classes, ignore_index=-1, reduction="none")
        max_negatives = self.neg_to_pos_ratio * positive.sum(dim=1)
        hardest = topk_mask(entropy.detach(), targets.classes == 0, max_negatives)
        predicted, wanted = self.matched_deltas(output, targets)
        box = targets.sum(functional.smooth_l1_loss(predicted, wanted, reduction="none"))
        return {
            "loss_classifier": entropy.masked_fill(~(positive | hardest), 0.0).sum() / matched,
            "loss_box": box / matched,
        }

    def scores(self, output: AnchorOutput) -> Tensor:
        """Return the softmax scores without background; see `OneStageDetector.scores`."""
        return output.logits.softmax(dim=-1)[..., 1:]

    def select_candidates(self, scores: Tensor, anchors_per_level: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Select the best boxes of each class; see `OneStageDetector.select_candidates`."""
        return topk_per_class(scores, self.nms.score_threshold, self.topk_candidates)

    def _anchor_output(self, images: list[Tensor]) -> tuple[ImageBatch, AnchorOutput]:
        sizes = sorted({tuple(image.shape[-2:]) for image in images})
        if len(sizes) > 1:
            raise DataError(
                f"the images of this batch have the sizes {sizes[:3]}: SSD takes images of one size\n"
                "set preprocess.size, such as [300, 300]"
            )
        return super()._anchor_output(images)
