import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

from visionkit.errors import ConfigError
from visionkit.ops.focal_loss import FocalLossOptions, focal_loss


@settings(max_examples=40)
@given(seed=st.integers(0, 1000), scale=st.sampled_from([1.0, 10.0, 100.0]), gamma=st.sampled_from([0.0, 1.5, 2.0]))
def test_equals_torchvisions_on_one_hot_targets(seed, scale, gamma):
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(2, 9, 4, generator=generator)
    classes = torch.randint(-1, 5, (2, 9), generator=generator)
    one_hot = functional.one_hot(classes.clamp(min=0), 5)[..., 1:].float()
    expected = sigmoid_focal_loss(logits, one_hot, 0.25, gamma).sum(-1)[classes >= 0].sum()
    losses = focal_loss(logits, classes, 0.25, gamma)
    assert losses.shape == (2,)
    assert losses.sum().item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(("name", "value"), [("alpha", 1.5), ("alpha", -0.1), ("gamma", -1.0)])
def test_options_out_of_range_are_refused(name, value):
    with pytest.raises(ConfigError, match=f"{name}={value}"):
        FocalLossOptions(**{name: value})
