"""Boundary F1 on squares, and against a plain count."""

import math

import numpy as np
import pytest
import torch

from visionkit.metrics.boundary_f1 import BoundaryF1, boundary_f1, image_boundary_f1


def square(top, left, side=20, size=100):
    mask = np.zeros((size, size), bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_boundaries_match_within_three_quarters_of_a_percent_of_the_diagonal():
    """An image of 100 x 100 has a diagonal of 141 pixels: boundary pixels match up to a distance of 1.06."""
    valid = np.ones((100, 100), bool)
    assert boundary_f1(square(40, 40), square(40, 40), valid) == 1
    assert boundary_f1(square(40, 40), square(41, 40), valid) == 1
    moved = boundary_f1(square(40, 40), square(43, 40), valid)
    assert 0.4 < moved < 0.8
    assert boundary_f1(square(0, 0), square(60, 60), valid) == 0
    assert boundary_f1(np.zeros_like(valid), square(60, 60), valid) == 0
    assert boundary_f1(valid, valid, valid) == 1


def test_a_border_with_ignored_pixels_is_not_a_boundary():
    true, valid = square(40, 40), np.ones((100, 100), bool)
    valid[:, 60:] = False
    predicted = true.copy()
    predicted[:, 60:] = True
    assert boundary_f1(predicted, true, valid) == 1


def test_boundary_f1_equals_a_plain_count():
    random = np.random.default_rng(3)
    predicted, true = (np.kron(random.random((8, 8)) < 0.5, np.ones((5, 5))).astype(bool) for _ in range(2))
    valid = np.ones_like(predicted)

    def boundary(mask):
        pixels = []
        for row, column in np.argwhere(mask):
            near = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
            inside = [(r, c) for r, c in near if 0 <= r < 40 and 0 <= c < 40]
            if any(not mask[place] for place in inside):
                pixels.append((row, column))
        return np.array(pixels)

    boundaries = boundary(predicted), boundary(true)
    distances = np.linalg.norm(boundaries[0][:, None] - boundaries[1][None], axis=-1)
    tolerance = 0.0075 * math.hypot(40, 40)
    precision, recall = (distances.min(1) <= tolerance).mean(), (distances.min(0) <= tolerance).mean()
    expected = 2 * precision * recall / (precision + recall)
    assert boundary_f1(predicted, true, valid) == pytest.approx(expected)


def test_the_class_mean_is_over_the_images_that_contain_the_class():
    metric = BoundaryF1(num_classes=3)
    truth = torch.from_numpy(square(40, 40)).to(torch.uint8)
    for predicted, true in ((truth, truth), (truth * 0, truth), (truth * 0, truth * 0)):
        metric.update(image_boundary_f1(predicted, true, num_classes=3))
    assert metric.compute().tolist() == pytest.approx([(1 + 0 + 1) / 3, 0.5, math.nan], nan_ok=True)
