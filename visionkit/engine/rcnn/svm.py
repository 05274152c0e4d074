"""R-CNN's linear machines: one for each class, against hard negatives (Girshick et al. 2013, section 2.3)."""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from visionkit.engine.rcnn.region_features import TrainingRegions, scale_to_mean_length
from visionkit.engine.rcnn.stage import FittingStage, fitting_stages
from visionkit.errors import VisionkitError
from visionkit.models.detection.rcnn.rcnn import RCNN
from visionkit.models.detection.rcnn.training_rules import negatives

HARD = -1.0001
"""Margin from which on a negative is hard: those below cost nothing (the author's code)."""
EASY = -1.2
"""Margin below which a negative is given up again (the same)."""
RETRAIN = 2000
"""New hard negatives of a class after which its machine is trained anew (the same)."""
MOST = 10_000
"""Negatives of a class that are held at most, the hardest."""
PASSES = 5
"""Over all images at most; it ends before where a pass finds nothing hard (the author's code makes one)."""
POSITIVE_COST = 2.0
"""How much more a misjudged object costs than a misjudged region (the author's code)."""
BIAS_FEATURE = 10.0
"""Constant feature whose weight makes the bias (the same)."""
NEVER = -100.0
"""Margin of a class that no object was seen of."""

logger = logging.getLogger("visionkit")

Examples = Iterator[tuple[Tensor, Tensor]]
Machine = tuple[Tensor, float]


@fitting_stages.register("svm")
class LinearSVMs(FittingStage):
    """A linear support vector machine for each class on fc7: its objects against regions that hardly overlap them."""

    def check(self) -> None:
        """See `Stage`.

        Raises:
            VisionkitError: scikit-learn is not installed.
        """
        _linear_svc()

    def fit(self, regions: TrainingRegions, network: RCNN) -> tuple[Tensor, Tensor]:
        """Weight [K, C] and bias [K] of the margins."""
        scale = scale_to_mean_length(regions.all_of(index)[1] for index in regions.sample())
        positives = _objects_by_class(regions, network.num_classes, scale)

        def examples() -> Examples:
            for index, objects in enumerate(regions.objects):
                boxes, fc7 = regions.all_of(index)
                yield fc7 * scale, negatives(boxes, objects, network.num_classes, network.svm_negative_iou)

        weight, bias, held = mine(examples, positives, partial(train_svm, cost=network.svm_cost))
        logger.info("machines of %d classes: %d objects, %d negatives", len(bias), sum(map(len, positives)), held)
        return weight * scale, bias


class HardNegatives:
    """The negatives of one class that its machine has to look at, as halves.

    Args:
        channels: of a region's features.

    Attributes:
        names: int64 [N, 2], number of the image and of the region in it.
        new: how many the present machine has not been trained on.
    """

    def __init__(self, channels: int) -> None:
        self.names = torch.zeros(0, 2, dtype=torch.int64)
        self.new = 0
        self._parts = [torch.zeros(0, channels, dtype=torch.float16)]

    def add(self, image: int, rows: Tensor, features: Tensor) -> None:
        """Take rows [N] of an image's features [R, C], those that are held already left out."""
        held = self.names[self.names[:, 0] == image, 1]
        rows = rows[~torch.isin(rows, held)]
        self.names = torch.cat([self.names, torch.stack([torch.full_like(rows, image), rows], dim=1)])
        self._parts.append(features[rows].half())
        self.new += len(rows)

    def features(self) -> Tensor:
        """Float32 [N, C], in the order of `names`."""
        self._parts = [torch.cat(self._parts)]
        return self._parts[0].float()

    def give_up_easy(self, weight: Tensor, bias: float) -> None:
        """Keep what the machine nearly gets wrong, `MOST` at most."""
        margins = self.features() @ weight + bias
        kept = margins.argsort(descending=True)[:MOST]
        kept = kept[margins[kept] >= EASY]
        self.names, self._parts, self.new = self.names[kept], [self._parts[0][kept]], 0


def mine(
    examples: Callable[[], Examples],
    positives: Sequence[Tensor],
    train: Callable[[Tensor, Tensor], Machine],
    passes: int = PASSES,
    retrain: int = RETRAIN,
) -> tuple[Tensor, Tensor, int]:
    """Train machines on those negatives alone that are hard (Felzenszwalb et al. 2010, section 4.4).

    When a pass ends without a new one, all others lie beyond the margin: the machines are those that all negatives
    together would have made, were none given up for want of room.

    Args:
        examples: goes through all images: features [R, C], and bool [R, K], of which classes each region
            is a negative.
        positives: for each of K classes [N, C]; a class without any is never found.
        train: from positives and negatives to weight [C] and bias.
        passes: over the images at most.
        retrain: new hard negatives of a class after which it is trained anew.

    Returns:
        Weight [K, C] and bias [K], and how many negatives are held in the end.
    """
    known = torch.tensor([len(rows) > 0 for rows in positives])
    weight = torch.zeros(len(positives), positives[0].shape[1])
    bias = torch.where(known, 1.0, NEVER)  # a machine that has seen no negative finds everything
    held = [HardNegatives(weight.shape[1]) for _ in positives]

    def retrained(label: int) -> None:
        weight[label], bias[label] = train(positives[label], held[label].features())
        held[label].give_up_easy(weight[label], bias[label].item())

    for _ in range(passes):
        found = 0
        for image, (features, negative) in enumerate(examples()):
            hard = negative & known & (features @ weight.T + bias > HARD)
            for label in torch.where(hard.any(dim=0))[0].tolist():
                before = held[label].new
                held[label].add(image, torch.where(hard[:, label])[0], features)
                found += held[label].new - before
                if held[label].new >= retrain:
                    retrained(label)
        for label in range(len(held)):
            if held[label].new:
                retrained(label)
        if not found:
            break
    return weight, bias, sum(len(cache.names) for cache in held)


def train_svm(positives: Tensor, negatives: Tensor, cost: float) -> Machine:
    """A linear machine with hinge loss.

    Args:
        positives: [P, C], at least one.
        negatives: [N, C], at least one.
        cost: C.

    Returns:
        Weight [C] and bias.
    """
    svm = _linear_svc()(
        C=cost, loss="hinge", class_weight={1: POSITIVE_COST}, intercept_scaling=BIAS_FEATURE, random_state=0
    )
    sides = np.concatenate([np.ones(len(positives)), -np.ones(len(negatives))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few rounds: features that are nearly alike, of a poor network, take many
        svm.fit(torch.cat([positives, negatives]).numpy(), sides)
    return torch.from_numpy(svm.coef_[0]).float(), float(svm.intercept_[0])


def _objects_by_class(regions: TrainingRegions, num_classes: int, scale: float) -> list[Tensor]:
    """Features [N, C] of the objects of each class."""
    found = [regions.objects_of(index) * scale for index, objects in enumerate(regions.objects) if len(objects.boxes)]
    features, of_class = torch.cat(found), torch.cat([objects.labels for objects in regions.objects])
    return [features[of_class == label] for label in range(num_classes)]


def _linear_svc() -> type:
    try:
        from sklearn.svm import LinearSVC
    except ImportError as error:
        raise VisionkitError(
            "R-CNN's machines need scikit-learn: pip install 'visionkit[proposals]'\n"
            "or leave the scores to the softmax: model.classifier=softmax"
        ) from error
    return LinearSVC  # type: ignore[no-any-return]
