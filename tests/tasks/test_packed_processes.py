"""Two processes that stream packed data from a web server train and score like one process with a folder."""

import json
import os
import subprocess
import sys

import pytest

from tests.helpers.packed_files import serve_folder, write_uneven
from tests.helpers.process_copies import run_in_copy
from visionkit.data.datasets.shapes import Shapes

pytest.importorskip("litdata")

SCRIPT = """
import json, sys, torch
from lightning.pytorch import seed_everything
from lightning.pytorch.callbacks import Callback
from tests.helpers.small_classifier import small_classification, small_network
from tests.helpers.small_trainer import small_trainer
from visionkit.data.datamodule import VisionData
from visionkit.data.packed.stream_options import StreamOptions
from visionkit.tasks import OptimizerOptions

devices, root, cache = int(sys.argv[1]), sys.argv[2], sys.argv[3]
torch.set_num_threads(1)
data = VisionData(
    "packed", root, {"train": {"split": "train"}, "val": {"split": "val"}}, batch_size=4 // devices, num_workers=1,
    augment=[{"name": "HorizontalFlip", "p": 0.5}], required="label",
    stream=StreamOptions(window=2, streams=2, cache=cache),
)

class Seen(Callback):
    def __init__(self):
        self.trained, self.scored = [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.trained.append(batch.image_ids)

    def on_test_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.scored += batch.image_ids

seed_everything(0)
sgd = OptimizerOptions(name="sgd", lr=0.01, scale_lr=False)
task = small_classification(data.class_names, small_network(len(data.class_names), "lenet5"), optimizer=sgd)
seen = Seen()
trainer = small_trainer(
    max_epochs=2, callbacks=[seen], devices=devices, strategy="ddp" if devices > 1 else "auto"
)
trainer.fit(task, data)
data.tested_split = "val"
trainer.test(task, data, verbose=False)
metrics = task.results.defined() if trainer.is_global_zero else {}
weights = {name: value.double().abs().sum().item() for name, value in task.state_dict().items()}
with open(f"{devices}-{trainer.global_rank}.json", "w") as file:
    json.dump({"trained": seen.trained, "scored": seen.scored, "metrics": {**metrics, **weights}}, file)
if devices > 1:
    torch.distributed.destroy_process_group()
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What one process and each of two processes saw, and the paths that were downloaded."""
    folder = tmp_path_factory.mktemp("runs")
    one = {"size": 32, "min_object": 0.5, "max_object": 0.9, "max_objects": 1, "empty_share": 0.0}
    splits = {"train": Shapes(count=17, **one), "val": Shapes(count=7, split="val", **one)}
    made = write_uneven(folder / "packed", splits, [1, 4, 2])
    alone = run_in_copy(f"sys.argv[1:] = ['1', {str(made)!r}, {str(folder)!r}]\n{SCRIPT}", folder)
    assert alone.returncode == 0, alone.stderr[-3000:]
    (folder / "run.py").write_text(SCRIPT)
    with serve_folder(made) as server:
        done = subprocess.run(
            [sys.executable, "run.py", "2", server.address, str(folder / "cache")],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.getcwd(), "CUDA_VISIBLE_DEVICES": ""},
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    known = [json.loads((folder / f"{name}.json").read_text()) for name in ("1-0", "2-0", "2-1")]
    return [*known, [path for path, _ in server.asked]]


def test_each_step_has_the_images_of_one_process(runs):
    alone, first, second, _ = runs
    assert len(alone["trained"]) == len(first["trained"]) == len(second["trained"]) == 2 * 4
    for step, one, other in zip(alone["trained"], first["trained"], second["trained"], strict=True):
        assert sorted(step) == sorted(one + other)
        assert len(one) == len(other) == 2


def test_an_epoch_repeats_at_most_the_image_that_two_streams_need(runs):
    alone = runs[0]
    for steps in (alone["trained"][:4], alone["trained"][4:]):
        drawn = [image_id for step in steps for image_id in step]
        assert len(drawn) == 16
        assert len(set(drawn)) >= 15, "18 draws of 17 images, without the last 2"
    assert alone["trained"][:4] != alone["trained"][4:]


def test_every_image_is_scored_once(runs):
    alone, first, second, _ = runs
    assert alone["scored"] == first["scored"] + second["scored"] == list(range(7))


def test_weights_and_metrics_are_those_of_one_process(runs):
    alone, first, _, _ = runs
    assert first["metrics"].keys() == alone["metrics"].keys()
    assert "top1" in alone["metrics"]
    for name, value in alone["metrics"].items():
        assert first["metrics"][name] == pytest.approx(value, abs=1e-5, rel=1e-5), name


def test_both_processes_and_their_workers_load_each_shard_once(runs):
    shards = [path for path in runs[3] if path.endswith(".bin")]
    assert len(shards) == len(set(shards))
    assert len(shards) == 8 + 3  # of 17 and of 7 images
