import numpy as np
import pytest
import torch
from pycocotools import mask as rle

from tests.helpers.options import merge_options
from tests.models.detection.networks import (
    SMALL,
    THEIR_NAMES,
    assert_learns_alike,
    images,
    target,
    torchvision_reference,
    with_background,
)
from visionkit.backbones import create_backbone
from visionkit.errors import DataError
from visionkit.models import create_model
from visionkit.models.detection.mask_rcnn import PUBLISHED, MaskRCNN
from visionkit.models.detection.parts import mask_head
from visionkit.models.detection.parts.batch import split_targets
from visionkit.models.detection.parts.mask_head import masks_in_regions
from visionkit.models.load_model import load_strict
from visionkit.preprocessing.detection import DetectionPreprocessing
from visionkit.preprocessing.geometry import letterbox

TWO = images((100, 128), (90, 70))
BOXES = [[[10, 10, 60, 70], [30, 40, 90, 100], [5, 80, 25, 95]], [[20, 5, 69, 60]]]
LABELS = [[0, 2, 1], [1]]


def ellipse(box, size):
    """An ellipse inside a box, uint8 of the given size."""
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    x1, y1, x2, y2 = box
    inside = ((columns - (x1 + x2) / 2) / (x2 - x1)) ** 2 + ((rows - (y1 + y2) / 2) / (y2 - y1)) ** 2
    return (inside < 0.25).astype(np.uint8)


def planes(number):
    return [ellipse(box, TWO[number].shape[-2:]) for box in BOXES[number]]


def encoded(masks):
    return [rle.encode(np.asfortranarray(mask)) for mask in masks]


TARGETS = [target(BOXES[number], LABELS[number], masks=encoded(planes(number))) for number in range(2)]


WHOLE = torch.tensor([0.0, 0.0, 128.0, 100.0])
"""The first image, xyxy."""


def small_mask_network(num_classes=3, **options):
    torch.manual_seed(0)
    backbone = create_backbone("resnet18", weights="none")
    return create_model("mask_rcnn", backbone, num_classes, mask_channels=16, **merge_options(SMALL, options))


@pytest.fixture
def pair():
    """torchvision's network and ours with its values."""
    reference = torchvision_reference(num_classes=3, masks=True)
    ours = MaskRCNN(create_backbone("resnet50", weights="none"), 3)
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
    labels = torch.cat([found["labels"] for found in expected])
    masks = raw["logits"][torch.arange(len(labels)), labels]
    own = torch.cat([found["mask_probabilities"] for found in predictions])
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


def test_crowds_teach_no_mask():
    """The masks of what is no crowd stay with their boxes."""
    crowd = torch.tensor([True, False, False])
    with_crowd = [{**TARGETS[0], "crowd": crowd}]
    without = [target(BOXES[0][1:], LABELS[0][1:], masks=TARGETS[0]["masks"][1:])]
    boxes = torch.tensor(BOXES[0][1:], dtype=torch.float32)
    shown = []
    for targets in (with_crowd, without):
        (objects,) = split_targets(targets, 3)
        shown.append(masks_in_regions(objects.masks, torch.arange(2), boxes, WHOLE, 28))
    torch.testing.assert_close(*shown)


def test_regions_of_a_resized_image_show_the_stored_mask():
    """A region of the image at twice the size sees what the region of the stored one sees."""
    boxes = torch.tensor(BOXES[0], dtype=torch.float32)
    same = masks_in_regions(TARGETS[0]["masks"], torch.arange(3), boxes, WHOLE, 14)
    doubled = masks_in_regions(TARGETS[0]["masks"], torch.arange(3), 2 * boxes, 2 * WHOLE, 14)
    torch.testing.assert_close(same, doubled)
    assert same[:, 7, 7].tolist() == [1, 1, 1]
    assert same[:, 0, 0].tolist() == [0, 0, 0]


def test_masks_follow_their_image_into_a_letterbox():
    """The loss of regions on the objects asks for the same pixels, whatever lies around the image."""
    target = TARGETS[0]
    geometry = letterbox(100, 128, 192, 192)
    assert geometry.top > 0
    (entered,) = DetectionPreprocessing.resize_targets([target], [geometry])
    (objects,) = split_targets([entered], 3)
    plain = masks_in_regions(target["masks"], torch.arange(3), target["boxes"], WHOLE, 14)
    boxed = masks_in_regions(objects.masks, torch.arange(3), objects.boxes, objects.frame, 14)
    torch.testing.assert_close(plain, boxed, atol=1e-4, rtol=0)


@pytest.mark.parametrize("masks_at_once", [0, 1, 2, 3])
def test_masks_are_decoded_a_part_at_a_time(monkeypatch, masks_at_once):
    """Several regions of an object in any order, and an object without any; each reads its own mask."""
    objects = torch.tensor([4, 0, 2, 0, 4, 3, 2])
    boxes = torch.tensor([BOXES[0][0], *BOXES[0], [12.5, 3, 99, 78], [60, 60, 80, 90], [0, 0, 128, 100.0]])
    given = [ellipse(box, (50, 64)) for box in ([3, 5, 60, 40], [9, 9, 20, 20], *np.array(BOXES[0]) / 2)]
    expected = [
        masks_in_regions([encoded([given[index]])[0]], torch.tensor([0]), box[None], WHOLE, 14)
        for index, box in zip(objects.tolist(), boxes, strict=True)
    ]
    decoded = []
    monkeypatch.setattr(mask_head, "MAX_DECODED_PIXELS", masks_at_once * 50 * 64)
    monkeypatch.setattr(np, "stack", lambda planes, stack=np.stack: decoded.append(len(planes)) or stack(planes))
    found = masks_in_regions(encoded(given), objects, boxes, WHOLE, 14)
    assert torch.equal(found, torch.cat(expected))
    assert (sum(decoded), max(decoded)) == (4, max(masks_at_once, 1))


def test_objects_without_masks_are_refused():
    with pytest.raises(DataError, match="no masks, which mask_rcnn needs"):
        small_mask_network().train()(TWO, [target(BOXES[0], LABELS[0]), target()])


def test_it_has_no_other_form():
    backbone = create_backbone("resnet18", weights="none")
    with pytest.raises(TypeError, match="form"):
        create_model("mask_rcnn", backbone, 3, form="single")


def test_the_spec_builds_the_same_structure():
    network = small_mask_network(nms={"iou": 0.4})
    spec = network.spec
    assert (spec["name"], spec["mask_channels"], spec["nms"]["iou"]) == ("mask_rcnn", 16, 0.4)
    options = {key: value for key, value in spec.items() if key not in ("name", "backbone")}
    again = create_model(spec["name"], network.backbone, **options)
    assert again.spec == network.spec
