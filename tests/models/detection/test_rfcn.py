import math

import pytest
import torch

from tests.helpers.detectors import images, target
from tests.helpers.options import merge_options
from tests.helpers.torchvision_detectors import THEIR_NAMES
from visionkit.backbones import create_backbone
from visionkit.errors import CheckpointError, ConfigError
from visionkit.models import create_model
from visionkit.models.detection.parts.batch import pad_targets

LOSSES = list(THEIR_NAMES)
SMALL = {
    "head_channels": 32,
    "rpn": {"pre_nms_top_n_train": 100, "post_nms_top_n_train": 40},
    "roi": {"batch_size_per_image": 16},
}
TWO = images((100, 128), (90, 70))
TWO_TARGETS = [
    target([[10, 10, 60, 70], [30, 40, 90, 100], [5, 80, 25, 95]], [0, 2, 1]),
    target([[20, 5, 69, 60]], [1]),
]


def small_network(**options):
    torch.manual_seed(0)
    backbone = create_backbone("resnet18", weights="none", out_stages=["s16"])
    return create_model("rfcn", backbone, 3, **merge_options(SMALL, options))


def meta_network(name="resnet101", num_classes=20, **options):
    with torch.device("meta"):
        backbone = create_backbone(name, weights="checkpoint", **options)
        return create_model("rfcn", backbone, num_classes)


def test_anchors_that_cross_the_edge_do_not_train():
    network, size = small_network(anchors={"sizes": [[16, 32]]}), (100, 128)
    _, _, scored = network._first_stage(TWO[:1])
    (classes,), _ = network.rpn.anchor_targets(scored.anchors, pad_targets(TWO_TARGETS[:1], 3), [size])
    crossing = [x1 < 0 or y1 < 0 or x2 > 128 or y2 > 100 for x1, y1, x2, y2 in scored.anchors.tolist()]
    assert set(classes[torch.tensor(crossing)].tolist()) == {-1}
    assert set(classes.tolist()) == {-1, 0, 1}


@pytest.mark.parametrize("ohem", [True, False])
def test_all_proposals_are_scored_with_ohem_and_a_sample_without(ohem):
    network = small_network(ohem=ohem, anchors={"sizes": [[16, 32, 64]]}).train()
    used = []
    network.roi_heads.register_forward_hook(lambda _, inputs, __: used.append(inputs[2].view(2, -1).sum(dim=1)))
    network(TWO, TWO_TARGETS)
    assert (used[0].min() > 16) if ohem else (used[0].tolist() == [16, 16])


def test_resnet101_has_the_layers_of_the_authors_model():
    network = meta_network(output_stride=16, out_stages=["s16", "s32"])
    assert network.neck.scores.out_channels == 49 * 21 == 1029
    assert network.neck.boxes.out_channels == 49 * 4
    assert network.neck.reduce.weight.shape == (1024, 2048, 1, 1)
    assert network.rpn.head.cls_logits.out_channels == 9
    convolutions = 44_549_160 - 2_049_000  # torchvision's count, without its 1000 classes
    proposals = 1024 * 1024 * 9 + 1024 + (9 + 36) * 1025
    maps = 2048 * 1024 + 1024 + 49 * (21 + 4) * 1025
    assert sum(value.numel() for value in network.parameters()) == convolutions + proposals + maps
    assert not list(network.roi_heads.parameters())


def test_both_stages_use_maps_of_stride_16():
    network = meta_network("resnet50", output_stride=16)
    with torch.device("meta"):
        maps = network.neck(network.backbone(torch.zeros(1, 3, 96, 128)))
    assert {name: tuple(level.shape[1:]) for name, level in maps.items()} == {
        "proposals": (1024, 6, 8),
        "scores": (1029, 6, 8),
        "boxes": (196, 6, 8),
    }
    assert network.roi_heads.stride == 16


