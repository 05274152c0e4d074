"""Errors that are no mistake in the input: what happened, where, and what to do, with the traceback in a log file."""

import errno
import os
import re
import select
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from pathlib import Path
from typing import TextIO

UNEXPECTED = 3
"""Exit status of errors that are no mistake in the input."""

CLOSED_OUTPUT = 141
"""Exit status if the reader of the output has ended (`visionkit list | head`), that of a process ended by SIGPIPE."""

MAX_CHARACTERS = 300
"""Largest length of another library's message."""

LOG_NAME, TEMPORARY_LOG_NAME = "error.log", "visionkit-error.log"

_PACKAGE = Path(__file__).resolve().parent.parent

_log_folder: ContextVar[Path | None] = ContextVar("log_folder", default=None)

_CAUSES: tuple[tuple[str, str, str], ...] = (
    (
        r"CUDA out of memory|CUDA error: out of memory|OutOfMemoryError",
        "the memory of the GPU is full",
        "lower data.batch_size (trainer.accumulate_grad_batches keeps the effective batch), or the size in preprocess",
    ),
    (
        r"shared memory|/dev/shm|Unexpected bus error",
        "the shared memory (/dev/shm) is full, through which the processes that read the data pass images",
        "set data.num_workers=0, lower data.batch_size, or enlarge /dev/shm (docker run --shm-size=8g)",
    ),
    (
        r"DataLoader worker .*(exited unexpectedly|is killed by signal)",
        "a process that reads the data died; often the memory of the machine was full",
        "lower data.num_workers or data.batch_size; data.num_workers=0 shows an error of the process itself",
    ),
    (
        r"^MemoryError|can't allocate memory|Unable to allocate|Cannot allocate memory",
        "the memory of the machine is full",
        "lower data.batch_size, data.num_workers or the size in preprocess; for large images set inference.tile",
    ),
    (
        r"No space left on device|ENOSPC|file write failed",
        "the disk is full",
        "free some space, or work in a folder on another disk",
    ),
    (r"Too many open files", "too many files are open", "raise the limit (ulimit -n 65536), or lower data.num_workers"),
    (
        r"^RecursionError",
        "something is nested too deeply",
        "find deeply nested lists or mappings in the input files",
    ),
    (
        r"NCCL|gloo|ProcessExitedException|ProcessRaisedException|Connection closed by peer|ChildFailedError",
        "another process of this run ended or cannot be reached",
        "read the error of the other process above, and in its own log",
    ),
    (
        r"^(CUDA|cuDNN|RuntimeError: CUDA|RuntimeError: cuDNN|AcceleratorError)",
        "the GPU reports an error",
        "run again with CUDA_LAUNCH_BLOCKING=1 to find its place, or with trainer.accelerator=cpu",
    ),
    (
        r"^MisconfigurationException",
        "Lightning refuses these settings",
        "change the keys of trainer that the message names",
    ),
    (r"^ModuleNotFoundError", "a package is missing", "install it, or install visionkit again with its extras"),
)
"""Pattern of an error in one line, what happened, and what to do. The first pattern that is found applies."""


@contextmanager
def log_errors_in(folder: Path) -> Iterator[None]:
    """Make the log of an unexpected error inside the `with` block go to `folder`."""
    token = _log_folder.set(folder)
    yield
    _log_folder.reset(token)  # not after an error, whose report needs the folder


def report_unexpected(error: Exception) -> int:
    """Print an unexpected error in at most five lines, write its traceback to a file, and return the exit status."""
    if isinstance(error, BrokenPipeError) and _is_closed(sys.stdout):
        return CLOSED_OUTPUT
    log = write_log(error)
    kept = f"traceback: {log}" if log else "no log could be written; run again with --debug for the traceback"
    print("\n".join([*describe(error), kept]), file=sys.stderr)
    _log_folder.set(None)
    return UNEXPECTED


