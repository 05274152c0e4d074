import pytest
import torch
from torch import nn
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.ops import MultiScaleRoIAlign, roi_pool

from tests.helpers.detectors import images, small_network
from visionkit.models.detection.parts.box_head import (
    MultiLevelRoIAlign,
    PooledRoIHeads,
    RoIMaxPool,
    StageHead,
    TwoLayerHead,
)
from visionkit.models.detection.parts.roi_heads import RoIOptions
from visionkit.ops.nms import NMSOptions

PROPOSALS = torch.tensor([[0, 0, 40, 40], [10, 12, 50, 60], [30, 5, 64, 30], [2, 2, 60, 62], [16, 16, 48, 48.0]])


def test_max_pooling_uses_the_map_of_each_image():
    maps = {"s16": torch.randn(2, 3, 5, 6)}
    pooled = RoIMaxPool({"s16": 16}, 2)(maps, [PROPOSALS[:2], PROPOSALS[2:]])
    indexed = torch.cat([torch.tensor([[0.0], [0], [1], [1], [1]]), PROPOSALS], dim=1)
    torch.testing.assert_close(pooled, roi_pool(maps["s16"], indexed, 2, 1 / 16))


def test_scales_do_not_depend_on_the_first_batch():
    network = small_network(nms={"score_threshold": 0.0}).eval()
    inputs = images((100, 128), (90, 70))
    with torch.no_grad():
        first = network(inputs)
        network(images((33, 40)))
        again = network(inputs)
    assert network.roi_heads.pool.scales == [1 / 4, 1 / 8, 1 / 16, 1 / 32]
    assert all(torch.equal(a["boxes"], b["boxes"]) for a, b in zip(first, again, strict=True))


def test_regions_are_pooled_from_the_level_of_torchvision():
    maps = {f"s{stride}": torch.randn(2, 3, 640 // stride, 640 // stride) for stride in (4, 8, 16, 32)}
    sides = torch.tensor([20.0, 100, 112, 150, 223, 225, 447, 449, 600])
    corners = torch.rand(9, 2) * 30
    regions = [torch.cat([corners, corners + side[:, None]], dim=1) for side in (sides, sides.flip(0))]
    reference = MultiScaleRoIAlign(list(maps), output_size=3, sampling_ratio=2)
    pooled = MultiLevelRoIAlign({"s4": 4, "s8": 8, "s16": 16, "s32": 32}, 3)(maps, regions)
    torch.testing.assert_close(pooled, reference(maps, regions, [(640, 640)] * 2), atol=1e-5, rtol=1e-4)


def test_no_region_gives_an_empty_result():
    pooled = MultiLevelRoIAlign({"s4": 4}, 3)({"s4": torch.randn(1, 5, 8, 8)}, [torch.zeros(0, 4)])
    assert pooled.shape == (0, 5, 3, 3)


def test_two_layer_head_equals_torchvisions_and_drops_in_training_only():
    torch.manual_seed(0)
    reference, head = TwoMLPHead(18, 64), TwoLayerHead(18, 64, 0.5)
    head.load_state_dict(reference.state_dict())
    x = torch.randn(4, 2, 3, 3)
    torch.testing.assert_close(head.eval()(x), reference(x))
    assert (head.train()(x) == 0).sum() > (reference(x) == 0).sum()


def test_stage_head_averages_the_last_map():
    assert StageHead(nn.Identity())(torch.ones(2, 5, 3, 3)).tolist() == [[1.0] * 5] * 2


def test_prediction_layers_are_initialized_with_the_given_deviations():
    torch.manual_seed(0)
    heads = PooledRoIHeads(nn.Identity(), nn.Identity(), 512, 20, RoIOptions(), NMSOptions(), initial_std=(0.01, 0.001))
    for layer, std in ((heads.box_predictor.cls_score, 0.01), (heads.box_predictor.bbox_pred, 0.001)):
        assert layer.weight.std().item() == pytest.approx(std, rel=0.05)
        assert not layer.bias.any()


def test_logits_and_deltas_of_each_class():
    pool, head = RoIMaxPool({"s16": 16}, 2), TwoLayerHead(3 * 4, 8, 0.0)
    heads = PooledRoIHeads(pool, head, 8, 4, RoIOptions(), NMSOptions())
    logits, deltas = heads({"s16": torch.randn(2, 3, 5, 6)}, [PROPOSALS[:2], PROPOSALS[2:]])
    assert logits.shape == (5, 5)
    assert deltas.shape == (5, 5, 4)
