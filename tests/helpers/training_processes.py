"""Training runs of several processes, started by the command line as a user does."""

import os
import signal
import socket
import subprocess
import sys
import time

from tests.robustness.kills import run_of

COMMAND = ["-m", "visionkit.cli.main", "fit", "recipe.yaml"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.getcwd(), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}


def start(folder, *words, prefix=(sys.executable,), log="log.txt"):
    """Start a command in `folder`, in a process group of its own."""
    with (folder / log).open("w") as file:
        return subprocess.Popen(
            [*prefix, *COMMAND, *words], cwd=folder, env=ENVIRONMENT, stdout=file, stderr=file, start_new_session=True
        )


def finish(process):
    try:
        return process.wait(120)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return "waits for ever"


def children(process):
    done = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in done.stdout.split()]


def wait_for_checkpoint(folder, log="log.txt"):
    deadline = time.monotonic() + 120
    while not (run_of(folder) / "last.ckpt").is_file():
        assert time.monotonic() < deadline, (folder / log).read_text()
        time.sleep(0.02)


def start_nodes(folder, *words):
    """Start a run as two nodes of torchrun with one process each."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return [
        start(
            folder,
            *words,
            prefix=(
                *(sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"),
                *(f"--node-rank={node}", "--master-addr=127.0.0.1", f"--master-port={port}"),
            ),
            log=f"node{node}.txt",
        )
        for node in (0, 1)
    ]
