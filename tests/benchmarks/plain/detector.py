"""The detectors: torchvision's Faster R-CNN and Mask R-CNN on a feature pyramid of EfficientNet-Lite0."""

import timm
import torch
from timm.layers import freeze_batch_norm_2d
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from tests.benchmarks.plain.shared import MEAN, STD, read_weights

CHANNELS, HEAD = 128, 512
LEVELS = ["0", "1", "2"]
FROZEN = 2
"""Blocks that are not trained, up to stride 4, as by default in torchvision's detectors with pretrained weights."""


class Pyramid(nn.Module):
    """Feature maps of strides 8, 16, 32 and 64."""

    out_channels = CHANNELS

    def __init__(self) -> None:
        super().__init__()
        body = timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=(2, 3, 4))
        body.load_state_dict(read_weights(), strict=False)  # the file also has the classifier
        for part in (body.conv_stem, body.bn1, *body.blocks[:FROZEN]):
            part.requires_grad_(False)
        self.body = freeze_batch_norm_2d(body).to(memory_format=torch.channels_last)
        self.fpn = FeaturePyramidNetwork(body.feature_info.channels(), CHANNELS, LastLevelMaxPool())

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return the maps by level."""
        maps = self.body(images.contiguous(memory_format=torch.channels_last))
        return self.fpn(dict(zip(LEVELS, maps, strict=True)))


def create(classes: int, short_side: int, masks: bool) -> FasterRCNN:
    """Return the detector; class 0 is the background."""
    arguments = {
        "backbone": Pyramid(),
        "min_size": tuple(int(short_side * scale) for scale in (0.8, 0.9, 1.1, 1.2, 1.0)),  # the last is tested
        "max_size": 2 * short_side,
        "image_mean": MEAN,
        "image_std": STD,
        "rpn_anchor_generator": AnchorGenerator(((32,), (64,), (128,), (256,)), ((0.5, 1.0, 2.0),) * 4),
        "rpn_pre_nms_top_n_train": 1000,
        "rpn_post_nms_top_n_train": 500,
        "rpn_pre_nms_top_n_test": 500,
        "rpn_post_nms_top_n_test": 300,
        "rpn_batch_size_per_image": 128,
        "box_roi_pool": MultiScaleRoIAlign(LEVELS, 7, 2),
        "box_head": TwoMLPHead(CHANNELS * 49, HEAD),
        "box_predictor": FastRCNNPredictor(HEAD, classes + 1),
        "box_batch_size_per_image": 128,
        "box_score_thresh": 0.01,
    }
    if not masks:
        return FasterRCNN(**arguments)
    return MaskRCNN(
        **arguments,
        mask_roi_pool=MultiScaleRoIAlign(LEVELS, 14, 2),
        mask_head=MaskRCNNHeads(CHANNELS, (CHANNELS,) * 4, 1),
        mask_predictor=MaskRCNNPredictor(CHANNELS, CHANNELS, classes + 1),
    )
