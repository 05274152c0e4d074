"""Several heads in two processes whose batches lack a head: the run ends, and all processes have the same weights."""

import json
import os
import subprocess
import sys

import pytest

BALANCING = ("fixed", "uncertainty", "gradnorm", "pcgrad")

SCRIPT = """
import json, sys, torch, lightning.pytorch as pl
from tests.helpers.small_multi import multi_data, multi_task
from tests.helpers.small_trainer import small_trainer

torch.set_num_threads(1)
SPLITS = {
    "objects": {"train": {"count": 7, "size": 64, "seed": 1}, "val": {"count": 3, "size": 64, "split": "val"}},
    "tags": {"train": {"count": 3, "size": 64, "seed": 2}, "val": {"count": 1, "size": 64, "split": "other"}},
}

def trained(balancing):
    pl.seed_everything(0, verbose=False)
    data = multi_data("objects", "tags", splits=SPLITS, batch_size=1)
    task = multi_task(data, name=balancing, cosine_every=1)
    trainer = small_trainer(devices=2, strategy="ddp", max_epochs=2)
    trainer.fit(task, data)
    weights = {name: value.double().abs().sum().item() for name, value in task.state_dict().items()}
    metrics = {name: value.item() for name, value in trainer.callback_metrics.items() if not name.endswith("_step")}
    return {"weights": weights, "metrics": metrics, "steps": trainer.global_step}, trainer.global_rank

for balancing in sys.argv[2:]:
    found, rank = trained(balancing)
    with open(f"{sys.argv[1]}/{balancing}-{rank}.json", "w") as file:
        json.dump(found, file)
torch.distributed.destroy_process_group()
"""


def run(script, *words):
    """Run a script that starts two processes."""
    return subprocess.run(
        [sys.executable, str(script), *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": ".", "CUDA_VISIBLE_DEVICES": ""},
        check=False,
        timeout=240,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (folder / "run.py").write_text(SCRIPT)
    done = run(folder / "run.py", folder, *BALANCING)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.parametrize("balancing", BALANCING)
def test_the_processes_have_the_same_weights_and_metrics(balancing, folder):
    first, second = (json.loads((folder / f"{balancing}-{rank}.json").read_text()) for rank in (0, 1))
    assert first["steps"] == second["steps"] == 10
    shared = {name for name in first["weights"] if "running" not in name and "num_batches" not in name}
    assert {name: first["weights"][name] for name in shared} == {name: second["weights"][name] for name in shared}
    assert first["metrics"] == second["metrics"]
    assert {"val/objects/AP", "val/tags/mAP", "val/tags/loss", "train/objects/loss"} <= first["metrics"].keys()


SHORT_SCRIPT = """
import sys, torch, lightning.pytorch as pl
from tests.helpers.small_multi import HEADS, multi_data, multi_task
from tests.helpers.small_trainer import small_trainer

torch.set_num_threads(1)
HEADS["objects"]["out_stages"] = ["s8"]
SPLIT = {"train": {"count": 4, "size": 64}, "val": {"count": 2, "size": 64, "split": "val"}}
SPLITS = {"shared": {}, "own": {"objects": SPLIT, "tags": {**SPLIT, "train": {"count": 4, "size": 64, "seed": 2}}}}

pl.seed_everything(0, verbose=False)
data = multi_data("objects", "tags", splits=SPLITS[sys.argv[1]], batch_size=1)
trainer = small_trainer(devices=2, strategy="ddp")
trainer.fit(multi_task(data), data)
print("steps", trainer.global_step)
torch.distributed.destroy_process_group()
"""


@pytest.mark.parametrize(
    "images",
    [
        pytest.param("shared", id="every image has labels of all heads"),
        pytest.param("own", id="a stage is used by one head, and a batch has no label of it"),
    ],
)
def test_two_processes_train_to_the_end(images, tmp_path):
    (tmp_path / "run.py").write_text(SHORT_SCRIPT)
    done = run(tmp_path / "run.py", images)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "steps " in done.stdout
