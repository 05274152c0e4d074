"""Messages on the terminal."""

import logging
import warnings

from rich.console import Console
from rich.logging import RichHandler

EXPECTED = (
    ".*does not have many workers.*",  # the recipe says how many
    ".*is smaller than the logging interval.*",
    ".*exists and is not empty.*",  # the run folder, which has the recipe in it
    ".*in eval mode at the start of training.*",  # frozen BatchNorm; the log says what trains
    ".*LeafSpec.*",
)
"""Patterns of Lightning's warnings about what is intended."""


def show_progress_messages() -> None:
    """Print visionkit's own messages from INFO, and Lightning's from WARNING."""
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
