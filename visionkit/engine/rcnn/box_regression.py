"""R-CNN's regression of boxes: for each class, from the deepest map of a proposal to the object near it."""

import logging

import torch
from torch import Tensor

from visionkit.engine.rcnn.region_features import TrainingRegions, scale_to_mean_length
from visionkit.engine.rcnn.stage import FittingStage, fitting_stages
from visionkit.models.detection.rcnn.rcnn import RCNN
from visionkit.models.detection.rcnn.training_rules import regression_pairs
from visionkit.ops.ridge import Ridge

logger = logging.getLogger("visionkit")


@fitting_stages.register("box_regression")
class BoxRegression(FittingStage):
    """Ridge regression of the shifts of center and log size (Girshick et al. 2013, appendix C).

    The shifts are in the units of the network's box coder. Without a pair a class moves no box.
    """

    def fit(self, regions: TrainingRegions, network: RCNN) -> tuple[Tensor, Tensor]:
        """Weight [4 K, P] and bias [4 K]."""
        scale = scale_to_mean_length(regions.pairs_of(index)[1] for index in regions.sample())
        parts = [_fit_class(label, regions, network, scale) for label in range(network.num_classes)]
        weight, bias = (torch.cat(column) for column in zip(*parts, strict=True))
        return weight * scale, bias


def _fit_class(label: int, regions: TrainingRegions, network: RCNN, scale: float) -> tuple[Tensor, Tensor]:
    """Weight [4, P] and bias [4] of one class; of one class at a time, because its products fill the memory."""
    ridge = Ridge(network.regression_penalty)
    for index, objects in enumerate(regions.objects):
        if label not in objects.labels:
            continue
        boxes, deepest = regions.pairs_of(index)
        rows, nearest = regression_pairs(boxes, objects, network.regression_iou)
        of_class = objects.labels[nearest] == label
        coding = network.roi_heads.box_coder.encode_single(objects.boxes[nearest[of_class]], boxes[rows[of_class]])
        ridge.add(deepest[rows[of_class]] * scale, coding)
    logger.info("box regression of class %d of %d: %d pairs", label + 1, network.num_classes, ridge.examples)
    if ridge.examples:
        return ridge.solve()
    inputs = network.get_buffer("_fitted_layers.box_regression.weight").shape[1]
    return torch.zeros(4, inputs), torch.zeros(4)
