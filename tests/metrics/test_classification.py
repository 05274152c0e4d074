"""Metrics of classifiers against plain loops over the images."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.metric_cases import flat
from visionkit.metrics.classification import CALIBRATION_BINS, MultiLabelMetrics, SingleLabelMetrics

NAMES = ["ant", "bee", "cat", "dog", "elk", "fox", "gnu"]


def probabilities(count, classes, seed):
    return torch.randn(count, classes, generator=torch.Generator().manual_seed(seed)).softmax(dim=1)


def metrics_of(kind, classes, scores, targets, batch=7):
    """The metric fed in batches, the last of them smaller."""
    metric = kind(NAMES[:classes])
    for start in range(0, len(scores), batch):
        metric.update(scores[start : start + batch], targets[start : start + batch])
    return metric


def rank_of_truth(scores, label):
    return sum(other > scores[label] for other in scores)


def calibration_error(scores, labels):
    """Guo 2017, equation 3, bin by bin."""
    error = 0.0
    for lower in range(CALIBRATION_BINS):
        inside = [
            (max(row), row.index(max(row)) == label)
            for row, label in zip(scores, labels, strict=True)
            if lower < max(row) * CALIBRATION_BINS <= lower + 1
        ]
        if inside:
            confidence, accuracy = (sum(column) / len(inside) for column in zip(*inside, strict=True))
            error += abs(confidence - accuracy) * len(inside) / len(labels)
    return error


@settings(max_examples=25)
@given(st.integers(2, 7), st.integers(1, 40), st.integers(0, 999))
def test_single_label_metrics_equal_a_plain_count(classes, count, seed):
    scores = probabilities(count, classes, seed)
    labels = torch.randint(0, max(classes - 1, 1), (count,), generator=torch.Generator().manual_seed(seed))
    metric = metrics_of(SingleLabelMetrics, classes, scores, labels)
    metrics, rows, truth = metric.compute(), scores.double().tolist(), labels.tolist()
    ranks = [rank_of_truth(row, label) for row, label in zip(rows, truth, strict=True)]
    assert metrics.overall["top1"] == pytest.approx(np.mean([rank == 0 for rank in ranks]))
    assert ("top5" in metrics.overall) == (classes > 5)
    if classes > 5:
        assert metrics.overall["top5"] == pytest.approx(np.mean([rank < 5 for rank in ranks]))
    recalls = [
        np.mean([rank == 0 for rank, label in zip(ranks, truth, strict=True) if label == k]) for k in sorted(set(truth))
    ]
    assert metrics.overall["mean_recall"] == pytest.approx(np.mean(recalls))
    assert metrics.overall["calibration_error"] == pytest.approx(calibration_error(rows, truth), abs=1e-5)


def test_confidence_1_belongs_to_the_last_of_15_bins():
    """Of the last bin, one image is right with confidence 1 and one is wrong with 0.95: |1.95 - 1| / 2."""
    scores = torch.tensor([[1.0, 0.0], [0.95, 0.05]])
    results = metrics_of(SingleLabelMetrics, 2, scores, torch.tensor([0, 1])).compute()
    assert results.overall["calibration_error"] == pytest.approx(0.475)
    assert results.overall["calibration_error"] == pytest.approx(calibration_error(scores.tolist(), [0, 1]))


@settings(max_examples=20)
@given(st.integers(2, 7), st.integers(0, 999))
def test_confusion_matrix_and_metrics_per_class(classes, seed):
    scores = probabilities(30, classes, seed)
    labels = torch.randint(0, classes, (30,), generator=torch.Generator().manual_seed(seed + 1))
    metric = metrics_of(SingleLabelMetrics, classes, scores, labels)
    expected = np.zeros((classes, classes), int)
    for label, predicted in zip(labels.tolist(), scores.argmax(dim=1).tolist(), strict=True):
        expected[label, predicted] += 1
    assert metric.compute().extras["confusion"] == expected.tolist()
    metrics = metric.compute()
    for k, name in enumerate(NAMES[:classes]):
        assert metrics.per_class["images"][name] == expected[k].sum()
        for metric_name, out_of in (("recall", expected[k].sum()), ("precision", expected[:, k].sum())):
            value = expected[k, k] / out_of if out_of else math.nan
            assert metrics.per_class[metric_name][name] == pytest.approx(value, nan_ok=True)


def average_precision(scores, held):
    """Return the sum of precision times the step in recall, by score; equal scores are taken together."""
    total, previous = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        above = [truth for score, truth in zip(scores, held, strict=True) if score >= threshold]
        recall = sum(above) / sum(held)
        total += (recall - previous) * sum(above) / len(above)
        previous = recall
    return total


@pytest.mark.filterwarnings("ignore:No positive samples")
@settings(max_examples=12)
@given(st.integers(1, 5), st.integers(2, 25), st.integers(0, 999))
def test_multi_label_metrics_equal_a_plain_count(classes, count, seed):
    dice = torch.Generator().manual_seed(seed)
    scores = (torch.rand(count, classes, generator=dice) * 10).round() / 10  # some are equal
    held = (torch.rand(count, classes, generator=dice) < 0.4).float()
    held[:, 0] = 0  # a class that does not occur
    held[0, 1:] = 1
    metrics = metrics_of(MultiLabelMetrics, classes, scores, held).compute()
    occurring = range(1, classes)
    expected = {k: average_precision(scores[:, k].tolist(), held[:, k].tolist()) for k in occurring}
    for k in occurring:
        assert metrics.per_class["AP"][NAMES[k]] == pytest.approx(expected[k], abs=1e-5)
        predicted, true = scores[:, k] > 0.5, held[:, k] == 1
        f1 = 2 * (predicted & true).sum() / (predicted.sum() + true.sum())
        assert metrics.per_class["F1"][NAMES[k]] == pytest.approx(f1.item(), abs=1e-6)
    assert math.isnan(metrics.per_class["AP"]["ant"])
    assert math.isnan(metrics.per_class["F1"]["ant"])
    mean = np.mean(list(expected.values())) if expected else math.nan
    assert metrics.overall["mAP"] == pytest.approx(mean, abs=1e-5, nan_ok=True)
    mean = np.mean([metrics.per_class["F1"][NAMES[k]] for k in occurring]) if expected else math.nan
    assert metrics.overall["F1"] == pytest.approx(mean, abs=1e-5, nan_ok=True)


@pytest.mark.parametrize("kind", [SingleLabelMetrics, MultiLabelMetrics])
def test_reset_removes_all_images_and_batch_sizes_do_not_matter(kind):
    scores = probabilities(20, 7, 0)
    labels = torch.arange(20) % 7
    targets = labels if kind is SingleLabelMetrics else torch.eye(7)[labels]
    metric = metrics_of(kind, 7, scores, targets, batch=20)
    whole = metric.compute()
    assert flat(whole) == pytest.approx(flat(metrics_of(kind, 7, scores, targets, batch=3).compute()), nan_ok=True)
    metric.reset()
    metric.update(scores[:7], targets[:7])
    assert flat(metric.compute()) == pytest.approx(
        flat(metrics_of(kind, 7, scores[:7], targets[:7]).compute()), nan_ok=True
    )
    assert set(metric.selectable) <= set(whole.overall)
    assert metric.main_metric in metric.selectable
    assert not metric.state_dict(), "metrics are not saved in checkpoints"


def test_multi_label_metrics_of_no_images_are_not_defined():
    results = MultiLabelMetrics(["cat", "dog"]).compute()
    assert all(map(math.isnan, results.overall.values()))
