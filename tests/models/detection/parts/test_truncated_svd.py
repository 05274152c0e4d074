import pytest
import torch
from torch import nn

from visionkit.errors import ConfigError
from visionkit.models.detection.parts.box_head import TwoLayerHead
from visionkit.models.detection.parts.truncated_svd import TruncatedHead, truncated_svd


def test_the_product_is_the_best_approximation_of_its_rank():
    weight = torch.randn(12, 30)
    outer, inner = truncated_svd(weight, 5)
    assert outer.shape == (12, 5)
    u, s, v = torch.linalg.svd(weight)
    torch.testing.assert_close(outer @ inner, u[:, :5] * s[:5] @ v[:5], atol=1e-4, rtol=1e-4)


def head_of_rank_3():
    """Return a head from 18 inputs to 8 and 8 channels, which ranks of 3 reproduce exactly."""
    head = TwoLayerHead(18, 8, 0.0)
    for layer in (head.fc6, head.fc7):
        layer.weight = nn.Parameter(torch.randn(8, 3) @ torch.randn(3, layer.in_features) / 3)
    return head


def test_training_uses_the_full_layers_and_updates_the_factors():
    head = head_of_rank_3()
    truncated = TruncatedHead(head, [3, 3])
    x = torch.randn(4, 2, 3, 3)
    assert set(truncated.state_dict()) == set(head.state_dict())
    torch.testing.assert_close(truncated.eval()(x), head.eval()(x), atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        truncated.train().fc6.weight.mul_(2)
    torch.testing.assert_close(truncated.eval()(x), head.eval()(x), atol=1e-5, rtol=1e-4)
    other = head_of_rank_3().eval()
    truncated.load_state_dict(other.state_dict())
    torch.testing.assert_close(truncated(x), other(x), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(TruncatedHead(other, [1, 1]).eval()(x), other(x), atol=1e-3)


def test_factors_allow_gradients_after_inference_mode_and_follow_the_dtype():
    head = head_of_rank_3()
    truncated, x = TruncatedHead(head, [3, 3]).eval(), torch.randn(4, 2, 3, 3)
    with torch.inference_mode():
        truncated(x)
    own = x.clone().requires_grad_()
    truncated(own).sum().backward()
    expected = x.clone().requires_grad_()
    head.eval()(expected).sum().backward()
    torch.testing.assert_close(own.grad, expected.grad, atol=1e-4, rtol=1e-4)
    assert truncated.double()(x.double()).dtype == torch.float64


@pytest.mark.parametrize("ranks", [[6, 3], [5, 4]])
def test_ranks_that_save_no_multiplications_are_refused(ranks):
    """The layers take 18 x 8 = 144 and 8 x 8 = 64. Factors take 5 (18 + 8) = 130 and 3 (8 + 8) = 48, or 156 and 64."""
    TruncatedHead(TwoLayerHead(18, 8, 0.0), [5, 3])
    with pytest.raises(ConfigError, match="from 1 to 5 and 3"):
        TruncatedHead(TwoLayerHead(18, 8, 0.0), ranks)
