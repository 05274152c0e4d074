from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler

from visionkit.ops.balanced_sampler import BalancedSampler


def drawn(classes, sample):
    """Return the indices of the positives and of the background that each image's sample has."""
    rows = [own[used].tolist() for own, used in zip(sample.indices, sample.used, strict=True)]
    return [
        ([index for index in own if image[index] > 0], [index for index in own if image[index] == 0])
        for own, image in zip(rows, classes, strict=True)
    ]


@given(
    classes=st.integers(1, 40).flatmap(
        lambda number: st.lists(st.lists(st.integers(-1, 3), min_size=number, max_size=number), min_size=1, max_size=3)
    ),
    batch_size=st.integers(1, 16),
    fraction=st.floats(0, 1),
)
def test_it_draws_as_many_as_torchvision_and_positives_come_first(classes, batch_size, fraction):
    classes = torch.tensor(classes)
    sample = BalancedSampler(batch_size, fraction)(classes)
    theirs = zip(*BalancedPositiveNegativeSampler(batch_size, fraction)(list(classes)), strict=True)
    for (positive, background), masks, own, used in zip(drawn(classes, sample), theirs, *sample[:2], strict=True):
        assert (len(positive), len(background)) == tuple(int(mask.sum()) for mask in masks)
        assert len({*positive, *background}) == used.sum() == len(positive) + len(background)
        assert own[used].tolist() == positive + background
        assert len(positive) <= sample.max_positives
        assert set(own.tolist()) == {*positive, *background} or not used.any()


def test_ignored_boxes_are_never_drawn_and_background_fills_up():
    classes = torch.tensor([[-1] * 50 + [1] * 2 + [0] * 50, [0] * 5 + [-1] * 97])
    sample = BalancedSampler(20, 0.25)(classes)
    (positive, background), (_, few) = drawn(classes, sample)
    assert (len(positive), len(background), sorted(few)) == (2, 18, [0, 1, 2, 3, 4])
    assert min(positive + background) >= 50


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_a_share_of_nothing_or_all(fraction):
    classes = torch.tensor([[1] * 9 + [0] * 9])
    ((positive, background),) = drawn(classes, BalancedSampler(4, fraction)(classes))
    assert (len(positive), len(background)) == ((4, 0) if fraction else (0, 4))


def test_all_samples_of_a_size_are_equally_likely():
    """Chi-square tests of the 10 pairs of 5 positives and of the 15 pairs of 6 background boxes, at 0.1 %."""
    classes = torch.tensor([1, 0, 2, 0, -1, 1, 0, 1, 0, 3, 0, 0, -1]).repeat(6000, 1)
    torch.manual_seed(0)
    samples = drawn(classes, BalancedSampler(4, 0.5)(classes))
    for group, (pairs, bound) in enumerate([(10, 27.88), (15, 36.12)]):  # 9 and 14 degrees of freedom
        counts = Counter(tuple(sorted(sample[group])) for sample in samples)
        expected = len(samples) / pairs
        assert len(counts) == pairs
        assert sum((count - expected) ** 2 / expected for count in counts.values()) < bound
