"""Faults of single processes of a training run: what the others do, what is saved, and what is said."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import yaml

from tests.robustness.kills import RECIPE, differences, run_of
from visionkit.pipelines.checkpoint import read_checkpoint

pytestmark = pytest.mark.slow

COMMAND = ["-m", "visionkit.cli.main", "fit", "recipe.yaml"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.getcwd(), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}


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


def start(folder, *words, prefix=(sys.executable,), log="log.txt"):
    """Start a command in `folder`, in a process group of its own."""
    with (folder / log).open("w") as file:
        return subprocess.Popen(
            [*prefix, *COMMAND, *words], cwd=folder, env=ENVIRONMENT, stdout=file, stderr=file, start_new_session=True
        )


def finish(process):
    try:
        return process.wait(120)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return "waits for ever"


def children(process):
    done = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in done.stdout.split()]


def wait_for_checkpoint(folder):
    deadline = time.monotonic() + 120
    while not (run_of(folder) / "last.ckpt").is_file():
        assert time.monotonic() < deadline, (folder / "log.txt").read_text()
        time.sleep(0.02)


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
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    nodes = [
        start(
            folder,
            prefix=(
                *(sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"),
                *(f"--node-rank={node}", "--master-addr=127.0.0.1", f"--master-port={port}"),
            ),
            log=f"node{node}.txt",
        )
        for node in (0, 1)
    ]
    assert [finish(node) for node in nodes] == [0, 0], (folder / "node0.txt").read_text()
    assert differences(whole, folder) == []
