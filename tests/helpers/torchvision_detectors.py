"""Helpers of the tests of one-stage detectors."""

import torch
from torch import Tensor

from visionkit.ops.boxes import SMALLEST_DETECTION, has_area


def assert_same_detections(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """Assert equality with torchvision, whose labels start at 1, and which keeps boxes without area after clipping."""
    has_sides = has_area(theirs["boxes"], SMALLEST_DETECTION)
    number = int(has_sides.sum())
    assert number > 10
    assert len(set(ours["labels"].tolist())) > 1
    expected = {key: value[has_sides] for key, value in theirs.items()}
    ours = {key: value[:number] for key, value in ours.items()}
    torch.testing.assert_close(ours["boxes"], expected["boxes"], atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(ours["scores"], expected["scores"], atol=1e-4, rtol=1e-4)
    assert ours["labels"].tolist() == (expected["labels"] - 1).tolist()
