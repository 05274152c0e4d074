"""Checkpoints that describe themselves: read, checked, rebuilt; never unpickled, never fetching anything."""

from pathlib import Path
from typing import Any

from visionkit.backbones import create_backbone
from visionkit.backbones.load_weights import read_tensors
from visionkit.errors import CheckpointError
from visionkit.models import create_model
from visionkit.models.base import Model
from visionkit.tasks import Task, tasks
from visionkit.tasks.base import FORMAT_VERSION


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises:
        CheckpointError: the file is missing, truncated, not one of ours, or of a newer format.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}")
    checkpoint = read_tensors(path)
    description = checkpoint.get("visionkit") if isinstance(checkpoint, dict) else None
    if not isinstance(description, dict) or "state_dict" not in checkpoint:
        raise CheckpointError(f"{path} was not written by visionkit; give such weights as model.weights of a recipe")
    if description.get("format", 0) > FORMAT_VERSION:
        raise CheckpointError(f"{path} has format {description['format']}; this visionkit reads up to {FORMAT_VERSION}")
    if not description.get("class_names"):
        raise CheckpointError(f"{path} holds no class names, and visionkit does not guess them")
    return dict(checkpoint)


def load_task(path: str | Path) -> Task:
    """Rebuild the task of a checkpoint, in evaluation mode on the CPU.

    Raises:
        CheckpointError: see `read_checkpoint`; or the network was not made by visionkit, or by one whose options had
            other names.
    """
    checkpoint = read_checkpoint(path)
    description = checkpoint["visionkit"]
    if description["model"] is None:
        raise CheckpointError(f"{path} holds a network that visionkit did not make; load its state_dict yourself")
    try:
        network = build_network(description["model"])
    except TypeError as error:  # an option that was renamed since; the state dict would not tell
        name, written_by = description["model"]["name"], description.get("versions", {}).get("visionkit", "")
        raise CheckpointError(
            f"{path} was written by another visionkit ({written_by}): its {name} cannot be built here\n{error}"
        ) from error
    task = tasks.get(description["task"]).from_description(description, network)
    try:
        task.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        reason = "\n".join(str(error).splitlines()[1:3])
        raise CheckpointError(f"{path}: the weights do not fit the network it describes\n{reason}") from error
    return task.eval()


def build_network(spec: dict[str, Any]) -> Model:
    """The network of a `spec`, without values: the caller is about to load them."""
    arguments: dict[str, Any] = {key: None if key == "weights" else value for key, value in spec.items()}
    backbone = create_backbone(**{**arguments.pop("backbone"), "weights": "checkpoint"})
    return create_model(backbone=backbone, **arguments)
