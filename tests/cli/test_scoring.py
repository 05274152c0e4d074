"""`visionkit test` in one and in two processes, and the split that it scores."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.small_runs import RECIPES, checkpoints_of
from visionkit.cli.main import main


@pytest.fixture(scope="module", params=RECIPES)
def checkpoint(request, tmp_path_factory):
    return checkpoints_of(request.param, tmp_path_factory.mktemp(request.param))[0]


def scores(checkpoint, count, devices, folder):
    """Return metrics.json and predictions.json of `count` images."""
    words = [f"data.splits.test={{split: test, count: {count}, size: 64, max_objects: 1, empty_share: 0.0}}"]
    if "segmentation" in str(checkpoint):
        words = [words[0].replace("}", ", semantic: true}")]
    words += [f"trainer.devices={devices}", "trainer.strategy=ddp"] if devices > 1 else []
    words += ["trainer.accelerator=cpu", "trainer.enable_progress_bar=false"]
    done = subprocess.run(
        [sys.executable, "-m", "visionkit", "test", str(checkpoint), *words, "--output", str(folder)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"},
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / name).read_text()) for name in ("metrics.json", "predictions.json")]


@pytest.mark.slow
@pytest.mark.parametrize("count", [5, 1])
def test_two_processes_score_every_image_once(checkpoint, count, tmp_path):
    alone, rows = scores(checkpoint, count, 1, tmp_path / "alone")
    together, more_rows = scores(checkpoint, count, 2, tmp_path / "together")
    for name, value in alone["overall"].items():
        assert together["overall"][name] == pytest.approx(value, abs=1e-6), name
    assert together["confusion"] == alone["confusion"]
    assert sorted(map(str, (row["image_id"] for row in rows))) == sorted(
        map(str, (row["image_id"] for row in more_rows))
    )


def test_a_missing_test_split_is_said_and_validate_scores_val(checkpoint, capsys, tmp_path):
    assert main(["test", str(checkpoint), "--output", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert "the data has no test split" in message
    assert "visionkit validate" in message
    assert not [*tmp_path.iterdir()]
    assert main(["validate", str(checkpoint), "--output", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "metrics.json").read_text())["split"] == "val"
