"""Folder of the real datasets: `$VISIONKIT_DATA`, or `shared/data` beside the checkout."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def real_data(name: str) -> Path:
    """Return the folder of the dataset `name`; skip the calling test if it does not exist."""
    roots = [os.environ.get("VISIONKIT_DATA"), REPOSITORY.parent / "shared" / "data", REPOSITORY / "shared" / "data"]
    for root in filter(None, roots):
        folder = Path(root) / name
        if folder.exists():
            return folder
    pytest.skip(f"real dataset {name!r} not found: set VISIONKIT_DATA to the folder that holds it")
