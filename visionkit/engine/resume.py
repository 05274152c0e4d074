"""Checks of a checkpoint that training continues from."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from visionkit.errors import CheckpointError
from visionkit.pipelines.checkpoint import read_checkpoint
from visionkit.tasks import Task


def read_resumable(path: Path) -> dict[str, Any]:
    """Read a checkpoint to continue training from.

    Raises:
        CheckpointError: it cannot be read, or holds no training state. The message names an intact checkpoint of the
            same run if there is one.
    """
    try:
        return _read_training_state(path)
    except CheckpointError as error:
        intact = _newest_intact(path)
        if intact is None:
            raise
        other, epoch = intact
        raise CheckpointError(f"{error}\n{other} is intact (epoch {epoch}): --resume {other}") from error


def check_same_network(checkpoint: dict[str, Any], task: Task, path: Path) -> None:
    """Check that a checkpoint is one of the task that a recipe describes.

    Raises:
        CheckpointError: it is for another task or network, or for other classes.
    """
    description, advice = checkpoint["visionkit"], f"resume with the recipe of the run: {path.parent / 'recipe.yaml'}"
    if description["task"] != task.name:
        raise CheckpointError(f"{path} is for the task {description['task']}, the recipe for {task.name}\n{advice}")
    if description["class_names"] != task.class_names:
        raise CheckpointError(
            f"{path} has {len(description['class_names'])} classes ({', '.join(description['class_names'][:5])} ...), "
            f"the data {len(task.class_names)} ({', '.join(task.class_names[:5])} ...)\n{advice}"
        )
    shapes = [
        {name: list(value.shape) for name, value in state.items()}
        for state in (checkpoint["state_dict"], task.state_dict())
    ]
    differing = [name for name in sorted({*shapes[0], *shapes[1]}) if shapes[0].get(name) != shapes[1].get(name)]
    if differing:
        theirs, ours = (side.get(differing[0], "missing") for side in shapes)
        raise CheckpointError(
            f"{path} is of another network than the recipe: {len(differing)} tensors differ, such as\n"
            f"{differing[0]}: {theirs} in the checkpoint, {ours} in the recipe\n{advice}"
        )


@contextmanager
def explain_other_optimizer(path: Path | None) -> Iterator[None]:
    """Replace PyTorch's error for the state of another optimizer by an explanation.

    Raises:
        CheckpointError: the parameter groups of the checkpoint at `path` are not those of the recipe's optimizer.
    """
    try:
        yield
    except ValueError as error:
        if path is None or not str(error).startswith("loaded state dict"):
            raise
        raise CheckpointError(
            f"{path} is of a run with other trained layers or another optimizer than the recipe\n"
            f"resume with the recipe of the run: {path.parent / 'recipe.yaml'}"
        ) from error


def _read_training_state(path: Path) -> dict[str, Any]:
    checkpoint = read_checkpoint(path)
    parts = {"epoch": int, "global_step": int, "loops": dict, "optimizer_states": list, "lr_schedulers": list}
    for name, kind in parts.items():
        if not isinstance(checkpoint.get(name), kind):
            raise CheckpointError(f"{path} holds no training state ({name}), and cannot be continued")
    return checkpoint


def _newest_intact(broken: Path) -> tuple[Path, int] | None:
    """Return the readable checkpoint beside a broken one that was trained for longest, and its epoch."""
    found = []
    for path in sorted(broken.parent.glob("*.ckpt")):
        try:
            found.append((int(_read_training_state(path)["epoch"]), path))
        except CheckpointError:
            continue
    if not found:
        return None
    epoch, path = max(found)
    return path, epoch
