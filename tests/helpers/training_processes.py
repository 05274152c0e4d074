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


def start(folder, *words, prefix=(sys.executable,), log="log.txt", **variables):
    """Start a command in `folder`, in a process group of its own, with more environment variables."""
    command, environment = [*prefix, *COMMAND, *words], {**ENVIRONMENT, **variables}
    with (folder / log).open("w") as file:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=file, stderr=file, start_new_session=True)


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


def free_port():
    """Return a port of this machine that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def start_nodes(folder, *words):
    """Start a run as two nodes of torchrun with one process each."""
    port = free_port()
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


def start_tasks(folder, *words):
    """Start a run as two nodes with one process each, in the environment that `srun` gives them."""
    job = {
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NAME": "train",
        "SLURM_NNODES": "2",
        "SLURM_NTASKS": "2",
        "SLURM_NTASKS_PER_NODE": "1",
        "SLURM_NODELIST": "localhost",
        "SLURM_LOCALID": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": free_port(),
    }
    own = ("SLURM_PROCID", "SLURM_NODEID")
    return [start(folder, *words, log=f"node{node}.txt", **job, **dict.fromkeys(own, str(node))) for node in (0, 1)]
