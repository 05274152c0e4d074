"""Mask R-CNN (He et al. 2017): Faster R-CNN on a feature pyramid with a mask for each object."""

from typing import Any, ClassVar

import torch
from torch import Tensor
from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights

from visionkit.backbones.base import Backbone
from visionkit.errors import ConfigError, DataError
from visionkit.models.create import models
from visionkit.models.detection.faster_rcnn import PUBLISHED as FASTER_RCNN
from visionkit.models.detection.faster_rcnn import FasterRCNN
from visionkit.models.detection.parts.batch import ImageBatch
from visionkit.models.detection.parts.box_head import MultiLevelRoIAlign
from visionkit.models.detection.parts.mask_head import MaskHead
from visionkit.models.detection.parts.roi_heads import Sample
from visionkit.models.detection.parts.torchvision_weights import PublishedDetector
from visionkit.ops.matching import Objects
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
"""In each direction of what the mask branch sees of a region; masks come out twice as fine (He et al., figure 4)."""


@models.register("mask_rcnn")
class MaskRCNN(FasterRCNN):
    """Faster R-CNN that also says which pixels are the object.

    The defaults are those of torchvision's `maskrcnn_resnet50_fpn`, whose results it repeats when given its weights
    (COCO box AP 37.9, mask AP 34.6). Training needs the masks of the objects; predictions carry `mask_probabilities`
    float32 [M, 28, 28] of each box besides those of `FasterRCNN`, and losses `loss_mask`.

    Args:
        backbone: with stages of stride 4 to 32.
        num_classes: K, without background; labels are 0..K-1.
        mask_channels: of the mask branch's convolutions (He et al. 2017, figure 4: 256).
        weights: as of `FasterRCNN`; "coco" is torchvision's file of Mask R-CNN.
        **options: as of `FasterRCNN`, form "fpn" only.

    Raises:
        ConfigError: options that contradict each other or the backbone, or another form than "fpn".
        CheckpointError: `weights` cannot be had or does not fit.
    """

    predicts_masks: ClassVar[bool] = True

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        mask_channels: int = 256,
        weights: str | None = None,
        **options: Any,
    ) -> None:
        if options.get("form", "fpn") != "fpn":
            raise ConfigError(f"model.form={options['form']}: mask_rcnn works on a feature pyramid, form=fpn")
        super().__init__(backbone, num_classes, **options)
        levels = {name: stage.stride for name, stage in backbone.stages.items() if name in self.neck.level_names}  # type: ignore[operator]
        channels = options.get("fpn_channels", 256)
        self.mask_head = MaskHead(MultiLevelRoIAlign(levels, POOLED_CELLS), channels, mask_channels, num_classes)
        if weights is not None:
            PUBLISHED.load(self, backbone, weights)
        self.to(memory_format=torch.channels_last)

    def _region_losses(
        self, batch: ImageBatch, maps: dict[str, Tensor], sample: Sample, objects: list[Objects]
    ) -> dict[str, Tensor]:
        for number, one in enumerate(objects):
            if len(one.boxes) and one.masks is None:
                raise DataError(
                    f"image {number} of the batch has {len(one.boxes)} objects and no masks, which mask_rcnn learns "
                    "from\ntake a card whose annotations have them, or model.name=faster_rcnn"
                )
        boxes = super()._region_losses(batch, maps, sample, objects)
        return {**boxes, "loss_mask": self.mask_head.loss(maps, sample, objects, batch.sizes)}

    def _detect_in_regions(
        self, batch: ImageBatch, maps: dict[str, Tensor], proposals: list[Tensor]
    ) -> list[Prediction]:
        found = super()._detect_in_regions(batch, maps, proposals)
        boxes, labels = ([prediction[key] for prediction in found] for key in ("boxes", "labels"))
        masks = self.mask_head.probabilities(maps, boxes, labels)
        return [{**prediction, "mask_probabilities": own} for prediction, own in zip(found, masks, strict=True)]
