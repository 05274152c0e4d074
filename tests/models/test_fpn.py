import pytest
import torch
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7

import visionkit as vk
from visionkit.backbones.base import Stage
from visionkit.backbones.shared import SharedPass
from visionkit.errors import ConfigError
from visionkit.models.fpn import FPN, pyramid_stages, share_pyramids

STAGES = {"s8": Stage(4, 8), "s16": Stage(6, 16)}
MAPS = {"s4": torch.randn(1, 2, 16, 16), "s8": torch.randn(1, 4, 8, 8), "s16": torch.randn(1, 6, 4, 4)}


def test_levels_have_the_same_channels_and_one_more_is_subsampled():
    levels = FPN(STAGES, 5)(MAPS)
    assert [tuple(level.shape) for level in levels.values()] == [(1, 5, 8, 8), (1, 5, 4, 4), (1, 5, 2, 2)]
    *_, deepest, subsampled = levels.values()
    assert torch.equal(subsampled, deepest[..., ::2, ::2])


def test_deep_levels_reach_the_shallow_ones():
    fpn, changed = FPN(STAGES, 5), {**MAPS, "s16": MAPS["s16"] + 1}
    assert not torch.allclose(fpn(MAPS)["s8"], fpn(changed)["s8"])
    changed = {**MAPS, "s8": MAPS["s8"] + 1}
    assert torch.equal(fpn(MAPS)["s16"], fpn(changed)["s16"])


def test_other_extra_levels():
    levels = FPN(STAGES, 5, LastLevelP6P7(5, 5))(MAPS)
    assert [level.shape[-1] for level in levels.values()] == [8, 4, 2, 1]


def test_levels_equal_torchvisions_pyramid():
    fpn = FPN(STAGES, 5)
    reference = FeaturePyramidNetwork([4, 6], 5, LastLevelMaxPool())
    reference.load_state_dict(fpn.state_dict())
    odd = {name: map_[..., :-1, :-1] for name, map_ in MAPS.items()}  # the deeper map is not half the size
    for maps in (MAPS, odd):
        expected = reference({name: maps[name] for name in STAGES})
        levels = fpn(maps)
        assert list(levels) == list(expected)
        assert all(torch.equal(levels[name], expected[name]) for name in levels)


@pytest.fixture
def shared_pass():
    return SharedPass(vk.create_backbone("lenet5", weights="none"))


def test_pyramids_with_fewer_levels_take_the_layers_of_the_largest(shared_pass):
    small, large = FPN({"s16": STAGES["s16"]}, 5), FPN(STAGES, 5)
    share_pyramids({"first": small, "second": large}, shared_pass)
    assert [*small.parameters()] == [large.inner_blocks[1][0].weight, large.inner_blocks[1][0].bias,
                                     large.layer_blocks[1][0].weight, large.layer_blocks[1][0].bias]  # fmt: skip
    assert torch.equal(small(MAPS)["s16"], large(MAPS)["s16"])


def test_a_level_is_computed_once_in_a_pass(shared_pass):
    small, large = FPN({"s16": STAGES["s16"]}, 5), FPN(STAGES, 5)
    share_pyramids({"first": small, "second": large}, shared_pass)
    calls = []
    large.layer_blocks[1].register_forward_hook(lambda *_: calls.append(1))
    with shared_pass.once():
        assert small(MAPS)["s16"] is large(MAPS)["s16"]
        assert len(calls) == 1
        other = {name: map_ + 1 for name, map_ in MAPS.items()}
        assert not torch.equal(small(other)["s16"], small(MAPS)["s16"])
        assert len(calls) == 2
    small(MAPS)
    assert len(calls) == 3, "nothing is kept after the block"


@pytest.mark.parametrize(
    "pyramids",
    [
        {},
        {"first": FPN(STAGES, 5)},
        {"first": FPN(STAGES, 5), "second": FPN(STAGES, 6)},
        {"first": FPN(STAGES, 5), "second": FPN({"s8": STAGES["s8"]}, 5)},
    ],
    ids=["none", "one", "channels", "deepest"],
)
def test_pyramids_that_cannot_be_shared_are_refused(pyramids, shared_pass):
    with pytest.raises(ConfigError, match=r"share_pyramid: the heads have .*\n.*equal fpn_channels"):
        share_pyramids(pyramids, shared_pass)


def test_a_backbone_without_the_stages_of_a_pyramid_is_refused():
    backbone = vk.create_backbone("resnet18", weights="none", out_stages=["s4"])
    assert list(pyramid_stages(backbone, "semantic_fpn")) == ["s4"]
    with pytest.raises(ConfigError, match=r"retinanet needs stages of stride 8 to 32; resnet18 has s4\nset model"):
        pyramid_stages(backbone, "retinanet", finest=8)
