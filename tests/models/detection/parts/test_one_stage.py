"""Contract of every one-stage detector."""

import math

import pytest
import torch

from tests.helpers.detectors import images, target
from tests.helpers.one_stage_detectors import SMALL, backbone_for, small
from visionkit.backbones import create_backbone
from visionkit.backbones.base import eval_norms
from visionkit.errors import ConfigError, DataError, VisionkitError
from visionkit.models import create_model, models
from visionkit.models.detection.parts.batch import pad_targets
from visionkit.models.detection.parts.one_stage import OneStageDetector, topk_per_class, topk_per_level

TWO = images((96, 96), (96, 96))
TWO_TARGETS = [
    target([[10, 10, 60, 70], [30, 40, 90, 90], [5, 80, 25, 95]], [0, 2, 1]),
    target([[20, 5, 69, 60]], [1]),
]
EVERY = pytest.mark.parametrize("name", sorted(SMALL))


def test_every_one_stage_detector_is_tested_here():
    assert {name for name in models if issubclass(models.get(name), OneStageDetector)} == set(SMALL)


@EVERY
def test_every_parameter_gets_a_gradient(name):
    network = small(name).train()
    losses = network(TWO, TWO_TARGETS)
    sum(losses.values()).backward()
    assert all(value.item() > 0 for value in losses.values())
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


