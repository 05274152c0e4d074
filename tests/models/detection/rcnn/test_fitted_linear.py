import torch
from torch.nn import functional

from visionkit.models.detection.rcnn.fitted_linear import FittedLinear


def test_it_is_a_linear_layer_of_buffers_in_float32():
    layer, x = FittedLinear(3, 2), torch.randn(4, 3)
    weight, bias = torch.randn(2, 3), torch.randn(2)
    layer.fit(weight, bias)
    torch.testing.assert_close(layer(x), functional.linear(x, weight, bias))
    assert layer.to(torch.bfloat16)(x.bfloat16()).dtype == torch.float32
    assert not list(layer.parameters())
    assert set(layer.state_dict()) == {"weight", "bias", "fitted"}


def test_it_is_fitted_until_it_is_invalidated():
    layer = FittedLinear(3, 2)
    assert not layer.fitted
    layer.fit(torch.ones(2, 3), torch.ones(2))
    assert layer.fitted
    layer.invalidate()
    assert not layer.fitted


def test_an_average_with_an_unfitted_layer_is_not_fitted():
    """A moving average of 1 and 0 would be true as a bool."""
    layer = FittedLinear(3, 2)
    layer.fitted.copy_(torch.tensor(1.0).lerp(torch.tensor(0.0), 0.1))
    assert not layer.fitted
