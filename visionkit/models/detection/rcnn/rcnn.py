"""R-CNN (Girshick et al. 2013): each given proposal warped to a classifier's input and classified on its own."""

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from visionkit.backbones.base import Backbone
from visionkit.errors import ConfigError
from visionkit.models.create import models
from visionkit.models.detection.parts.batch import ImageBatch, check_images, pad_to_batch
from visionkit.models.detection.parts.box_head import PooledRoIHeads, TwoLayerHead
from visionkit.models.detection.parts.external_proposals import ExternalProposalDetector
from visionkit.models.detection.rcnn.fitted_linear import FittedLinear
from visionkit.models.detection.rcnn.region_classifier import RegionClassifier, RegionFeatures, values_of_deepest
from visionkit.models.detection.rcnn.region_warp import RegionWarp
from visionkit.models.fully_connected_weights import copy_fully_connected
from visionkit.ops.matching import Objects
from visionkit.ops.nms import NMSOptions
from visionkit.ops.precision import check_finite, full_precision
from visionkit.structures import Prediction

STEEPNESS = math.log(19)
"""Of the sigmoid that makes scores of margins: -1, 0 and 1 become .05, .5 and .95."""


@models.register("rcnn")
class RCNN(ExternalProposalDetector):
    """Warped regions through a whole classifier, each class scored on its own (Girshick et al. 2013).

    Gradients fine-tune the classifier with a softmax over classes and background. The stages that follow, `svm` and
    `box_regression`, fit `after_training` to features of the fine-tuned network; the engine runs them after the last
    epoch, and until then scores are the softmax's, and boxes the proposals. The paper loses 3.3 points of mAP with the
    softmax in place of the machines (appendix B), and 3 to 4 without the regression (section 7.3).

    A machine's margin m becomes the score sigmoid(ln 19 m): the order stays, a region on the boundary scores .5, and
    one on the edge of the background, m = -1, .05.

    Args:
        backbone: of a classifier (the paper: AlexNet, VGG-16), with its deepest stage.
        num_classes: K, without background; labels are 0..K-1.
        classifier: softmax, or svm: a linear machine for each class on fc7 (section 2.3).
        box_regression: whether a ridge regression for each class on the deepest map refines boxes (appendix C).
        warp_size: pixels that regions are warped to in each direction; None is the backbone's own size.
        context: pixels of them on each side that show the region's surroundings (section 2.1: 16).
        head_channels: of fc6 and fc7 (AlexNet: 4096).
        head_dropout: share of values dropped after each of them.
        box_batch_size: proposals of each image in the loss (section 2.3: 128 in a step; here 64 of each of two).
        box_positive_fraction: share of objects among them at most (the same: 32 of 128).
        box_fg_iou: IoU from which a proposal counts as an object, else as background (the same: .5).
        box_score_threshold: a detection scores more, in 0..1; for evaluation, not for display.
        box_nms_iou: detections that overlap a better one of their class by more are dropped (the author's code: .3).
        box_detections: detections of an image at most.
        NMS, soft_nms_sigma: which of overlapping detections stay, see `FasterRCNN`.
        svm_cost: C of the machines (the author's code: .001, on features whose mean length is made 20).
        svm_negative_iou: a region that overlaps all objects of a class by less teaches its machine what it is not
            (section 2.3: .3); what it is, the objects alone do.
        regression_iou: a region learns to become the nearest object that it overlaps by more (appendix C: .6).
        regression_penalty: lambda of the ridge regression (the same: 1000), on features of mean length 20, too.
        chunk: regions that go through the network at once in evaluation; 2000 together would not fit into memory.

    Raises:
        ConfigError: options that contradict each other or the backbone.
    """

    task: ClassVar[str] = "detection"

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        classifier: Literal["softmax", "svm"] = "softmax",
        box_regression: bool = False,
        warp_size: int | None = None,
        context: int = 16,
        head_channels: int = 4096,
        head_dropout: float = 0.5,
        box_batch_size: int = 64,
        box_positive_fraction: float = 0.25,
        box_fg_iou: float = 0.5,
        box_score_threshold: float = 0.05,
        box_nms_iou: float = 0.3,
        box_detections: int = 100,
        nms_kind: str = "per_class",
        soft_nms_sigma: float = 0.5,
        svm_cost: float = 0.001,
        svm_negative_iou: float = 0.3,
        regression_iou: float = 0.6,
        regression_penalty: float = 1000.0,
        chunk: int = 64,
    ) -> None:
        super().__init__()
        size = warp_size or backbone.native_size
        if not 0 <= 2 * context < size:
            raise ConfigError(f"context={context}: nothing is left of regions warped to {size} pixels")
        if min(svm_cost, regression_penalty) <= 0:
            raise ConfigError(f"svm_cost={svm_cost} and regression_penalty={regression_penalty} must be above 0")
        head = TwoLayerHead(values_of_deepest(backbone, size), head_channels, head_dropout)
        copy_fully_connected(head, backbone)
        self.num_classes, self.chunk = num_classes, chunk
        self.svm_cost, self.svm_negative_iou = svm_cost, svm_negative_iou
        self.regression_iou, self.regression_penalty = regression_iou, regression_penalty
        self.backbone = backbone
        self.roi_heads = PooledRoIHeads(
            RegionWarp(size, context),
            RegionClassifier(backbone, head),
            head_channels,
            num_classes,
            foreground_iou=box_fg_iou,
            background_iou=box_fg_iou,
            batch_size=box_batch_size,
            positive_fraction=box_positive_fraction,
            nms=NMSOptions(nms_kind, box_nms_iou, box_detections, box_score_threshold, soft_nms_sigma),
        )
        for value in self.roi_heads.box_predictor.bbox_pred.parameters():
            nn.init.zeros_(value).requires_grad_(False)  # boxes stay where the proposals are
        self._fitted_layers = nn.ModuleDict()
        if classifier == "svm":
            self._fitted_layers["svm"] = FittedLinear(head_channels, num_classes)
        if box_regression:
            self._fitted_layers["box_regression"] = FittedLinear(head.fc6.in_features, 4 * num_classes)
        self.to(memory_format=torch.channels_last)

    def describe(self, image: Tensor, regions: Tensor) -> RegionFeatures:
        """Features of regions, computed in chunks: the first and by far the longest step of detection.

        Args:
            image: normalized float [3, H, W].
            regions: float32 [R, 4] in its pixels; R may be 0.
        """
        maps, see = {"image": image[None].float()}, self.roi_heads.box_head.describe
        warped = (self.roi_heads.pool(maps, [part]).to(image.dtype) for part in regions.split(self.chunk))
        parts = [see(part) for part in warped]  # type: ignore[operator]
        return RegionFeatures(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def score_regions(self, features: RegionFeatures) -> tuple[Tensor, Tensor]:
        """The second step: scores float32 [R, K] in 0..1, and box coding [R, K, 4] as `roi_heads` decodes it.

        Raises:
            VisionkitError: features or values of the network are not finite.
        """
        with full_precision(features.fc7):
            scores, coding = self._scores(features.fc7), self._coding(features.deepest)
        check_finite(*features, scores, coding)
        return scores, coding

    def _scores(self, fc7: Tensor) -> Tensor:
        machines = self._fitted("svm")
        if machines is None:
            layer = self.roi_heads.box_predictor.cls_score
            return functional.softmax(layer(fc7.to(layer.weight.dtype)).float(), dim=-1)[:, 1:]
        margins = machines(fc7)
        check_finite(margins)  # the sigmoid makes 0 and 1 of infinities
        return torch.sigmoid(STEEPNESS * margins)

    def _coding(self, deepest: Tensor) -> Tensor:
        regression = self._fitted("box_regression")
        if regression is None:
            return deepest.new_zeros(len(deepest), self.num_classes, 4, dtype=torch.float32)
        return regression(deepest).view(-1, self.num_classes, 4)

    @property
    def fitted_layers(self) -> nn.ModuleDict:
        """The linear SVMs and the box regression, where they are asked for."""
        return self._fitted_layers

    def _fitted(self, stage: str) -> FittedLinear | None:
        """What a stage has fitted; None where it has not been run, or is not asked for."""
        part = dict(self._fitted_layers.items()).get(stage)
        return part if isinstance(part, FittedLinear) and part.fitted else None

    def _features(self, images: list[Tensor]) -> tuple[ImageBatch, dict[str, Tensor]]:
        batch = pad_to_batch(images, 1)
        check_images(batch, self.backbone.std)
        return batch, {"image": batch.tensor}

    def _losses(self, maps: dict[str, Tensor], regions: list[Tensor], objects: list[Objects]) -> dict[str, Tensor]:
        if self.training:
            for part in self._fitted_layers.children():
                part.forget()  # type: ignore[operator]
        losses = super()._losses(maps, regions, objects)
        return {"loss_classifier": losses["loss_classifier"]}

    def _detect(self, batch: ImageBatch, maps: dict[str, Tensor], regions: list[Tensor]) -> list[Prediction]:
        pairs = zip(maps["image"], regions, strict=True)
        judged = [self.score_regions(self.describe(image, boxes)) for image, boxes in pairs]
        scores, coding = (torch.cat(column) for column in zip(*judged, strict=True))
        with full_precision(scores):
            return self.roi_heads.detect_scored(scores, coding, regions, batch.sizes)
