"""Fast R-CNN (Girshick 2015)."""

from typing import Literal, cast

import torch
from torch import Tensor

from visionkit.backbones.base import Backbone
from visionkit.models.create import models
from visionkit.models.detection.parts.batch import ImageBatch, check_images, pad_to_batch
from visionkit.models.detection.parts.box_head import PooledRoIHeads, RoIMaxPool, TwoLayerHead
from visionkit.models.detection.parts.external_proposals import ExternalProposalDetector
from visionkit.models.detection.parts.faster_rcnn_variants import SINGLE_STAGE, HeadSizes, single
from visionkit.models.detection.parts.roi_heads import RoIOptions
from visionkit.models.detection.parts.truncated_svd import TruncatedHead
from visionkit.models.load_model import load_model_weights
from visionkit.ops.nms import NMSOptions

SIZE_MULTIPLE = 16
"""The sides of the padded batch are multiples of this number of pixels."""


@models.register("fast_rcnn")
class FastRCNN(ExternalProposalDetector):
    """Fast R-CNN (Girshick 2015), which classifies and refines given proposals on one map (VGG-16: conv5_3).

    The second stage is that of Faster R-CNN's variant "single", with the same names in a state dict. With VGG's
    ImageNet weights, fc6 and fc7 are initialized with those of its classifier (section 2.2). The paper doubles the
    learning rate of biases (section 2.3); here all parameters have the same.

    Args:
        backbone: source of the feature map, with a stage of stride 16 and nothing behind it.
        num_classes: K, without background; labels are 0..K-1.
        pooling: "max" (section 2.1) or "align" (He et al. 2017).
        roi_size: side of the pooled map of a region (section 2.1: 7).
        head_channels: channels of fc6 and fc7 (VGG-16: 4096).
        head_dropout: dropout probability after each of them (VGG: 0.5).
        roi: which proposals are trained on (section 2.3: 64 per image, negatives with an IoU of at least 0.1).
        nms: how overlapping detections are filtered (the author's code: IoU 0.3).
        svd: ranks to which fc6 and fc7 are truncated in evaluation (section 4.4: [1024, 256] for VGG-16); None keeps
            them.
        weights: path of a visionkit checkpoint of such a model, or None. With another number of classes the predictor
            is randomly initialized.

    Raises:
        ConfigError: options that contradict each other or the backbone.
        CheckpointError: `weights` cannot be loaded, or are for another model.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("resnet18", weights="none", out_stages=["s16"])
        >>> model = vk.FastRCNN(backbone, num_classes=3, head_channels=32).eval()
        >>> proposals = [torch.tensor([[8.0, 8.0, 40.0, 56.0]])]
        >>> sorted(model([torch.randn(3, 64, 64)], proposals=proposals)[0])
        ['boxes', 'labels', 'scores']
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        pooling: Literal["max", "align"] = "max",
        roi_size: int = 7,
        head_channels: int = 4096,
        head_dropout: float = 0.5,
        roi: RoIOptions = RoIOptions(batch_size_per_image=64, min_bg_iou=0.1),
        nms: NMSOptions = NMSOptions(iou=0.3, score_threshold=0.05),
        svd: list[int] | None = None,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        variant = single(backbone, HeadSizes(0, head_channels, head_dropout, roi_size))
        max_pool = RoIMaxPool({SINGLE_STAGE: backbone.stages[SINGLE_STAGE].stride}, roi_size)
        self.num_classes = num_classes
        self.backbone = backbone
        self.neck = variant.neck
        self.roi_heads = PooledRoIHeads(
            max_pool if pooling == "max" else variant.pool,
            TruncatedHead(cast(TwoLayerHead, variant.head), svd) if svd else variant.head,
            variant.head_channels,
            num_classes,
            options=roi,
            nms=nms,
            smooth_l1_beta=variant.smooth_l1_beta,
            initial_std=variant.initial_std,
        )
        if weights is not None:
            load_model_weights(self, backbone, weights, ("roi_heads.box_predictor.",))
        self.to(memory_format=torch.channels_last)

    def _features(self, images: list[Tensor]) -> tuple[ImageBatch, dict[str, Tensor]]:
        batch = pad_to_batch(images, SIZE_MULTIPLE)
        check_images(batch, self.backbone.std, self.training)
        return batch, self.neck(self.backbone(batch.tensor))
