"""The speed table with tiny rows: what it measures, skips and says."""

import json
import warnings
from importlib.metadata import version
from itertools import count, pairwise

import pytest
import torch

from tests.benchmarks.speed_table import __main__ as speed_table
from tests.benchmarks.speed_table import rows
from tests.benchmarks.speed_table.detectors import DETECTORS, peers_batch, random_batch, torchvisions, visionkits
from tests.benchmarks.speed_table.segmenters import CLASSES, PlainFCN8s
from tests.benchmarks.speed_table.setting import Sizes
from tests.benchmarks.speed_table.table import read
from tests.benchmarks.speed_table.timing import Timer, count_synchronizations, interleaved, measure, ratio
from visionkit.backbones import create_backbone
from visionkit.models import create_model

TINY = Sizes((64, 64), 32, 32, 4)


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def run(path, *words):
    """Run the table on the loader and a small training step, and return the lines of its file."""
    common = ["--batch", "2", "--precision", "fp32", "--rounds", "2", "--output", str(path)]
    assert speed_table.main([*common, *(words or ("--rows", "loader,resnet50"))], TINY) == 0
    return path.read_text().splitlines() if path.exists() else []


def test_rows_are_measured_once_and_compared(tmp_path, capsys):
    path = tmp_path / "table.jsonl"
    lines = run(path)
    assert run(path) == lines
    assert [(row["network"], row["job"]) for row in map(json.loads, lines)] == [
        ("loader", "loading"),
        ("resnet50", "training"),
        ("resnet50", "inference"),
    ]
    assert {"plain loop", "plain loop, channels-last"} == json.loads(lines[1])["ratios"].keys()
    table = path.with_suffix(".md").read_text()
    assert table.count("| resnet50 | ") == 2
    assert "images/s" in table
    assert f"torch {version('torch')}" in table
    assert table in capsys.readouterr().out


def test_no_row_starts_after_the_time(tmp_path, capsys):
    assert run(tmp_path / "table.jsonl", "--rows", "loader,resnet50", "--minutes", "-1") == []
    assert "3 rows are left" in capsys.readouterr().out


def test_a_row_without_its_peer_says_so_and_is_measured_again_with_it(tmp_path, monkeypatch):
    path, loader = tmp_path / "table.jsonl", rows.ROWS["loader"]
    monkeypatch.setitem(rows.ROWS, "loader", loader._replace(peer="no_such_package"))
    (alone,) = run(path, "--rows", "loader")
    assert json.loads(alone)["seconds"].keys() == {"visionkit"}
    assert "no_such_package is not installed" in path.with_suffix(".md").read_text()
    monkeypatch.setitem(rows.ROWS, "loader", loader)
    assert len(run(path, "--rows", "loader")) == 2
    (row,) = read(path)
    assert row["complete"]


@pytest.mark.parametrize("words", [("--rows", "resnet"), ("--precision", "fp16")])
def test_unknown_words_are_refused(words, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run(tmp_path / "table.jsonl", *words)
    assert "there is no" in capsys.readouterr().err


def test_no_job_always_follows_the_same_other():
    order = []
    jobs = {name: name for name in "abc"}
    clock = count()
    found = interleaved(jobs, lambda name: order.append(name) or next(clock), warm_up=1, rounds=12)
    assert len(found) == 12
    before = {(one, two) for one, two in pairwise(order) if one != two}
    assert len(before) == 6


def test_ratios_are_those_of_the_same_round():
    rounds = [{"ours": own, "theirs": 2 * own} for own in (1.0, 10.0, 100.0)]
    assert ratio(rounds, "ours", "theirs") == (0.5, 0.5, 0.5)


def test_a_contender_that_cannot_run_is_left_out():
    def fails():
        raise MemoryError("not enough")

    found = measure({"ours": lambda: lambda: None, "theirs": fails}, Timer(torch.device("cpu")), rounds=2)
    assert found.failed == {"theirs": "MemoryError: not enough"}
    assert [row.keys() for row in found.common] == [{"ours"}] * 2


def test_only_warnings_of_synchronizations_are_counted():
    def step():
        for _ in range(3):
            warnings.warn("called a synchronizing CUDA operation", UserWarning, stacklevel=1)
        warnings.warn("something else", UserWarning, stacklevel=1)

    assert count_synchronizations(step) == 3


def test_fcn8s_has_the_layers_of_the_plain_one():
    ours = create_model("fcn8s", create_backbone("vgg16", weights="none"), CLASSES, head_channels=8)
    shapes = [
        sorted(tuple(value.shape) for value in network.parameters()) for network in (ours, PlainFCN8s(head_channels=8))
    ]
    assert shapes[0] == shapes[1]


def test_a_detector_gets_the_images_objects_and_weights_of_its_peer():
    assert {"faster_rcnn", "mask_rcnn", "retinanet", "ssd300"} == DETECTORS.keys()
    batch = random_batch(1, (64, 96), torch.device("cpu"))
    task, theirs = visionkits("retinanet", (64, 96)), torchvisions("retinanet", (64, 96)).train()
    images, targets = peers_batch(batch, with_masks=True)
    assert targets[0]["masks"].flatten(1).sum(1).min() > 0
    ours, expected = task.train().training_losses(batch, 0), theirs(images, targets)
    for name, value in (("loss_classifier", "classification"), ("loss_box", "bbox_regression")):
        torch.testing.assert_close(ours[name], expected[value], rtol=1e-3, atol=1e-4)
