"""Loading of pipelines from checkpoints. No object is unpickled, and nothing is downloaded."""

import os
from pathlib import Path
from typing import Any

import torch

from visionkit.backbones import create_backbone
from visionkit.backbones.weights_file import check_finite, check_state_dict, read_tensors
from visionkit.errors import CheckpointError, ConfigError
from visionkit.models import create_model, models
from visionkit.models.base import Model
from visionkit.pipelines.base import ModelPipeline, pipelines
from visionkit.pipelines.description import check_arguments, check_description, explain_description
from visionkit.pipelines.uninitialized import has_shared_parameters, load_weights, parameters_without_storage
from visionkit.plugins import how_to_import

FORMAT_VERSION = 3
"""Format version of the `visionkit` entry of a checkpoint."""

PREFIX = "pipeline."
"""Prefix of the pipeline's keys in the state dict of a task."""


def load(path: str | Path, device: str | None = None) -> ModelPipeline[Any, Any]:
    """Load a trained model from a checkpoint for prediction.

    Args:
        path: path of the checkpoint.
        device: device of the model; None uses a GPU if there is one.

    Returns:
        A `DetectionPipeline`, `ClassificationPipeline` or `SegmentationPipeline` in evaluation mode.

    Raises:
        CheckpointError: the file is missing, corrupt or not a visionkit checkpoint.
    """
    return load_pipeline(path).to(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def load_pipeline(path: str | Path, model: Model | None = None) -> ModelPipeline[Any, Any]:
    """Return the pipeline of a checkpoint, in evaluation mode on the CPU.

    Args:
        path: path of the checkpoint.
        model: the network, if visionkit cannot build it by name.

    Raises:
        CheckpointError: the file cannot be read (see `read_checkpoint`), or the weights do not fit the network.
    """
    return pipeline_from(read_checkpoint(path), path, model)


def pipeline_from(checkpoint: dict[str, Any], path: str | Path, model: Model | None = None) -> ModelPipeline[Any, Any]:
    """Return the pipeline of a checkpoint that has been read; see `load_pipeline`."""
    description = checkpoint["visionkit"]
    network = network_of(description, path) if model is None else model
    with explain_description(description, path):
        pipeline = pipelines.get(description["task"]).from_description(description, network)
    # copies, because the tensors of the checkpoint are parts of the open file, which may be overwritten
    weights = {
        key.removeprefix(PREFIX): value.clone()
        for key, value in checkpoint["state_dict"].items()
        if key.startswith(PREFIX)
    }
    try:
        load_weights(pipeline, weights)
    except RuntimeError as error:
        reason = "\n".join(str(error).splitlines()[1:3])
        raise CheckpointError(f"{path}: the weights do not fit the network it describes\n{reason}") from error
    return pipeline.eval()


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises:
        CheckpointError: the file is missing, truncated, not a visionkit checkpoint, or in another format; or its
            description is broken, or a weight is not finite. The message names the value or tensor.
    """
    path = Path(path)
    if not os.path.isfile(path):  # False also for a name that no file can have
        raise CheckpointError(f"there is no checkpoint {path}")
    checkpoint = read_tensors(path)
    description = checkpoint.get("visionkit") if isinstance(checkpoint, dict) else None
    if not isinstance(description, dict) or "state_dict" not in checkpoint:
        raise CheckpointError(f"{path} was not written by visionkit; give such weights as model.weights of a recipe")
    version = description.get("format", 0)
    if version != FORMAT_VERSION:
        age = "a newer" if isinstance(version, int) and version > FORMAT_VERSION else "an older"
        raise CheckpointError(
            f"{path} has checkpoint format {version!r:.9}, of {age} visionkit; this one reads format {FORMAT_VERSION}\n"
            "load it with the visionkit that wrote it, or train again with the recipe.yaml beside it"
        )
    if not description.get("class_names"):
        raise CheckpointError(f"{path} has no class names, and visionkit does not guess them")
    with explain_description({}, path):
        check_description(description)
    check_finite(check_state_dict(checkpoint["state_dict"], path), path)
    return dict(checkpoint)


def network_of(description: dict[str, Any], path: str | Path) -> Model:
    """Return the network that a checkpoint describes, without weights.

    Raises:
        CheckpointError: the network has no registered name, or this version does not have its options.
    """
    if description["model"] is None:
        raise CheckpointError(
            f"{path} holds a network that has no registered name\n"
            "build it yourself and give it: load_from_checkpoint(path, model=...)"
        )
    name, classes = description["model"]["name"], len(description["class_names"])
    if description["model"]["num_classes"] != classes:
        raise CheckpointError(
            f"{path} is broken: its {name} has {description['model']['num_classes']} classes, and {classes} names"
        )
    try:
        arguments = {key: value for key, value in description["model"].items() if key not in ("name", "backbone")}
        check_arguments(models.get(name), arguments, "model")
        return build_without_weights(description["model"])
    except Exception as error:  # a constructor may raise any error for a renamed option or a value of the wrong type
        advice = how_to_import(description.get("plugins", [])) if isinstance(error, ConfigError) else ""
        if advice:
            raise CheckpointError(f"{path}: {error}\n{advice}") from error
        written_by = description.get("versions", {}).get("visionkit", "")
        reason = "\n".join((str(error).splitlines() or [type(error).__name__])[:3])
        raise CheckpointError(
            f"{path} is broken or of another visionkit ({written_by}): its {name} cannot be built here\n{reason}"
        ) from error


def build_without_weights(spec: dict[str, Any]) -> Model:
    """Return the network of a `Model.spec` for `load_weights`.

    Its parameters have no storage. Exceptions are networks whose constructor computes with parameters, such as R-CNN
    and SlidingWindow.
    """
    try:
        with parameters_without_storage():
            network = build_network(spec)
    except Exception:  # a constructor may raise any error on meta tensors; other errors are raised again
        return build_network(spec)
    return build_network(spec) if has_shared_parameters(network) else network


def build_network(spec: dict[str, Any]) -> Model:
    """Return the network of a `Model.spec`, randomly initialized. A file that it names as `weights` is not read."""
    arguments = _without_weights(spec)
    backbone = create_backbone(**{**arguments.pop("backbone"), "weights": "checkpoint"})
    return create_model(backbone=backbone, **arguments)


def _without_weights(spec: dict[str, Any]) -> dict[str, Any]:
    """Return a `Model.spec` without `weights`, also in the options of its heads."""
    arguments: dict[str, Any] = {key: None if key == "weights" else value for key, value in spec.items()}
    if isinstance(spec.get("heads"), dict):
        arguments["heads"] = {name: _without_weights(head) for name, head in spec["heads"].items()}
    return arguments
