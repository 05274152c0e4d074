"""The errors that visionkit raises for mistakes in its input.

Every mistake that a user can make (a wrong path, a broken file, a mistyped key) raises a `VisionkitError`. Its
subclasses are also the built-in error that fits, so that `except ValueError` works as usual. The command line prints
the message without a traceback. Any other exception is a bug of visionkit.
"""

import re

_CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

_MAX_CHARACTERS = 600
"""Largest number of characters of a line in a message; of a longer one, start and end are kept."""


class VisionkitError(Exception):
    """A mistake in the input. The message has at most five lines: what is wrong, where, and what to do.

    Control characters in it, for example of a file name, are shown as escapes, because they could change the terminal.
    Lines of more than 600 characters are shortened.

    Example:
        >>> import visionkit as vk
        >>> try:
        ...     vk.create_backbone("resnet5")
        ... except vk.VisionkitError as error:
        ...     print(error)
        unknown backbone 'resnet5'; did you mean resnet50 or resnet152 or resnet34?
    """

    def __init__(self, message: str) -> None:
        # A loader process hands over its exception as text with a traceback; only the message is kept.
        message = re.sub(r"(?s)^Caught .*\n\S*Error: ", "", message).strip()
        message = _CONTROL_CHARACTERS.sub(lambda found: f"\\x{ord(found[0]):02x}", message)
        super().__init__("\n".join(map(_shortened, message.split("\n"))))


def _shortened(line: str) -> str:
    if len(line) <= _MAX_CHARACTERS:
        return line
    return f"{line[: _MAX_CHARACTERS * 2 // 3]} ... {line[-_MAX_CHARACTERS // 3 :]}"


class ConfigError(VisionkitError, ValueError):
    """A recipe, data card, override or argument that cannot be used.

    Example:
        >>> import visionkit as vk
        >>> issubclass(vk.ConfigError, ValueError)
        True
    """


class DataError(VisionkitError, ValueError):
    """A dataset with missing, broken or contradictory files.

    Example:
        >>> import visionkit as vk
        >>> issubclass(vk.DataError, ValueError)
        True
    """


class CheckpointError(VisionkitError, RuntimeError):
    """A checkpoint or weights file that is missing, broken, foreign, or made for something else.

    Example:
        >>> import visionkit as vk
        >>> try:
        ...     vk.load("gone.ckpt")
        ... except vk.CheckpointError as error:
        ...     print(error)
        there is no checkpoint gone.ckpt
    """


class WriteError(VisionkitError, OSError):
    """A file that cannot be written, for example because the disk is full.

    Example:
        >>> import visionkit as vk
        >>> issubclass(vk.WriteError, OSError)
        True
    """


class StoppedError(VisionkitError):
    """A training run that a signal stopped.

    Attributes:
        signal: number of the signal.

    Example:
        >>> import signal
        >>> import visionkit as vk
        >>> vk.StoppedError(signal.SIGTERM, "stopped").signal == signal.SIGTERM
        True
    """

    def __init__(self, signal: int, message: str) -> None:
        super().__init__(message)
        self.signal = signal
