"""What visionkit says when something is wrong with the user's input.

Everything a user can cause (a wrong path, a broken file, a mistyped key) is raised as a `VisionkitError`;
the command line prints its message without a traceback. Anything else is a bug of ours.
"""

import re


class VisionkitError(Exception):
    """A mistake in the input, told in at most five lines: what is wrong, where, and what to do."""

    def __init__(self, message: str) -> None:
        # A loader process hands its exception on as text with a traceback; the user is told the message alone.
        super().__init__(re.sub(r"(?s)^Caught .*\n\S*Error: ", "", message).strip())


class ConfigError(VisionkitError):
    """A recipe, data card or command-line override that cannot be used."""


class DataError(VisionkitError):
    """A data set whose files are missing, broken or contradict each other."""


class CheckpointError(VisionkitError):
    """A checkpoint or weights file that is broken, foreign, or made for something else."""
