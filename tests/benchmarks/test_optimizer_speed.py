"""Speed of a fused step of the optimizer on the parameters of ResNet-50, compared with torch's default.

Run by hand: pytest -m benchmark -o addopts="" -s tests/benchmarks/test_optimizer_speed.py
"""

import pytest
import torch
import torchvision
from torch.optim import SGD, Adam, AdamW

from tests.benchmarks.speed_table.timing import compare
from visionkit.tasks.fused import make_fused

pytestmark = pytest.mark.benchmark


@pytest.mark.parametrize(("kind", "options"), [(SGD, {"momentum": 0.9}), (Adam, {}), (AdamW, {})])
def test_a_fused_step_is_faster(kind, options, capsys):
    device = "cuda" if torch.cuda.is_available() else "cpu"

    def step(make):
        parameters = list(torchvision.models.resnet50(weights=None).to(device).parameters())
        for parameter in parameters:
            parameter.grad = torch.full_like(parameter, 1e-3)
        return make([{"params": parameters, "weight_decay": 1e-4}]).step

    found = compare(
        {
            "fused": lambda: step(lambda groups: make_fused(kind, groups, lr=1e-3, **options)),
            "default": lambda: step(lambda groups: kind(groups, lr=1e-3, **options)),
        },
        rounds=20,
    )
    with capsys.disabled():
        print(f"\n{kind.__name__}: {found.in_words()}")
    assert found.ratio("default").median < 1.0
