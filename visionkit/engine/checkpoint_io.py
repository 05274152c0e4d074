"""Writing of checkpoints such that a complete one exists at every moment."""

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.plugins import TorchCheckpointIO

from visionkit.data.io.atomic_write import atomic_write


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning plugin that replaces a checkpoint only when the new one is complete and on the disk.

    Lightning writes to the folder for temporary files and then copies. If that folder is on another file system, a full
    disk or a killed process leaves a broken checkpoint. This plugin writes beside the checkpoint, see `atomic_write`.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Raises:
            WriteError: the file cannot be written. The previous checkpoint is kept.
        """
        if "://" in str(path):  # remote storage, which fsspec writes
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        with atomic_write(Path(path)) as file:
            torch.save(checkpoint, file)


def with_atomic_checkpoints(plugins: Any) -> list[Any]:
    """Return plugins of a Trainer with `AtomicCheckpointIO` added, unless they already write checkpoints.

    Args:
        plugins: value of the Trainer's argument: None, one plugin, or a list.
    """
    given = list(plugins) if isinstance(plugins, (list, tuple)) else [] if plugins is None else [plugins]
    return given if any(isinstance(plugin, CheckpointIO) for plugin in given) else [*given, AtomicCheckpointIO()]
