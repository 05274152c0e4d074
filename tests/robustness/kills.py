"""Kill training runs at random moments, resume them, and compare the result with a run without interruption.

    python -m tests.robustness.kills KILLS SEED FOLDER

Runs are trained in FOLDER by `visionkit fit`, with a checkpoint after each step, until KILLS of them were killed by
SIGKILL. After each kill, every checkpoint in the run folder is loaded. Each finished run must equal the uninterrupted
run bit for bit: weights, optimizer, moving average and metrics.csv. The temporary folder is that of the system, which
may be on another file system than FOLDER (set TMPDIR). Prints the number of kills by the state of the run folder.
"""

import csv
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml

from visionkit.data.io.atomic_write import TEMPORARY
from visionkit.pipelines.checkpoint import read_checkpoint

RECIPE: dict[str, Any] = {
    "task": "classification",
    "model": {"name": "classifier", "backbone": {"name": "cifar_resnet20", "weights": "none"}},
    "data": {
        "format": "shapes",
        "splits": {
            split: {"split": split, "count": count, "size": 32, "max_objects": 1, "empty_share": 0.0}
            for split, count in (("train", 24), ("val", 8))
        },
        "batch_size": 4,
        "num_workers": 0,
        "augment": [{"name": "HorizontalFlip", "p": 0.5}],
    },
    "preprocess": {"short_side": 32, "crop": 32},
    "optimizer": {"name": "adamw", "lr": 0.003},
    "ema": {"decay": 0.9},
    "checkpoint": {"every_n_steps": 1},
    "trainer": {"max_epochs": 3, "accelerator": "cpu", "devices": 1, "enable_progress_bar": False},
}


@dataclass
class Campaign:
    """Counts of what was found after the kills."""

    kills: int = 0
    states: Counter[str] = field(default_factory=Counter)
    finished: int = 0
    differences: list[str] = field(default_factory=list)


def run_campaign(kills: int, seed: int, folder: Path, **overrides: Any) -> Campaign:
    """Kill runs in `folder` until `kills` were killed, and return what was found.

    Args:
        kills: number of kills.
        seed: seed of the moments.
        folder: folder of the runs; it is created.
        overrides: values of the section `data` of the recipe.
    """
    moments, campaign = random.Random(seed), Campaign()
    whole = folder / "whole"
    start = time.monotonic()
    assert _fit(whole, None, **overrides) == 0, (whole / "log.txt").read_text()
    duration = time.monotonic() - start
    number = 0
    while campaign.kills < kills:
        interrupted = folder / str(number)
        while _fit(interrupted, moments.uniform(0, duration), **overrides) == -signal.SIGKILL:
            campaign.kills += 1
            campaign.states[_state(interrupted)] += 1
            if campaign.kills >= kills:
                return campaign
        campaign.finished += 1
        campaign.differences += [f"run {number}: {text}" for text in differences(whole, interrupted)]
        shutil.rmtree(interrupted)
        number += 1
    return campaign


def _fit(folder: Path, moment: float | None, **overrides: Any) -> int:
    """Train or resume the run in `folder` in a process that is killed after `moment` seconds; return its status."""
    folder.mkdir(parents=True, exist_ok=True)
    recipe = {**RECIPE, "data": {**RECIPE["data"], **overrides}}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    resumes = (run_of(folder) / "last.ckpt").is_file()
    child = os.fork()  # not a new program: importing torch would take most of the time
    if child == 0:
        os._exit(_train(folder, resumes))
    deadline = None if moment is None else time.monotonic() + moment
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            assert status in (0, signal.SIGKILL), (folder / "log.txt").read_text()
            return os.waitstatus_to_exitcode(status)
        if deadline is not None and time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            deadline = None
        time.sleep(0.001)


def _train(folder: Path, resumes: bool) -> int:
    from visionkit.cli.main import main

    log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(folder)
    if not resumes:
        shutil.rmtree("runs", ignore_errors=True)
    return main(["fit", "recipe.yaml", *(["--resume"] if resumes else [])])


def run_of(folder: Path) -> Path:
    """Return the run folder of the run in `folder`."""
    return folder / "runs" / "recipe" / "1"


def _state(folder: Path) -> str:
    """Load every checkpoint of a killed run, and return what was there."""
    run = run_of(folder)
    checkpoints = sorted(run.glob("*.ckpt")) if run.is_dir() else []
    for path in checkpoints:
        read_checkpoint(path)
    if not run.is_dir():
        return "before the run folder"
    if not checkpoints:
        return "before the first checkpoint"
    return "while writing a file" if any(TEMPORARY.fullmatch(path.name) for path in run.iterdir()) else "between writes"


def differences(whole: Path, interrupted: Path) -> list[str]:
    """Return in what a run that was killed and resumed differs from the uninterrupted run."""
    first, second = (torch.load(run_of(folder) / "last.ckpt", weights_only=True) for folder in (whole, interrupted))
    found = [
        f"last.ckpt: {key}"
        for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch")
        if not _equal(first[key], second[key])
    ]
    rows, again = (_rows(run_of(folder) / "metrics.csv") for folder in (whole, interrupted))
    return found + ([] if rows == again else [f"metrics.csv: {len(rows)} rows, {len(again)} after kills"])


def _equal(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(_equal(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(_equal, first, second))
    return bool(first == second)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]


def main() -> int:
    """Run the campaign of the command line."""
    kills, seed, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    import visionkit.cli.training  # noqa: F401  # before the fork

    campaign = run_campaign(kills, seed, folder)
    for state, count in campaign.states.most_common():
        print(f"{count:4d} kills {state}")
    print(f"{campaign.finished} runs finished after kills; {len(campaign.differences)} differences")
    for text in campaign.differences:
        print(text)
    return bool(campaign.differences)


if __name__ == "__main__":
    sys.exit(main())
