"""Base class of R-CNN's fitting stages, which share the features of the training regions."""

from torch import Tensor

from visionkit.data.digest import digest
from visionkit.engine.post_training_fit import FittingContext, FittingStage
from visionkit.engine.rcnn.region_features import TrainingRegions, collect_regions
from visionkit.models.detection.rcnn.rcnn import RCNN


class RegionFittingStage(FittingStage):
    """Base class of stages that fit a linear layer of R-CNN to region features of all training images."""

    def key(self, context: FittingContext) -> str:
        """Return a digest of the regions' features and the options of the stage."""
        options = sorted(self.options(rcnn_of(context)).items())
        return digest(context.shared(collect_regions).key, str(options).encode()).hex()

    def fit(self, context: FittingContext) -> tuple[Tensor, Tensor]:
        """See `FittingStage.fit`."""
        return self.fit_regions(context.shared(collect_regions), rcnn_of(context))

    def options(self, network: RCNN) -> dict[str, float]:
        """Return the options of the network that the fitted weights depend on."""
        raise NotImplementedError

    def fit_regions(self, regions: TrainingRegions, network: RCNN) -> tuple[Tensor, Tensor]:
        """Return weight and bias of the layer of this stage."""
        raise NotImplementedError


def rcnn_of(context: FittingContext) -> RCNN:
    """Return the fine-tuned network."""
    network = context.pipeline.network
    assert isinstance(network, RCNN)  # only RCNN has layers of these stages
    return network
