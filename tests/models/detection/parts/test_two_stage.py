import math

import pytest
import torch
from torch import nn

from tests.helpers.detectors import images, small_network, target
from visionkit.errors import DataError, VisionkitError
from visionkit.models.detection.parts.two_stage import TwoStageDetector

TWO = images((100, 128), (90, 70))
TWO_TARGETS = [
    target([[10, 10, 60, 70], [30, 40, 90, 100], [5, 80, 25, 95]], [0, 2, 1]),
    target([[20, 5, 69, 60]], [1]),
]


def test_losses_and_predictions_equal_those_of_the_two_modes():
    network = small_network(nms={"score_threshold": 0.0}).eval()
    runs = []
    network.backbone.register_forward_hook(lambda *_: runs.append(1))
    with torch.no_grad():
        torch.manual_seed(5)
        losses, predictions = network.losses_and_predictions(TWO, TWO_TARGETS)
        assert len(runs) == 1
        assert not any(module.training for module in network.modules())
        expected = network(TWO)
        network.train()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        torch.manual_seed(5)
        expected_losses = network(TWO, TWO_TARGETS)
    assert losses == expected_losses
    for prediction, alone in zip(predictions, expected, strict=True):
        for key in ("boxes", "scores", "labels"):
            assert torch.equal(prediction[key], alone[key])


def test_validation_does_not_change_running_statistics():
    network = small_network().eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with torch.no_grad():
        network.losses_and_predictions(TWO, TWO_TARGETS)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_training_works_after_a_validation_in_inference_mode():
    network = small_network().eval()
    with torch.inference_mode():
        network(TWO)
    sum(network.train()(TWO, TWO_TARGETS).values()).backward()


def test_losses_and_predictions_are_float32_under_bfloat16():
    # All anchors and proposals are sampled, since a random sample depends on their order, which rounding changes.
    everything = {"batch_size_per_image": 10**6, "positive_fraction": 1.0}
    network = small_network(rpn=everything, roi=everything).train()
    torch.manual_seed(0)
    plain = network(TWO, TWO_TARGETS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.manual_seed(0)
        mixed = network(TWO, TWO_TARGETS)
        predictions = network.eval()(TWO)
    for name, value in mixed.items():
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(plain[name].item(), rel=0.2, abs=0.05)
    sum(mixed.values()).backward()
    assert all(prediction[key].dtype == torch.float32 for prediction in predictions for key in ("boxes", "scores"))


def test_anchors_stay_exact_under_bfloat16():
    network = small_network().to(torch.bfloat16).eval()
    with torch.no_grad():
        network([image.bfloat16() for image in TWO])
    ((anchors, _),) = network.rpn.anchors._cache.values()
    assert anchors.dtype == torch.float32


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (target([[0, 0, 9, 9]], [3]), r"'street.jpg' has the labels \[3\]; with 3 classes they are 0..2"),
        (target([[0, 0, 9, 9]], [-1]), r"'street.jpg' has the labels \[-1\]"),
        (target([[0, 0, math.nan, 9]], [0]), "'street.jpg' has boxes that are not finite"),
        (target([[0, 0, math.inf, 9]], [0]), "'street.jpg' has boxes that are not finite"),
        (target([[9, 0, 9, 9]], [0]), "'street.jpg' has boxes .* no area"),
        (target([[9, 0, 2, 9]], [0]), "'street.jpg' has boxes .* no area"),
        (target([[0, 0, 9, 9]], [0, 1]), r"'street.jpg': labels are .* not int64 \[1\]"),
        (target([[0, 0, 9, 9]], [0], crowd=torch.zeros(2, dtype=torch.bool)), "1 objects, but 2 crowd flags"),
    ],
)
@pytest.mark.parametrize("call", [TwoStageDetector.forward, TwoStageDetector.losses_and_predictions])
def test_invalid_targets_name_their_image(wrong, message, call):
    targets = [TWO_TARGETS[0], {**wrong, "image_id": "street.jpg"}]
    with pytest.raises(DataError, match=message):
        call(small_network().train(), TWO, targets)


@pytest.mark.parametrize("part", ["rpn.head.cls_logits", "rpn.head.bbox_pred", "roi_heads.box_predictor.cls_score"])
def test_broken_weights_raise_an_error(part):
    network = small_network().eval()
    network.get_submodule(part).weight.data.fill_(math.nan)
    with pytest.raises(VisionkitError, match="not finite"), torch.no_grad():
        network(TWO)


def test_training_without_targets_raises():
    with pytest.raises(VisionkitError, match="eval"):
        small_network().train()(TWO)


def test_float64_is_kept():
    network = small_network(nms={"score_threshold": 0.0}).double()
    inputs = [image.double() for image in TWO]
    losses, predictions = network.eval().losses_and_predictions(inputs, TWO_TARGETS)
    assert {loss.dtype for loss in losses.values()} == {torch.float64}
    assert {prediction["boxes"].dtype for prediction in predictions} == {torch.float64}
