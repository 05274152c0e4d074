import copy

import pytest
import torch
from torch import nn

from visionkit.ops.linear import linear


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rows", [0, 1, 37])
def test_equals_the_layer_with_its_gradients(rows, dtype):
    torch.manual_seed(0)
    ours, x = nn.Linear(96, 24, dtype=dtype), torch.randn(rows, 96, dtype=dtype, requires_grad=True)
    theirs, y = copy.deepcopy(ours), x.detach().clone().requires_grad_()
    weights = torch.randn(rows, 24, dtype=dtype)
    results = linear(x, ours), theirs(y)
    torch.testing.assert_close(*results)
    for result in results:
        (result * weights).sum().backward()
    for own, expected in ((x, y), (ours.weight, theirs.weight), (ours.bias, theirs.bias)):
        torch.testing.assert_close(own.grad, expected.grad, atol=1e-5, rtol=1e-5)


def test_autocast_computes_in_half_precision():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert linear(torch.randn(3, 8), nn.Linear(8, 4)).dtype == torch.bfloat16
