"""Running one case within bounds, and naming how it ended.

A case may end with success, a counted repair, or an error that names the mistake. The other endings are faults.
"""

import contextlib
import io
import json
import os
import re
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from visionkit.cli.main import main
from visionkit.errors import VisionkitError

SECONDS = 10.0
"""Longest CPU time of a case."""

WAIT_SECONDS = 40.0
"""Longest time by the clock, on a busy machine; a case that waits for something takes no CPU time."""

MEMORY = 1_500_000_000
"""Largest growth of the memory in bytes."""

STOP_MEMORY = 3_000_000_000
"""Growth at which a process is ended."""

GOOD = ("success", "repaired", "refused")
FAULTS = ("traceback", "message", "hang", "memory", "executed")

MAX_LINES, MAX_CHARACTERS = 5, 2000


@dataclass(frozen=True)
class Ending:
    """How a case ended.

    Attributes:
        kind: one of `GOOD` or `FAULTS`.
        detail: the error, or what was executed.
        seconds: CPU time.
    """

    kind: str
    detail: str = ""
    seconds: float = 0.0


class Repaired(Exception):  # not an error
    """Raised by a case that ended well after a repair that was counted."""


class FaultError(Exception):
    """Raised by a case for an ending that is a fault; the arguments are its kind and the detail."""


class _TimeoutError(BaseException):
    """Not an Exception, so that no handler of the package takes it."""


@dataclass
class _Watch:
    """What the audit hook watches: nothing outside of the folder is written, and no program is started."""

    folder: str = ""
    confined: bool = False
    found: str = ""


_watch = _Watch()

STARTS = {
    "os.system",
    "subprocess.Popen",
    "os.exec",
    "os.posix_spawn",
    "os.startfile",
    "pty.spawn",
    "pickle.find_class",
}
EXPECTED = "json.dumps(sys.path)"
"""Part of a command that jsonargparse runs to find type annotations."""

CONNECTS = {"socket.connect", "socket.getaddrinfo"}
PATHS = {"os.remove": 0, "os.rename": 1, "os.mkdir": 0, "os.symlink": 1, "os.chmod": 0, "os.rmdir": 0, "os.link": 1}


def _audit(event, arguments):
    if not _watch.folder or _watch.found:
        return
    if event in CONNECTS or (event in STARTS and EXPECTED not in str(arguments)):
        _watch.found = f"{event} {arguments!r:.200}"
    elif event == "open" and isinstance(arguments[0], str | bytes):
        writes = arguments[1] is not None and any(sign in str(arguments[1]) for sign in "wax+")
        _check_path(event, arguments[0], writes or bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)))
    elif event in PATHS:
        _check_path(event, arguments[PATHS[event]], writes=True)


def _check_path(event, path, writes):
    path = os.path.realpath(os.fsdecode(path))
    inside = path.startswith(_watch.folder + os.sep) or path == _watch.folder or path == os.devnull
    around = os.path.dirname(_watch.folder)
    if not inside and (writes or (_watch.confined and path.startswith(around + os.sep))):
        _watch.found = f"{event} of {path}"


_hooked = []


@contextmanager
def _watched(folder, confined):
    if not _hooked:
        sys.addaudithook(_audit)  # cannot be removed, so there is one
        _hooked.append(True)
    _watch.folder, _watch.confined, _watch.found = os.path.realpath(folder), confined, ""
    try:
        yield
    finally:
        _watch.folder = ""


@contextmanager
def _inside(folder):
    """Work in a folder, with the folder for temporary files in it."""
    before, temporary = os.getcwd(), tempfile.tempdir
    os.chdir(folder)
    tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        os.chdir(before)
        tempfile.tempdir = temporary


def sandbox(folder):
    """Return a folder for a case inside `folder`, beside one that must not be touched."""
    (folder / "outside").mkdir(parents=True)
    Image.new("RGB", (8, 6)).save(folder / "outside" / "secret.png")
    (folder / "case").mkdir()
    return folder / "case"


def _state(folder):
    """Return what is beside the folder of a case."""
    return sorted(str(path) for path in folder.parent.rglob("*") if folder not in (path, *path.parents))


def _alarm(number, frame):
    raise _TimeoutError


