"""What a stage of training is that follows fine-tuning, and the stages by name."""

from torch import Tensor

from visionkit.engine.region_features import TrainingRegions
from visionkit.models.detection.rcnn import RCNN
from visionkit.registry import Registry


class Stage:
    """Fits one of a network's `later_stages`; registered under the name that it has among them."""

    def check(self) -> None:
        """Refuse before fine-tuning what would fail after it."""

    def fit(self, regions: TrainingRegions, network: RCNN) -> tuple[Tensor, Tensor]:
        """Weight and bias of the network's `FittedLinear` of this name."""
        raise NotImplementedError


stages: Registry[type[Stage]] = Registry("stage of training")
