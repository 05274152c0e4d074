"""Semantic FPN compared with the paper's description."""

import pytest
import torch
from torch.nn import functional

import visionkit as vk
from visionkit.errors import ConfigError


def model(**options):
    torch.manual_seed(0)
    backbone = vk.create_backbone("resnet18", weights="none")
    return vk.SemanticFPN(backbone, 3, **{"fpn_channels": 16, "branch_channels": 32, **options}).eval()


def test_the_branches_are_those_of_figure_3():
    """Levels of stride 4, 8, 16 and 32 have 1, 1, 2 and 3 convolutions of 3 x 3 to 128 channels."""
    with torch.device("meta"):
        network = vk.SemanticFPN(vk.create_backbone("resnet50", weights="checkpoint"), 54)
    assert [len(branch.blocks) for branch in network.branches] == [1, 1, 2, 3]
    first, inner, norm = 256 * 128 * 9, 128 * 128 * 9, 2 * 128
    assert sum(p.numel() for p in network.branches.parameters()) == 4 * first + 3 * inner + 7 * norm
    assert sum(p.numel() for p in network.classifier.parameters()) == 128 * 54 + 54
    assert sum(p.numel() for p in network.neck.parameters()) == 3_344_384  # torchvision's pyramid of ResNet-50


def test_logits_are_the_sum_of_the_levels():
    network, x = model(), torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        levels = network.neck(network.backbone(x))
        total = torch.zeros(1, 32, 16, 24)
        for steps, (branch, name) in enumerate(zip(network.branches, network.neck.stages, strict=True)):
            level = levels[name]
            for convolution, norm, _ in branch.blocks:
                level = functional.conv2d(level, convolution.weight, padding=1)
                level = functional.group_norm(level, 32, norm.weight, norm.bias).relu()
                if steps:
                    level = functional.interpolate(level, scale_factor=2, mode="bilinear", align_corners=False)
            total += level
        expected = functional.interpolate(network.classifier(total), (64, 96), mode="bilinear", align_corners=False)
        torch.testing.assert_close(network(x), expected)


def test_the_last_layer_is_new_for_other_classes(tmp_path):
    first = model()
    vk.Segmentation(first, ["a", "b", "c"])
    path = tmp_path / "model.pth"
    torch.save(first.state_dict(), path)
    other = vk.SemanticFPN(
        vk.create_backbone("resnet18", weights="none"), 5, fpn_channels=16, branch_channels=32, weights=str(path)
    )
    assert torch.equal(other.branches[0].blocks[0][0].weight, first.branches[0].blocks[0][0].weight)
    assert other.classifier.weight.shape[0] == 5


@pytest.mark.parametrize("channels", [0, 48])
def test_channels_that_the_norm_cannot_group_are_refused(channels):
    with pytest.raises(ConfigError, match=f"branch_channels={channels} must be a multiple of 32"):
        model(branch_channels=channels)


def test_strides_with_a_gap_are_refused():
    backbone = vk.create_backbone("resnet18", weights="none", out_stages=["s4", "s16"])
    with pytest.raises(ConfigError, match=r"each stride must be twice the one before; resnet18 has \[4, 16\]"):
        vk.SemanticFPN(backbone, 3)
