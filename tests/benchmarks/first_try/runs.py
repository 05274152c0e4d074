"""Runs of the benchmark: a command that trains, pinned to one core, and a command that scores what it has written."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tests.benchmarks.first_try.cards import write_card
from tests.benchmarks.first_try.settings import SETTINGS, Setting
from tests.benchmarks.schedules import processor_seconds
from visionkit.data.io.file_lock import try_lock, waiting_lock

REPOSITORY = Path(__file__).resolve().parents[3]
PACKAGES = ("torch", "torchvision", "timm", "lightning", "scikit-learn", "segmentation-models-pytorch")
FAILURE_LINES = 15
COMMANDS = {"val": "validate", "test": "test"}

Record = dict[str, Any]
"""A line of results.jsonl."""


@dataclass(frozen=True)
class Run:
    """One training: the dataset, who trains, for how long, and from which random numbers."""

    setting: str
    system: str
    minutes: float
    seed: int

    @property
    def name(self) -> str:
        """Path of its folder."""
        return f"{self.setting}/{self.system}-{self.minutes:g}-{self.seed}"


class FailedError(Exception):
    """A command ended with an error; the message is the end of its output."""


def measure_all(runs: list[Run], out: Path, data: Path, core: int) -> None:
    """Measure the runs that have no metrics yet, and append a record of each to results.jsonl.

    Two processes may do this for one folder at a time: a run that one of them is measuring is left out by the other.
    """
    for run in runs:
        with lock_path(out, run.name.replace("/", "-")).open("w") as file:
            if try_lock(file) and run not in finished(out):
                print(run.name, flush=True)
                record = measure(run, prepare(run.setting, out, data), out / run.name, core)
                append(record, out)
                print(record.get("failure") or json.dumps(record["metrics"]), flush=True)


def prepare(name: str, out: Path, data: Path) -> Path:
    """Return the data card of a setting, which is written with its files if it does not exist."""
    folder, card = out / "data" / name, out / "data" / f"{name}.yaml"
    card.parent.mkdir(parents=True, exist_ok=True)
    with waiting_lock(lock_path(out, "data")):
        if not card.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            write_card(SETTINGS[name].card(data, folder), card)
    return card


def lock_path(out: Path, name: str) -> Path:
    """Return the path of a lock, in a folder that exists."""
    path = out / "locks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def measure(run: Run, card: Path, folder: Path, core: int) -> Record:
    """Train and score, and return the record; it has the end of the output in place of metrics if a command fails."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    record, setting = {**asdict(run), "core": core, "versions": versions()}, SETTINGS[run.setting]
    limit = 600 + 240 * run.minutes
    try:
        started, spent = time.monotonic(), processor_seconds()
        run_pinned(fit_words(run, setting, card), folder, "fit.log", core, limit)
        used = {"wall_seconds": time.monotonic() - started, "cpu_seconds": processor_seconds() - spent}
        record |= {key: round(seconds, 1) for key, seconds in used.items()}
        for key, words, file in score_words(run, setting, card, folder):
            run_pinned(words, folder, "score.log", core, limit)
            found = json.loads((folder / file).read_text())["overall"]
            record[key] = {name: found.get(name) for name in setting.metrics}
    except FailedError as error:
        return {**record, "failure": str(error)}
    return record


def fit_words(run: Run, setting: Setting, card: Path) -> list[str]:
    """Return the command that trains."""
    given = ["--minutes", f"{run.minutes:g}"]
    if run.system == "plain":
        script, *options = setting.plain.split()
        return [f"tests.benchmarks.plain.{script}", "fit", str(card), *options, *given, "--seed", str(run.seed)]
    recipe = setting.best.split() if run.system == "best" else []
    words = ["fit", *recipe, str(card), *given, f"seed={run.seed}", "data.num_workers=0"]
    return ["tests.benchmarks.first_try.cpu_minutes", *words]


def score_words(run: Run, setting: Setting, card: Path, folder: Path) -> Iterator[tuple[str, list[str], str]]:
    """Yield the commands that score, each with the key of its metrics in the record and the file they are written to.

    The metrics are those of best.ckpt. If it was chosen on the images that are scored, last.ckpt is scored too.
    """
    if run.system == "plain":
        script, *options = setting.plain.split()
        words = [f"tests.benchmarks.plain.{script}", "score", str(card), *options, "--split", setting.split]
        yield "metrics", words, "metrics.json"
        return
    last = next(folder.glob("runs/*/*/last.ckpt"), None)
    best = next(folder.glob("runs/*/*/best.ckpt"), last)
    if best is None:
        raise FailedError("visionkit fit has written no checkpoint")
    checkpoints = {"metrics": best} | ({"last_metrics": last} if setting.split == "val" and last else {})
    for key, checkpoint in checkpoints.items():
        words = ["visionkit", COMMANDS[setting.split], str(checkpoint.relative_to(folder)), "--output", key]
        yield key, words, f"{key}/metrics.json"


def run_pinned(words: list[str], folder: Path, log: str, core: int, limit: float) -> None:
    """Run a Python module in a folder, on one core without a GPU, and append its output to a file there.

    Raises:
        FailedError: it ends with an error, or takes more than `limit` seconds.
    """
    paths = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", *words]
    try:
        with (folder / log).open("a") as output:
            subprocess.run(
                command,
                cwd=folder,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=True,
                timeout=limit,
                preexec_fn=lambda: os.sched_setaffinity(0, {core}),
            )
    except subprocess.SubprocessError as error:
        lines = (folder / log).read_text(errors="replace").splitlines()[-FAILURE_LINES:]
        raise FailedError("\n".join([*lines, f"{type(error).__name__}: {' '.join(words)}"])) from error


def append(record: Record, out: Path) -> None:
    """Add a line to results.jsonl."""
    with waiting_lock(lock_path(out, "results")), (out / "results.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n")


def read_records(out: Path) -> list[Record]:
    """Return the records of results.jsonl. A run that failed and was repeated has its newest record only."""
    path = out / "results.jsonl"
    records = map(json.loads, path.read_text().splitlines()) if path.exists() else []
    return list({run_of(record): record for record in records}.values())


def finished(out: Path) -> set[Run]:
    """Return the runs with metrics."""
    return {run_of(record) for record in read_records(out) if "failure" not in record}


def run_of(record: Record) -> Run:
    """Return the run of a record."""
    return Run(record["setting"], record["system"], record["minutes"], record["seed"])


def versions() -> dict[str, str]:
    """Return the versions of the packages, and the commit of visionkit."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "missing"
    git = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    return {"visionkit": commit or version("visionkit"), "python": sys.version.split()[0], **found}
