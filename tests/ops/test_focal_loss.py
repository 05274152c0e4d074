import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

from visionkit.errors import ConfigError
from visionkit.ops.focal_loss import FocalLossOptions, focal_loss


@settings(max_examples=40)
@given(
    seed=st.integers(0, 1000), scale=st.sampled_from([1.0, 10.0, 100.0]), gamma=st.sampled_from([0.0, 0.5, 1.5, 2.0])
)
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


@pytest.mark.parametrize("gamma", [0.0, 0.1, 0.5, 0.9, 1.0, 1.5, 2.0])
def test_gradients_of_saturated_logits_are_finite(gamma):
    logits = torch.tensor([[[-1e4, -200.0, -110.0, 0.0, 110.0, 200.0, 1e4]] * 8], requires_grad=True)
    focal_loss(logits, torch.arange(8)[None], 0.25, gamma).sum().backward()
    assert logits.grad.isfinite().all()
    assert logits.grad[0, 0, 5].item() == pytest.approx(0.75, rel=1e-5)  # background of logit 200: 0.75 x softplus'


@pytest.mark.parametrize("gamma", [0.1, 0.5, 0.9, 2.0])
def test_gradients_equal_finite_differences(gamma):
    logits = torch.linspace(-6, 6, 24, dtype=torch.float64).view(2, 4, 3).requires_grad_()
    classes = torch.tensor([[0, 1, -1, 3], [2, 0, 1, 0]])
    assert torch.autograd.gradcheck(lambda values: focal_loss(values, classes, 0.25, gamma), logits)
