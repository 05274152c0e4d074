"""Log messages on the terminal."""

import logging
import warnings

from rich.console import Console
from rich.logging import RichHandler

EXPECTED = (
    ".*does not have many workers.*",  # the recipe sets the number
    ".*is smaller than the logging interval.*",
    ".*exists and is not empty.*",  # the run folder, which contains the recipe
    ".*in eval mode at the start of training.*",  # frozen BatchNorm; the log has the trainable parameters
    ".*LeafSpec.*",
    ".*overridden `on_before_batch_transfer` in `LightningModule`.*",  # the task checks what goes to a GPU
    ".*It is recommended to use `self.log.*sync_dist=True.*",  # every process logs the metrics of all processes
)
"""Patterns of Lightning's warnings about intended behavior."""


def show_progress_messages() -> None:
    """Print messages of visionkit at level INFO and above, and those of Lightning at level WARNING and above."""
    own = logging.getLogger("visionkit")
    if not own.handlers:
        handler = RichHandler(console=Console(stderr=True), show_time=False, show_path=False)
        own.addHandler(handler)
    own.setLevel(logging.INFO)
    own.propagate = False
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in EXPECTED:
        warnings.filterwarnings("ignore", module="lightning", message=message)
