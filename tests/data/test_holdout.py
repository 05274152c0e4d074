import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from visionkit.data.holdout import stratified_holdout
from visionkit.errors import ConfigError

labels = some.lists(some.integers(-1, 5), min_size=2, max_size=60).map(
    lambda found: np.array([*found, found[0]], np.int64)
)
fractions = some.floats(0.01, 0.99)


@given(labels, fractions, some.integers(0, 2**32))
def test_every_image_is_on_one_side_and_every_class_on_both(labels, fraction, seed):
    kept, held_out = stratified_holdout(labels, fraction, seed)
    assert sorted([*kept, *held_out]) == list(range(len(labels)))
    assert kept.dtype == held_out.dtype == np.int64
    assert (np.diff(kept) > 0).all()
    assert (np.diff(held_out) > 0).all()
    for label in np.unique(labels):
        total, out = (labels == label).sum(), (labels[held_out] == label).sum()
        assert out == 0 if total == 1 else 1 <= out <= total - 1
        assert abs(out - total * fraction) <= 1


@given(labels, fractions, some.integers(0, 2**32))
def test_the_same_seed_holds_out_the_same(labels, fraction, seed):
    first, second = (stratified_holdout(labels, fraction, seed) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_another_seed_holds_out_others_and_no_place_in_the_order_is_favored():
    labels = np.repeat(np.arange(4), 50)
    out = [stratified_holdout(labels, 0.2, seed)[1] for seed in range(200)]
    times = np.bincount(np.concatenate(out), minlength=200)
    assert times.sum() == 200 * 40
    assert 15 < times.min() < times.max() < 68, "40 each, give or take four and a half standard deviations"


def test_images_without_a_class_are_split_at_random():
    kept, held_out = stratified_holdout(np.full(100, -1), 0.25, 0)
    assert (len(kept), len(held_out)) == (75, 25)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_a_share_that_leaves_one_side_empty_is_refused(fraction):
    with pytest.raises(ConfigError, match=r"holdout\.fraction"):
        stratified_holdout(np.zeros(9, np.int64), fraction, 0)


@pytest.mark.parametrize("labels", [[], [0], [0, 1, 2]], ids=str)
def test_nothing_to_hold_out_is_refused(labels):
    with pytest.raises(ConfigError, match="none can be held out"):
        stratified_holdout(np.array(labels, np.int64), 0.5, 0)
