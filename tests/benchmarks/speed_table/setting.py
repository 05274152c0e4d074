"""What a row of the speed table is measured at, and the loops that contenders share."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from tests.benchmarks.speed_table.timing import Build, Job
from visionkit.tasks import Task
from visionkit.tasks.optimizers import optimizers

Precision = Literal["fp32", "bf16"]
JobName = Literal["training", "inference", "loading", "epoch"]


@dataclass(frozen=True)
class Sizes:
    """Sizes of the images.

    Attributes:
        detector: height and width; SSD300 has its own.
        classifier: side.
        segmenter: side.
        files: image files of the loader and of an epoch.
    """

    detector: tuple[int, int]
    classifier: int
    segmenter: int
    files: int


SIZES = {"cpu": Sizes((320, 480), 128, 224, 32), "cuda": Sizes((800, 1344), 224, 512, 1024)}
"""Sizes by the type of the device."""


@dataclass(frozen=True)
class Setting:
    """Job, batch size, precision, device and image sizes of a row."""

    job: JobName
    batch: int
    precision: Precision
    device: torch.device
    sizes: Sizes
    workers: int = 0

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU, where more variants of the peer are measured."""
        return self.device.type == "cuda"

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context of the precision."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.precision == "bf16" else nullcontext()


def default_setting(job: JobName, batch: int = 2) -> Setting:
    """Return float32 on the GPU, or on the CPU if there is none, at the sizes of the table."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return Setting(job, batch, "fp32", device, SIZES[device.type])


def training_job(setting: Setting, loss: Callable[[], Tensor], optimizer: torch.optim.Optimizer) -> Job:
    """Return a training step. Gradients are freed at its end, so that its memory is its own."""

    def step() -> None:
        with setting.autocast():
            value = loss()
        value.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def inference_job(setting: Setting, predict: Callable[[], object]) -> Job:
    """Return an inference step."""

    def step() -> object:
        with torch.inference_mode(), setting.autocast():
            return predict()

    return step


def own_optimizer(task: Task) -> torch.optim.Optimizer:
    """Return the optimizer of a task as `fit` makes it, with a small learning rate."""
    options = replace(task.optimizer_options, lr=1e-5)
    return optimizers.get(options.name)(task.parameter_groups(options), options)


def peers_optimizer(parameters: Iterable[nn.Parameter], fused: bool = False) -> torch.optim.Optimizer:
    """Return the same for a plain loop."""
    return torch.optim.SGD(parameters, lr=1e-5, momentum=0.9, weight_decay=1e-4, fused=fused)


def detached(task: Task) -> Task:
    """Return a task without a trainer, which would take its logged losses."""
    task.log_training_losses = lambda *given: None  # type: ignore[method-assign]
    return task


class Variant(NamedTuple):
    """How a peer runs: memory layout, whether it is compiled, and whether its optimizer is fused."""

    layout: torch.memory_format = torch.contiguous_format
    is_compiled: bool = False
    fused: bool = False


def variants(
    setting: Setting, name: str, build: Callable[[Variant], Job], compiled: str = "compiled"
) -> dict[str, Build]:
    """Return a peer as it is, in channels-last, and on a GPU compiled too, there with a fused optimizer.

    Args:
        setting: setting of the row.
        name: name of the peer.
        build: builds a variant of the peer.
        compiled: what is compiled, in words.
    """
    last = Variant(torch.channels_last, fused=setting.on_gpu)
    found = {name: partial(build, Variant()), f"{name}, channels-last": partial(build, last)}
    if setting.on_gpu:
        found[f"{name}, channels-last, {compiled}"] = partial(build, last._replace(is_compiled=True))
    return found
