"""SSD (Liu et al. 2015): default boxes on maps of many strides, softmax with hard negatives."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from torch import Tensor
from torch.nn import functional
from torchvision.models.detection import SSD300_VGG16_Weights
from torchvision.models.detection._utils import BoxCoder, SSDMatcher
from torchvision.models.detection.ssd import SSDHead

from visionkit.backbones.base import Backbone
from visionkit.backbones.weights_file import Normalization
from visionkit.errors import ConfigError, DataError
from visionkit.models.create import models
from visionkit.models.detection.parts.batch import ImageBatch
from visionkit.models.detection.parts.one_stage import DenseOutput, OneStageDetector, best_of_each_class
from visionkit.models.detection.parts.ssd_variants import FORMS
from visionkit.models.detection.parts.torchvision_weights import PublishedDetector
from visionkit.ops.matching import Objects
from visionkit.ops.nms import NMSOptions
from visionkit.ops.sampling import highest
from visionkit.registry import suggest

PUBLISHED = PublishedDetector(
    url=SSD300_VGG16_Weights.COCO_V1.url,
    hash_without_epsilon=None,
    renamed=(
        (r"^backbone\.scale_weight$", "neck.scale.s8"),
        (r"^backbone\.extra\.0\.7\.1\.", "backbone.fc6."),
        (r"^backbone\.extra\.0\.7\.3\.", "backbone.fc7."),
        *((rf"^backbone\.extra\.0\.{place}\.", f"backbone.features.{23 + place}.") for place in (1, 3, 5)),
        *((rf"^backbone\.extra\.{block}\.", f"neck.extra.{block - 1}.") for block in range(1, 6)),
    ),
    predictors={"head.classification_head.module_list.": 1},
    normalization=Normalization(mean=(0.48235, 0.45882, 0.40784), std=(1 / 255, 1 / 255, 1 / 255)),
)


@models.register("ssd")
class SSD(OneStageDetector):
    """One-stage detector on images of one size (VOC07 mAP 77.2 with 300 pixels, 79.8 with 512, trained on 07+12).

    With torchvision's values for `ssd300_vgg16` it repeats torchvision's results. Three forms:

    - "ssd300": on vgg16_atrous, for `preprocess.size` [300, 300]: 8,732 default boxes.
    - "ssd512": on vgg16_atrous, for `preprocess.size` [512, 512]: 24,564.
    - "any": on any backbone's stages of stride 8 to 32 and a few convolutions behind them, for any size.

    Args:
        backbone: see the forms.
        num_classes: K, without background; labels are 0..K-1.
        form: "ssd300", "ssd512" or "any", see above.
        extra_channels: of the levels behind the backbone, each half the size of the one before; only for "any", where
            None is 512, 256, 256.
        scales: side of the first level's default boxes and of the last one's, as shares of the image's (equation 4);
            only for "any", where None is .2, .9.
        fg_iou: IoU with an object from which a default box counts as it, besides each object's best (section 2.2: .5).
        negatives: hardest background boxes in the loss for each box that is an object (the same: 3).
        score_threshold: a detection scores more, in 0..1; for evaluation, not for display (section 2.3: .01).
        class_candidates: best detections of each class that go into NMS (torchvision: 400).
        NMS: which of overlapping detections stay, by its name in `visionkit.ops.nms`: "per_class",
            "class_agnostic", "soft_linear" or "soft_gaussian".
        nms_iou: detections suffer from a better one that they overlap by more (section 2.3: .45).
        soft_nms_sigma: how gently "soft_gaussian" lowers scores (Bodla et al. 2017: .5).
        detections: of an image at most (section 2.3: 200).
        weights: values for the whole network: "coco" (torchvision's file for SSD300), the path of such a file, the
            path of a visionkit checkpoint, or None. Of torchvision's 90 ids 80 classes are COCO's; with another number
            of classes the predictors stay new.

    Attributes:
        spec: primitives from which `create_model` builds the same structure.

    Raises:
        ConfigError: options that contradict each other or the backbone.
        CheckpointError: `weights` cannot be had or does not fit.
    """

    task: ClassVar[str] = "detection"
    size_multiple = 1

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        form: Literal["ssd300", "ssd512", "any"] = "any",
        extra_channels: tuple[int, ...] | None = None,
        scales: tuple[float, float] | None = None,
        fg_iou: float = 0.5,
        negatives: float = 3.0,
        score_threshold: float = 0.01,
        class_candidates: int = 400,
        nms_kind: str = "per_class",
        nms_iou: float = 0.45,
        soft_nms_sigma: float = 0.5,
        detections: int = 200,
        weights: str | None = None,
    ) -> None:
        if form not in FORMS:
            raise ConfigError(f"form={form!r}{suggest(form, FORMS)}")
        levels = FORMS[form](backbone, extra_channels, scales)
        super().__init__(
            backbone,
            num_classes,
            neck=levels.neck,
            head=SSDHead(levels.channels, levels.boxes.num_anchors_per_location(), num_classes + 1),
            anchors=levels.boxes,
            matcher=SSDMatcher(fg_iou),
            box_coder=BoxCoder(weights=(10.0, 10.0, 5.0, 5.0)),
            nms=NMSOptions(nms_kind, nms_iou, detections, score_threshold, soft_nms_sigma),
        )
        self.negatives, self.class_candidates = negatives, class_candidates
        if weights is not None:
            PUBLISHED.load(self, backbone, weights)

    def losses(self, output: DenseOutput, objects: Sequence[Objects]) -> dict[str, Tensor]:
        """Softmax over the classes and background, smooth L1 of the boxes that are objects (equations 1 and 2).

        Of the background only the boxes count that are taken for an object most, `negatives` times as many as are
        objects in the same image.

        Returns:
            `loss_classifier` and `loss_box`, each summed over the batch and divided by its number of boxes that are
            objects; 0 where there are none.
        """
        anchor_targets = self.anchor_targets(output.anchors, objects)
        number = max(len(anchor_targets.image), 1)
        each = functional.cross_entropy(output.logits.mT, anchor_targets.classes, ignore_index=-1, reduction="none")
        allowed = self.negatives * (anchor_targets.classes > 0).sum(dim=1)
        hardest = highest(each.detach(), anchor_targets.classes == 0, allowed)
        said, wanted = self.box_errors(output, anchor_targets)
        return {
            "loss_classifier": (each[anchor_targets.image, anchor_targets.anchor].sum() + each[hardest].sum()) / number,
            "loss_box": functional.smooth_l1_loss(said, wanted, reduction="sum") / number,
        }

    def scores(self, output: DenseOutput) -> Tensor:
        """See `OneStageDetector.scores`."""
        return output.logits.softmax(dim=-1)[..., 1:]

    def choose(self, scores: Tensor, per_level: Sequence[int]) -> tuple[Tensor, Tensor]:
        """See `OneStageDetector.choose`."""
        return best_of_each_class(scores, self.nms.score_threshold, self.class_candidates)

    def _forward_view(self, images: list[Tensor]) -> tuple[ImageBatch, DenseOutput]:
        sizes = sorted({tuple(image.shape[-2:]) for image in images})
        if len(sizes) > 1:
            raise DataError(
                f"the images of this batch have the sizes {sizes[:3]}: SSD takes images of one size\n"
                "set preprocess.size, such as [300, 300]"
            )
        return super()._forward_view(images)
