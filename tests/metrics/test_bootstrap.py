"""Bootstrap: counts, intervals, and how many of them hold the true value."""

import math

import numpy as np
import pytest

from visionkit.metrics.bootstrap import ResampledMetrics, draw_counts, interval, mean_of_defined


def test_counts_are_repeatable_and_add_up_to_the_number_of_images():
    counts = draw_counts(7, resamples=50, seed=3)
    assert counts.shape == (7, 50)
    assert (counts.sum(axis=0) == 7).all()
    np.testing.assert_array_equal(counts, draw_counts(7, resamples=50, seed=3))
    assert not np.array_equal(counts, draw_counts(7, resamples=50, seed=4))


def test_the_interval_of_a_mean_is_that_of_students_t():
    values = np.random.default_rng(0).normal(0.5, 0.05, 15)
    counts = draw_counts(15, resamples=40_000)
    low, high = interval(values @ counts / 15, values.mean(), 15)
    half = 2.1448 * values.std(ddof=1) / math.sqrt(15)
    assert (values.mean() - low, high - values.mean()) == pytest.approx((half, half), rel=0.06)


def test_an_interval_is_around_the_measured_value_and_within_0_and_1():
    resampled = np.random.default_rng(0).normal(0.95, 0.05, 1000)
    low, high = interval(resampled, 0.97, 100)
    assert low == pytest.approx(0.97 - 0.1, abs=0.01)
    assert high == 1


@pytest.mark.parametrize("measured", [math.nan, 0.5])
def test_a_metric_that_resamples_rarely_have_gets_no_interval(measured):
    resampled = np.full(100, 0.5)
    assert interval(resampled, 0.5, 10) is not None
    resampled[:11] = math.nan
    assert interval(resampled, measured, 10) is None


def test_intervals_of_all_metrics():
    values = np.concatenate([[0.5], np.linspace(0.4, 0.6, 101)])
    nothing = np.full(102, math.nan)
    metrics = ResampledMetrics({"AP": values, "APs": nothing}, {"AP": {"cat": values, "dog": nothing}})
    found = metrics.with_prefix("head/").intervals(1000)
    assert list(found.overall) == ["head/AP"]
    assert list(found.per_class["head/AP"]) == ["cat"]
    assert found.overall["head/AP"].low == pytest.approx(0.405, abs=0.001)


def test_means_leave_out_what_is_not_defined():
    values = np.array([[1.0, math.nan, math.nan], [3.0, 4.0, math.nan]])
    np.testing.assert_array_equal(mean_of_defined(values), [2, 4, math.nan])
