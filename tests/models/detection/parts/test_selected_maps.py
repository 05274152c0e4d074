import torch

from visionkit.models.detection.parts.selected_maps import SelectedMaps

MAPS = {"s4": torch.randn(1, 2, 16, 16), "s8": torch.randn(1, 4, 8, 8), "s16": torch.randn(1, 6, 4, 4)}


def test_selected_maps_are_unchanged():
    selected = SelectedMaps(["s16", "s4"])(MAPS)
    assert list(selected) == ["s16", "s4"]
    assert all(selected[name] is MAPS[name] for name in selected)
