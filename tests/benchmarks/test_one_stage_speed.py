"""Speed of training step and inference of one-stage detectors, compared with torchvision, interleaved in one process.

Run by hand on an idle machine: pytest -m benchmark -s tests/benchmarks/test_one_stage_speed.py
"""

import statistics
import time

import pytest
import torch
from torchvision.models.detection import retinanet_resnet50_fpn, ssd300_vgg16

from visionkit.backbones import create_backbone
from visionkit.models.detection import retinanet, ssd
from visionkit.models.load_model import load_strict

IMAGES, OBJECTS, CLASSES = 2, 8, 20
WARM_UP, ROUNDS = 1, 7

pytestmark = pytest.mark.benchmark


def retinanet_pair():
    theirs = retinanet_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        num_classes=CLASSES + 1,
        min_size=320,
        max_size=480,
        image_mean=[0.0] * 3,
        image_std=[1.0] * 3,
    )
    ours = retinanet.RetinaNet(create_backbone("resnet50", weights="none"), CLASSES)
    load_strict(ours, retinanet.PUBLISHED.translate(theirs.state_dict()), "torchvision")
    return ours, theirs, (320, 480)


def ssd_pair():
    theirs = ssd300_vgg16(
        weights=None, weights_backbone=None, num_classes=CLASSES + 1, image_mean=[0.0] * 3, image_std=[1.0] * 3
    )
    ours = ssd.SSD(create_backbone("vgg16_atrous", weights="none"), CLASSES, variant="ssd300")
    load_strict(ours, ssd.PUBLISHED.translate(theirs.state_dict()), "torchvision")
    return ours, theirs, (300, 300)


def make_batch(size, device):
    generator = torch.Generator().manual_seed(0)
    targets = []
    for _ in range(IMAGES):
        corners = torch.rand(OBJECTS, 2, generator=generator) * torch.tensor([size[1] / 2, size[0] / 2])
        sides = 20 + torch.rand(OBJECTS, 2, generator=generator) * 120
        labels = torch.randint(0, CLASSES, (OBJECTS,), generator=generator).to(device)
        targets.append({"boxes": torch.cat([corners, corners + sides], dim=1).to(device), "labels": labels})
    return [torch.randn(3, *size, generator=generator).to(device) for _ in range(IMAGES)], targets


def training_step(network, images, targets):
    network.train().zero_grad()
    sum(network(images, targets).values()).backward()


def inference(network, images, targets):
    with torch.inference_mode():
        network.eval()(images)


def seconds(job, *arguments):
    synchronise = torch.cuda.synchronize if torch.cuda.is_available() else (lambda: None)
    synchronise()
    start = time.perf_counter()
    job(*arguments)
    synchronise()
    return time.perf_counter() - start


@pytest.mark.parametrize("job", [training_step, inference], ids=["training", "inference"])
@pytest.mark.parametrize("make_pair", [ssd_pair, retinanet_pair], ids=["ssd300", "retinanet"])
def test_it_takes_no_longer_than_torchvisions(make_pair, job, capsys):
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    ours, theirs, size = make_pair()
    images, targets = make_batch(size, device)
    shifted = [{**target, "labels": target["labels"] + 1} for target in targets]
    runs = [(ours.to(device), targets), (theirs.to(device), shifted)]
    times = []
    for round_number in range(WARM_UP + ROUNDS):
        order = runs if round_number % 2 == 0 else runs[::-1]  # neither always follows the other
        taken = {id(network): seconds(job, network, images, answers) for network, answers in order}
        times.append((taken[id(ours)], taken[id(theirs)]))
    ratio = statistics.median(own / their for own, their in times[WARM_UP:])
    own, their = (statistics.median(column) for column in zip(*times[WARM_UP:], strict=True))
    with capsys.disabled():
        print(f"\n{job.__name__} on {device}: visionkit {own:.3f} s, torchvision {their:.3f} s, ratio {ratio:.3f}")
    assert ratio <= 1.0
