import pytest
import torch
from torch import nn
from torchvision.ops import roi_pool

from tests.models.detection.networks import images, target
from visionkit.backbones import create_backbone
from visionkit.errors import ConfigError, DataError
from visionkit.models import create_model
from visionkit.models.detection.parts.box_head import RoIMaxPool, TwoLayerHead
from visionkit.models.detection.parts.truncated_svd import TruncatedHead, truncated_svd
from visionkit.ops.matching import Objects

PROPOSALS = torch.tensor([[0, 0, 40, 40], [10, 12, 50, 60], [30, 5, 64, 30], [2, 2, 60, 62], [16, 16, 48, 48.0]])
TARGETS = [
    target([[10, 10, 50, 58]], [1], proposals=PROPOSALS),
    target(proposals=PROPOSALS[:3]),
]


def small_network(**options):
    torch.manual_seed(0)
    backbone = create_backbone("resnet18", weights="none", out_stages=["s16"])
    return create_model("fast_rcnn", backbone, 3, **{"head_channels": 32, "head_dropout": 0.0, **options})


def test_vgg16_has_the_papers_layers():
    with torch.device("meta"):
        backbone = create_backbone("vgg16", weights="checkpoint", out_stages=["s16"])
        network = create_model("fast_rcnn", backbone, 20)
    convolutions, fc6, fc7 = 14_714_688, 25088 * 4096 + 4096, 4096 * 4096 + 4096
    predictors = 4096 * 21 + 21 + 4096 * 84 + 84
    assert sum(value.numel() for value in network.parameters()) == convolutions + fc6 + fc7 + predictors


@pytest.mark.parametrize(("model", "options"), [("fast_rcnn", {}), ("faster_rcnn", {"form": "single"})])
def test_its_predictors_begin_as_in_the_paper(model, options):
    torch.manual_seed(0)
    backbone = create_backbone("resnet18", weights="none", out_stages=["s16"])
    predictor = create_model(model, backbone, 20, head_channels=512, **options).roi_heads.box_predictor
    for layer, deviation in ((predictor.cls_score, 0.01), (predictor.bbox_pred, 0.001)):
        assert layer.weight.std().item() == pytest.approx(deviation, rel=0.05)
        assert layer.weight.abs().max() > 3 * deviation, "normal, not uniform"
        assert not layer.bias.any()


@pytest.mark.parametrize("pooling", ["max", "align"])
def test_it_learns_every_part_of_itself(pooling):
    network = small_network(pooling=pooling).train()
    losses = network(images((64, 64), (64, 80)), TARGETS)
    assert set(losses) == {"loss_classifier", "loss_box"}
    sum(losses.values()).backward()
    assert all(value.grad is not None for value in network.parameters())


def test_predictions_are_sorted_and_lie_in_the_image():
    network = small_network(nms={"score_threshold": 0.0}).eval()
    with torch.inference_mode():
        first, second = network(images((64, 64), (64, 64)), proposals=[PROPOSALS, PROPOSALS[:2]])
    for found in (first, second):
        assert len(found["boxes"]) > 2
        assert found["scores"].diff().max() <= 0
        assert found["boxes"].max() <= 64
        assert set(found["labels"].tolist()) <= {0, 1, 2}


def test_losses_and_predictions_are_those_of_forward():
    network = small_network(nms={"score_threshold": 0.0}).eval()
    shown = images((64, 64), (64, 64))
    with torch.inference_mode():
        _, both = network.losses_and_predictions(shown, TARGETS)
        alone = network(shown, proposals=[one["proposals"] for one in TARGETS])
    torch.testing.assert_close(both, alone)


@pytest.mark.parametrize("pooling", ["max", "align"])
def test_images_without_proposals_and_without_objects(pooling):
    network = small_network(pooling=pooling)
    none = [target(proposals=torch.zeros(0, 4)), target(proposals=torch.zeros(0, 4))]
    losses = network.train()(images((64, 64), (64, 64)), none)
    assert {name: value.item() for name, value in losses.items()} == {"loss_classifier": 0.0, "loss_box": 0.0}
    with torch.inference_mode():
        found = network.eval()(images((64, 64), (64, 64)), proposals=[PROPOSALS, torch.zeros(0, 4)])
    assert found[1]["boxes"].shape == (0, 4)
    with torch.inference_mode():
        assert network(images((64, 64)), proposals=[torch.zeros(0, 4)])[0]["boxes"].shape == (0, 4)


def test_missing_proposals_are_an_error_that_says_how_to_give_them():
    with pytest.raises(DataError, match=r"data\.proposals"):
        small_network().eval()(images((64, 64)))
    with pytest.raises(DataError, match=r"data\.proposals"):
        small_network().train()(images((64, 64)), [target([[1, 1, 9, 9]], [0])])
    with pytest.raises(DataError, match=r"image 0 of the batch .* not float \[P, 4\]"):
        small_network().eval()(images((64, 64)), proposals=[torch.zeros(3, 5)])


