"""R-CNN (Girshick et al. 2013)."""

import math
from dataclasses import dataclass
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
from visionkit.models.detection.parts.roi_heads import RoIOptions
from visionkit.models.detection.rcnn.fitted_linear import FittedLinear
from visionkit.models.detection.rcnn.region_classifier import RegionClassifier, RegionFeatures, deepest_map_values
from visionkit.models.detection.rcnn.region_warp import RegionWarp
from visionkit.models.fully_connected_weights import copy_fully_connected
from visionkit.ops.float32 import check_finite, full_precision
from visionkit.ops.matching import PaddedObjects
from visionkit.ops.nms import NMSOptions
from visionkit.option_checks import check_above, check_within
from visionkit.structures import Prediction

MARGIN_SCALE = math.log(19)
"""Factor of SVM margins before the sigmoid: margins of -1, 0 and 1 become scores of 0.05, 0.5 and 0.95."""


@dataclass(frozen=True)
class SVMOptions:
    """Options of the linear SVM of each class on fc7 (Girshick et al. 2013, section 2.3).

    Attributes:
        cost: C of the SVM (the author's code: 0.001, on features scaled to a mean length of 20).
        negative_iou: a proposal that overlaps all objects of a class by less is a negative (section 2.3: 0.3); the
            objects alone are positives.

    Raises:
        ConfigError: a number is out of its range.

    Example:
        >>> import visionkit as vk
        >>> vk.SVMOptions(cost=0.01).negative_iou
        0.3
    """

    cost: float = 0.001
    negative_iou: float = 0.3

    def __post_init__(self) -> None:
        check_above(0, cost=self.cost)
        check_within(0, 1, negative_iou=self.negative_iou)


@dataclass(frozen=True)
class BoxRegressionOptions:
    """Options of the ridge regression of each class on the deepest map (Girshick et al. 2013, appendix C).

    Attributes:
        enabled: whether boxes are refined at all.
        iou: proposals with a higher IoU than this with their nearest object are used to fit it (appendix C: 0.6).
        penalty: lambda of the ridge regression (appendix C: 1000), on features scaled to a mean length of 20.

    Raises:
        ConfigError: a number is out of its range.

    Example:
        >>> import visionkit as vk
        >>> vk.BoxRegressionOptions(enabled=True).iou
        0.6
    """

    enabled: bool = False
    iou: float = 0.6
    penalty: float = 1000.0

    def __post_init__(self) -> None:
        check_above(0, penalty=self.penalty)
        check_within(0, 1, iou=self.iou)


