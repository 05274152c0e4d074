import numpy as np
import pytest
import torch
from pycocotools import mask as rle
from torch.nn import functional

from tests.helpers.detectors import target
from visionkit.models.detection.parts import mask_head
from visionkit.models.detection.parts.batch import pad_targets
from visionkit.models.detection.parts.box_head import MultiLevelRoIAlign
from visionkit.models.detection.parts.mask_head import MaskHead, masks_in_regions
from visionkit.models.detection.parts.roi_heads import RoISample
from visionkit.ops import waiting
from visionkit.preprocessing.detection import DetectionPreprocessing
from visionkit.preprocessing.geometry import letterbox

BOXES = [[10, 10, 60, 70], [30, 40, 90, 100], [5, 80, 25, 95]]
SIZE = (100, 128)
WHOLE = torch.tensor([0.0, 0.0, 128.0, 100.0])
"""The whole image, xyxy."""


def ellipse(box, size):
    """Return an ellipse inside a box, uint8 of the given size."""
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    x1, y1, x2, y2 = box
    inside = ((columns - (x1 + x2) / 2) / (x2 - x1)) ** 2 + ((rows - (y1 + y2) / 2) / (y2 - y1)) ** 2
    return (inside < 0.25).astype(np.uint8)


def encoded(masks):
    return [rle.encode(np.asfortranarray(mask)) for mask in masks]


TARGET = target(BOXES, [0, 2, 1], masks=encoded([ellipse(box, SIZE) for box in BOXES]))


def test_objects_keep_their_masks_beside_a_crowd():
    """The masks of the other objects stay with their boxes."""
    crowd = torch.tensor([True, False, False])
    with_crowd = [{**TARGET, "crowd": crowd}]
    without = [target(BOXES[1:], [2, 1], masks=TARGET["masks"][1:])]
    head, maps = small_head(), {"s4": torch.randn(1, 8, 25, 32)}
    losses = []
    for targets in (with_crowd, without):
        objects = pad_targets(targets, 3)
        rows = objects.valid[0].nonzero().squeeze(1)
        sample = sample_of(objects.boxes[0, rows], objects.labels[0, rows] + 1, rows)
        losses.append(head.loss(maps, sample, objects, [SIZE]).item())
    assert losses[0] == losses[1]


def test_regions_of_a_resized_image_crop_the_stored_mask():
    """A region of the image at twice the size has the same mask."""
    boxes = torch.tensor(BOXES, dtype=torch.float32)
    same = masks_in_regions(TARGET["masks"], torch.arange(3), boxes, WHOLE, 14)
    doubled = masks_in_regions(TARGET["masks"], torch.arange(3), 2 * boxes, 2 * WHOLE, 14)
    torch.testing.assert_close(same, doubled)
    assert same[:, 7, 7].tolist() == [1, 1, 1]
    assert same[:, 0, 0].tolist() == [0, 0, 0]


def test_masks_of_a_letterboxed_image_are_the_same():
    """Padding around the image does not change the masks in regions."""
    geometry = letterbox(100, 128, 192, 192)
    assert geometry.top > 0
    (entered,) = DetectionPreprocessing.resize_targets([TARGET], [geometry])
    objects = pad_targets([entered], 3)
    plain = masks_in_regions(TARGET["masks"], torch.arange(3), TARGET["boxes"], WHOLE, 14)
    boxed = masks_in_regions(objects.masks[0], torch.arange(3), objects.boxes[0], objects.frames[0], 14)
    torch.testing.assert_close(plain, boxed, atol=1e-4, rtol=0)


@pytest.mark.parametrize("masks_at_once", [0, 1, 2, 3])
def test_masks_are_decoded_in_parts(monkeypatch, masks_at_once):
    """Several regions of an object in any order, and an object without any region."""
    objects = torch.tensor([4, 0, 2, 0, 4, 3, 2])
    boxes = torch.tensor([BOXES[0], *BOXES, [12.5, 3, 99, 78], [60, 60, 80, 90], [0, 0, 128, 100.0]])
    given = [ellipse(box, (50, 64)) for box in ([3, 5, 60, 40], [9, 9, 20, 20], *np.array(BOXES) / 2)]
    expected = [
        masks_in_regions([encoded([given[index]])[0]], torch.tensor([0]), box[None], WHOLE, 14)
        for index, box in zip(objects.tolist(), boxes, strict=True)
    ]
    decoded = []
    monkeypatch.setattr(mask_head, "MAX_DECODED_PIXELS", masks_at_once * 50 * 64)
    monkeypatch.setattr(np, "stack", lambda planes, stack=np.stack: decoded.append(len(planes)) or stack(planes))
    cropped = masks_in_regions(encoded(given), objects, boxes, WHOLE, 14)
    assert torch.equal(cropped, torch.cat(expected))
    assert (sum(decoded), max(decoded)) == (4, max(masks_at_once, 1))


