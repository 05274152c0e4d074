"""What the machine can do: its GPU, its speed in training, and the pretrained weights that it has."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from visionkit.backbones import Backbone, create_backbone
from visionkit.errors import VisionkitError

MEASURED_SECONDS = 3.0
"""Time for which the speed of a backbone is measured."""

SIDE = 224
"""Height and width in pixels of the images with which the speed is measured."""

SPEED_VARIABLE = "VISIONKIT_MEASURED_SPEED"
"""Environment variable in which the first process of a run passes its measurement to the others."""


@dataclass(frozen=True)
class Machine:
    """The machine as far as rules depend on it.

    Attributes:
        gpu_memory: memory of the first GPU in GB; 0 without a GPU.
        has_bf16: whether the GPU computes in bfloat16.
        asked_for: name of the backbone that is asked for; None if the rules choose one.
        backbone: name of the first of the preferred backbones, or the one that is asked for, with pretrained weights;
            None if none has them.
        speed: megapixels per second that this backbone takes forward and backward; 0 if it was not measured.

    Example:
        >>> from visionkit.cli.automatic.machine import Machine
        >>> Machine(backbone="resnet18").has_gpu
        False
    """

    gpu_memory: float = 0.0
    has_bf16: bool = False
    asked_for: str | None = None
    backbone: str | None = None
    speed: float = 0.0

    @property
    def has_gpu(self) -> bool:
        """Whether there is a GPU."""
        return self.gpu_memory > 0


ON_GPU = ("resnet50", "timm/tf_efficientnet_lite0", "resnet18")
"""Backbones for training on a GPU, the preferred one first."""

ON_CPU = ("timm/tf_efficientnet_lite0", "resnet18", "resnet50")
"""Backbones for training without a GPU, the preferred one first."""

RANDOM_BACKBONE = "resnet18"
"""Backbone that is trained from random initialization if no pretrained weights are available."""


def this_machine(backbone: str | None, measure: bool) -> Machine:
    """Return what this machine can do.

    Args:
        backbone: the backbone that is asked for; None takes the first of the preferred ones with pretrained weights.
        measure: whether the speed of the backbone is measured, which takes about `MEASURED_SECONDS`.
    """
    has_gpu = torch.cuda.is_available()
    memory = torch.cuda.get_device_properties(0).total_memory / 2**30 if has_gpu else 0.0
    preferred = ON_GPU if has_gpu else ON_CPU
    pretrained = first_with_weights(preferred if backbone is None else [backbone])
    measured = create_backbone(pretrained or backbone or RANDOM_BACKBONE, weights="none") if measure else None
    return Machine(
        gpu_memory=memory,
        has_bf16=has_gpu and torch.cuda.is_bf16_supported(),
        asked_for=backbone,
        backbone=pretrained,
        speed=0.0 if measured is None else _same_in_all_processes(measured),
    )


def _same_in_all_processes(backbone: Backbone) -> float:
    """Return the speed that the first process of a run measured; 0 if it cannot be known in all processes.

    The first process starts the others with its environment. Under torchrun and srun all processes start at once.
    """
    if "WORLD_SIZE" not in os.environ and os.environ.get("SLURM_NTASKS", "1") == "1":
        os.environ[SPEED_VARIABLE] = str(training_speed(backbone))
    return float(os.environ.get(SPEED_VARIABLE, 0))


def first_with_weights(names: Sequence[str]) -> str | None:
    """Return the first backbone whose ImageNet weights are on disk, else the first whose weights can be downloaded."""
    published = {}
    for name in names:
        try:
            weights = create_backbone(name, weights="none").published_weights()
        except VisionkitError:  # timm is not installed
            continue
        if weights is not None:
            published[name] = weights
    on_disk = (name for name, weights in published.items() if weights.on_disk() is not None)
    return next(on_disk, None) or next((name for name, weights in published.items() if weights.is_reachable()), None)


def training_speed(backbone: Backbone, seconds: float = MEASURED_SECONDS) -> float:
    """Return the megapixels per second that a backbone takes forward and backward, on the GPU if there is one.

    Args:
        backbone: the network; its gradients are deleted afterwards.
        seconds: time of the measurement. The first pass is left out.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = backbone.to(device).to(memory_format=torch.channels_last).train()
    images = torch.zeros(2, 3, SIDE, SIDE, device=device).to(memory_format=torch.channels_last)
    times: list[float] = []
    end = time.monotonic() + seconds
    while len(times) < 2 or time.monotonic() < end:
        start = time.perf_counter()
        sum(map_.mean() for map_ in network(images).values()).backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    network.zero_grad(set_to_none=True)
    return images[:, 0].numel() / 1e6 / float(torch.tensor(times[1:]).median())
