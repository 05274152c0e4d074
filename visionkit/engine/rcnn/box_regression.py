"""R-CNN's box regression per class, from the deepest feature map of a proposal to the nearest object."""

import logging

import torch
from torch import Tensor

from visionkit.engine.post_training_fit import fitting_stages
from visionkit.engine.rcnn.region_features import TrainingRegions, scale_to_mean_norm
from visionkit.engine.rcnn.region_stage import RegionFittingStage
from visionkit.models.detection.rcnn.rcnn import RCNN
from visionkit.models.detection.rcnn.region_selection import regression_pairs
from visionkit.ops.ridge import Ridge

logger = logging.getLogger("visionkit")


@fitting_stages.register("box_regression")
class BoxRegression(RegionFittingStage):
    """Ridge regression of the box coding per class (Girshick et al. 2013, appendix C).

    Targets are in the units of the network's box coder. The boxes of a class without
    pairs of proposal and object are not changed.
    """

    def options(self, network: RCNN) -> dict[str, float]:
        """See `RegionFittingStage.options`."""
        return {
            "classes": network.num_classes,
            "iou": network.box_regression_options.iou,
            "penalty": network.box_regression_options.penalty,
        }

    def fit_regions(self, regions: TrainingRegions, network: RCNN) -> tuple[Tensor, Tensor]:
        """Return weight [4 K, P] and bias [4 K]."""
        scale = scale_to_mean_norm(regions.near_objects(index)[1] for index in regions.sample_indices())
        per_class = [_fit_class(label, regions, network, scale) for label in range(network.num_classes)]
        weight, bias = (torch.cat(column) for column in zip(*per_class, strict=True))
        return weight * scale, bias


def _fit_class(label: int, regions: TrainingRegions, network: RCNN, scale: float) -> tuple[Tensor, Tensor]:
    """Return weight [4, P] and bias [4] of one class. The matrix of all classes would not fit into memory."""
    ridge = Ridge(network.box_regression_options.penalty)
    for index, objects in enumerate(regions.objects):
        if label not in objects.labels:
            continue
        boxes, deepest = regions.near_objects(index)
        rows, nearest = regression_pairs(boxes, objects, network.box_regression_options.iou)
        of_class = objects.labels[nearest] == label
        coding = network.roi_heads.box_coder.encode(objects.boxes[nearest[of_class]], boxes[rows[of_class]])
        ridge.add(deepest[rows[of_class]] * scale, coding)
    logger.info("box regression of class %d of %d: %d pairs", label + 1, network.num_classes, ridge.examples)
    if ridge.examples:
        return ridge.solve()
    inputs = network.fitted_layers["box_regression"].get_buffer("weight").shape[1]
    return torch.zeros(4, inputs), torch.zeros(4)