def describe(error: Exception) -> list[str]:
    """Return what happened, where, and what to do, in at most four lines."""
    line, place = one_line(error), place_of(error)
    for pattern, what, advice in _CAUSES:
        if re.search(pattern, line):
            return [f"visionkit: {what}", f"  {line}", advice]
    if isinstance(error, OSError) and error.errno is not None:
        return [f"visionkit: {_file_error(error)}", "check that the path exists, that it may be used, and its disk"]
    if place and not Path(place.rpartition(":")[0]).resolve().is_relative_to(_PACKAGE):
        return [f"visionkit: {line}", f"  {place}", "this is an error in code outside of visionkit (a plugin)"]
    where = [f"  {place}"] if place else []
    return [f"visionkit: {line}", *where, "this is a bug in visionkit: please report it with the log and the recipe"]


def one_line(error: Exception) -> str:
    """Return type and message of an error in one line; of an error in a loader process, its last line."""
    # the text of a KeyError is the repr of its argument
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    lines = [line.strip() for line in text.replace("\\n", "\n").splitlines() if line.strip()]
    if lines and lines[0].startswith("Caught ") and len(lines) > 1:
        return lines[-1][:MAX_CHARACTERS]
    name = type(error).__name__
    return (f"{name}: {' '.join(lines)}" if lines else name)[:MAX_CHARACTERS]


def place_of(error: Exception) -> str | None:
    """Return file and line, "path:12", of the innermost call outside of installed libraries; None without one."""
    frames = [(frame.filename, frame.lineno or 0) for frame in traceback.extract_tb(error.__traceback__)]
    text = str(error).replace("\\n", "\n").replace('\\"', '"')
    frames += [
        (file, int(line)) for file, line in re.findall(r'File "([^"]+)", line (\d+)', text)
    ]  # of a loader process
    own = [f"{file}:{line}" for file, line in frames if _is_own(file)]
    return own[-1] if own else None


def write_log(error: Exception) -> Path | None:
    """Append the traceback to `error.log` in the run's folder, or to a file in the temp folder.

    Returns:
        The file; None if none could be written.
    """
    text = "".join(traceback.format_exception(error))
    text = f"{datetime.now().isoformat(timespec='seconds')} visionkit {' '.join(sys.argv[1:])}\n{text}\n"
    folder, temporary = _log_folder.get(), Path(tempfile.gettempdir())
    paths = [folder / LOG_NAME] if folder is not None and folder.is_dir() else []
    for path in [*paths, temporary / TEMPORARY_LOG_NAME, temporary / f"{os.getpid()}-{TEMPORARY_LOG_NAME}"]:
        try:
            # The temp folder belongs to all users, so a link that another user placed there must not be followed.
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0), 0o600)
            with open(descriptor, "a", encoding="utf-8", errors="replace") as file:
                file.write(text)
        except OSError:
            continue
        return path
    return None


def _file_error(error: OSError) -> str:
    name = f"{error.filename}: " if error.filename is not None else ""
    return f"{name}{error.strerror or errno.errorcode.get(error.errno or 0, type(error).__name__)}"


def _is_own(file: str) -> bool:
    """Return whether a file is part of visionkit or of the user's code, not of Python or an installed library."""
    path = Path(file)
    if path.is_absolute() and path.resolve().is_relative_to(_PACKAGE):
        return path.resolve() != Path(__file__).resolve()
    standard = Path(os.__file__).resolve().parent
    outside = "site-packages" not in path.parts and "dist-packages" not in path.parts and not file.startswith("<")
    return outside and path.is_absolute() and not path.resolve().is_relative_to(standard)


def _is_closed(stream: TextIO) -> bool:
    """Return whether the reader of a stream has ended; the stream then writes nowhere, also when Python exits."""
    try:
        descriptor = stream.fileno()
        poll = select.poll()
        poll.register(descriptor, 0)  # errors are always reported
        closed = any(event & select.POLLERR for _, event in poll.poll(0))
    except (OSError, ValueError, AttributeError):  # no file, or a system without poll
        return False
    if closed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    return closed
