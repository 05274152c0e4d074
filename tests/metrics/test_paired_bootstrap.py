"""Differences of two models: known ones, chance, and how often chance is called a difference."""

import math

import numpy as np
import pytest
import torch

from visionkit.errors import DataError
from visionkit.metrics.paired_bootstrap import compare_scored, find_difference
from visionkit.metrics.scored_labels import ScoredMultiLabels, ScoredSingleLabels

IMAGES = 200


def scored(correct):
    """A classifier of two classes that is right where `correct` [I] is true."""
    labels = np.arange(len(correct)) % 2
    predicted = torch.tensor(np.where(correct, labels, 1 - labels))
    probabilities = torch.nn.functional.one_hot(predicted, 2).double() * 0.8 + 0.1
    return ScoredSingleLabels(dict(enumerate(zip(probabilities, torch.tensor(labels), strict=True))), ["a", "b"])


def test_a_model_that_is_right_more_often_is_better():
    random = np.random.default_rng(0)
    first = random.random(IMAGES) < 0.6
    second = first | (random.random(IMAGES) < 0.4)
    found = compare_scored(scored(first), scored(second))
    top1 = found.overall["top1"]
    assert top1.difference == pytest.approx(second.mean() - first.mean())
    assert top1.is_significant
    assert 0 < top1.interval.low < top1.difference < top1.interval.high
    assert top1.images_needed is None
    assert found.per_class["recall"]["a"].is_significant
    np.testing.assert_array_equal(found.image_scores, [first, second])


def test_the_images_that_would_show_a_difference():
    first, second = np.ones(IMAGES, bool), np.ones(IMAGES, bool)
    first[:6] = False
    second[6:10] = False
    top1 = compare_scored(scored(first), scored(second), resamples=4000).overall["top1"]
    assert not top1.is_significant
    deviation = np.std(second.astype(float) - first)
    assert top1.images_needed == pytest.approx((2.8 * deviation / 0.01) ** 2, rel=0.05)


def test_equal_models_have_no_difference():
    top1 = compare_scored(scored(np.ones(IMAGES, bool)), scored(np.ones(IMAGES, bool))).overall["top1"]
    assert (top1.difference, top1.p, top1.images_needed) == (0, 1, None)


def test_a_metric_that_one_model_does_not_have_is_left_out():
    assert find_difference(np.full(11, math.nan), np.full(11, 0.5), 10) is None


@pytest.mark.parametrize("seed", range(20))
def test_a_difference_of_few_images_is_significant_where_its_interval_leaves_out_0(seed):
    random = np.random.default_rng(seed)
    half = random.normal(0, 1, 4)
    gains = random.uniform(0.2, 1.0) + np.concatenate([half, -half])
    resampled = random.choice(gains, (4000, 8)).mean(axis=1)
    found = find_difference(np.zeros(4001), np.append(gains.mean(), resampled), images=8)
    if found.p < 0.04:
        assert found.interval.low > 0 or found.interval.high < 0
    if found.p > 0.06:
        assert found.interval.low < 0 < found.interval.high
        assert found.images_needed > 8


def test_no_difference_of_five_images_is_more_than_chance():
    assert not compare_scored(scored(np.zeros(5, bool)), scored(np.ones(5, bool))).overall["top1"].is_significant
    assert compare_scored(scored(np.zeros(6, bool)), scored(np.ones(6, bool))).overall["top1"].is_significant


def test_a_rounding_error_is_not_a_difference_that_more_images_would_show():
    resampled = np.random.default_rng(0).normal(0, 0.1, 1000)
    found = find_difference(np.zeros(1001), np.append(1e-16, resampled), images=100)
    assert found.images_needed is None


def test_one_and_several_classes_per_image_are_not_compared():
    several = ScoredMultiLabels(
        {0: (torch.ones(2), torch.ones(2)), 1: (torch.ones(2), torch.ones(2))}, ["a", "b"], [0, 0]
    )
    with pytest.raises(DataError, match="one kind"):
        compare_scored(scored(np.ones(2, bool)), several)


@pytest.mark.parametrize("count", [IMAGES - 1, 1])
def test_other_images_or_a_single_one_are_refused(count):
    with pytest.raises(DataError, match="images"):
        compare_scored(scored(np.ones(count, bool)), scored(np.ones(1 if count == 1 else IMAGES, bool)))


@pytest.mark.slow
def test_chance_is_called_a_difference_in_five_percent_of_the_cases():
    random = np.random.default_rng(1)
    pairs = [(random.random(IMAGES) < 0.7, random.random(IMAGES) < 0.7) for _ in range(600)]
    found = [compare_scored(scored(one), scored(other), resamples=400).overall["top1"] for one, other in pairs]
    assert np.mean([difference.is_significant for difference in found]) == pytest.approx(0.05, abs=0.02)
