import pytest
import torch
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList

from visionkit.models.detection.parts.default_boxes import DefaultBoxes

RATIOS, SCALES, STEPS = [[2], [2, 3]], [0.1, 0.3, 0.6], [8, 16]
MAPS = [torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 4, 4)]


@pytest.mark.parametrize("steps", [STEPS, None])
def test_boxes_equal_torchvision(steps):
    boxes, boxes_per_level = DefaultBoxes(RATIOS, SCALES, steps, 64).grid((64, 64), MAPS)
    reference = DefaultBoxGenerator(RATIOS, scales=SCALES, steps=steps)
    (expected,) = reference(ImageList(torch.zeros(1, 3, 64, 64), [(64, 64)]), MAPS)
    torch.testing.assert_close(boxes, expected)
    assert boxes_per_level == [8 * 8 * 4, 4 * 4 * 6]


def test_published_steps_are_for_the_published_size_only():
    published, even = DefaultBoxes(RATIOS, SCALES, [7, 16], 64), DefaultBoxes(RATIOS, SCALES)
    assert not torch.equal(published.grid((64, 64), MAPS)[0], even.grid((64, 64), MAPS)[0])
    assert torch.equal(published.grid((48, 80), MAPS)[0], even.grid((48, 80), MAPS)[0])


def test_shapes_are_shares_of_the_input():
    boxes = DefaultBoxes(RATIOS, SCALES, STEPS, 64)
    assert torch.equal(boxes.shapes(), boxes.shapes((64, 64)))
    torch.testing.assert_close(boxes.shapes((64, 128)), boxes.shapes() * torch.tensor([2.0, 1.0]))
    assert boxes.shapes()[0].tolist() == pytest.approx([6.4, 6.4])


@pytest.mark.parametrize("clip", [True, False])
def test_long_boxes_are_clipped_on_request(clip):
    ours = DefaultBoxes(RATIOS, [0.1, 0.9, 1.0], STEPS, 64)
    ours.clip = clip
    boxes, _ = ours.grid((64, 64), MAPS)
    reference = DefaultBoxGenerator(RATIOS, scales=[0.1, 0.9, 1.0], steps=STEPS, clip=clip)
    (expected,) = reference(ImageList(torch.zeros(1, 3, 64, 64), [(64, 64)]), MAPS)
    torch.testing.assert_close(boxes, expected)
    longest = (boxes[:, 2:] - boxes[:, :2]).max().item()
    assert longest == pytest.approx(64 if clip else 64 * 0.9 * 3**0.5, rel=1e-4)
    assert ours.shapes().max().item() == pytest.approx(longest, rel=1e-4)