def test_dilation_computes_the_same_at_every_other_position():
    """Every other position of the dilated map equals the map of stride 32 (hole algorithm)."""
    torch.manual_seed(0)
    plain = create_backbone("resnet50", weights="none", out_stages=["s32"]).eval()
    dilated = create_backbone("resnet50", weights="none", out_stages=["s32"], output_stride=16).eval()
    dilated.load_state_dict(plain.state_dict())
    (image,) = images((128, 160))
    with torch.no_grad():
        coarse, fine = (network(image[None])["s32"] for network in (plain, dilated))
    torch.testing.assert_close(fine[..., ::2, ::2], coarse, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("options", [{}, {"pooling": "align"}, {"ohem": False}, {"cells": 2}])
def test_every_parameter_gets_a_gradient(options):
    network = small_network(**options).train()
    losses = network(TWO, TWO_TARGETS)
    assert list(losses) == LOSSES
    sum(losses.values()).backward()
    assert [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()] == []


@pytest.mark.parametrize("ohem", [True, False])
def test_losses_fall(ohem):
    network = small_network(ohem=ohem, anchors={"sizes": [[32, 64]]}).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    course = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = sum(network(TWO, TWO_TARGETS).values())
        loss.backward()
        optimizer.step()
        course.append(loss.item())
    assert sum(course[-3:]) < 0.7 * sum(course[:3])


@pytest.mark.parametrize("ohem", [True, False])
def test_images_without_objects_have_no_box_loss(ohem):
    network = small_network(ohem=ohem).train()
    losses = network(TWO, [target(), target()])
    sum(losses.values()).backward()
    assert losses["loss_rpn_box"].item() == losses["loss_box"].item() == 0
    assert all(math.isfinite(value.item()) for value in losses.values())
    assert all(value.grad is not None and value.grad.isfinite().all() for value in network.parameters())
    crowds = [target([[0, 0, 128, 128]], [1], crowd=torch.tensor([True]))] * 2
    losses = network(TWO, crowds)  # no background is left either
    assert losses["loss_classifier"].item() == losses["loss_box"].item() == 0


@pytest.mark.parametrize("size", [(5, 5), (16, 1), (31, 97), (201, 67)])
@pytest.mark.parametrize("pooling", ["average", "align"])
def test_images_of_any_size(size, pooling):
    network = small_network(nms={"score_threshold": 0.0}, pooling=pooling)
    (image,) = images(size)
    height, width = size
    losses = network.train()([image] * 2, [target([[0, 0, width, height]], [1]), target()])
    assert all(math.isfinite(value.item()) for value in losses.values())
    with torch.no_grad():
        (prediction,) = network.eval()([image])
    assert len(prediction["boxes"])
    assert (prediction["boxes"] >= 0).all()
    assert (prediction["boxes"] <= torch.tensor([width, height] * 2)).all()
    assert (prediction["scores"].diff() <= 0).all()
    assert set(prediction["labels"].tolist()) <= {0, 1, 2}


def test_losses_and_predictions_equal_those_of_forward():
    network = small_network(nms={"score_threshold": 0.0}).eval()
    with torch.no_grad():
        losses, predictions = network.losses_and_predictions(TWO, TWO_TARGETS)
        alone = network(TWO)
    assert list(losses) == LOSSES
    torch.testing.assert_close(predictions, alone)


def test_nms_is_per_class_by_default():
    num_kept = []
    for kind in ("per_class", "class_agnostic"):
        network = small_network(nms={"score_threshold": 0.0, "max_detections": 1000, "kind": kind}).eval()
        with torch.no_grad():
            (prediction,) = network(TWO[:1])
        num_kept.append(len(prediction["boxes"]))
    assert num_kept[0] > num_kept[1] > 0


@pytest.mark.parametrize(
    ("name", "stages", "remedy"),
    [
        (
            "resnet50",
            None,
            r"s32 of resnet50 has stride 32\nset model.backbone.output_stride=16, or .*out_stages=\[s16\]",
        ),
        ("densenet121", None, r"s32 of densenet121 has stride 32\nset model.backbone.out_stages=\[s16\]"),
        ("resnet18", ["s4"], "needs the stage s16; resnet18 has s4"),
    ],
)
def test_backbones_with_a_coarse_last_map_are_refused(name, stages, remedy):
    with pytest.raises(ConfigError, match=remedy):
        meta_network(name, out_stages=stages)


@pytest.mark.parametrize(("name", "stages"), [("vgg16", ["s16"]), ("vgg16_atrous", None), ("densenet121", ["s16"])])
def test_both_stages_use_s16_of_other_backbones(name, stages):
    network = meta_network(name, out_stages=stages)
    assert network.neck.stage == network.neck.proposals_stage == "s16"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "averge"}, "did you mean average"),
        ({"cells": 0}, "cells=0"),
        ({"roi": {"bg_iou": 0.6}}, r"bg_iou=0\.6, fg_iou=0\.5 must satisfy"),
        ({"anchors": {"sizes": [[32], [64]]}}, "2 levels"),
        ({"nms": {"kind": "class_agnostc"}}, "class_agnostic"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        small_network(**options)


def test_spec_and_weights_build_the_same_model(tmp_path):
    network = small_network(pooling="align", cells=2, nms={"score_threshold": 0.0})
    torch.save(network.state_dict(), tmp_path / "rfcn.pth")
    spec = {**network.spec, "weights": str(tmp_path / "rfcn.pth")}
    again = create_model(**{**spec, "backbone": create_backbone(**network.spec["backbone"])})
    with torch.no_grad():
        predictions = [model.eval()(TWO) for model in (network, again)]
    torch.testing.assert_close(*predictions)
    with pytest.raises(CheckpointError, match="does not fit RFCN"):
        small_network(weights=str(tmp_path / "rfcn.pth"))
