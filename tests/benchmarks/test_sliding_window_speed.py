"""Speed of the sliding window's dense form, compared with the loop over windows.

Run by hand on an idle machine: pytest -m benchmark -o addopts="" -s tests/benchmarks/test_sliding_window_speed.py
"""

import statistics
import time

import pytest
import torch

from visionkit.backbones import create_backbone
from visionkit.models import create_model

HEIGHT, WIDTH = 375, 500
SIZES = (96.0, 144.0, 216.0)
DENSE_ROUNDS = 3

pytestmark = pytest.mark.benchmark


def seconds_of_a_core(net, image):
    start = time.process_time()
    net([image])
    return time.process_time() - start


def test_the_dense_form_is_twenty_times_as_fast(capsys):
    """The network of recipes/sliding_window_vgg11.yaml on an image of VOC's size, including postprocessing."""
    torch.manual_seed(0)
    backbone = create_backbone("vgg11", weights="none", out_stages=["s16"])
    net = create_model(
        "sliding_window", backbone, 20, windows={"cells": 3, "sizes": SIZES}, head_channels=1024, box_regression=True
    )
    net.eval()
    image = torch.randn(3, HEIGHT, WIDTH)
    with torch.inference_mode():
        net([image])
        before = [seconds_of_a_core(net, image) for _ in range(DENSE_ROUNDS)]
        net.mode = "naive"
        naive = seconds_of_a_core(net, image)  # takes long enough for one measurement
        net.mode = "dense"
        dense = statistics.median([*before, *(seconds_of_a_core(net, image) for _ in range(DENSE_ROUNDS))])
        boxes, per_level = net.anchors.grid((HEIGHT, WIDTH), net.anchors.levels(image[None]))
    with capsys.disabled():
        print(f"\n{len(boxes)} windows {per_level}: one by one {naive:.1f} s, dense {dense:.2f} s,", end=" ")
        print(f"ratio {naive / dense:.1f}")
    assert naive >= 20 * dense
