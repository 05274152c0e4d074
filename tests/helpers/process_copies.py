"""Code in a process of its own that need not import everything again: a copy of a server that has done so.

The process of the tests is not copied itself: libraries that it has used have threads, which a copy lacks.
"""

import multiprocessing
import os
import sys
import traceback
from dataclasses import dataclass

START_METHOD = "forkserver"
"""For `multiprocessing`."""
_CONTEXT = multiprocessing.get_context(START_METHOD)
_CONTEXT.set_forkserver_preload([f"visionkit.cli.{work}" for work in ("main", "training", "scoring", "prediction")])


@dataclass
class Ended:
    """Exit status and output of a process."""

    returncode: int
    stdout: str
    stderr: str


def run_in_copy(code, folder, *paths):
    """Run code, which has `sys` and the command line's `main`, in `folder` with more folders on its import path."""
    files = [folder / f".{name}.txt" for name in ("stdout", "stderr")]
    child = _CONTEXT.Process(target=_run, args=(code, folder, [str(path) for path in paths], files, dict(os.environ)))
    child.start()
    child.join()
    return Ended(child.exitcode, *(file.read_text() for file in files))


def _run(code, folder, paths, files, environment):
    for stream, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    sys.stdout, sys.stderr = (os.fdopen(stream, "w", buffering=1, closefd=False) for stream in (1, 2))
    try:
        _execute(code, folder, paths, environment)
        status = 0
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _execute(code, folder, paths, environment):
    import torch

    from visionkit.cli.main import main

    torch.set_num_threads(1)
    os.environ.update(environment)
    os.chdir(folder)
    sys.path[:0] = paths
    exec(code, {"sys": sys, "main": main})
