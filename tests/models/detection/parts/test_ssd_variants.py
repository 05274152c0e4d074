import pytest
import torch

from visionkit.backbones import create_backbone
from visionkit.errors import ConfigError
from visionkit.models.detection.parts.ssd_variants import ExtraBlock, ExtraLevels, any_backbone


def test_an_extra_block_pads_maps_smaller_than_its_kernel():
    block = ExtraBlock(8, 6, kernel_size=3)
    assert block(torch.randn(2, 8, 5, 3)).shape == (2, 6, 3, 1)
    assert block(torch.randn(2, 8, 1, 2)).shape == (2, 6, 1, 1)
    assert ExtraBlock(8, 6, stride=2, padding=1)(torch.randn(2, 8, 1, 1)).shape == (2, 6, 1, 1)


def test_normalized_maps_have_the_length_of_their_scale():
    neck = ExtraLevels(["s8", "s16"], [ExtraBlock(4, 6)], {"s8": 3}, initial_scale=5.0)
    maps = {"s8": torch.randn(1, 3, 8, 8), "s16": torch.randn(1, 4, 4, 4)}
    with torch.no_grad():
        levels = neck(maps)
    assert list(levels) == ["s8", "s16", "extra1"]
    torch.testing.assert_close(levels["s8"].norm(dim=1), torch.full((1, 8, 8), 5.0))
    assert torch.equal(levels["s16"], maps["s16"])


def test_levels_on_any_backbone_follow_its_stages():
    levels = any_backbone(create_backbone("resnet18", weights="none"), (32, 16), (0.1, 0.9))
    assert levels.channels == [128, 256, 512, 32, 16]
    assert levels.default_boxes.scales == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9, 1.0])
    assert levels.default_boxes.num_anchors_per_location() == [6] * 5


@pytest.mark.parametrize("scales", [(0.0, 0.9), (0.5, 0.4), (0.5, 1.1)])
def test_scales_out_of_range_are_refused(scales):
    with pytest.raises(ConfigError, match="scales="):
        any_backbone(create_backbone("resnet18", weights="none"), None, scales)
