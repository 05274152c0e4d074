"""Two nodes that train on packed data from a web server: one is killed, and both continue exactly."""

import os
import signal

import numpy as np
import pytest
import yaml

from tests.helpers.packed_files import serve_folder, write_uneven
from tests.helpers.training_processes import children, finish, start_nodes, start_tasks, wait_for_checkpoint
from tests.robustness.kills import RECIPE, differences, run_of
from visionkit.data.datasets.shapes import Shapes
from visionkit.pipelines.checkpoint import read_checkpoint

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    one = {"size": 32, "max_objects": 1, "empty_share": 0.0}
    splits = {"train": Shapes(count=26, **one), "val": Shapes(count=9, split="val", **one)}
    made = write_uneven(tmp_path_factory.mktemp("made") / "packed", splits, [1, 5, 3])
    with serve_folder(made) as server:
        yield server


def write_recipe(folder, server, **stream):
    """Write a recipe for two nodes of one process each, with a cache of its own."""
    folder.mkdir()
    data = {
        "format": "packed",
        "root": server.address,
        "splits": {"train": {"split": "train"}, "val": {"split": "val"}},
        "augment": [{"name": "HorizontalFlip", "p": 0.5}],
        "batch_size": 2,
        "num_workers": 1,
        "stream": {"window": 2, "cache": str(folder / "cache"), **stream},
    }
    trainer = {**RECIPE["trainer"], "num_nodes": 2, "strategy": "ddp"}
    (folder / "recipe.yaml").write_text(yaml.safe_dump({**RECIPE, "data": data, "trainer": trainer}))


@pytest.fixture(scope="module")
def whole(tmp_path_factory, server):
    """Folder of a run without interruption."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    write_recipe(folder, server)
    nodes = start_nodes(folder)
    assert [finish(node) for node in nodes] == [0, 0], (folder / "node0.txt").read_text()
    return folder


def assert_same_run(whole, folder):
    """Compare two runs bit for bit; but the mean loss of an epoch is summed in another order after a kill."""
    assert [text for text in differences(whole, folder) if not text.startswith("metrics.csv")] == []
    first, second = (np.genfromtxt(run_of(path) / "metrics.csv", delimiter=",")[1:] for path in (whole, folder))
    np.testing.assert_allclose(second, first, rtol=1e-6)


@pytest.mark.parametrize("killed", [0, 1])
def test_a_node_dies_and_the_resumed_run_equals_the_uninterrupted_one(killed, whole, server, tmp_path):
    folder = tmp_path / "run"
    write_recipe(folder, server)
    nodes = start_nodes(folder)
    wait_for_checkpoint(folder, "node0.txt")
    for process in [*children(nodes[killed]), nodes[killed].pid]:
        os.kill(process, signal.SIGKILL)
    assert finish(nodes[killed]) == -signal.SIGKILL
    assert finish(nodes[1 - killed]) not in (0, "waits for ever")
    saved = read_checkpoint(run_of(folder) / "last.ckpt")
    assert 0 < saved["global_step"] < 21, "killed in the middle of the run"
    assert [finish(node) for node in start_nodes(folder, "--resume")] == [0, 0], (folder / "node0.txt").read_text()
    assert_same_run(whole, folder)


def test_a_smaller_cache_changes_nothing(whole, server, tmp_path):
    folder = tmp_path / "run"
    write_recipe(folder, server, cache_gb=6e-5)
    assert [finish(node) for node in start_nodes(folder)] == [0, 0], (folder / "node0.txt").read_text()
    assert_same_run(whole, folder)


def test_tasks_of_slurm_train_like_nodes_of_torchrun(whole, server, tmp_path):
    folder = tmp_path / "run"
    write_recipe(folder, server)
    assert [finish(task) for task in start_tasks(folder)] == [0, 0], (folder / "node0.txt").read_text()
    assert_same_run(whole, folder)
