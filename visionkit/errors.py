"""What visionkit says when something is wrong with the user's input.

Everything a user can cause (a wrong path, a broken file, a mistyped key) is raised as a `VisionkitError`;
the command line prints its message without a traceback. Anything else is a bug of ours.
"""


class VisionkitError(Exception):
    """A mistake in the input, told in at most five lines: what is wrong, where, and what to do."""


class RecipeError(VisionkitError):
    """A recipe, data card or command-line override that cannot be used."""


class DataError(VisionkitError):
    """A data set whose files are missing, broken or contradict each other."""


class CheckpointError(VisionkitError):
    """A checkpoint or weights file that is broken, foreign, or made for something else."""
