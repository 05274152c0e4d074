import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.metrics.cases import flat
from visionkit.metrics.segmentation import SegmentationMetrics, boundary_f1

NAMES = ["ground", "disk", "ring", "never"]


def masks(seed, images=3, side=12):
    """Predicted and true classes; the last class never occurs, some pixels are void."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randint(3, (images, side, side), generator=generator, dtype=torch.uint8)
    wrong = torch.rand(truth.shape, generator=generator) < 0.4
    said = torch.where(wrong, torch.randint(4, truth.shape, generator=generator, dtype=torch.uint8), truth)
    return said, truth.masked_fill(torch.rand(truth.shape, generator=generator) < 0.1, 255)


def plainly(said, truth):
    """The metrics, counted pixel by pixel."""
    counts = [[0] * 4 for _ in range(4)]
    for own, true in zip(said.flatten().tolist(), truth.flatten().tolist(), strict=True):
        if true != 255:
            counts[true][own] += 1
    there = [sum(row) for row in counts]
    columns = [sum(row[label] for row in counts) for label in range(4)]
    present = [label for label in range(4) if there[label]]
    iou = {k: counts[k][k] / (there[k] + columns[k] - counts[k][k]) for k in present}
    return {
        "mIoU": sum(iou.values()) / len(present),
        "pixel_accuracy": sum(counts[k][k] for k in present) / sum(there),
        "mean_accuracy": sum(counts[k][k] / there[k] for k in present) / len(present),
        "fwIoU": sum(iou[k] * there[k] for k in present) / sum(there),
        "mean_dice": sum(2 * counts[k][k] / (there[k] + columns[k]) for k in present) / len(present),
        **{f"IoU/{NAMES[k]}": iou[k] for k in present},
    }


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000))
def test_metrics_equal_slow_counts(seed):
    said, truth = masks(seed)
    metrics = SegmentationMetrics(NAMES)
    for own, true in zip(said, truth, strict=True):
        metrics.update(own, true)
    computed = metrics.compute()
    for name, value in plainly(said, truth).items():
        assert flat(computed)[name] == pytest.approx(value, rel=1e-9), name
    for figure in ("IoU", "accuracy", "dice"):
        assert math.isnan(computed.per_class[figure]["never"]), "predicted, but not there"


def test_the_matrix_is_that_of_the_set_and_no_mean_over_images():
    metrics = SegmentationMetrics(["a", "b"])
    metrics.update(torch.tensor([[0, 0, 0, 0]]), torch.tensor([[0, 0, 0, 1]]))
    metrics.update(torch.tensor([[1, 1]]), torch.tensor([[1, 1]]))
    # class a: 3 of 4 pixels, class b: 2 of 3; the mean over the images would be ((.75 + 0) / 2 + 1) / 2
    assert metrics.compute().overall["mIoU"] == pytest.approx((3 / 4 + 2 / 3) / 2)
    metrics.reset()
    assert math.isnan(metrics.compute().overall["mIoU"])


def test_nothing_but_void_is_no_number():
    metrics = SegmentationMetrics(NAMES, boundaries=True)
    metrics.update(torch.zeros(4, 4, dtype=torch.uint8), torch.full((4, 4), 255, dtype=torch.uint8))
    assert all(math.isnan(value) for value in metrics.compute().overall.values())


def square(top, left, side=20, size=100):
    mask = np.zeros((size, size), bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_boundaries_are_met_within_three_quarters_of_a_percent_of_the_diagonal():
    """An image of 100 x 100 has a diagonal of 141 pixels: boundaries may be 1.06 pixels apart."""
    valid = np.ones((100, 100), bool)
    assert boundary_f1(square(40, 40), square(40, 40), valid) == 1
    assert boundary_f1(square(40, 40), square(41, 40), valid) == 1
    moved = boundary_f1(square(40, 40), square(43, 40), valid)
    assert 0.4 < moved < 0.8
    assert boundary_f1(square(0, 0), square(60, 60), valid) == 0
    assert boundary_f1(np.zeros_like(valid), square(60, 60), valid) == 0
    assert boundary_f1(valid, valid, valid) == 1


def test_boundaries_against_void_are_none():
    there, valid = square(40, 40), np.ones((100, 100), bool)
    valid[:, 60:] = False
    said = there.copy()
    said[:, 60:] = True
    assert boundary_f1(said, there, valid) == 1


def test_boundary_f1_equals_a_plain_count():
    random = np.random.default_rng(3)
    said, there = (np.kron(random.random((8, 8)) < 0.5, np.ones((5, 5))).astype(bool) for _ in range(2))
    valid = np.ones_like(said)

    def edge(mask):
        found = []
        for row, column in np.argwhere(mask):
            near = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
            inside = [(r, c) for r, c in near if 0 <= r < 40 and 0 <= c < 40]
            if any(not mask[place] for place in inside):
                found.append((row, column))
        return np.array(found)

    edges = edge(said), edge(there)
    distances = np.linalg.norm(edges[0][:, None] - edges[1][None], axis=-1)
    reach = 0.0075 * math.hypot(40, 40)
    precision, recall = (distances.min(1) <= reach).mean(), (distances.min(0) <= reach).mean()
    expected = 2 * precision * recall / (precision + recall)
    assert boundary_f1(said, there, valid) == pytest.approx(expected)


def test_boundary_f1_by_class_is_the_mean_over_the_images_that_have_it():
    metrics = SegmentationMetrics(["ground", "square"], boundaries=True)
    there = torch.from_numpy(square(40, 40)).to(torch.uint8)
    metrics.update(there, there)
    metrics.update(torch.zeros_like(there), there)
    metrics.update(there * 0, there * 0)
    computed = metrics.compute()
    assert computed.per_class["boundary_F1"]["square"] == pytest.approx(0.5)
    assert computed.per_class["boundary_F1"]["ground"] == pytest.approx((1 + 0 + 1) / 3)
