"""Calibration of pixels, against torchmetrics and against the calibration of single predictions."""

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torchmetrics.classification import MulticlassCalibrationError

from visionkit.errors import VisionkitError
from visionkit.metrics.pixel_calibration import PixelCalibration, pixel_bins
from visionkit.metrics.reliability import BINS, find_reliability
from visionkit.metrics.scored_masks import ScoredMasks
from visionkit.metrics.segmentation import SegmentationMetrics

CLASSES = 4


def pixels(seed, images=3, sharpness=2.0):
    """Probabilities [I, K, H, W] and true classes of pixels, a tenth of which is ignored."""
    generator = torch.Generator().manual_seed(seed)
    probabilities = (sharpness * torch.randn(images, CLASSES, 20, 30, generator=generator)).softmax(1)
    truth = torch.randint(CLASSES, (images, 20, 30), generator=generator, dtype=torch.uint8)
    return probabilities, truth.masked_fill(torch.rand(truth.shape, generator=generator) < 0.1, 255)


@pytest.mark.parametrize("seed", range(3))
def test_the_error_is_that_of_torchmetrics(seed):
    probabilities, truth = pixels(seed)
    theirs = MulticlassCalibrationError(CLASSES, n_bins=BINS, ignore_index=255)
    metric = SegmentationMetrics(list("abcd"), calibration=True)
    for part in (slice(0, 1), slice(1, 3)):
        theirs.update(probabilities[part], truth[part].long())
        confidences, labels = probabilities[part].max(1)
        metric.update(labels, truth[part], confidences)
    assert metric.compute().overall["calibration_error"] == pytest.approx(theirs.compute().item(), abs=1e-6)
    metric.reset()
    assert np.isnan(metric.compute().overall["calibration_error"])


def test_bins_are_those_of_single_predictions():
    probabilities, truth = pixels(0, sharpness=9.0)
    confidences, labels = probabilities.max(1)
    confidences[0, :2] = 1.0
    kept = truth != 255
    expected = find_reliability(confidences[kept].double().numpy(), (labels == truth)[kept].numpy())
    metric, rows = SegmentationMetrics(list("abcd"), calibration=True), {}
    for image_id in range(3):
        rows[image_id] = metric.update_image(labels[image_id], truth[image_id], confidences[image_id])
    found = ScoredMasks(rows, list("abcd")).analysis()["calibration"]
    assert found["error"] == pytest.approx(expected.error, abs=1e-9)
    assert [row["predictions"] for row in found["bins"]] == [row.predictions for row in expected.bins]
    for name in ("low", "high", "confidence", "accuracy"):
        assert [row[name] for row in found["bins"]] == pytest.approx([getattr(row, name) for row in expected.bins])


def test_a_probability_that_rounding_raises_above_1_is_counted():
    one = torch.ones(1, 1, dtype=torch.uint8)
    metric = PixelCalibration()
    metric.update(pixel_bins(torch.tensor([[1.0000002]]), one, one))
    metric.update(pixel_bins(torch.tensor([[0.0]]), one, one))
    assert metric.bins[0].sum() == 2
    assert metric.compute().item() == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_model_of_16_bits_keeps_the_sums(dtype):
    """Lightning casts the task with its metrics under `trainer.precision=16-true`: 100 correct images, 200 wrong ones.

    float16 ends at 65504, and sums of ones in bfloat16 end at 256.
    """
    truth, confidences = torch.zeros(20, 20, dtype=torch.uint8), torch.full((20, 20), 0.5)
    truth[:, 10:] = 1
    found = []
    for kind in (torch.float32, dtype):
        metric = SegmentationMetrics(["a", "b"], boundaries=True, calibration=True).to(kind)
        for number in range(300):
            metric.update(truth if number < 100 else torch.ones_like(truth), truth, confidences.to(kind))
        found.append(metric.compute().overall)
    assert found[0]["calibration_error"] == pytest.approx(1 / 6)
    assert found[0]["boundary_F1"] == pytest.approx(1 / 3)
    assert found[1] == found[0]


def test_a_confidence_that_is_no_number_counts_as_0():
    one = torch.ones(1, 2, dtype=torch.uint8)
    metric = PixelCalibration()
    metric.update(pixel_bins(torch.tensor([[torch.nan, 1.0]]), one, one))
    assert metric.compute().item() == 0.5


class OnGPU(TorchFunctionMode):
    """Refuse what a GPU refuses under `trainer.deterministic=true`: a count with weights."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.bincount and (len(args) > 1 or "weights" in (kwargs or {})):
            raise RuntimeError("_bincount_cuda does not have a deterministic implementation")
        return function(*args, **(kwargs or {}))


def test_a_gpu_allows_the_sums_in_deterministic_training():
    probabilities, truth = pixels(0)
    confidences, labels = probabilities.max(1)
    with OnGPU():
        found = pixel_bins(confidences, labels, truth)
        with pytest.raises(RuntimeError, match="deterministic"):
            torch.bincount(labels.flatten(), confidences.flatten())
    assert found[0].sum() == (truth != 255).sum()


def test_without_confidences_there_is_no_calibration():
    truth = torch.zeros(4, 4, dtype=torch.uint8)
    metric = SegmentationMetrics(["a", "b"])
    scored = ScoredMasks({7: metric.update_image(truth, truth)}, ["a", "b"])
    assert "calibration_error" not in metric.compute().overall
    assert scored.analysis() == {}
    with pytest.raises(VisionkitError, match="needs the confidences"):
        SegmentationMetrics(["a", "b"], calibration=True).update(truth, truth)
