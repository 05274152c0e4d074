"""Two processes on one machine, with half the images per step each, train and score as one process does."""

import json
import os
import subprocess
import sys

import pytest

from tests.helpers.process_copies import run_in_copy

SCRIPT = """
import json, signal, sys, torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException
from tests.helpers.small_classifier import small_classification, small_images, small_network
from tests.helpers.small_detector import small_data, small_task
from tests.helpers.small_segmenter import small_masks, small_segmentation
from tests.helpers.small_trainer import small_trainer
from visionkit.backbones import create_backbone
from visionkit.engine.graceful_stop import GracefulStop
from visionkit.models import create_model
from visionkit.tasks import OptimizerOptions, SegmentationEvaluationOptions

AUGMENT = [{"name": "HorizontalFlip", "p": 0.5}, {"name": "RandomBrightnessContrast", "p": 0.5}]
devices = int(sys.argv[1])
several = {"devices": devices, "strategy": "ddp" if devices > 1 else "auto"}
step = {"batch_size": 4 // devices, "augment": AUGMENT}
sgd = OptimizerOptions(name="sgd", lr=0.01, scale_lr=False)

# Networks without BatchNorm, dropout and sampling of anchors, which draw and normalize in each process.
def detection(val=7):
    data = small_data(train=8, val=val, **step)
    backbone = create_backbone("vgg11", weights="none")
    nms = {"score_threshold": 0.0, "max_detections": 20}
    network = create_model("retinanet", backbone, len(data.class_names), fpn_channels=16, nms=nms)
    return data, small_task(data.class_names, network, optimizer=sgd)

def one_class(val=7):
    data = small_images(train=8, val=val, sampling="balanced", **step)
    return data, small_classification(data.class_names, small_network(len(data.class_names), "lenet5"), optimizer=sgd)

def several_classes(val=7):
    data = small_images(train=8, val=val, required="tags", **step)
    network = small_network(len(data.class_names), "lenet5", multi_label=True)
    return data, small_classification(data.class_names, network, multi_label=True, optimizer=sgd)

def several_classes_of_one_image():
    return several_classes(val=1)

def class_a_pixel(val=7):
    data = small_masks(train=8, val=val, **step)
    evaluation = SegmentationEvaluationOptions(boundaries=True)
    return data, small_segmentation(data.class_names, optimizer=sgd, evaluation=evaluation)

def detection_of_one_image():
    return detection(val=1)

def one_class_of_one_image():
    return one_class(val=1)

def class_a_pixel_of_one_image():
    return class_a_pixel(val=1)

def trained(make):
    torch.manual_seed(0)
    data, task = make()
    trainer = small_trainer(**several, max_epochs=2)
    trainer.fit(task, data)
    fitted = {name: value.item() for name, value in trainer.callback_metrics.items() if not name.endswith("_step")}
    weights = {f"weights {name}": value.double().abs().sum().item() for name, value in task.state_dict().items()}
    trainer.validate(task, data, verbose=False)
    known = {f"validate {name}": value for name, value in task.results.defined().items()}
    trainer.test(task, data, verbose=False)
    known |= {f"test {name}": value for name, value in task.results.defined().items()}
    known["images in the results file"] = len({row["image_id"] for row in task.predictions_for_json()})
    return {**fitted, **weights, **known}, trainer.is_global_zero

class SignalToLast(Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_rank == devices - 1:
            signal.raise_signal(signal.SIGTERM)

def stopped_by_a_signal():
    data, task = one_class()
    trainer = small_trainer(**several, max_epochs=9, callbacks=[SignalToLast(), GracefulStop()])
    try:
        trainer.fit(task, data)
    except SIGTERMException:
        return {"steps": trainer.global_step}

torch.set_num_threads(1)
makers = (detection, one_class, several_classes, class_a_pixel)
makers += (detection_of_one_image, one_class_of_one_image, several_classes_of_one_image, class_a_pixel_of_one_image)
known = {make.__name__: trained(make) for make in makers}
known["stopped"] = stopped_by_a_signal(), True
if known["detection"][1]:
    print("METRICS", json.dumps({name: found for name, (found, _) in known.items()}))
if devices > 1:
    torch.distributed.destroy_process_group()
"""


def metrics(devices, folder):
    script = folder / "run.py"
    script.write_text(SCRIPT)
    done = run_in_copy(f"sys.argv[1:] = ['1']\n{SCRIPT}", folder) if devices == 1 else run(script, devices)
    assert done.returncode == 0, done.stderr[-3000:]
    line = next(line for line in done.stdout.splitlines() if line.startswith("METRICS"))
    return json.loads(line.removeprefix("METRICS "))


def run(script, devices):
    return subprocess.run(
        [sys.executable, str(script), str(devices)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": ".", "CUDA_VISIBLE_DEVICES": ""},
        check=False,
        timeout=240,
    )


@pytest.fixture(scope="module")
def alone_and_together(tmp_path_factory):
    return [metrics(devices, tmp_path_factory.mktemp("run")) for devices in (1, 2)]


@pytest.mark.parametrize(
    ("task", "main", "images"),
    [
        ("detection", "AP", 7),
        ("one_class", "top1", 7),
        ("several_classes", "mAP", 7),
        ("class_a_pixel", "boundary_F1", 7),
        ("detection_of_one_image", "AP", 1),
        ("one_class_of_one_image", "top1", 1),
        ("several_classes_of_one_image", "mAP", 1),
        ("class_a_pixel_of_one_image", "boundary_F1", 1),
    ],
)
def test_two_processes_train_and_score_like_one(task, main, images, alone_and_together):
    alone, together = (found[task] for found in alone_and_together)
    assert alone.keys() == together.keys()
    assert {"train/loss", "val/loss", f"val/{main}", f"validate {main}", f"test {main}"} <= alone.keys()
    assert alone["images in the results file"] == images
    for name, value in alone.items():
        assert abs(value - together[name]) < 1e-5 * max(1, abs(value)), name


def test_a_signal_for_one_process_stops_all_after_the_same_step(alone_and_together):
    assert [found["stopped"] for found in alone_and_together] == [{"steps": 1}, {"steps": 1}]
