"""Faults of single processes of a training run: what the others do, what is saved, and what is said."""

import os
import signal

import pytest
import yaml

from tests.helpers.training_processes import children, finish, start, start_nodes, wait_for_checkpoint
from tests.robustness.kills import RECIPE, differences, run_of
from visionkit.pipelines.checkpoint import read_checkpoint

pytestmark = pytest.mark.slow


def write_recipe(folder, devices=2, workers=0, **trainer):
    """Write a recipe whose steps have four images in all processes."""
    folder.mkdir()
    processes = devices * trainer.get("num_nodes", 1)
    strategy = {"strategy": "ddp"} if processes > 1 else {}
    recipe = {
        **RECIPE,
        "data": {**RECIPE["data"], "batch_size": 4 // processes, "num_workers": workers},
        "trainer": {**RECIPE["trainer"], "devices": devices, **strategy, **trainer},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))


def send(process, number, target):
    """Send a signal to the first process, to the second, or to both as a terminal does."""
    if target == "group":
        os.killpg(process.pid, number)
    else:
        os.kill(process.pid if target == "first" else children(process)[0], number)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Folder of a run of two processes without interruption."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    write_recipe(folder)
    assert finish(start(folder)) == 0
    return folder


@pytest.mark.parametrize(
    ("number", "target"), [("SIGTERM", "first"), ("SIGTERM", "second"), ("SIGTERM", "group"), ("SIGINT", "group")]
)
def test_both_processes_stop_and_the_resumed_run_equals_the_uninterrupted_one(number, target, whole, tmp_path):
    folder, number = tmp_path / "run", getattr(signal, number)
    write_recipe(folder)
    process = start(folder)
    wait_for_checkpoint(folder)
    send(process, number, target)
    assert finish(process) == 128 + number, (folder / "log.txt").read_text()
    said = (folder / "log.txt").read_text()
    assert said.count("the state was saved in runs/recipe/1/last.ckpt") == 1
    assert finish(start(folder, "--resume")) == 0
    assert differences(whole, folder) == []


def test_a_killed_process_ends_the_other_and_leaves_a_checkpoint(whole, tmp_path):
    folder = tmp_path / "run"
    write_recipe(folder)
    process = start(folder)
    wait_for_checkpoint(folder)
    send(process, signal.SIGKILL, "second")
    assert finish(process) == 3
    assert "another process of this run ended" in (folder / "log.txt").read_text()
    read_checkpoint(run_of(folder) / "last.ckpt")
    assert finish(start(folder, "--resume")) == 0
    assert differences(whole, folder) == []


def test_a_killed_loader_process_ends_the_run_with_advice(tmp_path):
    folder = tmp_path / "run"
    write_recipe(folder, devices=1, workers=2)
    process = start(folder)
    wait_for_checkpoint(folder)
    os.kill(children(process)[-1], signal.SIGKILL)
    assert finish(process) == 3
    assert "lower data.num_workers" in (folder / "log.txt").read_text()
    assert finish(start(folder, "--resume")) == 0


def test_two_nodes_of_torchrun_train_like_two_processes(whole, tmp_path):
    folder = tmp_path / "run"
    write_recipe(folder, devices=1, num_nodes=2)
    nodes = start_nodes(folder)
    assert [finish(node) for node in nodes] == [0, 0], (folder / "node0.txt").read_text()
    assert differences(whole, folder) == []