@pytest.mark.parametrize("unread", [None, 100, 0])
@pytest.mark.parametrize("masks_at_once", [1, 2, 9])
def test_loss_of_several_images_is_the_mean_over_the_matched_regions(unread, masks_at_once, monkeypatch):
    """Also as computed for a GPU, where the number of matched regions is not known, with few and with many masks."""
    if unread is not None:
        monkeypatch.setattr(waiting, "HOSTS", frozenset())
        monkeypatch.setattr(mask_head, "MAX_UNREAD_MASKS", unread)
    monkeypatch.setattr(mask_head, "MAX_DECODED_PIXELS", masks_at_once * SIZE[0] * SIZE[1])
    head, maps = small_head(), {"s4": torch.randn(2, 8, 25, 32)}
    objects = pad_targets([TARGET, target()], 3)
    boxes = torch.tensor([BOXES[2], BOXES[0], [0, 0, 50, 50], [3, 3, 9, 9]]).float()
    regions, matched = boxes.repeat(2, 1, 1), torch.tensor([[2, 0, 0, 0], [0, 0, 0, 0]])
    classes = torch.tensor([[2, 1, 0, 0], [0, 0, 0, 0]])
    sample = RoISample(regions, torch.ones(2, 4, dtype=torch.bool), classes, matched, regions, 3)
    with torch.no_grad():
        loss = head.loss(maps, sample, objects, [SIZE, SIZE])
        logits = head(maps, [regions[0, :2], regions[1, :0]])
    wanted = masks_in_regions(TARGET["masks"], torch.tensor([2, 0]), regions[0, :2], WHOLE, 28)
    expected = functional.binary_cross_entropy_with_logits(torch.stack([logits[0, 2], logits[1, 1]]), wanted)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def small_head(num_classes=3):
    torch.manual_seed(0)
    return MaskHead(MultiLevelRoIAlign({"s4": 4}, 14), 8, 16, num_classes)


def sample_of(regions, classes, matched):
    """Return a sample of one image."""
    used = torch.ones(1, len(regions), dtype=torch.bool)
    return RoISample(regions[None], used, classes[None], matched[None], regions[None], len(regions))


def test_each_detection_gets_the_mask_of_its_class():
    head, maps = small_head(), {"s4": torch.randn(2, 8, 25, 32)}
    boxes, labels = [torch.tensor(BOXES[:2]).float(), torch.zeros(0, 4)], [torch.tensor([2, 0]), torch.zeros(0).long()]
    with torch.no_grad():
        first, second = head.probabilities(maps, boxes, labels)
        logits = head(maps, boxes)
    assert second.shape == (0, 28, 28)
    torch.testing.assert_close(first, torch.stack([logits[0, 3], logits[1, 1]]).sigmoid())


def test_loss_is_that_of_the_class_of_each_matched_region():
    head, maps = small_head(), {"s4": torch.randn(1, 8, 25, 32)}
    objects = pad_targets([TARGET], 3)
    regions = torch.cat([objects.boxes[0, :1], torch.tensor([[90.0, 0, 120, 30]])])
    sample = sample_of(regions, torch.tensor([1, 0]), torch.tensor([0, 0]))
    with torch.no_grad():
        loss = head.loss(maps, sample, objects, [SIZE])
        probability = head(maps, [regions])[0, 1].sigmoid()
    mask = masks_in_regions(objects.masks[0], torch.tensor([0]), regions[:1], WHOLE, 28)[0]
    expected = -(mask * probability.log() + (1 - mask) * (1 - probability).log()).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


def test_loss_without_matched_regions_is_zero_with_gradients():
    head = small_head()
    sample = sample_of(torch.tensor([[0.0, 0, 9, 9]]), torch.tensor([0]), torch.tensor([0]))
    loss = head.loss({"s4": torch.randn(1, 8, 25, 32)}, sample, pad_targets([target()], 3), [SIZE])
    loss.backward()
    assert loss.item() == 0
    assert all(parameter.grad is not None for parameter in head.parameters())
