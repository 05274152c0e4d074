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
    svms = _SVMs(positives, train)
    for _ in range(passes):
        added = 0
        for image, (features, negative) in enumerate(examples()):
            added += svms.add_hard(image, features, negative)
            svms.retrain(retrain_after)
        svms.retrain(1)
        if not added:
            break
    return svms.weight, svms.bias, sum(len(kept.ids) for kept in svms.negatives)


class _SVMs:
    """One SVM per class with its positives and hard negatives; see `mine_hard_negatives`."""

    def __init__(self, positives: Sequence[Tensor], train: Callable[[Tensor, Tensor], LinearSVM]) -> None:
        self.positives, self.train = positives, train
        self.has_objects = torch.tensor([len(rows) > 0 for rows in positives])
        self.weight = torch.zeros(len(positives), positives[0].shape[1])
        # Without negatives, all regions belong to the class.
        self.bias = torch.where(self.has_objects, 1.0, NO_OBJECTS_BIAS)
        self.negatives = [HardNegatives(self.weight.shape[1]) for _ in positives]

    def add_hard(self, image: int, features: Tensor, negative: Tensor) -> int:
        """Add the hard ones of an image's negatives, and return how many are new."""
        before = sum(kept.new for kept in self.negatives)
        hard = negative & self.has_objects & (features @ self.weight.T + self.bias > HARD_MARGIN)
        for label in torch.where(hard.any(dim=0))[0].tolist():
            self.negatives[label].add(image, torch.where(hard[:, label])[0], features)
        return sum(kept.new for kept in self.negatives) - before

    def retrain(self, least: int) -> None:
        """Train the SVMs of the classes with at least `least` new negatives, and drop the negatives that are easy."""
        for label, kept in enumerate(self.negatives):
            if kept.new >= least:
                self.weight[label], self.bias[label] = self.train(self.positives[label], kept.features())
                kept.drop_easy(self.weight[label], self.bias[label].item())
