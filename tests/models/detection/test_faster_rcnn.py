import inspect
import math

import pytest
import torch
from torchvision.models.detection import FasterRCNN as TorchvisionFasterRCNN
from torchvision.ops import box_iou

from tests.helpers.detectors import images, small_network, target
from tests.helpers.torchvision_detectors import THEIR_NAMES, assert_learns_alike, torchvision_reference
from visionkit.backbones import create_backbone
from visionkit.errors import ConfigError
from visionkit.models import create_model
from visionkit.models.detection.faster_rcnn import PUBLISHED, FasterRCNN
from visionkit.models.detection.parts.roi_heads import RoIOptions
from visionkit.models.detection.parts.rpn import RPNOptions
from visionkit.models.load_model import load_strict

LOSSES = list(THEIR_NAMES)
VARIANTS = ["fpn", "single", "c4"]

TWO = images((100, 128), (90, 70))
TWO_TARGETS = [
    target([[10, 10, 60, 70], [30, 40, 90, 100], [5, 80, 25, 95]], [0, 2, 1]),
    target([[20, 5, 69, 60]], [1]),
]


@pytest.fixture
def pair():
    """Return torchvision's model and ours with the same weights and few RoIs."""
    reference = torchvision_reference(num_classes=3, box_batch_size_per_image=64, rpn_post_nms_top_n_test=200)
    ours = FasterRCNN(
        create_backbone("resnet50", weights="none"),
        3,
        rpn=RPNOptions(post_nms_top_n_test=200),
        roi=RoIOptions(batch_size_per_image=64),
    )
    load_strict(ours, PUBLISHED.translate(reference.state_dict()), "torchvision")
    return reference, ours


def test_losses_and_their_gradients_equal_torchvision(pair):
    assert_learns_alike(*pair, PUBLISHED, THEIR_NAMES, TWO, TWO_TARGETS)


def test_predictions_equal_torchvision(pair):
    reference, ours = (network.double().eval() for network in pair)
    inputs = [image.double() for image in TWO]
    with torch.no_grad():
        expected, predictions = reference(inputs), ours(inputs)
    for theirs, own in zip(expected, predictions, strict=True):
        assert len(own["boxes"]) > 10
        assert len(set(own["labels"].tolist())) > 1
        torch.testing.assert_close(own["boxes"], theirs["boxes"], atol=1e-4, rtol=1e-6)
        torch.testing.assert_close(own["scores"], theirs["scores"], atol=1e-6, rtol=1e-6)
        assert own["labels"].tolist() == (theirs["labels"] - 1).tolist()


