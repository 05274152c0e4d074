"""Pictures are normalised as those were that the network's values learned from."""

import pytest
import torch

from tests.tasks.small import small_task
from visionkit.data.formats.shapes import FORMS
from visionkit.data.preprocess import Preprocess
from visionkit.errors import DataError

NAMES = list(FORMS)


@pytest.mark.parametrize("std", [1 / 255, 0.2, 1.0])
def test_pictures_pass_as_preprocessing_makes_them_and_no_others(std):
    """SSD's published values want pictures from -123 to 151."""
    task = small_task(NAMES, preprocess=Preprocess(short_side=64, mean=[0.45] * 3, std=[std] * 3)).eval()
    picture = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        assert len(task([picture])) == 1
        with pytest.raises(DataError, match="not normalised"):
            task.network([picture / std])
