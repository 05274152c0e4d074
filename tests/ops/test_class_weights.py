import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from visionkit.errors import ConfigError
from visionkit.ops.class_weights import class_weights

counts = st.lists(st.integers(0, 10**9), min_size=1, max_size=8)


@given(counts, st.sampled_from(["balanced", "median_frequency"]))
def test_weights_are_finite_and_only_absent_classes_weigh_nothing(counts, kind):
    assume(any(counts))
    weights = class_weights(torch.tensor(counts), kind)
    assert weights.dtype == torch.float32
    assert weights.isfinite().all()
    assert (weights > 0).tolist() == [count > 0 for count in counts]


@given(st.lists(st.integers(1, 20), min_size=1, max_size=5))
def test_balanced_gives_every_class_the_same_share_and_the_images_mean_one(counts):
    shares = class_weights(torch.tensor(counts), "balanced") * torch.tensor(counts)
    assert shares.tolist() == pytest.approx([sum(counts) / len(counts)] * len(counts))


def test_an_absent_class_leaves_the_others_as_they_are():
    for kind in ("balanced", "median_frequency"):
        with_absent = class_weights(torch.tensor([3, 0, 9, 6]), kind)
        without = class_weights(torch.tensor([3, 9, 6]), kind)
        assert with_absent[[0, 2, 3]].tolist() == without.tolist()


def test_median_frequency_gives_the_median_class_weight_one():
    assert class_weights(torch.tensor([10, 20, 40]), "median_frequency").tolist() == [2.0, 1.0, 0.5]


def test_median_frequency_counts_only_images_that_have_the_class():
    """Two images of 100 pixels, the second without class 1: freq = 150/200, 50/100 (Eigen & Fergus 2015)."""
    weights = class_weights(torch.tensor([150, 50]), "median_frequency", out_of=torch.tensor([200, 100]))
    assert weights.tolist() == pytest.approx([0.625 / 0.75, 0.625 / 0.5])


def test_none_and_a_list_are_taken_as_they_are():
    assert class_weights(torch.tensor([1, 2]), "none") is None
    assert class_weights(torch.tensor([1, 2]), [0.5, 0]).tolist() == [0.5, 0.0]


@pytest.mark.parametrize("given", [[1.0], [1.0, -1.0], [1.0, float("nan")], [1.0, float("inf")], []])
def test_a_list_must_be_one_finite_number_a_class(given):
    with pytest.raises(ConfigError, match="needs 2 numbers of at least 0"):
        class_weights(torch.tensor([1, 2]), given)


def test_unknown_kinds_and_sets_without_images_are_refused():
    with pytest.raises(ConfigError, match="did you mean balanced"):
        class_weights(torch.tensor([1, 2]), "balance")
    with pytest.raises(ConfigError, match="there is none"):
        class_weights(torch.tensor([0, 0]), "balanced")
