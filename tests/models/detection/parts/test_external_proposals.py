import pytest
import torch

from tests.helpers.detectors import images, target
from visionkit.backbones import create_backbone
from visionkit.errors import DataError, VisionkitError
from visionkit.models import create_model

PROPOSALS = torch.tensor([[0, 0, 40, 40], [10, 12, 50, 60], [30, 5, 64, 30], [2, 2, 60, 62], [16, 16, 48, 48.0]])
TARGETS = [
    target([[10, 10, 50, 58]], [1], proposals=PROPOSALS),
    target(proposals=PROPOSALS[:3]),
]


def small_network(**options):
    torch.manual_seed(0)
    backbone = create_backbone("resnet18", weights="none", out_stages=["s16"])
    return create_model("fast_rcnn", backbone, 3, **{"head_channels": 32, "head_dropout": 0.0, **options})


def test_losses_and_predictions_equal_those_of_forward():
    network = small_network(nms={"score_threshold": 0.0}).eval()
    inputs = images((64, 64), (64, 64))
    with torch.inference_mode():
        _, predictions = network.losses_and_predictions(inputs, TARGETS)
        alone = network(inputs, proposals=[target["proposals"] for target in TARGETS])
    torch.testing.assert_close(predictions, alone)


@pytest.mark.parametrize("pooling", ["max", "align"])
def test_images_without_proposals_and_without_objects(pooling):
    network = small_network(pooling=pooling)
    none = [target(proposals=torch.zeros(0, 4)), target(proposals=torch.zeros(0, 4))]
    losses = network.train()(images((64, 64), (64, 64)), none)
    assert {name: value.item() for name, value in losses.items()} == {"loss_classifier": 0.0, "loss_box": 0.0}
    with torch.inference_mode():
        predictions = network.eval()(images((64, 64), (64, 64)), proposals=[PROPOSALS, torch.zeros(0, 4)])
    assert predictions[1]["boxes"].shape == (0, 4)
    with torch.inference_mode():
        assert network(images((64, 64)), proposals=[torch.zeros(0, 4)])[0]["boxes"].shape == (0, 4)


def test_missing_proposals_raise_an_error_that_names_the_option():
    with pytest.raises(DataError, match=r"data\.proposals"):
        small_network().eval()(images((64, 64)))
    with pytest.raises(DataError, match=r"data\.proposals"):
        small_network().train()(images((64, 64)), [target([[1, 1, 9, 9]], [0])])
    with pytest.raises(DataError, match=r"image 0 of the batch .* not float \[P, 4\]"):
        small_network().eval()(images((64, 64)), proposals=[torch.zeros(3, 5)])


def test_training_without_targets_raises():
    with pytest.raises(VisionkitError, match="eval"):
        small_network().train()(images((64, 64)))
