"""Folder of a training run: `runs/<recipe>/<n>/` with the recipe, checkpoints and logs."""

from pathlib import Path
from typing import Any

import yaml

from visionkit.errors import VisionkitError


def new_run_folder(recipe_name: str, root: str | Path = "runs") -> Path:
    """Create and return the next free folder `runs/<recipe>/<n>/`.

    Raises:
        VisionkitError: the folder cannot be written.
    """
    parent = Path(root) / recipe_name
    try:
        parent.mkdir(parents=True, exist_ok=True)
        numbers = [int(folder.name) for folder in parent.iterdir() if folder.name.isdigit()]
        folder = parent / str(max(numbers, default=0) + 1)
        folder.mkdir()
    except OSError as error:
        raise VisionkitError(f"the run folder {parent} cannot be written: {error.strerror}") from error
    return folder


def latest_checkpoint(recipe_name: str, root: str | Path = "runs") -> Path:
    """Return `last.ckpt` of the newest run of a recipe.

    Raises:
        VisionkitError: no run of the recipe has a `last.ckpt`.
    """
    paths = [path for path in (Path(root) / recipe_name).glob("*/last.ckpt") if path.parent.name.isdigit()]
    if not paths:
        raise VisionkitError(f"nothing to resume: no {Path(root) / recipe_name}/<n>/last.ckpt")
    return max(paths, key=lambda path: int(path.parent.name))


def write_recipe(recipe: dict[str, Any], folder: Path) -> None:
    """Write the composed recipe to `recipe.yaml` in the run's folder."""
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True))
