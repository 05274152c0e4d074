"""Mask R-CNN (He et al. 2017)."""

from typing import ClassVar

import torch
from torch import Tensor
from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights

from visionkit.backbones.base import Backbone
from visionkit.errors import DataError
from visionkit.models.create import models
from visionkit.models.detection.faster_rcnn import PUBLISHED as FASTER_RCNN
from visionkit.models.detection.faster_rcnn import FasterRCNN
from visionkit.models.detection.parts.anchors import AnchorOptions
from visionkit.models.detection.parts.batch import ImageBatch
from visionkit.models.detection.parts.box_head import MultiLevelRoIAlign
from visionkit.models.detection.parts.mask_head import MaskHead
from visionkit.models.detection.parts.roi_heads import RoIOptions, RoISample
from visionkit.models.detection.parts.rpn import RPNOptions
from visionkit.models.detection.parts.torchvision_weights import PublishedDetector
from visionkit.models.fpn import pyramid_stages
from visionkit.ops.matching import PaddedObjects
from visionkit.ops.nms import NMSOptions
from visionkit.structures import Prediction

PUBLISHED = PublishedDetector(
    url=MaskRCNN_ResNet50_FPN_Weights.COCO_V1.url,
    hash_without_epsilon="bf2d0c1e",
    renamed=(
        *FASTER_RCNN.renamed,
        # Files from before torchvision 0.13 number the convolutions from 1.
        *((rf"^roi_heads\.mask_head\.mask_fcn{layer + 1}\.", f"mask_head.tower.{layer}.0.") for layer in range(4)),
        (r"^roi_heads\.mask_head\.", "mask_head.tower."),
        (r"^roi_heads\.mask_predictor\.", "mask_head.predictor."),
    ),
    predictors={**FASTER_RCNN.predictors, "mask_head.predictor.mask_fcn_logits.": 1},
)

POOLED_CELLS = 14
"""Side of the map that the mask branch pools for a region; masks have twice this side (He et al., figure 4)."""


@models.register("mask_rcnn")
class MaskRCNN(FasterRCNN):
    """Mask R-CNN (He et al. 2017), Faster R-CNN on a feature pyramid with a mask for each object.

    The defaults are those of torchvision's `maskrcnn_resnet50_fpn` (COCO box AP 37.9, mask AP 34.6). With the same
    weights the model returns torchvision's results. Targets need `masks`. Predictions also have `mask_probabilities`
    float32 [M, 28, 28] inside each box, and losses `loss_mask`.

    Args:
        backbone: source of the feature maps, with stages of stride 4 to 32.
        num_classes: K, without background; labels are 0..K-1.
        anchors: sizes and ratios of the anchors; by default 8 times the stride of each level (32 to 512).
        rpn: training of the region proposal network, and numbers of proposals.
        roi: which proposals the second stage is trained on.
        nms: how overlapping detections are filtered.
        fpn_channels: channels of every pyramid level.
        head_channels: channels of the two fully connected layers; None is 1024.
        head_dropout: dropout probability after each of them; None is 0.
        roi_size: side of the map that RoIAlign returns for a region; None is 7.
        mask_channels: channels of the mask branch (He et al. 2017, figure 4: 256).
        weights: see `FasterRCNN`; "coco" is torchvision's file of Mask R-CNN.

    Raises:
        ConfigError: options that contradict each other or the backbone.
        CheckpointError: `weights` cannot be loaded, or are for another model.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("resnet18", weights="none")
        >>> model = vk.MaskRCNN(backbone, num_classes=3, fpn_channels=32, head_channels=32, mask_channels=16).eval()
        >>> prediction = model([torch.randn(3, 64, 64)])[0]
        >>> prediction["mask_probabilities"].shape[1:]
        torch.Size([28, 28])
    """

    predicts_masks: ClassVar[bool] = True

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        anchors: AnchorOptions = AnchorOptions(),
        rpn: RPNOptions = RPNOptions(),
        roi: RoIOptions = RoIOptions(),
        nms: NMSOptions = NMSOptions(score_threshold=0.05),
        fpn_channels: int = 256,
        head_channels: int | None = None,
        head_dropout: float | None = None,
        roi_size: int | None = None,
        mask_channels: int = 256,
        weights: str | None = None,
    ) -> None:
        super().__init__(
            backbone,
            num_classes,
            anchors=anchors,
            rpn=rpn,
            roi=roi,
            nms=nms,
            fpn_channels=fpn_channels,
            head_channels=head_channels,
            head_dropout=head_dropout,
            roi_size=roi_size,
        )
        strides = {name: stage.stride for name, stage in pyramid_stages(backbone, "mask_rcnn").items()}
        pool = MultiLevelRoIAlign(strides, POOLED_CELLS)
        self.mask_head = MaskHead(pool, fpn_channels, mask_channels, num_classes)
        if weights is not None:
            PUBLISHED.load(self, backbone, weights)
        self.to(memory_format=torch.channels_last)

    def _second_stage_losses(
        self, batch: ImageBatch, maps: dict[str, Tensor], sample: RoISample, objects: PaddedObjects
    ) -> dict[str, Tensor]:
        for number, (masks, count) in enumerate(zip(objects.masks, objects.counts, strict=True)):
            if count and masks is None:
                raise DataError(
                    f"image {number} of the batch has {count} objects but no masks, which mask_rcnn needs\n"
                    "use a card whose annotations have masks, or model.name=faster_rcnn"
                )
        losses = super()._second_stage_losses(batch, maps, sample, objects)
        return {**losses, "loss_mask": self.mask_head.loss(maps, sample, objects, batch.sizes)}

    def _second_stage_predictions(
        self, batch: ImageBatch, maps: dict[str, Tensor], proposals: list[Tensor]
    ) -> list[Prediction]:
        predictions = super()._second_stage_predictions(batch, maps, proposals)
        boxes, labels = ([prediction[key] for prediction in predictions] for key in ("boxes", "labels"))
        masks = self.mask_head.probabilities(maps, boxes, labels)
        return [
            {**prediction, "mask_probabilities": image_masks}
            for prediction, image_masks in zip(predictions, masks, strict=True)
        ]
