"""The rows of the speed table."""

from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from typing import NamedTuple

import torch

from tests.benchmarks.speed_table import classifiers, detectors, loading, segmenters
from tests.benchmarks.speed_table.setting import JobName, Precision, Setting, Sizes
from tests.benchmarks.speed_table.timing import Build


class Row(NamedTuple):
    """A row of the table.

    Attributes:
        jobs: what is measured.
        contenders: returns the builders of the contenders. The names of ours start with "visionkit".
        peer: package that the peer is in.
    """

    jobs: tuple[JobName, ...]
    contenders: Callable[[str, Setting], dict[str, Build]]
    peer: str = "torchvision"


BOTH: tuple[JobName, ...] = ("training", "inference")

ROWS = {
    "loader": Row(("loading",), lambda name, setting: loading.loading_contenders(setting)),
    "resnet50": Row(BOTH, classifiers.contenders),
    "densenet121": Row(BOTH, classifiers.contenders),
    "ssd300": Row(BOTH, detectors.contenders),
    "faster_rcnn": Row(BOTH, detectors.contenders),
    "mask_rcnn": Row(BOTH, detectors.contenders),
    "retinanet": Row(BOTH, detectors.contenders),
    "unet_resnet34": Row(BOTH, segmenters.contenders, "segmentation_models_pytorch"),
    "fcn8s_vgg16": Row(BOTH, segmenters.contenders),
    "fc_densenet103": Row(BOTH, segmenters.contenders),
    "epoch of resnet50": Row(("epoch",), lambda name, setting: loading.epoch_contenders("resnet50", setting)),
}
"""The rows by name; quick ones first, so that a short time fills many."""


class Case(NamedTuple):
    """A row at a setting."""

    name: str
    row: Row
    setting: Setting

    @property
    def is_complete(self) -> bool:
        """Whether the peer is installed."""
        return find_spec(self.row.peer) is not None

    def contenders(self) -> dict[str, Build]:
        """Return the builders of the contenders; only ours if the peer is not installed."""
        found = self.row.contenders(self.name, self.setting)
        return {name: build for name, build in found.items() if self.is_complete or is_ours(name)}


def is_ours(contender: str) -> bool:
    """Return whether a contender is visionkit."""
    return contender.startswith("visionkit")


def cases(
    names: Sequence[str],
    batches: Sequence[int],
    precisions: Sequence[Precision],
    device: torch.device,
    sizes: Sizes,
    workers: int,
) -> Iterator[Case]:
    """Yield the rows at every setting. The loader runs no network, so it has one precision."""
    for name in names:
        row = ROWS[name]
        for batch in batches:
            for precision in precisions[:1] if "loading" in row.jobs else precisions:
                for job in row.jobs:
                    yield Case(name, row, Setting(job, batch, precision, device, sizes, workers))