def run_here(case, folder, confined=False, seconds=SECONDS):
    """Run a case in this process, and return its ending.

    Args:
        case: function without arguments. It returns, or raises `Repaired`, `FaultError` or VisionkitError.
        folder: folder of the case from `sandbox`, in which it runs.
        confined: whether reading beside the folder is a fault, too.
        seconds: longest time.
    """
    _reset_peak()
    before, started, memory = _state(folder), time.process_time(), _peak()
    previous = signal.signal(signal.SIGALRM, _alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds + WAIT_SECONDS if seconds >= SECONDS else seconds)
    try:
        with warnings.catch_warnings(), _inside(folder), _watched(folder, confined):
            warnings.simplefilter("ignore")
            kind, detail = _ending(case)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    taken = time.process_time() - started
    if _watch.found:
        kind, detail = "executed", _watch.found
    elif _state(folder) != before:
        kind, detail = "executed", f"wrote {set(_state(folder)) ^ set(before)}"
    elif _peak() - memory > MEMORY:
        kind, detail = "memory", f"{(_peak() - memory) / 1e9:.1f} GB; {kind} {detail}"
    elif taken > SECONDS:
        kind, detail = "hang", f"{taken:.0f} s; {kind} {detail}"
    return Ending(kind, detail[:4000], taken)


def _ending(case):
    try:
        case()
    except Repaired as repair:
        return "repaired", str(repair)
    except FaultError as fault:
        return fault.args
    except VisionkitError as error:
        return judged(str(error))
    except _TimeoutError:
        return "hang", "it was interrupted"
    except MemoryError:
        return "memory", "MemoryError"
    except Exception as error:
        return "traceback", "".join(traceback.format_exception(error))[-3500:]
    return "success", ""


CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]")
"""Characters that would control the terminal."""


def judged(message):
    """Return kind and detail of the ending with an error message, which has few lines and no control characters."""
    lines = message.splitlines()
    if len(lines) > MAX_LINES or len(message) > MAX_CHARACTERS or not message.strip():
        return "message", f"{len(lines)} lines, {len(message)} characters: {message[:500]}"
    if found := CONTROL.search(message):
        return "message", f"the control character {found[0]!r} in {message!r:.500}"
    return "refused", message


def command(words):
    """Run a command of the command line, and end as a case does."""
    errors, output = _stream("backslashreplace"), _stream("strict")  # as those of a terminal
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(output):
        try:
            status = main(words)
        except SystemExit as end:
            status = end.code
    text = _content(errors)
    start = text.rfind("visionkit: ")
    message = text[max(start, 0) :].strip()
    if status == 2:
        kind, detail = judged(message)
        if kind == "refused":
            raise VisionkitError(message)
        raise FaultError(kind, detail)
    if status == 1:
        raise Repaired(f"status 1: {_content(output)[-300:]}")
    if status != 0:
        raise FaultError("traceback", f"status {status}: {message[:600]}\n{_log()}")


def _stream(errors):
    return io.TextIOWrapper(io.BytesIO(), "utf-8", errors)


def _content(stream):
    stream.flush()
    return stream.buffer.getvalue().decode()


def _log():
    """Return the end of the log of an unexpected error, which is removed."""
    text = ""
    for log in Path(tempfile.gettempdir()).rglob("*error.log"):
        text += log.read_text(errors="replace")[-2500:]
        log.unlink()
    return text


def _reset_peak():
    """Forget the largest memory of this process so far."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak():
    """Return the largest memory of this process in bytes."""
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024


def run_in_child(case, folder, confined=False):
    """Run a case in a forked process with limits, and return its ending; arguments as in `run_here`."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _be_child(case, folder, confined, writer)
    os.close(writer)
    return _wait_for(child, reader)


def _be_child(case, folder, confined, writer):
    """Run the case, write its ending, and end this process."""
    try:
        silent = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(silent, descriptor)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**31, 2**31))
        ending = run_here(case, folder, confined)
    except BaseException as error:
        ending = Ending("traceback", "".join(traceback.format_exception(error))[-3500:])
    os.write(writer, json.dumps([ending.kind, ending.detail, ending.seconds]).encode()[:60_000])
    os._exit(0)


def _wait_for(child, reader):
    started, first, content = time.monotonic(), _resident(child), b""
    stopped = None
    while True:
        ready, _, _ = select.select([reader], [], [], 0.02)
        if ready:
            chunk = os.read(reader, 65536)
            content += chunk
            if not chunk:
                break
        elif _resident(child) - first > STOP_MEMORY:
            stopped = Ending("memory", f"over {STOP_MEMORY / 1e9:.0f} GB")
        elif time.monotonic() - started > SECONDS + 2 * WAIT_SECONDS or _cpu_seconds(child) > 3 * SECONDS:
            stopped = Ending("hang", "it was killed")
        if stopped is not None:
            os.kill(child, signal.SIGKILL)
            break
    os.close(reader)
    _, status = os.waitpid(child, 0)
    if stopped is not None:
        return stopped
    if os.WIFSIGNALED(status):
        return Ending("traceback", f"the process was ended by signal {os.WTERMSIG(status)}")
    return Ending(*json.loads(content))


def _resident(process):
    """Return the memory of a process in bytes."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def _cpu_seconds(process):
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
