import math

import pytest
import torch

from visionkit.errors import VisionkitError
from visionkit.ops.float32 import at_least_float32, check_finite, full_precision


def test_full_precision_disables_autocast():
    a, b = torch.randn(3, 3), torch.randn(3, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (a @ b).dtype == torch.bfloat16
        with full_precision(a):
            assert (a @ b).dtype == torch.float32


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_refused(value):
    check_finite(torch.ones(3), torch.zeros(0, 4))
    with pytest.raises(VisionkitError, match="not finite"):
        check_finite(torch.ones(3), torch.tensor([0.0, value]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_lower_precisions_become_float32(dtype):
    assert at_least_float32(torch.ones(2, dtype=dtype)).dtype == torch.float32


def test_float64_is_unchanged():
    x = torch.ones(2, dtype=torch.float64)
    assert at_least_float32(x) is x
