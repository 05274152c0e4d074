"""Hard negative mining for linear SVMs (Felzenszwalb et al. 2010, section 4.4)."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

HARD_MARGIN = -1.0001
"""Margin above which negatives are hard. Other negatives have no hinge loss (from the author's code)."""
EASY_MARGIN = -1.2
"""Margin below which negatives are removed (from the author's code)."""
RETRAIN_AFTER = 2000
"""Number of new hard negatives of a class after which its SVM is trained again (from the author's code)."""
MAX_NEGATIVES = 10_000
"""Largest number of stored negatives per class."""
MAX_PASSES = 5
"""Largest number of passes over all images (author's code: 1). Mining ends when a pass finds no hard negatives."""
NO_OBJECTS_BIAS = -100.0
"""Margin of a class without objects."""

LinearSVM = tuple[Tensor, float]
"""Weight [C] and bias of a linear SVM."""

Examples = Iterator[tuple[Tensor, Tensor]]
"""For each image, features [R, C], and bool [R, K] that is true if a region is a negative of a class."""


class HardNegatives:
    """Hard negatives of one class, stored as float16.

    Args:
        channels: number of features of a region.

    Attributes:
        ids: index of the image and of the region in the image, int64 [N, 2].
        new: number of negatives that the current SVM has not been trained on.
    """

    def __init__(self, channels: int) -> None:
        self.ids = torch.zeros(0, 2, dtype=torch.int64)
        self.new = 0
        self._parts = [torch.zeros(0, channels, dtype=torch.float16)]

    def add(self, image: int, rows: Tensor, features: Tensor) -> None:
        """Add the rows [N] of an image's features [R, C] that are not among the negatives."""
        present = self.ids[self.ids[:, 0] == image, 1]
        rows = rows[~torch.isin(rows, present)]
        self.ids = torch.cat([self.ids, torch.stack([torch.full_like(rows, image), rows], dim=1)])
        self._parts.append(features[rows].half())
        self.new += len(rows)

    def features(self) -> Tensor:
        """Return the features, float32 [N, C], in the order of `ids`."""
        self._parts = [torch.cat(self._parts)]
        return self._parts[0].float()

    def drop_easy(self, weight: Tensor, bias: float) -> None:
        """Keep the negatives with the highest margins, at most `MAX_NEGATIVES` and none below `EASY_MARGIN`."""
        margins = self.features() @ weight + bias
        kept = margins.argsort(descending=True)[:MAX_NEGATIVES]
        kept = kept[margins[kept] >= EASY_MARGIN]
        self.ids, self._parts, self.new = self.ids[kept], [self._parts[0][kept]], 0


def mine_hard_negatives(
    examples: Callable[[], Examples],
    positives: Sequence[Tensor],
    train: Callable[[Tensor, Tensor], LinearSVM],
    passes: int = MAX_PASSES,
    retrain_after: int = RETRAIN_AFTER,
) -> tuple[Tensor, Tensor, int]:
    """Train one SVM per class on its positives and hard negatives.

    If the last pass finds no new hard negatives, all other negatives have a margin of at most `HARD_MARGIN`. The SVMs
    are then equal to those trained on all negatives, unless negatives were dropped because of `MAX_NEGATIVES`.

    Args:
        examples: returns an iterator over all images.
        positives: features [N, C] of the objects of each of K classes. A class without objects is never detected.
        train: returns the SVM for positives and negatives.
        passes: largest number of passes over the images.
        retrain_after: number of new hard negatives of a class after which its SVM is trained again.

    Returns:
        Weight [K, C], bias [K], and the number of stored negatives at the end.
    """
    has_objects = torch.tensor([len(rows) > 0 for rows in positives])
    weight = torch.zeros(len(positives), positives[0].shape[1])
    bias = torch.where(has_objects, 1.0, NO_OBJECTS_BIAS)  # without negatives, all regions belong to the class
    negatives = [HardNegatives(weight.shape[1]) for _ in positives]

    def retrain(label: int) -> None:
        weight[label], bias[label] = train(positives[label], negatives[label].features())
        negatives[label].drop_easy(weight[label], bias[label].item())

    for _ in range(passes):
        added = 0
        for image, (features, negative) in enumerate(examples()):
            hard = negative & has_objects & (features @ weight.T + bias > HARD_MARGIN)
            for label in torch.where(hard.any(dim=0))[0].tolist():
                before = negatives[label].new
                negatives[label].add(image, torch.where(hard[:, label])[0], features)
                added += negatives[label].new - before
                if negatives[label].new >= retrain_after:
                    retrain(label)
        for label in range(len(negatives)):
            if negatives[label].new:
                retrain(label)
        if not added:
            break
    return weight, bias, sum(len(kept.ids) for kept in negatives)
