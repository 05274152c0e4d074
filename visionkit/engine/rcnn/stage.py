"""What a stage of training is that follows fine-tuning, and the stages by name."""

from torch import Tensor

from visionkit.engine.rcnn.region_features import TrainingRegions
from visionkit.models.detection.rcnn.rcnn import RCNN
from visionkit.registry import Registry


class FittingStage:
    """Fits one of a network's `after_training`; registered under the name that it has among them."""

    def check(self) -> None:
        """Refuse before fine-tuning what would fail after it."""

    def fit(self, regions: TrainingRegions, network: RCNN) -> tuple[Tensor, Tensor]:
        """Weight and bias of the network's `FittedLinear` of this name."""
        raise NotImplementedError


fitting_stages: Registry[type[FittingStage]] = Registry("stage of training", "visionkit.engine.rcnn")
