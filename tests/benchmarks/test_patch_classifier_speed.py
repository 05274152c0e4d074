"""Speed of the patch classifier's dense form, compared with the loop over patches.

Run by hand on an idle machine: pytest -m benchmark -s tests/benchmarks/test_patch_classifier_speed.py
"""

import statistics
import time

import pytest
import torch

from visionkit.backbones import create_backbone
from visionkit.models import create_model

SIDE, DENSE_ROUNDS = 48, 5

pytestmark = pytest.mark.benchmark


def seconds(run, x):
    start = time.perf_counter()
    run(x)
    return time.perf_counter() - start


@pytest.mark.parametrize(("name", "at_least"), [("patch_cnn_33", 5), ("patch_cnn_65", 20), ("patch_cnn_95", 20)])
def test_the_dense_form_is_many_times_as_fast(name, at_least, capsys):
    net = create_model("patch_classifier", create_backbone(name, weights="none"), 11).eval()
    x = torch.randn(1, 3, SIDE, SIDE)
    with torch.inference_mode():
        net(x)
        before = [seconds(net, x) for _ in range(DENSE_ROUNDS)]
        naive = seconds(net.naive, x)  # takes long enough for one measurement
        dense = statistics.median([*before, *(seconds(net, x) for _ in range(DENSE_ROUNDS))])
    with capsys.disabled():
        print(f"\n{name}, {SIDE} x {SIDE} pixels: patches {naive:.2f} s, dense {dense:.3f} s,", end=" ")
        print(f"ratio {naive / dense:.0f}")
    assert naive >= at_least * dense
