import numpy as np
import pytest
import torch
from pycocotools import mask as rle

from tests.helpers.detectors import SMALL, images, target
from tests.helpers.options import merge_options
from tests.helpers.torchvision_detectors import THEIR_NAMES, assert_learns_alike, torchvision_reference, with_background
from visionkit.backbones import create_backbone
from visionkit.errors import ConfigError, DataError
from visionkit.models import create_model
from visionkit.models.detection.mask_rcnn import PUBLISHED, MaskRCNN
from visionkit.models.detection.parts.roi_heads import RoIOptions
from visionkit.models.detection.parts.rpn import RPNOptions
from visionkit.models.load_model import load_strict
from visionkit.ops.nms import NMSOptions

TWO = images((100, 128), (90, 70))
BOXES = [[[10, 10, 60, 70], [30, 40, 90, 100], [5, 80, 25, 95]], [[20, 5, 69, 60]]]
LABELS = [[0, 2, 1], [1]]


def ellipse(box, size):
    """Return an ellipse inside a box, uint8 of the given size."""
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    x1, y1, x2, y2 = box
    inside = ((columns - (x1 + x2) / 2) / (x2 - x1)) ** 2 + ((rows - (y1 + y2) / 2) / (y2 - y1)) ** 2
    return (inside < 0.25).astype(np.uint8)


def planes(number):
    return [ellipse(box, TWO[number].shape[-2:]) for box in BOXES[number]]


def encoded(masks):
    return [rle.encode(np.asfortranarray(mask)) for mask in masks]


TARGETS = [target(BOXES[number], LABELS[number], masks=encoded(planes(number))) for number in range(2)]


def small_mask_network(num_classes=3, **options):
    torch.manual_seed(0)
    backbone = create_backbone("resnet18", weights="none")
    return create_model("mask_rcnn", backbone, num_classes, mask_channels=16, **merge_options(SMALL, options))


@pytest.fixture
def pair():
    """Return torchvision's model and ours with the same weights, few RoIs and few detections."""
    reference = torchvision_reference(
        num_classes=3,
        masks=True,
        box_batch_size_per_image=16,
        rpn_post_nms_top_n_test=200,
        box_detections_per_img=20,
    )
    ours = MaskRCNN(
        create_backbone("resnet50", weights="none"),
        3,
        rpn=RPNOptions(post_nms_top_n_test=200),
        roi=RoIOptions(batch_size_per_image=16),
        nms=NMSOptions(max_detections=20, score_threshold=0.05),
    )
    load_strict(ours, PUBLISHED.translate(reference.state_dict()), "torchvision")
    return reference, ours


def test_losses_and_their_gradients_equal_torchvision(pair):
    theirs = [
        {**own, "masks": torch.from_numpy(np.stack(planes(number)))}
        for number, own in enumerate(with_background(TARGETS))
    ]
    names = {**THEIR_NAMES, "loss_mask": "loss_mask"}
    assert_learns_alike(*pair, PUBLISHED, names, TWO, TARGETS, theirs)


def test_predictions_equal_torchvision(pair):
    reference, ours = (network.eval() for network in pair)
    reference.roi_heads.mask_predictor.mask_fcn_logits.weight.data *= 20
    ours.mask_head.predictor.mask_fcn_logits.weight.data.copy_(
        reference.roi_heads.mask_predictor.mask_fcn_logits.weight
    )
    raw = {}
    reference.roi_heads.mask_predictor.register_forward_hook(lambda _, __, logits: raw.update(logits=logits.sigmoid()))
    with torch.no_grad():
        expected, predictions = reference(TWO), ours(TWO)
    labels = torch.cat([prediction["labels"] for prediction in expected])
    masks = raw["logits"][torch.arange(len(labels)), labels]
    own = torch.cat([prediction["mask_probabilities"] for prediction in predictions])
    assert own.shape == masks.shape
    assert own.std() > 0.05
    torch.testing.assert_close(own, masks, atol=1e-3, rtol=0)


def test_published_number_of_parameters():
    network = MaskRCNN(create_backbone("resnet50", weights="none"), 90)
    batch_norm = 53_120  # scale and shift of ResNet-50's layers, which torchvision freezes and does not count
    assert sum(parameter.numel() for parameter in network.parameters()) == 44_401_393 + batch_norm


def test_images_without_objects_give_finite_losses_and_zero_gradients():
    network = small_mask_network().train()
    losses = network(TWO, [target(masks=[]), target(masks=[])])
    assert losses["loss_mask"].item() == 0
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in network.mask_head.parameters())


def test_objects_without_masks_are_refused():
    with pytest.raises(DataError, match="no masks, which mask_rcnn needs"):
        small_mask_network().train()(TWO, [target(BOXES[0], LABELS[0]), target()])


def test_it_has_no_other_form():
    backbone = create_backbone("resnet18", weights="none")
    with pytest.raises(ConfigError, match="mask_rcnn has no option 'variant'"):
        create_model("mask_rcnn", backbone, 3, variant="single")


def test_the_spec_builds_the_same_structure():
    network = small_mask_network(nms={"iou": 0.4})
    spec = network.spec
    assert (spec["name"], spec["mask_channels"], spec["nms"]["iou"]) == ("mask_rcnn", 16, 0.4)
    options = {key: value for key, value in spec.items() if key not in ("name", "backbone")}
    again = create_model(spec["name"], network.backbone, **options)
    assert again.spec == network.spec
