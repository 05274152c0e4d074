import pytest
import torch

from tests.helpers.options import merge_options
from tests.models.detection.networks import images, target
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


def test_it_learns_and_its_boxes_are_the_proposals():
    network = small_network(nms={"score_threshold": 0.0, "iou": 1.0}).train()
    losses = network(images((64, 64), (64, 80)), TARGETS)
    assert set(losses) == {"loss_classifier"}
    losses["loss_classifier"].backward()
    assert all(value.grad is not None for value in network.parameters() if value.requires_grad)
    with torch.inference_mode():
        found, none = network.eval()(images((64, 64), (64, 64)), proposals=[PROPOSALS, torch.zeros(0, 4)])
    assert len(found["boxes"]) == 15
    assert {tuple(box) for box in found["boxes"].round().tolist()} == {tuple(box) for box in PROPOSALS.tolist()}
    assert none["boxes"].shape == (0, 4)


def test_chunks_change_nothing():
    whole, parts = small_network(nms=ALL), small_network(nms=ALL, chunk=2)
    with torch.inference_mode():
        found = [network.eval()(images((64, 64)), proposals=[PROPOSALS])[0] for network in (whole, parts)]
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=1e-4)


def fitted_network(**options):
    """With machines and regression of random values, as if their stages were over."""
    options = merge_options({"nms": {"score_threshold": 0.0}}, options)
    network = small_network(classifier="svm", box_regression={"enabled": True}, **options).eval()
    for part in network.fitted_layers.values():
        part.fit(0.1 * torch.randn_like(part.weight), 0.1 * torch.randn_like(part.bias))
    return network


def found_by(network):
    with torch.inference_mode():
        return network(images((64, 64)), proposals=[PROPOSALS])[0]


def test_before_its_later_stages_it_is_the_fine_tuned_classifier():
    with_stages = small_network(classifier="svm", box_regression={"enabled": True}).eval()
    torch.testing.assert_close(found_by(with_stages), found_by(small_network().eval()))


def test_scores_are_a_sigmoid_of_margins_and_boxes_those_of_the_regression():
    network = fitted_network(nms={"iou": 1.0})
    with torch.inference_mode():
        features = network.compute_features(images((64, 64))[0], PROPOSALS)
        margins = network.fitted_layers["svm"](features.fc7)
        shifts = network.fitted_layers["box_regression"](features.deepest).view(-1, 3, 4)
    found = found_by(network)
    torch.testing.assert_close(found["scores"], torch.sigmoid(2.9444 * margins.flatten()).sort(descending=True)[0])
    region, label = divmod(margins.flatten().argmax().item(), 3)
    assert found["labels"][0] == label
    # appendix C, in the units of the coder: tenths of a side, fifths of its logarithm
    (x, y, width, height), (dx, dy, dw, dh) = (
        [10.0, 12, 40, 48]
        if region == 1
        else [*PROPOSALS[region, :2], *(PROPOSALS[region, 2:] - PROPOSALS[region, :2])],
        shifts[region, label],
    )
    center = torch.tensor([x + width / 2 + width * dx / 10, y + height / 2 + height * dy / 10])
    half = torch.tensor([width, height]) * torch.stack([dw, dh]).div(5).exp() / 2
    torch.testing.assert_close(
        found["boxes"][0], torch.cat([center - half, center + half]).clamp(0, 64), atol=1e-3, rtol=0
    )


def test_a_step_of_training_makes_its_later_stages_out_of_date():
    network = fitted_network()
    with torch.no_grad():
        network.losses_and_predictions(images((64, 64), (64, 80)), TARGETS)
        assert all(part.fitted for part in network.fitted_layers.values())
        network.train()(images((64, 64), (64, 80)), TARGETS)
    assert not any(part.fitted for part in network.fitted_layers.values())
    assert {name for name, _ in network.named_parameters() if "later" in name} == set()


@pytest.mark.parametrize("stage", ["svm", "box_regression"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_no_number_is_refused(stage, value):
    network = fitted_network()
    network.fitted_layers[stage].weight.fill_(value)
    with pytest.raises(VisionkitError, match="not finite"):
        found_by(network)


@pytest.mark.parametrize(
    "options", [{"warp_size": 20}, {"context": 40}, {"svm": {"cost": 0.0}}, {"box_regression": {"penalty": -1}}]
)
def test_sizes_that_leave_nothing_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        small_network(**options)


@pytest.mark.parametrize("make", [small_network, fitted_network])
def test_its_spec_builds_it_again(make):
    network = make()
    again = create_model(**{**network.spec, "backbone": create_backbone(**network.spec["backbone"])})
    again.load_state_dict(network.state_dict())
    with torch.inference_mode():
        found = [one.eval()(images((64, 64)), proposals=[PROPOSALS])[0] for one in (network, again)]
    torch.testing.assert_close(found[0], found[1])
