import cv2
import numpy as np
import pytest

from tests.helpers.small_detector import small_data
from visionkit.engine.rcnn.region_features import _training_images


@pytest.fixture
def two_threads():
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    yield
    cv2.setNumThreads(before)


def test_loader_processes_search_proposals_on_one_core_each(two_threads, monkeypatch):
    def threads(image, image_id):
        return np.full((1, 4), cv2.getNumThreads(), np.float32)

    data = small_data(train=1, num_workers=1)
    monkeypatch.setattr(data, "proposals", lambda: threads)
    ((_, target),) = _training_images(data)
    assert target["proposals"].tolist() == [[1, 1, 1, 1]]
