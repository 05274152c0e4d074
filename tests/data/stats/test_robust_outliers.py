import numpy as np
import pytest

from visionkit.data.stats.robust_outliers import MIN_MEMBERS, robust_scores


def test_normal_values_have_the_scores_of_a_normal_distribution():
    values = np.random.default_rng(0).normal(5, 2, 20_000)
    scores = robust_scores(values, np.zeros(len(values), np.int64), 0.1)
    assert scores == pytest.approx((values - 5) / 2, abs=0.2)


def test_an_outlier_does_not_hide_itself():
    values = np.append(np.linspace(0, 1, 50), 1e6)
    assert robust_scores(values, np.zeros(51, np.int64), 0.1)[-1] > 1e5


def test_each_class_has_its_own_middle_if_it_is_large_enough():
    labels = np.repeat([0, 1, 2], [MIN_MEMBERS * 2, MIN_MEMBERS, MIN_MEMBERS - 1])
    values = np.where(labels == 1, 100.0, 0.0)
    scores = robust_scores(values, labels, 0.5)
    assert not scores[labels < 2].any()
    assert not scores[labels == 2].any()  # the middle of all values is that of the largest class
    assert robust_scores(np.where(labels == 2, 9.0, values), labels, 0.5)[-1] == 18


def test_the_spread_has_a_lower_bound():
    values = np.append(np.zeros(40), 1.0)
    assert robust_scores(values, np.zeros(41, np.int64), 0.25)[-1] == 4
