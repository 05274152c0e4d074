import pytest
import torch

from tests.helpers.detectors import images, target
from tests.helpers.options import merge_options
from visionkit.backbones import create_backbone
from visionkit.errors import ConfigError, VisionkitError
from visionkit.models import create_model

PROPOSALS = torch.tensor([[0, 0, 40, 40], [10, 12, 50, 60], [30, 5, 64, 30], [2, 2, 60, 62], [16, 16, 48, 48.0]])
TARGETS = [target([[10, 10, 50, 58]], [1], proposals=PROPOSALS), target(proposals=PROPOSALS[:3])]


ALL = {"score_threshold": 0.0}


def small_network(**options):
    torch.manual_seed(0)
    backbone = create_backbone("alexnet", weights="none")
    return create_model("rcnn", backbone, 3, **{"head_channels": 16, "warp_size": 67, "context": 4, **options})


def test_alexnet_has_the_papers_layers():
    backbone = create_backbone("alexnet", weights="none")
    network = create_model("rcnn", backbone, 20)
    classifier = 60_965_224 - (4096 * 1000 + 1000) + 4096 * 21 + 21
    assert sum(value.numel() for value in network.parameters() if value.requires_grad) == classifier
    assert len([key for key in network.state_dict() if "conv1.weight" in key]) == 1


def test_every_parameter_gets_a_gradient_and_boxes_are_the_proposals():
    network = small_network(nms={"score_threshold": 0.0, "iou": 1.0}).train()
    losses = network(images((64, 64), (64, 80)), TARGETS)
    assert set(losses) == {"loss_classifier"}
    losses["loss_classifier"].backward()
    assert all(value.grad is not None for value in network.parameters() if value.requires_grad)
    with torch.inference_mode():
        first, empty = network.eval()(images((64, 64), (64, 64)), proposals=[PROPOSALS, torch.zeros(0, 4)])
    assert len(first["boxes"]) == 15
    assert {tuple(box) for box in first["boxes"].round().tolist()} == {tuple(box) for box in PROPOSALS.tolist()}
    assert empty["boxes"].shape == (0, 4)


def test_predictions_do_not_depend_on_the_chunks():
    whole, parts = small_network(nms=ALL), small_network(nms=ALL, chunk=2)
    with torch.inference_mode():
        predictions = [network.eval()(images((64, 64)), proposals=[PROPOSALS])[0] for network in (whole, parts)]
    torch.testing.assert_close(*predictions, atol=1e-5, rtol=1e-4)


def fitted_network(**options):
    """Return a model whose SVMs and box regression are random, as if they were fitted."""
    options = merge_options({"nms": {"score_threshold": 0.0}}, options)
    network = small_network(classifier="svm", box_regression={"enabled": True}, **options).eval()
    for layer in network.fitted_layers.values():
        layer.fit(0.1 * torch.randn_like(layer.weight), 0.1 * torch.randn_like(layer.bias))
    return network


def predict(network):
    with torch.inference_mode():
        return network(images((64, 64)), proposals=[PROPOSALS])[0]


def test_before_the_fitting_stages_scores_are_those_of_the_softmax():
    with_stages = small_network(classifier="svm", box_regression={"enabled": True}).eval()
    torch.testing.assert_close(predict(with_stages), predict(small_network().eval()))


def test_scores_are_a_sigmoid_of_margins_and_boxes_those_of_the_regression():
    network = fitted_network(nms={"iou": 1.0})
    with torch.inference_mode():
        features = network.compute_features(images((64, 64))[0], PROPOSALS)
        margins = network.fitted_layers["svm"](features.fc7)
        shifts = network.fitted_layers["box_regression"](features.deepest).view(-1, 3, 4)
    prediction = predict(network)
    torch.testing.assert_close(prediction["scores"], torch.sigmoid(2.9444 * margins.flatten()).sort(descending=True)[0])
    region, label = divmod(margins.flatten().argmax().item(), 3)
    assert prediction["labels"][0] == label
    # appendix C, in the units of the box coder: tenths of a side, and fifths of its logarithm
    (x, y, width, height), (dx, dy, dw, dh) = (
        [10.0, 12, 40, 48]
        if region == 1
        else [*PROPOSALS[region, :2], *(PROPOSALS[region, 2:] - PROPOSALS[region, :2])],
        shifts[region, label],
    )
    center = torch.tensor([x + width / 2 + width * dx / 10, y + height / 2 + height * dy / 10])
    half = torch.tensor([width, height]) * torch.stack([dw, dh]).div(5).exp() / 2
    torch.testing.assert_close(
        prediction["boxes"][0], torch.cat([center - half, center + half]).clamp(0, 64), atol=1e-3, rtol=0
    )


def test_a_training_step_invalidates_the_fitted_layers():
    network = fitted_network()
    with torch.no_grad():
        network.losses_and_predictions(images((64, 64), (64, 80)), TARGETS)
        assert all(layer.fitted for layer in network.fitted_layers.values())
        network.train()(images((64, 64), (64, 80)), TARGETS)
    assert not any(layer.fitted for layer in network.fitted_layers.values())
    assert not [name for name, _ in network.named_parameters() if "fitted_layers" in name]


@pytest.mark.parametrize("stage", ["svm", "box_regression"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_fitted_layers_that_are_not_finite_are_refused(stage, value):
    network = fitted_network()
    network.fitted_layers[stage].weight.fill_(value)
    with pytest.raises(VisionkitError, match="not finite"):
        predict(network)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"warp_size": 20}, "warp_size"),
        ({"context": 40}, "context"),
        ({"svm": {"cost": 0.0}}, "cost"),
        ({"box_regression": {"penalty": -1}}, "penalty"),
    ],
)
def test_invalid_options_are_refused(options, name):
    with pytest.raises(ConfigError, match=name):
        small_network(**options)


@pytest.mark.parametrize("make", [small_network, fitted_network])
def test_the_spec_builds_the_same_structure(make):
    network = make()
    again = create_model(**{**network.spec, "backbone": create_backbone(**network.spec["backbone"])})
    again.load_state_dict(network.state_dict())
    with torch.inference_mode():
        predictions = [model.eval()(images((64, 64)), proposals=[PROPOSALS])[0] for model in (network, again)]
    torch.testing.assert_close(*predictions)
