"""Layers of a model that are fitted to features after the last epoch, instead of being trained by gradients."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from lightning.pytorch import Trainer
from torch import Tensor

from visionkit.data.datamodule import VisionData
from visionkit.pipelines.detection import DetectionPipeline
from visionkit.registry import Registry
from visionkit.tasks.detection import Detection

T = TypeVar("T")


class FittedLayer(Protocol):
    """A layer of `DetectionModel.fitted_layers`.

    Attributes:
        fitted: scalar, 1 if the weights are fitted to the present network, else 0.
    """

    fitted: Tensor

    def fit(self, weight: Tensor, bias: Tensor) -> None:
        """Set the weights, and `fitted` to 1."""
        ...


class FittingContext:
    """The trained model, the data and the folder that fitting stages work with.

    Args:
        task: the task with the weights of the best checkpoint, in evaluation mode on its device.
        data: the data that the model was trained on.
        trainer: gives device and precision.
        folder: for files that are expensive to compute.
    """

    def __init__(self, task: Detection, data: VisionData, trainer: Trainer, folder: Path) -> None:
        self.task, self.data, self.trainer, self.folder = task, data, trainer, folder
        self._shared: dict[Callable[..., Any], Any] = {}

    @property
    def pipeline(self) -> DetectionPipeline:
        """The pipeline of the task."""
        assert isinstance(self.task.pipeline, DetectionPipeline)  # an ensemble is not trained
        return self.task.pipeline

    def shared(self, compute: Callable[["FittingContext"], T]) -> T:
        """Return `compute(self)`, which is computed once for all stages."""
        if compute not in self._shared:
            self._shared[compute] = compute(self)
        return cast(T, self._shared[compute])


class FittingStage:
    """Base of the fitting stages; each is registered under the name of its layer in `DetectionModel.fitted_layers`."""

    def check(self) -> None:
        """Raise before the first epoch what would fail after the last one, such as a missing package."""

    def key(self, context: FittingContext) -> str:
        """Return a digest of everything that the fitted weights depend on."""
        raise NotImplementedError

    def fit(self, context: FittingContext) -> tuple[Tensor, Tensor]:
        """Return weight and bias of the fitted layer."""
        raise NotImplementedError


fitting_stages: Registry[type[FittingStage]] = Registry("fitting stage", "visionkit.engine.rcnn")
"""Fitting stages by the name of their layer."""
