"""R-CNN's machines and box regression behind its fine-tuning, through `visionkit fit`."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn")
pytest.importorskip("skimage")

from visionkit.cli.main import main
from visionkit.data.datasets.shapes import Shapes
from visionkit.engine.rcnn import svm
from visionkit.engine.rcnn.box_regression import BoxRegression
from visionkit.engine.rcnn.region_features import FeatureFolder
from visionkit.tasks import Task

SPLIT = "{split: %s, count: %d, size: 64, min_object: 0.3, max_object: 0.7}"
RECIPE = f"""
task: detection
model:
  name: rcnn
  backbone: {{name: alexnet, weights: none}}
  classifier: svm
  box_regression: true
  head_channels: 16
  warp_size: 67
  context: 4
  box_batch_size: 8
  box_score_threshold: 0.0
preprocess: {{short_side: 64, long_side: 128}}
optimizer: {{lr: 0.01, base_batch_size: 2}}
schedule: {{name: constant, warmup_steps: 0}}
data:
  format: shapes
  splits: {{train: {SPLIT % ("train", 5)}, val: {SPLIT % ("val", 3)}}}
  batch_size: 2
  num_workers: 0
  proposals: {{mode: single, folder: proposals}}
trainer: {{max_epochs: 1, accelerator: cpu, enable_progress_bar: false, enable_model_summary: false}}
"""
ROOT = str(Path(__file__).parents[2])
KEPT = "after_training.folder=kept"


@pytest.fixture(autouse=True)
def desk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(RECIPE)
    yield tmp_path
    shutil.rmtree(tmp_path)  # checkpoints are large


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with a run that has been through all stages, which kept its features in `kept`."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("mine.yaml").write_text(RECIPE)
        assert fit(KEPT) == 0
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def after_a_run(desk, finished):
    """A copy of it, to be worked on."""
    shutil.copytree(finished, desk, dirs_exist_ok=True)
    return desk


@pytest.fixture
def work(monkeypatch):
    """What was computed: images, machines, regressions."""
    done = {"images": 0, "machines": 0, "regressions": 0}

    def counted(owner, name, key):
        original = getattr(owner, name)

        def count(*given, **named):
            done[key] += 1
            return original(*given, **named)

        monkeypatch.setattr(owner, name, count)

    counted(FeatureFolder, "_compute", "images")
    counted(svm, "train_svm", "machines")
    counted(BoxRegression, "fit", "regressions")
    return done


def again(work):
    counted = dict(work)
    work.update(dict.fromkeys(work, 0))
    return counted


def fit(*words):
    return main(["fit", "mine.yaml", *words])


def checkpoint(name="best", run=1):
    return torch.load(f"runs/mine/{run}/{name}.ckpt", weights_only=True)


def fitted(found):
    return [values for key, values in found["state_dict"].items() if key.endswith(".fitted")]


def test_one_command_trains_all_stages_and_measures_what_it_keeps(work):
    assert fit() == 0
    assert work["images"] == 5
    assert work["machines"] > 0
    assert work["regressions"] == 1
    best, last = checkpoint("best"), checkpoint("last")
    assert all(fitted(best))
    assert len(fitted(best)) == 2
    assert best["visionkit"]["metrics"] == last["visionkit"]["metrics"]
    torch.testing.assert_close(best["state_dict"], last["state_dict"], rtol=0, atol=0)
    assert {"optimizer_states", "loops", "callbacks"} <= set(last)
    assert main(["validate", "runs/mine/1/best.ckpt"]) == 0
    with open("runs/mine/1/best-val/metrics.json") as file:
        scored = json.load(file)
    assert scored["overall"]["AP50"] == pytest.approx(best["visionkit"]["metrics"]["val/AP50"], abs=1e-6)


def test_what_is_measured_at_the_end_is_what_is_after_each_epoch(desk):
    """One look at each image, though `test` takes more; no more batches than asked for; a line in the log."""
    assert fit("evaluation.scales=[1.0,2.0]", "evaluation.flip=true", "trainer.limit_val_batches=1") == 0
    found = checkpoint()["visionkit"]["metrics"]
    with open("runs/mine/1/metrics.csv") as file:
        *_, last = csv.DictReader(file)
    assert float(last["val/AP50"]) == pytest.approx(found["val/AP50"])
    one_look_at_two = ["evaluation.scales=[1.0]", "evaluation.flip=false", "data.splits.val.count=2"]
    assert main(["validate", "runs/mine/1/best.ckpt", *one_look_at_two]) == 0
    with open("runs/mine/1/best-val/metrics.json") as file:
        scored = json.load(file)
    for name in ("AP", "AP50", "AR100"):
        assert found[f"val/{name}"] == pytest.approx(scored["overall"][name], abs=1e-6), name


def test_boxes_move_and_scores_are_those_of_the_margins(finished):
    task = Task.load_from_checkpoint(finished / "runs/mine/1/best.ckpt")
    network = task.network
    assert torch.count_nonzero(network.after_training["box_regression"].weight)
    image, regions = torch.randn(3, 64, 64), torch.tensor([[4.0, 4, 40, 50], [10, 20, 60, 60]])
    with torch.inference_mode():
        features = network.describe(image, regions)
        scores, _ = network.score_regions(features)
        margins = network.after_training["svm"](features.fc7)
    torch.testing.assert_close(scores, 1 / (1 + 19**-margins))


def test_a_second_run_over_the_same_folder_computes_nothing(after_a_run, work):
    assert fit(KEPT) == 0
    assert again(work) == {"images": 0, "machines": 0, "regressions": 0}
    torch.testing.assert_close(checkpoint(run=2)["state_dict"], checkpoint(run=1)["state_dict"], rtol=0, atol=0)
    assert fit(KEPT, "model.svm_cost=0.002") == 0
    once_more = again(work)
    assert once_more["images"] == 0
    assert once_more["machines"] > 0
    assert fit(KEPT, "optimizer.lr=0.001") == 0
    assert again(work)["images"] == 5, "other weights see other things"


@pytest.mark.parametrize("stage", ["svm", "box_regression"])
def test_a_run_that_was_stopped_goes_on_where_it_was(stage, desk, finished, work, monkeypatch):
    kind = svm.LinearSVMs if stage == "svm" else BoxRegression

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(kind, "fit", stop)
        assert fit() not in (0, None)
    assert again(work)["images"] == 5
    assert not any(fitted(checkpoint()))
    assert fit("--resume") == 0
    did = again(work)
    assert (did["images"], did["machines"] > 0, did["regressions"]) == (0, stage == "svm", 1)
    whole = torch.load(finished / "runs/mine/1/best.ckpt", weights_only=True)
    torch.testing.assert_close(checkpoint()["state_dict"], whole["state_dict"], rtol=0, atol=0)


def test_a_finished_run_has_nothing_to_do_and_one_that_learns_on_forgets(after_a_run, work):
    written = Path("runs/mine/1/best.ckpt").stat().st_mtime_ns
    assert fit(KEPT, "--resume") == 0
    assert again(work) == {"images": 0, "machines": 0, "regressions": 0}
    assert Path("runs/mine/1/best.ckpt").stat().st_mtime_ns == written
    assert fit(KEPT, "--resume", "trainer.max_epochs=2") == 0
    assert all(fitted(checkpoint("last")))
    assert checkpoint("last")["epoch"] == 1
    torch.testing.assert_close(checkpoint("last")["state_dict"], checkpoint("best")["state_dict"], rtol=0, atol=0)


def test_the_average_of_the_weights_is_no_hindrance_and_forgets_when_it_learns_on(work):
    assert fit("ema.decay=0.5") == 0
    finished = checkpoint("last")
    assert all(fitted(finished))
    torch.testing.assert_close(finished["current_model_state"], finished["state_dict"], rtol=0, atol=0)
    Path("runs/mine/1/best.ckpt").unlink()  # what the next epochs bring counts, be it better or not
    again(work)
    assert fit("ema.decay=0.5", "--resume", "trainer.max_epochs=3") == 0
    did = again(work)
    assert did["machines"] > 0
    assert did["regressions"] == 1
    assert all(fitted(checkpoint("last")))


@pytest.mark.slow
def test_two_processes_leave_the_after_training_to_one(work):
    words = [sys.executable, "-m", "visionkit", "fit", "mine.yaml", "trainer.devices=2", "trainer.strategy=ddp"]
    environment = {**os.environ, "PYTHONPATH": ROOT, "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "200"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "go on with: --resume trainer.devices=1" in done.stderr
    assert not any(fitted(checkpoint()))
    assert fit("--resume", "trainer.devices=1", "trainer.strategy=auto") == 0
    assert again(work)["machines"] > 0
    assert all(fitted(checkpoint()))


def test_without_machines_only_what_is_near_an_object_is_looked_at(desk, work):
    assert fit("model.classifier=softmax") == 0
    files = list((desk / "runs/mine/1/features").rglob("*.npz"))
    assert len(files) == 5
    numbers = [len(np.load(file)["regions"]) for file in files]
    assert 0 < sum(numbers) < 100
    assert work["machines"] == 0
    assert work["regressions"] == 1


def test_nothing_follows_where_nothing_is_asked_for(desk, work):
    assert fit("model.classifier=softmax", "model.box_regression=false") == 0
    assert again(work) == {"images": 0, "machines": 0, "regressions": 0}
    assert not (desk / "runs/mine/1/features").exists()


def test_what_is_kept_is_what_the_network_sees(finished):
    task, seen = Task.load_from_checkpoint(finished / "runs/mine/1/best.ckpt"), 0
    shapes = Shapes(split="train", count=5, size=64, min_object=0.3, max_object=0.7)
    images = {index: torch.from_numpy(shapes[index].image).permute(2, 0, 1) for index in range(5)}
    boxes = {index: torch.from_numpy(shapes[index].annotation.boxes) for index in range(5)}
    for file in (finished / "kept").rglob("*.npz"):
        kept = np.load(file)
        regions = torch.from_numpy(kept["regions"])
        index = next(i for i in boxes if torch.equal(regions[: len(boxes[i])], boxes[i].float()) and len(boxes[i]))
        seen += 1
        (prepared,), _ = task.preprocessing([images[index]])
        with torch.inference_mode():
            features = task.network.describe(prepared, regions)
        own = features.fc7[: len(boxes[index])]
        for name, found in (("fc7", features.fc7), ("own_fc7", own), ("deepest", features.deepest[kept["pairs"]])):
            stored = torch.from_numpy(kept[name].astype(np.float32) * kept[f"{name.removeprefix('own_')}_unit"])
            torch.testing.assert_close(stored, found, atol=1e-3 * float(found.abs().max()), rtol=1e-3)
    assert seen >= 3


def test_a_truncated_file_is_computed_again(after_a_run, work):
    file = next((after_a_run / "kept").rglob("*.npz"))
    file.write_bytes(file.read_bytes()[:100])
    assert fit(KEPT) == 0
    assert again(work)["images"] == 1


def test_a_damaged_file_is_named(after_a_run, capsys):
    for path in (after_a_run / "kept").glob("*.pt"):
        path.unlink()
    for file in (after_a_run / "kept").rglob("*.npz"):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 255
        file.write_bytes(bytes(content))
    assert fit(KEPT) == 2
    assert "are damaged: delete the file" in re.sub(r"\s+", " ", capsys.readouterr().err)


def test_what_is_missing_is_said_before_the_first_epoch(desk, monkeypatch, capsys, work):
    monkeypatch.setitem(sys.modules, "sklearn.svm", None)
    assert fit() == 2
    assert "scikit-learn" in capsys.readouterr().err
    assert not (desk / "runs/mine/1/last.ckpt").exists()
