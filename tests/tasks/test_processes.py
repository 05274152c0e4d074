"""Two processes on one machine: nothing but `trainer.devices` and `trainer.strategy` changes."""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json, sys, torch
from tests.helpers.small_classifier import small_classification, small_images
from tests.helpers.small_detector import small_data, small_task
from tests.helpers.small_segmenter import small_masks, small_segmentation
from tests.helpers.small_trainer import small_trainer
from visionkit.tasks import SegmentationEvaluationOptions

def detection():
    data = small_data(train=4, val=7)
    return data, small_task(data.class_names)

def one_class():
    data = small_images(train=8, val=7, sampling="balanced")
    return data, small_classification(data.class_names)

def several_classes():
    data = small_images(train=8, val=7, required="tags")
    return data, small_classification(data.class_names, multi_label=True)

def class_a_pixel():
    data = small_masks(train=8, val=7)
    return data, small_segmentation(data.class_names, evaluation=SegmentationEvaluationOptions(boundaries=True))

def metrics(make):
    torch.manual_seed(0)
    data, task = make()
    trainer = small_trainer(devices=devices, strategy="ddp" if devices > 1 else "auto")
    trainer.validate(task, data, verbose=False)
    known = task.results.defined()
    trainer.test(task, data, verbose=False)
    known |= {f"test {name}": value for name, value in task.results.defined().items()}
    known["images in the results file"] = len({row["image_id"] for row in task.predictions_for_json()})
    if devices > 1:
        trainer.fit(task, data)
    return known, trainer.is_global_zero

torch.set_num_threads(1)
devices = int(sys.argv[1])
known = {make.__name__: metrics(make) for make in (detection, one_class, several_classes, class_a_pixel)}
if known["detection"][1]:
    print("METRICS", json.dumps({name: found for name, (found, _) in known.items()}))
if devices > 1:
    torch.distributed.destroy_process_group()
"""


def metrics(devices, folder):
    script = folder / "run.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), str(devices)],
        capture_output=True,
        text=True,
        env={**__import__("os").environ, "PYTHONPATH": ".", "CUDA_VISIBLE_DEVICES": ""},
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    line = next(line for line in done.stdout.splitlines() if line.startswith("METRICS"))
    return json.loads(line.removeprefix("METRICS "))


@pytest.fixture(scope="module")
def alone_and_together(tmp_path_factory):
    return [metrics(devices, tmp_path_factory.mktemp("run")) for devices in (1, 2)]


@pytest.mark.parametrize(
    ("task", "main"),
    [("detection", "AP"), ("one_class", "top1"), ("several_classes", "mAP"), ("class_a_pixel", "boundary_F1")],
)
def test_seven_images_score_alike_in_one_and_two_processes(task, main, alone_and_together):
    alone, together = (found[task] for found in alone_and_together)
    assert alone.keys() == together.keys()
    assert main in alone
    assert alone["images in the results file"] == 7
    for name, value in alone.items():
        assert abs(value - together[name]) < 1e-6, name
