"""Speed of decode, random resized crop to 224 and flip, compared with torchvision, interleaved in one process.

Run by hand on an idle machine: pytest -m benchmark -s tests/benchmarks/test_loading_speed.py
"""

import statistics
import time

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.io import ImageReadMode, decode_jpeg, read_file
from torchvision.transforms import v2

from visionkit.data.batch import TargetDataset
from visionkit.data.datasets.folder import FolderDataset
from visionkit.data.datasets.shapes import Shapes
from visionkit.data.transforms.augmentation import Augmentation

IMAGES, HEIGHT, WIDTH, SIDE = 16, 375, 500, 224
WARM_UP, ROUNDS = 2, 25

pytestmark = pytest.mark.benchmark


@pytest.fixture
def folder(tmp_path):
    """JPEG files of ImageNet's average size with camera noise, in two classes."""
    random, shapes = np.random.default_rng(0), Shapes(split="train", count=IMAGES, size=WIDTH)
    for index in range(IMAGES):
        clean = shapes[index].image[:HEIGHT].astype(float)
        noisy = (clean + random.normal(0, 8, clean.shape)).clip(0, 255).astype(np.uint8)
        (tmp_path / f"class{index % 2}").mkdir(exist_ok=True)
        Image.fromarray(noisy).save(tmp_path / f"class{index % 2}" / f"{index}.jpg", quality=95)
    return tmp_path


@pytest.fixture
def one_thread():
    """Set one thread, as in a loader worker."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    yield
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])


def ours(folder):
    crop = {"name": "RandomResizedCrop", "size": [SIDE, SIDE]}
    return TargetDataset(FolderDataset(folder), Augmentation([crop, {"name": "HorizontalFlip", "p": 0.5}]))


def torchvisions(folder):
    steps = [v2.RandomResizedCrop(SIDE, antialias=True), v2.RandomHorizontalFlip()]
    return {
        "PIL": ImageFolder(folder, v2.Compose([*steps, v2.PILToTensor()])),
        "decode_jpeg": ImageFolder(
            folder, v2.Compose(steps), loader=lambda path: decode_jpeg(read_file(path), ImageReadMode.RGB)
        ),
    }


def seconds_a_image(dataset):
    start = time.perf_counter()
    for index in range(IMAGES):
        image, _ = dataset[index]
        assert image.shape == (3, SIDE, SIDE)
    return (time.perf_counter() - start) / IMAGES


@pytest.mark.usefixtures("one_thread")
def test_a_image_is_loaded_no_slower_than_by_torchvision(folder, capsys):
    pipelines = {"visionkit": ours(folder), **torchvisions(folder)}
    times = {name: [] for name in pipelines}
    for round_number in range(WARM_UP + ROUNDS):
        names = list(pipelines)
        shift = round_number % len(names)  # none always follows the same other
        for name in names[shift:] + names[:shift]:
            times[name].append(seconds_a_image(pipelines[name]))
    times = {name: taken[WARM_UP:] for name, taken in times.items()}
    for name in ("PIL", "decode_jpeg"):
        ratio = statistics.median(own / their for own, their in zip(times["visionkit"], times[name], strict=True))
        own, their = (1000 * statistics.median(times[column]) for column in ("visionkit", name))
        with capsys.disabled():
            print(f"\na image: visionkit {own:.2f} ms, torchvision with {name} {their:.2f} ms, ratio {ratio:.3f}")
        assert ratio <= 1.0
