"""Folder of a training run: `runs/<recipe>-<cards>/<n>/` with the recipe, checkpoints and logs."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from visionkit.data.io.atomic_write import write_text
from visionkit.errors import VisionkitError, WriteError

FINISHED = "finished.yaml"
"""Name of the file in a finished run's folder. It holds the limits of the training that was finished."""

MINUTES = "minutes"
"""Key in this file for the given time."""

RECIPE_FILE = "recipe.yaml"
"""Name of the file with the composed recipe in a run's folder."""


class RunName(NamedTuple):
    """Names that a run's folder has: the recipe, None if it was made for the card, and the data cards.

    Example:
        >>> from visionkit.engine.run_folder import RunName
        >>> RunName("unet_resnet34", ["camvid"]).folder
        'unet_resnet34-camvid'
    """

    recipe: str | None
    cards: list[str]

    @property
    def folder(self) -> str:
        """Name of the folder that holds the numbered runs."""
        return "-".join([*([self.recipe] if self.recipe else []), *self.cards])


def new_run_folder(recipe_name: str, root: str | Path = "runs") -> Path:
    """Create and return the next free folder `runs/<recipe>/<n>/`.

    Raises:
        WriteError: the folder cannot be written.
    """
    parent = Path(root) / recipe_name
    try:
        parent.mkdir(parents=True, exist_ok=True)
        number = max(_run_numbers(parent), default=0) + 1
        while True:
            try:
                (parent / str(number)).mkdir()
                return parent / str(number)
            except FileExistsError:  # of another run that starts at the same time
                number += 1
    except OSError as error:
        raise WriteError(f"the run folder {parent} cannot be written: {error.strerror}") from error


def latest_checkpoint(name: RunName, root: str | Path = "runs") -> Path:
    """Return `last.ckpt` of the newest run of a recipe with its cards.

    Raises:
        VisionkitError: there is no such run, or the newest one has no `last.ckpt`. An older run is not taken silently.
    """
    parent = Path(root) / name.folder
    numbers = sorted(_run_numbers(parent), reverse=True) if parent.is_dir() else []
    paths = [path for number in numbers if (path := parent / str(number) / "last.ckpt").is_file()]
    if not paths:
        other = Path(root) / RunName(name.recipe, []).folder
        has_others = name.recipe is not None and name.cards and any(other.glob("*/last.ckpt"))
        advice = f"\nto continue a run of {other}: --resume {other}/<n>/last.ckpt" if has_others else ""
        raise VisionkitError(f"nothing to resume: no {parent}/<n>/last.ckpt{advice}")
    newest = parent / str(numbers[0])
    if paths[0].parent != newest:
        raise VisionkitError(
            f"nothing to resume: the newest run {newest} has no last.ckpt yet\n"
            f"to continue an older run: --resume {paths[0]}"
        )
    return paths[0]


def write_recipe(recipe: dict[str, Any], folder: Path) -> None:
    """Write the composed recipe to `recipe.yaml` in the run's folder.

    The recipe of a resumed run, if it differs from the recipes that are there, is written to `recipe.resumed-1.yaml`
    and so on.

    Raises:
        WriteError: the file cannot be written.
    """
    text = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)
    path, number = folder / RECIPE_FILE, 0
    while path.exists():
        if path.read_bytes() == text.encode():
            return
        number += 1
        path = folder / f"recipe.resumed-{number}.yaml"
    write_text(path, text)


def mark_finished(folder: Path, trainer_options: Mapping[str, Any], minutes: float | None = None) -> None:
    """Record that the training is finished.

    Args:
        folder: folder of the run.
        trainer_options: section `trainer` of its recipe.
        minutes: given time, which ended the training in place of these options.
    """
    limits = _limits(trainer_options) if minutes is None else {MINUTES: minutes}
    write_text(folder / FINISHED, yaml.safe_dump(limits))


def check_not_finished(folder: Path, trainer_options: Mapping[str, Any], minutes: float | None = None) -> None:
    """Check that a resumed run is not finished, or is to be trained for longer.

    Args:
        folder: folder of the run.
        trainer_options: section `trainer` of the recipe that it is resumed with.
        minutes: given time of the resumed run; None for these options.

    Raises:
        VisionkitError: the run is finished, and the options are not for a longer training.
    """
    path = folder / FINISHED
    if not path.is_file():
        return
    before = yaml.safe_load(path.read_text())
    if _is_longer(before, _limits(trainer_options), minutes):
        return
    ended = ", ".join(
        f"--minutes {value:g}" if name == MINUTES else f"trainer.{name}={value}"
        for name, value in before.items()
        if value not in (None, -1)
    )
    larger = "more --minutes" if MINUTES in before else "a larger trainer.max_epochs"
    raise VisionkitError(
        f"the run {folder} is finished ({ended}), and is not trained again\n"
        f"to go on, give {larger}; for a new run, leave out --resume"
    )


def _is_longer(before: Mapping[str, Any], now: Mapping[str, Any], minutes: float | None) -> bool:
    """Return whether a training has other limits than a finished one, and is longer as far as they can be compared."""
    if MINUTES in before or minutes is not None:
        return minutes is not None and minutes > before.get(MINUTES, 0)
    return bool(now["max_time"] != before["max_time"]) or any(
        _as_number(now[name]) > _as_number(before[name]) for name in ("max_epochs", "max_steps")
    )


def mark_unfinished(folder: Path) -> None:
    """Remove the mark of a finished run that is trained for longer."""
    (folder / FINISHED).unlink(missing_ok=True)


def _limits(trainer_options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of Lightning's Trainer that end a training, with its defaults."""
    epochs, steps, time = (trainer_options.get(name) for name in ("max_epochs", "max_steps", "max_time"))
    is_limited = steps not in (None, -1) or time is not None
    default = -1 if is_limited else 1000
    return {
        "max_epochs": default if epochs is None else epochs,
        "max_steps": -1 if steps is None else steps,
        "max_time": time,
    }


def _as_number(limit: Any) -> float:
    """Return a number of epochs or steps; -1 is no limit. Values of other types are refused by the trainer."""
    return math.inf if limit == -1 else limit if isinstance(limit, int) else 0


def _run_numbers(parent: Path) -> list[int]:
    return [int(folder.name) for folder in parent.iterdir() if folder.name.isdecimal()]