@models.register("rcnn")
class RCNN(ExternalProposalDetector):
    """R-CNN (Girshick et al. 2013), which warps each proposal to the input of a classifier.

    Gradients fine-tune the classifier with a softmax over classes and background. The stages that follow, linear SVMs
    and box regression, are fitted to features of the fine-tuned network after the last epoch (`fitted_layers`). Until
    then the scores are those of the softmax, and the boxes are the proposals. The paper loses 3.3 points of mAP with
    the softmax instead of the SVMs (appendix B), and 3 to 4 without box regression (section 7.3).

    The margin m of an SVM becomes the score sigmoid(ln 19 m), which keeps the order of the margins.

    Args:
        backbone: backbone of a classifier (the paper: AlexNet, VGG-16), with its deepest stage.
        num_classes: K, without background; labels are 0..K-1.
        classifier: "softmax", or "svm" for a linear SVM per class on fc7 (section 2.3).
        warp_size: side in pixels of warped proposals; None is the backbone's native size.
        context: pixels on each side of a warped proposal that show its surroundings (section 2.1: 16).
        head_channels: channels of fc6 and fc7 (AlexNet: 4096).
        head_dropout: dropout probability after each of them.
        roi: which proposals are trained on (section 2.3: 128 per step, a quarter positives).
        nms: how overlapping detections are filtered (the author's code: IoU 0.3).
        svm: how the linear SVMs are fitted.
        box_regression: whether and how the ridge regression refines boxes.
        chunk: number of proposals in a forward pass of the network in evaluation; 2000 would not fit into memory.

    Raises:
        ConfigError: options that contradict each other or the backbone.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("resnet18", weights="none")
        >>> model = vk.RCNN(backbone, num_classes=3, warp_size=64, context=4, head_channels=32).eval()
        >>> proposals = [torch.tensor([[8.0, 8.0, 40.0, 56.0]])]
        >>> sorted(model([torch.randn(3, 64, 64)], proposals=proposals)[0])
        ['boxes', 'labels', 'scores']
    """

    can_be_head: ClassVar[bool] = False

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        classifier: Literal["softmax", "svm"] = "softmax",
        warp_size: int | None = None,
        context: int = 16,
        head_channels: int = 4096,
        head_dropout: float = 0.5,
        roi: RoIOptions = RoIOptions(batch_size_per_image=64),
        nms: NMSOptions = NMSOptions(iou=0.3, score_threshold=0.05),
        svm: SVMOptions = SVMOptions(),
        box_regression: BoxRegressionOptions = BoxRegressionOptions(),
        chunk: int = 64,
    ) -> None:
        super().__init__()
        size = warp_size or backbone.native_size
        if not 0 <= 2 * context < size:
            raise ConfigError(f"context={context}: nothing is left of proposals warped to {size} pixels")
        head = TwoLayerHead(deepest_map_values(backbone, size), head_channels, head_dropout)
        copy_fully_connected(head, backbone)
        self.num_classes, self.chunk = num_classes, chunk
        self.svm_options, self.box_regression_options = svm, box_regression
        self.backbone = backbone
        self.roi_heads = PooledRoIHeads(
            RegionWarp(size, context),
            RegionClassifier(backbone, head),
            head_channels,
            num_classes,
            options=roi,
            nms=nms,
        )
        for parameter in self.roi_heads.box_predictor.bbox_pred.parameters():
            nn.init.zeros_(parameter).requires_grad_(False)  # boxes are the proposals until they are refined
        self._fitted_layers = nn.ModuleDict()
        if classifier == "svm":
            self._fitted_layers["svm"] = FittedLinear(head_channels, num_classes)
        if box_regression.enabled:
            self._fitted_layers["box_regression"] = FittedLinear(head.fc6.in_features, 4 * num_classes)
        self.to(memory_format=torch.channels_last)

    def compute_features(self, image: Tensor, regions: Tensor) -> RegionFeatures:
        """Return the features of regions, computed in chunks. This step takes most of the time of a prediction.

        Args:
            image: normalized float [3, H, W].
            regions: float32 [R, 4] in its pixels; R may be 0.
        """
        maps, network = {"image": image[None].float()}, self.roi_heads.box_head
        assert isinstance(network, RegionClassifier)
        warped = (self.roi_heads.pool(maps, [chunk]).to(image.dtype) for chunk in regions.split(self.chunk))
        features = [network.compute_features(chunk) for chunk in warped]
        return RegionFeatures(*(torch.cat(column) for column in zip(*features, strict=True)))

    def score_regions(self, features: RegionFeatures) -> tuple[Tensor, Tensor]:
        """Return scores float32 [R, K] in 0..1 and box deltas [R, K, 4] of regions with these features.

        Raises:
            VisionkitError: features or weights are not finite.
        """
        with full_precision(features.fc7):
            scores, deltas = self._scores(features.fc7), self._deltas(features.deepest)
        check_finite(*features, scores, deltas)
        return scores, deltas

    def _scores(self, fc7: Tensor) -> Tensor:
        svm = self._fitted("svm")
        if svm is None:
            layer = self.roi_heads.box_predictor.cls_score
            return functional.softmax(layer(fc7.to(layer.weight.dtype)).float(), dim=-1)[:, 1:]
        margins = svm(fc7)
        check_finite(margins)  # the sigmoid would hide infinities
        return torch.sigmoid(MARGIN_SCALE * margins)

    def _deltas(self, deepest: Tensor) -> Tensor:
        regression = self._fitted("box_regression")
        if regression is None:
            return deepest.new_zeros(len(deepest), self.num_classes, 4, dtype=torch.float32)
        return regression(deepest).view(-1, self.num_classes, 4)

    @property
    def fitted_layers(self) -> nn.ModuleDict:
        """The linear SVMs ("svm") and the box regression ("box_regression"), if they are enabled."""
        return self._fitted_layers

    def _fitted(self, stage: str) -> FittedLinear | None:
        """Return the layer of a fitting stage; None if it is not fitted yet or not enabled."""
        layer = dict(self._fitted_layers.items()).get(stage)
        return layer if isinstance(layer, FittedLinear) and layer.fitted else None

    def _features(self, images: list[Tensor]) -> tuple[ImageBatch, dict[str, Tensor]]:
        batch = pad_to_batch(images, 1)
        check_images(batch, self.backbone.std, self.training)
        return batch, {"image": batch.tensor}

    def _losses(self, maps: dict[str, Tensor], regions: list[Tensor], objects: PaddedObjects) -> dict[str, Tensor]:
        if self.training:
            for layer in self._fitted_layers.children():
                assert isinstance(layer, FittedLinear)
                layer.invalidate()
        losses = super()._losses(maps, regions, objects)
        return {"loss_classifier": losses["loss_classifier"]}

    def _predictions(self, batch: ImageBatch, maps: dict[str, Tensor], regions: list[Tensor]) -> list[Prediction]:
        pairs = zip(maps["image"], regions, strict=True)
        outputs = [self.score_regions(self.compute_features(image, boxes)) for image, boxes in pairs]
        scores, deltas = (torch.cat(column) for column in zip(*outputs, strict=True))
        with full_precision(scores):
            return self.roi_heads.predictions_from_scores(scores, deltas, regions, batch.sizes)
