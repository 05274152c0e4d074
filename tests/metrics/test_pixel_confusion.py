import pytest
import torch
from torchmetrics.classification import MulticlassConfusionMatrix

from visionkit.errors import VisionkitError
from visionkit.metrics.pixel_confusion import PixelConfusionMatrix


@pytest.mark.parametrize("classes", [2, 11, 127, 128, 255])
@pytest.mark.parametrize("kind", [torch.uint8, torch.int64])
def test_the_matrix_equals_that_of_torchmetrics(classes, kind):
    """127 classes are the last whose pairs fit into 16 bits."""
    generator = torch.Generator().manual_seed(classes)
    own = PixelConfusionMatrix(classes)
    theirs = MulticlassConfusionMatrix(classes, ignore_index=255, validate_args=False)
    for _ in range(2):
        labels, truth = torch.randint(classes, (2, 3, 40, 50), generator=generator)
        truth[torch.rand(truth.shape, generator=generator) < 0.1] = 255
        labels[0], truth[0] = classes - 1, classes - 1
        own.update(labels.to(kind), truth.to(torch.uint8))
        theirs.update(labels, truth)
    assert torch.equal(own.compute(), theirs.compute())


def test_an_unknown_class_index_raises():
    with pytest.raises(VisionkitError, match="3 classes"):
        PixelConfusionMatrix(3).update(torch.zeros(2, 2, dtype=torch.uint8), torch.full((2, 2), 3, dtype=torch.uint8))
