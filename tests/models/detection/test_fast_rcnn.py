import pytest
import torch
from torch import nn

from tests.helpers.detectors import images, target
from visionkit.backbones import create_backbone
from visionkit.errors import ConfigError
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


def test_vgg16_has_the_papers_layers():
    with torch.device("meta"):
        backbone = create_backbone("vgg16", weights="checkpoint", out_stages=["s16"])
        network = create_model("fast_rcnn", backbone, 20)
    convolutions, fc6, fc7 = 14_714_688, 25088 * 4096 + 4096, 4096 * 4096 + 4096
    predictors = 4096 * 21 + 21 + 4096 * 84 + 84
    assert sum(value.numel() for value in network.parameters()) == convolutions + fc6 + fc7 + predictors


@pytest.mark.parametrize(("model", "options"), [("fast_rcnn", {}), ("faster_rcnn", {"variant": "single"})])
def test_prediction_layers_are_initialized_as_in_the_paper(model, options):
    torch.manual_seed(0)
    backbone = create_backbone("resnet18", weights="none", out_stages=["s16"])
    predictor = create_model(model, backbone, 20, head_channels=512, **options).roi_heads.box_predictor
    for layer, std in ((predictor.cls_score, 0.01), (predictor.bbox_pred, 0.001)):
        assert layer.weight.std().item() == pytest.approx(std, rel=0.05)
        assert layer.weight.abs().max() > 3 * std, "normal, not uniform"
        assert not layer.bias.any()


@pytest.mark.parametrize("pooling", ["max", "align"])
def test_every_parameter_gets_a_gradient(pooling):
    network = small_network(pooling=pooling).train()
    losses = network(images((64, 64), (64, 80)), TARGETS)
    assert set(losses) == {"loss_classifier", "loss_box"}
    sum(losses.values()).backward()
    assert all(value.grad is not None for value in network.parameters())


def test_predictions_are_sorted_and_lie_in_the_image():
    network = small_network(nms={"score_threshold": 0.0}).eval()
    with torch.inference_mode():
        first, second = network(images((64, 64), (64, 64)), proposals=[PROPOSALS, PROPOSALS[:2]])
    for prediction in (first, second):
        assert len(prediction["boxes"]) > 2
        assert prediction["scores"].diff().max() <= 0
        assert prediction["boxes"].max() <= 64
        assert set(prediction["labels"].tolist()) <= {0, 1, 2}


@pytest.mark.parametrize(("model", "options"), [("fast_rcnn", {}), ("faster_rcnn", {"variant": "single"})])
def test_fc6_and_fc7_are_initialized_with_those_of_the_classifier(tmp_path, model, options):
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
def test_invalid_options_are_refused(options):
    with pytest.raises(ConfigError, match=r"svd|min_bg_iou=0\.7"):
        small_network(**options)


def test_the_spec_builds_the_same_structure():
    network = small_network(svd=[4, 4], pooling="align")
    again = create_model(**{**network.spec, "backbone": create_backbone(**network.spec["backbone"])})
    again.load_state_dict(network.state_dict())
    with torch.inference_mode():
        predictions = [model.eval()(images((64, 64)), proposals=[PROPOSALS])[0] for model in (network, again)]
    torch.testing.assert_close(*predictions)