@EVERY
@pytest.mark.parametrize(
    "nothing",
    [
        [target(), target()],
        [target([[0, 0, 96, 96]], [1], crowd=torch.tensor([True]))] * 2,  # no background is left either
    ],
)
def test_images_without_objects_give_finite_losses_and_all_gradients(name, nothing):
    network = small(name).train()
    losses = network(TWO, nothing)
    sum(losses.values()).backward()
    assert all(math.isfinite(value.item()) for value in losses.values())
    assert losses["loss_box"].item() == 0
    gradients = [parameter.grad for parameter in network.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


@EVERY
def test_an_image_without_objects_does_not_change_the_boxes_of_another(name):
    network = small(name).train()
    eval_norms(network, "eval")
    with torch.no_grad():
        alone = network(TWO[:1], TWO_TARGETS[:1])["loss_box"]
        beside = network(TWO, [TWO_TARGETS[0], target()])["loss_box"]
    assert beside.item() == pytest.approx(alone.item(), rel=1e-4) or beside.item() == pytest.approx(
        alone.item() / 2, rel=1e-4
    )


@EVERY
@pytest.mark.parametrize("kind", ["per_class", "class_agnostic", "soft_linear", "soft_gaussian"])
def test_predictions_are_inside_the_image_and_sorted_by_score(name, kind):
    network = small(name, nms={"kind": kind, "score_threshold": 0.001}).eval()
    with torch.no_grad():
        predictions = network(TWO)
    for prediction in predictions:
        assert 0 < len(prediction["boxes"]) <= network.nms.max_detections
        assert (prediction["boxes"] >= 0).all()
        assert (prediction["boxes"] <= 96).all()
        assert (prediction["scores"].diff() <= 0).all()
        assert prediction["labels"].dtype == torch.int64
        assert set(prediction["labels"].tolist()) <= {0, 1, 2}


@EVERY
def test_losses_and_predictions_equal_those_of_both_modes(name):
    network = small(name, nms={"score_threshold": 0.001}).eval()
    runs = []
    network.backbone.register_forward_hook(lambda *_: runs.append(1))
    with torch.no_grad():
        losses, predictions = network.losses_and_predictions(TWO, TWO_TARGETS)
        assert len(runs) == 1
        expected = network(TWO)
        network.train()
        eval_norms(network, "eval")
        expected_losses = network(TWO, TWO_TARGETS)
    assert losses == expected_losses
    for prediction, single in zip(predictions, expected, strict=True):
        assert all(torch.equal(prediction[key], single[key]) for key in ("boxes", "scores", "labels"))


@EVERY
def test_training_works_after_a_validation_in_inference_mode(name):
    network = small(name).eval()
    with torch.inference_mode():
        network(TWO)
    sum(network.train()(TWO, TWO_TARGETS).values()).backward()


@EVERY
def test_a_crowd_is_neither_object_nor_background(name):
    network = small(name).train()
    crowd = target([[10, 10, 40, 70], [48, 0, 96, 96]], [0, 1], crowd=torch.tensor([False, True]))
    _, output = network._anchor_output(TWO[:1])
    anchor_targets = network.anchor_targets(output.anchors, pad_targets([crowd], 3))
    x1, y1, x2, y2 = output.anchors.unbind(1)
    in_crowd = (x1 >= 48) & (x2 <= 96) & (y1 >= 0) & (y2 <= 96)
    assert set(anchor_targets.classes[0, in_crowd].tolist()) == {-1}
    assert {0, 1} <= set(anchor_targets.classes[0, x2 < 45].tolist())
    # anchors in the crowd are ignored in the loss: their logits get no gradient
    logits = output.logits.detach().requires_grad_()
    sum(network.losses(output._replace(logits=logits), pad_targets([crowd], 3)).values()).backward()
    assert (logits.grad[0, in_crowd] == 0).all()
    assert logits.grad.abs().sum() > 0


@EVERY
def test_losses_and_predictions_are_float32_under_bfloat16(name):
    network = small(name, nms={"score_threshold": 0.001}).train()
    full = network(TWO, TWO_TARGETS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = network(TWO, TWO_TARGETS)
        predictions = network.eval()(TWO)
    for key, value in mixed.items():
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(full[key].item(), rel=0.2, abs=0.05)
    sum(mixed.values()).backward()
    assert all(prediction[key].dtype == torch.float32 for prediction in predictions for key in ("boxes", "scores"))


@EVERY
def test_anchors_are_float32_under_bfloat16(name):
    network = small(name)
    _, exact = network._anchor_output(TWO)
    _, output = small(name).to(torch.bfloat16)._anchor_output([image.bfloat16() for image in TWO])
    assert output.anchors.dtype == torch.float32
    assert torch.equal(output.anchors, exact.anchors)


@EVERY
def test_weights_that_are_not_finite_are_refused(name):
    network = small(name).eval()
    with torch.no_grad():
        next(network.head.parameters()).fill_(math.nan)
        with pytest.raises(VisionkitError, match="not finite"):
            network(TWO)


@EVERY
def test_invalid_targets_images_and_options_are_refused(name):
    network = small(name).train()
    with pytest.raises(VisionkitError, match="needs targets"):
        network(TWO)
    with pytest.raises(DataError, match=r"labels \[3\]"):
        network(TWO, [target([[0, 0, 5, 5]], [3]), target()])
    with pytest.raises(DataError, match="not normalized"):
        network([255 * image.abs() for image in TWO], TWO_TARGETS)
    with pytest.raises(ConfigError, match="at least one class"):
        create_model(name, backbone_for(name), 0)


@EVERY
def test_create_model_rebuilds_it_from_its_spec(name):
    network = small(name, nms={"iou": 0.4})
    spec = dict(network.spec)
    backbone = spec.pop("backbone")
    again = create_model(
        spec.pop("name"), create_backbone(**{**backbone, "weights": "none"}), spec.pop("num_classes"), **spec
    )
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in network.state_dict().items()}
    assert again.nms == network.nms


@EVERY
def test_a_thousand_objects_in_an_image(name):
    network = small(name).train()
    corners = torch.rand(1000, 2) * 80
    crowded = {"boxes": torch.cat([corners, corners + 10], dim=1), "labels": torch.randint(0, 3, (1000,))}
    losses = network(TWO[:1] * 2, [crowded] * 2)
    assert all(math.isfinite(value.item()) for value in losses.values())


@EVERY
def test_anchor_shapes_are_those_of_the_grid(name):
    network = small(name)
    _, output = network._anchor_output(TWO)
    sides = output.anchors[:, 2:] - output.anchors[:, :2]
    shapes = network.anchor_shapes((96, 96))
    if not len(shapes):
        pytest.skip(f"{name} predicts boxes without anchors")
    distances = (sides[:, None] - shapes).abs().amax(-1)
    assert distances.amin(dim=1).max() < 1e-3
    assert distances.amin(dim=0).max() < 1e-3


def test_topk_per_level_selects_the_best_pairs():
    scores = torch.tensor([[0.9, 0.2], [0.1, 0.8], [0.7, 0.6], [0.05, 0.3]])
    anchors, labels = topk_per_level(scores, [2, 2], score_threshold=0.15, k=2)
    assert sorted(zip(anchors.tolist(), labels.tolist(), strict=True)) == [(0, 0), (1, 1), (2, 0), (2, 1)]
    anchors, labels = topk_per_level(scores, [2, 2], score_threshold=0.65, k=2)
    assert sorted(zip(anchors.tolist(), labels.tolist(), strict=True)) == [(0, 0), (1, 1), (2, 0)]


def test_topk_per_class_selects_the_best_anchors():
    scores = torch.tensor([[0.9, 0.2], [0.1, 0.8], [0.7, 0.6], [0.3, 0.3]])
    anchors, labels = topk_per_class(scores, score_threshold=0.15, k=2)
    assert sorted(zip(anchors.tolist(), labels.tolist(), strict=True)) == [(0, 0), (1, 1), (2, 0), (2, 1)]
    anchors, labels = topk_per_class(scores, score_threshold=0.85, k=2)
    assert (anchors.tolist(), labels.tolist()) == ([0], [0])
    assert [len(column) for column in topk_per_class(scores, score_threshold=0.95, k=2)] == [0, 0]
