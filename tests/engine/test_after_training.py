"""R-CNN's linear SVMs and box regression after fine-tuning, through `visionkit fit`."""

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
from visionkit.engine.rcnn.region_features import RegionFeatureFolder
from visionkit.tasks import Task

SPLIT = "{split: %s, count: %d, size: 64, min_object: 0.3, max_object: 0.7}"
RECIPE = f"""
task: detection
model:
  name: rcnn
  backbone: {{name: alexnet, weights: none}}
  classifier: svm
  box_regression: {{enabled: true}}
  head_channels: 16
  warp_size: 67
  context: 4
  roi: {{batch_size_per_image: 8}}
  nms: {{score_threshold: 0.0}}
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
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(RECIPE)
    yield tmp_path
    shutil.rmtree(tmp_path)  # checkpoints are large


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with a finished run, whose features are in `kept`."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("mine.yaml").write_text(RECIPE)
        assert fit(KEPT) == 0
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def after_a_run(folder, finished):
    """A copy of it, for a test that changes it."""
    shutil.copytree(finished, folder, dirs_exist_ok=True)
    return folder


@pytest.fixture
def computations(monkeypatch):
    """Number of computations: images, SVMs, regressions."""
    done = {"images": 0, "svms": 0, "regressions": 0}

    def counted(owner, name, key):
        original = getattr(owner, name)

        def count(*given, **named):
            done[key] += 1
            return original(*given, **named)

        monkeypatch.setattr(owner, name, count)

    counted(RegionFeatureFolder, "_compute", "images")
    counted(svm, "train_svm", "svms")
    counted(BoxRegression, "fit", "regressions")
    return done


def reset_counts(computations):
    counted = dict(computations)
    computations.update(dict.fromkeys(computations, 0))
    return counted


def fit(*words):
    return main(["fit", "mine.yaml", *words])


def checkpoint(name="best", run=1):
    return torch.load(f"runs/mine/{run}/{name}.ckpt", weights_only=True)


def fitted_flags(saved):
    return [values for key, values in saved["state_dict"].items() if key.endswith(".fitted")]


def test_one_command_trains_all_stages_and_scores_the_result(computations):
    assert fit() == 0
    assert computations["images"] == 5
    assert computations["svms"] > 0
    assert computations["regressions"] == 1
    best, last = checkpoint("best"), checkpoint("last")
    assert all(fitted_flags(best))
    assert len(fitted_flags(best)) == 2
    assert best["visionkit"]["metrics"] == last["visionkit"]["metrics"]
    torch.testing.assert_close(best["state_dict"], last["state_dict"], rtol=0, atol=0)
    assert {"optimizer_states", "loops", "callbacks"} <= set(last)
    assert main(["validate", "runs/mine/1/best.ckpt"]) == 0
    with open("runs/mine/1/best-val/metrics.json") as file:
        scored = json.load(file)
    assert scored["overall"]["AP50"] == pytest.approx(best["visionkit"]["metrics"]["val/AP50"], abs=1e-6)


def test_the_final_metrics_are_computed_like_those_of_each_epoch(folder):
    """One view per image, even if `test` uses more; not more than `limit_val_batches`; a row in the log."""
    assert fit("inference.tta_scales=[1.0,2.0]", "inference.flip=true", "trainer.limit_val_batches=1") == 0
    saved = checkpoint()["visionkit"]["metrics"]
    with open("runs/mine/1/metrics.csv") as file:
        *_, last = csv.DictReader(file)
    assert float(last["val/AP50"]) == pytest.approx(saved["val/AP50"])
    one_view_of_two_images = ["inference.tta_scales=[1.0]", "inference.flip=false", "data.splits.val.count=2"]
    assert main(["validate", "runs/mine/1/best.ckpt", *one_view_of_two_images]) == 0
    with open("runs/mine/1/best-val/metrics.json") as file:
        scored = json.load(file)
    for name in (
        "AP",
        "AP50",
        "AR100",
    ):  # scores of this network differ by 1e-7, so that rounding may swap two detections
        assert saved[f"val/{name}"] == pytest.approx(scored["overall"][name], abs=0.06), name


def test_boxes_are_refined_and_scores_follow_from_the_margins(finished):
    task = Task.load_from_checkpoint(finished / "runs/mine/1/best.ckpt").eval()
    network = task.network
    assert torch.count_nonzero(network.fitted_layers["box_regression"].weight)
    image, regions = torch.randn(3, 64, 64), torch.tensor([[4.0, 4, 40, 50], [10, 20, 60, 60]])
    with torch.inference_mode():
        features = network.compute_features(image, regions)
        scores, _ = network.score_regions(features)
        margins = network.fitted_layers["svm"](features.fc7)
    torch.testing.assert_close(scores, 1 / (1 + 19**-margins))


def test_a_second_run_over_the_same_folder_computes_nothing(after_a_run, computations):
    assert fit(KEPT) == 0
    assert reset_counts(computations) == {"images": 0, "svms": 0, "regressions": 0}
    torch.testing.assert_close(checkpoint(run=2)["state_dict"], checkpoint(run=1)["state_dict"], rtol=0, atol=0)
    assert fit(KEPT, "model.svm.cost=0.002") == 0
    once_more = reset_counts(computations)
    assert once_more["images"] == 0
    assert once_more["svms"] > 0
    assert fit(KEPT, "optimizer.lr=0.001") == 0
    assert reset_counts(computations)["images"] == 5, "other weights give other features"


@pytest.mark.parametrize("stage", ["svm", "box_regression"])
def test_an_interrupted_run_is_resumed_where_it_was(stage, folder, finished, computations, monkeypatch):
    kind = svm.LinearSVMs if stage == "svm" else BoxRegression

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(kind, "fit", stop)
        assert fit() not in (0, None)
    assert reset_counts(computations)["images"] == 5
    assert not any(fitted_flags(checkpoint()))
    assert fit("--resume") == 0
    done = reset_counts(computations)
    assert (done["images"], done["svms"] > 0, done["regressions"]) == (0, stage == "svm", 1)
    whole = torch.load(finished / "runs/mine/1/best.ckpt", weights_only=True)
    torch.testing.assert_close(checkpoint()["state_dict"], whole["state_dict"], rtol=0, atol=0)


def test_a_finished_run_is_not_fitted_again_unless_it_is_trained_further(after_a_run, computations):
    written = Path("runs/mine/1/best.ckpt").stat().st_mtime_ns
    assert fit(KEPT, "--resume") == 2
    assert reset_counts(computations) == {"images": 0, "svms": 0, "regressions": 0}
    assert Path("runs/mine/1/best.ckpt").stat().st_mtime_ns == written
    assert fit(KEPT, "--resume", "trainer.max_epochs=2") == 0
    assert all(fitted_flags(checkpoint("last")))
    assert checkpoint("last")["epoch"] == 1
    torch.testing.assert_close(checkpoint("last")["state_dict"], checkpoint("best")["state_dict"], rtol=0, atol=0)


def test_with_a_moving_average_the_layers_are_fitted_again_after_further_training(computations):
    assert fit("ema.decay=0.5") == 0
    finished = checkpoint("last")
    assert all(fitted_flags(finished))
    torch.testing.assert_close(finished["current_model_state"], finished["state_dict"], rtol=0, atol=0)
    Path("runs/mine/1/best.ckpt").unlink()  # the next epochs count, whether they are better or not
    reset_counts(computations)
    assert fit("ema.decay=0.5", "--resume", "trainer.max_epochs=3") == 0
    done = reset_counts(computations)
    assert done["svms"] > 0
    assert done["regressions"] == 1
    assert all(fitted_flags(checkpoint("last")))


@pytest.mark.slow
def test_of_two_processes_none_fits(computations):
    words = [sys.executable, "-m", "visionkit", "fit", "mine.yaml", "trainer.devices=2", "trainer.strategy=ddp"]
    environment = {**os.environ, "PYTHONPATH": ROOT, "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "200"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "continue with: --resume trainer.devices=1" in done.stderr
    assert not any(fitted_flags(checkpoint()))
    assert fit("--resume", "trainer.devices=1", "trainer.strategy=auto") == 0
    assert reset_counts(computations)["svms"] > 0
    assert all(fitted_flags(checkpoint()))


def test_without_svms_only_proposals_near_objects_are_computed(folder, computations):
    assert fit("model.classifier=softmax") == 0
    files = list((folder / "runs/mine/1/features").rglob("*.npz"))
    assert len(files) == 5
    numbers = [len(np.load(file)["regions"]) for file in files]
    assert 0 < sum(numbers) < 100
    assert computations["svms"] == 0
    assert computations["regressions"] == 1


def test_a_model_without_fitted_layers_is_left_alone(folder, computations):
    assert fit("model.classifier=softmax", "model.box_regression.enabled=false") == 0
    assert reset_counts(computations) == {"images": 0, "svms": 0, "regressions": 0}
    assert not (folder / "runs/mine/1/features").exists()


def test_kept_features_equal_those_of_the_network(finished):
    task, compared = Task.load_from_checkpoint(finished / "runs/mine/1/best.ckpt").eval(), 0
    shapes = Shapes(split="train", count=5, size=64, min_object=0.3, max_object=0.7)
    images = {index: torch.from_numpy(shapes[index].image).permute(2, 0, 1) for index in range(5)}
    boxes = {index: torch.from_numpy(shapes[index].annotation.boxes) for index in range(5)}
    for file in (finished / "kept").rglob("*.npz"):
        kept = np.load(file)
        regions = torch.from_numpy(kept["regions"])
        index = next(i for i in boxes if torch.equal(regions[: len(boxes[i])], boxes[i].float()) and len(boxes[i]))
        compared += 1
        (prepared,), _ = task.preprocessing([images[index]])
        with torch.inference_mode():
            features = task.network.compute_features(prepared, regions)
        own = features.fc7[: len(boxes[index])]
        for name, computed in (("fc7", features.fc7), ("own_fc7", own), ("deepest", features.deepest[kept["pairs"]])):
            stored = torch.from_numpy(kept[name].astype(np.float32) * kept[f"{name.removeprefix('own_')}_unit"])
            torch.testing.assert_close(stored, computed, atol=1e-3 * float(computed.abs().max()), rtol=1e-3)
    assert compared >= 3


def test_a_truncated_file_is_computed_again(after_a_run, computations):
    file = next((after_a_run / "kept").rglob("*.npz"))
    file.write_bytes(file.read_bytes()[:100])
    assert fit(KEPT) == 0
    assert reset_counts(computations)["images"] == 1


def test_a_damaged_file_is_named(after_a_run, capsys):
    for path in (after_a_run / "kept").glob("*.pt"):
        path.unlink()
    for file in (after_a_run / "kept").rglob("*.npz"):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 255
        file.write_bytes(bytes(content))
    assert fit(KEPT) == 2
    assert "are damaged: delete the file" in re.sub(r"\s+", " ", capsys.readouterr().err)


def test_a_missing_package_raises_before_the_first_epoch(folder, monkeypatch, capsys, computations):
    monkeypatch.setitem(sys.modules, "sklearn.svm", None)
    assert fit() == 2
    assert "scikit-learn" in capsys.readouterr().err
    assert not (folder / "runs/mine/1/last.ckpt").exists()
