"""Every registered detector under its task: reloading, batches, reduced precision."""

import pytest
import torch

from tests.helpers.detectors import images
from tests.helpers.every_detector import EVERY, full_target, small, train_step
from visionkit.preprocessing.detection import DetectionPreprocessOptions
from visionkit.tasks import Detection, Task

NAMES = ["disc", "star", "ring"]
SIZE = (96, 80)


def task_of(name):
    return Detection(small(name), NAMES, preprocess=DetectionPreprocessOptions(size=list(SIZE))).eval()


def shown(number):
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(0, 256, (3, *SIZE), dtype=torch.uint8, generator=generator) for _ in range(number)]


def found_in(task, given):
    proposals = torch.tensor([[4.0, 4, 60, 70], [20, 10, 70, 40], [0, 0, 80, 96]])
    with torch.inference_mode():
        return task(given, [{"proposals": proposals} for _ in given])


@EVERY
def test_a_reloaded_checkpoint_predicts_bit_for_bit(name, tmp_path):
    task = task_of(name)
    torch.save({"state_dict": task.state_dict(), "visionkit": task.description()}, tmp_path / "a.ckpt")
    again = Task.load_from_checkpoint(tmp_path / "a.ckpt").eval()
    before, after = (found_in(one, shown(2)) for one in (task, again))
    for one, other in zip(before, after, strict=True):
        assert len(one["boxes"]) > 0
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in ("boxes", "scores", "labels"))


@EVERY
def test_a_batch_predicts_as_its_images_one_by_one(name):
    task, given = task_of(name), shown(3)
    together, alone = found_in(task, given), [found_in(task, [one])[0] for one in given]
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one["scores"], other["scores"], atol=1e-4, rtol=1e-3)


@EVERY
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_losses_and_gradients_are_finite_in_reduced_precision(name, dtype):
    targets = [full_target([[4.0, 4, 60, 70], [20, 10, 70, 40]], SIZE), full_target([], SIZE)]
    with torch.autocast("cpu", dtype=dtype):
        train_step(small(name), images(SIZE, SIZE), targets)
