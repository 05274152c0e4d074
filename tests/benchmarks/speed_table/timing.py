"""Interleaved timing: the seconds of several jobs in alternating rounds, and ratios with their spread."""

import gc
import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import torch

Job = Callable[[], object]
"""One step of a contender."""

Build = Callable[[], Job]
"""Builds a contender. Its network is freed with the job."""

Rounds = list[dict[str, float]]
"""Seconds of each contender, one dict per round."""

WARM_UP = {"cpu": 1, "cuda": 3}
"""Rounds that are not counted, by the type of the device."""

GPU_STEPS = 5
"""Steps of a round on a GPU."""

SYNCHRONIZING = "synchronizing CUDA operation"
"""Part of the warning of `torch.cuda.set_sync_debug_mode("warn")`."""


class Ratio(NamedTuple):
    """Median and quartiles over the rounds."""

    median: float
    lower: float
    upper: float


class Timer(NamedTuple):
    """Clock of a device: CPU seconds, which other processes disturb least, or the time of a GPU's clock on the wall.

    Attributes:
        device: where the jobs run.
        steps: steps of a round, between two synchronizations.
    """

    device: torch.device
    steps: int = 1

    @property
    def on_gpu(self) -> bool:
        """Whether the jobs run on a GPU."""
        return self.device.type == "cuda"

    def seconds(self, job: Job) -> float:
        """Return the seconds of a step."""
        synchronize, clock = (torch.cuda.synchronize, time.perf_counter) if self.on_gpu else (_nothing, cpu_seconds)
        synchronize()
        start = clock()
        for _ in range(self.steps):
            job()
        synchronize()
        return (clock() - start) / self.steps


def _nothing() -> None:
    pass


def cpu_seconds() -> float:
    """Return the CPU seconds of this process."""
    return time.process_time()


def interleaved(jobs: Mapping[str, Job], seconds: Callable[[Job], float], warm_up: int, rounds: int) -> Rounds:
    """Return the seconds of each job in each round after the warm-up. No job always follows the same other."""
    names, found = list(jobs), []
    for number in range(warm_up + rounds if jobs else 0):
        shift = number // 2 % len(names)
        order = (names[shift:] + names[:shift])[:: -1 if number % 2 else 1]
        taken = {name: seconds(jobs[name]) for name in order}
        found.append({name: taken[name] for name in names})
    return found[warm_up:]


def ratio(rounds: Rounds, own: str, peer: str) -> Ratio:
    """Return the ratio of two contenders' seconds; below 1, the first is faster."""
    values = [row[own] / row[peer] for row in rounds]
    if len(values) < 2:
        return Ratio(*values * 3)
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
    return Ratio(median, lower, upper)


def medians(rounds: Rounds) -> dict[str, float]:
    """Return the median seconds of each contender."""
    return {name: statistics.median(row[name] for row in rounds) for name in (rounds[0] if rounds else {})}


@dataclass
class Measured:
    """What was measured of the contenders of a row.

    Attributes:
        rounds: their seconds.
        memory: MiB that a step allocates at its peak, on a GPU.
        synchronizations: how often a step waits for the GPU.
        failed: the first line of the error of a contender that cannot run.
    """

    rounds: Rounds = field(default_factory=list)
    memory: dict[str, float] = field(default_factory=dict)
    synchronizations: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def common(self) -> Rounds:
        """The rounds of the contenders that ran in all of them."""
        return [{name: row[name] for name in row if name not in self.failed} for row in self.rounds]

    def medians(self) -> dict[str, float]:
        """Return the median seconds of each contender that ran in all rounds."""
        return medians(self.common)

    def ratio(self, peer: str, own: str | None = None) -> Ratio:
        """Return the ratio of one contender, by default the first, to another."""
        return ratio(self.common, own or next(iter(self.common[0])), peer)

    def in_words(self) -> str:
        """Return the median seconds of all, and the ratio of the first to each other one."""
        (own, seconds), *peers = self.medians().items()
        ratios = [f"{peer} {value:.4g} s, ratio {self.ratio(peer).median:.3f}" for peer, value in peers]
        return f"{own} {seconds:.4g} s; {'; '.join(ratios)}"


def measure(build: Mapping[str, Build], timer: Timer, rounds: int) -> Measured:
    """Measure contenders.

    On a CPU, the network that is built first gets slower memory: half of the rounds are measured after building them in
    the reverse order.
    """
    found = Measured()
    orders = [list(build)] if timer.on_gpu else [list(build), [*build][::-1]]
    for order in orders:
        jobs = _built({name: build[name] for name in order if name not in found.failed}, found.failed)
        found.rounds += interleaved(jobs, timer.seconds, WARM_UP[timer.device.type], max(rounds // len(orders), 1))
        if timer.on_gpu:
            found.memory = {name: peak_mebibytes(job) for name, job in jobs.items()}
            found.synchronizations = {name: synchronizations(job) for name, job in jobs.items()}
        del jobs
        _free(timer)
    return found


def compare(build: Mapping[str, Build], rounds: int) -> Measured:
    """Measure contenders on the GPU, or on one thread of the CPU if there is none; an error ends the comparison."""
    on_gpu = torch.cuda.is_available()
    timer = Timer(torch.device("cuda" if on_gpu else "cpu"), GPU_STEPS if on_gpu else 1)
    before = torch.get_num_threads(), cv2.getNumThreads()
    prepare(timer.device)
    try:
        found = measure(build, timer, rounds)
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
    if found.failed:
        raise RuntimeError(f"{found.failed}")
    return found


def prepare(device: torch.device) -> None:
    """Set one thread on a CPU, and let cuDNN choose its algorithms by their time on a GPU."""
    if device.type == "cpu":
        torch.set_num_threads(1)
        cv2.setNumThreads(0)
    else:
        torch.backends.cudnn.benchmark = True


def _built(build: Mapping[str, Build], failed: dict[str, str]) -> dict[str, Job]:
    """Return the contenders that can run, and record the error of the others: a table that takes hours goes on."""
    jobs = {}
    for name, make in build.items():
        try:
            job = make()
            job()  # compiles, and fails where memory does not suffice
            jobs[name] = job
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {error}".splitlines()[0]
    return jobs


def _free(timer: Timer) -> None:
    gc.collect()
    if timer.on_gpu:
        torch.compiler.reset()
        torch.cuda.empty_cache()


def peak_mebibytes(job: Job) -> float:
    """Return the MiB that a step allocates on the GPU at its peak, above what was allocated before."""
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    job()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def synchronizations(job: Job) -> int:
    """Return how often a step waits for the GPU."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        return count_synchronizations(job)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def count_synchronizations(job: Job) -> int:
    """Return the number of PyTorch's warnings of synchronizations in a step."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        job()
    return sum(SYNCHRONIZING in str(warning.message) for warning in caught)
