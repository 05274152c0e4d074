import sys

import numpy as np
import torch
from pycocotools import mask as rle
from torchvision.models.detection.roi_heads import paste_masks_in_image

from visionkit.preprocessing.paste_masks import paste_masks


def test_a_mask_fills_its_box_and_stays_in_the_image():
    boxes = torch.tensor([[10.0, 20, 40, 60], [-8, -8, 12, 12], [50, 5, 50.5, 5.5]])
    found = [rle.decode(code) for code in paste_masks(torch.ones(3, 28, 28), boxes, (70, 90))]
    assert all(mask.shape == (70, 90) for mask in found)
    inside = np.zeros((70, 90), bool)
    inside[20:60, 10:40] = True
    wrong = found[0].astype(bool) ^ inside
    assert wrong.sum() <= 2 * (30 + 40)  # the border, where probabilities fall to 0 outside
    assert found[1][:11, :11].all()
    assert not found[1][14:, 14:].any()
    assert found[2].sum() <= 4


def test_many_masks_are_pasted_in_parts(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.rand(7, 14, 14, generator=generator)
    corners = torch.rand(7, 2, generator=generator) * 30
    boxes = torch.cat([corners, corners + 5 + torch.rand(7, 2, generator=generator) * 30], dim=1)
    monkeypatch.setattr(sys.modules[paste_masks.__module__], "MAX_PIXELS", 2 * 50 * 60)
    found = np.stack([rle.decode(code) for code in paste_masks(probabilities, boxes, (50, 60))])
    expected = paste_masks_in_image(probabilities[:, None], boxes, (50, 60))[:, 0] >= 0.5
    assert np.array_equal(found.astype(bool), expected.numpy())


def test_no_mask_is_no_mask():
    assert list(paste_masks(torch.zeros(0, 28, 28), torch.zeros(0, 4), (50, 60))) == []
