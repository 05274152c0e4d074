import copy

import pytest
import torch
from torch import nn

from tests.helpers.detectors import images, target
from tests.helpers.torchvision_detectors import assert_learns_alike, assert_same_detections, torchvision_retinanet
from visionkit.backbones import create_backbone
from visionkit.errors import ConfigError
from visionkit.models.detection.parts.anchors import AnchorOptions
from visionkit.models.detection.retinanet import PUBLISHED, RetinaNet
from visionkit.models.load_model import load_strict
from visionkit.ops.focal_loss import FocalLossOptions
from visionkit.ops.nms import NMSOptions

CLASSES = 3
TWO = images((100, 128), (90, 70))
TWO_TARGETS = [
    target([[10, 10, 60, 70], [30, 40, 90, 100], [5, 80, 25, 95]], [0, 2, 1]),
    target([[20, 5, 69, 60]], [1]),
]


@pytest.fixture(scope="module")
def pair():
    reference = torchvision_retinanet(CLASSES)
    ours = RetinaNet(
        create_backbone("resnet18", weights="none"), CLASSES, nms=NMSOptions(max_detections=300, score_threshold=0.05)
    )
    load_strict(ours, PUBLISHED.translate(reference.state_dict()), "torchvision")
    return reference, ours


def test_losses_and_their_gradients_equal_torchvision(pair):
    names = {"loss_classifier": "classification", "loss_box": "bbox_regression"}
    assert_learns_alike(*pair, PUBLISHED, names, TWO, TWO_TARGETS)


def test_predictions_equal_torchvision(pair):
    reference, ours = (network.eval() for network in pair)
    with torch.no_grad():
        expected, predictions = reference(TWO), ours(TWO)
    for theirs, prediction in zip(expected, predictions, strict=True):
        assert_same_detections(prediction, theirs)


def test_default_anchors_are_torchvisions(pair):
    reference, ours = pair
    assert ours.anchors.sizes == reference.anchor_generator.sizes
    assert ours.anchors.aspect_ratios == reference.anchor_generator.aspect_ratios


def test_number_of_parameters_is_torchvisions():
    """34,014,999 with the 91 columns of COCO's file, without BatchNorm's affine, which is frozen there."""
    network = RetinaNet(create_backbone("resnet50", weights="none"), 91)
    norms = [p for m in network.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters()]
    total = sum(p.numel() for p in network.parameters()) - sum(p.numel() for p in norms)
    assert total == 34_014_999


def test_torchvisions_file_of_either_age_loads(pair, tmp_path):
    reference, _ = pair
    state = {key: value for key, value in reference.state_dict().items() if "num_batches_tracked" not in key}
    old = dict(state)
    for kind in ("weight", "bias"):
        for head in ("classification_head", "regression_head"):
            for index in range(4):
                old[f"head.{head}.conv.{2 * index}.{kind}"] = old.pop(f"head.{head}.conv.{index}.0.{kind}")
        for level in range(3):
            for block in ("inner", "layer"):
                key = f"backbone.fpn.{block}_blocks.{level}"
                old[f"{key}.{kind}"] = old.pop(f"{key}.0.{kind}")
    states = []
    for name, content in (("new", state), ("old", old)):
        torch.save(content, tmp_path / f"{name}.pth")
        network = RetinaNet(create_backbone("resnet18", weights="none"), CLASSES, weights=str(tmp_path / f"{name}.pth"))
        states.append(network.state_dict())
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    ours = RetinaNet(create_backbone("resnet18", weights="none"), 7, weights=str(tmp_path / "old.pth"))
    assert ours.head.classification_head.cls_logits.out_channels == 7 * 9
    assert torch.equal(ours.head.regression_head.bbox_reg.weight, reference.head.regression_head.bbox_reg.weight)


def test_initial_scores_are_the_prior_probability():
    network = RetinaNet(create_backbone("resnet18", weights="none"), 2, fpn_channels=16, prior_probability=0.02).eval()
    with torch.no_grad():
        _, output = network._anchor_output(images((64, 64)))
    assert network.scores(output).mean().item() == pytest.approx(0.02, rel=0.3)


def test_p6_starts_from_c5_or_p5():
    backbone = create_backbone("resnet18", weights="none")
    on_c5 = RetinaNet(backbone, 2, fpn_channels=512, p6_from="c5").neck.extra_blocks
    on_p5 = RetinaNet(copy.deepcopy(backbone), 2, fpn_channels=16).neck.extra_blocks
    assert (on_c5.use_P5, on_c5.p6.in_channels) == (False, 512)
    assert (on_p5.use_P5, on_p5.p6.in_channels) == (True, 16)


def test_invalid_options_are_refused():
    with pytest.raises(ConfigError, match="must satisfy"):
        RetinaNet(create_backbone("resnet18", weights="none"), 2, fg_iou=0.3, bg_iou=0.4)
    with pytest.raises(ConfigError, match=r"prior_probability=0\.0"):
        RetinaNet(create_backbone("resnet18", weights="none"), 2, prior_probability=0.0)
    with pytest.raises(ConfigError, match=r"2 levels .*this model has 5 levels"):
        RetinaNet(create_backbone("resnet18", weights="none"), 2, anchors=AnchorOptions(((8,), (16,))))
    with pytest.raises(ConfigError, match="stride 8 to 32; resnet18 has s4"):
        RetinaNet(create_backbone("resnet18", weights="none", out_stages=["s4"]), 2)
    with pytest.raises(ConfigError, match="soft_linear"):
        NMSOptions(kind="soft_linea")


def test_options_of_the_focal_loss_are_used():
    losses_by_gamma = {}
    for gamma in (0.0, 2.0):
        torch.manual_seed(0)
        backbone = create_backbone("resnet18", weights="none")
        network = RetinaNet(backbone, 2, fpn_channels=16, focal_loss=FocalLossOptions(gamma=gamma))
        with torch.no_grad():
            losses = network(images((64, 64)), [target([[5, 5, 40, 40]], [1])])
        losses_by_gamma[gamma] = losses["loss_classifier"].item()
    assert losses_by_gamma[0.0] > 1.2 * losses_by_gamma[2.0]
