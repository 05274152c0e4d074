"""Speed of the kinds of NMS, compared with torchvision's batched_nms.

Run by hand on an idle machine: pytest -m benchmark -s tests/benchmarks/test_nms_speed.py
"""

import statistics
import time

import pytest
import torch
from torchvision.ops import batched_nms

from visionkit.models.detection.parts.batch import filter_detections
from visionkit.ops.nms import Candidates, NMSOptions, nms_kinds

ROUNDS = 7
CLASSES = 80

pytestmark = pytest.mark.benchmark


def crowd(number, generator):
    corners = torch.rand(number, 2, generator=generator) * 1000
    boxes = torch.cat([corners, corners + 10 + 150 * torch.rand(number, 2, generator=generator)], dim=1)
    labels = torch.randint(0, CLASSES, (number,), generator=generator)
    return Candidates(boxes, torch.rand(number, generator=generator), labels)


def median_seconds(job):
    times = []
    for _ in range(ROUNDS + 1):
        start = time.process_time()
        job()
        times.append(time.process_time() - start)
    return statistics.median(times[1:])


@pytest.mark.parametrize("kind", sorted(nms_kinds))
def test_ten_thousand_boxes(kind, capsys):
    found = crowd(10_000, torch.Generator().manual_seed(0))
    own = median_seconds(lambda: NMSOptions(kind)(found))
    groups = torch.zeros_like(found.labels) if kind == "class_agnostic" else found.labels
    theirs = median_seconds(lambda: batched_nms(found.boxes, found.scores, groups, 0.5))
    with capsys.disabled():
        print(f"\n{kind}, 10,000 boxes: {own * 1000:.1f} ms, batched_nms of the same groups {theirs * 1000:.1f} ms")
    assert own < 3 * theirs


@pytest.mark.parametrize("kind", sorted(nms_kinds))
def test_a_hundred_images_of_a_thousand_candidates(kind, capsys):
    generator = torch.Generator().manual_seed(0)
    images, nms = [crowd(1000, generator) for _ in range(100)], NMSOptions(kind)
    own = median_seconds(lambda: [filter_detections(found, nms) for found in images])
    with capsys.disabled():
        print(f"\n{kind}, 100 images x 1,000 candidates x 80 classes: {own:.3f} s")
    assert own < 5