def test_background_overlaps_an_object_a_little():
    heads = small_network(roi={"batch_size": 512, "positive_fraction": 0.9}).roi_heads
    one = Objects(torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([2]), torch.zeros(0, 4))
    # IoU 1, .6, .3, .05 and none
    boxes = [[0, 0, 10, 10], [0, 0, 10, 6], [0, 0, 10, 3], [0, 0, 10, 0.5], [20, 20, 30, 30]]
    sample = heads.sample([torch.tensor(boxes, dtype=torch.float32)], [one])
    assert sample.classes.tolist() == [3, 3, 0, 3]  # the last one is the object itself
    nothing = Objects(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4))
    assert heads.sample([torch.tensor(boxes)], [nothing]).classes.tolist() == [0] * 5


def test_max_pooling_takes_each_images_own_map():
    maps = {"s16": torch.randn(2, 3, 5, 6)}
    found = RoIMaxPool({"s16": 16}, 2)(maps, [PROPOSALS[:2], PROPOSALS[2:]])
    indexed = torch.cat([torch.tensor([[0.0], [0], [1], [1], [1]]), PROPOSALS], dim=1)
    torch.testing.assert_close(found, roi_pool(maps["s16"], indexed, 2, 1 / 16))


def test_truncated_svd_is_the_nearest_of_its_rank():
    weight = torch.randn(12, 30)
    outer, inner = truncated_svd(weight, 5)
    assert outer.shape == (12, 5)
    u, s, v = torch.linalg.svd(weight)
    torch.testing.assert_close(outer @ inner, u[:, :5] * s[:5] @ v[:5], atol=1e-4, rtol=1e-4)


def head_of_rank_3():
    """18 values to 8 and 8, so that ranks of 3 lose nothing."""
    head = TwoLayerHead(18, 8, 0.0)
    for layer in (head.fc6, head.fc7):
        layer.weight = nn.Parameter(torch.randn(8, 3) @ torch.randn(3, layer.in_features) / 3)
    return head


def test_a_truncated_head_trains_whole_and_follows_what_it_learns():
    head = head_of_rank_3()
    truncated = TruncatedHead(head, [3, 3])
    x = torch.randn(4, 2, 3, 3)
    assert set(truncated.state_dict()) == set(head.state_dict())
    torch.testing.assert_close(truncated.eval()(x), head.eval()(x), atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        truncated.train().fc6.weight.mul_(2)
    torch.testing.assert_close(truncated.eval()(x), head.eval()(x), atol=1e-5, rtol=1e-4)
    other = head_of_rank_3().eval()
    truncated.load_state_dict(other.state_dict())
    torch.testing.assert_close(truncated(x), other(x), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(TruncatedHead(other, [1, 1]).eval()(x), other(x), atol=1e-3)


def test_a_truncated_head_gives_gradients_after_inference_and_follows_its_dtype():
    head = head_of_rank_3()
    truncated, x = TruncatedHead(head, [3, 3]).eval(), torch.randn(4, 2, 3, 3)
    with torch.inference_mode():
        truncated(x)
    asked = x.clone().requires_grad_()
    truncated(asked).sum().backward()
    whole = x.clone().requires_grad_()
    head.eval()(whole).sum().backward()
    torch.testing.assert_close(asked.grad, whole.grad, atol=1e-4, rtol=1e-4)
    assert truncated.double()(x.double()).dtype == torch.float64


@pytest.mark.parametrize("ranks", [[6, 3], [5, 4]])
def test_ranks_must_save_products(ranks):
    """Of 18 x 8 = 144 and 8 x 8 = 64 products: 5 (18 + 8) = 130 and 3 (8 + 8) = 48 are fewer, 156 and 64 are not."""
    TruncatedHead(TwoLayerHead(18, 8, 0.0), [5, 3])
    with pytest.raises(ConfigError, match="from 1 to 5 and 3"):
        TruncatedHead(TwoLayerHead(18, 8, 0.0), ranks)


@pytest.mark.parametrize(("model", "options"), [("fast_rcnn", {}), ("faster_rcnn", {"form": "single"})])
def test_fc6_and_fc7_begin_with_those_of_the_classifier(tmp_path, model, options):
    torch.manual_seed(0)
    backbone = create_backbone("vgg11", weights="none")
    state = dict(backbone.state_dict())
    fc6, fc7 = nn.Linear(512 * 4, 16), nn.Linear(16, 16)
    for name, layer in (("classifier.0", fc6), ("classifier.3", fc7)):
        state |= {f"{name}.{key}": value for key, value in layer.state_dict().items()}
    torch.save(state, tmp_path / "vgg11.pth")
    filled = create_backbone("vgg11", weights=str(tmp_path / "vgg11.pth"), out_stages=["s16"])
    network = create_model(model, filled, 3, roi_size=2, head_channels=16, **options)
    torch.testing.assert_close(network.roi_heads.box_head.fc6.weight, fc6.weight)
    torch.testing.assert_close(network.roi_heads.box_head.fc7.bias, fc7.bias)


@pytest.mark.parametrize("options", [{"svd": [4]}, {"svd": [4, 99]}, {"svd": [0, 4]}, {"roi": {"min_bg_iou": 0.7}}])
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        small_network(**options)


def test_its_spec_builds_it_again():
    network = small_network(svd=[4, 4], pooling="align")
    again = create_model(**{**network.spec, "backbone": create_backbone(**network.spec["backbone"])})
    again.load_state_dict(network.state_dict())
    with torch.inference_mode():
        both = [one.eval()(images((64, 64)), proposals=[PROPOSALS])[0] for one in (network, again)]
    torch.testing.assert_close(both[0], both[1])
