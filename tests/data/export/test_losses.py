"""What a format cannot hold is counted before anything is written."""

import pytest

from tests.helpers.export_source import pixels, write_source
from visionkit.data.export.base import writers
from visionkit.data.export.convert import plan_splits
from visionkit.data.export.losses import DESCRIPTIONS, count_losses

THIN = ("cat", [10, 10, 1, 5], pixels((10, 10, 11, 15)), 0)
OWN_IDS = {"category ids": 2, "image ids": 6}
LOSSES = {
    "coco": {},
    "voc": {"masks": 5, "crowd": 1, "thin boxes": 1, **OWN_IDS},
    "yolo": {"holes": 1, "parts": 1, "boxes beside masks": 1, "crowd": 1, **OWN_IDS},
    "labelme": {"holes": 1, "boxes beside masks": 1, "crowd": 1, **OWN_IDS},
    "cvat": {"boxes beside masks": 1, "crowd": 1, **OWN_IDS},
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_counted(name, tmp_path):
    writer = writers.get(name)
    found = count_losses(plan_splits(write_source(tmp_path, extra=[THIN]), writer), writer)
    assert dict(found) == LOSSES[name]
    assert found.keys() <= DESCRIPTIONS.keys()
