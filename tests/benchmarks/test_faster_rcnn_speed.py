"""Speed of a training step of Faster R-CNN, compared with torchvision, interleaved in one process.

Run by hand on an idle machine: pytest -m benchmark -s tests/benchmarks/test_faster_rcnn_speed.py
"""

import statistics
import time

import pytest
import torch
from torchvision.models.detection import fasterrcnn_resnet50_fpn

from visionkit.backbones import create_backbone
from visionkit.models.detection.faster_rcnn import PUBLISHED, FasterRCNN
from visionkit.models.load_model import load_strict

SIZE = (320, 480)
IMAGES = 2
OBJECTS = 8
CLASSES = 20
WARM_UP, ROUNDS = 2, 9

pytestmark = pytest.mark.benchmark


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    targets = []
    for _ in range(IMAGES):
        corners = torch.rand(OBJECTS, 2, generator=generator) * torch.tensor([SIZE[1] / 2, SIZE[0] / 2])
        sides = 20 + torch.rand(OBJECTS, 2, generator=generator) * 120
        labels = torch.randint(0, CLASSES, (OBJECTS,), generator=generator)
        targets.append({"boxes": torch.cat([corners, corners + sides], dim=1), "labels": labels})
    return [torch.randn(3, *SIZE, generator=generator) for _ in range(IMAGES)], targets


def make_pair(device):
    torch.manual_seed(0)
    theirs = fasterrcnn_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        num_classes=CLASSES + 1,
        min_size=SIZE[0],
        max_size=SIZE[1],
        image_mean=[0.0] * 3,
        image_std=[1.0] * 3,
    )
    ours = FasterRCNN(create_backbone("resnet50", weights="none"), CLASSES)
    load_strict(ours, PUBLISHED.translate(theirs.state_dict()), "torchvision")
    return ours.to(device).train(), theirs.to(device).train()


def training_step(network, images, targets, optimizer):
    synchronise = torch.cuda.synchronize if images[0].is_cuda else (lambda: None)
    synchronise()
    start = time.perf_counter()
    optimizer.zero_grad()
    sum(network(images, targets).values()).backward()
    optimizer.step()
    synchronise()
    return time.perf_counter() - start


def test_a_training_step_takes_no_longer_than_torchvisions(batch, capsys):
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images, targets = batch
    images = [image.to(device) for image in images]
    targets = [{key: value.to(device) for key, value in target.items()} for target in targets]
    shifted = [{**target, "labels": target["labels"] + 1} for target in targets]
    ours, theirs = make_pair(device)
    runs = [
        (ours, targets, torch.optim.SGD(ours.parameters(), lr=1e-4, momentum=0.9)),
        (theirs, shifted, torch.optim.SGD(theirs.parameters(), lr=1e-4, momentum=0.9)),
    ]
    times = []
    for round_number in range(WARM_UP + ROUNDS):
        order = runs if round_number % 2 == 0 else runs[::-1]  # neither always follows the other
        taken = {id(run[0]): training_step(run[0], images, run[1], run[2]) for run in order}
        times.append((taken[id(ours)], taken[id(theirs)]))
    ratio = statistics.median(own / their for own, their in times[WARM_UP:])
    own, their = (statistics.median(column) for column in zip(*times[WARM_UP:], strict=True))
    with capsys.disabled():
        print(f"\ntraining step on {device}: visionkit {own:.3f} s, torchvision {their:.3f} s, ratio {ratio:.3f}")
    assert ratio <= 1.0
