"""Layers of a model that are fitted to features after the last epoch instead of trained by gradients."""

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
    """Layer of `DetectionModel.fitted_layers`.

    Attributes:
        fitted: scalar that is 1 if the weights are fitted to the current network, and 0 otherwise.
    """

    fitted: Tensor

    def fit(self, weight: Tensor, bias: Tensor) -> None:
        """Set the weights, and `fitted` to 1."""
        ...


class FittingContext:
    """Trained model, data and folder that the fitting stages use.

    Args:
        task: task with the weights of the best checkpoint, in evaluation mode on its device.
        data: training data of the model.
        trainer: trainer that defines device and precision.
        folder: folder for files that are expensive to compute.
    """

    def __init__(self, task: Detection, data: VisionData, trainer: Trainer, folder: Path) -> None:
        self.task, self.data, self.trainer, self.folder = task, data, trainer, folder
        self._shared: dict[Callable[..., Any], Any] = {}

    @property
    def pipeline(self) -> DetectionPipeline:
        """Pipeline of the task."""
        assert isinstance(self.task.pipeline, DetectionPipeline)  # ensembles are not trained
        return self.task.pipeline

    def shared(self, compute: Callable[["FittingContext"], T]) -> T:
        """Return `compute(self)`. It is computed once for all stages."""
        if compute not in self._shared:
            self._shared[compute] = compute(self)
        return cast(T, self._shared[compute])


class FittingStage:
    """Base class of fitting stages, registered by the name of their layer in `DetectionModel.fitted_layers`."""

    def check(self) -> None:
        """Raise an error before the first epoch if fitting would fail, for example because of a missing package."""

    def key(self, context: FittingContext) -> str:
        """Return a digest of everything that the fitted weights depend on."""
        raise NotImplementedError

    def fit(self, context: FittingContext) -> tuple[Tensor, Tensor]:
        """Return weight and bias of the fitted layer."""
        raise NotImplementedError


fitting_stages: Registry[type[FittingStage]] = Registry("fitting stage", "visionkit.engine.rcnn")
"""Fitting stages by the name of their layer."""
