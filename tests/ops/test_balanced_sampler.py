import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler

from visionkit.ops.balanced_sampler import BalancedSampler


@given(
    classes=st.lists(st.lists(st.integers(-1, 3), max_size=40), min_size=1, max_size=3),
    batch_size=st.integers(1, 16),
    fraction=st.floats(0, 1),
    seed=st.integers(0, 9),
)
def test_it_draws_as_torchvision_does(classes, batch_size, fraction, seed):
    classes = [torch.tensor(image_classes, dtype=torch.long) for image_classes in classes]
    torch.manual_seed(seed)
    ours = [BalancedSampler(batch_size, fraction)(image_classes) for image_classes in classes]
    torch.manual_seed(seed)
    torchvisions = zip(*BalancedPositiveNegativeSampler(batch_size, fraction)(classes), strict=True)
    for masks, expected_masks in zip(ours, torchvisions, strict=True):
        for mask, expected in zip(masks, expected_masks, strict=True):
            assert torch.equal(mask, expected.bool())


def test_ignored_boxes_are_never_drawn_and_negatives_fill_up():
    classes = torch.tensor([-1] * 50 + [1] * 2 + [0] * 50)
    positive, negative = BalancedSampler(20, 0.25)(classes)
    assert positive.sum() == 2
    assert negative.sum() == 18
    assert not (positive | negative)[:50].any()


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_a_share_of_nothing_or_all(fraction):
    positive, negative = BalancedSampler(4, fraction)(torch.tensor([1] * 9 + [0] * 9))
    assert (positive.sum().item(), negative.sum().item()) == ((4, 0) if fraction else (0, 4))