def test_published_defaults_are_torchvisions():
    reference = inspect.signature(TorchvisionFasterRCNN).parameters
    assert RoIOptions().batch_size_per_image == reference["box_batch_size_per_image"].default
    assert RPNOptions().post_nms_top_n_test == reference["rpn_post_nms_top_n_test"].default
    anchors = FasterRCNN(create_backbone("resnet50", weights="none"), 1).rpn.anchors
    assert anchors.sizes == ((32,), (64,), (128,), (256,), (512,))
    assert anchors.aspect_ratios == ((0.5, 1.0, 2.0),) * 5


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_parameter_gets_a_gradient(variant):
    network = small_network(variant).train()
    losses = network(TWO, TWO_TARGETS)
    sum(losses.values()).backward()
    assert list(losses) == LOSSES
    assert [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None] == []


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    "targets",
    [
        [target(), target()],
        [target([[0, 0, 128, 128]], [1], crowd=torch.tensor([True]))] * 2,  # no background is left either
    ],
)
def test_images_without_objects_give_finite_losses_and_all_gradients(variant, targets):
    network = small_network(variant).train()
    losses = network(TWO, targets)
    sum(losses.values()).backward()
    assert all(math.isfinite(value.item()) for value in losses.values())
    assert losses["loss_rpn_box"].item() == losses["loss_box"].item() == 0
    gradients = [parameter.grad for parameter in network.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("variant", VARIANTS)
def test_predictions_lie_in_their_image_and_fall_in_score(variant):
    network = small_network(variant, nms={"score_threshold": 0.0}).eval()
    with torch.no_grad():
        predictions = network(TWO)
    for image, prediction in zip(TWO, predictions, strict=True):
        height, width = image.shape[1:]
        boxes = prediction["boxes"]
        assert len(boxes) > 0
        assert (boxes >= 0).all()
        assert (boxes <= torch.tensor([width, height, width, height])).all()
        assert (prediction["scores"].diff() <= 0).all()
        assert prediction["labels"].dtype == torch.int64
        assert set(prediction["labels"].tolist()) <= {0, 1, 2}


@pytest.mark.parametrize("variant", VARIANTS)
def test_spec_builds_the_same_structure(variant):
    network = small_network(variant, anchors={"aspect_ratios": (1.0, 2.0)}, nms={"max_detections": 7})
    spec = network.spec
    assert (spec["name"], spec["variant"], spec["anchors"]["aspect_ratios"], spec["nms"]["max_detections"]) == (
        "faster_rcnn",
        variant,
        [1.0, 2.0],
        7,
    )
    again = create_model(**{**spec, "backbone": create_backbone(**spec["backbone"])})
    assert again.spec == spec
    again.load_state_dict(network.state_dict())
    with torch.no_grad():
        predictions, expected = again.eval()(TWO), network.eval()(TWO)
    assert all(torch.equal(own["boxes"], same["boxes"]) for own, same in zip(predictions, expected, strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"anchors": {"sizes": [[32], [64]]}}, "5 levels"),
        ({"anchors": {"sizes": [[32], [64], [128], [256], [512, 600]]}}, "same number"),
        ({"rpn": {"bg_iou": 0.8}}, r"bg_iou=0\.8, fg_iou=0\.7 must satisfy"),
        ({"variant": "fpm"}, "did you mean fpn"),
        ({"num_classes": 0}, "num_classes=0"),
    ],
)
def test_contradicting_options_raise(options, message):
    backbone = create_backbone("resnet18", weights="none")
    with pytest.raises(ConfigError, match=message):
        create_model("faster_rcnn", backbone, **{"num_classes": 3, **options})


def test_vgg_on_one_map_has_the_papers_heads():
    network = FasterRCNN(create_backbone("vgg16", weights="none"), 20, variant="single")
    assert network.roi_heads.box_head.fc6.weight.shape == (4096, 512 * 7 * 7)
    assert network.roi_heads.box_head.dropout.p == 0.5
    assert network.rpn.head.cls_logits.out_channels == 9
    assert sorted(network.anchor_shapes().prod(dim=1).sqrt().round().unique().tolist())[0] == pytest.approx(128, abs=1)


def test_anchor_shapes_are_in_pixels_of_the_input():
    shapes = small_network().anchor_shapes()
    assert shapes.shape == (15, 2)
    assert [32.0, 32.0] in shapes.tolist()
    assert [512.0, 512.0] in shapes.tolist()


OVERFIT = {
    "fpn": {"anchors": {"sizes": [[16], [32], [64], [96], [128]]}},
    "single": {"anchors": {"sizes": [[32, 64]]}, "head_channels": 256, "head_dropout": 0.0},
    "c4": {"anchors": {"sizes": [[32, 64]]}},
}


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_one_image_is_overfitted(variant):
    network = small_network(variant, **OVERFIT[variant])
    image = images((96, 96))[0] * 0.1
    image[0, 10:50, 10:50] += 2
    image[2, 50:90, 40:90] -= 2
    truth = target([[10, 10, 50, 50], [40, 50, 90, 90]], [2, 0])
    optimizer = torch.optim.Adam(network.parameters(), 1e-4)
    network.train()
    for _ in range(100):
        optimizer.zero_grad()
        sum(network([image, image], [truth, truth]).values()).backward()
        optimizer.step()
    with torch.no_grad():
        (prediction,) = network.eval()([image])
    best = torch.stack([prediction["boxes"][prediction["labels"] == label][0] for label in (2, 0)])
    assert box_iou(best, truth["boxes"]).diag().min() > 0.7
