"""A dataset of images of one color."""

import numpy as np

from visionkit.data.datasets.base import NoSemanticMasks
from visionkit.structures import Sample


class Flat(NoSemanticMasks):
    """Images of one color, (51, 102, 204), with labels or masks."""

    class_names, category_ids, report = ["a", "b"], [1, 2], {}

    def __init__(self, labels, masks=None):
        self.labels, self.masks = labels, masks

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        image = np.full((20, 30, 3), (51, 102, 204), np.uint8)
        semantic = None if self.masks is None else np.full((20, 30), self.masks[index], np.uint8)
        return Sample(image, index, str(index), label=self.labels[index], semantic=semantic)

    def label(self, index):
        return self.labels[index]

    def has_semantic(self, index):
        return self.masks is not None

    def semantic(self, index):
        return self[index].semantic

    def tags(self, index):
        return None

    def image_id(self, index):
        return index

    def image_size(self, index):
        return 20, 30

    def annotation(self, index):
        return self[index].annotation
