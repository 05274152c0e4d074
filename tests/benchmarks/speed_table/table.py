"""The file of the measured rows, and the table of them."""

import json
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks.speed_table.rows import Case, is_ours
from tests.benchmarks.speed_table.timing import Measured

PACKAGES = ("torch", "torchvision", "lightning", "segmentation_models_pytorch", "timm")
COLUMNS = (
    "network",
    "job",
    "batch",
    "precision",
    "visionkit, s",
    "peer, s",
    "ratio",
    "fastest peer, s",
    "ratio",
    "MiB of a step",
    "synchronizations",
    "notes",
)


def key(record: dict[str, Any]) -> tuple[Any, ...]:
    """Return what a row is measured at; a finished row with the same key is skipped."""
    return tuple(json.dumps(record[name]) for name in ("network", "job", "batch", "precision", "device", "sizes"))


def head(device: torch.device) -> dict[str, Any]:
    """Return the device and the versions."""
    on_gpu = device.type == "cuda"
    versions = {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}
    if on_gpu:
        versions |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    threads = f", {torch.get_num_threads()} threads" if torch.get_num_threads() > 1 else ", one thread"
    name = torch.cuda.get_device_name(device) if on_gpu else f"{_cpu()}{threads}"
    return {"device": name, "versions": versions}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _cpu() -> str:
    """Return the name of the processor."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def described(case: Case, machine: dict[str, Any]) -> dict[str, Any]:
    """Return what a row is measured at."""
    setting = case.setting
    sizes = {name: getattr(setting.sizes, name) for name in ("detector", "classifier", "segmenter", "files")}
    return {
        "network": case.name,
        "job": setting.job,
        "batch": setting.batch,
        "precision": setting.precision,
        "sizes": {**sizes, "workers": setting.workers},
        **machine,
    }


def record(case: Case, machine: dict[str, Any], measured: Measured) -> dict[str, Any]:
    """Return a measured row as a line of the file."""
    seconds = measured.medians()
    ours, peers = ([name for name in seconds if is_ours(name) == own] for own in (True, False))
    best = min(ours, key=seconds.__getitem__, default=None)
    ratios = {} if best is None else {peer: list(measured.ratio(peer, best)) for peer in peers}
    return {
        **described(case, machine),
        "complete": case.is_complete,
        "rounds": len(measured.rounds),
        "seconds": seconds,
        "fastest": best,
        "ratios": ratios,
        "memory": measured.memory,
        "synchronizations": measured.synchronizations,
        "failed": measured.failed,
        "missing": None if case.is_complete else case.row.peer,
    }


def read(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file; the last one of each setting."""
    lines = path.read_text().splitlines() if path.is_file() else []
    return [*{key(row): row for row in map(json.loads, lines)}.values()]


def markdown(records: Iterable[dict[str, Any]]) -> str:
    """Return tables, one per device and versions."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in records:
        versions = ", ".join(f"{name} {value}" for name, value in row["versions"].items())
        sizes = ", ".join(f"{name} {value}" for name, value in row["sizes"].items())
        groups.setdefault(f"{row['device']}; {versions}.\nSizes: {sizes}.", []).append(row)
    lines = []
    for title, rows in groups.items():
        lines += [title, "", *(_line(cells) for cells in (COLUMNS, ["---"] * len(COLUMNS), *map(_cells, rows))), ""]
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(row: dict[str, Any]) -> list[str]:
    """Return the cells of a row."""
    seconds, own = row["seconds"], row["fastest"]
    peers = [name for name in seconds if not is_ours(name)]
    first, best = (peers[0], min(peers, key=seconds.__getitem__)) if peers else (None, None)
    of_loader = row["job"] == "loading"
    images = row["sizes"]["files"] // row["batch"] * row["batch"]

    def time_of(name: str | None, generic: str) -> str:
        if name is None:
            return "-"
        value = f"{images / seconds[name]:.0f} images/s" if of_loader else f"{seconds[name]:.4g}"
        return value if name == generic else f"{value} ({name.removeprefix(f'{generic}, ')})"

    compared = [name for name in (own, best) if name is not None]
    notes = [f"{name}: {error}" for name, error in row["failed"].items()]
    if row["missing"]:
        notes.append(f"{row['missing']} is not installed")
    return [
        row["network"],
        row["job"],
        str(row["batch"]),
        "-" if of_loader else row["precision"],
        time_of(own, "visionkit"),
        time_of(first, ""),
        _ratio(row["ratios"].get(first)),
        time_of(best, first or ""),
        _ratio(row["ratios"].get(best)),
        _pair(row["memory"], compared, ".0f"),
        _pair(row["synchronizations"], compared, "d"),
        "; ".join(notes).replace("|", "/"),
    ]


def _ratio(values: list[float] | None) -> str:
    if values is None:
        return "-"
    median, lower, upper = values
    return f"{median:.3f} ({lower:.3f} to {upper:.3f})"


def _pair(values: dict[str, float], names: list[str], form: str) -> str:
    """Return a value of visionkit and one of the peer."""
    return ", ".join(format(values[name], form) for name in names if name in values) or "-"
