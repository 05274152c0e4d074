"""Sliding window: equality of its two forms, loss, and predictions."""

import math

import pytest
import torch

from tests.helpers.detectors import images, target
from visionkit.backbones import create_backbone
from visionkit.data.batch import to_target, to_tensor
from visionkit.data.datasets.shapes import Shapes
from visionkit.errors import ConfigError
from visionkit.metrics.detection import detection_metrics
from visionkit.models import create_model
from visionkit.models.detection.parts.batch import pad_targets

BACKBONES = {
    "patch_cnn_33": {},
    "vgg11": {"out_stages": ["s4"]},
    "vgg11_bn": {"out_stages": ["s2"]},
    "alexnet": {"out_stages": ["s8"]},
    "lenet5": {},
}
SMALL = {"head_channels": 16, "box_regression": True}
WINDOWS = {"context": 4, "sizes": (18.0, 30.0), "cells": 2}
OBJECTS = [target([[4, 4, 24, 24], [20, 10, 50, 38]], [1, 2]), target()]


def small(name="patch_cnn_33", windows=None, **options):
    torch.manual_seed(0)
    backbone = create_backbone(name, weights="none", **BACKBONES[name])
    options = {**SMALL, "windows": {**WINDOWS, **(windows or {})}, **options}
    return create_model("sliding_window", backbone, 3, **options)


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("ratios", [(1.0,), (0.5, 2.0)])
def test_both_forms_return_equal_scores_and_boxes(name, ratios):
    dense, naive = (small(name, {"aspect_ratios": ratios}, mode=form) for form in ("dense", "naive"))
    naive.load_state_dict(dense.state_dict())
    with torch.no_grad():
        (_, output), (_, expected) = (net.eval()._anchor_output(images((33, 40), (38, 29))) for net in (dense, naive))
    assert output.logits.shape == (2, len(output.anchors), 4)
    assert len(output.anchors_per_level) == 2 * len(ratios)
    torch.testing.assert_close(output.logits, expected.logits, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(output.deltas, expected.deltas, rtol=1e-4, atol=1e-6)
    assert expected.logits[..., 1:].std(dim=1).min() > 1e-5  # windows differ, so that the equality is not trivial


def test_a_window_is_its_box_and_its_context():
    net = small(windows={"sizes": (41.0 - 8,), "cells": 3})  # the box as large as an object: the level is the image
    assert net.anchors.window == (41, 8, 4)
    (image,) = images((60, 70))
    (level,) = net.anchors.levels(image[None])
    boxes, (number,) = net.anchors.grid((60, 70), [level])
    assert number == 5 * 6  # 27 and 37 pixels are left over: 4 and 5 further steps
    windows = net.anchors.windows(level)[0].permute(1, 2, 0, 3, 4).flatten(0, 1)
    assert windows.shape == (30, 3, 41, 41)
    inside = 0
    for window, (x1, y1, x2, y2) in zip(windows, boxes.tolist(), strict=True):
        x1, y1, x2, y2 = round(x1) - 4, round(y1) - 4, round(x2) + 4, round(y2) + 4
        if min(x1, y1) >= 0 and x2 <= 70 and y2 <= 60:
            torch.testing.assert_close(window, image[:, y1:y2, x1:x2])
            inside += 1
    assert inside == 2 * 4  # the others reach into the border of zeros


@pytest.mark.parametrize("size", [(60, 70), (5, 7), (1, 1), (33, 200)])
@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
def test_boxes_have_their_size_and_shape_and_cover_the_image(size, ratio):
    net = small(windows={"sizes": (20.0,), "aspect_ratios": (ratio,)})
    boxes, _ = net.anchors.grid(size, net.anchors.levels(torch.zeros(1, 3, *size)))
    assert boxes[:, :2].min() == 0
    assert (boxes[:, 2:].amax(dim=0) >= torch.tensor(size[::-1]) - 1e-4).all()
    if min(size) > 10:  # a level of few pixels is rounded coarsely
        width, height = (boxes[:, 2:] - boxes[:, :2]).unbind(1)
        torch.testing.assert_close(height / width, torch.full_like(width, ratio), rtol=0.05, atol=0)
        torch.testing.assert_close(width * height, torch.full_like(width, 400.0), rtol=0.05, atol=0)
        torch.testing.assert_close(net.anchor_shapes()[0], (boxes[:, 2:] - boxes[:, :2])[0], rtol=0.05, atol=0)


def test_gradients_equal_those_of_cropped_windows():
    net = small("vgg11", {"sizes": (24.0,), "cells": 1}).double().train()
    net.head.trunk.eval()  # dropout would fall elsewhere
    levels = net.anchors.levels(torch.stack(images((30, 36), (30, 36))).double())
    gradients = [
        torch.autograd.grad(form(levels)[0][:, ::3].log_softmax(-1)[..., 1].sum(), list(net.backbone.parameters()))
        for form in (net.dense, net.naive)
    ]
    for dense, naive in zip(*gradients, strict=True):
        torch.testing.assert_close(dense, naive, rtol=1e-4, atol=1e-7)  # levels are made in float32


def test_the_loss_is_the_mean_over_the_drawn_windows():
    net = small(
        windows={"sizes": (20.0, 30.0)},
        sampling={"batch_size_per_image": 40, "hard_fraction": 1.0, "positive_fraction": 0.25},
    ).eval()
    objects = pad_targets(OBJECTS, 3)
    with torch.no_grad():
        _, output = net._anchor_output(images((56, 64), (56, 64)))
        anchor_targets = net.anchor_targets(output.anchors, objects)
        losses = net.losses(output, objects)
    entropy = -output.logits.log_softmax(-1)
    drawn, classes = [], anchor_targets.classes
    assert 0 < int((classes[0] > 0).sum()) <= 10  # all of them are drawn
    for image in range(2):
        is_object = classes[image] > 0
        drawn += entropy[image, is_object].gather(1, classes[image, is_object, None])[:, 0].tolist()
        hardest = sorted(entropy[image, classes[image] == 0, 0].tolist(), reverse=True)
        drawn += hardest[: 40 - int(is_object.sum())]
    assert len(drawn) == 80
    assert losses["loss_classifier"].item() == pytest.approx(sum(drawn) / 80, rel=1e-4)


def test_windows_are_matched_by_their_overlap():
    net = small(windows={"sizes": (25.0,), "cells": 3})
    image = torch.zeros(1, 3, 64, 64)
    boxes, _ = net.anchors.grid((64, 64), net.anchors.levels(image))
    objects = pad_targets([target([boxes[9].tolist(), [0, 40, 64, 64]], [2, 0], crowd=torch.tensor([False, True]))], 3)
    (classes,), (matched,) = net.match_anchors(boxes, objects)
    for box, label in zip(boxes, classes.tolist(), strict=True):
        x1, y1, x2, y2 = box.tolist()
        a, b, c, d = objects.boxes[0, 0].tolist()
        shared = max(min(x2, c) - max(x1, a), 0) * max(min(y2, d) - max(y1, b), 0)
        iou = shared / ((x2 - x1) * (y2 - y1) + (c - a) * (d - b) - shared)
        in_crowd = max(min(y2, 64) - max(y1, 40), 0) * max(min(x2, 64) - x1, 0) >= 0.5 * (x2 - x1) * (y2 - y1)
        assert label == (3 if iou >= 0.5 else -1 if iou >= 0.3 or in_crowd else 0)
    assert classes[9] == 3
    assert {-1, 0} <= set(classes.tolist())
    assert matched[9] == 0


def test_without_box_regression_the_boxes_are_the_windows():
    net = small(box_regression=False, nms={"iou": 1.0, "score_threshold": 0.0}).eval()
    with torch.no_grad():
        (prediction,) = net(images((40, 40)))
    boxes, _ = net.anchors.grid((40, 40), net.anchors.levels(torch.zeros(1, 3, 40, 40)))
    windows = {tuple(box) for box in boxes.clamp(0, 40).round(decimals=3).tolist()}
    assert len(prediction["boxes"])
    assert {tuple(box) for box in prediction["boxes"].round(decimals=3).tolist()} <= windows
    assert set(net.train()(images((40, 40)), [target([[5, 5, 25, 25]], [0])])) == {"loss_classifier"}


@pytest.mark.parametrize("form", ["dense", "naive"])
def test_an_image_smaller_than_a_window(form):
    net = small(mode=form, nms={"score_threshold": 0.0}).eval()
    tiny = images((5, 7))
    with torch.no_grad():
        (prediction,) = net(tiny)
    assert len(prediction["boxes"])
    assert (prediction["boxes"] <= torch.tensor([7.0, 5.0, 7.0, 5.0])).all()
    losses = net.train()(tiny, [target([[1, 1, 5, 4]], [0])])
    assert all(math.isfinite(value.item()) for value in losses.values())


def test_default_cells_are_those_of_the_published_classifier():
    net = create_model(
        "sliding_window", create_backbone("vgg11", weights="none"), 20, head_channels=8, windows={"sizes": (100.0,)}
    )
    assert net.head.trunk.layers.fc6.in_features == 512 * 7 * 7
    assert net.anchors.window.side == 150 + 6 * 32


def test_fully_connected_layers_start_from_the_classifiers_weights(tmp_path):
    torch.manual_seed(1)
    published = create_backbone("vgg11", weights="none").state_dict()
    published |= {
        "classifier.0.weight": torch.randn(16, 25088),
        "classifier.0.bias": torch.randn(16),
        "classifier.3.weight": torch.randn(16, 16),
        "classifier.3.bias": torch.randn(16),
    }
    torch.save(published, tmp_path / "vgg11.pth")
    backbone = create_backbone("vgg11", weights=str(tmp_path / "vgg11.pth"))
    net = create_model("sliding_window", backbone, 3, head_channels=16)
    assert torch.equal(net.head.trunk.layers.fc6.weight, published["classifier.0.weight"])
    assert torch.equal(net.head.trunk.layers.fc7.bias, published["classifier.3.bias"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"windows": {"context": 30}}, "context=30 leaves no box"),
        ({"windows": {"sizes": ()}}, "sizes="),
        ({"windows": {"aspect_ratios": (1.0, -1.0)}}, "aspect_ratios="),
        ({"sampling": {"hard_fraction": 1.5}}, r"hard_fraction=1\.5"),
        ({"sampling": {"bg_iou": 0.6}}, "must satisfy"),
        ({"mode": "dens"}, "dense"),
        ({"nms": {"kind": "none"}}, "NMS"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        small(**options)


def test_a_backbone_that_needs_its_padding_is_refused():
    with pytest.raises(ConfigError, match="resnet18 cannot be run over windows"):
        create_model("sliding_window", create_backbone("resnet18", weights="none"), 3)


@pytest.mark.slow
def test_it_overfits_eight_images():
    shapes = Shapes(split="train", count=8, size=64, min_object=0.3, max_object=0.7, max_objects=2, empty_share=0.3)
    samples = [shapes[index] for index in range(8)]
    targets = [to_target(sample) for sample in samples]
    assert [len(target["boxes"]) for target in targets].count(0) == 2
    inputs = [to_tensor(sample.image).float() / 128 - 1 for sample in samples]
    options = {
        "windows": {"context": 4, "sizes": (22.0, 33.0)},
        "sampling": {"batch_size_per_image": 32},
        "head_channels": 64,
        "head_dropout": 0.0,
        "box_regression": True,
    }
    torch.manual_seed(0)
    net = create_model(
        "sliding_window",
        create_backbone("patch_cnn_33", weights="none"),
        len(shapes.class_names),
        **options,
    ).train()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(120):
        optimizer.zero_grad()
        sum(net(inputs, targets).values()).backward()
        optimizer.step()
    with torch.no_grad():
        predictions = net.eval()(inputs)
    metric = detection_metrics.get("coco")(class_names=shapes.class_names)
    metric.update(predictions, targets)
    assert metric.compute().overall["AP50"] > 0.95
