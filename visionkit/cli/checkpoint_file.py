"""Check of the checkpoints on the command line that needs no torch, so that a wrong path is answered at once."""

import os
import stat
from collections.abc import Iterable

from visionkit.errors import CheckpointError

SIGNATURE = b"PK\x03\x04"
"""First bytes of a checkpoint, which is a ZIP archive since PyTorch 1.6."""


def check_checkpoint_files(paths: Iterable[str]) -> None:
    """Check that files may be checkpoints.

    Raises:
        CheckpointError: one is missing, cannot be read, or is another kind of file.
    """
    for path in paths:
        if not os.path.exists(path):
            raise CheckpointError(f"there is no checkpoint {path}")
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise CheckpointError(f"{path} is not a file: give a checkpoint, such as runs/<recipe>/1/best.ckpt")
        try:
            with open(path, "rb") as file:
                first = file.read(len(SIGNATURE))
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
        if first != SIGNATURE:
            kind = "empty" if not first else "no checkpoint"
            raise CheckpointError(f"{path} is {kind}: give a file that `visionkit fit` has written, such as best.ckpt")
