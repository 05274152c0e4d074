import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from visionkit.errors import ConfigError
from visionkit.tasks import MixingOptions
from visionkit.tasks.mixing import make_mixing

CLASSES = 5
BOTH = MixingOptions(mixup_alpha=0.2, cutmix_alpha=1.0)
KINDS = [MixingOptions(mixup_alpha=0.2), MixingOptions(cutmix_alpha=1.0), BOTH]


def one_color_each(count, side=8):
    """Return images whose value is their index in the batch."""
    return torch.arange(count).float().view(-1, 1, 1, 1).expand(-1, 3, side, side).contiguous()


@given(st.integers(1, 5), st.sampled_from(KINDS), st.integers(0, 99))
def test_shares_say_how_much_of_each_image_is_seen(count, options, seed):
    torch.manual_seed(seed)
    images, labels = one_color_each(count), torch.arange(count)
    mixed, shares = make_mixing(options, CLASSES)(images, labels)
    assert mixed.shape == images.shape
    assert shares.shape == (count, CLASSES)
    assert shares.sum(dim=1).tolist() == pytest.approx([1.0] * count)
    for image, share in zip(mixed, shares, strict=True):
        assert image.mean().item() == pytest.approx((share @ torch.arange(CLASSES).float()).item(), abs=1e-4)


@pytest.mark.parametrize("options", KINDS)
def test_a_batch_of_one_keeps_its_image_and_class(options):
    image = torch.rand(1, 3, 6, 7)
    mixed, shares = make_mixing(options, CLASSES)(image, torch.tensor([3]))
    torch.testing.assert_close(mixed, image)
    torch.testing.assert_close(shares, torch.eye(CLASSES)[3:4])


def test_several_classes_a_image_are_mixed_too():
    torch.manual_seed(0)
    tags = torch.tensor([[1.0, 1, 0, 0, 0], [0, 0, 0, 0, 1]])
    _, shares = make_mixing(KINDS[0], CLASSES)(one_color_each(2), tags)
    assert shares.sum(dim=0).tolist() == pytest.approx([1.0, 1, 0, 0, 1])


def test_with_both_each_batch_draws_one_of_them():
    torch.manual_seed(0)
    mix = make_mixing(BOTH, CLASSES)
    pasted = [mix(one_color_each(2), torch.tensor([0, 1]))[0][0].unique().tolist() for _ in range(40)]
    assert any(len(values) == 2 for values in pasted), "cutmix keeps whole pixels of both images"
    assert any(0 < values[0] < 1 for values in pasted), "mixup blends all pixels"


def test_the_memory_layout_stays():
    images = torch.rand(4, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    for options in KINDS[:2]:
        mixed, _ = make_mixing(options, CLASSES)(images, torch.arange(4))
        assert mixed.is_contiguous(memory_format=torch.channels_last)


def test_off_is_nothing_and_impossible_alphas_are_refused():
    assert make_mixing(MixingOptions(), CLASSES) is None
    for alpha in (-0.1, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match=r"alpha=.* must be"):
            MixingOptions(mixup_alpha=alpha)
