"""How the toolkit's messages reach the terminal."""

import logging
import warnings

from rich.console import Console
from rich.logging import RichHandler


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
    warnings.filterwarnings("ignore", module="lightning", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", module="lightning", message=".*is smaller than the logging interval.*")
    warnings.filterwarnings("ignore", module="lightning", message=".*exists and is not empty.*")
    warnings.filterwarnings("ignore", module="lightning", message=".*LeafSpec.*")
