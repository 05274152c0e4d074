import math

import pytest
import torch
from torch.nn import functional

from visionkit.errors import ConfigError
from visionkit.models.detection.parts.position_sensitive import BOXES, SCORES, PositionSensitiveRoIHeads, ScoreMaps
from visionkit.models.detection.parts.roi_heads import RoIOptions, RoISample
from visionkit.ops.nms import NMSOptions
from visionkit.ops.position_sensitive_pool import position_sensitive_pool

REGIONS = [
    torch.tensor([[0, 0, 64, 80], [13, 22, 70, 51], [30.0, 30, 33, 34], [-19, 60, 40, 200]]),
    torch.tensor([[8, 4, 60.0, 44]]),
]


def heads(batch_size=2, **options):
    defaults = {"pooling": "average", "cells": 3, "stride": 8, "num_classes": 2, "ohem": True}
    options = {**defaults, "options": RoIOptions(batch_size_per_image=batch_size), "nms": NMSOptions(), **options}
    return PositionSensitiveRoIHeads(**options)


def test_logits_and_deltas_are_means_over_the_cells():
    torch.manual_seed(0)
    maps = {SCORES: torch.randn(2, 27, 12, 10), BOXES: torch.randn(2, 36, 12, 10)}
    logits, deltas = heads()(maps, REGIONS)
    scores, boxes = (position_sensitive_pool(maps[name], REGIONS, 3, 1 / 8).mean(dim=(2, 3)) for name in maps)
    torch.testing.assert_close(logits, scores)
    assert deltas.shape == (5, 3, 4)
    for label in range(3):
        torch.testing.assert_close(deltas[:, label], boxes, atol=1e-5, rtol=1e-4)


def test_the_last_row_and_column_of_a_map_are_pooled():
    ones = {SCORES: torch.ones(1, 27, 4, 4), BOXES: torch.ones(1, 36, 4, 4)}
    logits, _ = heads()(ones, [torch.tensor([[24.0, 24, 32, 32], [0, 0, 32, 32]])])
    torch.testing.assert_close(logits, torch.ones(2, 3))


@pytest.mark.parametrize("pooling", ["average", "align"])
def test_each_cell_is_pooled_from_its_own_maps(pooling):
    """Only the map of class 1, row 2, column 0 is not 0: a ninth of it is the logit of class 1."""
    scores = torch.zeros(1, 27, 12, 12)
    scores[:, (1 * 3 + 2) * 3 + 0] = 9.0
    logits, _ = heads(pooling=pooling)(
        {SCORES: scores, BOXES: torch.zeros(1, 36, 12, 12)}, [torch.tensor([[8.0, 8, 80, 80]])]
    )
    torch.testing.assert_close(logits, torch.tensor([[0.0, 1.0, 0.0]]))


def test_aligned_cells_are_sampled_between_positions():
    """On a map that increases by 1 per column, the mean of all cells is the column of the region's center."""
    ramp = torch.arange(16.0).expand(1, 27, 16, 16).contiguous()
    regions = [torch.tensor([[20.0, 20, 83, 84], [21, 20, 84, 84]])]
    logits, _ = heads(pooling="align")({SCORES: ramp, BOXES: torch.zeros(1, 36, 16, 16)}, regions)
    middle = torch.tensor([51.5, 52.5]) / 8 - 0.5
    torch.testing.assert_close(logits, middle[:, None].expand(-1, 3))


def test_only_the_hardest_regions_of_each_image_get_a_gradient():
    """All regions are background. The two with the highest losses of each image get a gradient."""
    logits = torch.zeros(10, 3)
    logits[:, 0] = torch.tensor([4.0, -1.0, 3.0, -2.0, 0.5, 5.0, -3.0, -9.0, -9.0, -9.0])
    logits.requires_grad_()
    used = torch.tensor([[True] * 5, [True] * 2 + [False] * 3])
    regions, zeros = torch.tensor([[0.0, 0, 9, 9]]).repeat(2, 5, 1), torch.zeros(2, 5, dtype=torch.int64)
    sample = RoISample(regions, used, zeros, zeros, regions, 5)
    losses = heads().losses(logits, torch.zeros(10, 3, 4), sample)
    each = functional.cross_entropy(logits, torch.zeros(10, dtype=torch.int64), reduction="none")
    assert losses["loss_classifier"].item() == pytest.approx(each[[1, 3, 5, 6]].mean().item())
    losses["loss_classifier"].backward()
    assert logits.grad.abs().sum(dim=1).nonzero().flatten().tolist() == [1, 3, 5, 6]
    assert heads(ohem=False).losses(logits, torch.zeros(10, 3, 4), sample)["loss_classifier"].item() == pytest.approx(
        each[:7].mean().item()
    )


def test_hardness_includes_the_loss_of_the_box():
    """Of three objects with equal scores, the one with the worst box is selected."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10]])
    truth = torch.tensor([[0.0, 0, 10, 10], [0, 0, 20, 20], [0, 0, 11, 10]])
    used = torch.ones(1, 3, dtype=torch.bool)
    sample = RoISample(boxes[None], used, torch.tensor([[1, 2, 1]]), torch.tensor([[0, 1, 2]]), truth[None], 3)
    deltas = torch.zeros(3, 3, 4, requires_grad=True)
    losses = heads(batch_size=1).losses(torch.zeros(3, 3), deltas, sample)
    # center off by 0.5 sides: delta 5; sides doubled: delta 5 log 2; both above beta, so minus a half
    assert losses["loss_box"].item() == pytest.approx(2 * (10 * 0.5 - 0.5) + 2 * (5 * math.log(2) - 0.5), rel=1e-5)
    assert losses["loss_classifier"].item() == pytest.approx(math.log(3))
    losses["loss_box"].backward()
    assert deltas.grad.abs().sum(dim=(1, 2)).nonzero().flatten().tolist() == [1]


def test_an_unknown_pooling_points_to_the_nearest():
    with pytest.raises(ConfigError, match="did you mean average"):
        heads(pooling="averge")


def test_score_maps_are_initialized_with_small_weights():
    torch.manual_seed(0)
    maps = ScoreMaps("s16", "s32", 64, 128, num_classes=3, cells=2)
    for layer, channels in ((maps.reduce, 128), (maps.scores, 4 * 4), (maps.boxes, 4 * 4)):
        assert layer.out_channels == channels
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.1)
        assert not layer.bias.any()
    given = {"s16": torch.randn(1, 8, 5, 5), "s32": torch.randn(1, 64, 3, 3)}
    output = maps(given)
    assert output["proposals"] is given["s16"]
    assert output["scores"].shape == output["boxes"].shape == (1, 16, 3, 3)
