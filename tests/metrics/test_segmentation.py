import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.metric_cases import flat
from visionkit.metrics.segmentation import SegmentationMetrics

NAMES = ["ground", "disk", "ring", "never"]


def masks(seed, images=3, side=12):
    """Predicted and true classes; the last class never occurs, some pixels are ignored."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randint(3, (images, side, side), generator=generator, dtype=torch.uint8)
    wrong = torch.rand(truth.shape, generator=generator) < 0.4
    labels = torch.where(wrong, torch.randint(4, truth.shape, generator=generator, dtype=torch.uint8), truth)
    return labels, truth.masked_fill(torch.rand(truth.shape, generator=generator) < 0.1, 255)


def counted_by_pixel(labels, truth):
    """The metrics, counted pixel by pixel."""
    counts = [[0] * 4 for _ in range(4)]
    for predicted, true in zip(labels.flatten().tolist(), truth.flatten().tolist(), strict=True):
        if true != 255:
            counts[true][predicted] += 1
    true_pixels = [sum(row) for row in counts]
    columns = [sum(row[label] for row in counts) for label in range(4)]
    present = [label for label in range(4) if true_pixels[label]]
    iou = {k: counts[k][k] / (true_pixels[k] + columns[k] - counts[k][k]) for k in present}
    return {
        "mIoU": sum(iou.values()) / len(present),
        "pixel_accuracy": sum(counts[k][k] for k in present) / sum(true_pixels),
        "mean_accuracy": sum(counts[k][k] / true_pixels[k] for k in present) / len(present),
        "fwIoU": sum(iou[k] * true_pixels[k] for k in present) / sum(true_pixels),
        "mean_dice": sum(2 * counts[k][k] / (true_pixels[k] + columns[k]) for k in present) / len(present),
        **{f"IoU/{NAMES[k]}": iou[k] for k in present},
    }


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000))
def test_metrics_equal_counts_by_pixel(seed):
    labels, truth = masks(seed)
    metrics = SegmentationMetrics(NAMES)
    for predicted, true in zip(labels, truth, strict=True):
        metrics.update(predicted, true)
    computed = metrics.compute()
    for name, value in counted_by_pixel(labels, truth).items():
        assert flat(computed)[name] == pytest.approx(value, rel=1e-9), name
    for name in ("IoU", "accuracy", "dice"):
        assert math.isnan(computed.per_class[name]["never"]), "predicted, but in no image"


def test_metrics_are_computed_from_all_pixels_and_not_as_means_over_images():
    metrics = SegmentationMetrics(["a", "b"])
    metrics.update(torch.tensor([[0, 0, 0, 0]]), torch.tensor([[0, 0, 0, 1]]))
    metrics.update(torch.tensor([[1, 1]]), torch.tensor([[1, 1]]))
    # class a: 3 of 4 pixels, class b: 2 of 3; the mean over the images would be ((0.75 + 0) / 2 + 1) / 2
    assert metrics.compute().overall["mIoU"] == pytest.approx((3 / 4 + 2 / 3) / 2)
    metrics.reset()
    assert math.isnan(metrics.compute().overall["mIoU"])


def test_metrics_of_ignored_pixels_alone_are_nan():
    metrics = SegmentationMetrics(NAMES, boundaries=True)
    metrics.update(torch.zeros(4, 4, dtype=torch.uint8), torch.full((4, 4), 255, dtype=torch.uint8))
    assert all(math.isnan(value) for value in metrics.compute().overall.values())


def test_boundary_f1_is_part_of_the_results_where_it_is_asked_for():
    truth = torch.zeros(100, 100, dtype=torch.uint8)
    truth[40:60, 40:60] = 1
    metrics = SegmentationMetrics(["ground", "square"], boundaries=True)
    metrics.update(truth, truth)
    metrics.update(torch.zeros_like(truth), truth)
    results = metrics.compute()
    assert results.per_class["boundary_F1"]["square"] == pytest.approx(0.5)
    assert results.overall["boundary_F1"] == pytest.approx(0.5)
    assert metrics.selectable[-1] == "boundary_F1"
