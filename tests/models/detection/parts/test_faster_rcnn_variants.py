import pytest
import torch

from visionkit.backbones import create_backbone
from visionkit.errors import ConfigError
from visionkit.models.detection.faster_rcnn import FasterRCNN
from visionkit.models.detection.parts.box_head import StageHead
from visionkit.models.detection.parts.faster_rcnn_variants import (
    VARIANTS,
    HeadSizes,
    fpn,
    single_stage,
)

PUBLISHED = HeadSizes(256, None, None, None)


def variant(form, backbone="resnet18", sizes=PUBLISHED, **options):
    with torch.device("meta"):
        return VARIANTS[form](create_backbone(backbone, weights="checkpoint", **options), sizes)


def test_single_refuses_a_backbone_with_stages_that_would_get_no_gradient():
    with pytest.raises(ConfigError, match=r"out_stages=\[s16\]"):
        FasterRCNN(create_backbone("resnet18", weights="none"), 3, variant="single")


def test_pyramid_has_the_sizes_of_torchvision():
    parts = variant("fpn", "resnet50")
    assert parts.anchor_sizes == [[32], [64], [128], [256], [512]]
    assert (parts.channels, parts.head_channels, parts.pool.size) == (256, 1024, 7)
    assert parts.head.fc6.in_features == 256 * 49
    assert not parts.inside_only


def test_pyramid_uses_the_stages_of_stride_4_to_32():
    backbone = create_backbone("resnet18", weights="none", out_stages=["s8", "s16"])
    assert list(fpn(backbone, HeadSizes(16, 16, None, None)).neck.stages) == ["s8", "s16"]
    backbone = create_backbone("vgg11", weights="none", out_stages=["s2"])
    with pytest.raises(ConfigError, match="variant=fpn needs stages of stride 4 to 32; vgg11 has s2"):
        fpn(backbone, HeadSizes(16, 16, None, None))


def test_single_map_has_the_sizes_of_the_paper():
    parts = variant("single", "vgg16", out_stages=["s16"])
    assert parts.anchor_sizes == [[128, 256, 512]]
    assert (parts.channels, parts.head_channels, parts.head.dropout.p) == (512, 4096, 0.5)
    assert (parts.inside_only, parts.smooth_l1_beta, parts.initial_std) == (True, 1.0, (0.01, 0.001))


def test_c4_takes_the_last_stage_from_the_backbone():
    with torch.device("meta"):
        backbone = create_backbone("resnet50", weights="checkpoint")
        parts = VARIANTS["c4"](backbone, PUBLISHED)
    assert (parts.channels, parts.head_channels, parts.pool.size) == (1024, 2048, 14)
    assert isinstance(parts.head, StageHead)
    assert not [name for name, _ in backbone.named_parameters() if "layer4" in name]


def test_sizes_may_be_chosen():
    parts = variant("fpn", sizes=HeadSizes(32, 16, 0.3, 5))
    assert (parts.channels, parts.head_channels, parts.pool.size, parts.head.dropout.p) == (32, 16, 5, 0.3)


def test_a_backbone_without_the_stage_of_stride_16_is_refused():
    with pytest.raises(ConfigError, match="needs the stage s16; resnet18 has s8"):
        single_stage(create_backbone("resnet18", weights="none", out_stages=["s8"]))
