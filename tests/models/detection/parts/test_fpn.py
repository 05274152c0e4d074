import torch
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from visionkit.backbones.base import Stage
from visionkit.models.detection.parts.fpn import FPN, SelectedMaps

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


def test_selected_maps_are_unchanged():
    selected = SelectedMaps(["s16", "s4"])(MAPS)
    assert list(selected) == ["s16", "s4"]
    assert all(selected[name] is MAPS[name] for name in selected)
