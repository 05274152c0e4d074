"""R-CNN's linear SVMs, one per class, trained on hard negatives (Girshick et al. 2013, section 2.3)."""

import logging
import warnings
from functools import partial

import numpy as np
import torch
from torch import Tensor

from visionkit.engine.post_training_fit import fitting_stages
from visionkit.engine.rcnn.hard_negatives import Examples, LinearSVM, mine_hard_negatives
from visionkit.engine.rcnn.region_features import TrainingRegions, scale_to_mean_norm
from visionkit.engine.rcnn.region_stage import RegionFittingStage
from visionkit.errors import VisionkitError
from visionkit.models.detection.rcnn.rcnn import RCNN
from visionkit.models.detection.rcnn.region_selection import negatives

POSITIVE_WEIGHT = 2.0
"""Weight of an object in the loss. The weight of a negative is 1 (from the author's code)."""
BIAS_FEATURE = 10.0
"""Value of the constant feature whose weight gives the bias (from the author's code)."""

logger = logging.getLogger("visionkit")


@fitting_stages.register("svm")
class LinearSVMs(RegionFittingStage):
    """Linear SVM per class on fc7, which separates its objects from regions with little overlap."""

    def check(self) -> None:
        """See `FittingStage.check`.

        Raises:
            VisionkitError: scikit-learn is not installed.
        """
        _linear_svc()

    def options(self, network: RCNN) -> dict[str, float]:
        """See `RegionFittingStage.options`."""
        return {
            "classes": network.num_classes,
            "negative_iou": network.svm_options.negative_iou,
            "cost": network.svm_options.cost,
        }

    def fit_regions(self, regions: TrainingRegions, network: RCNN) -> tuple[Tensor, Tensor]:
        """Return weight [K, C] and bias [K] of the margins."""
        scale = scale_to_mean_norm(regions.all_regions(index)[1] for index in regions.sample_indices())
        positives = _objects_per_class(regions, network.num_classes, scale)

        def examples() -> Examples:
            for index, objects in enumerate(regions.objects):
                boxes, fc7 = regions.all_regions(index)
                yield fc7 * scale, negatives(boxes, objects, network.num_classes, network.svm_options.negative_iou)

        weight, bias, kept = mine_hard_negatives(examples, positives, partial(train_svm, cost=network.svm_options.cost))
        objects = sum(map(len, positives))
        logger.info("linear SVMs of %d classes: %d objects, %d hard negatives", len(bias), objects, kept)
        return weight * scale, bias


def train_svm(positives: Tensor, negatives: Tensor, cost: float) -> LinearSVM:
    """Return weight [C] and bias of a linear SVM with hinge loss.

    Args:
        positives: [P, C], at least one.
        negatives: [N, C], at least one.
        cost: weight of the hinge loss relative to the squared norm of the weights.
    """
    svm = _linear_svc()(
        C=cost, loss="hinge", class_weight={1: POSITIVE_WEIGHT}, intercept_scaling=BIAS_FEATURE, random_state=0
    )
    labels = np.concatenate([np.ones(len(positives)), -np.ones(len(negatives))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # convergence warning: nearly equal features need many iterations
        svm.fit(torch.cat([positives, negatives]).numpy(), labels)
    return torch.from_numpy(svm.coef_[0]).float(), float(svm.intercept_[0])


def _objects_per_class(regions: TrainingRegions, num_classes: int, scale: float) -> list[Tensor]:
    """Return features [N, C] of the objects of each class."""
    with_objects = [index for index, objects in enumerate(regions.objects) if len(objects.boxes)]
    features = torch.cat([regions.object_features(index) * scale for index in with_objects])
    labels = torch.cat([objects.labels for objects in regions.objects])
    return [features[labels == label] for label in range(num_classes)]


def _linear_svc() -> type:
    try:
        from sklearn.svm import LinearSVC
    except ImportError as error:
        raise VisionkitError(
            "R-CNN's linear SVMs need scikit-learn, of the extra \"proposals\": pip install -e '.[proposals]'\n"
            "or score with the softmax: model.classifier=softmax"
        ) from error
    return LinearSVC
