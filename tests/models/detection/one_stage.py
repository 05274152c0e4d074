"""What the tests of one-stage detectors share."""

import torch
from torch import Tensor

from visionkit.ops.boxes import SMALLEST_DETECTION, has_area


def assert_same_detections(own: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """The same boxes as torchvision's, whose labels start at 1, and which keeps boxes without area after clipping."""
    sound = has_area(theirs["boxes"], SMALLEST_DETECTION)
    number = int(sound.sum())
    assert number > 10
    assert len(set(own["labels"].tolist())) > 1
    expected = {key: value[sound] for key, value in theirs.items()}
    own = {key: value[:number] for key, value in own.items()}
    torch.testing.assert_close(own["boxes"], expected["boxes"], atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(own["scores"], expected["scores"], atol=1e-4, rtol=1e-4)
    assert own["labels"].tolist() == (expected["labels"] - 1).tolist()
